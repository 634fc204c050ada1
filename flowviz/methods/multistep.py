r"""Multistep methods: one evaluation a step, since a step also uses evaluations of earlier steps.

Exponential methods solve the linear part of the ODE exactly. With the data prediction
m = E[x_1 | x_t = x], which `AffinePath.data_from_velocity` computes from a velocity, the flow of
every field on a path obeys

    d(x / sigma) / d lambda = e^lambda m,    lambda = log(alpha / sigma),

so that a step is x_i = (sigma_i / sigma_{i-1}) x_{i-1} + (alpha_i - alpha_{i-1} sigma_i /
sigma_{i-1}) D with some average D of m over the step: DDIM takes m at its start, DPM-Solver++ (2M)
extrapolates it from the last two, UniPC then corrects the step with the m at its end. These
formulas are finite also where alpha = 0 at the start or sigma = 0 at the end. Towards noise, the
roles of alpha and sigma are exchanged and the noise prediction replaces m, so that errors shrink
in both directions.

References:
    Hairer, Norsett and Wanner 1993, Solving Ordinary Differential Equations I, section III.5
    Song et al. 2021, Denoising Diffusion Implicit Models, https://arxiv.org/abs/2010.02502
    Lu et al. 2022, DPM-Solver++, https://arxiv.org/abs/2211.01095, algorithm 2
    Zhao et al. 2023, UniPC, https://arxiv.org/abs/2302.04867, algorithms 1 and 2
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

from torch import Tensor

from flowviz.paths import AffinePath

MAX_GROWTH = 2.0
"""A step more than this times as long in lambda as the one before ignores that one: a long
extrapolation of m is worse than none. A step towards sigma = 0 is infinitely long."""


@runtime_checkable
class PathEvaluate(Protocol):
    """A field as a multistep method evaluates it."""

    path: AffinePath | None
    """The path of the field."""

    def __call__(self, t: Tensor, x: Tensor, weight: float = 1.0) -> Tensor:
        """The velocity at t () and x (B, *), shape (B, *)."""
        ...


@dataclass(frozen=True)
class Multistep:
    """A multistep method with one evaluation a step, at its start.

    Attributes:
        states: (evaluate, grid (S + 1,), x (B, *) at grid[0]) to the states at grid[1:], one by
            one.
        needs_path: whether it uses `evaluate.path`.
    """

    states: Callable[[PathEvaluate, Tensor, Tensor], Iterator[Tensor]]
    needs_path: bool = True
    evaluations: int = 1
    evaluates_end: bool = False


def adams_bashforth_2(evaluate: PathEvaluate, grid: Tensor, x: Tensor) -> Iterator[Tensor]:
    """Integrates the line through the last two velocities; the first step is Euler's."""
    previous: tuple[Tensor, Tensor] | None = None
    for t, t_next in pairwise(grid):
        h, u = t_next - t, evaluate(t, x)
        slope = u
        if previous is not None:
            previous_h, previous_u = previous
            slope = u + h / (2 * previous_h) * (u - previous_u)
        x = x + h * slope
        yield x
        previous = h, u


def ddim(evaluate: PathEvaluate, grid: Tensor, x: Tensor) -> Iterator[Tensor]:
    """Takes the prediction at the start of each step: the first order of DPM-Solver++."""
    line = _Exponential(evaluate, grid)
    for i in range(1, len(grid)):
        x = line.step(i, x, line.predict(i - 1, x))
        yield x


def dpm_solver_2m(evaluate: PathEvaluate, grid: Tensor, x: Tensor) -> Iterator[Tensor]:
    """Extrapolates the last two predictions to the middle of each step in lambda."""
    line = _Exponential(evaluate, grid)
    previous = None
    for i in range(1, len(grid)):
        m = line.predict(i - 1, x)
        x = line.step(i, x, line.extrapolated(i, m, previous))
        yield x
        previous = m


def unipc_2(evaluate: PathEvaluate, grid: Tensor, x: Tensor) -> Iterator[Tensor]:
    """Predicts as DPM-Solver++ (2M) does, evaluates there, and corrects all steps but the last.

    UniP-2 and UniC-2 with B(h) = e^h - 1. The next step reuses the evaluation at the predicted
    state. UniC-2 integrates the parabola through three predictions exactly.
    """
    line = _Exponential(evaluate, grid)
    previous, m = None, line.predict(0, x)
    for i in range(1, len(grid)):
        predicted = line.step(i, x, line.extrapolated(i, m, previous))
        if i == len(grid) - 1:
            yield predicted
            return
        next_prediction = line.predict(i, predicted)
        x = line.step(i, x, line.corrected(i, m, previous, next_prediction))
        yield x
        previous, m = m, next_prediction


class _Exponential:
    """The steps of exponential methods on a grid (S + 1,), towards data or towards noise.

    Attributes:
        target: coefficient of what is predicted, at each time of the grid: alpha towards data,
            sigma towards noise.
        other: the other coefficient.
        lengths: lengths of the steps in log(target / other), after an entry that is unused.
    """

    def __init__(self, evaluate: PathEvaluate, grid: Tensor) -> None:
        self.evaluate = evaluate
        self.times = grid
        path = evaluate.path
        assert path is not None  # checked by `solve`
        c = path.scheduler(grid)
        alphas, sigmas = c.alpha.tolist(), c.sigma.tolist()
        if grid[-1] > grid[0]:
            self.target, self.other, self.convert = alphas, sigmas, path.data_from_velocity
        else:
            self.target, self.other, self.convert = sigmas, alphas, path.noise_from_velocity
        levels = [_log_ratio(*pair) for pair in zip(self.target, self.other, strict=True)]
        self.lengths = [math.nan, *(after - level for level, after in pairwise(levels))]

    def predict(self, i: int, x: Tensor) -> Tensor:
        """The prediction at time i of the grid and x (B, *), by one evaluation."""
        t = self.times[i]
        return self.convert(t, x, self.evaluate(t, x))

    def step(self, i: int, x: Tensor, average: Tensor) -> Tensor:
        """The states at time i of x (B, *) at time i - 1, for an average of the prediction."""
        ratio = self.other[i] / self.other[i - 1]
        return ratio * x + (self.target[i] - ratio * self.target[i - 1]) * average

    def extrapolated(self, i: int, m: Tensor, previous: Tensor | None) -> Tensor:
        """The prediction at the middle of step i, from those at its start and one step before."""
        growth = self._growth(i)
        return m if previous is None or growth == 0 else m + growth / 2 * (m - previous)

    def corrected(self, i: int, m: Tensor, previous: Tensor | None, following: Tensor) -> Tensor:
        """The average over step i of the parabola through three predictions.

        Without the one before the start, it is the mean of those at the ends.
        """
        growth = self._growth(i)
        if previous is None or growth == 0:
            return (m + following) / 2
        # Moments of e^(h s) over s in [0, 1], the share of the step, with total weight 1.
        h, w = self.lengths[i], 1 / growth
        total = -math.expm1(-h) / h
        first = (1 - total) / (h * total)
        second = (1 / total - 2 * first) / h
        # m + a s + b s^2 is `previous` at s = -w and `following` at s = 1.
        b = (previous - m + w * (following - m)) / (w * w + w)
        return m + first * (following - m - b) + second * b

    def _growth(self, i: int) -> float:
        """Length of step i over that of the step before; 0 if that one is not to be used."""
        if i < 2 or math.isinf(self.lengths[i]):
            return 0.0
        growth = self.lengths[i] / self.lengths[i - 1]  # 0 after a start at lambda = -infinity
        return growth if growth <= MAX_GROWTH else 0.0


def _log_ratio(numerator: float, denominator: float) -> float:
    """log(numerator / denominator); -infinity and infinity where one of them is 0."""
    if numerator == 0 or denominator == 0:
        return math.inf if denominator == 0 else -math.inf
    return math.log(numerator / denominator)
