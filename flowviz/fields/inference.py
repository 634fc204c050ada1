"""What is known of the data and the noise given a state, for each kind of distribution."""

import math
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

LOG_2PI = math.log(2 * math.pi)

CHUNK = 2**16
"""Largest number of elements (points x components) of a batch; fits the cache of a core."""

FADED = -300.0
"""Smaller log responsibilities are raised to this, since exp of them is denormal and slow."""
FLOOR = 1e-150
"""Smaller factors of densities are set to 0, since their products are denormal and slow."""


class Posterior(NamedTuple):
    """Density and posterior moments given x_t = x."""

    log_density: Tensor
    """log p_t(x) in nats, shape (B,)."""
    data: Tensor
    """E[x_1 | x], shape (B, 2)."""
    noise: Tensor
    """E[x_0 | x], shape (B, 2)."""
    variance: Tensor
    """tr Cov[x_1 | x], shape (B,)."""


class Target(Protocol):
    """A distribution of x_1, prepared for inference from x_t = alpha x_1 + sigma x_0."""

    def posterior(self, alpha: Tensor, sigma: Tensor, x: Tensor) -> Posterior:
        """The posterior at x, (B, 2) float64; alpha and sigma have shape () or (B, 1)."""
        ...

    def means(self, alpha: Tensor, sigma: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """E[x_1 | x] and E[x_0 | x], each (B, 2); cheaper than `posterior`."""
        ...

    def density_grid(self, alpha: Tensor, sigma: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
        """p_t on the grid xs (nx,) by ys (ny,), float64, shape (ny, nx)."""
        ...


def chunks(
    alpha: Tensor, sigma: Tensor, x: Tensor, width: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Batches of points with their coefficients, at most CHUNK elements each."""
    size = max(1, CHUNK // width)
    for start in range(0, max(1, len(x)), size):
        rows = slice(start, start + size)
        yield alpha[rows] if alpha.ndim else alpha, sigma[rows] if sigma.ndim else sigma, x[rows]


def floored(factor: Tensor) -> Tensor:
    """Factors of densities, of which those below FLOOR are 0."""
    return torch.where(factor < FLOOR, 0.0, factor)
