"""Point sets as data sets: points of a table, or points drawn in the frame."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from flowviz.datasets.entry import FRAME, Dataset
from flowviz.datasets.picture import REACH
from flowviz.distributions import GaussianMixture
from flowviz.draws import stream

__all__ = [
    "COUNT",
    "MAX_NODES",
    "STD",
    "check_drawing",
    "check_points",
    "drawing",
    "points",
    "samples",
    "wrong_count",
]

COUNT = (20, 20_000)
"""The minimum and the maximum number of points."""

MAX_NODES = 2_000
"""The maximum number of points of a data set, because the exact field sums over all points."""

STD = 0.1
"""The standard deviation of the Gaussian at each point, in frame coordinates."""

MAX_COORDINATE = 1e12


def check_points(x: ArrayLike) -> NDArray[np.float64]:
    """Checks points and returns them as an array, (n, 2) float64.

    Raises:
        ValueError: the shape, the number, the size or the spread of the points is invalid.
    """
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] != 2:
        raise ValueError(f"Points must have shape (n, 2); got {x.shape}.")
    if not COUNT[0] <= len(x) <= COUNT[1]:
        raise wrong_count(len(x))
    if not np.isfinite(x).all():
        row = int(np.flatnonzero(~np.isfinite(x).all(axis=1))[0])
        raise ValueError(
            f"Every coordinate must be finite; point {row + 1} is {_pair(x[row])}. Remove it."
        )
    if np.abs(x).max() > MAX_COORDINATE:
        raise ValueError(
            f"Every coordinate must be at most {MAX_COORDINATE:g} in size; "
            f"got {np.abs(x).max():g}. Use larger units."
        )
    if np.ptp(x, axis=0).max() <= 1e-9 * np.abs(x).max():  # a smaller spread is lost to rounding
        raise ValueError(
            f"The points must be different; all {len(x):,} are {_pair(x[0])}. Add other points."
        )
    return x


def check_drawing(x: ArrayLike) -> NDArray[np.float64]:
    """Checks points drawn in the frame and returns them as an array, (n, 2) float64.

    Raises:
        ValueError: as `check_points`, or a point is outside the frame.
    """
    x = check_points(x)
    if np.abs(x).max() > FRAME:
        row = int(np.abs(x).max(axis=1).argmax())
        raise ValueError(
            f"Drawn points must lie in the frame, from {-FRAME:g} to {FRAME:g}; "
            f"point {row + 1} is {_pair(x[row])}. Move or remove it."
        )
    return x


def points(name: str, x: NDArray[np.float64]) -> Dataset:
    """The data set of points (n, 2) in the user's coordinates, shifted and scaled to the frame.

    Both axes have the same scale. The mean moves to the origin, the largest coordinate to REACH.
    """
    center = x.mean(axis=0)
    scale = float(np.abs(x - center).max() / REACH)
    kept, sentence = _thinned(x)
    return _widened(
        name,
        "your points",
        f"{sentence}, each with Gaussian noise of standard deviation {STD * scale:.3g}.",
        (kept - center) / scale,
        (float(center[0]), float(center[1])),
        scale,
    )


def drawing(name: str, x: NDArray[np.float64]) -> Dataset:
    """The data set of points (n, 2) drawn in the frame; their positions do not change."""
    kept, sentence = _thinned(x)
    return _widened(
        name,
        "your drawing",
        f"{sentence}, each with Gaussian noise of standard deviation {STD:g}.",
        kept,
        (0.0, 0.0),
        1.0,
    )


def samples(name: str, x: NDArray[np.float64]) -> Dataset:
    """The data set of samples (n, 2) in the frame of a network whose own data are not known."""
    kept, _ = _thinned(x)
    found = _widened(
        name,
        "samples of an opened network",
        f"{len(kept):,} samples of a network whose data set is not known, each with Gaussian "
        f"noise of standard deviation {STD:g}. An exact field of them is not the exact field of "
        "that data set.",
        kept,
        (0.0, 0.0),
        1.0,
    )
    return replace(found, estimated=True)


def _thinned(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], str]:
    """At most MAX_NODES of the points, always the same ones, and a description of their number."""
    if len(x) <= MAX_NODES:
        return x, f"Your {len(x):,} points"
    chosen = torch.randperm(len(x), generator=stream(0, "subset"))[:MAX_NODES]
    return x[chosen.numpy()], f"{MAX_NODES:,} of your {len(x):,} points, chosen at random"


def _widened(
    name: str,
    label: str,
    sentence: str,
    x: NDArray[np.float64],
    center: tuple[float, float],
    scale: float,
) -> Dataset:
    nodes, counts = np.unique(x, axis=0, return_counts=True)
    distribution = GaussianMixture(
        torch.from_numpy(nodes), STD, torch.from_numpy(counts / counts.sum())
    )
    return Dataset(name, label, sentence, distribution.sample, distribution, center, scale)


def wrong_count(count: int) -> ValueError:
    """The error about a number of points outside COUNT."""
    few, many = COUNT
    remedy = "Add points" if count < few else "Use fewer points"
    return ValueError(f"The number of points must be {few} to {many:,}; got {count:,}. {remedy}.")


def _pair(x: NDArray[np.float64]) -> str:
    return f"({x[0]:g}, {x[1]:g})"
