r"""Flow maps: learned fields with a second time, which jump from t to s in one evaluation.

The mean velocity ubar(x, t, s) moves a state along its trajectory,
x_s = x_t + (s - t) ubar(x_t, t, s), and is the velocity where s = t (Boffi et al. 2024,
https://arxiv.org/abs/2406.07507; Geng et al. 2025, https://arxiv.org/abs/2505.13447).

With the data's mean m and standard deviation s_d, a state has the standard coordinates

    z = (x - alpha_t m) / r_t,    theta_t = arctan(alpha_t s_d / sigma_t),

in which the field of `flowviz.fields.learned` is dz / d theta = F, since B_t = r_t d theta / dt. A
jump is z_s = z_t + (theta_s - theta_t) Fbar(z_t, t, s), and the network predicts Fbar. It is exact
with Fbar = 0 for normal data with the same variance in all directions.
"""

from typing import Any

import torch
from torch import Generator, Tensor

from flowviz.device import finest_float
from flowviz.fields.learned import BOUND, LearnedField
from flowviz.objectives import JumpPair, Objective
from flowviz.paths import AffinePath
from flowviz.schedulers import Coefficients

SMALLEST_GAP = 1e-7
"""Smaller gaps between the two times count as none: differences of coefficients lose digits."""

SOFTNESS = 1e-3
"""c of the loss e / (e + c) of a jump with the squared error e; the denominator has no gradient.
The best jump is then close to the most frequent target, not to their mean, so that the edges
between parts of the data stay sharp."""

EQUAL_WEIGHT = 33.0
"""Weight of the squared error of a pair with equal times. Such pairs then have about as much of
the loss as jumps. A squared error is smallest at the mean of the targets, the velocity."""

SAMPLERS = (1, 2, 4, 8)
"""Numbers of jumps of the samplers whose jumps a batch contains, see `Objective.sampler_share`."""


class FlowMap(LearnedField):
    """A learned field with the call (t, x) of a velocity, that also jumps to a later time.

    Args:
        arguments, options: of `LearnedField`; the network takes a second clock as `until`.

    Raises:
        ValueError: the field is not preconditioned, or its network takes t itself.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if not (self.preconditioned and self.clocked):
            raise ValueError(
                "A flow map needs a preconditioned field with clocks; use another objective, or "
                "set preconditioned to true."
            )

    def jump(self, t: Tensor, s: Tensor, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The states at s of x (B, *) at t, in one evaluation; t and s of shape () or (B,)."""
        return x + _shaped(s - t, x) * self.mean_velocity(t, s, x, y)

    def mean_velocity(self, t: Tensor, s: Tensor, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The mean velocity from t to s at x (B, *); t and s have the same shape, () or (B,).

        Raises:
            ValueError: a jump goes back in time.
        """
        t, s = (time.to(finest_float(time.device)) for time in (t, s))
        if bool((s < t).any()):
            raise ValueError(
                "A flow map jumps forward in time only; use another solver to go back."
            )
        c_t, c_s = self.path.scheduler(t), self.path.scheduler(s)
        spread, spread_s = self._spread(c_t), self._spread(c_s)
        gap = s - t
        none = gap < SMALLEST_GAP
        safe = torch.where(none, 1.0, gap)
        rate = c_t.wronskian * self.std / spread**2
        instant = (c_t.alpha * c_t.d_alpha * self.std**2 + c_t.sigma * c_t.d_sigma) / spread**2
        slope = torch.where(none, instant, (spread_s / spread - 1) / safe)
        shift = torch.where(none, c_t.d_alpha, (c_s.alpha - c_t.alpha) / safe)
        arc = spread_s * (self._angle(c_s) - self._angle(c_t))
        scale = torch.where(none, spread * rate, arc / safe)
        offset = x - _shaped(c_t.alpha, x) * self.mean
        remainder = self._remainder(t, s, offset / _shaped(spread, x), y)
        return (
            _shaped(slope, x) * offset
            + _shaped(shift, x) * self.mean
            + _shaped(scale, x) * remainder
        )

    def angle(self, t: Tensor) -> Tensor:
        """theta_t in radians, of t's shape, float64 where the device has it."""
        return self._angle(self.path.scheduler(t.to(finest_float(t.device))))

    def loss(
        self,
        t: Tensor,
        x_0: Tensor,
        x_1: Tensor,
        y: Tensor | None = None,
        *,
        share: int = 1,
        s: Tensor | None = None,
        means: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """The loss of each pair of times t <= s in standard coordinates, shape (B,).

        A distillation has another, see `jump_loss`.

        Args:
            t: start of each jump, (B,).
            x_0: noise, (B, *).
            x_1: data, (B, *).
            y: classes, (B,).
            share: number of equal times in succession, which an MLP embeds once.
            s: end of each jump, (B,); t by default.
            means: posterior means of x_0 and x_1, each (B, *), whose velocity replaces the
                conditional one, see `LearnedField.loss`.
        """
        s = t if s is None else s
        x = self.path.flow(t, x_0, x_1)
        with torch.no_grad():
            velocity, z = self._to_standard(t, x, self.path.target(t, *(means or (x_0, x_1))))
            c = self.path.scheduler(t)
            pair = JumpPair(
                t,
                s,
                z,
                velocity,
                c.wronskian * self.std / self._spread(c) ** 2,
                angle=lambda time: _shaped(self.angle(time), z),
                predict=lambda t, s, z: self._remainder(t, s, z, y, share),
            )
            jumps = s - t > SMALLEST_GAP
            assert self.objective.jump_target is not None  # a distillation has `jump_loss`
            aim = self.objective.jump_target(pair)
            target = torch.where(_shaped(jumps, x).bool(), aim, velocity)
        error = self._error(t, s, z, target, y, share)
        return torch.where(jumps, _robust(error), error * EQUAL_WEIGHT)

    def jump_loss(
        self,
        t: Tensor,
        s: Tensor,
        x_t: Tensor,
        x_s: Tensor,
        u: Tensor,
        y: Tensor | None = None,
        *,
        share: int = 1,
    ) -> Tensor:
        """The loss of jumps to known states, shape (B,).

        Args:
            t: start of each jump, (B,).
            s: end of each jump, (B,).
            x_t: states at t, (B, *).
            x_s: states at s on the same trajectories, (B, *).
            u: velocities at t, (B, *), the targets where s = t.
            y: classes, (B,).
            share: number of equal times in succession, which an MLP embeds once.
        """
        velocity, z = self._to_standard(t, x_t, u)
        c = self.path.scheduler(s)
        z_s = (x_s - _shaped(c.alpha, x_s) * self.mean) / _shaped(self._spread(c), x_s)
        jumps = _shaped(s - t, x_t) > SMALLEST_GAP
        gap = _shaped(self.angle(s) - self.angle(t), x_t)
        target = torch.where(jumps, (z_s - z) / torch.where(jumps, gap, 1), velocity)
        return _robust(self._error(t, s, z, target, y, share))

    def _error(
        self, t: Tensor, s: Tensor, z: Tensor, target: Tensor, y: Tensor | None, share: int
    ) -> Tensor:
        """The mean squared error of the network, (B,)."""
        return (self._remainder(t, s, z, y, share) - target).square().flatten(1).mean(dim=1)

    def _remainder(
        self, t: Tensor, s: Tensor, z: Tensor, y: Tensor | None, share: int = 1
    ) -> Tensor:
        """The mean velocity in standard coordinates, at z (B, *)."""
        if share > 1:
            t, s = t[::share], s[::share]
        clock, second_clock = (
            self.clock(time, self.path.scheduler(time.to(finest_float(time.device)))).to(z)
            for time in (t, s)
        )
        output = self.network(clock, z, *(() if y is None else (y,)), second_clock=second_clock)
        return BOUND * torch.tanh(output / BOUND)

    def _to_standard(self, t: Tensor, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """The velocity dz / d theta and the state z of a velocity u and a state x."""
        c = self.path.coefficients(t, x)
        slope, scale, spread, offset = self.linear(c, x)
        return (u - slope * offset - c.d_alpha * self.mean) / scale, offset / spread

    def _spread(self, c: Coefficients) -> Tensor:
        return torch.sqrt((c.alpha * self.std) ** 2 + c.sigma**2)

    def _angle(self, c: Coefficients) -> Tensor:
        return torch.atan2(c.alpha * self.std, c.sigma)


def field_class(objective: Objective) -> type[LearnedField]:
    """The class of the learned field whose network an objective trains."""
    return FlowMap if objective.two_times else LearnedField


def draw_times(
    t: Tensor, path: AffinePath, objective: Objective, generator: Generator, *, share: int = 1
) -> tuple[Tensor, Tensor]:
    """The two times of each pair, t <= s, both (B,).

    In `equal_share` of the pairs they are equal, in `sampler_share` they are those of a jump of
    SAMPLERS, and in the others s is uniform up to t_max.

    Args:
        t: first times of the pairs that are no jumps of samplers, (B,) float64, on the CPU.
        path: their path.
        objective: of a flow map.
        generator: of the draws.
        share: number of equal times in succession, which divides B.
    """
    groups = len(t) // share
    u, v, w, inside = torch.rand(4, groups, generator=generator, dtype=t.dtype)
    kind = (torch.randperm(groups, generator=generator) + inside) / groups
    t = t[::share]
    s = torch.where(kind < objective.equal_share, t, t + u * (path.t_max - t))
    is_sampler_jump, clock = (
        kind >= 1 - objective.sampler_share,
        path.clock(max(SAMPLERS) + 1).to(t),
    )
    begin, end = (clock[rows] for rows in sampler_rows(v, w))
    times = torch.where(is_sampler_jump, begin, t), torch.where(is_sampler_jump, end, s)
    t, s = (each.repeat_interleave(share) for each in times)
    return t, s


def sampler_rows(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Starts and ends of jumps of SAMPLERS, as indices of the times of the one with most jumps.

    Each number of jumps is as frequent, so that the one jump from start to end is the most
    frequent jump.

    Args:
        u, v: uniform numbers, (N,).
    """
    count = torch.tensor(SAMPLERS)[(u * len(SAMPLERS)).long()]
    jump, max_jumps = (v * count).long(), max(SAMPLERS)
    return jump * max_jumps // count, (jump + 1) * max_jumps // count


def _robust(error: Tensor) -> Tensor:
    """The loss of jumps with these squared errors, see SOFTNESS."""
    return error / (error.detach() + SOFTNESS)


def _shaped(value: Tensor, x: Tensor) -> Tensor:
    """A number () or one for each row (B,), shaped to multiply x (B, *)."""
    return value.to(x).reshape(value.shape + (1,) * (x.ndim - 1 if value.ndim else 0))
