"""Judges of images: a classifier with the statistics of real images in its features.

The Frechet distance in these features is not FID, which is that of another network on another
scale. Real test images against real training images give the floor at the same number of images,
since the distance falls with it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowviz.checkpoints.images import ImageCard, load_classifier, locate_images
from flowviz.datasets.images import ImageSet, image_set
from flowviz.files import NUMPY_ERRORS, replacing
from flowviz.metrics.images import Moments, features_of, frechet, load_moments, moments
from flowviz.networks.classifier import Classifier

FLOOR_SIZES = (50, 100, 200, 500, 1000, 2000, 5000, 10_000)
"""Numbers of test images for which the floor is stored next to the classifier."""

FLOOR_SEED = 0


@dataclass(frozen=True)
class Judge:
    """A classifier with the statistics of real images in its features.

    Attributes:
        card: of the classifier.
        network: the classifier.
        reference: moments of the features of the training images.
        floors: Frechet distance of n real test images from `reference`, by n; see `floor`.
    """

    card: ImageCard
    network: Classifier
    reference: Moments
    floors: Mapping[int, float]

    def floor(self, n: int) -> float | None:
        """The distance of n real test images from the training images.

        Between stored numbers it is interpolated linearly in 1/n, to which the bias of a
        covariance of n rows is proportional; None beyond them.
        """
        sizes = sorted(self.floors, reverse=True)
        if not sizes or not sizes[-1] <= n <= sizes[0]:
            return None
        return float(np.interp(1 / n, [1 / m for m in sizes], [self.floors[m] for m in sizes]))

    def measured(self, quality: Mapping[str, Any]) -> bool:
        """Whether a checkpoint's stored quality was measured by this classifier."""
        return quality.get("protocol", {}).get("classifier_sha256") == self.card.sha256

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The features of images (n, C, H, W), (n, F)."""
        return features_of(partial(classifier_features, self.network), torch.from_numpy(images))

    def classes(self, features: NDArray[np.float32]) -> NDArray[np.int64]:
        """The predicted classes (n,) of features (n, F)."""
        with torch.no_grad():
            return self.network.head(torch.from_numpy(features)).argmax(dim=1).numpy()


def classifier_name(data: str) -> str:
    """The name of the default classifier of an image set."""
    return f"{data}-classifier"


def classifier_judge(
    name: str | Path, *, on_batch: Callable[[int, int], None] | None = None
) -> Judge:
    """The judge of a classifier by name or file, with the reference stored next to it.

    Without a stored reference it is computed from the classifier's image set, in a minute or two;
    `on_batch` is called with the numbers of images done and in total.

    Raises:
        ValueError: the classifier does not exist, or it has no reference and its image set is
            missing.
    """
    card, network = load_classifier(name)
    stored = _reference_file(name)
    if stored.is_file():
        reference, floors = load_reference(stored, card.sha256)
        return Judge(card, network, reference, floors)
    train, test = image_set(card.data, "train"), image_set(card.data, "test")
    return measure_reference(card, network, train, test, on_batch=on_batch)


def measure_reference(
    card: ImageCard,
    network: Classifier,
    train: ImageSet,
    test: ImageSet,
    *,
    on_batch: Callable[[int, int], None] | None = None,
) -> Judge:
    """The judge of a classifier, its reference and floors measured on real images."""
    total = len(train) + len(test)
    extract = partial(classifier_features, network)

    def count(offset: int) -> Callable[[int], None]:
        return lambda done: on_batch(offset + done, total) if on_batch else None

    train_features = features_of(extract, train.images, on_batch=count(0))
    test_features = features_of(extract, test.images, on_batch=count(len(train)))
    reference = moments(train_features)
    return Judge(card, network, reference, floors_of(test_features, reference))


def floors_of(features: NDArray[np.float32], reference: Moments) -> dict[int, float]:
    """Frechet distances of n random rows of the features of test images, by n."""
    order = np.random.default_rng(FLOOR_SEED).permutation(len(features))
    sizes = sorted({n for n in FLOOR_SIZES if n < len(features)} | {len(features)})
    return {n: frechet(moments(features[order[:n]]), reference) for n in sizes}


def save_reference(name: str | Path, judge: Judge) -> Path:
    """Writes a judge's reference next to its classifier, NAME.reference.npz; returns the file."""
    path = _reference_file(name)
    with replacing(path) as draft, draft.open("wb") as file:
        np.savez_compressed(
            file,
            mu=judge.reference.mean,
            sigma=judge.reference.covariance.astype(np.float32),
            n=np.int64(judge.reference.n),
            floor_n=np.array(list(judge.floors), np.int64),
            floor=np.array(list(judge.floors.values())),
            sha256=np.array(judge.card.sha256),
        )
    return path


def load_reference(path: str | Path, sha256: str) -> tuple[Moments, dict[int, float]]:
    """The reference and floors that `save_reference` wrote.

    Raises:
        ValueError: the file is damaged or was measured by another classifier.
    """
    reference = load_moments(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            owner = str(file["sha256"])
            floors = dict(zip(file["floor_n"].tolist(), file["floor"].tolist(), strict=True))
    except NUMPY_ERRORS as error:
        raise ValueError(f"{path} is not a classifier's reference.") from error
    if owner != sha256:
        raise ValueError(f"{path} was measured by another classifier; measure it again.")
    return reference, floors


@torch.no_grad()
def classifier_features(network: Classifier, images: Tensor) -> Tensor:
    """The features (B, F) of uint8 images (B, C, H, W)."""
    x = ImageSet.to_unit(images).contiguous(memory_format=torch.channels_last)
    return network.features(x)


def _reference_file(name: str | Path) -> Path:
    return locate_images(name).with_suffix(".reference.npz")
