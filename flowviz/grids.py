r"""Time grids: the times of the steps of a fixed-step method.

A path's clock is a choice: with exact fields and independent coupling every affine path carries
x_0 to the same x_1 and differs only in when it gets there. What is common to all is the ratio of
signal to noise, lambda = alpha_t / sigma_t. A grid that is even in a function of lambda spends its
steps alike on any path, so that it shows how much of a path's handicap is its clock.

References:
    Karras et al. 2022, Elucidating the Design Space of Diffusion-Based Generative Models,
    https://arxiv.org/abs/2206.00364
    Esser et al. 2024, Scaling Rectified Flow Transformers, https://arxiv.org/abs/2403.03206
    Lu et al. 2022, DPM-Solver, https://arxiv.org/abs/2206.00927
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from flowviz.paths import AffinePath
from flowviz.registry import Registry
from flowviz.roots import bisect

NOISIEST = 80.0
"""Largest sigma_t / alpha_t of the grids in lambda: EDM's sigma_max. The ratio is infinite
at t = 0 on paths with alpha_0 = 0."""

SHIFT = 3.0
"""Factor of the grid `shift`: that of Stable Diffusion 3."""

RHO = 7.0
"""EDM's exponent: steps shorten towards the data, though less than evenly in log lambda."""


@dataclass(frozen=True)
class Grid:
    """A rule for the times of a solve's steps.

    Attributes:
        label: what menus and legends show.
        sentence: what it does.
        times_of: maps a path and the shares k / steps (S + 1,) to times (S + 1,).
    """

    label: str
    sentence: str
    times_of: Callable[[AffinePath, Tensor], Tensor]

    def __call__(self, path: AffinePath, steps: int) -> Tensor:
        """steps + 1 increasing times from 0 to path.t_max, float64, (steps + 1,)."""
        if steps < 1:
            raise ValueError(f"A grid needs 1 step or more; got {steps}.")
        times = self.times_of(path, torch.arange(steps + 1, dtype=torch.float64) / steps)
        times[0], times[-1] = 0.0, path.t_max
        return times


class Grids(Registry[Grid]):
    """The grids by name, and "shift:K" for any factor K of the noise level."""

    def __missing__(self, name: str) -> Grid:
        kind, colon, factor = str(name).partition(":")
        return _shifted(factor) if kind == "shift" and colon else super().__missing__(name)


GRIDS: Registry[Grid] = Grids("time grid")


def ratio(path: AffinePath, t: Tensor) -> Tensor:
    """lambda = alpha_t / sigma_t at times t in [0, t_max], of t's shape."""
    c = path.scheduler(t)
    return c.alpha / c.sigma


def time_of(path: AffinePath, ratios: Tensor) -> Tensor:
    """The times in [0, t_max] at which alpha_t / sigma_t is `ratios` (S,), float64, (S,).

    Found by bisection, since the ratio increases with t on every path. Ratios outside its range
    give the nearer end.
    """
    first = torch.zeros_like(ratios, dtype=torch.float64)
    last = torch.full_like(first, path.t_max)
    return bisect(lambda t: ratio(path, t) < ratios, first, last)


def _log_snr(path: AffinePath, shares: Tensor) -> Tensor:
    first, last = _ends(path)
    return time_of(path, first * (last / first) ** shares)


def _edm(path: AffinePath, shares: Tensor) -> Tensor:
    first, last = (end ** (-1 / RHO) for end in _ends(path))
    return time_of(path, (first + shares * (last - first)) ** -RHO)


def _shifted(factor: str) -> Grid:
    """The grid that multiplies the ratio of noise to signal on OT by a factor (Esser et al., 23).

    Raises:
        ValueError: the factor is not a positive number.
    """
    try:
        k = float(factor)
    except ValueError:
        k = math.nan
    if not 0 < k < math.inf:
        raise ValueError(f"shift:K needs a positive number K, such as shift:3; got {factor!r}.")

    def times_of(path: AffinePath, shares: Tensor) -> Tensor:
        level = 1 - shares
        return path.time(1 - k * level / (1 + (k - 1) * level))

    sentence = (
        "Shorter steps near the noise: 1 − t becomes k(1 − t) / (1 + (k − 1)(1 − t)), "
        f"here with k = {k:g}."
    )
    return Grid(f"shifted by {k:g}", sentence, times_of)


GRIDS["uniform"] = Grid("even in t", "Equal steps in t.", AffinePath.time)
GRIDS["log-snr"] = Grid(
    "even in log(α/σ)",
    "Each step multiplies the ratio of signal to noise by the same factor.",
    _log_snr,
)
GRIDS["edm"] = Grid(
    "EDM's, even in (σ/α)^(1/7)",
    "Between the two: the grid of Karras et al. 2022, eq. 5, with rho = 7.",
    _edm,
)
GRIDS["shift"] = _shifted(f"{SHIFT:g}")


def _ends(path: AffinePath) -> tuple[Tensor, Tensor]:
    """lambda at the first step and at t_max, each ()."""
    first, last = ratio(path, torch.tensor([0.0, path.t_max], dtype=torch.float64))
    return first.clamp_min(1 / NOISIEST), last
