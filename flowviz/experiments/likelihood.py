"""What a field's flow makes of densities: p_t on a grid, its distance from the exact p_t, points.

A learned field has no closed form of its density. It follows by the instantaneous change of
variables (Lipman et al. 2022, eq. 27-33), solved backward from each point at each time t. The
result is compared with the exact p_t of the path. That of a learned path has no closed form
before its end and is a mean over data points. All is in nats per point and in the coordinates of
the frame.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowviz.bounds import MAX_SEED
from flowviz.datasets import FRAME, Dataset
from flowviz.densities import (
    CHUNK,
    WITHIN,
    LogProb,
    draw_probes,
    even_chunk,
    log_prob,
    log_prob_along,
    refined_log_prob,
)
from flowviz.device import processors
from flowviz.distributions import PointMasses
from flowviz.draws import stream
from flowviz.experiments.configs import OfField, Solved
from flowviz.experiments.evaluate import Likelihood, likelihood
from flowviz.experiments.evolution import density_of, ends_of
from flowviz.experiments.fields import Chunked, resolve
from flowviz.experiments.mass import integrate
from flowviz.experiments.starts import log_prior
from flowviz.fields import LearnedField, exact_field
from flowviz.fields.learned_path import LearnedPathField
from flowviz.grids import GRIDS
from flowviz.paths import AffinePath
from flowviz.progress import pool
from flowviz.solvers import METHODS, Field, solve, steps_for

DIM = 2
"""The dimensions of the plane, over which bits are shared out."""

MIXED = 20_000
"""Data points that stand for the marginal density of a learned path."""

SURE = 0.25
"""The greatest standard error, in nats, with which such a density is shown."""

CLOCK = "edm"
"""The time grid of fixed steps: densities sharpen as sigma_t falls, and steps must follow."""

LATTICE_ROUNDS = 2
"""Rounds of shorter steps for an integral, to which a single point adds little."""

SEEN = -10.0
"""Points of a grid with a lower log-density are not refined: they are not visible."""


@dataclass(frozen=True, kw_only=True)
class _Backward(Solved):
    """How a flow is followed backward.

    Attributes:
        nfe: evaluations that a fixed-step method spends from the path's end, on the time grid
            CLOCK; from an earlier t it takes the rest of them. Adaptive methods ignore it.
    """

    nfe: int = 40

    def budget(self, path: AffinePath, t: float) -> dict[str, Any]:
        """The tolerance of a solve from t back to 0, or its grid, that of the path cut at t."""
        if METHODS[self.method].adaptive:
            return {"tol": self.tol}
        grid = GRIDS[CLOCK](path, steps_for(self.method, self.nfe))
        end = torch.tensor([t], dtype=grid.dtype)
        inner = grid[grid < t - 1e-9]
        return {"grid": torch.cat([inner, end]).flip(0)}


@dataclass(frozen=True, kw_only=True)
class _AtTime(_Backward):
    """A time at which a density is computed.

    Attributes:
        t: the time as a share of the path's t_max, from 0 (noise) to 1 (data).
    """

    t: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.t <= 1:
            raise ValueError(f"t must lie between 0 and 1; got {self.t}.")


@dataclass(frozen=True, kw_only=True)
class DensityConfig(_AtTime):
    """One density p_t on a grid over the frame.

    Attributes:
        cells: rows and columns of the grid.
        probes: 0 for the exact divergence, else Hutchinson's probes.
        seed: of the probes.
    """

    BOUNDS = {"cells": (2, 512), "probes": (0, 64), "seed": (0, MAX_SEED)}

    cells: int = 90
    probes: int = 0
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class DensityResult:
    """A density and the exact one; rows run along y, columns along x.

    Attributes:
        t: the path's time.
        axis: (H,), the centres of the cells, along both axes.
        log_density: (H, H) float32 nats, by change of variables.
        exact: (H, H) float32 per unit area, the path's exact p_t; of a learned path, whose p_t
            has no closed form before its end, the estimate of `evolution.density_of` from MIXED
            data points.
        error: (H, H) float32 nats, the standard error of Hutchinson's estimate; None of the exact
            divergence or of a single probe.
        nfe: counted evaluations of the field, for all but the points of `refined`.
        refined: the share of the points that needed shorter steps.
        mass: the integral of the density over the frame, 1 if nothing is lost; see
            `flowviz.experiments.mass`.
        mass_error: its estimated error.
        unconverged: the share of the points whose steps are still too long.
    """

    t: float
    axis: NDArray[np.float64]
    log_density: NDArray[np.float32]
    exact: NDArray[np.float32]
    error: NDArray[np.float32] | None
    nfe: int
    refined: float
    mass: float
    mass_error: float
    unconverged: float = 0.0

    @property
    def density(self) -> NDArray[np.float32]:
        """The density per unit area, (H, H)."""
        return np.exp(self.log_density)

    @property
    def exact_mass(self) -> float:
        """The exact density's sum over the cells, which shows what the grid does not resolve."""
        return float(self.exact.sum(dtype=np.float64) * self._area)

    @property
    def kl(self) -> float:
        """KL(exact || this) in nats over the frame's cells, both scaled to mass 1 there."""
        p = self.exact.astype(np.float64) / self.exact.sum(dtype=np.float64)
        log_q = self.log_density.astype(np.float64)
        log_q = log_q - np.logaddexp.reduce(log_q, axis=None)
        inside = p > 0
        return float(np.sum(p[inside] * (np.log(p[inside]) - log_q[inside])))

    @property
    def _area(self) -> float:
        return float(self.axis[1] - self.axis[0]) ** 2


@dataclass(frozen=True, kw_only=True)
class GapConfig(_AtTime):
    """The distance of a field's p_t from the exact p_t at one time.

    Attributes:
        n: Monte-Carlo points.
        seed: of the points.
    """

    BOUNDS = {"n": (2, 100_000), "seed": (0, MAX_SEED)}

    n: int = 1_000
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class GapResult:
    """KL(exact p_t || the field's p_t) in nats by Monte Carlo, and its standard error.

    Attributes:
        t: the path's time.
        kl: the mean of log p_t - log q_t over draws of the exact p_t.
        error: its standard error.
        nfe: counted evaluations of the field.
    """

    t: float
    kl: float
    error: float
    nfe: int


@dataclass(frozen=True, kw_only=True)
class LikelihoodConfig(OfField):
    """The likelihood of fresh data under one field.

    Attributes:
        n: points.
        seed: of the points.
    """

    BOUNDS = {"n": (2, 100_000), "seed": (0, MAX_SEED)}

    n: int = 2_000
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class PointConfig(_Backward):
    """One point of the plane at the path's end.

    Attributes:
        x: its first coordinate.
        y: its second.
    """

    x: float = 0.0
    y: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.x) and math.isfinite(self.y)):
            raise ValueError(f"A point must be finite; got ({self.x}, {self.y}).")


@dataclass(frozen=True, kw_only=True)
class PointResult:
    """Where a point comes from, where that noise goes to, and the density along the way.

    Attributes:
        times: (S + 1,), rising, where the solver's steps begin and end.
        backward: (S + 1, 2), the states of the solve back from the point, at `times`.
        log_density: (S + 1,) nats, log p_t of the field's flow along it.
        exact: (S + 1,) nats, the path's exact log p_t there; of a learned path the estimate from
            MIXED data points, NaN where its standard error is above SURE.
        forward_times: (R + 1,), of the solve forth from the noise.
        forward: (R + 1, 2), its states: it ends at the point but for the solver's error.
        log_prior: log p_0 of the noise in nats.
        nfe: counted evaluations of the way back.
    """

    times: NDArray[np.float64]
    backward: NDArray[np.float64]
    log_density: NDArray[np.float64]
    exact: NDArray[np.float64]
    forward_times: NDArray[np.float64]
    forward: NDArray[np.float64]
    log_prior: float
    nfe: int

    @property
    def noise(self) -> NDArray[np.float64]:
        """The state at t = 0 that flows into the point, (2,)."""
        return self.backward[0]

    @property
    def log_prob(self) -> float:
        """The log-density at the point in nats."""
        return float(self.log_density[-1])

    @property
    def miss(self) -> float:
        """How far the way forth ends from the point: the solver's error, there and back."""
        return float(np.linalg.norm(self.forward[-1] - self.backward[-1]))


def bits_per_dim(nats: float) -> float:
    """A negative log-likelihood of the plane, from nats to bits a dimension."""
    return nats / (DIM * math.log(2))


def compute_density(config: DensityConfig, *, field: Field | None = None) -> DensityResult:
    """The density of a field's flow at one time on the frame's grid, and the exact one.

    Raises:
        SolveError: the flow cannot be followed backward.
    """
    target, path, field = resolve(config.data, config.path, config.field, field, sources=True)
    t = path.time(config.t)
    axis = (torch.arange(config.cells, dtype=torch.float64) + 0.5) * (2 * FRAME / config.cells)
    axis = axis - FRAME
    points = torch.cartesian_prod(axis, axis).flip(1).float()
    generator = stream(config.seed, "signs")

    def solve_at(x: Tensor, **options: Any) -> LogProb:
        return refined_log_prob(
            field,
            x,
            t_max=t,
            method=config.method,
            log_prior=log_prior(path),
            probe=draw_probes(x, config.probes, generator) if config.probes else None,
            workers=processors(),
            min_log_prob=SEEN,
            within=_within,
            **options,
            **config.budget(path, t),
        )

    result = solve_at(points)
    mass = integrate(result, points, partial(solve_at, rounds=LATTICE_ROUNDS))
    moment = torch.tensor([t], dtype=torch.float64)
    exact = density_of(target, path, field, moment, axis, n=MIXED)[0]
    shape = (config.cells, config.cells)
    return DensityResult(
        t=t,
        axis=axis.numpy(),
        log_density=result.log_prob.reshape(shape).numpy(),
        exact=exact.float().numpy(),
        error=None if result.error is None else result.error.reshape(shape).numpy(),
        nfe=result.nfe,
        refined=result.refined,
        mass=mass.value,
        mass_error=mass.error,
        unconverged=(result.unconverged & (result.log_prob > SEEN)).double().mean().item(),
    )


def compute_gap(config: GapConfig, *, field: Field | None = None) -> GapResult:
    """KL(exact p_t || the field's p_t) at one time, by draws of the exact p_t.

    Every time takes the same data and noise, so that the curve over t is smooth in them.

    Raises:
        ValueError: the density of a learned path is not known well enough at this time.
        SolveError: the flow cannot be followed backward.
    """
    target, path, field = resolve(config.data, config.path, config.field, field)
    generator = stream(config.seed, "pairs")
    x_1 = target.sample(config.n, generator)
    x_0 = torch.randn(config.n, 2, generator=generator)
    t = torch.tensor(path.time(config.t), dtype=torch.float64)
    learned = isinstance(field, LearnedPathField)
    x_t = (field.forward_process if learned else path).flow(t, x_0, x_1)
    log_p, unsure = _path_log_density(target, path, field, t, x_t)
    if not unsure.square().mean().sqrt() < SURE:
        raise ValueError(
            f"Before its end the density of a learned path is a mean over {MIXED:,} data points, "
            f"of which too few are near each place at t = {config.t:g}; take t = 1 or "
            "an earlier time."
        )
    result = log_prob(
        field,
        x_t,
        t_max=t.item(),
        method=config.method,
        log_prior=log_prior(path),
        workers=processors(),
        chunk=even_chunk(config.n, processors()),
        **config.budget(path, t.item()),
    )
    gaps = log_p - result.log_prob.double()
    error = gaps.std().item() / math.sqrt(config.n)
    return GapResult(t=t.item(), kl=gaps.mean().item(), error=error, nfe=result.nfe)


def compute_likelihood(config: LikelihoodConfig, *, field: Field | None = None) -> Likelihood:
    """The likelihood of fresh data in nats, as `evaluate` gives it for the same n and seed.

    Raises:
        ValueError: the data set is a finite set of points, which has no density.
        SolveError: the flow cannot be followed backward.
    """
    target, _, judged = resolve(config.data, config.path, config.field, field)
    if isinstance(target.distribution, PointMasses):
        raise ValueError("A finite set of points has no density and hence no entropy.")
    assert isinstance(judged, LearnedField | LearnedPathField | Chunked)
    return likelihood(judged, target, n=config.n, seed=config.seed)


def compute_point(config: PointConfig, *, field: Field | None = None) -> PointResult:
    """The trajectory of a point back to its noise and forward again, in the field's precision.

    Raises:
        SolveError: the flow cannot be followed.
    """
    target, path, field = resolve(config.data, config.path, config.field, field)
    learned = isinstance(field, torch.nn.Module)
    dtype = next(field.parameters()).dtype if learned else torch.float64
    x = torch.tensor([[config.x, config.y]], dtype=dtype)
    budget = config.budget(path, path.t_max)
    backward = log_prob_along(
        field, x, t_max=path.t_max, method=config.method, log_prior=log_prior(path), **budget
    )
    x_0 = backward.states[0]
    forward = solve(field, x_0, path.clock(2), config.method, **_reversed_budget(budget))
    states = backward.states[:, 0].double()
    return PointResult(
        times=backward.times.numpy(),
        backward=states.numpy(),
        log_density=backward.log_prob[:, 0].double().numpy(),
        exact=_log_density_along(target, path, field, backward.times, states).numpy(),
        forward_times=forward.step_times.numpy(),
        forward=forward.step_states[:, 0].double().numpy(),
        log_prior=log_prior(path)(x_0).item(),
        nfe=backward.nfe,
    )


def carry(
    field: Field, x_0: Tensor, times: Sequence[float] | Tensor, method: str, **budget: Any
) -> tuple[Tensor, int]:
    """The states (T, B, *) of x_0 (B, *) at `times`, by all processors, and the counted NFE."""
    end_times = torch.as_tensor(times, dtype=torch.float64)
    with pool(processors()) as threads:
        solved = partial(solve, field, times=end_times, method=method, **budget)
        solutions = list(threads.map(solved, x_0.split(CHUNK)))
    states = torch.cat([solution.states for solution in solutions], dim=1)
    return states, max(solution.nfe for solution in solutions)


def _within(log_density: Tensor) -> Tensor:
    """The accepted errors of log-densities (B,) in nats, on a grid.

    Below a density of e^-3 they grow as its root falls, up to a nat near SEEN: such points add
    little to an integral.
    """
    return WITHIN * ((-3 - log_density) / 2).clamp(0, 3).exp()


def _path_log_density(
    target: Dataset, path: AffinePath, field: Field, t: Tensor, x: Tensor
) -> tuple[Tensor, Tensor]:
    """The path's own log p_t at t and x (B, 2), and the standard error of what is estimated."""
    if not isinstance(field, LearnedPathField):
        return exact_field(path, target.distribution).log_density(t, x.double()), torch.zeros(1)
    if t >= path.t_max:
        ends = exact_field(ends_of(path), target.distribution)
        return ends.log_density(t, x.double()), torch.zeros(1)
    points = target.sample(MIXED, stream(0, "mixture"))
    return field.forward_process.log_density(t, x, points)


def _log_density_along(
    target: Dataset, path: AffinePath, field: Field, times: Tensor, states: Tensor
) -> Tensor:
    """The path's log p_t at times (S + 1,) and states (S + 1, 2), NaN if its error is large."""
    if not isinstance(field, LearnedPathField):
        return exact_field(path, target.distribution).log_density(times, states)
    log_densities = []
    for t, x in zip(times, states, strict=True):
        log_p, error = _path_log_density(target, path, field, t, x[None])
        log_densities.append(log_p[0] if error[0] < SURE else log_p.new_tensor(math.nan))
    return torch.stack(log_densities)


def _reversed_budget(budget: Mapping[str, Any]) -> dict[str, Any]:
    """The budget of a solve backward, for the same steps forward."""
    return {k: v.flip(0) if k == "grid" else v for k, v in budget.items()}
