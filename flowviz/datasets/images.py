"""Sets of small images with classes.

An image set is one entry of IMAGE_SETS: command line, training, checkpoints and downloads find it
there.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from flowviz.datasets.cifar import CIFAR10_CLASSES, CIFAR10_DOWNLOAD, read_cifar10
from flowviz.datasets.download import Download
from flowviz.datasets.idx import idx_downloads, idx_reader
from flowviz.registry import Registry

SPLITS = ("train", "test")


@dataclass(frozen=True)
class ImageSet:
    """N square images with their classes.

    Attributes:
        name: name in IMAGE_SETS.
        label: name in menus and legends.
        images: (N, C, H, W) uint8.
        labels: (N,) int64, below len(classes).
        classes: the names of the classes.
    """

    name: str
    label: str
    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def channels(self) -> int:
        """C, the number of colour channels."""
        return self.images.shape[1]

    @property
    def size(self) -> int:
        """The height and width in pixels."""
        return self.images.shape[-1]

    @property
    def mean(self) -> Tensor:
        """The mean of each channel of `to_unit(images)`, (C, 1, 1) float32."""
        return self._moments[0]

    @property
    def std(self) -> float:
        """The root mean square of `to_unit(images) - mean`, one number for all channels."""
        return self._moments[1]

    @staticmethod
    def to_unit(images: Tensor) -> Tensor:
        """uint8 images as float32 in [-1, 1], the input range of networks."""
        return images.float() / 127.5 - 1

    @staticmethod
    def from_unit(x: Tensor) -> Tensor:
        """Images in [-1, 1] as uint8, clipped and rounded; the inverse of `to_unit`."""
        return (x * 127.5 + 128).clamp(0, 255).to(torch.uint8)

    @cached_property
    def _moments(self) -> tuple[Tensor, float]:
        # Sums of integers are exact, so that the moments are the same on every machine.
        planes = [plane.flatten() for plane in self.images.unbind(1)]
        counts = torch.stack([torch.bincount(plane, minlength=256) for plane in planes])
        values = torch.arange(256, dtype=torch.float64) / 127.5 - 1
        shares = counts.double() / counts.sum(dim=1, keepdim=True)
        mean = shares @ values
        variance = (shares * (values - mean[:, None]).square()).sum(dim=1).mean()
        return mean.float()[:, None, None], variance.sqrt().item()


@dataclass(frozen=True)
class ImageSetEntry:
    """An image set that can be read.

    Attributes:
        label: name in menus and legends.
        classes: the names of the classes.
        read: maps a split, "train" or "test", and the data folder to images (n, C, H, W) and
            labels (n,); raises a ValueError if files are missing or damaged.
        downloads: the files that `read` needs.
    """

    label: str
    classes: tuple[str, ...]
    read: Callable[[str, Path], tuple[NDArray[np.uint8], NDArray[np.int64]]]
    downloads: tuple[Download, ...] = ()


IMAGE_SETS: Registry[ImageSetEntry] = Registry("image set")


def image_set(name: str, split: str = "train", folder: str | Path | None = None) -> ImageSet:
    """The image set of a name.

    Args:
        name: a name in IMAGE_SETS.
        split: "train" or "test".
        folder: where its files are; by default $FLOWVIZ_DATA, then ./data.

    Raises:
        ValueError: there is no such set or split, or its files are missing or damaged.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be train or test; got {split!r}.")
    entry = IMAGE_SETS[name]
    images, labels = entry.read(split, data_folder() if folder is None else Path(folder))
    if labels.max() >= len(entry.classes):
        raise ValueError(
            f"{entry.label} is damaged: it has the label {labels.max()}, above "
            f"{len(entry.classes) - 1}."
        )
    pixels = torch.from_numpy(np.array(images))
    return ImageSet(name, entry.label, pixels, torch.from_numpy(labels), entry.classes)


def data_folder() -> Path:
    """The folder of image sets: $FLOWVIZ_DATA, by default ./data."""
    return Path(os.environ.get("FLOWVIZ_DATA") or "data").expanduser()


def montage(images: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """Images (n, C, H, W) in rows of `columns` on white, as pixels (height, width, C) uint8."""
    n, channels, height, width = images.shape
    rows = -(-n // columns)
    sheet = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1, channels), 255, np.uint8)
    for i, image in enumerate(images):
        top, left = (i // columns) * (height + 1) + 1, (i % columns) * (width + 1) + 1
        sheet[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return sheet


def png(pixels: NDArray[np.uint8], *, scale: int = 2) -> bytes:
    """Pixels (H, W, C) as a PNG file, each enlarged to scale x scale."""
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    buffer = BytesIO()
    size = (scale * image.width, scale * image.height)
    image.resize(size, Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


def _read_digits(split: str, root: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """scikit-learn's handwritten digits, 1,797 grey images of 8 x 8; every sixth one is test."""
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()  # the stubs take it for a tuple
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    chosen = (np.arange(len(images)) % 6 == 5) == (split == "test")
    return images[chosen], bunch.target[chosen].astype(np.int64)


IMAGE_SETS["cifar10"] = ImageSetEntry(
    "CIFAR-10", CIFAR10_CLASSES, read_cifar10, (CIFAR10_DOWNLOAD,)
)
IMAGE_SETS["digits"] = ImageSetEntry("digits", tuple("0123456789"), _read_digits)
IMAGE_SETS["fashion-mnist"] = ImageSetEntry(
    # Xiao et al. 2017, https://arxiv.org/abs/1708.07747: 60,000 + 10,000 images, padded to 32 x 32
    # so that networks can halve them.
    "Fashion-MNIST",
    (
        *("T-shirt/top", "trouser", "pullover", "dress", "coat"),
        *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
    ),
    idx_reader("fashion-mnist", "FashionMNIST/raw", pad=2),
    idx_downloads(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        "fashion-mnist",
        [
            ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", 26_421_880),
            ("25c81989df183df01b3e8a0aad5dffbe", 29_515),
            ("bef4ecab320f06d8554ea6380940ec79", 4_422_102),
            ("bb300cfdad3c16e7a12a480ee83cd310", 5_148),
        ],
    ),
)
