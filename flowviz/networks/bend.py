"""A network for the deviation of conditional trajectories from those of a reference path."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from flowviz.networks.second_time import octave_rates, waves


class Bend(nn.Module):
    """A network of `depth` hidden layers of `width` SiLU units, from data points to coefficients.

    It returns one coefficient of the mean and one of the log scale for each of K sines of time and
    each of D dimensions. A new network returns zeros.

    Args:
        dim: D, the dimension of x.
        sines: K.
        width: number of units of a hidden layer.
        depth: number of hidden layers.
        octaves: the input is x and as sin and cos of 2^k pi x / 2 for k < octaves.
        generator: draws the weights; PyTorch's global one by default.
    """

    x_rates: Tensor

    def __init__(
        self,
        *,
        dim: int = 2,
        sines: int = 4,
        width: int = 64,
        depth: int = 2,
        octaves: int = 2,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.dim, self.sines = dim, sines
        self.register_buffer("x_rates", octave_rates(octaves), persistent=False)
        sizes = [dim * (1 + 2 * octaves), *[width] * depth]
        hidden = [nn.Linear(n, m) for n, m in pairwise(sizes)]
        self.layers = nn.ModuleList(hidden)
        self.head = nn.Linear(width, 2 * sines * dim)
        for module in hidden:
            bound = module.in_features**-0.5
            nn.init.uniform_(module.weight, -bound, bound, generator=generator)
            nn.init.uniform_(module.bias, -bound, bound, generator=generator)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients of the mean and of the log scale at x (B, D), each (B, K, D)."""
        h = waves(x, self.x_rates)
        for layer in self.layers:
            h = nn.functional.silu(layer(h))
        mean, scale = self.head(h).reshape(-1, 2, self.sines, self.dim).unbind(dim=1)
        return mean, scale
