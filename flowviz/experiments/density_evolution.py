"""The density of a learned field over time, on a grid over the plane.

It has no closed form and is computed by the change of variables, backward from each cell and time
(see `flowviz.experiments.likelihood`), on fewer cells and at fewer times than the exact density.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowviz.datasets import FRAME
from flowviz.experiments.likelihood import DensityConfig, DensityResult

CELLS = 54
"""Cells along each axis; a multiple of 18, so that no edge of the checkerboard cuts a cell."""

TIMES = 13
"""Number of times. Interpolated from these, the exact density of the checkerboard differs by at
most 3% of its mass on OT and VP."""

MAX_DENSITY = 1e6
"""Densities per unit area are clipped at this value; a diverging field would give infinity."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DensityEvolution:
    """The learned density of one side over time.

    Attributes:
        times: (T,), up to the path's t_max.
        axis: (G,), the nodes of the grid along both axes, from -FRAME to FRAME.
        density: (T, G, G) per unit area.
        exact: (T, G, G), the exact density, so that both are drawn on one scale.
        kl: (T,), KL(exact || learned) on the grid in nats.
        mass: (T,), the integral of the learned density over the frame.
    """

    times: NDArray[np.float64]
    axis: NDArray[np.float64]
    density: NDArray[np.float64]
    exact: NDArray[np.float64]
    kl: NDArray[np.float64]
    mass: NDArray[np.float64]


def piece_configs(
    data: str, path: str, field: str, *, cells: int = CELLS, times: int = TIMES
) -> list[DensityConfig]:
    """The configs of all times, denser towards the data, where densities change fastest."""
    shares = 1 - (1 - np.linspace(0, 1, times)) ** 2
    return [
        DensityConfig(data=data, path=path, field=field, t=float(t), cells=cells) for t in shares
    ]


def evolution_of(results: Sequence[DensityResult]) -> DensityEvolution:
    """The evolution from the results of `piece_configs`."""
    density = _at_nodes(np.stack([each.density for each in results]))
    return DensityEvolution(
        times=np.array([each.t for each in results]),
        axis=np.linspace(-FRAME, FRAME, density.shape[1]),
        density=density,
        exact=_at_nodes(np.stack([each.exact for each in results])),
        kl=np.array([each.kl for each in results]),
        mass=np.array([each.mass for each in results]),
    )


def _at_nodes(grids: NDArray) -> NDArray[np.float64]:
    """Values in cells (T, C, C) as values at the corners of cells (T, C + 1, C + 1): means."""
    capped = np.minimum(grids.astype(np.float64), MAX_DENSITY)
    padded = np.pad(capped, ((0, 0), (1, 1), (1, 1)), "edge")
    rows = (padded[:, :-1] + padded[:, 1:]) / 2
    return (rows[:, :, :-1] + rows[:, :, 1:]) / 2
