"""Trajectories of a teacher, from which a flow map is distilled.

From a state on a trajectory, each later time has one right state, so that the targets have no
noise. The targets of single pairs of noise and data have.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from flowviz.device import finest_float
from flowviz.fields.flow_map import SAMPLERS, FlowMap, sampler_rows
from flowviz.objectives import Objective
from flowviz.roots import bisect
from flowviz.solvers import solve

STEPS = 32
"""Number of steps of a trajectory, even in the angle of `flowviz.fields.flow_map`, to which those
to the times of the samplers are added."""

SAME = 1e-6
"""Difference below which two times are one."""

CHUNK = 4_096


class Jumps(NamedTuple):
    """Jumps along trajectories, the arguments of `FlowMap.jump_loss`."""

    t: Tensor
    """Start of each jump, (B,) float64."""
    s: Tensor
    """End of each jump, (B,) float64."""
    x_t: Tensor
    """States at t, (B, *)."""
    x_s: Tensor
    """States at s, (B, *)."""
    u: Tensor
    """Velocities of the teacher at t, (B, *), where s = t; 0 elsewhere."""
    y: Tensor | None
    """Classes, (B,)."""


@dataclass(frozen=True)
class Trajectories:
    """States of a teacher on N trajectories at T times."""

    teacher: Callable[..., Tensor]
    """Velocities (B, *) at (t, x), or at (t, x, y) with classes."""
    times: Tensor
    """(T,) float64, on the CPU."""
    states: Tensor
    """(T, N, *) float32."""
    classes: Tensor | None
    """Class of each trajectory, (N,)."""
    samplers: Tensor
    """Rows of `times` at which the samplers with the most jumps start and end, (K + 1,)."""

    @torch.no_grad()
    def draw(self, n: int, objective: Objective, generator: Generator, *, share: int = 1) -> Jumps:
        """n jumps.

        As in `draw_times`, a pair has equal times, those of a jump of a sampler or others. Of the
        others, the starts are denser at the first times and the ends at the last.

        Args:
            n: number of jumps, a multiple of `share`.
            objective: whose shares of equal times and of samplers the jumps have.
            generator: of the draws.
            share: number of successive jumps with the same times.
        """
        groups, last = n // share, len(self.times) - 1
        u, v, w, inside = torch.rand(4, groups, generator=generator)
        ranks = (torch.arange(groups) + inside) / groups
        equal = ranks < objective.equal_share
        begin = (torch.where(equal, u, u.square()) * (last + 1)).long().clamp(max=last)
        end = begin + ((1 - v.square()) * (last + 1 - begin)).long()
        end = torch.where(equal, begin, end.clamp(max=last))
        is_sampler_jump = ranks >= 1 - objective.sampler_share
        begin, end = (
            torch.where(is_sampler_jump, self.samplers[rows], other).repeat_interleave(share)
            for rows, other in zip(sampler_rows(u, w), (begin, end), strict=True)
        )
        row = torch.randint(self.states.shape[1], (n,), generator=generator)
        x_t, x_s = self.states[begin, row], self.states[end, row]
        times = self.times.to(x_t.device, finest_float(x_t.device))
        t, y = times[begin], None if self.classes is None else self.classes[row]
        velocity, still = torch.zeros_like(x_t), (begin == end).to(x_t.device)
        if still.any():
            teacher = _with_classes(self.teacher, None if y is None else y[still])
            velocity[still] = teacher(t[still], x_t[still]).to(velocity)
        return Jumps(t, times[end], x_t, x_s, velocity, y)


def follow(
    teacher: Callable[..., Tensor], field: FlowMap, noise: Tensor, classes: Tensor | None = None
) -> Trajectories:
    """Trajectories of the teacher from standard normal noise (N, *), by the midpoint method.

    Args:
        teacher: a velocity field on the path of `field`, called as (t, x) or (t, x, y).
        field: whose angle sets the times.
        noise: starting points.
        classes: class of each trajectory, (N,), for a teacher with classes.
    """
    path = field.path
    first, last = field.angle(path.clock(2))
    angles = torch.lerp(first, last, torch.linspace(0, 1, STEPS + 1).double())
    ends = torch.zeros_like(angles), torch.full_like(angles, path.t_max)
    samplers = path.clock(max(SAMPLERS) + 1)
    inner = bisect(lambda t: field.angle(t) < angles, *ends)[1:-1]
    is_distinct = (inner[:, None] - samplers).abs().amin(dim=1) > SAME
    times = torch.cat([samplers, inner[is_distinct]]).unique()
    parts = noise.split(CHUNK)
    labels = [None] * len(parts) if classes is None else classes.split(CHUNK)
    states = [
        solve(
            _with_classes(teacher, y), path.start(part), times[[0, -1]], "midpoint", grid=times
        ).step_states
        for part, y in zip(parts, labels, strict=True)
    ]
    rows = torch.searchsorted(times, samplers)
    return Trajectories(teacher, times, torch.cat(states, dim=1), classes, rows)


def _with_classes(
    teacher: Callable[..., Tensor], y: Tensor | None
) -> Callable[[Tensor, Tensor], Tensor]:
    """The teacher's velocities at (t, x) for the classes y, if any."""
    return teacher if y is None else lambda t, x: teacher(t, x, y)
