"""ODE solvers: they integrate a velocity field, count its evaluations and explain failures.

Fixed steps are taken here, by the step of the method (`flowviz.methods`). Adaptive methods are
those of torchdiffeq, used in three ways that differ from its defaults: it measures time from the
latest time, since its clock has the precision of the states and 1 - t would lose its digits near
the end (the field gets t in float64); it does not step past the last time; and in the plane its
step control uses the state with the largest error, not the mean over the batch.

References:
    Chen 2018, torchdiffeq, https://github.com/rtqichen/torchdiffeq
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from flowviz.bounds import MAX_NFE
from flowviz.device import finest_float
from flowviz.methods import METHODS, Adaptive, Method, density_methods, steps_for
from flowviz.paths import AffinePath
from flowviz.progress import stop_if_requested

__all__ = [
    "METHODS",
    "Counted",
    "Field",
    "Method",
    "Solution",
    "SolveError",
    "budget",
    "solve",
    "steps_for",
]

Field = Callable[[Tensor, Tensor], Tensor]
"""A velocity field: time t () and states x (B, *) to velocities (B, *). It can also have

    path: its path.
    jump(t, s, x): of a flow map, the states at s () of x at t ().
    weighted(t, x, weight): the velocity in an evaluation of this weight in a step's result; what
        only counts in the result can be left 0 where the weight is 0.
    planned(times, x): the same field, prepared for states like x; None if nothing is gained.
        `times` (T,) are known before: all of a method with fixed steps, none of an adaptive one.
"""

ROUNDING = 1e-9
"""Differences between two times below this one are those of rounding."""

Control = Literal["worst", "mean"]
"""The error that sets the steps of an adaptive method: that of the worst state, or the mean over
all states. With the mean, the other states of a batch can let one state miss the tolerance by the
square root of their number, and adding a state changes the results of all others."""


class SolveError(ValueError):
    """A failed solve; the message says at which t and what to do.

    Attributes:
        t: the time at which it failed.
    """

    def __init__(self, message: str, t: float) -> None:
        super().__init__(message)
        self.t = t


@dataclass(frozen=True)
class Solution:
    """The result of a solve.

    Attributes:
        times: (T,) float64, the requested times.
        states: (T, B, *), the states at `times`. Between the steps of a fixed-step method they lie
            on the chord; those of an adaptive method are its dense output. Between jumps there are
            none: they are those after the last jump.
        nfe: number of evaluations of the field, counted.
        step_times: (S + 1,) float64, where the accepted steps begin and, last, end.
        step_states: (S + 1, B, *), the states at `step_times`.
        rejected: (R, 2) float64, start t and signed length dt of the rejected steps.
        accepted: number of accepted steps: S, or more if `max_states` left out some.
    """

    times: Tensor
    states: Tensor
    nfe: int
    step_times: Tensor
    step_states: Tensor
    rejected: Tensor
    accepted: int


def budget(method: str, nfe: int, tol: float) -> dict[str, Any]:
    """The argument of `solve`: the steps of so many evaluations, or the tolerance if adaptive.

    Raises:
        ValueError: a fixed-step method cannot take exactly `nfe` evaluations.
    """
    return {"tol": tol} if METHODS[method].adaptive else {"steps": steps_for(method, nfe)}


@torch.no_grad()
def solve(
    field: Field,
    x_0: Tensor,
    times: Tensor,
    method: str,
    *,
    steps: int | None = None,
    grid: Tensor | None = None,
    tol: float = 1e-5,
    control: Control = "worst",
    max_states: int | None = None,
) -> Solution:
    """Integrates dx/dt = field(t, x) for states x_0 (B, *) from times[0] to times[-1].

    Fixed-step methods take `steps` equal steps or those of `grid`. Adaptive methods choose steps
    that all states share: in each step the estimated error of every state, the root mean square
    over its entries, is at most tol + tol |x|. The flow can magnify these errors. Other states of
    the batch can shorten the steps, hence change a result by about its own error.

    Args:
        field: the velocity (t, x) -> (B, *), with t of shape () in float64.
        x_0: the states at times[0], shape (B, *).
        times: where states are returned, (T,) with T > 1, increasing or decreasing.
        method: a name in METHODS.
        steps: number of steps of a fixed-step method.
        grid: instead of `steps`, where its steps begin and end, (S + 1,).
        tol: the tolerance of an adaptive method.
        control: "mean": the error of a step is the root mean square over all states and entries.
        max_states: largest number of `step_states` of an adaptive method, 3 or more, which may
            take thousands of steps. Beyond it every second, fourth, ... step is left out.

    Raises:
        ValueError: the arguments do not fit each other.
        SolveError: the solve diverged, or its steps became too small or too many.
        Stopped: a stop was requested, see `flowviz.progress`.
    """
    entry = METHODS[method]
    counted = Counted(field)
    times = times.to(x_0.device, finest_float(x_0.device))
    if times.ndim != 1 or len(times) < 2 or not _monotone(times):
        raise ValueError(
            f"times must be two or more, all rising or falling; got {times.tolist()}."
        )
    if not x_0.isfinite().all():
        raise ValueError("The states to start from must be finite; got infinite ones or NaN.")
    if entry.adaptive:
        if steps is not None or grid is not None:
            raise ValueError(
                f"{method} chooses its own steps; give it `tol`, not `steps` or `grid`."
            )
        if not tol > 0:
            raise ValueError(f"tol must be positive; got {tol}.")
        if max_states is not None and max_states < 3:
            raise ValueError(f"max_states must be 3 or more; got {max_states}.")
        return _adaptive(entry, counted, x_0, times, tol, control, max_states)
    if entry.jumps and not hasattr(field, "jump"):
        raise ValueError(
            f"{method} needs a flow map, trained by meanflow, shortcut or distillation; this "
            "field gives velocities only: choose another solver or checkpoint."
        )
    if entry.needs_path and counted.path is None:
        raise ValueError(
            f"{method} needs a field with a `path`, whose coefficients it uses; this one has "
            f"none: choose another solver ({', '.join(density_methods())})."
        )
    if grid is None:
        if steps is None or steps < 1:
            raise ValueError(f"{method} needs `steps`, 1 or more; got {steps}.")
        grid = _uniform(times[0], times[-1], steps)
    else:
        grid = grid.to(times)
        if not _monotone(grid) or grid[0] != times[0] or grid[-1] != times[-1]:
            raise ValueError("grid must rise or fall from the first of `times` to the last.")
    if entry.nfe(len(grid) - 1) > MAX_NFE:
        raise ValueError(
            f"A solve takes at most {MAX_NFE} evaluations; {len(grid) - 1} steps of {method} "
            f"would take {entry.nfe(len(grid) - 1)}: take fewer."
        )
    return _fixed(entry, counted, x_0, times, grid)


class Counted:
    """The field as solvers call it: its evaluations are counted and can be stopped.

    Attributes:
        nfe: number of evaluations so far.
        path: the path of the field; None without one.
    """

    def __init__(self, field: Field) -> None:
        self.path: AffinePath | None = getattr(field, "path", None)
        self.use(field)
        self.nfe = 0

    def use(self, field: Field) -> None:
        """Evaluates this field from now on."""
        self.field = field
        self.weighted = getattr(field, "weighted", None)
        self._jump = getattr(field, "jump", None)

    def plan(self, times: Tensor, x: Tensor) -> None:
        """Prepares the field, see `Field`."""
        plan = getattr(self.field, "planned", None)
        if plan is not None and (planned := plan(times, x)) is not None:
            self.use(planned)

    def __call__(self, t: Tensor, x: Tensor, weight: float = 1.0) -> Tensor:
        """The velocity at t () and x (B, *); see `Evaluate` for the weight."""
        self._count(t)
        return self.field(t, x) if self.weighted is None else self.weighted(t, x, weight)

    def jump(self, t: Tensor, s: Tensor, x: Tensor) -> Tensor:
        """The states at s () of x (B, *) at t (), by a flow map."""
        assert self._jump is not None  # checked by `solve`
        self._count(t)
        return self._jump(t, s, x)

    def _count(self, t: Tensor) -> None:
        """Counts an evaluation at t; raises if it must not be made."""
        stop_if_requested()
        if self.nfe >= MAX_NFE:
            raise SolveError(
                f"The solve had not ended after {MAX_NFE} evaluations, at "
                f"t = {t.item():.6g}; take a looser tolerance or a fixed-step method.",
                t.item(),
            )
        self.nfe += 1


class _Recorded:
    """A counted field as torchdiffeq calls it: with the time measured from the latest.

    It also records the steps that an adaptive method accepts and rejects, and the state at every
    `stride`-th accepted one.
    """

    def __init__(self, counted: Counted, times: Tensor, max_states: int | None) -> None:
        self.counted = counted
        self.max_states = max_states
        self.accepted, self.stride = 0, 1
        self.first = times[0]
        self.earliest, self.latest = times.min(), times.max()
        self.reached = times[0]
        self.leads: list[Tensor] = []
        self.states: list[Tensor] = []
        self.rejected: list[tuple[Tensor, Tensor]] = []

    def __call__(self, lead: Tensor, x: Tensor) -> Tensor:
        """The velocity at the time `lead`, which is negative, after the latest of `times`."""
        t = self.first  # of the first evaluation, without round-off
        if self.counted.nfe:
            # A trial step can look past the ends, where a field need not exist.
            t = (self.latest + lead).clamp(self.earliest, self.latest)
        return self.counted(t, x)

    def callback_step(self, lead: Tensor, x: Tensor, dt: Tensor) -> None:
        self.reached = self.latest + lead

    def callback_accept_step(self, lead: Tensor, x: Tensor, dt: Tensor) -> None:
        self.accepted += 1
        if (self.accepted - 1) % self.stride:
            return
        if self.max_states is not None and len(self.states) + 1 >= self.max_states:
            self.stride *= 2  # the last state is appended at the end
            del self.leads[1::2], self.states[1::2]
            if (self.accepted - 1) % self.stride:
                return
        self.leads.append(lead)
        self.states.append(x)

    def callback_reject_step(self, lead: Tensor, x: Tensor, dt: Tensor) -> None:
        self.rejected.append((lead, dt))


def _fixed(entry: Method, counted: Counted, x_0: Tensor, times: Tensor, grid: Tensor) -> Solution:
    if len(known := entry.times(grid)):
        counted.plan(known, x_0)
    states = torch.stack([x_0, *entry.states(counted, grid, x_0)])
    finite = states.isfinite().flatten(1).all(dim=1)
    if not finite.all():
        step = int(finite.int().argmin())
        t = grid[step].item()
        advice = ", or a method that does not evaluate the last time (midpoint, edm)"
        raise SolveError(
            f"{entry.label} diverged in step {step} of {len(grid) - 1}, "
            f"at t = {t:.6g}; take more steps{advice if entry.evaluates_end else ''}.",
            t,
        )
    frames = _polygon(times, grid, states, held=entry.jumps)
    rejected = times.new_empty((0, 2))
    return Solution(times, frames, counted.nfe, grid, states, rejected, len(grid) - 1)


def _adaptive(
    entry: Method,
    counted: Counted,
    x_0: Tensor,
    times: Tensor,
    tol: float,
    control: Control,
    max_states: int | None,
) -> Solution:
    # Imported here: it imports SciPy's integrators, which takes longer than a solve of few steps.
    from torchdiffeq import odeint

    counted.plan(times[:0], x_0)
    recorded = _Recorded(counted, times, max_states)
    leads = times - recorded.latest
    options = {
        # Otherwise torchdiffeq oversteps the last time, where u_t need not exist.
        "step_t": leads[-1:],
        "dtype": times.dtype,
        "norm": NORMS[control],
    }
    assert isinstance(entry.step, Adaptive)
    solver = entry.step.solver
    try:
        states = odeint(recorded, x_0, leads, rtol=tol, atol=tol, method=solver, options=options)
    except AssertionError as error:  # how torchdiffeq says that its steps underflow
        t = recorded.reached.item()
        raise SolveError(
            f"{entry.label} got stuck at t = {t:.6g}: no step, however small, meets "
            f"tol = {tol:g} there; take a looser tolerance, float64 or a fixed-step method "
            "that does not evaluate the last time (midpoint, edm).",
            t,
        ) from error
    assert isinstance(states, Tensor)  # a tuple with event functions only
    if not states.isfinite().all():
        t = recorded.reached.item()
        raise SolveError(f"{entry.label} diverged after t = {t:.6g}; take a tighter tolerance.", t)
    direction = torch.sign(times[-1] - times[0])
    rejected = [
        torch.stack([recorded.latest + lead, direction * dt]) for lead, dt in recorded.rejected
    ]
    return Solution(
        times,
        states,
        counted.nfe,
        torch.cat([torch.stack(recorded.leads) + recorded.latest, times[-1:]]),
        torch.cat([torch.stack(recorded.states), states[-1:]]),
        torch.stack(rejected) if rejected else times.new_empty((0, 2)),
        recorded.accepted,
    )


def _worst(errors: Tensor) -> Tensor:
    """The largest root mean square over the entries of a state, of states (B, *), ()."""
    return errors.flatten(1).square().mean(dim=1).amax().sqrt()


def _mean(errors: Tensor) -> Tensor:
    """The root mean square over all states and entries, ()."""
    return errors.square().mean().sqrt()


NORMS: dict[Control, Callable[[Tensor], Tensor]] = {"worst": _worst, "mean": _mean}


def _polygon(times: Tensor, grid: Tensor, states: Tensor, *, held: bool) -> Tensor:
    """The states at `times` (T,) on the chords between the states (S + 1, B, *) at `grid`.

    With `held`, they are the last of these states.
    """
    sign = torch.sign(grid[-1] - grid[0])
    upper = torch.searchsorted(sign * grid, sign * times).clamp(1, len(grid) - 1)
    start, end = grid[upper - 1], grid[upper]
    weight = (times - start) / (end - start)
    weight = (weight > 1 - ROUNDING if held else weight).to(states.dtype)
    weight = weight.reshape(-1, *[1] * (states.ndim - 1))
    return torch.lerp(states[upper - 1], states[upper], weight)


def _uniform(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """steps + 1 times from start to end, the ends exact, (S + 1,)."""
    grid = start + (end - start) * torch.arange(steps + 1).to(start) / steps
    grid[-1] = end
    return grid


def _monotone(times: Tensor) -> bool:
    gaps = times.diff()
    return bool((gaps > 0).all() or (gaps < 0).all())
