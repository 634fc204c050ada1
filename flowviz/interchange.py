"""Our fields as the models that other libraries call, for their solvers and plots.

    from flow_matching.solver import ODESolver
    samples = ODESolver(for_flow_matching(field)).sample(x_0, step_size=0.05, method="midpoint")

    from torchcfm.utils import torch_wrapper
    node = torchdyn.core.NeuralODE(torch_wrapper(for_torchcfm(field)), solver="dopri5")

A field must have a path: an exact or learned one, or from `flowviz.load`. Fields of images have
torchcfm's convention (t, x, y) and need no adapter. States are in the frame, see `flowviz.api`.
These libraries solve up to t = 1; a path ends at t_max a little earlier, and later times are
evaluated there.
"""

from typing import Any

from torch import Tensor, nn

from flowviz.experiments.evaluate import FlowField
from flowviz.experiments.fields import FieldRef

__all__ = ["for_flow_matching", "for_torchcfm"]


class _Model(nn.Module):
    """A field as a module, so that `to` moves its network."""

    def __init__(self, field: FieldRef | FlowField) -> None:
        super().__init__()
        self.field = field.field if isinstance(field, FieldRef) else field
        self.t_max = self.field.path.t_max

    def velocity(self, t: Tensor, x: Tensor) -> Tensor:
        """The velocity at t () or (B,) and x (B, 2)."""
        return self.field(t.clamp(max=self.t_max), x)


class _FlowMatching(_Model):
    def forward(self, x: Tensor, t: Tensor, **extras: Any) -> Tensor:
        return self.velocity(t, x)


class _TorchCfm(_Model):
    def forward(self, state: Tensor) -> Tensor:
        return self.velocity(state[:, -1], state[:, :-1])


def for_flow_matching(field: FieldRef | FlowField) -> nn.Module:
    """A model called as model(x=x, t=t), as flow_matching's `ODESolver` does."""
    return _FlowMatching(field)


def for_torchcfm(field: FieldRef | FlowField) -> nn.Module:
    """A model called as model(torch.cat([x, t], dim=1)), as torchcfm's `torch_wrapper` does."""
    return _TorchCfm(field)
