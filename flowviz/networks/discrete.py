"""Networks trained with another clock, as networks of the time t in [0, 1]."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from flowviz.device import finest_float
from flowviz.schedulers import Scheduler


class DiscreteTime(nn.Module):
    """The network (n, x, y) of N discrete noise levels as one of the time t, (t, x, y).

    A DDPM network knows levels n = 0 ... N - 1 of growing noise, at which the data's share of the
    variance is bar alpha_n (Ho et al. 2020, https://arxiv.org/abs/2006.11239, eq. 4). On a path
    that preserves the variance the same state has alpha_t^2 = bar alpha_n, and so t becomes the
    real number n at which log bar alpha, drawn linearly between the integers, is log alpha_t^2.
    Between two integers the network is asked between two levels that it was trained on, which its
    sinusoids of n allow; less noise than level 0 is level 0, more than the last is the last.

    Args:
        network: maps (n, x) or (n, x, y), with n real of shape () or (B,).
        scheduler: of the path, with alpha_t^2 + sigma_t^2 = 1.
        bar_alphas: the levels, (N,) float64, falling.
    """

    exponents: Tensor

    def __init__(self, network: nn.Module, scheduler: Scheduler, bar_alphas: Tensor) -> None:
        super().__init__()
        falls = len(bar_alphas) > 1 and bool((bar_alphas.diff() < 0).all())
        if not falls or not 0 < bar_alphas[-1] < bar_alphas[0] < 1:
            raise ValueError(
                "The noise levels must be two or more, falling from below 1 to above 0."
            )
        self.network = network
        self.scheduler = scheduler
        self.register_buffer("exponents", -torch.log(bar_alphas), persistent=False)

    @property
    def num_classes(self) -> int:
        """K of the network, 0 without classes."""
        count = self.network.num_classes
        assert isinstance(count, int)
        return count

    def forward(self, time: Tensor, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Maps t of shape () or (B,), x (B, *) and classes y (B,) to x's shape."""
        return self.network(self.number(time).to(x), x, *(() if y is None else (y,)))

    def number(self, time: Tensor) -> Tensor:
        """The real n in [0, N - 1] of the noise level at t, of t's shape."""
        time = time.to(finest_float(time.device))
        level = -2 * torch.log(self.scheduler(time).alpha)
        levels = self.exponents.to(level)
        above = torch.searchsorted(levels, level.contiguous()).clamp(1, len(levels) - 1)
        below = levels[above - 1]
        n = above - 1 + (level - below) / (levels[above] - below)
        return n.clamp(0, len(levels) - 1)


class Retimed(nn.Module):
    """The network sign * F(clock(t), x, y) of a network F(c, x, y) with another time.

    A time that runs from data to noise is one such clock; a velocity then changes its sign.

    Args:
        network: maps (c, x) or (c, x, y), with c of shape () or (B,).
        clock: maps t of shape () or (B,) to the network's time, of t's shape.
        sign: 1, or -1 for a velocity against the network's time.
    """

    def __init__(
        self, network: nn.Module, clock: Callable[[Tensor], Tensor], *, sign: int = 1
    ) -> None:
        super().__init__()
        self.network = network
        self.clock = clock
        self.sign = sign

    @property
    def num_classes(self) -> int:
        """K of the network, 0 without classes."""
        count = self.network.num_classes
        assert isinstance(count, int)
        return count

    def forward(self, time: Tensor, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Maps t of shape () or (B,), x (B, *) and classes y (B,) to x's shape."""
        clock = self.clock(time.to(finest_float(time.device))).to(x)
        return self.sign * self.network(clock, x, *(() if y is None else (y,)))
