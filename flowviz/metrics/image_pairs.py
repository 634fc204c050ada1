"""Distances between images, as root mean squares over all channel values, in levels of 0..255."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def distance(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """The distance of images a and b of one shape."""
    return float(np.sqrt(np.square(a.astype(np.float64) - b).mean()))


def same_noise(
    left: NDArray[np.uint8], right: NDArray[np.uint8], classes: Sequence[str]
) -> tuple[float, float]:
    """Mean distance of images (n, C, H, W) from the same noise, and from different noises.

    Different noises are compared within a class if one occurs twice, otherwise over all classes.
    """
    names, itself = np.array(classes), np.eye(len(left), dtype=bool)
    same_class = (names[:, None] == names) & ~itself
    pairs = [
        distance(left[i], right[j])
        for i, j in np.argwhere(same_class if same_class.any() else ~itself)
    ]
    same = [distance(a, b) for a, b in zip(left, right, strict=True)]
    return float(np.mean(same)), float(np.mean(pairs))


def step_sizes(rows: NDArray[np.uint8]) -> tuple[float, float]:
    """Along rows (n, steps, C, H, W): the mean distance of neighbours, and the largest."""
    steps = np.sqrt(np.square(np.diff(rows.astype(np.float64), axis=1)).mean(axis=(2, 3, 4)))
    return float(steps.mean()), float(steps.max())


def between_classes_and_noises(rows: NDArray[np.uint8]) -> tuple[float, float]:
    """Of images (noises, classes, C, H, W): the mean distance of two classes from one noise, and
    of two noises in one class.
    """

    def mean(table: NDArray[np.uint8]) -> float:
        n = table.shape[1]
        pairs = [distance(row[a], row[b]) for row in table for a in range(n) for b in range(a)]
        return float(np.mean(pairs))

    return mean(rows), mean(rows.swapaxes(0, 1))


def clipped(images: NDArray[np.uint8]) -> float:
    """The share of channel values at either end of their range."""
    return float(((images == 0) | (images == 255)).mean())
