"""Sets of small images with classes: CIFAR-10 from its official files, and scikit-learn's digits.

CIFAR-10 is read from the binary version of https://www.cs.toronto.edu/~kriz/cifar.html, never from
the pickled one: a folder that holds data_batch_1.bin ... data_batch_5.bin and test_batch.bin, or
the archive cifar-10-binary.tar.gz as it was downloaded. One record is a label byte and 3,072 bytes
of pixels: the red, green and blue plane, row by row.
"""

import hashlib
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowviz.registry import Registry

__all__ = [
    "CIFAR10_MD5",
    "IMAGE_SETS",
    "ImageSet",
    "cifar10",
    "digits",
    "folder_of_data",
    "image_set",
]

CIFAR10_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
"""The checksum of cifar-10-binary.tar.gz that its authors publish."""

ARCHIVE = "cifar-10-binary.tar.gz"
FOLDER = "cifar-10-batches-bin"
FILES = {
    "train": [f"data_batch_{i}.bin" for i in range(1, 6)],
    "test": ["test_batch.bin"],
}
RECORD = 1 + 3 * 32 * 32
MOST_RECORDS = 10_000
CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)


@dataclass(frozen=True)
class ImageSet:
    """N square images with their classes.

    Attributes:
        name: the key in IMAGE_SETS.
        label: what menus and legends show.
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
        """The root mean square of `to_unit(images)` less `mean`, one number for all channels."""
        return self._moments[1]

    @staticmethod
    def to_unit(images: Tensor) -> Tensor:
        """uint8 images as float32 in [-1, 1], the range in which networks see them."""
        return images.float() / 127.5 - 1

    @staticmethod
    def from_unit(x: Tensor) -> Tensor:
        """Network images x as uint8, clipped to [-1, 1] and rounded; inverts `to_unit`."""
        return (x * 127.5 + 128).clamp(0, 255).to(torch.uint8)

    @cached_property
    def _moments(self) -> tuple[Tensor, float]:
        # Sums of integers are exact, so that every machine finds the same moments.
        counts = torch.stack([torch.bincount(c.flatten(), minlength=256) for c in self._planes()])
        values = torch.arange(256, dtype=torch.float64) / 127.5 - 1
        shares = counts.double() / counts.sum(dim=1, keepdim=True)
        mean = shares @ values
        variance = (shares * (values - mean[:, None]).square()).sum(dim=1).mean()
        return mean.float()[:, None, None], variance.sqrt().item()

    def _planes(self) -> list[Tensor]:
        return [self.images[:, i] for i in range(self.channels)]


IMAGE_SETS: Registry[Callable[[str, Path | None], ImageSet]] = Registry("image set")
"""By name: a split ("train" or "test") and a folder, or None for the usual places, to the set."""


def image_set(name: str, split: str = "train", folder: str | Path | None = None) -> ImageSet:
    """The image set of a name.

    Args:
        name: a key of IMAGE_SETS.
        split: "train" or "test".
        folder: where its files are; by default $FLOWVIZ_DATA, then ./data.

    Raises:
        ValueError: there is no such set or split, or its files are missing or damaged.
    """
    if split not in FILES:
        raise ValueError(f"split must be train or test; got {split!r}.")
    return IMAGE_SETS[name](split, None if folder is None else Path(folder))


@IMAGE_SETS.register("cifar10")
def cifar10(
    split: str = "train", folder: Path | None = None, *, md5: str | None = CIFAR10_MD5
) -> ImageSet:
    """CIFAR-10 (Krizhevsky 2009): 50,000 + 10,000 colour images of 32 x 32 in ten classes.

    Args:
        split: "train" or "test".
        folder: the folder of the binary files, one that holds it or the archive, or the archive.
        md5: what the archive's checksum must be; None takes any.

    Raises:
        ValueError: the files are missing or damaged.
    """
    place = _find(folder)
    names = FILES[split]
    if place.is_dir():
        contents = [_read(place / name) for name in names]
    else:
        contents = _unpack(place, names, md5)
    records = np.concatenate(
        [_records(content, name) for content, name in zip(contents, names, strict=True)]
    )
    return ImageSet(
        "cifar10",
        "CIFAR-10",
        torch.from_numpy(records[:, 1:].reshape(-1, 3, 32, 32).copy()),
        torch.from_numpy(records[:, 0].astype(np.int64)),
        CLASSES,
    )


@IMAGE_SETS.register("digits")
def digits(split: str = "train", folder: Path | None = None) -> ImageSet:
    """scikit-learn's handwritten digits: 1,797 grey images of 8 x 8 that need no download.

    Every sixth image is of the test split.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    chosen = (np.arange(len(images)) % 6 == 5) == (split == "test")
    return ImageSet(
        "digits",
        "digits",
        torch.from_numpy(images[chosen]),
        torch.from_numpy(bunch.target[chosen].astype(np.int64)),
        tuple("0123456789"),
    )


def folder_of_data() -> Path:
    """Where image sets are looked for: $FLOWVIZ_DATA, by default ./data."""
    return Path(os.environ.get("FLOWVIZ_DATA") or "data").expanduser()


def _find(folder: Path | None) -> Path:
    """The folder of the binary files, or the archive."""
    root = folder or folder_of_data()
    for place in (root, root / FOLDER, root / ARCHIVE, root / "cifar10" / FOLDER):
        if place.is_file() or (place / FILES["test"][0]).is_file():
            return place
    raise ValueError(
        f"CIFAR-10 must be in {root}, as the folder {FOLDER} or the archive {ARCHIVE} "
        "(https://www.cs.toronto.edu/~kriz/cifar.html, binary version); it is not there. "
        "`python -m flowviz download cifar10` fetches it."
    )


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise ValueError(f"CIFAR-10 is incomplete: {path} is missing.")
    if path.stat().st_size > MOST_RECORDS * RECORD:
        raise ValueError(f"{path} is larger than any file of CIFAR-10.")
    return path.read_bytes()


def _unpack(archive: Path, names: list[str], md5: str | None) -> list[bytes]:
    """The named files of the archive; nothing else in it is touched or written."""
    if md5 is not None:
        with archive.open("rb") as file:
            found = hashlib.file_digest(file, "md5").hexdigest()
        if found != md5:
            raise ValueError(
                f"{archive} must have the md5 {md5} of the official {ARCHIVE}; got {found}. "
                "Download it again, the binary version."
            )
    wanted = {f"{FOLDER}/{name}": name for name in names}
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                name = wanted.get(member.name)
                if name is None:
                    continue
                if not member.isreg() or member.size > MOST_RECORDS * RECORD:
                    raise ValueError(f"{archive} has a {name} that is not a file of CIFAR-10.")
                contents[name] = tar.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"{archive} is not a whole .tar.gz archive.") from error
    missing = [name for name in names if name not in contents]
    if missing:
        raise ValueError(f"CIFAR-10 is incomplete: {archive} has no {FOLDER}/{missing[0]}.")
    return [contents[name] for name in names]


def _records(content: bytes, name: str) -> NDArray[np.uint8]:
    """The records of one file, (n, 3073)."""
    if not content or len(content) % RECORD:
        raise ValueError(
            f"{name} is damaged: it must have a multiple of {RECORD} bytes; got {len(content)}."
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    if records[:, 0].max() >= len(CLASSES):
        raise ValueError(f"{name} is damaged: it has the label {records[:, 0].max()}, above 9.")
    return records
