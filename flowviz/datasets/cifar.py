"""CIFAR-10 from its binary version (https://www.cs.toronto.edu/~kriz/cifar.html).

It is read from the folder of its files or from the archive as downloaded, never from the pickled
version. A record is a label byte and 3,072 bytes of pixels: the red, green and blue planes, each
row by row.
"""

import tarfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flowviz.datasets.download import Download, md5_of

CIFAR10_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
CIFAR10_DOWNLOAD = Download(
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "cifar-10-binary.tar.gz",
    "c32a1d4ab5d03f1284b67883e8d87530",
    170_052_171,
)
FOLDER = "cifar-10-batches-bin"
FILES = {
    "train": [f"data_batch_{i}.bin" for i in range(1, 6)],
    "test": ["test_batch.bin"],
}
RECORD = 1 + 3 * 32 * 32
"""Bytes of a record."""
MAX_BYTES = 10_000 * RECORD
"""Maximum size of a file."""


def read_cifar10(
    split: str, root: Path, *, md5: str | None = CIFAR10_DOWNLOAD.md5
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """CIFAR-10 (Krizhevsky 2009): 50,000 + 10,000 colour images of 32 x 32 in ten classes.

    Args:
        split: "train" or "test".
        root: the folder of the binary files, a folder with it or the archive, or the archive.
        md5: checksum that the archive must have; None for any.

    Returns:
        Images (n, 3, 32, 32) and labels (n,).

    Raises:
        ValueError: the files are missing or damaged.
    """
    source = _find(root)
    names = FILES[split]
    if source.is_dir():
        contents = [_read(source / name) for name in names]
    else:
        contents = _unpack(source, names, md5)
    records = np.concatenate(
        [_records(content, name) for content, name in zip(contents, names, strict=True)]
    )
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64)


def _find(root: Path) -> Path:
    """The folder of the binary files, or the archive."""
    archive = CIFAR10_DOWNLOAD.file
    for path in (root, root / FOLDER, root / archive, root / "cifar10" / FOLDER):
        if path.is_file() or (path / FILES["test"][0]).is_file():
            return path
    raise ValueError(
        f"CIFAR-10 must be in {root}, as the folder {FOLDER} or the archive {archive} "
        "(https://www.cs.toronto.edu/~kriz/cifar.html, binary version); it is not there. "
        "`python -m flowviz download cifar10` downloads it."
    )


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise ValueError(f"CIFAR-10 is incomplete: {path} is missing.")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} is larger than any file of CIFAR-10.")
    return path.read_bytes()


def _unpack(archive: Path, names: list[str], md5: str | None) -> list[bytes]:
    """The contents of the named files in the archive; nothing is written to disk."""
    if md5 is not None and (actual := md5_of(archive)) != md5:
        raise ValueError(
            f"{archive} must have the md5 {md5} of the official archive; got {actual}. Download "
            "it again, the binary version."
        )
    names_in_archive = {f"{FOLDER}/{name}": name for name in names}
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                name = names_in_archive.get(member.name)
                if name is None:
                    continue
                if not member.isreg() or member.size > MAX_BYTES:
                    raise ValueError(f"{archive} has a {name} that is not a file of CIFAR-10.")
                file = tar.extractfile(member)
                assert file is not None  # a regular file
                contents[name] = file.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"{archive} is not a complete .tar.gz archive.") from error
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
    if records[:, 0].max() >= len(CIFAR10_CLASSES):
        raise ValueError(f"{name} is damaged: it has the label {records[:, 0].max()}, above 9.")
    return records
