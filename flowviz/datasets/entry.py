"""What a data set is, and the registry of those that are built in."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Generator, Tensor

from flowviz.distributions import Distribution
from flowviz.draws import stream
from flowviz.registry import Registry

__all__ = ["DATASETS", "FRAME", "Dataset", "Sampler", "from_frame", "to_frame"]

FRAME = 5.0
"""The plane is drawn over [-FRAME, FRAME]^2 for every data set."""

Sampler = Callable[[int, Generator], Tensor]
"""A number n and a generator to n independent samples, (n, 2) float32."""


@dataclass(frozen=True)
class Dataset:
    """A seeded sampler in the frame with its exact distribution."""

    name: str
    """The spec: `dataset(name)` gives this data set again."""
    label: str
    """What menus and legends show."""
    sentence: str
    """What it is, for help texts and captions."""
    sampler: Sampler
    distribution: Distribution
    """The law of one sample, in closed form."""
    center: tuple[float, float] = (0.0, 0.0)
    """The user's coordinates of the frame's origin."""
    scale: float = 1.0
    """The length in the user's coordinates of one unit of the frame."""

    def sample(self, n: int, generator: Generator) -> Tensor:
        """n independent samples in the frame, (n, 2) float32."""
        if n < 1:
            raise ValueError(f"The number of samples must be at least 1; got {n}.")
        return self.sampler(n, generator)

    def to_user(self, x: Tensor) -> Tensor:
        """Points x of the frame, (B, 2), in the user's coordinates: center + scale x."""
        return from_frame(x, self.center, self.scale)

    def from_user(self, x: Tensor) -> Tensor:
        """Points x in the user's coordinates, (B, 2), in the frame; inverts `to_user`."""
        return to_frame(x, self.center, self.scale)

    @property
    def mean(self) -> Tensor:
        """The mean of one sample, (2,) float32, as estimated from a fixed draw."""
        return self._moments[0]

    @property
    def std(self) -> float:
        """The root mean square over samples and dimensions of a sample less its mean.

        Like `mean` it comes from a fixed draw, so that it is the same in every process.
        """
        return self._moments[1]

    @cached_property
    def _moments(self) -> tuple[Tensor, float]:
        x = self.sample(100_000, stream(0, "moments")).double()
        return x.mean(dim=0).float(), (x - x.mean(dim=0)).square().mean().sqrt().item()


def from_frame(x: Tensor, center: tuple[float, float], scale: float) -> Tensor:
    """Points x of the frame, (B, 2), where its origin is `center` and its unit `scale` long.

    It is computed in float64: a table far from 0 has no digits to lose.
    """
    origin = torch.tensor(center, dtype=torch.float64, device=x.device)
    return (origin + scale * x.double()).to(x)


def to_frame(x: Tensor, center: tuple[float, float], scale: float) -> Tensor:
    """Points x (B, 2) in the frame; inverts `from_frame`."""
    origin = torch.tensor(center, dtype=torch.float64, device=x.device)
    return ((x.double() - origin) / scale).to(x)


DATASETS: Registry[Dataset] = Registry("data set")
