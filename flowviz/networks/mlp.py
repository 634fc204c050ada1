"""A multilayer perceptron for the plane, conditioned on time."""

import torch
from torch import Tensor, nn

from flowviz.networks.second_time import SecondTime, octave_rates, waves


class MLP(nn.Module):
    """A network of `depth` hidden layers of `width` SiLU units; each layer is shifted by time.

    Time enters as `clock`, a few numbers that increase with t, chosen by the field. They are
    embedded once per call if the batch has one time, as in a solver.

    Args:
        dim: D, the dimension of x.
        width: number of units of a hidden layer.
        depth: number of hidden layers.
        clocks: C, the length of `clock`.
        octaves: position enters as x and as sin and cos of 2^k pi x / 2 for k < octaves.
        two_times: whether a second clock can be given, see `SecondTime`.
        generator: draws the weights; PyTorch's global one by default.
    """

    x_rates: Tensor
    t_rates: Tensor

    def __init__(
        self,
        *,
        dim: int = 2,
        width: int = 128,
        depth: int = 3,
        clocks: int = 2,
        octaves: int = 5,
        two_times: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        embedding = 64
        self.register_buffer("x_rates", octave_rates(octaves), persistent=False)
        self.register_buffer("t_rates", octave_rates(6), persistent=False)
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
        nn.init.zeros_(self.head.weight)  # a new field is its linear part only
        nn.init.zeros_(self.head.bias)
        if two_times:  # last, so that the other weights are those of a network without it
            self.second = SecondTime(clocks, width * depth, generator=generator)

    def forward(self, clock: Tensor, x: Tensor, *, second_clock: Tensor | None = None) -> Tensor:
        """Maps clock (C,) or (G, C), x (B, D) and, if any, the second clock to (B, D).

        With G < B each clock is that of B / G consecutive rows of x, and is embedded once.
        """
        h = waves(x, self.x_rates)
        shifts = self.shift(self.clock(waves(clock, self.t_rates)))
        if second_clock is not None:
            shifts = shifts + self.second(clock, second_clock)
        shared = clock.ndim > 1 and len(clock) < len(x)
        if shared:
            h, shifts = h.unflatten(0, (len(clock), -1)), shifts[:, None]
        for layer, shift in zip(self.layers, shifts.chunk(len(self.layers), dim=-1), strict=True):
            h = nn.functional.silu(layer(h) + shift)
        return self.head(h.flatten(0, 1) if shared else h)
