r"""Metrics of generated images, mostly in the features of a network.

The Frechet distance between two sets of features is that of normal distributions with their
means and covariances (Heusel et al. 2017, https://arxiv.org/abs/1706.08500, eq. 6),

    |m_1 - m_2|^2 + tr(C_1 + C_2 - 2 (C_1 C_2)^(1/2)).

It is called FID only in the features of the standard Inception network; in other features it has
another scale. It falls with the number of images, so that only values for equal numbers can be
compared; the value of real images is the floor.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from flowviz.files import NUMPY_ERRORS
from flowviz.registry import Registry

RESIZES = {
    "inception": "bilinear within the network, as in NVIDIA's measurements",
    "clean": "bicubic with antialiasing before it, as in clean-fid",
}
"""How images are resized to the 299 x 299 pixels of the Inception network, by name."""

INCEPTION_SIZE = 299
GROUPS = 10
"""Number of parts of the images for the error of a distance."""
BLOCK = 4096
"""Number of rows of the reference in a batch."""


@dataclass(frozen=True)
class Moments:
    """Mean and covariance of a set of features.

    Attributes:
        mean: (F,) float64.
        covariance: (F, F) float64, with n - 1 in the denominator.
        n: number of rows.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    n: int


@dataclass(frozen=True, eq=False)
class JudgedImages:
    """Generated images and what metrics compute from.

    Attributes:
        images: (n, C, H, W) uint8.
        labels: (n,) the wanted classes; None without classes.
        features: (n, F) of the classifier.
        predicted: (n,) the classes that the classifier predicts.
        reference: moments of the features of the training images.
        inception: (n, F) features of the Inception network; None without it.
        inception_reference: moments of these features of real images; None without them.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    features: NDArray[np.float32]
    predicted: NDArray[np.int64]
    reference: Moments
    inception: NDArray[np.float32] | None = None
    inception_reference: Moments | None = None


@dataclass(frozen=True)
class ImageMetric:
    """A metric of generated images.

    Attributes:
        label: name in tables and on axes.
        sentence: what it measures.
        compute: its value; None where it is not defined, such as without classes.
        share: whether it is a share in [0, 1], the larger the better; otherwise it is a distance.
        floored: whether the stored floor of a judge is its value for real images.
    """

    label: str
    sentence: str
    compute: Callable[[JudgedImages], float | None]
    share: bool = False
    floored: bool = False


IMAGE_METRICS: Registry[ImageMetric] = Registry("image metric")


def moments(features: NDArray) -> Moments:
    """The moments of features (n, F), n > 1, in float64.

    Raises:
        ValueError: there are fewer than two rows, or some are not finite.
    """
    features = np.asarray(features, np.float64)
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"features must have shape (n, F), n > 1; got {features.shape}.")
    if not np.isfinite(features).all():
        raise ValueError("features must be finite; got infinite ones or NaN.")
    mean = features.mean(axis=0)
    centred = features - mean
    return Moments(mean, centred.T @ centred / (len(features) - 1), len(features))


def frechet(a: Moments, b: Moments) -> float:
    """The Frechet distance of two normal distributions, at least 0.

    tr (C_1 C_2)^(1/2) is the sum of the square roots of the eigenvalues of the symmetric
    C_1^(1/2) C_2 C_1^(1/2), which are nonnegative up to round-off; covariances may be singular.

    Raises:
        ValueError: the numbers of features differ.
    """
    if a.mean.shape != b.mean.shape:
        raise ValueError(
            f"Both sets must have as many features; got {a.mean.size} and {b.mean.size}."
        )
    values, vectors = np.linalg.eigh(a.covariance)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    product = root @ b.covariance @ root
    shared = np.sqrt(np.linalg.eigvalsh((product + product.T) / 2).clip(min=0)).sum()
    mean_gap = float(np.square(a.mean - b.mean).sum())
    return max(mean_gap + float(np.trace(a.covariance) + np.trace(b.covariance) - 2 * shared), 0.0)


def frechet_error(features: NDArray, reference: Moments) -> float | None:
    """The standard error of the Frechet distance of features (n, F) from a reference.

    A jackknife over GROUPS successive parts of the rows, so that images whose classes follow in
    turn leave every class in each part; None below two rows per part.
    """
    if len(features) < 2 * GROUPS:
        return None
    parts = np.array_split(np.asarray(features), GROUPS)
    without = [np.concatenate(parts[:k] + parts[k + 1 :]) for k in range(GROUPS)]
    distances = np.array([frechet(moments(rows), reference) for rows in without])
    return float(np.sqrt((GROUPS - 1) * distances.var()))


def nearest(samples: NDArray, reference: NDArray) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The nearest row of reference (m, D) to each row of samples (n, D).

    The search computes products in float32, the final distances are in float64.

    Returns:
        Euclidean distances (n,) and indices of rows of the reference (n,).
    """
    queries = torch.from_numpy(np.ascontiguousarray(samples, np.float32))
    best = torch.full((len(queries),), float("inf"))
    index = torch.zeros(len(queries), dtype=torch.int64)
    for start in range(0, len(reference), BLOCK):
        block = torch.from_numpy(
            np.ascontiguousarray(reference[start : start + BLOCK], np.float32)
        )
        # |x|^2 is constant in a row, so it does not change which one is nearest.
        squares = block.square().sum(dim=1) - 2 * queries @ block.T
        smallest, where = squares.min(dim=1)
        better = smallest < best
        best = torch.where(better, smallest, best)
        index = torch.where(better, where + start, index)
    rows = index.numpy()
    differences = np.asarray(samples, np.float64) - np.asarray(reference[rows], np.float64)
    return np.sqrt(np.square(differences).sum(axis=1)), rows


def load_moments(path: str | Path) -> Moments:
    """The moments in an .npz file with the arrays mu and sigma, as FID programs write them.

    Raises:
        ValueError: the file is missing or holds something else.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            mean, covariance = (np.asarray(file[key], np.float64) for key in ("mu", "sigma"))
            n = int(file["n"]) if "n" in file else 0
    except NUMPY_ERRORS as error:
        raise ValueError(
            f"{path} must be an .npz file with the arrays mu and sigma; it cannot be read as one."
        ) from error
    if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
        raise ValueError(
            f"{path} must hold mu (F,) and sigma (F, F); got {mean.shape} and {covariance.shape}."
        )
    return Moments(mean, covariance, n)


class Inception:
    """The standard Inception network from the user's TorchScript file, for FID.

    That file (inception-2015-12-05.pt, published by NVIDIA and downloaded by clean-fid) is a
    program: loading it RUNS ITS CODE. Use only a file that you trust, never an upload.

    Args:
        path: the TorchScript file.
        resize: a key of RESIZES.
        device: where it computes.

    Raises:
        ValueError: the file is missing or no TorchScript network of that interface.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        resize: Literal["inception", "clean"] = "inception",
        device: torch.device | None = None,
    ) -> None:
        if resize not in RESIZES:
            raise ValueError(f"resize must be {' or '.join(RESIZES)}; got {resize!r}.")
        if not Path(path).is_file():
            raise ValueError(f"There is no file {path}.")
        try:
            self.network = torch.jit.load(str(path), map_location=device or "cpu").eval()
        except RuntimeError as error:
            raise ValueError(f"{path} is not a TorchScript network.") from error
        self.resize = resize
        self.device = device or torch.device("cpu")

    @property
    def protocol(self) -> str:
        """How images are resized, in words."""
        return RESIZES[self.resize]

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """The features of uint8 images (B, 3, H, W), (B, F) float32.

        Raises:
            ValueError: the network has another interface than Inception.
        """
        if images.ndim != 4 or images.shape[1] != 3 or images.dtype != torch.uint8:
            raise ValueError(
                f"Inception takes uint8 images (B, 3, H, W); got {images.dtype} "
                f"{tuple(images.shape)}."
            )
        try:
            if self.resize == "clean":
                resized = _clean_resize(images).to(self.device)
                features = self.network.layers((resized - 128) / 128).flatten(1)
            else:
                features = self.network(images.to(self.device), return_features=True)
        except (RuntimeError, AttributeError, TypeError) as error:
            raise ValueError(
                "The TorchScript file must take (images, return_features=True) and have `layers`, "
                "as inception-2015-12-05.pt does; this one does not."
            ) from error
        return features.float().cpu()


def features_of(
    extract: Callable[[Tensor], Tensor],
    images: Tensor,
    *,
    batch: int = 250,
    on_batch: Callable[[int], None] | None = None,
) -> NDArray[np.float32]:
    """The features of uint8 images (n, C, H, W), batch by batch, (n, F) float32.

    Args:
        extract: uint8 images (B, C, H, W) to features (B, F).
        on_batch: called with the number of images done.
    """
    parts = []
    for part in images.split(batch):
        parts.append(extract(part).float().cpu().numpy())
        if on_batch is not None:
            on_batch(sum(map(len, parts)))
    return np.concatenate(parts)


def _clean_resize(images: Tensor) -> Tensor:
    """uint8 images as float32 (B, 3, 299, 299) in [0, 255], channel by channel as floats."""
    size = (INCEPTION_SIZE, INCEPTION_SIZE)
    resized = [
        [
            np.asarray(
                Image.fromarray(channel.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
            ).clip(0, 255)
            for channel in image
        ]
        for image in images.numpy()
    ]
    return torch.from_numpy(np.array(resized, np.float32))


def _accuracy(judged: JudgedImages) -> float | None:
    if judged.labels is None:
        return None
    return float((judged.predicted == judged.labels).mean())


def _fid(judged: JudgedImages) -> float | None:
    if judged.inception is None or judged.inception_reference is None:
        return None
    return frechet(moments(judged.inception), judged.inception_reference)


IMAGE_METRICS["frechet"] = ImageMetric(
    "Fréchet distance in classifier features",
    "Distance of the features of a classifier from those of the training images; not FID.",
    lambda judged: frechet(moments(judged.features), judged.reference),
    floored=True,
)
IMAGE_METRICS["accuracy"] = ImageMetric(
    "share of images of the wanted class",
    "Share of images to which the classifier assigns the wanted class.",
    _accuracy,
    share=True,
)
IMAGE_METRICS["fid"] = ImageMetric(
    "FID",
    "Fréchet distance in the features of the standard Inception network, if it is given.",
    _fid,
)
