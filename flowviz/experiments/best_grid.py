"""The best time grid of a field for a one-step method, by dynamic programming.

The candidate times are those of the grids even in t and even in log-SNR. For each number of steps
k and each candidate time, the search keeps the grid of k steps to this time whose states, followed
to the end without further error, miss the converged ends by the smallest root mean square over
particles. It extends these grids by one step to all later times. This is exact for two steps. For
more it is an approximation: a grid that is worse so far can be better at the end.

Compare Watson et al. 2021, Learning to efficiently sample from diffusion probabilistic models,
https://arxiv.org/abs/2106.03802, where the costs of steps are terms of the likelihood bound and
the same search is exact.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowviz.bounds import MAX_SEED, check_bounds
from flowviz.draws import noise
from flowviz.experiments.evaluate import Reference, reference
from flowviz.experiments.fields import FieldRef
from flowviz.grids import GRIDS
from flowviz.methods import METHODS, Evaluate, Tableau
from flowviz.progress import Progress
from flowviz.solvers import solve

CANDIDATES = ("uniform", "log-snr")
"""Grids whose times are the candidates."""

FINE = "midpoint"
"""Method that follows states to the end, in a step between two candidates."""

COMPARED = ("uniform", "log-snr", "edm", "shift")
"""Grids that the best one is compared with."""


def one_step_methods() -> dict[str, str]:
    """The menu label of each fixed-step method whose steps depend on the last state only."""
    return {
        name: method.menu
        for name, method in METHODS.items()
        if isinstance(method.step, Tableau) and method.final is None
    }


@dataclass(frozen=True, kw_only=True)
class BestGridConfig:
    """A field, a method and the budgets; names and numbers only, a cache key.

    Attributes:
        source: name of the field.
        method: one of `one_step_methods`.
        nfes: budgets; each is spent as far as the method can.
        cells: number of steps of each grid of CANDIDATES.
        particles: number of trajectories on which the grids are optimised.
        n: number of other trajectories on which they are compared.
        seed: of the noise; the comparison uses the next seed.
    """

    source: str
    method: str = "euler"
    nfes: tuple[int, ...] = (2, 4, 8)
    cells: int = 16
    particles: int = 64
    n: int = 2_000
    seed: int = 0

    def __post_init__(self) -> None:
        check_bounds(self, cells=(2, 64), particles=(2, 4_096), n=(10, 20_000))
        check_bounds(self, seed=(0, MAX_SEED - 1))
        if self.method not in one_step_methods():
            known = ", ".join(one_step_methods())
            raise ValueError(f"method must make independent steps: {known}; got {self.method!r}.")
        min_nfe = min(self.nfes, default=0)
        if min_nfe < METHODS[self.method].nfe(1):
            raise ValueError(
                f"Each NFE must pay for a step of {self.method}, which takes "
                f"{METHODS[self.method].nfe(1)}; got {min_nfe}."
            )

    @property
    def steps(self) -> tuple[int, ...]:
        """The numbers of steps that the budgets pay for, ascending."""
        return tuple(sorted({METHODS[self.method].steps_within(nfe) for nfe in self.nfes}))


@dataclass(frozen=True, kw_only=True, eq=False)
class BestGrids:
    """The best grid of each number of steps, and the errors of all grids.

    Attributes:
        label: the field's label.
        path: spec of the path.
        steps: (K,), numbers of steps.
        nfe: (K,), their evaluations.
        candidates: (M + 1,), the candidate times.
        best: of each number of steps the times of the best grid, (S + 1,).
        found: (K,), the RMS error of the best grid on the particles of the search.
        errors: by grid, "best" among them, the RMS error of a sample, (K,).
    """

    label: str
    path: str
    steps: NDArray[np.int64]
    nfe: NDArray[np.int64]
    candidates: NDArray[np.float64]
    best: tuple[NDArray[np.float64], ...]
    found: NDArray[np.float64]
    errors: dict[str, NDArray[np.float64]]


@torch.no_grad()
def compute_best_grids(config: BestGridConfig, progress: Progress) -> BestGrids:
    """The best grids of a field, and their errors on other noise.

    Raises:
        ValueError: a name is unknown, or a solve failed (SolveError).
        Stopped: a stop was requested.
    """
    origin = FieldRef.of(config.source)
    if max(config.steps) > 2 * config.cells - 1:
        raise ValueError(
            f"The candidates must be more than the steps: cells must be at least "
            f"{max(config.steps) // 2 + 1}; got {config.cells}."
        )
    times = torch.cat([GRIDS[name](origin.path, config.cells) for name in CANDIDATES]).unique()
    best, search_errors = _search(origin, config, times, progress)
    grids = [times[rows] for rows in best]
    progress.report(0.8, "converged flow")
    end = reference(origin.double(), config.n, config.seed + 1)
    errors = {"best": [_error(origin, config, grid, end) for grid in grids]}
    for name in COMPARED:
        named = [GRIDS[name](origin.path, steps) for steps in config.steps]
        errors[name] = [_error(origin, config, grid, end) for grid in named]
    return BestGrids(
        label=origin.label,
        path=origin.path_spec,
        steps=np.array(config.steps),
        nfe=np.array([METHODS[config.method].nfe(steps) for steps in config.steps]),
        candidates=times.numpy(),
        best=tuple(grid.numpy() for grid in grids),
        found=search_errors,
        errors={name: np.array(values) for name, values in errors.items()},
    )


def _search(
    origin: FieldRef, config: BestGridConfig, times: Tensor, progress: Progress
) -> tuple[list[list[int]], NDArray[np.float64]]:
    """The indices into times (M + 1,) of the best grids, and their RMS errors, (K,)."""
    x_0 = origin.path.start(noise(config.particles, config.seed))
    converged = _converged_ends(origin, x_0, times)
    step, last, max_steps = METHODS[config.method].step, len(times) - 1, max(config.steps)
    assert isinstance(step, Tableau)  # `one_step_methods`
    states: dict[int, dict[int, Tensor]] = {0: {0: x_0}}
    previous: dict[tuple[int, int], int] = {}
    errors: dict[tuple[int, int], float] = {}
    for j in range(1, last + 1):
        progress.report(0.8 * j / last, "search")
        stepped, keys = [], []
        for i, states_by_count in states.items():
            counts = [k for k in states_by_count if k < max_steps]
            if counts:
                x = torch.cat([states_by_count[k] for k in counts])
                stepped.append(step(_unweighted(origin), times[i], times[j], x))
                keys += [(k + 1, i) for k in counts]
        reached = torch.cat(stepped)
        ends = _converged_ends(origin, reached, times[j:])
        deviation = ends.unflatten(0, (len(keys), -1)) - converged
        rms = deviation.double().square().sum(dim=-1).mean(dim=-1).sqrt().tolist()
        states[j] = {}
        for (k, i), error, x in zip(keys, rms, reached.chunk(len(keys)), strict=True):
            if error < errors.get((k, j), np.inf):
                states[j][k], previous[k, j], errors[k, j] = x, i, error
    grids = []
    for count in config.steps:
        indices = [last]
        for k in range(count, 0, -1):
            indices.append(previous[k, indices[-1]])
        grids.append(indices[::-1])
    return grids, np.array([errors[count, last] for count in config.steps])


def _converged_ends(origin: FieldRef, x: Tensor, times: Tensor) -> Tensor:
    """The ends of states x (B, 2) at the first of times, in a step of FINE between any two."""
    if len(times) == 1:
        return x
    return solve(origin.field, x, times[[0, -1]], FINE, grid=times).states[-1]


def _unweighted(origin: FieldRef) -> Evaluate:
    """The field as a step calls it: with the weight of an evaluation, which it does not use."""
    return lambda t, x, weight=1.0: origin.field(t, x)


def _error(origin: FieldRef, config: BestGridConfig, grid: Tensor, end: Reference) -> float:
    """The RMS distance of samples on a grid from the converged ends of the same noise."""
    x_0 = origin.path.start(noise(config.n, config.seed + 1))
    states = solve(origin.field, x_0, grid[[0, -1]], config.method, grid=grid).states[-1]
    return (states.double() - end.states).square().sum(dim=-1).mean().sqrt().item()
