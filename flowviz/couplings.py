"""Couplings: which noise is paired with which data point in a training batch.

The coupling is not the path: conditional OT is how one pair is joined, minibatch OT
which pairs are joined.

References:
    Tong et al. 2023, Improving and generalizing flow-based generative models with minibatch
    optimal transport, https://arxiv.org/abs/2302.00482
    Pooladian et al. 2023, Multisample flow matching, https://arxiv.org/abs/2304.14772
    Cuturi 2013, Sinkhorn distances, https://arxiv.org/abs/1306.0895
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from flowviz.registry import Registry

Coupling = Callable[[Tensor, Tensor, Generator], Tensor]
"""Noise x_0 and data x_1, both (B, *), to the data chosen so that row i belongs to x_0[i]; the
generator is for couplings that draw."""

REGULARISATION = 0.05
"""Of entropic OT, as a share of the mean squared distance of a batch."""


class PairSampler(Protocol):
    """A coupling that draws noise and data together."""

    def draw(self, n: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """n pairs, x_0 and x_1, each (n, *)."""
        ...


@dataclass(frozen=True, eq=False)
class Pairs:
    """A coupling given by its pairs: noise x_0 (N, *) and its data x_1 (N, *)."""

    x_0: Tensor
    x_1: Tensor

    def __post_init__(self) -> None:
        if self.x_0.shape != self.x_1.shape or not len(self.x_0):
            raise ValueError(
                "Pairs need noise and data of the same shape (N, *), N > 0; "
                f"got {tuple(self.x_0.shape)} and {tuple(self.x_1.shape)}."
            )

    def draw(self, n: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """n pairs drawn with replacement, x_0 and x_1, each (n, *)."""
        chosen = torch.randint(len(self.x_0), (n,), generator=generator)
        return self.x_0[chosen], self.x_1[chosen]


COUPLINGS: Registry[Coupling] = Registry("coupling")


@COUPLINGS.register("independent")
def independent(x_0: Tensor, x_1: Tensor, generator: Generator) -> Tensor:
    """Independent pairs: the data in its given order."""
    return x_1


@COUPLINGS.register("minibatch-ot")
def minibatch_ot(x_0: Tensor, x_1: Tensor, generator: Generator | None = None) -> Tensor:
    """The pairs of minimal total squared distance within the batch, by POT's network simplex.

    With equal weights an optimal plan is a permutation (Birkhoff); nothing is resampled.
    """
    import ot  # nearly a third of what the app imports, for few of its pages

    plan = ot.emd([], [], _costs(x_0, x_1), numItermax=1_000_000)
    return x_1[torch.as_tensor(plan.argmax(axis=1), device=x_1.device)]


@COUPLINGS.register("sinkhorn")
def sinkhorn(x_0: Tensor, x_1: Tensor, generator: Generator) -> Tensor:
    """Pairs drawn from the entropic transport plan within the batch, by POT (Cuturi 2013).

    Each noise keeps its place and draws a data point from its row of the plan, so that a data
    point can occur several times. The regularisation is REGULARISATION of the mean cost.
    """
    import ot

    costs = _costs(x_0, x_1)
    scale = costs.mean() or 1.0
    # A constant added to a row changes no plan; without it, far rows would underflow to 0.
    rows = costs - costs.min(axis=1, keepdims=True)
    plan = ot.sinkhorn([], [], rows, REGULARISATION * scale, stopThr=1e-4, warn=False)
    chosen = torch.multinomial(torch.as_tensor(plan), 1, generator=generator).squeeze(1)
    return x_1[chosen.to(x_1.device)]


def bridge_noise(x_0: Tensor, x_1: Tensor) -> float:
    """The diffusion whose Brownian bridges between `sinkhorn` pairs are a Schroedinger bridge.

    The regularisation of the squared distance is twice its square (Tong et al. 2023,
    https://arxiv.org/abs/2307.03672, proposition 3.1).
    """
    return float(np.sqrt(REGULARISATION * _costs(x_0, x_1).mean() / 2))


def in_batches(coupling: Callable[..., Tensor], x_0: Tensor, x_1: Tensor, batch: int) -> Tensor:
    """The data coupled with the noise within minibatches, (n, *); 1 leaves pairs independent."""
    if batch == 1:
        return x_1
    parts = zip(x_0.split(batch), x_1.split(batch), strict=True)
    return torch.cat([coupling(*part) for part in parts])


def within_classes(
    coupling: Coupling, x_0: Tensor, x_1: Tensor, y: Tensor, generator: Generator
) -> Tensor:
    """The data coupled with the noise of the rows of their own class, (B, *).

    A coupling over the whole batch would give a row the data of another class, and make the noise
    of a class depend on the class: a sampler, which draws normal noise, would start elsewhere.

    The noise x_0 and the data x_1 are (B, *), the classes of the data y (B,), which keep their
    order.
    """
    coupled = x_1.clone()
    for label in y.unique():
        rows = y == label
        coupled[rows] = coupling(x_0[rows], x_1[rows], generator)
    return coupled


def _costs(x_0: Tensor, x_1: Tensor) -> NDArray[np.float64]:
    """The squared distances of all pairs, (B, B)."""
    return torch.cdist(x_0.flatten(1).double(), x_1.flatten(1).double()).square().cpu().numpy()
