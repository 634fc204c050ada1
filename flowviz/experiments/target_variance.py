"""The variance of the regression target given x_t, with independent and with coupled pairs.

Its mean over time is the smallest value that the conditional loss can reach, see `theorem2`. For
independent pairs tr Cov[x'_t | x_t] has a closed form. Where pairs are chosen by optimal transport
within a minibatch it has none, and is estimated from nearest neighbours (Devroye et al. 2018, "A
nearest neighbor estimate of the residual variance", Electronic Journal of Statistics 12).

References:
    Pooladian et al. 2023, Multisample flow matching, https://arxiv.org/abs/2304.14772
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowviz.couplings import in_batches, minibatch_ot
from flowviz.datasets import dataset
from flowviz.draws import stream
from flowviz.experiments.configs import OnPath
from flowviz.experiments.fields import data_and_path
from flowviz.experiments.theorem2 import draw_pairs, late_times
from flowviz.fields import exact_field
from flowviz.paths import AffinePath
from flowviz.schedulers import refuse_learned

BATCHES = (1, 4, 16, 64, 256)
"""Sizes of the minibatches within which pairs are chosen; 1 leaves them independent."""


@dataclass(frozen=True, kw_only=True)
class TargetConfig(OnPath):
    """The variance of the regression target on one path.

    Attributes:
        nodes: number of times, denser near the end.
        n: number of samples of x_t at each time.
        seed: of the samples.
    """

    BOUNDS = {"nodes": (3, 1_000), "n": (2, 1_000_000)}

    nodes: int = 65
    n: int = 4_096
    seed: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class TargetResult:
    """E tr Cov[x'_t | x_t] / 2 on one path.

    Attributes:
        times: (K,), from 0 to the path's t_max.
        variance: (K,), at these times.
        floor: the mean over time, a lower bound of the conditional loss.
        error: its standard error.
    """

    times: NDArray[np.float64]
    variance: NDArray[np.float64]
    floor: float
    error: float


@torch.no_grad()
def compute_target(config: TargetConfig) -> TargetResult:
    """The variance of the target over time, from tr Cov[x_1 | x_t] in closed form.

    Cov[x'_t | x_t] = (D / sigma)^2 Cov[x_1 | x_t] with D = d_alpha sigma - alpha d_sigma.
    """
    target, path = data_and_path(config.data, config.path)
    exact = exact_field(path, target.distribution)
    times, parts = _quadrature(path, config.nodes)
    generator = stream(config.seed, "variance")
    means, errors = [], []
    for t in times:
        x_0, x_1 = (v.double() for v in draw_pairs(target, config.n, generator))
        x = path.flow(t, x_0, x_1)
        c = path.coefficients(t, x)
        factor = (c.wronskian / c.sigma) ** 2 / 2
        values = factor * exact.target.posterior(c.alpha, c.sigma, x).variance
        means.append(values.mean().item())
        errors.append(values.std().item() / math.sqrt(config.n))
    variance = np.array(means)
    return TargetResult(
        times=times.numpy(),
        variance=variance,
        floor=float(parts @ variance),
        error=float(np.sqrt(np.square(parts * np.array(errors)).sum())),
    )


@dataclass(frozen=True, kw_only=True)
class CouplingConfig(OnPath):
    """The variance of the target where pairs are chosen within minibatches.

    Attributes:
        batch: number of pairs of a minibatch; 1 leaves them independent.
        pairs: number of pairs, a multiple of `batch`.
        nodes: number of times.
        seed: of the pairs.
    """

    batch: int = 64
    pairs: int = 8_192
    nodes: int = 33
    seed: int = 0

    def __post_init__(self) -> None:
        refuse_learned(self.path)
        if not 1 <= self.batch <= self.pairs or self.pairs % self.batch:
            raise ValueError(
                f"pairs must be a multiple of batch, which is at least 1; got {self.pairs} pairs "
                f"and batches of {self.batch}."
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class CouplingResult:
    """The estimated variance of the target under one coupling.

    Attributes:
        times: (K,), from 0 to the path's t_max.
        variance: (K,), E tr Cov[x'_t | x_t] / 2.
        floor: the mean over time.
        cost: E |x_1 - x_0|^2 of the pairs.
    """

    times: NDArray[np.float64]
    variance: NDArray[np.float64]
    floor: float
    cost: float


@torch.no_grad()
def compute_coupling(config: CouplingConfig) -> CouplingResult:
    """The variance of the target over time: half the mean squared difference of neighbours.

    The best linear prediction from x_t is subtracted first, so that neighbours differ by little
    else than their pairs.
    """
    from sklearn.neighbors import KDTree  # slow to import, used by few pages

    target, path = data_and_path(config.data, config.path)
    x_0, x_1 = coupled_pairs(config.data, config.batch, config.pairs, config.seed)
    times, parts = _quadrature(path, config.nodes)
    variance = []
    for t in times:
        x = path.flow(t, x_0, x_1)
        c = path.coefficients(t, x)
        slope = c.d_alpha * c.alpha * target.std**2 + c.d_sigma * c.sigma
        slope = slope / ((c.alpha * target.std) ** 2 + c.sigma**2)
        residual = (path.target(t, x_0, x_1) - slope * x).numpy()
        _, neighbours = KDTree(x.numpy()).query(x.numpy(), k=2)
        variance.append(np.square(residual - residual[neighbours[:, 1]]).mean() / 2)
    return CouplingResult(
        times=times.numpy(),
        variance=np.array(variance),
        floor=float(parts @ np.array(variance)),
        cost=(x_1 - x_0).square().sum(dim=1).mean().item(),
    )


def _quadrature(path: AffinePath, nodes: int) -> tuple[Tensor, NDArray[np.float64]]:
    """Times (K,), denser near the end, and the weights of a mean over time, (K,)."""
    times, widths = late_times(path, torch.linspace(0, 1, nodes, dtype=torch.float64))
    weights = widths.numpy() / (nodes - 1)
    weights[[0, -1]] /= 2  # trapezoids
    return times, weights / path.t_max


def coupled_pairs(data: str, batch: int, pairs: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noise and data, each (pairs, 2) float64, paired by optimal transport within minibatches.

    The points are the same for every batch size; only the pairing differs.
    """
    x_0, x_1 = draw_pairs(dataset(data), pairs, stream(seed, "pairs"))
    return x_0.double(), in_batches(minibatch_ot, x_0, x_1, batch).double()
