"""Couplings of noise with a whole data set, prepared before a training.

References:
    Mousavi-Hosseini et al. 2025, Flow matching with semidiscrete couplings,
        https://arxiv.org/abs/2509.25519
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from flowviz.couplings import COUPLINGS, PairSampler
from flowviz.datasets import Dataset
from flowviz.draws import stream
from flowviz.registry import Registry

DATA_COUPLINGS: Registry[Callable[[Dataset, int], PairSampler]] = Registry(
    "coupling of a data set"
)
"""Arguments: the data set, whose source, if any, takes the place of noise, and the seed."""

CELLS = 1_024
"""Number of data points of semidiscrete OT."""


@dataclass(frozen=True, eq=False)
class Cells:
    """Semidiscrete optimal transport: each x_0 has the data point of the cell that it lies in.

    The cell of the standardised point y_j holds the x_0 with the largest g_j - |x_0 - y_j|^2. The
    potential g makes each cell as probable as its point.
    """

    data: Dataset
    points: Tensor
    """Data points, (N, 2)."""
    standard: Tensor
    """The points with mean 0 and standard deviation 1, (N, 2)."""
    potential: Tensor
    """The dual potential g, (N,)."""

    def draw(self, n: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """n pairs of a new x_0 and its data point, each (n, 2)."""
        x_0 = self.data.starts(n, generator)
        costs = torch.cdist(x_0, self.standard).square()
        return x_0, self.points[(self.potential - costs).argmax(dim=1)]


@DATA_COUPLINGS.register("semidiscrete")
def semidiscrete(data: Dataset, seed: int) -> Cells:
    """Optimal transport between all noise and CELLS points of the data, by POT.

    The potential is found by stochastic gradient ascent of the semi-dual problem with a falling
    entropic regularisation. Shifting and scaling the data does not change the optimal pairs.
    """
    from ot.semidiscrete import solve_semidiscrete

    generator = stream(seed, "semidiscrete")
    points, counts = data.sample(CELLS, generator).unique(dim=0, return_counts=True)
    standard = points - points.mean(0)
    standard = standard / standard.square().mean().sqrt().clamp_min(1e-12)
    solve: Any = solve_semidiscrete  # its hints have no sampler and no tensors
    potential = solve(
        standard,
        lambda n: data.starts(n, generator),
        counts.float() / CELLS,
        max_iter=1_000,
        batch_size=64,
        decreasing_reg_initial_eps=0.5,
    )
    return Cells(data, points, standard, potential)


def check_coupling(name: str) -> None:
    """Checks that there is a coupling of this name in the plane.

    Raises:
        ValueError: it is in neither registry.
    """
    known: Registry[object] = Registry(COUPLINGS.kind)
    known.update(COUPLINGS | DATA_COUPLINGS)
    _ = known[name]
