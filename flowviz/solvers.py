"""ODE solvers: what carries noise to data along a field, and what that costs.

torchdiffeq integrates; this module counts, keeps time and explains failures. Three of its habits
are corrected here. Its clock has the state's precision: a float32 state would see 1 - t near the
end with few digits, so that it is given the time left until the latest time, and the field gets t
in float64. Its adaptive methods step past the last time and interpolate back. Its fixed-step
methods step on the times at which states are saved.

References:
    Chen 2018, torchdiffeq, https://github.com/rtqichen/torchdiffeq
    Karras et al. 2022, Elucidating the Design Space of Diffusion-Based Generative Models,
    https://arxiv.org/abs/2206.00364
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torchdiffeq import odeint

from flowviz.device import finest_float
from flowviz.registry import Registry

__all__ = [
    "METHODS",
    "Counted",
    "Field",
    "Method",
    "Solution",
    "SolveCancelled",
    "SolveError",
    "solve",
    "steps_for",
]

Field = Callable[[Tensor, Tensor], Tensor]
"""A velocity field: time t () and states x (B, *) to velocities (B, *)."""

MAX_NFE = 20_000
"""The evaluations after which a solve is given up; a healthy adaptive one needs a few hundred."""


class SolveError(ValueError):
    """A solve that cannot go on; the message says at which t and what to do.

    Attributes:
        t: the time at which it failed.
    """

    def __init__(self, message: str, t: float) -> None:
        super().__init__(message)
        self.t = t


class SolveCancelled(Exception):
    """A solve that was told to stop."""


@dataclass(frozen=True)
class Method:
    """A Runge-Kutta method.

    Attributes:
        label: what menus and legends show.
        sentence: what it does.
        solver: torchdiffeq's name of it.
        order: the power of the step size with which the error at the last time falls.
        evaluations: field evaluations a step; an adaptive method reuses the last one.
        evaluates_end: whether a step evaluates the field at its end, hence the last at t_max,
            where the fields of sharp data are stiff.
        weights: of a fixed-step method, what each stage adds to the step; empty if adaptive.
        last_euler: whether the last step is one of Euler's.
    """

    label: str
    sentence: str
    solver: str
    order: int
    evaluations: int
    evaluates_end: bool
    weights: tuple[float, ...] = ()
    last_euler: bool = False

    @property
    def adaptive(self) -> bool:
        """Whether the method chooses its steps by a tolerance."""
        return not self.weights

    @property
    def stages(self) -> int | None:
        """Field evaluations a step of a fixed-step method, None of an adaptive one."""
        return None if self.adaptive else self.evaluations

    def nfe(self, steps: int) -> int:
        """The evaluations that `steps` steps of a fixed-step method will take."""
        assert not self.adaptive
        return self.evaluations * steps - (self.evaluations - 1) * self.last_euler


METHODS: Registry[Method] = Registry("solver")

METHODS["euler"] = Method(
    "Euler", "One evaluation a step, along the tangent.", "euler", 1, 1, False, (1.0,)
)
METHODS["midpoint"] = Method(
    "midpoint",
    "Follows the velocity found half a step ahead; never evaluates the last time.",
    "midpoint",
    2,
    2,
    False,
    (0.0, 1.0),
)
METHODS["heun"] = Method(
    "Heun",
    "Averages the velocities at both ends of Euler's step, the last time included.",
    "heun2",
    2,
    2,
    True,
    (1 / 2, 1 / 2),
)
METHODS["edm"] = Method(
    "Heun, last step Euler (EDM)",
    "Heun's method but for an Euler step at the end, which spares the stiff last evaluation.",
    "heun2",
    2,
    2,
    False,
    (1 / 2, 1 / 2),
    last_euler=True,
)
METHODS["heun3"] = Method(
    "Heun, 3rd order",
    "Three evaluations a step, at 0, 1/3 and 2/3 of it.",
    "heun3",
    3,
    3,
    False,
    (1 / 4, 0.0, 3 / 4),
)
METHODS["rk4"] = Method(
    "Runge-Kutta 4 (3/8 rule)",
    "Kutta's 3/8 rule: four evaluations a step, at 0, 1/3, 2/3 and the end of it.",
    "rk4",
    4,
    4,
    True,
    (1 / 8, 3 / 8, 3 / 8, 1 / 8),
)
METHODS["adaptive-heun"] = Method(
    "Heun-Euler 2(1), adaptive",
    "Heun's method with Euler's as its error estimate.",
    "adaptive_heun",
    2,
    1,
    True,
)
METHODS["fehlberg2"] = Method(
    "Fehlberg 2(1), adaptive",
    "Second order; its estimate is small, so that its error exceeds tol some hundred times.",
    "fehlberg2",
    2,
    2,
    True,
)
METHODS["bosh3"] = Method(
    "Bogacki-Shampine 3(2), adaptive",
    "Third order; cheap where a loose tolerance will do.",
    "bosh3",
    3,
    3,
    True,
)
METHODS["dopri5"] = Method(
    "Dormand-Prince 5(4), adaptive",
    "Fifth order: the solver of the paper's likelihoods and samples.",
    "dopri5",
    5,
    6,
    True,
)
METHODS["dopri8"] = Method(
    "Dormand-Prince 8(7), adaptive",
    "Eighth order; for references at tight tolerances.",
    "dopri8",
    8,
    13,
    True,
)


@dataclass(frozen=True)
class Solution:
    """What a solve returns.

    Attributes:
        times: (T,) float64, as asked for.
        states: (T, B, *). Between the steps of a fixed-step method they lie on the chord, so that
            they show the polygon that it walked; those of an adaptive method are its dense output.
        nfe: the counted evaluations of the field.
        step_times: (S + 1,) float64, where the accepted steps begin and, last, end.
        step_states: (S + 1, B, *), the states there.
        rejected: (R, 2) float64, start t and signed length dt of the steps that were refused.
    """

    times: Tensor
    states: Tensor
    nfe: int
    step_times: Tensor
    step_states: Tensor
    rejected: Tensor


def steps_for(method: str, nfe: int) -> int:
    """The number of steps with which a fixed-step method takes exactly `nfe` evaluations.

    Raises:
        ValueError: no number of steps does, or the method is adaptive.
    """
    entry = METHODS[method]
    if entry.adaptive:
        raise ValueError(
            f"{method} chooses its own steps and NFE; give it a tolerance, not {nfe}."
        )
    steps = max(1, (nfe + (entry.evaluations - 1) * entry.last_euler) // entry.evaluations)
    if entry.nfe(steps) == nfe:
        return steps
    near = [entry.nfe(n) for n in (steps, steps + 1)]
    near = near[:1] if nfe < near[0] else near
    raise ValueError(
        f"{method} cannot take exactly {nfe} evaluations; "
        f"the nearest that it can: {' and '.join(map(str, near))}."
    )


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
    should_stop: Callable[[], bool] | None = None,
) -> Solution:
    """The states of x_0 (B, *) carried along the field from times[0] to times[-1].

    Fixed-step methods take `steps` equal steps or those of `grid`; adaptive ones keep the error of
    each step under tol + tol |x| (root mean square over the batch) and end at the last time.

    Args:
        field: the velocity (t, x) -> (B, *), with t of shape () in float64.
        x_0: the states at times[0], shape (B, *).
        times: where states are returned, (T,) with T > 1, rising or falling.
        method: a name in METHODS.
        steps: how many steps a fixed-step method takes.
        grid: in place of `steps`, where its steps begin and end, (S + 1,).
        tol: the tolerance of an adaptive method.
        should_stop: asked before each evaluation; if it says yes, SolveCancelled is raised.

    Raises:
        ValueError: the arguments do not fit each other.
        SolveError: the state left the finite numbers, or the steps became too small or too many.
        SolveCancelled: should_stop said so.
    """
    entry = METHODS[method]
    times = times.to(x_0.device, finest_float(x_0.device))
    if times.ndim != 1 or len(times) < 2 or not _monotone(times):
        raise ValueError(f"times must be two or more, rising or falling; got {times.tolist()}.")
    if not x_0.isfinite().all():
        raise ValueError("The states to start from must be finite; got infinite ones or NaN.")
    if entry.adaptive:
        if steps is not None or grid is not None:
            raise ValueError(
                f"{method} chooses its own steps; give it `tol`, not `steps` or `grid`."
            )
        if not tol > 0:
            raise ValueError(f"tol must be positive; got {tol}.")
        return _adaptive(method, field, x_0, times, tol, should_stop)
    if grid is None:
        if steps is None or steps < 1:
            raise ValueError(f"{method} needs `steps`, 1 or more; got {steps}.")
        grid = _even(times[0], times[-1], steps)
    else:
        grid = grid.to(times)
        if not _monotone(grid) or grid[0] != times[0] or grid[-1] != times[-1]:
            raise ValueError("grid must rise or fall from the first of `times` to the last.")
    if entry.nfe(len(grid) - 1) > MAX_NFE:
        raise ValueError(
            f"A solve takes at most {MAX_NFE} evaluations; {len(grid) - 1} steps of {method} "
            f"would take {entry.nfe(len(grid) - 1)}: ask for fewer."
        )
    return _fixed(method, field, x_0, times, grid, should_stop)


class Counted:
    """The field as torchdiffeq calls it: counted, and with its time measured from the latest.

    Attributes:
        nfe: the evaluations so far.
    """

    def __init__(
        self, field: Field, times: Tensor, should_stop: Callable[[], bool] | None
    ) -> None:
        self.field = field
        self.latest = times.max()
        self.earliest = times.min()
        self.t = times[0]
        self.should_stop = should_stop
        self.nfe = 0

    def __call__(self, lead: Tensor, x: Tensor) -> Tensor:
        """The velocity at the time `lead` after the latest of `times`, which is negative."""
        if self.should_stop is not None and self.should_stop():
            raise SolveCancelled(f"The solve was cancelled at t = {self.t.item():.4g}.")
        if self.nfe:  # the first evaluation is at times[0], without round-off
            # A trial step can look past the ends, where a field need not exist.
            self.t = (self.latest + lead).clamp(self.earliest, self.latest)
        if self.nfe >= MAX_NFE:
            raise SolveError(
                f"The solve had not ended after {MAX_NFE} evaluations, at "
                f"t = {self.t.item():.6g}; take a looser tolerance or a fixed-step method.",
                self.t.item(),
            )
        self.nfe += 1
        return self.field(self.t, x)


class _Recorded(Counted):
    """The same for adaptive methods, which report the steps that they accept and reject."""

    def __init__(
        self, field: Field, times: Tensor, should_stop: Callable[[], bool] | None
    ) -> None:
        super().__init__(field, times, should_stop)
        self.reached = times[0]
        self.leads: list[Tensor] = []
        self.states: list[Tensor] = []
        self.rejected: list[tuple[Tensor, Tensor]] = []

    def callback_step(self, lead: Tensor, x: Tensor, dt: Tensor) -> None:
        self.reached = self.latest + lead

    def callback_accept_step(self, lead: Tensor, x: Tensor, dt: Tensor) -> None:
        self.leads.append(lead)
        self.states.append(x)

    def callback_reject_step(self, lead: Tensor, x: Tensor, dt: Tensor) -> None:
        self.rejected.append((lead, dt))


def _fixed(
    method: str,
    field: Field,
    x_0: Tensor,
    times: Tensor,
    grid: Tensor,
    should_stop: Callable[[], bool] | None,
) -> Solution:
    entry = METHODS[method]
    counted = Counted(field, times, should_stop)
    leads = grid - counted.latest
    # torchdiffeq steps on the times that it is asked for: no step size, hence no step too many.
    if not entry.last_euler:
        states = odeint(counted, x_0, leads, method=entry.solver)
    elif len(grid) == 2:
        states = odeint(counted, x_0, leads, method="euler")
    else:
        states = odeint(counted, x_0, leads[:-1], method=entry.solver)
        end = odeint(counted, states[-1], leads[-2:], method="euler")
        states = torch.cat([states, end[1:]])
    finite = states.isfinite().flatten(1).all(dim=1)
    if not finite.all():
        step = int(finite.int().argmin())
        t = grid[step].item()
        advice = ", or a method that does not evaluate the last time (midpoint, edm)"
        raise SolveError(
            f"{entry.label} left the finite numbers in step {step} of {len(grid) - 1}, "
            f"at t = {t:.6g}; take more steps{advice if entry.evaluates_end else ''}.",
            t,
        )
    frames = _polygon(times, grid, states)
    return Solution(times, frames, counted.nfe, grid, states, times.new_empty((0, 2)))


def _adaptive(
    method: str,
    field: Field,
    x_0: Tensor,
    times: Tensor,
    tol: float,
    should_stop: Callable[[], bool] | None,
) -> Solution:
    entry = METHODS[method]
    recorded = _Recorded(field, times, should_stop)
    leads = times - recorded.latest
    # Otherwise torchdiffeq oversteps the last time, where u_t need not exist, and interpolates.
    options = {"step_t": leads[-1:], "dtype": times.dtype}
    try:
        states = odeint(
            recorded, x_0, leads, rtol=tol, atol=tol, method=entry.solver, options=options
        )
    except AssertionError as error:  # how torchdiffeq says that its steps underflow
        t = recorded.reached.item()
        raise SolveError(
            f"{entry.label} got stuck at t = {t:.6g}: no step, however small, meets "
            f"tol = {tol:g} there; take a looser tolerance, float64 or a fixed-step method "
            "that does not evaluate the last time (midpoint, edm).",
            t,
        ) from error
    if not states.isfinite().all():
        t = recorded.reached.item()
        raise SolveError(
            f"{entry.label} left the finite numbers after t = {t:.6g}; take a tighter tolerance.",
            t,
        )
    direction = torch.sign(times[-1] - times[0])
    tried = [
        torch.stack([recorded.latest + lead, direction * dt]) for lead, dt in recorded.rejected
    ]
    return Solution(
        times,
        states,
        recorded.nfe,
        torch.cat([torch.stack(recorded.leads) + recorded.latest, times[-1:]]),
        torch.cat([torch.stack(recorded.states), states[-1:]]),
        torch.stack(tried) if tried else times.new_empty((0, 2)),
    )


def _polygon(times: Tensor, grid: Tensor, states: Tensor) -> Tensor:
    """The states at `times` (T,) on the chords between the states (S + 1, B, *) at `grid`."""
    sign = torch.sign(grid[-1] - grid[0])
    after = torch.searchsorted(sign * grid, sign * times).clamp(1, len(grid) - 1)
    start, end = grid[after - 1], grid[after]
    weight = ((times - start) / (end - start)).to(states.dtype)
    weight = weight.reshape(-1, *[1] * (states.ndim - 1))
    return torch.lerp(states[after - 1], states[after], weight)


def _even(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """steps + 1 times from start to end, the ends exact, (S + 1,)."""
    grid = start + (end - start) * torch.arange(steps + 1).to(start) / steps
    grid[-1] = end
    return grid


def _monotone(times: Tensor) -> bool:
    gaps = times.diff()
    return bool((gaps > 0).all() or (gaps < 0).all())
