"""The embedding of a second time, for networks of flow maps."""

import math

import torch
from torch import Generator, Tensor, nn


class SecondTime(nn.Module):
    """What the time s adds to a network's embedding of the time t: g(t, s) - g(t, t).

    It is 0 where s = t, so that the network then is the same as without it, and 0 everywhere in a
    new network, so that a flow map starts as the velocity of its weights.

    Args:
        clocks: C, the length of each clock.
        outputs: E, the length of the embedding.
        hidden: number of hidden units.
        generator: draws the weights; PyTorch's global one by default.
    """

    rates: Tensor

    def __init__(
        self, clocks: int, outputs: int, *, hidden: int = 64, generator: Generator | None = None
    ) -> None:
        super().__init__()
        rates = octave_rates(6)
        self.register_buffer("rates", rates, persistent=False)
        self.enter = nn.Linear(2 * clocks * (1 + 2 * len(rates)), hidden)
        self.leave = nn.Linear(hidden, outputs, bias=False)
        self.draw(generator)

    def draw(self, generator: Generator | None) -> None:
        """Draws the weights of the first layer; those of the last are zero."""
        bound = self.enter.in_features**-0.5
        nn.init.uniform_(self.enter.weight, -bound, bound, generator=generator)
        nn.init.uniform_(self.enter.bias, -bound, bound, generator=generator)
        nn.init.zeros_(self.leave.weight)

    def forward(self, clock: Tensor, second_clock: Tensor) -> Tensor:
        """Maps the clocks of t and of s, each (C,) or (B, C), to (E,) or (B, E)."""
        clock, second_clock = torch.broadcast_tensors(clock, second_clock)
        waves_t, waves_s = waves(clock, self.rates), waves(second_clock, self.rates)
        difference = self._hidden(waves_t, waves_s) - self._hidden(waves_t, waves_t)
        return self.leave(difference)

    def _hidden(self, waves_t: Tensor, waves_s: Tensor) -> Tensor:
        return nn.functional.silu(self.enter(torch.cat([waves_t, waves_s], dim=-1)))


def waves(x: Tensor, rates: Tensor) -> Tensor:
    """x with its sines and cosines at each rate: (..., D) -> (..., D + 2 D R)."""
    angles = (x[..., None] * rates).flatten(-2)
    return torch.cat([x, torch.sin(angles), torch.cos(angles)], dim=-1)


def octave_rates(count: int) -> Tensor:
    """The rates pi/2, pi, 2 pi, ..., each twice the one before, (count,) in float32.

    Made from a list: arithmetic on the meta device, where shapes of checkpoints are checked,
    imports PyTorch's compiler, which takes more than a second.
    """
    return torch.tensor([math.pi / 2 * 2**k for k in range(count)])
