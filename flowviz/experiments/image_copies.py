"""Search for copies: the training images nearest to samples."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from flowviz.datasets.images import ImageSet
from flowviz.experiments.image_judge import Judge, classifier_features
from flowviz.metrics.images import features_of, nearest


@dataclass(frozen=True)
class Nearest:
    """The training images nearest to samples, by pixels and by features.

    Attributes:
        pixel_distance: (n,) root mean square difference, in levels of 0..255.
        pixel_index: (n,) indices in the training set.
        feature_distance: (n,) Euclidean distance in the classifier's features; None without one.
        feature_index: (n,) indices in the training set; None without a classifier.
        floor: (m,) pixel distance of real test images, which are no copies.
    """

    pixel_distance: NDArray[np.float64]
    pixel_index: NDArray[np.int64]
    feature_distance: NDArray[np.float64] | None
    feature_index: NDArray[np.int64] | None
    floor: NDArray[np.float64]


def nearest_training(
    images: NDArray[np.uint8],
    train: ImageSet,
    test: ImageSet,
    *,
    judge: Judge | None = None,
    floor: int = 200,
    on_batch: Callable[[int], None] | None = None,
) -> Nearest:
    """The training image nearest to each of images (n, C, H, W), and to real test images.

    Args:
        judge: to search by its features, too, which takes about a minute.
        floor: number of test images.
        on_batch: called with the number of training images that the judge has processed.
    """
    dims = images[0].size
    pixels = train.images.flatten(1).numpy()
    test_pixels = test.images[:floor].flatten(1).numpy()
    flat = np.concatenate([images.reshape(len(images), -1), test_pixels])
    distance, index = nearest(flat, pixels)
    distance = distance / math.sqrt(dims)
    feature_distance = feature_index = None
    if judge is not None:
        extract = partial(classifier_features, judge.network)
        train_features = features_of(extract, train.images, on_batch=on_batch)
        feature_distance, feature_index = nearest(judge.features(images), train_features)
    n = len(images)
    return Nearest(distance[:n], index[:n], feature_distance, feature_index, distance[n:])
