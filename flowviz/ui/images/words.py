"""What there is to notice in images, as numbers: pure functions of what was drawn.

Distances of images are root mean squares over all channel values, in units of [0, 255].
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "between_and_within",
    "clipped",
    "distance",
    "half_noise",
    "kinship",
    "largest_step",
    "last_tenth",
]


def distance(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Root mean square difference of images a and b of one shape."""
    return float(np.sqrt(np.square(a.astype(np.float64) - b).mean()))


def kinship(
    left: NDArray[np.uint8], right: NDArray[np.uint8], labels: NDArray[np.int64]
) -> tuple[float, float]:
    """How far images from one noise are apart, and images from different noises.

    Args:
        left: (n, C, H, W) images of one field.
        right: those of another from the same noises.
        labels: (n,), their classes; other noises are compared within a class where one occurs
            twice, else over all.
    """
    n = len(left)
    same = labels[:, None] == labels[None, :]
    others = same & ~np.eye(n, dtype=bool)
    if not others.any():
        others = ~np.eye(n, dtype=bool)
    pairs = [distance(left[i], right[j]) for i, j in np.argwhere(others)]
    own = [distance(a, b) for a, b in zip(left, right, strict=True)]
    return float(np.mean(own)), float(np.mean(pairs)) if pairs else float("nan")


def last_tenth(times: NDArray[np.float64], remaining: NDArray[np.float64]) -> float:
    """The share of the predictions' way to the final image that the last tenth of t takes.

    Args:
        times: (T,) rising.
        remaining: (T, n), distance of the predictions from the final images.
    """
    at = times[0] + 0.9 * (times[-1] - times[0])
    mean = remaining.mean(axis=1)
    return float(np.interp(at, times, mean) / max(mean[0], 1e-12))


def half_noise(times: NDArray[np.float64], noise: NDArray[np.float64]) -> float:
    """The time from which on less than half of a state's variance is noise.

    Args:
        times: (T,) rising.
        noise: (T,) falling shares of noise by standard deviation.
    """
    return float(np.interp(-np.sqrt(0.5), -noise, times))


def largest_step(images: NDArray[np.uint8]) -> tuple[float, float]:
    """Along rows (n, steps, C, H, W): the mean distance of neighbours, and the largest."""
    x = images.astype(np.float64)
    steps = np.sqrt(np.square(np.diff(x, axis=1)).mean(axis=(2, 3, 4)))
    return float(steps.mean()), float(steps.max())


def between_and_within(images: NDArray[np.uint8]) -> tuple[float, float]:
    """Of images (n, K, C, H, W), noises by classes: mean distance of two classes from one noise,
    and of two noises in one class.
    """
    n, classes = images.shape[:2]
    one_noise = [
        distance(images[i, a], images[i, b])
        for i in range(n)
        for a in range(classes)
        for b in range(a)
    ]
    one_class = [
        distance(images[i, k], images[j, k])
        for k in range(classes)
        for i in range(n)
        for j in range(i)
    ]
    return float(np.mean(one_noise)), float(np.mean(one_class))


def clipped(rows: Sequence[NDArray[np.uint8]]) -> list[float]:
    """The share of channel values at either limit of what a pixel can show, for each row."""
    return [float(((row == 0) | (row == 255)).mean()) for row in rows]
