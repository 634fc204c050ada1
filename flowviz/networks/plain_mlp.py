"""A plain multilayer perceptron of [x, t], as tutorials of other projects train."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from flowviz.registry import Registry


@dataclass(frozen=True)
class Activation:
    """An activation between two layers: its name in menus, and the function."""

    label: str
    function: Callable[[Tensor], Tensor]


ACTIVATIONS: Registry[Activation] = Registry("activation")
ACTIVATIONS["selu"] = Activation("SELU", nn.functional.selu)
ACTIVATIONS["silu"] = Activation("SiLU (Swish)", nn.functional.silu)
ACTIVATIONS["relu"] = Activation("ReLU", nn.functional.relu)
ACTIVATIONS["elu"] = Activation("ELU", nn.functional.elu)
ACTIVATIONS["gelu"] = Activation("GELU", nn.functional.gelu)
ACTIVATIONS["leaky-relu"] = Activation("leaky ReLU (0.01)", nn.functional.leaky_relu)
ACTIVATIONS["softplus"] = Activation("softplus", nn.functional.softplus)
ACTIVATIONS["tanh"] = Activation("tanh", torch.tanh)


class PlainMLP(nn.Module):
    """Linear layers with one activation between them; the input is x followed by t.

    Args:
        widths: numbers of units, from the D + 1 inputs to the D outputs.
        activation: name in ACTIVATIONS.
    """

    def __init__(self, widths: Sequence[int], activation: str) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Linear(size, next_size) for size, next_size in pairwise(widths)
        )
        self.activation = ACTIVATIONS[activation].function

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """The output (B, D) at t () or (B,) and x (B, D)."""
        h = torch.cat([x, t.expand(len(x))[:, None]], dim=1)
        for layer in self.layers[:-1]:
            h = self.activation(layer(h))
        return self.layers[-1](h)
