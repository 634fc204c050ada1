r"""Exact flows of different paths map the same noise to the same data.

With y = x / sigma and lambda = alpha / sigma the exact flow of every affine path with independent
coupling is

    dy / d lambda = E[x_1 | y, lambda],

which does not depend on the schedule: paths differ in their clock and scale alone. The computed
ends differ for three reasons:

- Paths stop at lambda of 999 to 1000. The compared quantity is x / alpha = y / lambda, which
  changes by (E[x_1 | x] - x / alpha) d log lambda, about 1e-6 from one stop to the other.
- Paths start at different lambda: 0 for OT and the trigonometric path, 0.0066 for VP, 0.04 for VE.
  A sampler starts all of them from pure noise, as if lambda were 0. With `matched` VP and VE start
  from the state of the OT flow at their own first lambda.
- Discretisation: the ends are those of dopri5 at a tight tolerance in float64; cheaper solutions
  differ from them by their discretisation error.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowviz.draws import noise
from flowviz.experiments.fields import EXACT, resolve
from flowviz.grids import GRIDS, ratio, time_of
from flowviz.paths import AffinePath
from flowviz.schedulers import SCHEDULERS
from flowviz.solvers import METHODS, Field, SolveError, solve

PATHS = tuple(name for name in SCHEDULERS if name != "shaped")
"""The paths with a fixed schedule; the others are compared with the first."""

REFERENCE = PATHS[0]

TOL = 1e-8
"""Tolerance of the converged solution."""


def specs(own_path: str = "") -> tuple[str, ...]:
    """The specs of PATHS, and that of the user's own schedule if it is not empty."""
    return (*PATHS, own_path) if own_path else PATHS


@dataclass(frozen=True, kw_only=True)
class EndsConfig:
    """The exact flow of one path.

    Attributes:
        data: spec of the data set.
        path: spec of the path.
        method: a fixed-step one in METHODS.
        grid: name in GRIDS, the placement of its steps.
        doublings: the numbers of steps are 1, 2, 4 ... 2^doublings.
        n: number of particles.
        seed: of the noise.
        matched: whether paths with alpha_0 > 0 start from the state of the OT flow.
    """

    data: str
    path: str
    method: str = "midpoint"
    grid: str = "uniform"
    doublings: int = 7
    n: int = 400
    seed: int = 0
    matched: bool = False

    @property
    def nfe(self) -> NDArray[np.int64]:
        """Function evaluations of the cheap solutions, (K,)."""
        return np.array([METHODS[self.method].nfe(2**k) for k in range(self.doublings + 1)])


@dataclass(frozen=True, kw_only=True, eq=False)
class Ends:
    """The ends of the exact flow of a path, as x / alpha at t_max.

    Attributes:
        start: (n, 2), the noise.
        ends: (n, 2), of the converged solution; NaN if the solver failed.
        cheap: (K, n, 2), of the solutions with few evaluations; NaN where it failed.
        converged_nfe: function evaluations of the converged solution.
        first_ratio: lambda at the path's start.
    """

    start: NDArray[np.float64]
    ends: NDArray[np.float64]
    cheap: NDArray[np.float64]
    converged_nfe: int
    first_ratio: float


@torch.no_grad()
def compute_ends(config: EndsConfig) -> Ends:
    """Solves the exact flow of a path, converged and with few evaluations."""
    x_0 = noise(config.n, config.seed).double()
    _, path, field = resolve(config.data, config.path, EXACT)
    start = _matched(config.data, path, x_0) if config.matched else path.start(x_0)
    ends, nfe = _end(path, field, start, "dopri5", tol=TOL)
    grids = [GRIDS[config.grid](path, 2**k) for k in range(config.doublings + 1)]
    cheap = [_end(path, field, start, config.method, grid=grid)[0] for grid in grids]
    return Ends(
        start=x_0.numpy(),
        ends=ends.numpy(),
        cheap=torch.stack(cheap).numpy(),
        converged_nfe=nfe,
        first_ratio=ratio(path, torch.zeros((), dtype=torch.float64)).item(),
    )


def _end(
    path: AffinePath, field: Field, start: Tensor, method: str, **budget: Any
) -> tuple[Tensor, int]:
    """x / alpha at t_max and the number of evaluations; NaN and 0 on failure."""
    times = path.clock(2)
    try:
        solution = solve(field, start, times, method, **budget)
    except SolveError:
        return torch.full_like(start, float("nan")), 0
    return solution.states[-1] / path.coefficients(times[-1], start).alpha, solution.nfe


def _matched(data: str, path: AffinePath, x_0: Tensor) -> Tensor:
    """The state at t = 0 of `path` with the y of the reference flow at the same lambda."""
    _, reference, field = resolve(data, REFERENCE, EXACT)
    c = path.coefficients(torch.zeros((), dtype=torch.float64), x_0)
    t = time_of(reference, (c.alpha / c.sigma).reshape(1))[0]
    if t < 1e-12:
        return path.start(x_0)
    times = torch.stack([torch.zeros_like(t), t])
    state = solve(field, reference.start(x_0), times, "dopri5", tol=TOL).states[-1]
    return c.sigma * state / reference.coefficients(t, x_0).sigma
