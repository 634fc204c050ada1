"""Trajectories of a teacher, from which a flow map of the plane is distilled."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from flowviz.fields.flow_map import FlowMap
from flowviz.roots import bisect
from flowviz.solvers import Field, solve

TRAJECTORIES = 32_768
"""Number of trajectories of a distillation."""

STEPS = 32
"""Number of steps of a trajectory, even in the angle of `flowviz.fields.flow_map`, to which those
to the times of the samplers are added."""

SAMPLERS = (1, 2, 4, 8)
"""Numbers of jumps of the samplers whose own jumps are trained most."""

SAMPLER_SHARE = 0.7
"""Share of the jumps of a batch that are of SAMPLERS."""

CHUNK = 4_096


@dataclass(frozen=True)
class Trajectories:
    """States of a teacher on N trajectories at T times, with the velocities there."""

    times: Tensor
    """(T,) float64."""
    states: Tensor
    """(T, N, 2) float32."""
    velocities: Tensor
    """(T, N, 2) float32."""

    samplers: Tensor
    """Rows of `times` at which the samplers with the most jumps start and end, (K + 1,)."""

    def draw(
        self, n: int, equal_share: float, generator: Generator, *, share: int = 1
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """n jumps as t, s, x_t, x_s and the velocity at t, for `FlowMap.jump_loss`.

        SAMPLER_SHARE of them are those of SAMPLERS: each number of jumps is as frequent, so that
        the one jump from start to end is the most frequent jump. Of the others, the starts are
        denser at the first times and the ends at the last.

        Args:
            n: number of jumps, a multiple of `share`.
            equal_share: share of the jumps whose two times are equal.
            generator: of the draws.
            share: number of successive jumps with the same times.
        """
        groups, last = n // share, len(self.times) - 1
        u, v, w = torch.rand(3, groups, generator=generator)
        ranks = (torch.arange(groups) + 0.5) / groups
        equal = ranks < equal_share
        begin = (torch.where(equal, u, u.square()) * (last + 1)).long().clamp(max=last)
        end = begin + ((1 - v.square()) * (last + 1 - begin)).long()
        end = torch.where(equal, begin, end.clamp(max=last))
        most = len(self.samplers) - 1
        count = torch.tensor(SAMPLERS)[(u * len(SAMPLERS)).long()]
        jump = (w * count).long()
        few = ranks >= 1 - SAMPLER_SHARE
        begin = torch.where(few, self.samplers[jump * most // count], begin)
        end = torch.where(few, self.samplers[(jump + 1) * most // count], end)
        begin, end = (each.repeat_interleave(share) for each in (begin, end))
        row = torch.randint(self.states.shape[1], (n,), generator=generator)
        x_t, x_s = self.states[begin, row], self.states[end, row]
        return self.times[begin], self.times[end], x_t, x_s, self.velocities[begin, row]


@torch.no_grad()
def follow(teacher: Field, field: FlowMap, noise: Tensor) -> Trajectories:
    """Trajectories of the teacher from standard normal noise (N, 2), by the midpoint method.

    Args:
        teacher: a velocity field on the path of `field`.
        field: whose angle sets the times.
        noise: starting points.
    """
    path = field.path
    first, last = field.angle(path.clock(2))
    angles = torch.lerp(first, last, torch.linspace(0, 1, STEPS + 1).double())
    ends = torch.zeros_like(angles), torch.full_like(angles, path.t_max)
    samplers = path.clock(max(SAMPLERS) + 1)
    inner = bisect(lambda t: field.angle(t) < angles, *ends)[1:-1]
    times = torch.cat([samplers, inner]).unique()
    parts = [
        solve(teacher, path.start(part), times, "midpoint", grid=times).states
        for part in noise.split(CHUNK)
    ]
    states = torch.cat(parts, dim=1)
    velocities = torch.stack(
        [
            torch.cat([teacher(t, part) for part in x.split(CHUNK)])
            for t, x in zip(times, states, strict=True)
        ]
    )
    return Trajectories(times, states, velocities, torch.searchsorted(times, samplers))
