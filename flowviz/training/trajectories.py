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
"""Number of steps of a trajectory, even in the angle of `flowviz.fields.flow_map`."""

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

    def draw(
        self, n: int, equal_share: float, generator: Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """n jumps as t, s, x_t, x_s and the velocity at t, for `FlowMap.jump_loss`.

        Starts are denser at the first times and ends at the last, as few-step sampling needs.
        """
        last = len(self.times) - 1
        u, v = torch.rand(2, n, generator=generator)
        row = torch.randint(self.states.shape[1], (n,), generator=generator)
        equal = torch.arange(n) < equal_share * n
        begin = (torch.where(equal, u, u.square()) * (last + 1)).long().clamp(max=last)
        end = begin + ((1 - v.square()) * (last + 1 - begin)).long()
        end = torch.where(equal, begin, end.clamp(max=last))
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
    angles = torch.lerp(*field.angle(path.clock(2)), torch.linspace(0, 1, STEPS + 1).double())
    ends = torch.zeros_like(angles), torch.full_like(angles, path.t_max)
    times = bisect(lambda t: field.angle(t) < angles, *ends)
    times[0], times[-1] = 0.0, path.t_max
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
    return Trajectories(times, states, velocities)
