"""The data set class, and the registry of built-in data sets."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from flowviz.distributions import Distribution, GaussianMixture
from flowviz.registry import Registry

Sampler = Callable[[int, Generator], Tensor]
"""A function of a number n and a generator that returns n independent samples, (n, 2) float32."""


class Framed:
    """What has a frame of its own: its origin and its unit in the user's coordinates."""

    center: tuple[float, float]
    scale: float

    def to_user(self, x: Tensor) -> Tensor:
        """Converts points of the frame, (B, 2), to the user's coordinates, (B, 2) float64.

        float32 would be too coarse for a table far from 0: its spacing is 128 at 1.7e9, a time in
        seconds.
        """
        origin = torch.tensor(self.center, dtype=torch.float64, device=x.device)
        return origin + self.scale * x.double()

    def from_user(self, x: Tensor) -> Tensor:
        """Converts points in the user's coordinates, (B, 2), to the frame, in their precision."""
        origin = torch.tensor(self.center, dtype=torch.float64, device=x.device)
        return ((x.double() - origin) / self.scale).to(x)


@dataclass(frozen=True)
class Dataset(Framed):
    """A data set in the plane: a sampler and its exact distribution."""

    name: str
    """The spec: `dataset(name)` returns this data set."""
    label: str
    """The text for menus and legends."""
    sentence: str
    """A description, for help texts and captions."""
    sampler: Sampler = field(repr=False)
    distribution: Distribution
    """The distribution of one sample, in closed form."""
    center: tuple[float, float] = (0.0, 0.0)
    """The origin of the frame in the user's coordinates."""
    scale: float = 1.0
    """The length of one unit of the frame in the user's coordinates."""
    reading: str = ""
    """What was taken from a file of the user."""
    estimated: bool = False
    """Whether these are samples of a network whose data set is not known."""
    source: "Dataset | None" = None
    """The data set at t = 0; None for Gaussian noise."""
    classes: tuple[str, ...] = ()
    """The values of the label column of a table; empty without one."""
    component_classes: Tensor | None = field(default=None, compare=False, repr=False)
    """The class of each component of the mixture `distribution`, (K,) int64, if there are any."""

    def sample(self, n: int, generator: Generator) -> Tensor:
        """n independent samples in the frame, (n, 2) float32."""
        if n < 1:
            raise ValueError(f"The number of samples must be at least 1; got {n}.")
        return self.sampler(n, generator)

    def starts(self, n: int, generator: Generator) -> Tensor:
        """n states at t = 0, (n, 2) float32: standard normal noise, or samples of the source."""
        if self.source is not None:
            return self.source.sample(n, generator)
        return torch.randn(n, 2, generator=generator)

    def sampled_classes(self, n: int, generator: Generator) -> NDArray[np.int64] | None:
        """The classes of the samples that `sample` draws, (n,); None without classes.

        The generator must have the same state.
        """
        if self.component_classes is None:
            return None
        assert isinstance(self.distribution, GaussianMixture)
        return self.component_classes[self.distribution.components(n, generator)].numpy()

    def likeliest_classes(self, x: Tensor) -> Tensor:
        """The most probable class of each point x (B, 2) of the frame, (B,) int64.

        Only with `classes`.
        """
        mixture, joint = self.distribution, []
        assert isinstance(mixture, GaussianMixture)
        for k in range(len(self.classes)):
            in_class = self.component_classes == k
            weights = mixture.weights[in_class]
            part = GaussianMixture(mixture.means[in_class], mixture.covariances[in_class], weights)
            joint.append(part.log_prob(x.double()) + weights.sum().log())
        return torch.stack(joint).argmax(dim=0)

    @property
    def mean(self) -> Tensor:
        """The mean of a sample, (2,) float32, estimated from a fixed random sample."""
        return self._moments[0]

    @property
    def std(self) -> float:
        """The root mean square deviation from the mean, over samples and dimensions.

        Estimated like `mean`, so it is the same in every process.
        """
        return self._moments[1]

    @cached_property
    def _moments(self) -> tuple[Tensor, float]:
        # Not a stream of `draws`: the shipped checkpoints are normalised by this very sample.
        x = self.sample(100_000, Generator().manual_seed(0)).double()
        return x.mean(dim=0).float(), (x - x.mean(dim=0)).square().mean().sqrt().item()


DATASETS: Registry[Dataset] = Registry("data set")
