"""A multilayer perceptron for the plane, conditioned on time."""

import math

import torch
from torch import Tensor, nn

__all__ = ["MLP"]


class MLP(nn.Module):
    """A network of `depth` hidden layers of `width` SiLU units; each layer is shifted by time.

    Time enters as `clock`, a few numbers that grow with t (a field decides which). They are
    embedded once a call, so that a solver, whose time is one number for the whole batch, pays for
    them once and not once a particle.

    Args:
        dim: D, the dimension of x.
        width: units of a hidden layer.
        depth: hidden layers.
        clocks: C, numbers that tell the time.
        octaves: position enters as x and as sin and cos of 2^k pi x / 2 for k < octaves.
        generator: draws the weights; PyTorch's global one by default.
    """

    def __init__(
        self,
        *,
        dim: int = 2,
        width: int = 128,
        depth: int = 3,
        clocks: int = 2,
        octaves: int = 5,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        embedding = 64
        self.register_buffer(
            "x_rates", math.pi / 2 * 2.0 ** torch.arange(octaves), persistent=False
        )
        self.register_buffer("t_rates", math.pi / 2 * 2.0 ** torch.arange(6), persistent=False)
        inputs = dim * (1 + 2 * octaves)
        self.clock = nn.Sequential(
            nn.Linear(clocks * (1 + 2 * len(self.t_rates)), embedding), nn.SiLU()
        )
        self.shift = nn.Linear(embedding, width * depth)
        self.layers = nn.ModuleList(
            nn.Linear(inputs if i == 0 else width, width) for i in range(depth)
        )
        self.head = nn.Linear(width, dim)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                bound = module.in_features**-0.5
                nn.init.uniform_(module.weight, -bound, bound, generator=generator)
                nn.init.uniform_(module.bias, -bound, bound, generator=generator)
        nn.init.zeros_(self.head.weight)  # a new field is its linear part alone
        nn.init.zeros_(self.head.bias)

    def forward(self, clock: Tensor, x: Tensor) -> Tensor:
        """Maps clock (C,) or (B, C) and x (B, D) to (B, D)."""
        h = _waves(x, self.x_rates)
        shifts = self.shift(self.clock(_waves(clock, self.t_rates)))
        for layer, shift in zip(self.layers, shifts.chunk(len(self.layers), dim=-1), strict=True):
            h = nn.functional.silu(layer(h) + shift)
        return self.head(h)


def _waves(x: Tensor, rates: Tensor) -> Tensor:
    """x beside sin and cos of it at each rate: (..., D) -> (..., D + 2 D R)."""
    angles = (x[..., None] * rates).flatten(-2)
    return torch.cat([x, torch.sin(angles), torch.cos(angles)], dim=-1)
