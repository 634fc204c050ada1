r"""The straightness of the marginal flow of a field and of the conditional flow of a path.

Particles z_t move from z_0 to z_1 with velocity v_t. Liu et al. 2022 (arXiv 2209.03003) measure

    S = E int |(z_1 - z_0) - v_t|^2 dt = KE - E |z_1 - z_0|^2,    KE = E int |v_t|^2 dt,

summed over dimensions, which is 0 if and only if all move straight and at constant speed. The
length of a trajectory over that of its chord does not depend on the speed. The material
acceleration a = d_t v + (v . grad) v, the residual of Burgers' equation, is 0 where particles
neither turn nor change their speed. Time is in units of t_max.

References:
    Liu et al. 2022, Flow Straight and Fast, https://arxiv.org/abs/2209.03003
    Pooladian et al. 2023, Multisample flow matching, https://arxiv.org/abs/2304.14772
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowviz.device import finest_float
from flowviz.grids import GRIDS
from flowviz.paths import AffinePath
from flowviz.solvers import Control, solve

NODES = 161
"""Number of times of the quadrature, evenly in log(alpha / sigma)."""

LATEST = 0.95
"""Share of the time over which the acceleration is averaged: on VP diffusion it is unbounded near
t = 1."""


class FlowField(Protocol):
    """A learned or exact field: a velocity that knows its path."""

    @property
    def path(self) -> AffinePath:
        """The path on which it leads from noise to data."""
        ...

    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        """The velocity at t () and x (B, *), shape (B, *)."""
        ...


class Process(Protocol):
    """A conditional path, or the forward process of a learned one."""

    def flow(self, t: Tensor, x_0: Tensor, x_1: Tensor) -> Tensor:
        """The states at t () between x_0 and x_1, each (B, *)."""
        ...

    def target(self, t: Tensor, x_0: Tensor, x_1: Tensor) -> Tensor:
        """Their velocities, (B, *)."""
        ...


@dataclass(frozen=True)
class Straightness:
    """Averages over the particles of a flow, sums over dimensions, time from 0 to 1.

    Attributes:
        deviation: S, the mean square difference of the velocity from the chord.
        error: standard error of S, from the differences between particles; NaN for one particle.
        displacement: E |z_1 - z_0|^2.
        energy: KE, the mean square speed.
        arc_over_chord: mean length of the trajectories over that of their chords, at least 1.
        acceleration: mean square of the acceleration up to LATEST, the residual of Burgers'
            equation.
        times: (K,), increasing from 0 to 1.
        deviations: (K,), E |(z_1 - z_0) - v_t|^2 at these times; the integral is S.
    """

    deviation: float
    error: float
    displacement: float
    energy: float
    arc_over_chord: float
    acceleration: float
    times: NDArray[np.float64]
    deviations: NDArray[np.float64]

    @property
    def relative(self) -> float:
        """S over E |z_1 - z_0|^2, dimensionless."""
        return self.deviation / self.displacement if self.displacement else 0.0


@torch.no_grad()
def marginal_straightness(
    field: FlowField,
    x_0: Tensor,
    *,
    tol: float = 1e-6,
    control: Control = "worst",
) -> Straightness:
    """The straightness of the flow of noise x_0 (B, *), or samples of the source, along a field.

    The flow is solved by dopri5 with tolerance `tol` and step control `control`, see `solve`.
    """
    times = quadrature_times(field.path)
    start = x_0 if field.path.source else field.path.start(x_0)
    states = solve(field, start, times, "dopri5", tol=tol, control=control).states
    return straightness_of(field, times, states)


def quadrature_times(path: AffinePath) -> Tensor:
    """The NODES times of the quadrature, (NODES,) float64."""
    return GRIDS["log-snr"](path, NODES - 1)


@torch.no_grad()
def straightness_of(field: FlowField, times: Tensor, states: Tensor) -> Straightness:
    """The straightness of a flow from its states (K, B, *) at its `quadrature_times` (K,)."""
    moments = times.to(states.device, finest_float(states.device))
    velocities = torch.stack([field(t, x) for t, x in zip(moments, states, strict=True)])
    return _measured(times, states.cpu(), velocities.cpu())


@torch.no_grad()
def conditional_straightness(
    path: AffinePath, x_0: Tensor, x_1: Tensor, *, process: Process | None = None
) -> Straightness:
    """The straightness of the conditional flows that join noise x_0 to data x_1, each (B, *).

    `process` is the forward process of a learned path.
    """
    times, joined = quadrature_times(path), process or path
    states = torch.stack([joined.flow(t, x_0, x_1) for t in times])
    velocities = torch.stack([joined.target(t, x_0, x_1) for t in times])
    return _measured(times, states.cpu(), velocities.cpu())


def _measured(times: Tensor, states: Tensor, velocities: Tensor) -> Straightness:
    """The straightness of trajectories (K, B, *) with velocities, by the trapezoidal rule."""
    span = times[-1] - times[0]
    clock = (times - times[0]) / span
    velocity = span * velocities.double().flatten(2)
    chord = (states[-1] - states[0]).double().flatten(1)
    squares = _squares(chord - velocity)
    deviations, each = squares.mean(dim=1), torch.trapezoid(squares, clock, dim=0)
    speeds = _squares(velocity)
    (turning,) = torch.gradient(velocity, spacing=(clock,), dim=0)
    early = clock <= LATEST
    # The quadrature may give less than the chord of a straight trajectory; a polyline never does.
    polyline = _squares(states.double().flatten(2).diff(dim=0)).sqrt().sum(dim=0)
    arc = torch.maximum(torch.trapezoid(speeds.sqrt(), clock, dim=0), polyline).mean()
    return Straightness(
        deviation=each.mean().item(),
        error=each.std().item() / len(each) ** 0.5 if len(each) > 1 else float("nan"),
        displacement=_squares(chord).mean().item(),
        energy=torch.trapezoid(speeds.mean(dim=1), clock).item(),
        arc_over_chord=(arc / _squares(chord).sqrt().mean()).item(),
        acceleration=(
            torch.trapezoid(_squares(turning[early]).mean(dim=1), clock[early]) / LATEST
        ).item(),
        times=clock.numpy(),
        deviations=deviations.numpy(),
    )


def _squares(vectors: Tensor) -> Tensor:
    """Squared lengths along the last dimension."""
    return vectors.square().sum(dim=-1)
