"""The integral of a density over a square grid of cells, with an estimate of its error.

The sum over the cells is biased by edges that are parallel to them: it is up to 5 % off for the
shipped checkerboards on 72 x 72 cells, since their density is higher along the edges. A lattice of
points that is turned against the axes has no such bias, and is as exact as the grid for a smooth
density. It covers the cells that hold nearly all of the integral.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from flowviz.densities import LogProb

MAX_SHARE = 0.4
"""Largest number of points of the lattice, as a share of the number of cells."""

MAX_POINTS = 2_000
"""Largest number of points of the lattice: its error is then about 0.002 for the checkerboard."""

FINEST = 0.6
"""Smallest distance of the lattice's points over that of the cells' centres."""

SKIPPED = 0.002
"""The part of the integral that lies in the cells without a lattice, whose centres are used."""

PARTS = 3
"""The lattice has PARTS^2 parts, whose integrals differ by its error."""

ANGLE = math.atan((math.sqrt(5) - 1) / 2)
"""The angle between lattice and axes in radians. The golden ratio is far from fractions of small
numbers, so that no edge along an axis meets the lattice at regular distances."""


@dataclass(frozen=True)
class Mass:
    """An integral of a density.

    Attributes:
        value: the integral.
        error: its estimated error: of the lattice, of the cells without one, and of the solver's
            steps.
    """

    value: float
    error: float


def integrate(result: LogProb, centers: Tensor, solve: Callable[[Tensor], LogProb]) -> Mass:
    """The integral of a density over a square grid of cells around the origin.

    Args:
        result: the log-densities at the centres.
        centers: the centres, (H * H, 2), row by row.
        solve: from points (B, 2) to their log-densities.
    """
    side = math.isqrt(len(centers))
    width = (centers[-1] - centers[0]).max().item() / (side - 1)
    density = result.log_prob.double().exp()
    dense = dense_cells(density.reshape(side, side))
    outside = (density[~dense].sum() * width**2).item()
    count = min(MAX_SHARE * len(centers), MAX_POINTS)
    spacing = width * max(FINEST, math.sqrt(dense.sum().item() / count))
    points, part = lattice(spacing, side * width / 2)
    column, row = ((points + side * width / 2) / width).long().clamp(0, side - 1).unbind(1)
    is_dense = dense[row * side + column]
    if not is_dense.any():
        return Mass(outside, 0.0)
    solved = solve(points[is_dense].to(centers))
    mass, unconverged = solved.log_prob.double().exp() * spacing**2, solved.unconverged
    if unconverged.any() and not unconverged.all():  # such a density can be e^60
        mass[unconverged] = mass[unconverged].clamp(max=mass[~unconverged].max().item())
    total = mass.sum()
    parts = PARTS**2 * torch.zeros(PARTS**2).double().index_add(0, part[is_dense], mass)
    # The error at edges falls as the number of points to the power 3/4, 9 times of a part.
    error = (parts - total).square().mean().sqrt() / PARTS**1.5 + outside / 2
    if solved.numerical is not None:
        # Long steps do not have their order yet, and the extrapolation leaves much: as if errors
        # were as large as the estimate and all of one sign. It is infinite where it is not known.
        error = error + (mass * solved.numerical.double().clamp(max=1)).sum()
    return Mass(outside + total.item(), error.item())


def dense_cells(density: Tensor) -> Tensor:
    """The cells of a density (H, H) that hold all but SKIPPED of it with a margin, (H * H,) bool.

    A cell is as dense as the densest of its neighbours: the density between two centres can be
    higher than at both.
    """
    highest = torch.nn.functional.max_pool2d(density[None], 3, stride=1, padding=1).flatten()
    order = highest.argsort()
    below = density.flatten()[order].cumsum(0)
    dense = torch.ones_like(highest, dtype=torch.bool)
    dense[order[below <= SKIPPED * below[-1]]] = False
    return dense


def lattice(spacing: float, half_width: float) -> tuple[Tensor, Tensor]:
    """The points of a turned square lattice within [-half_width, half_width]^2, (n, 2) float64.

    Returns:
        The points, and for each the number of its part, (n,) int64: every PARTS-th point in both
        directions, itself a lattice.
    """
    count = math.ceil(math.sqrt(2) * half_width / spacing)
    steps = torch.arange(-count, count + 1, dtype=torch.float64)
    indices = torch.cartesian_prod(steps, steps)
    cosine, sine = math.cos(ANGLE), math.sin(ANGLE)
    points = spacing * indices @ torch.tensor([[cosine, sine], [-sine, cosine]]).double()
    inside = (points.abs() < half_width).all(dim=1)
    part = indices[inside].remainder(PARTS).long() @ torch.tensor([PARTS, 1])
    return points[inside], part
