r"""Path, coupling, optimal transport map and reflow, measured on the same two samples.

- The conditional OT path joins one pair: x_t = (1 - t) x_0 + t x_1 is the optimal map to a single
  data point (Lipman et al. 2022, eq. 20-23). It does not determine which pairs there are.
- The minibatch-OT coupling chooses pairs: within each batch those of the smallest total squared
  distance (Pooladian et al. 2023; Tong et al. 2023).
- The optimal transport map is the coupling of all noise with all data that has the smallest
  E |x_1 - x_0|^2 = W_2^2. Larger minibatches come closer to it.
- Reflow pairs each noise sample with the end of its trajectory in the exact flow of independent
  pairs (Liu et al. 2022): not optimal, but never more expensive than the initial pairs (theorem
  3.5).
- Entropic pairs are drawn from a transport plan with entropy; joined by Brownian bridges of the
  diffusion that belongs to it, they make a Schroedinger bridge, which SF2M learns (Tong et al.
  2023, https://arxiv.org/abs/2307.03672).

Pairs are joined by the conditional OT path or by another one, on which even a single pair has
S > 0, the limit of the best coupling. The marginal flow of a coupling is that of its exact
field: in closed form for independent pairs, otherwise that of a finite set of pairs smoothed by
STD (`flowviz.fields.paired`); nothing is trained. An S below about 0.01 is due to the smoothing.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowviz.couplings import Pairs, bridge_noise, in_batches, minibatch_ot, sinkhorn
from flowviz.datasets import dataset
from flowviz.draws import noise, stream
from flowviz.experiments.configs import OnPath
from flowviz.fields import exact_field
from flowviz.fields.paired import PairedField
from flowviz.paths import AffinePath
from flowviz.schedulers import refuse_learned, scheduler
from flowviz.solvers import solve
from flowviz.straightness import (
    Straightness,
    conditional_straightness,
    quadrature_times,
    straightness_of,
)
from flowviz.training import reflow_pairs

REFLOW = 0
"""In place of a batch size: the pairs of the exact flow of independent pairs."""

BRIDGE = -1
"""In place of a batch size: Brownian bridges between entropic pairs."""

ALL = 2_048
"""The largest batch; it approximates the optimal transport map between large samples."""

SIZES = (1, 4, 16, 64, 256, ALL)
"""Batch sizes of the curves; 1 are independent pairs."""

PAIRS = 2 * ALL
"""Number of pairs from which the cost and the field of a coupling are computed."""

SPREAD = 256
"""Largest number of pairs of a minibatch in the error of a cost."""

STD = 0.15
"""Standard deviation of the Gaussian around the state of each pair."""

AT_ONCE = 0.1
"""Largest difference of two times that count as nearly the same time."""

TOL = 1e-3
"""Tolerance of solves through smoothed fields, far below the error of the smoothing."""

PROBES = 256
"""Number of particles of a measured marginal flow."""

FRAMES = 41
"""Number of drawn states of a trajectory, evenly in time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Crossings:
    """Where segments from noise to data cross.

    Attributes:
        places: (C, 2).
        apart: (C,), the difference in [0, 1] of the times at which the two particles are there,
            each moving at constant speed from t = 0 to 1.
    """

    places: NDArray[np.float64]
    apart: NDArray[np.float64]

    @property
    def at_once(self) -> NDArray[np.bool_]:
        """Whether both particles are there at nearly the same time, (C,)."""
        return self.apart < AT_ONCE


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairing:
    """The pairs of one coupling.

    Attributes:
        ends: (n, 2), the point that each noise sample is paired with.
        crossings: of the segments.
        cost: the mean squared length of the segments.
    """

    ends: NDArray[np.float64]
    crossings: Crossings
    cost: float


@dataclass(frozen=True, kw_only=True, eq=False)
class PairingsResult:
    """The same noise paired by four couplings.

    Attributes:
        noise: (n, 2).
        data: (n, 2), the sample that all couplings except reflow use.
        pairings: independent, minibatch OT, optimal transport between the samples, reflow.
    """

    noise: NDArray[np.float64]
    data: NDArray[np.float64]
    pairings: tuple[Pairing, ...]


def pair_samples(data: str, n: int, batch: int, seed: int) -> PairingsResult:
    """Two samples of `n` points, paired independently, within minibatches, as a whole, by reflow.

    Args:
        data: spec of the data set.
        n: number of points of noise and of data.
        batch: number of points of a minibatch, a divisor of n.
        seed: of both samples.
    """
    x_0, x_1 = _samples(data, n, seed)
    reflowed = _pairs(data, REFLOW, n, seed)
    ends = [in_batches(minibatch_ot, x_0, x_1, size) for size in (1, batch, n)]
    start = x_0.double().numpy()
    pairings = tuple(
        Pairing(
            ends=end,
            crossings=crossings(start, end),
            cost=float(np.square(end - start).sum(axis=1).mean()),
        )
        for end in (each.double().numpy() for each in (*ends, reflowed.x_1))
    )
    return PairingsResult(noise=start, data=x_1.double().numpy(), pairings=pairings)


def crossings(start: NDArray, end: NDArray) -> Crossings:
    """All crossings of the n segments from start to end, each (n, 2), inside both of them."""
    chords = end - start
    i, j = np.triu_indices(len(start), k=1)
    offset = start[j] - start[i]
    area = _cross(chords[i], chords[j])
    crosses = area != 0  # parallel segments do not cross
    i, j, offset, area = i[crosses], j[crosses], offset[crosses], area[crosses]
    first, second = (_cross(offset, chords[k]) / area for k in (j, i))
    inside = (first > 0) & (first < 1) & (second > 0) & (second < 1)
    points = start[i] + first[:, None] * chords[i]
    return Crossings(places=points[inside], apart=np.abs(first - second)[inside])


@dataclass(frozen=True, kw_only=True)
class CostConfig:
    """The transport cost of one coupling.

    Attributes:
        data: spec of the data set.
        batch: number of pairs of a minibatch, a divisor of PAIRS up to ALL; 1 for independent
            pairs, REFLOW for those of the exact flow.
        seed: of the points.
    """

    data: str = "checkerboard"
    batch: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.batch != REFLOW and (not 1 <= self.batch <= ALL or PAIRS % self.batch):
            raise ValueError(
                f"batch must be a power of 2 up to {ALL}, or {REFLOW} for reflow; "
                f"got {self.batch}."
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class CostResult:
    """E |x_1 - x_0|^2 of PAIRS pairs.

    Attributes:
        cost: the mean.
        error: its standard error, from the spread of minibatches of `batch` pairs, at most SPREAD:
            there are too few larger ones, and the error of the mean over all pairs hardly depends
            on their size.
    """

    cost: float
    error: float


def compute_cost(config: CostConfig) -> CostResult:
    """The transport cost of a coupling of noise and data."""
    pairs = _pairs(config.data, config.batch, PAIRS, config.seed)
    squares = _squares(pairs)
    # Pairs of one batch are dependent, batches are independent.
    batch_squares = squares
    if config.batch > SPREAD:
        batch_squares = _squares(_pairs(config.data, SPREAD, PAIRS, config.seed))
    means = batch_squares.unflatten(0, (-1, min(max(config.batch, 1), SPREAD))).mean(dim=1)
    return CostResult(cost=squares.mean().item(), error=means.std().item() / len(means) ** 0.5)


def _squares(pairs: Pairs) -> Tensor:
    """|x_1 - x_0|^2 of each pair, (n,) float64."""
    return (pairs.x_1 - pairs.x_0).double().square().sum(dim=1)


def gaussian_bound(mean: Tensor, covariance: Tensor) -> float:
    """A lower bound on W_2^2 between N(0, I) and any law of this mean (D,) and covariance (D, D).

    |m|^2 + tr (C^(1/2) - I)^2, which Gaussians attain (Gelbrich 1990, Math. Nachr. 147).
    """
    roots = torch.linalg.eigvalsh(covariance).clamp(min=0).sqrt()
    return (mean.square().sum() + (roots - 1).square().sum()).item()


def cost_bound(data: str) -> float:
    """A lower bound on the transport cost of all couplings of a data set, see `gaussian_bound`."""
    x = dataset(data).sample(100_000, stream(0, "moments")).double()
    return gaussian_bound(x.mean(dim=0), x.T.cov())


@dataclass(frozen=True, kw_only=True)
class MarginalConfig(OnPath):
    """The marginal flow of one coupling, whose pairs a path joins.

    Attributes:
        batch: number of pairs of a minibatch, as in `CostConfig`, or BRIDGE.
        seed: of the points.
    """

    batch: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_learned(self.path)
        if self.batch != BRIDGE:
            CostConfig(data=self.data, batch=self.batch, seed=self.seed)


@dataclass(frozen=True, kw_only=True, eq=False)
class MarginalResult:
    """The marginal flow of one coupling on a path.

    Attributes:
        straightness: of PROBES particles.
        alone: mean S of single pairs on the path: 0 on the conditional OT path.
        states: (FRAMES, PROBES, 2) float32, their states evenly in time.
        noise: diffusion of the bridges between the pairs; 0 for straight segments.
    """

    straightness: Straightness
    alone: float
    states: NDArray[np.float32]
    noise: float = 0.0


@torch.no_grad()
def compute_marginal(config: MarginalConfig) -> MarginalResult:
    """The marginal flow of a coupling's exact field, from the noise of `pair_samples`.

    Raises:
        Stopped: a stop was requested.
    """
    path = AffinePath(scheduler(config.path))
    x_0 = noise(PROBES, config.seed).double()
    # Other pairs than the particles', which the field would otherwise be fitted to.
    pairs = _pairs(config.data, config.batch, PAIRS, config.seed, "field-")
    diffusion = bridge_noise(pairs.x_0, pairs.x_1) if config.batch == BRIDGE else 0.0
    if config.batch == 1:
        field = exact_field(path, dataset(config.data).distribution)
        tol = 1e-5
    else:
        field, tol = PairedField(path, pairs, STD, diffusion), TOL
    nodes, frames = quadrature_times(path), path.clock(FRAMES).double()
    times = torch.cat([nodes, frames]).unique()  # one solve for both
    solved = solve(field, path.start(x_0), times, "dopri5", tol=tol)
    at_nodes, at_frames = (
        solved.states[torch.searchsorted(times, part)] for part in (nodes, frames)
    )
    return MarginalResult(
        straightness=straightness_of(field, nodes, at_nodes),
        alone=conditional_straightness(path, pairs.x_0, pairs.x_1).deviation,
        states=at_frames.float().numpy(),
        noise=diffusion,
    )


def _samples(data: str, n: int, seed: int, prefix: str = "") -> tuple[Tensor, Tensor]:
    """Noise and data, each (n, 2) float32, from the streams of a seed with this prefix."""
    x_0 = torch.randn(n, 2, generator=stream(seed, f"{prefix}noise"))
    return x_0, dataset(data).sample(n, stream(seed, f"{prefix}data"))


def _pairs(data: str, batch: int, n: int, seed: int, prefix: str = "") -> Pairs:
    """n pairs of a seed's noise by one coupling; every coupling has the same noise."""
    if batch == REFLOW:
        field = exact_field(AffinePath(scheduler("ot")), dataset(data).distribution)
        return reflow_pairs(field, n, stream(seed, f"{prefix}noise"))
    x_0, x_1 = _samples(data, n, seed, prefix)
    if batch == BRIDGE:
        generator = stream(seed, f"{prefix}plan")
        return Pairs(x_0, in_batches(lambda a, b: sinkhorn(a, b, generator), x_0, x_1, ALL))
    return Pairs(x_0, in_batches(minibatch_ot, x_0, x_1, batch))


def _cross(a: NDArray, b: NDArray) -> NDArray:
    """The third component of the cross product of vectors (n, 2), (n,)."""
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
