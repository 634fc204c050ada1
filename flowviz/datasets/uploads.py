"""What visitors bring, kept by the hash of its content, so that a link finds it again.

Files are plain .npy arrays in FLOWVIZ_HOME/points, by default ~/.cache/flowviz/points.
"""

import hashlib
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowviz.datasets.entry import Dataset
from flowviz.datasets.picture import parse_picture, picture
from flowviz.datasets.points import check_drawing, drawing, parse_table, points
from flowviz.files import write_array

__all__ = [
    "BUILDERS",
    "MOST_BYTES",
    "PICTURE_SUFFIXES",
    "TABLE_SUFFIXES",
    "draw",
    "is_file",
    "read",
    "recall",
    "upload",
]

MOST_BYTES = 10_000_000

MOST_KEPT = 500_000_000
"""Bytes of all that is kept, about 1,600 of the largest tables."""

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".dat")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")

BUILDERS: dict[str, Callable[[str, NDArray], Dataset]] = {
    "points": points,
    "picture": picture,
    "drawing": drawing,
}
"""By kind: the spec and the stored array to the data set."""


def upload(filename: str, content: bytes) -> str:
    """Keeps an uploaded table or picture and returns its spec, such as points:3f2a...

    Raises:
        ValueError: the file is too large, or no data set can be made of it.
    """
    return _keep(*_parsed(filename, content))


def draw(x: ArrayLike) -> str:
    """Keeps points drawn in the frame, (n, 2), and returns their spec.

    Raises:
        ValueError: there are too few or too many, or one is outside the frame.
    """
    return _keep("drawing", check_drawing(x))


def is_file(spec: str) -> bool:
    """Whether a spec is the path of a table or picture, by its suffix."""
    return PurePath(spec).suffix.lower() in TABLE_SUFFIXES + PICTURE_SUFFIXES


def read(spec: str) -> Dataset:
    """The data set of a table or picture on this machine.

    Raises:
        ValueError: there is no such file, or no data set can be made of it.
    """
    path = Path(spec)
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= MOST_BYTES else b""
    except OSError as error:
        raise ValueError(
            f"The data must be a file that can be read; {spec} is not ({error.strerror}). "
            "Correct its path."
        ) from None
    if size > MOST_BYTES:
        raise _too_large(size)
    kind, array = _parsed(path.name, content)
    return BUILDERS[kind](spec, array)


def recall(kind: str, key: str) -> Dataset:
    """The data set that was kept as <kind>:<key>.

    Raises:
        ValueError: the key is malformed, unknown here, or its file is damaged.
    """
    spec = f"{kind}:{key}"
    if not re.fullmatch(r"[0-9a-f]{16}", key):  # which also keeps paths out
        raise ValueError(
            f"What follows {kind}: must be 16 hexadecimal digits; got {key[:40]!r}. "
            "Copy the whole link, or upload the data again."
        )
    path = _folder() / f"{kind}-{key}.npy"
    try:
        with path.open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except FileNotFoundError:
        raise ValueError(
            f"This server must hold the data of {spec}, and it does not. Upload them again."
        ) from None
    except (OSError, ValueError):
        raise _damaged(path) from None
    if _key(array) != key:
        raise _damaged(path)
    with suppress(OSError):  # a folder that can only be read is not pruned either
        os.utime(path)
    return BUILDERS[kind](spec, array)


def _parsed(filename: str, content: bytes) -> tuple[str, NDArray]:
    """The kind and the array of a file's content."""
    if len(content) > MOST_BYTES:
        raise _too_large(len(content))
    suffix = PurePath(filename).suffix.lower()
    if suffix in PICTURE_SUFFIXES:
        return "picture", parse_picture(content)
    if suffix in TABLE_SUFFIXES:
        return "points", parse_table(content)
    raise ValueError(
        f"A file must be a table ({', '.join(TABLE_SUFFIXES)}) or a picture "
        f"({', '.join(PICTURE_SUFFIXES)}); got {filename!r}. Save it as one of them."
    )


def _keep(kind: str, array: NDArray) -> str:
    key = _key(array)
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    write_array(folder / f"{kind}-{key}.npy", array)
    _forget(folder)
    return f"{kind}:{key}"


def _forget(folder: Path) -> None:
    """Deletes what was used longest ago of more than MOST_KEPT bytes; a link to it says so."""
    kept = []
    for file in folder.glob("*-*.npy"):
        with suppress(OSError):  # another process may have deleted it
            about = file.stat()
            kept.append((about.st_mtime_ns, about.st_size, file))
    total = 0
    for _, size, file in sorted(kept, reverse=True):
        total += size
        if total > MOST_KEPT:
            with suppress(OSError):
                file.unlink()


def _key(array: NDArray) -> str:
    """The hash of an array's shape, type and content."""
    head = f"{array.shape} {array.dtype.str} ".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def _folder() -> Path:
    home = os.environ.get("FLOWVIZ_HOME")
    return (Path(home) if home else Path.home() / ".cache" / "flowviz") / "points"


def _too_large(size: int) -> ValueError:
    return ValueError(
        f"A file must have at most {MOST_BYTES / 1e6:g} MB; got {size / 1e6:.1f} MB. "
        "Keep a part of the points, or make the picture smaller."
    )


def _damaged(path: Path) -> ValueError:
    return ValueError(
        f"The kept data in {path.name} must be as they were written; they are damaged. "
        "Upload them again."
    )
