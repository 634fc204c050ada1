r"""Where exact flows carry the same noise, on every path: to the same data.

With y = x / sigma and lambda = alpha / sigma the flow of every affine path to one data
distribution, with independent coupling, is

    dy / d lambda = E[x_1 | y, lambda],

in which no schedule is left: paths differ in their clock and scale alone. To compare where they
end, three things are seen to:

- They stop at lambda of 999 to 1000. What is compared is x / alpha = y / lambda, which changes by
  (E[x_1 | x] - x / alpha) d log lambda, hence by about 1e-6 from one stop to the other.
- They start at different lambda: 0 for OT and the trigonometric path, 0.0066 for VP, 0.04 for VE.
  A sampler starts them all from the noise alone as if lambda were 0, so that the last two begin a
  little beside the way; that is the whole of what they differ by in the end. With `matched` they
  start on it, at y of the OT flow at their own first lambda.
- Solvers err: the ends are those of dopri5 at a tight tolerance in float64, and the distance of
  cheaper solves from them is what discretisation costs.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowviz.bounds import check_bounds
from flowviz.draws import noise
from flowviz.experiments.evolution import EXACT, resolve
from flowviz.grids import GRIDS, ratio, time_of
from flowviz.paths import AffinePath
from flowviz.schedulers import SCHEDULERS, scheduler
from flowviz.solvers import METHODS, Field, SolveError, solve

__all__ = [
    "OWN",
    "PATHS",
    "REFERENCE",
    "EndpointsConfig",
    "EndpointsResult",
    "compute_endpoints",
    "specs",
]

PATHS = tuple(SCHEDULERS)
"""All paths; the first one's converged ends are what the others are held against."""

REFERENCE = PATHS[0]

OWN = "shaped"
"""The name of the path whose shape is the visitor's own."""

TOL = 1e-8
"""Tolerance of the converged solves."""


@dataclass(frozen=True, kw_only=True)
class EndpointsConfig:
    """The same noise along every path: only names and numbers.

    Attributes:
        data: spec of the data set.
        own: spec of the shaped schedule; empty to leave it out.
        method: a fixed-step one in METHODS.
        grid: name in GRIDS, where its steps lie.
        doublings: it takes 1, 2, 4 ... 2^doublings steps.
        n: particles.
        seed: of the noise.
        matched: whether paths that start with a little data in the noise are started there.
    """

    VERSION: ClassVar[int] = 2

    data: str = "checkerboard"
    own: str = OWN
    method: str = "midpoint"
    grid: str = "uniform"
    doublings: int = 7
    n: int = 400
    seed: int = 0
    matched: bool = False

    def __post_init__(self) -> None:
        if self.own:
            scheduler(self.own)
        if METHODS[self.method].adaptive:
            raise ValueError(f"{self.method} takes no number of steps; pick a fixed-step method.")
        _ = GRIDS[self.grid]
        check_bounds(self, doublings=(0, 12), n=(2, 20_000))


@dataclass(frozen=True, kw_only=True)
class EndpointsResult:
    """Where each path's exact flow ends, P paths by K budgets.

    Attributes:
        paths: specs of the paths, P.
        start: (n, 2), the noise.
        ends: (P, n, 2), where it is carried, x / alpha at the path's stop.
        converged_nfe: (P,), evaluations of these solves.
        floor: (P,), RMS distance of these ends from those of the first path.
        first_ratio: (P,), lambda at the path's start.
        nfe: (K,), evaluations of cheaper solves.
        distance: (P, K), RMS distance of their ends from the converged ones of the first path;
            NaN where a solve failed.
    """

    paths: tuple[str, ...]
    start: NDArray[np.float64]
    ends: NDArray[np.float64]
    converged_nfe: NDArray[np.int64]
    floor: NDArray[np.float64]
    first_ratio: NDArray[np.float64]
    nfe: NDArray[np.int64]
    distance: NDArray[np.float64]


@torch.no_grad()
def compute_endpoints(config: EndpointsConfig) -> EndpointsResult:
    """Carries the same noise along all paths of the exact field, converged and at every budget."""
    x_0 = noise(config.n, config.seed).double()
    steps = [2**k for k in range(config.doublings + 1)]
    _, reference, along = resolve(config.data, REFERENCE, EXACT)
    ends, converged, first, distance = [], [], [], []
    paths = specs(config.own)
    for spec in paths:
        _, path, field = resolve(config.data, spec, EXACT)
        first.append(ratio(path, torch.zeros((), dtype=torch.float64)).item())
        start = _matched(reference, along, path, x_0) if config.matched else path.start(x_0)
        end, nfe = _end(path, field, start, "dopri5", tol=TOL)
        ends.append(end)
        converged.append(nfe)
        row = []
        for count in steps:
            grid = GRIDS[config.grid](path, count)
            try:
                cheap, _ = _end(path, field, start, config.method, grid=grid)
            except SolveError:
                row.append(float("nan"))
            else:
                row.append(_rms(cheap, ends[0]))
        distance.append(row)
    return EndpointsResult(
        paths=paths,
        start=x_0.numpy(),
        ends=torch.stack(ends).numpy(),
        converged_nfe=np.array(converged),
        floor=np.array([_rms(end, ends[0]) for end in ends]),
        first_ratio=np.array(first),
        nfe=np.array([METHODS[config.method].nfe(count) for count in steps]),
        distance=np.array(distance),
    )


def specs(own: str) -> tuple[str, ...]:
    """The specs of PATHS with that of the visitor's own schedule in place of its name.

    If it is empty, there is none of one's own.
    """
    return tuple(own if name == OWN else name for name in PATHS if own or name != OWN)


def _end(
    path: AffinePath, field: Field, start: Tensor, method: str, **budget: object
) -> tuple[Tensor, int]:
    """x / alpha at the path's stop, and the evaluations."""
    times = path.clock(2)
    solution = solve(field, start, times, method, **budget)
    return solution.states[-1] / path.coefficients(times[-1], start).alpha, solution.nfe


def _matched(reference: AffinePath, field: Field, path: AffinePath, x_0: Tensor) -> Tensor:
    """The state at t = 0 of `path` with the y that the reference's flow has at its lambda."""
    c = path.coefficients(torch.zeros((), dtype=torch.float64), x_0)
    t = time_of(reference, (c.alpha / c.sigma).reshape(1))[0]
    if t < 1e-12:
        return path.start(x_0)
    times = torch.stack([torch.zeros_like(t), t])
    state = solve(field, reference.start(x_0), times, "dopri5", tol=TOL).states[-1]
    return c.sigma * state / reference.coefficients(t, x_0).sigma


def _rms(first: Tensor, second: Tensor) -> float:
    """The root of the mean squared distance between rows."""
    return (first - second).square().sum(dim=1).mean().sqrt().item()
