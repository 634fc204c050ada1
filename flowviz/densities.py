"""Densities of a flow: divergence, and log-likelihood by the instantaneous change of variables.

Along a trajectory of dx/dt = v_t(x) the log-density changes by minus the divergence (Lipman et al.
2022, eq. 27-33; Chen et al. 2018, https://arxiv.org/abs/1806.07366):

    log p_T(x_T) = log p_0(x_0) - int_0^T div v_t(x_t) dt,

solved backward from x_T, states and integral as one system.
"""

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor

from flowviz.bounds import MAX_NFE
from flowviz.methods import density_methods
from flowviz.progress import pool
from flowviz.solvers import METHODS, Control, Field, Solution, SolveError, solve

CHUNK = 2048
"""Points solved at once: few enough that a network's layers stay in a core's cache."""

MIN_CHUNK = 256
"""Fewer points take nearly as long."""

WITHIN = 0.05
"""Largest estimated error of a log-density in nats that counts as converged."""

SMALL = 0.1
"""Largest estimated error in nats by which a log-density is corrected."""

MISS = 0.05
"""Largest distance between a point and the forward solution from its noise."""

FINER, ROUNDS = 2, 6
"""Points that have not converged are solved again in steps FINER times shorter, up to ROUNDS
times."""

FAR = 3.0
"""Distance in nats below the log-densities that matter, which long steps do not bridge."""


@dataclass(frozen=True)
class LogProb:
    """The result of `log_prob` and `refined_log_prob`.

    Attributes:
        log_prob: (B,) nats.
        x_0: (B, *), the states at t = 0 that flow into the points.
        nfe: the counted evaluations of the field; if the points were solved in several chunks by
            an adaptive method, the most that a chunk took.
        error: (B,) nats, the standard error of Hutchinson's estimate from several probes, which is
            `log_prob`'s whole random error; None of the exact divergence or of a single probe.
        numerical: (B,) nats, the estimated error of the steps, from the change of the log-density
            between the last two step sizes and the order of the method (Richardson). Infinite
            where the flow does not lead back to the point; None if it was not estimated.
        correction: (B,) nats, the same with its sign where it is small: `log_prob` includes it,
            and so converges faster than the method. None if it was not estimated.
        within: () or (B,) nats, the largest `numerical` of a converged point.
        refined: the share of the points that needed shorter steps.
    """

    log_prob: Tensor
    x_0: Tensor
    nfe: int
    error: Tensor | None = None
    numerical: Tensor | None = None
    correction: Tensor | None = None
    within: Tensor | float = WITHIN
    refined: float = 0.0

    @property
    def unconverged(self) -> Tensor:
        """Whether the steps of each point are still too long, (B,) bool."""
        if self.numerical is None:
            return torch.zeros(len(self.log_prob), dtype=torch.bool)
        return ~(self.numerical <= self.within)


@dataclass(frozen=True)
class Trail:
    """What `log_prob_along` returns.

    Attributes:
        times: (S + 1,) float64, rising from 0, where the solver's steps begin and end.
        states: (S + 1, B, *), the states there.
        log_prob: (S + 1, B) nats, log p_t of these states.
        nfe: the counted evaluations of the field.
    """

    times: Tensor
    states: Tensor
    log_prob: Tensor
    nfe: int


def even_chunk(points: int, workers: int) -> int:
    """How many of so many points each worker solves at once, from MIN_CHUNK to CHUNK."""
    return min(CHUNK, max(MIN_CHUNK, -(-points // workers)))


def draw_probes(x: Tensor, count: int, generator: Generator | None = None) -> Tensor:
    """`count` random signs for each entry of x (B, *), in x's dtype, (count, B, *).

    Of all entries with mean 0 and variance 1, signs give Hutchinson's estimate the least variance.
    """
    if count < 1:
        raise ValueError(f"Hutchinson's estimate needs one probe or more; got {count}.")
    signs = torch.randint(2, (count, *x.shape), generator=generator)
    return (2 * signs - 1).to(x)


def velocity_and_divergence(
    field: Field, t: Tensor, x: Tensor, *, probe: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The velocity (B, *) at t, () or (B,), and x (B, *), and its divergence (B,).

    The divergence is the field's own where it has a method `divergence(t, x)`, or one of this
    name that gives both for less, or None where it does not know them. Else it is exact by D
    vector-Jacobian products, for which rows must not mix, or, with a probe z (B, *) of independent
    entries of mean 0 and variance 1, Hutchinson's estimate z^T Dv z (Lipman et al. 2022, eq. 34).
    With several probes (K, B, *) it is that by each of them, (B, K).
    """
    divergence, combined = (
        getattr(field, name, None) for name in ("divergence", "velocity_and_divergence")
    )
    if probe is None and divergence is not None:
        return field(t, x), divergence(t, x)
    if probe is None and combined is not None and (known := combined(t, x)) is not None:
        return known
    # Reverse mode: torch.func's forward mode took twice as long (its jvp of silu).
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        velocity = field(t, x)
        several = probe is not None and probe.ndim > x.ndim
        if not velocity.requires_grad:  # the field does not depend on x
            shape = (len(x), len(probe)) if probe is not None and several else (len(x),)
            return velocity, velocity.new_zeros(shape)
        if probe is not None:
            traces, at_once = [], max(1, CHUNK // max(1, len(x))) if x.ndim == 2 else 1
            for z in (probe if several else probe[None]).split(at_once):
                batched = len(z) > 1  # the first batched gradient imports functorch: 0.6 s
                (pulled,) = torch.autograd.grad(
                    velocity,
                    x,
                    z if batched else z[0],
                    retain_graph=True,
                    is_grads_batched=batched,
                    materialize_grads=True,
                )
                traces.append((pulled * z).flatten(2).sum(dim=2))
            trace = torch.cat(traces).T
            return velocity.detach(), trace if several else trace[:, 0]
        flat, trace = velocity.flatten(1), velocity.new_zeros(len(x))
        dim = flat.shape[1]
        for i in range(dim):
            (row,) = torch.autograd.grad(
                flat[:, i].sum(), x, retain_graph=i + 1 < dim, materialize_grads=True
            )
            trace = trace + row.flatten(1)[:, i]
    return velocity.detach(), trace.detach()


def normal_log_prob(x: Tensor, std: float = 1.0) -> Tensor:
    """log N(x; 0, std^2 I) of x (B, *) in nats, shape (B,)."""
    flat = x.flatten(1)
    constant = flat.shape[1] * math.log(std * math.sqrt(2 * math.pi))
    return -flat.square().sum(dim=1) / (2 * std**2) - constant


@torch.no_grad()
def log_prob(
    field: Field,
    x: Tensor,
    *,
    t_max: float,
    method: str = "dopri5",
    steps: int | None = None,
    grid: Tensor | None = None,
    tol: float = 1e-5,
    control: Control = "worst",
    log_prior: Callable[[Tensor], Tensor] = normal_log_prob,
    probe: Tensor | None = None,
    chunk: int = CHUNK,
    workers: int = 1,
) -> LogProb:
    """The log-density at time t_max of the flow from the prior, at x (B, *), in nats.

    Args:
        field: the velocity (t, x) -> (B, *).
        x: the states at t_max, shape (B, *).
        t_max: the path's last time, or any earlier one for the density there.
        method: a name in METHODS.
        steps: how many equal steps a fixed-step method takes.
        grid: in place of `steps`, where its steps begin and end, from t_max to 0, (S + 1,).
        tol: the tolerance of an adaptive method.
        control: the error that sets its steps, see `solve`.
        log_prior: log p_0 of states (B, *) in nats, (B,); a path with sigma_0 != 1 needs
            `normal_log_prob` with that std.
        probe: noise for Hutchinson's estimate in place of the exact divergence, kept along the
            trajectory so that the solver sees a smooth integrand: (B, *), or (K, B, *) for the
            mean of K estimates and its standard error; see `draw_probes`.
        chunk: points solved at once.
        workers: number of chunks solved at the same time, each by one thread.

    Raises:
        ValueError, SolveError: as `solve`.
    """
    if t_max == 0:
        return LogProb(log_prior(x), x, 0)
    several = probe is not None and probe.ndim > x.ndim
    parts = x.split(chunk)
    probes = [None] * len(parts) if probe is None else probe.split(chunk, dim=int(several))
    budget = {"steps": steps, "grid": grid, "tol": tol, "control": control}
    options = {"t_max": t_max, "method": method}

    def solved(part: Tensor, probe: Tensor | None) -> tuple[Tensor, int]:
        solution = _backward(field, part, probe, **options, **budget)
        return solution.states[-1], solution.nfe  # the steps need not be kept

    if workers > 1 and len(parts) > 1:
        with pool(workers) as threads:
            results = list(threads.map(solved, parts, probes))
    else:
        results = [solved(*each) for each in zip(parts, probes, strict=True)]
    ends = torch.cat([end for end, _ in results])
    dim = x[0].numel()
    x_0, changes = ends[:, :dim].reshape(x.shape), ends[:, dim:]
    count = changes.shape[1]  # of probes
    error = changes.std(dim=1) / math.sqrt(count) if count > 1 else None
    nfe = max(nfe for _, nfe in results)
    return LogProb(log_prior(x_0) + changes.mean(dim=1), x_0, nfe, error)


@torch.no_grad()
def refined_log_prob(
    field: Field,
    x: Tensor,
    *,
    t_max: float,
    method: str,
    steps: int | None = None,
    grid: Tensor | None = None,
    probe: Tensor | None = None,
    min_log_prob: float = -math.inf,
    rounds: int = ROUNDS,
    within: Callable[[Tensor], Tensor] | None = None,
    **shared: Any,
) -> LogProb:
    """`log_prob` with an error estimate, in shorter steps where fixed ones have not converged.

    Off the data a field can be steep: long steps pass over the separatrices of its flow and give
    density where there is none. Hence every point is solved with the given steps and with steps
    twice as long, and forward again from its noise: two long steps can agree and be wrong. Points
    with an estimated error above `within`, and those that do not come back to within MISS, are
    solved again in shorter steps. The results of the last two step sizes are extrapolated to steps
    of length 0 (Richardson; Hairer, Norsett and Wanner 1993, II.4). An adaptive method controls
    the error itself.

    Args:
        min_log_prob: points of a smaller log-density are not refined (further). Points whose
            log-density in the doubled steps is smaller by FAR are not solved in the given ones.
        rounds: how many times the steps of a point are made shorter.
        within: the largest error of a converged point, from log-densities (B,); WITHIN by default.
        shared: the other arguments of `log_prob`.

    Raises:
        ValueError, SolveError: as `log_prob`.
    """
    entry, workers = METHODS[method], shared.get("workers", 1)

    def follow(x: Tensor, **options: Any) -> LogProb:
        if not entry.adaptive:  # whose steps depend on the points that are solved together
            options = {"chunk": even_chunk(len(x), workers)} | options
        return log_prob(field, x, t_max=t_max, method=method, **options, **shared)

    if entry.adaptive or t_max == 0:
        return follow(x, probe=probe)
    if grid is None:
        if steps is None or steps < 1:
            raise ValueError(f"{method} needs `steps`, 1 or more; got {steps}.")
        grid = torch.linspace(t_max, 0, steps + 1, dtype=torch.float64)
    raw, x_0, error = x.new_full((len(x),), math.nan), x.clone(), None
    numerical, correction = torch.full_like(raw, math.inf), torch.zeros_like(raw)
    todo = torch.arange(len(x), device=x.device)
    if len(grid) > 2:
        with suppress(SolveError):  # long steps can diverge where the given ones do not
            doubled = torch.cat([grid[:1], grid[1 + len(grid) % 2 :: 2]])
            doubled_result = follow(x, grid=doubled, probe=probe)
            raw, x_0, error = doubled_result.log_prob, doubled_result.x_0, doubled_result.error
            todo = todo[~(raw <= min_log_prob - FAR)]
    allowed = (lambda each: torch.full_like(each, WITHIN)) if within is None else within
    returns = partial(_returns, field, method=method, workers=workers)

    def unconverged(rows: Tensor, steps: Tensor) -> Tensor:
        """Those of the points `rows` (n,) that must be solved in steps shorter than `steps`."""
        likely = rows[~(raw[rows] <= min_log_prob)]
        numerical[likely[~returns(x[likely], x_0[likely], steps)]] = math.inf
        return likely[~(numerical[likely] <= allowed(raw[likely]))]

    refined = 0.0
    for k in range(rounds + 1):
        finer = _subdivided(grid, FINER**k)
        if not len(todo) or (k and entry.nfe(len(finer) - 1) > MAX_NFE):
            break
        own_probe = probe if probe is None else probe[..., todo, *[slice(None)] * (x.ndim - 1)]
        refined_result = follow(x[todo], grid=finer, probe=own_probe)
        numerical[todo], correction[todo] = _richardson(
            raw[todo], refined_result.log_prob, FINER**entry.order
        )
        raw[todo], x_0[todo] = refined_result.log_prob, refined_result.x_0
        if refined_result.error is not None:
            error = torch.full_like(raw, math.nan) if error is None else error
            error[todo] = refined_result.error
        todo = unconverged(todo, finer)
        refined = refined if k else len(todo) / len(x)
    nfe = entry.nfe(len(grid) - 1)
    return LogProb(raw + correction, x_0, nfe, error, numerical, correction, allowed(raw), refined)


def _richardson(coarse: Tensor, fine: Tensor, ratio: int) -> tuple[Tensor, Tensor]:
    """The estimated error of `fine` (B,), and with its sign what to add, (B,).

    `ratio` is that of the errors of `coarse` and `fine`. Where the estimate is not small, the
    steps are too long for it to be more than a magnitude, and nothing is added.
    """
    change = (fine - coarse) / (ratio - 1)
    error = change.abs().nan_to_num(nan=math.inf)
    return error, torch.where(error <= SMALL, change, 0.0)


@torch.no_grad()
def _returns(
    field: Field,
    x: Tensor,
    x_0: Tensor,
    grid: Tensor,
    *,
    method: str,
    workers: int,
) -> Tensor:
    """Whether the flow of noise x_0 (B, *) on a reversed grid ends at x (B, *), (B,) bool."""
    if not len(x):
        return torch.zeros(0, dtype=torch.bool)
    rising = grid.flip(0)
    forward = partial(solve, field, times=rising[[0, -1]], method=method, grid=rising)

    def end(part: Tensor) -> Tensor:
        try:
            return forward(part).states[-1]
        except SolveError:
            return torch.full_like(part, math.inf)

    with pool(workers) as threads:
        ends = torch.cat(list(threads.map(end, x_0.split(even_chunk(len(x_0), workers)))))
    return (ends - x).flatten(1).norm(dim=1) <= MISS


def _subdivided(grid: Tensor, parts: int) -> Tensor:
    """The grid (S + 1,) with each step cut into equal parts, (S parts + 1,)."""
    inner = grid[:-1, None] + grid.diff()[:, None] * torch.arange(parts).to(grid) / parts
    return torch.cat([inner.flatten(), grid[-1:]])


@torch.no_grad()
def log_prob_along(
    field: Field,
    x: Tensor,
    *,
    t_max: float,
    method: str = "dopri5",
    log_prior: Callable[[Tensor], Tensor] = normal_log_prob,
    **budget: Any,
) -> Trail:
    """The way that x (B, *) has come by time t_max, and the log-density all along it, in nats.

    The arguments are those of `log_prob`, with `steps`, `grid` or `tol`.
    """
    solution = _backward(field, x, None, t_max=t_max, method=method, **budget)
    rows = solution.step_states.flip(0)
    states = rows[..., :-1].reshape(-1, *x.shape)
    # rows' last column is minus the integral from its time to t_max.
    change = rows[0, :, -1] - rows[..., -1]
    return Trail(solution.step_times.flip(0), states, log_prior(states[0]) + change, solution.nfe)


def _backward(
    field: Field, x: Tensor, probe: Tensor | None, *, t_max: float, method: str, **budget: Any
) -> Solution:
    """The rows of `_Joint` from x (B, *) at t_max back to t = 0, integrals from 0 on."""
    if METHODS[method].needs_path:
        raise ValueError(
            f"{method} integrates states, not their log-density; choose another solver "
            f"({', '.join(density_methods())})."
        )
    integrals = len(probe) if probe is not None and probe.ndim > x.ndim else 1
    start = torch.cat([x.flatten(1), x.new_zeros(len(x), integrals)], dim=1)
    times = torch.tensor([t_max, 0.0], dtype=torch.float64)
    return solve(_Joint(field, x.shape[1:], probe), start, times, method, **budget)


class _Joint:
    """States and the integrals of their divergence as one field on rows (B, D + 1) or (B, D + K).

    There is one integral, or one for each of K probes. The states do not depend on it, so that a
    stage of weight 0 needs no divergence: more than half of the midpoint method's work.
    """

    def __init__(self, field: Field, shape: torch.Size, probe: Tensor | None) -> None:
        self.field = field
        self.shape = shape
        self.probe = probe

    def __call__(self, t: Tensor, rows: Tensor) -> Tensor:
        return self.weighted(t, rows, 1.0)

    def planned(self, times: Tensor, rows: Tensor) -> "_Joint | None":
        """The same with its field prepared for these times, see `flowviz.solvers.Field`."""
        plan = getattr(self.field, "planned", None)
        if self.probe is not None or plan is None:
            return None
        field = plan(times, rows[:, : self.shape.numel()].reshape(-1, *self.shape))
        return None if field is None else _Joint(field, self.shape, None)

    def weighted(self, t: Tensor, rows: Tensor, weight: float) -> Tensor:
        dim = self.shape.numel()
        x = rows[:, :dim].reshape(-1, *self.shape)
        if weight:
            velocity, trace = velocity_and_divergence(self.field, t, x, probe=self.probe)
        else:
            velocity, trace = self.field(t, x), torch.zeros_like(rows[:, dim:])
        return torch.cat([velocity.flatten(1), trace.reshape(len(rows), -1)], dim=1)
