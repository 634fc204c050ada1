"""Densities of a flow: divergence, and log-likelihood by the instantaneous change of variables.

Along a trajectory of dx/dt = v_t(x) the log-density changes by minus the divergence (Lipman et al.
2022, eq. 27-33; Chen et al. 2018, https://arxiv.org/abs/1806.07366):

    log p_T(x_T) = log p_0(x_0) - int_0^T div v_t(x_t) dt,

solved backward from x_T, states and integral as one system.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from flowviz.solvers import METHODS, Field, solve

__all__ = ["LogProb", "divergence", "log_prob", "normal_log_prob", "velocity_and_divergence"]

CHUNK = 4096
"""Points solved at once: few enough that a network's layers stay in a core's cache."""


@runtime_checkable
class ExactDivergence(Protocol):
    """A field that knows its divergence."""

    def divergence(self, t: Tensor, x: Tensor) -> Tensor:
        """The divergence at t and x (B, D), shape (B,)."""


@dataclass(frozen=True)
class LogProb:
    """What `log_prob` returns.

    Attributes:
        log_prob: (B,) nats.
        x_0: (B, *), the states at t = 0 that flow into the points.
        nfe: the counted evaluations of the field; if the points were solved in several chunks by
            an adaptive method, the most that a chunk took.
    """

    log_prob: Tensor
    x_0: Tensor
    nfe: int


def divergence(field: Field, t: Tensor, x: Tensor, *, probe: Tensor | None = None) -> Tensor:
    """The divergence of the field at t, () or (B,), and x (B, *), shape (B,).

    It is the field's own where it has one, else exact by D vector-Jacobian products, else, with a
    probe z (B, *) of independent entries of mean 0 and variance 1, Hutchinson's estimate z^T Dv z
    (Lipman et al. 2022, eq. 34).
    """
    if probe is None and isinstance(field, ExactDivergence):
        return field.divergence(t, x)
    return velocity_and_divergence(field, t, x, probe=probe)[1]


def velocity_and_divergence(
    field: Field, t: Tensor, x: Tensor, *, probe: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The velocity (B, *) and its divergence (B,), see `divergence`; rows must not mix."""
    if probe is None and isinstance(field, ExactDivergence):
        return field(t, x), field.divergence(t, x)
    # Reverse mode: forward mode took twice as long through a network (see torch.func.jvp of silu).
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        velocity = field(t, x)
        if not velocity.requires_grad:  # the field does not depend on x
            return velocity, velocity.new_zeros(len(x))
        if probe is not None:
            (pulled,) = torch.autograd.grad(velocity, x, probe, materialize_grads=True)
            return velocity.detach(), (pulled * probe).flatten(1).sum(dim=1)
        flat, trace = velocity.flatten(1), velocity.new_zeros(len(x))
        dim = flat.shape[1]
        for i in range(dim):
            (row,) = torch.autograd.grad(
                flat[:, i].sum(), x, retain_graph=i + 1 < dim, materialize_grads=True
            )
            trace = trace + row.flatten(1)[:, i]
    return velocity.detach(), trace.detach()


def normal_log_prob(x: Tensor, std: float = 1.0) -> Tensor:
    """log N(x; 0, std^2 I) of x (B, *) in nats, shape (B,)."""
    flat = x.flatten(1)
    constant = flat.shape[1] * math.log(std * math.sqrt(2 * math.pi))
    return -flat.square().sum(dim=1) / (2 * std**2) - constant


@torch.no_grad()
def log_prob(
    field: Field,
    x: Tensor,
    *,
    t_max: float,
    method: str = "dopri5",
    steps: int | None = None,
    tol: float = 1e-5,
    log_prior: Callable[[Tensor], Tensor] = normal_log_prob,
    probe: Tensor | None = None,
    chunk: int = CHUNK,
    should_stop: Callable[[], bool] | None = None,
) -> LogProb:
    """The log-density at time t_max of the flow from the prior, at x (B, *), in nats.

    Args:
        field: the velocity (t, x) -> (B, *).
        x: the states at t_max, shape (B, *).
        t_max: the path's last time, or any earlier one for the density there.
        method: a name in METHODS.
        steps: how many steps a fixed-step method takes.
        tol: the tolerance of an adaptive method.
        log_prior: log p_0 of states (B, *) in nats, (B,); a path with sigma_0 != 1 needs
            `normal_log_prob` with that std.
        probe: noise (B, *) for Hutchinson's estimate in place of the exact divergence, kept along
            the trajectory so that the solver sees a smooth integrand.
        chunk: points solved at once.
        should_stop: asked before each evaluation; if it says yes, SolveCancelled is raised.

    Raises:
        ValueError, SolveError, SolveCancelled: as `solve`.
    """
    times = torch.tensor([t_max, 0.0], dtype=torch.float64)
    change, starts, nfe = [], [], 0
    parts = x.split(chunk)
    probes = [None] * len(parts) if probe is None else probe.split(chunk)
    for part, part_probe in zip(parts, probes, strict=True):
        joint = _Joint(field, part.shape[1:], METHODS[method].weights, part_probe)
        start = torch.cat([part.flatten(1), torch.zeros_like(part.flatten(1)[:, :1])], dim=1)
        solution = solve(
            joint, start, times, method, steps=steps, tol=tol, should_stop=should_stop
        )
        starts.append(solution.states[-1, :, :-1].reshape(part.shape))
        change.append(solution.states[-1, :, -1])
        nfe = max(nfe, solution.nfe)
    x_0 = torch.cat(starts)
    return LogProb(log_prior(x_0) + torch.cat(change), x_0, nfe)


class _Joint:
    """States and the integral of their divergence as one field on rows (B, D + 1).

    The integral does not act back on the states, so that stages of weight 0 need no divergence:
    half of the work of the midpoint method.
    """

    def __init__(
        self,
        field: Field,
        shape: torch.Size,
        weights: tuple[float, ...],
        probe: Tensor | None,
    ) -> None:
        self.field = field
        self.shape = shape
        self.weights = weights or (1.0,)
        self.probe = probe
        self.calls = 0

    def __call__(self, t: Tensor, rows: Tensor) -> Tensor:
        weight = self.weights[self.calls % len(self.weights)]
        self.calls += 1
        x = rows[:, :-1].reshape(-1, *self.shape)
        if weight:
            velocity, trace = velocity_and_divergence(self.field, t, x, probe=self.probe)
        else:
            velocity, trace = self.field(t, x), rows.new_zeros(len(rows))
        return torch.cat([velocity.flatten(1), trace[:, None]], dim=1)
