"""Columns of the tables of studies."""

import numpy as np
from numpy.typing import NDArray


def xy(points: NDArray) -> dict[str, NDArray]:
    """Points (..., 2) as columns."""
    return {"x1": points[..., 0].ravel(), "x2": points[..., 1].ravel()}


def cells(axis: NDArray) -> dict[str, NDArray]:
    """The nodes of a square grid with this axis (H,) as columns, x fastest."""
    x, y = np.meshgrid(axis, axis)
    return {"x1": x.ravel(), "x2": y.ravel()}


def tracks(times: NDArray, states: NDArray, name: str = "particle") -> dict[str, NDArray]:
    """Trajectories (T, n, 2) as columns, time by time; `name` is that of the column of n."""
    steps, n = states.shape[:2]
    return {name: np.tile(np.arange(n), steps), "t": np.repeat(times, n)} | xy(states)
