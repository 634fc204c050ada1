"""Image sets in IDX files, gzipped or not, as MNIST (LeCun et al. 1998) has them.

An IDX file has a magic number (two zero bytes, the type of its numbers, 8 for bytes, and the
number of its axes), the lengths of the axes as big-endian 32-bit integers, and the numbers in C
order.
"""

import gzip
import math
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flowviz.datasets.download import Download

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
SIDE = 28
MAX_IMAGES = 1_000_000

Reader = Callable[[str, Path], tuple[NDArray[np.uint8], NDArray[np.int64]]]


def idx_reader(*folders: str, pad: int = 0) -> Reader:
    """A reader of grey images of 28 x 28, see `ImageSetEntry.read`.

    Args:
        folders: places within the data folder where the four files may be, besides itself.
        pad: black pixels added on each side.
    """

    def read(split: str, root: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        images, labels = (_read(_find(root, folders, name)) for name in FILES[split])
        if images.shape[1:] != (SIDE, SIDE) or labels.shape != images.shape[:1]:
            raise ValueError(
                f"The images of {split} must have the shape (n, {SIDE}, {SIDE}) and the labels "
                f"(n,); got {images.shape} and {labels.shape}."
            )
        padded = np.pad(images, [(0, 0), (pad, pad), (pad, pad)])
        return padded[:, None], labels.astype(np.int64)

    return read


def idx_downloads(url: str, folder: str, checksums: list[tuple[str, int]]) -> tuple[Download, ...]:
    """The four files at an address, with MD5 and size of each in the order of FILES."""
    names = [f"{name}.gz" for split in FILES.values() for name in split]
    return tuple(
        Download(f"{url}/{name}", f"{folder}/{name}", md5, size)
        for name, (md5, size) in zip(names, checksums, strict=True)
    )


def _find(root: Path, folders: tuple[str, ...], name: str) -> Path:
    candidates = [root / folder / file for folder in folders for file in (name, f"{name}.gz")]
    for path in [root / name, root / f"{name}.gz", *candidates]:
        if path.is_file():
            return path
    raise ValueError(
        f"{name} or {name}.gz must be in {root / folders[0]}; it is not there. "
        "`python -m flowviz download NAME` downloads a set."
    )


def _read(path: Path) -> NDArray[np.uint8]:
    """The array of an IDX file of bytes.

    Raises:
        ValueError: it is damaged, of another type, or too large.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            magic = file.read(4)
            if magic[:3] != b"\0\0\x08" or len(magic) < 4 or not 1 <= magic[3] <= 3:
                raise ValueError(f"{path} is not an IDX file of bytes with 1 to 3 axes.")
            shape = [int.from_bytes(file.read(4)) for _ in range(magic[3])]
            size = math.prod(shape)
            if not 0 < size <= MAX_IMAGES * SIDE**2:
                raise ValueError(f"{path} is damaged: its axes have the lengths {shape}.")
            content = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged: it cannot be read.") from error
    if len(content) != size:
        count = "more" if len(content) > size else len(content)
        raise ValueError(f"{path} is damaged: it must have {size} numbers; it has {count}.")
    return np.frombuffer(content, np.uint8).reshape(shape)
