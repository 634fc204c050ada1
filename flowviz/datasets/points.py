"""Point sets as data sets: points of a table, or points drawn in the frame."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from flowviz.bounds import FRAME
from flowviz.datasets.entry import Dataset
from flowviz.datasets.picture import REACH
from flowviz.distributions import GaussianMixture
from flowviz.draws import stream

COUNT = (20, 20_000)
"""The minimum and the maximum number of points."""

MAX_NODES = 2_000
"""The maximum number of points of a data set, because the exact field sums over all points."""

STD = 0.1
"""The standard deviation of the Gaussian at each point, in frame coordinates."""

MAX_COORDINATE = 1e12

MAX_LABEL = 40
"""The maximum number of characters of a label; longer ones are cut."""


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


def labelled(x: NDArray[np.float64], labels: Sequence[str]) -> NDArray:
    """Points (n, 2) with their labels as one array of records (x, y, label), (n,)."""
    max_length = max(map(len, labels))
    rows = zip(*x.T.tolist(), labels, strict=True)
    return np.array(list(rows), [("x", "f8"), ("y", "f8"), ("label", f"U{max_length}")])


def points(name: str, array: NDArray) -> Dataset:
    """The data set of points in the user's coordinates, shifted and scaled to the frame.

    Both axes have the same scale. The mean moves to the origin, the largest coordinate to REACH.

    Args:
        name: its spec.
        array: points (n, 2), or the records of `labelled`.
    """
    x, labels = array, None
    if array.dtype.names is not None:
        x, labels = np.stack([array["x"], array["y"]], axis=1), array["label"]
    center = x.mean(axis=0)
    scale = float(np.abs(x - center).max() / REACH)
    chosen, sentence = _thinned(len(x))
    return _widened(
        name,
        "your points",
        f"{sentence}, each with Gaussian noise of standard deviation {STD * scale:.3g}.",
        (x[chosen] - center) / scale,
        (float(center[0]), float(center[1])),
        scale,
        None if labels is None else labels[chosen],
    )


def drawing(name: str, x: NDArray[np.float64]) -> Dataset:
    """The data set of points (n, 2) drawn in the frame; their positions do not change."""
    chosen, sentence = _thinned(len(x))
    return _widened(
        name,
        "your drawing",
        f"{sentence}, each with Gaussian noise of standard deviation {STD:g}.",
        x[chosen],
    )


def samples(name: str, x: NDArray[np.float64]) -> Dataset:
    """The data set of samples (n, 2) in the frame of a network whose own data are not known."""
    chosen, _ = _thinned(len(x))
    entry = _widened(
        name,
        "samples of an opened network",
        f"{len(chosen):,} samples of a network whose data set is not known, each with Gaussian "
        f"noise of standard deviation {STD:g}. An exact field of them is not the exact field of "
        "that data set.",
        x[chosen],
    )
    return replace(entry, estimated=True)


def _thinned(count: int) -> tuple[NDArray[np.int64], str]:
    """At most MAX_NODES of the points, always the same ones, and a description of their number."""
    if count <= MAX_NODES:
        return np.arange(count), f"Your {count:,} points"
    chosen = torch.randperm(count, generator=stream(0, "subset"))[:MAX_NODES]
    return chosen.numpy(), f"{MAX_NODES:,} of your {count:,} points, chosen at random"


def _widened(
    name: str,
    label: str,
    sentence: str,
    x: NDArray[np.float64],
    center: tuple[float, float] = (0.0, 0.0),
    scale: float = 1.0,
    labels: NDArray[np.str_] | None = None,
) -> Dataset:
    """A Gaussian at each point (n, 2) of the frame, with the classes that labels (n,) name."""
    labels_of_points = [] if labels is None else labels.tolist()
    classes = sorted(
        set(labels_of_points), key=lambda each: (int(each) if each.isdecimal() else math.inf, each)
    )
    numbers = [classes.index(each) for each in labels_of_points] or [0] * len(x)
    nodes, counts = np.unique(np.column_stack([x, numbers]), axis=0, return_counts=True)
    distribution = GaussianMixture(
        torch.from_numpy(nodes[:, :2]), STD, torch.from_numpy(counts / counts.sum())
    )
    return Dataset(
        name,
        label,
        sentence,
        distribution.sample,
        distribution,
        center,
        scale,
        classes=tuple(classes),
        component_classes=torch.from_numpy(nodes[:, 2]).long() if classes else None,
    )


def wrong_count(count: int) -> ValueError:
    """The error about a number of points outside COUNT."""
    minimum, maximum = COUNT
    remedy = "Add points" if count < minimum else "Use fewer points"
    return ValueError(
        f"The number of points must be {minimum} to {maximum:,}; got {count:,}. {remedy}."
    )


def _pair(x: NDArray[np.float64]) -> str:
    return f"({x[0]:g}, {x[1]:g})"
