r"""Which OT: three things that are called optimal transport, and reflow, on the same two samples.

- The conditional OT path says how one pair is joined: x_t = (1 - t) x_0 + t x_1 is the optimal map
  to a single data point (Lipman et al. 2022, eq. 20-23). Which pairs there are it leaves open; by
  itself they know nothing of each other.
- The minibatch-OT coupling says which pairs: within each batch those of least total squared
  distance (Pooladian et al. 2023; Tong et al. 2023).
- The optimal transport map is the one coupling of all noise with all data of least
  E |x_1 - x_0|^2 = W_2^2. Minibatches come the nearer to it the larger they are.
- Reflow pairs each noise with where the exact flow of independent pairs carries it (Liu et al.
  2022): not optimal, but never dearer than the pairs that it started from (theorem 3.5).

Pairs are joined by the conditional OT path, or by another one: then a pair's own way has an S
already, and that is what the best coupling comes to. What each coupling makes of the marginal flow
is seen from its exact field: in closed form for independent pairs, for the others that of a finite
set of pairs smoothed by STD (`flowviz.fields.paired`), so that nothing has to be trained. An S
below about 0.01 is that smoothing's own.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowviz.bounds import check_bounds
from flowviz.couplings import COUPLINGS, Pairs
from flowviz.datasets import dataset
from flowviz.draws import noise, stream
from flowviz.fields import exact_field
from flowviz.fields.paired import PairedField
from flowviz.paths import AffinePath
from flowviz.schedulers import refuse_learned, scheduler
from flowviz.solvers import solve
from flowviz.straightness import (
    Straightness,
    conditional_straightness,
    marginal_straightness,
)
from flowviz.training import reflow_pairs

__all__ = [
    "ALL",
    "REFLOW",
    "SIZES",
    "STD",
    "CostConfig",
    "CostResult",
    "Crossings",
    "MarginalConfig",
    "MarginalResult",
    "Pairing",
    "PairingsConfig",
    "PairingsResult",
    "compute_cost",
    "compute_marginal",
    "compute_pairings",
    "crossings",
    "least_cost",
]

REFLOW = 0
"""In place of a batch size: pairs that the exact flow of independent ones makes."""

ALL = 2_048
"""The largest batch, which stands for the optimal transport map: points of two large samples."""

SIZES = (1, 4, 16, 64, 256, ALL)
"""Batch sizes of the curves; 1 are independent pairs."""

PAIRS = 2 * ALL
"""Pairs of a coupling, from which its cost and its field are had."""

SPREAD = 256
"""Pairs of the largest minibatches whose spread tells the error of a cost."""

STD = 0.15
"""Standard deviation of the cloud about each pair's state."""

AT_ONCE = 0.1
"""Two segments that cross are nearly there at once if their times there differ by less."""

TOL = 1e-3
"""Of the solves through smoothed fields: far below what the smoothing errs by."""

PROBES = 256
"""Particles by which a marginal flow is measured."""

FRAMES = 41
"""States of the ways that are drawn, evenly in time."""


@dataclass(frozen=True, kw_only=True)
class PairingsConfig:
    """Two samples of n points and how they are paired: only names and numbers.

    Attributes:
        data: spec of the data set.
        n: points of noise and of data.
        batch: points of a minibatch, which divides n.
        seed: of both samples.
    """

    VERSION: ClassVar[int] = 1

    data: str = "checkerboard"
    n: int = 64
    batch: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        check_bounds(self, n=(2, 512))
        if not 1 <= self.batch <= self.n or self.n % self.batch:
            raise ValueError(f"batch must divide n = {self.n}; got {self.batch}.")


@dataclass(frozen=True, kw_only=True, eq=False)
class Crossings:
    """Where segments from noise to data cross.

    Attributes:
        places: (C, 2).
        apart: (C,), the difference in [0, 1] of the times at which the two are there, each moving
            evenly from t = 0 to 1.
    """

    places: NDArray[np.float64]
    apart: NDArray[np.float64]

    @property
    def at_once(self) -> NDArray[np.bool_]:
        """Whether both are there at nearly the same time, (C,)."""
        return self.apart < AT_ONCE


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairing:
    """One way to pair the noise.

    Attributes:
        ends: (n, 2), what each point of noise is paired with.
        crossings: of the segments.
        cost: the mean squared length of the segments.
    """

    ends: NDArray[np.float64]
    crossings: Crossings
    cost: float


@dataclass(frozen=True, kw_only=True, eq=False)
class PairingsResult:
    """The same noise paired in four ways.

    Attributes:
        noise: (n, 2).
        data: (n, 2), the sample that all but reflow pair with.
        pairings: independent, minibatch OT, optimal transport between the samples, reflow.
    """

    noise: NDArray[np.float64]
    data: NDArray[np.float64]
    pairings: tuple[Pairing, Pairing, Pairing, Pairing]


def compute_pairings(config: PairingsConfig) -> PairingsResult:
    """The four pairings of a config's two samples."""
    x_0, x_1 = _samples(config.data, config.n, config.seed)
    reflowed = _pairs(config.data, REFLOW, config.n, config.seed)
    ends = [_coupled(x_0, x_1, batch) for batch in (1, config.batch, config.n)]
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
    along = end - start
    i, j = np.triu_indices(len(start), k=1)
    offset = start[j] - start[i]
    area = _cross(along[i], along[j])
    some = area != 0  # parallel segments do not cross
    i, j, offset, area = i[some], j[some], offset[some], area[some]
    first, second = (_cross(offset, along[k]) / area for k in (j, i))
    inside = (first > 0) & (first < 1) & (second > 0) & (second < 1)
    places = start[i] + first[:, None] * along[i]
    return Crossings(places=places[inside], apart=np.abs(first - second)[inside])


@dataclass(frozen=True, kw_only=True)
class CostConfig:
    """The transport cost of one coupling: only names and numbers.

    Attributes:
        data: spec of the data set.
        batch: pairs of a minibatch, a divisor of PAIRS up to ALL; 1 for independent ones, REFLOW
            for those of the exact flow.
        seed: of the points.
    """

    VERSION: ClassVar[int] = 2

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
        error: its standard error, from the spread of minibatches of `batch` pairs, but of no more
            than SPREAD: of larger ones there are too few, and the error of the mean over as many
            pairs hardly depends on how large they are.
        least: a lower bound on the cost of every coupling, see `least_cost`.
    """

    cost: float
    error: float
    least: float


def compute_cost(config: CostConfig) -> CostResult:
    """The transport cost of a coupling of noise and data."""
    pairs = _pairs(config.data, config.batch, PAIRS, config.seed)
    squares = _squares(pairs)
    # Pairs of one batch depend on each other, batches do not.
    apart = squares
    if config.batch > SPREAD:
        apart = _squares(_pairs(config.data, SPREAD, PAIRS, config.seed))
    means = apart.unflatten(0, (-1, min(max(config.batch, 1), SPREAD))).mean(dim=1)
    return CostResult(
        cost=squares.mean().item(),
        error=means.std().item() / len(means) ** 0.5,
        least=_least(config.data),
    )


def _squares(pairs: Pairs) -> Tensor:
    """|x_1 - x_0|^2 of each pair, (n,) float64."""
    return (pairs.x_1 - pairs.x_0).double().square().sum(dim=1)


def least_cost(mean: Tensor, covariance: Tensor) -> float:
    """A lower bound on W_2^2 between N(0, I) and any law of this mean (D,) and covariance (D, D).

    |m|^2 + tr (C^(1/2) - I)^2, which Gaussians attain (Gelbrich 1990, Math. Nachr. 147).
    """
    roots = torch.linalg.eigvalsh(covariance).clamp(min=0).sqrt()
    return (mean.square().sum() + (roots - 1).square().sum()).item()


@dataclass(frozen=True, kw_only=True)
class MarginalConfig:
    """The marginal flow of one coupling: only names and numbers.

    Attributes:
        data: spec of the data set.
        batch: pairs of a minibatch, a divisor of PAIRS up to ALL; 1 for independent ones, REFLOW
            for those of the exact flow.
        seed: of the points.
        path: spec of the path that joins each pair.
    """

    VERSION: ClassVar[int] = 2

    data: str = "checkerboard"
    batch: int = 1
    seed: int = 0
    path: str = "ot"

    def __post_init__(self) -> None:
        refuse_learned(self.path)
        CostConfig(data=self.data, batch=self.batch, seed=self.seed)


@dataclass(frozen=True, kw_only=True, eq=False)
class MarginalResult:
    """The marginal flow of one coupling on a path.

    Attributes:
        straightness: of PROBES particles.
        alone: S of the pairs' own ways, each moved along the path as if it were alone: 0 on the
            conditional OT path.
        states: (FRAMES, PROBES, 2) float32, their states evenly in time.
    """

    straightness: Straightness
    alone: float
    states: NDArray[np.float32]


@torch.no_grad()
def compute_marginal(config: MarginalConfig) -> MarginalResult:
    """The marginal flow of a coupling's exact field, from the noise of `compute_pairings`."""
    path = AffinePath(scheduler(config.path))
    x_0 = noise(PROBES, config.seed).double()
    # Not the pairs of the particles: each particle would meet its own pair again.
    pairs = _pairs(config.data, config.batch, PAIRS, config.seed, "field-")
    if config.batch == 1:
        field = exact_field(path, _dataset(config.data).distribution)
        tol = 1e-5
    else:
        field, tol = PairedField(path, pairs, STD), TOL
    times = path.clock(FRAMES)
    states = solve(field, path.start(x_0), times, "dopri5", tol=tol).states
    return MarginalResult(
        straightness=marginal_straightness(field, x_0, tol=tol),
        alone=conditional_straightness(path, pairs.x_0, pairs.x_1).deviation,
        states=states.float().numpy(),
    )


_dataset = lru_cache(maxsize=16)(dataset)


def _samples(data: str, n: int, seed: int, prefix: str = "") -> tuple[Tensor, Tensor]:
    """Noise and data, each (n, 2) float32, from the streams of a seed with this prefix."""
    x_0 = torch.randn(n, 2, generator=stream(seed, f"{prefix}noise"))
    return x_0, _dataset(data).sample(n, stream(seed, f"{prefix}data"))


@lru_cache(maxsize=32)
def _pairs(data: str, batch: int, n: int, seed: int, prefix: str = "") -> Pairs:
    """n pairs of a seed's noise by one coupling; every coupling has the same noise."""
    if batch == REFLOW:
        field = exact_field(AffinePath(scheduler("ot")), _dataset(data).distribution)
        return reflow_pairs(field, n, stream(seed, f"{prefix}noise"))
    x_0, x_1 = _samples(data, n, seed, prefix)
    return Pairs(x_0, _coupled(x_0, x_1, batch))


def _coupled(x_0: Tensor, x_1: Tensor, batch: int) -> Tensor:
    """The data reordered by optimal transport within minibatches, (n, 2)."""
    if batch == 1:
        return x_1
    parts = zip(x_0.split(batch), x_1.split(batch), strict=True)
    return torch.cat([COUPLINGS["minibatch-ot"](*part) for part in parts])


@lru_cache(maxsize=64)
def _least(data: str) -> float:
    x = _dataset(data).sample(100_000, stream(0, "moments")).double()
    return least_cost(x.mean(dim=0), x.T.cov())


def _cross(a: NDArray, b: NDArray) -> NDArray:
    """The third component of the cross product of vectors (n, 2), (n,)."""
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
