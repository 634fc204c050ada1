"""A learned field of the plane prepared for a solve, for solvers and densities.

At a given time a learned field is a linear function of x and of the bounded output of its network
at a standardised x: numbers that depend on the time alone are computed once, in float64.
"""

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from flowviz.networks.mlp import MLP
from flowviz.networks.plan import Biases, Plan

if TYPE_CHECKING:
    from flowviz.fields.learned import LearnedField


BOUND = 6.0
"""The largest remainder, in standard deviations of the remainder; see `flowviz.fields.learned`."""


class _Numbers(NamedTuple):
    """At one time: v = slope x + offset + gain f, with f = tanh(F(z) / BOUND), or F(z) itself
    without preconditioning, and z = scale x + shift; `biases` are those of the network."""

    biases: Biases
    scale: float
    shift: Tensor
    slope: float
    offset: Tensor
    gain: float


class Planned:
    """The velocity of a learned field, called as planned(t, x) with t () and x (B, D).

    Times that were not listed are prepared when they come. See `Plan` for what must not change.

    Args:
        field: the field, with clocks.
        network: its network.
        times: the times that are known, (T,), none for an adaptive solver.
        dtype: of the states and weights.
    """

    def __init__(
        self, field: "LearnedField", network: MLP, times: Tensor, dtype: torch.dtype
    ) -> None:
        self.field, self.dtype = field, dtype
        self.plan = Plan(network)
        self.known = dict(zip(times.tolist(), self._prepared(times), strict=True))

    def _prepared(self, times: Tensor) -> list[_Numbers]:
        """The numbers at times (T,)."""
        if not len(times):
            return []
        field, dtype = self.field, self.dtype
        times = times.double()
        mean = field.mean.double()
        like = mean.expand(len(times), -1)  # one row for each time
        c = field.path.coefficients(times, like)
        biases = self.plan.biases(field.clock(times, c).to(dtype))
        one, zero = torch.ones_like(c.alpha), torch.zeros_like(c.alpha)
        # The velocity is a x + b q with numbers a and b that depend on t alone.
        a = field.objective.velocity(field.path, times, one, zero)
        b = field.objective.velocity(field.path, times, zero, one)
        if field.preconditioned:
            slope, scale, spread, offset = field.linear(c, torch.zeros_like(like))
            fixed = field.centre(c) + slope * offset
            rows = 1 / spread, offset / spread, a + b * slope, b * fixed, b * scale * BOUND
        else:
            rows = one, 0 * like, a, 0 * like, b
        numbers = [
            row.to(dtype) if row.shape == like.shape else row[:, 0].tolist() for row in rows
        ]
        return [_Numbers(*each) for each in zip(biases, *numbers, strict=True)]

    @torch.no_grad()
    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        """The velocity at t () and x (B, D), shape (B, D)."""
        n = self._numbers_at(t)
        output = self.plan(n.biases, torch.add(n.shift, x, alpha=n.scale))
        return self._velocity(n, x, self._bounded(output))

    @torch.no_grad()
    def velocity_and_divergence(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """The velocity (B, D) and its divergence (B,) at t () and x (B, D)."""
        n = self._numbers_at(t)
        z = torch.add(n.shift, x, alpha=n.scale)
        output, diagonal = self.plan.with_diagonal(n.biases, z)
        bounded = self._bounded(output)
        if self.field.preconditioned:
            diagonal = torch.addcmul(diagonal, bounded * bounded, diagonal, value=-1).div_(BOUND)
        trace = x.shape[1] * n.slope + n.gain * n.scale * diagonal.sum(dim=1)
        return self._velocity(n, x, bounded), trace

    def _numbers_at(self, t: Tensor) -> _Numbers:
        """The numbers at t ()."""
        return self.known.get(t.item()) or self._prepared(t[None])[0]

    def _bounded(self, output: Tensor) -> Tensor:
        """The bounded output of the network over its bound; the output itself without one."""
        return torch.tanh_(output.div_(BOUND)) if self.field.preconditioned else output

    def _velocity(self, n: _Numbers, x: Tensor, bounded: Tensor) -> Tensor:
        return torch.add(n.offset, x, alpha=n.slope).add_(bounded, alpha=n.gain)
