"""Integration methods: what one step of an ODE solver computes, and what it costs.

A method is one row of METHODS. A fixed-step method carries its step: a Butcher tableau, or any
object that is called like one. A multistep method carries a function of the whole grid
(`flowviz.methods.multistep`), an adaptive method the name of torchdiffeq's implementation.

References:
    Hairer, Norsett and Wanner 1993, Solving Ordinary Differential Equations I
    Karras et al. 2022, Elucidating the Design Space of Diffusion-Based Generative Models,
    https://arxiv.org/abs/2206.00364
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from flowviz.bounds import MAX_NFE
from flowviz.methods.multistep import (
    Multistep,
    PathEvaluate,
    adams_bashforth_2,
    ddim,
    dpm_solver_2m,
    unipc_2,
)
from flowviz.registry import Registry

__all__ = [
    "JUMPS",
    "METHODS",
    "Adaptive",
    "Evaluate",
    "Method",
    "Multistep",
    "Step",
    "Tableau",
    "all_methods",
    "density_methods",
    "expected_nfe",
    "steps_for",
    "velocity_methods",
]

Evaluate = Callable[[Tensor, Tensor, float], Tensor]
"""A time () float64, states (B, *) and the weight of this evaluation in the step's result, to
velocities (B, *). A field may skip what only counts if the weight is not 0."""


@runtime_checkable
class Jumps(Protocol):
    """A field as the step of a flow map uses it."""

    def jump(self, t: Tensor, s: Tensor, x: Tensor) -> Tensor:
        """The states at s () of x (B, *) at t ()."""
        ...


class Step(Protocol):
    """One step of a fixed-step method."""

    @property
    def evaluations(self) -> int:
        """Number of evaluations of the field."""
        ...

    @property
    def evaluates_end(self) -> bool:
        """Whether the field is evaluated at the end of the step."""
        ...

    def __call__(self, evaluate: Evaluate, t: Tensor, t_next: Tensor, x: Tensor) -> Tensor:
        """The states at t_next () of x (B, *) at t (), shape (B, *)."""
        ...


@dataclass(frozen=True)
class Tableau:
    """A step of an explicit Runge-Kutta method, by its Butcher tableau.

    Attributes:
        weights: b, of the stages in the result.
        rows: a, of the earlier stages in the state of each stage after the first.
    """

    weights: tuple[float, ...]
    rows: tuple[tuple[float, ...], ...] = ()

    @property
    def evaluations(self) -> int:
        """Number of stages."""
        return len(self.weights)

    @property
    def evaluates_end(self) -> bool:
        """Whether a stage lies at the end of the step."""
        return any(sum(row) == 1 for row in self.rows)

    def times(self, t: Tensor, t_next: Tensor) -> list[Tensor]:
        """The time of each stage of steps from t to t_next, each of their shape."""
        nodes = [sum(row) for row in ((), *self.rows)]
        return [t_next if c == 1 else t + c * (t_next - t) if c else t for c in nodes]

    def __call__(self, evaluate: Evaluate, t: Tensor, t_next: Tensor, x: Tensor) -> Tensor:
        """The states at t_next () of x (B, *) at t (), shape (B, *)."""
        dt = t_next - t
        slopes: list[Tensor] = []
        stages = zip(self.times(t, t_next), ((), *self.rows), self.weights, strict=True)
        for stage_time, row, weight in stages:
            slopes.append(evaluate(stage_time, _add_slopes(x, dt, row, slopes), weight))
        return _add_slopes(x, dt, self.weights, slopes)


@dataclass(frozen=True)
class Adaptive:
    """An adaptive Runge-Kutta method of torchdiffeq.

    Attributes:
        solver: its name there.
        evaluations: number of evaluations of each step tried; the first stage is reused.
        evaluates_end: whether a stage lies at the end of the step; so it is for all of them.
    """

    solver: str
    evaluations: int
    evaluates_end: bool = True


@dataclass(frozen=True)
class Jump:
    """A step of a flow map: its jump, one evaluation of the network.

    `evaluate` must be a `Jumps`, as `flowviz.solvers.Counted` is.
    """

    evaluations: int = 1
    evaluates_end: bool = False

    def __call__(self, evaluate: Evaluate, t: Tensor, t_next: Tensor, x: Tensor) -> Tensor:
        """The states at t_next () of x (B, *) at t (), shape (B, *)."""
        assert isinstance(evaluate, Jumps)
        return evaluate.jump(t, t_next, x)


@dataclass(frozen=True)
class Method:
    """An integration method.

    Attributes:
        label: its name in sentences, titles and legends.
        sentence: what it does.
        order: the power of the step size with which the error at the last time decreases.
        step: its step.
        final: replaces the last step of a fixed-step method; None: the last is like the others.
        note: what a menu adds to the label.
    """

    label: str
    sentence: str
    order: int
    step: Step | Multistep | Adaptive
    final: Step | None = None
    note: str = ""

    @property
    def menu(self) -> str:
        """Its label in menus, with what one must know to choose it."""
        note = "adaptive" if self.adaptive else self.note
        return f"{self.label}, {note}" if note else self.label

    @property
    def adaptive(self) -> bool:
        """Whether the method chooses its steps by a tolerance."""
        return isinstance(self.step, Adaptive)

    @property
    def jumps(self) -> bool:
        """Whether the method uses the jumps of a flow map, which other fields lack."""
        return isinstance(self.step, Jump)

    @property
    def needs_path(self) -> bool:
        """Whether the method uses the path of the field, which densities along a flow lack."""
        return isinstance(self.step, Multistep) and self.step.needs_path

    @property
    def evaluations(self) -> int:
        """Number of evaluations of a step."""
        return self.step.evaluations

    @property
    def evaluates_end(self) -> bool:
        """Whether the field is evaluated at the last time, where it is stiff for sharp data."""
        return (self.final or self.step).evaluates_end

    def states(self, evaluate: Evaluate, grid: Tensor, x: Tensor) -> Iterator[Tensor]:
        """The states at grid[1:], one by one, of x (B, *) at grid[0], by a fixed-step method.

        `evaluate` must have a `path` if the method needs one, and a `jump` if it jumps.
        """
        step = self.step
        assert not isinstance(step, Adaptive)
        if isinstance(step, Multistep):
            assert isinstance(evaluate, PathEvaluate)
            yield from step.states(evaluate, grid, x)
            return
        for i, (t, t_next) in enumerate(pairwise(grid), start=2):
            if self.final and i == len(grid):
                step = self.final
            x = step(evaluate, t, t_next, x)
            yield x

    def times(self, grid: Tensor) -> Tensor:
        """The times of velocities that steps on a grid (S + 1,) evaluate, in no order, (T,)."""
        if isinstance(self.step, Multistep):
            return grid[:-1]
        stages = [
            time
            for step, ends in ((self.step, grid[:-1]), (self.final or self.step, grid[-2:]))
            if isinstance(step, Tableau)
            for time in step.times(ends[:-1], ends[1:])
        ]
        return torch.cat(stages) if stages else grid[:0]

    def nfe(self, count: int) -> int:
        """Number of evaluations that `count` steps of a fixed-step method take."""
        assert not self.adaptive
        return self.evaluations * (count - 1) + (self.final or self.step).evaluations

    def steps_within(self, nfe: int) -> int:
        """The largest number of steps that take at most `nfe` evaluations, but at least 1."""
        return max(1, (nfe - self.nfe(1)) // self.evaluations + 1)


def steps_for(method: str, nfe: int) -> int:
    """The number of steps with which a fixed-step method takes exactly `nfe` evaluations.

    Raises:
        ValueError: no number of steps does, `nfe` is above MAX_NFE, or the method is adaptive.
    """
    entry = METHODS[method]
    if nfe > MAX_NFE:
        raise ValueError(f"A solve takes at most {MAX_NFE} evaluations (NFE); got {nfe}.")
    if entry.adaptive:
        raise ValueError(
            f"{method} chooses its own steps and NFE; give it a tolerance, not {nfe}."
        )
    steps = entry.steps_within(nfe)
    if entry.nfe(steps) == nfe:
        return steps
    nearest = [entry.nfe(n) for n in (steps, steps + 1)]
    nearest = nearest[:1] if nfe < nearest[0] else nearest
    raise ValueError(
        f"{method} cannot take exactly {nfe} evaluations; "
        f"the nearest that it can: {' and '.join(map(str, nearest))}."
    )


USUAL_NFE = {2: 700, 3: 250, 5: 125, 8: 220}
"""About the evaluations of adaptive methods at a tolerance of 1e-5 by their order: the means of
exact fields of the checkerboard on OT, VP and VE, which differ by a factor of up to 2."""


def expected_nfe(method: str, nfe: int, tol: float) -> float:
    """The evaluations of a solve: `nfe`, or an estimate for an adaptive method."""
    order = METHODS[method].order
    return USUAL_NFE[order] * (tol / 1e-5) ** (-1 / order) if METHODS[method].adaptive else nfe


def _add_slopes(x: Tensor, dt: Tensor, weights: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    """x + dt times the weighted sum of the slopes, each (B, *)."""
    total = None
    for weight, slope in zip(weights, slopes, strict=False):
        if weight:
            total = weight * slope if total is None else torch.add(total, slope, alpha=weight)
    return x if total is None else x + dt * total


METHODS: Registry[Method] = Registry("solver")

EULER = Tableau((1.0,))
HEUN = Tableau((1 / 2, 1 / 2), ((1.0,),))

METHODS["euler"] = Method("Euler", "One evaluation a step, along the tangent.", 1, EULER)
METHODS["midpoint"] = Method(
    "midpoint",
    "Follows the velocity found half a step ahead; never evaluates the last time.",
    2,
    Tableau((0.0, 1.0), ((1 / 2,),)),
)
METHODS["heun"] = Method(
    "Heun",
    "Averages the velocities at both ends of Euler's step, the last time included.",
    2,
    HEUN,
)
METHODS["edm"] = Method(
    "Heun (EDM)",
    "Heun's method with an Euler step at the end, which avoids the stiff last evaluation.",
    2,
    HEUN,
    final=EULER,
    note="last step Euler",
)
METHODS["heun3"] = Method(
    "third-order Heun",
    "Three evaluations a step, at 0, 1/3 and 2/3 of it.",
    3,
    Tableau((1 / 4, 0.0, 3 / 4), ((1 / 3,), (0.0, 2 / 3))),
)
METHODS["rk4"] = Method(
    "Runge-Kutta 4",
    "Kutta's 3/8 rule: four evaluations a step, at 0, 1/3, 2/3 and the end of it.",
    4,
    Tableau((1 / 8, 3 / 8, 3 / 8, 1 / 8), ((1 / 3,), (-1 / 3, 1.0), (1.0, -1.0, 1.0))),
    note="3/8 rule",
)
METHODS["ab2"] = Method(
    "Adams-Bashforth 2",
    "One evaluation a step, along the line through the last two velocities.",
    2,
    Multistep(adams_bashforth_2, needs_path=False),
)
METHODS["ddim"] = Method(
    "DDIM",
    "One evaluation a step: predicts the data and moves to them as if the prediction were "
    "final, exact for a single data point. On conditional OT it is Euler.",
    1,
    Multistep(ddim),
)
METHODS["dpmpp-2m"] = Method(
    "DPM-Solver++ (2M)",
    "One evaluation a step: DDIM with the prediction extrapolated from the last two.",
    2,
    Multistep(dpm_solver_2m),
)
METHODS["unipc-2"] = Method(
    "UniPC-2",
    "DPM-Solver++ (2M), and each step but the last is corrected by the evaluation of the next.",
    3,
    Multistep(unipc_2),
)
JUMPS = "jumps"
"""The method of flow maps."""

METHODS[JUMPS] = Method(
    "jumps",
    "One evaluation of a flow map a step; its error comes from the network, not from the step.",
    1,
    Jump(),
    note="flow maps only",
)
METHODS["adaptive-heun"] = Method(
    "Heun-Euler 2(1)",
    "Heun's method with Euler's as its error estimate.",
    2,
    Adaptive("adaptive_heun", 1),
)
METHODS["fehlberg2"] = Method(
    "Fehlberg 2(1)",
    "Second order; its error estimate is small, so that its error exceeds tol some hundred times.",
    2,
    Adaptive("fehlberg2", 2),
)
METHODS["bosh3"] = Method(
    "Bogacki-Shampine 3(2)",
    "Third order; cheap where a loose tolerance suffices.",
    3,
    Adaptive("bosh3", 3),
)
METHODS["dopri5"] = Method(
    "Dormand-Prince 5(4)",
    "Fifth order: the solver of the paper's likelihoods and samples.",
    5,
    Adaptive("dopri5", 6),
)
METHODS["dopri8"] = Method(
    "Dormand-Prince 8(7)",
    "Eighth order; for references at tight tolerances.",
    8,
    Adaptive("dopri8", 13),
)


def all_methods() -> dict[str, str]:
    """All methods by name, with their labels in menus."""
    return {name: method.menu for name, method in METHODS.items()}


def velocity_methods(*, fixed_only: bool = False) -> dict[str, str]:
    """The methods that integrate any velocity field by name, with their labels in menus."""
    return {
        name: label
        for name, label in all_methods().items()
        if not METHODS[name].jumps and not (fixed_only and METHODS[name].adaptive)
    }


def density_methods() -> dict[str, str]:
    """The methods that integrate densities along a flow by name, with their labels in menus.

    Exponential methods do not, since a log-density has no path.
    """
    return {
        name: label for name, label in velocity_methods().items() if not METHODS[name].needs_path
    }
