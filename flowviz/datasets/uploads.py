"""Uploaded data, stored under the hash of its content, so that links keep working.

The files are .npy arrays in FLOWVIZ_HOME/points, by default ~/.cache/flowviz/points.
"""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowviz.datasets.entry import Dataset
from flowviz.datasets.picture import parse_picture, picture
from flowviz.datasets.points import check_drawing, drawing, parse_table, points
from flowviz.files import home, mark_used, storing, write_array

__all__ = [
    "BUILDERS",
    "MAX_BYTES",
    "PICTURE_SUFFIXES",
    "TABLE_SUFFIXES",
    "draw",
    "is_file",
    "read",
    "recall",
    "upload",
]

MAX_BYTES = 10_000_000

MAX_STORED = 500_000_000
"""The maximum size of all stored files in bytes, about 1,600 of the largest tables."""

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".dat")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")

BUILDERS: dict[str, Callable[[str, NDArray], Dataset]] = {
    "points": points,
    "picture": picture,
    "drawing": drawing,
}
"""The function that makes a data set from its spec and the stored array, by kind."""


def upload(filename: str, content: bytes) -> str:
    """Stores an uploaded table or picture and returns its spec, such as points:3f2a...

    Raises:
        ValueError: the file is too large or invalid, or the disk is full or read-only.
    """
    return _store(*_parsed(filename, content))


def draw(x: ArrayLike) -> str:
    """Stores points drawn in the frame, (n, 2), and returns their spec.

    Raises:
        ValueError: the number of points is invalid, a point is outside the frame, or the disk is
            full or read-only.
    """
    return _store("drawing", check_drawing(x))


def is_file(spec: str) -> bool:
    """Whether a spec is the path of a table or a picture, judged by its suffix."""
    return PurePath(spec).suffix.lower() in TABLE_SUFFIXES + PICTURE_SUFFIXES


def read(spec: str) -> Dataset:
    """The data set of a table or picture on this machine.

    Raises:
        ValueError: there is no such file, or it is invalid.
    """
    path = Path(spec)
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= MAX_BYTES else b""
    except OSError as error:
        raise ValueError(
            f"The data must be a readable file; {spec} is not ({error.strerror}). "
            "Correct its path."
        ) from None
    if size > MAX_BYTES:
        raise _too_large(size)
    kind, array = _parsed(path.name, content)
    return BUILDERS[kind](spec, array)


def recall(kind: str, key: str) -> Dataset:
    """The stored data set with the spec <kind>:<key>.

    Raises:
        ValueError: the key is malformed or unknown, or its file is damaged.
    """
    spec = f"{kind}:{key}"
    if not re.fullmatch(r"[0-9a-f]{16}", key):  # also excludes file paths
        raise ValueError(
            f"The key after {kind}: must be 16 hexadecimal digits; got {key[:40]!r}. "
            "Copy the whole link, or upload the data again."
        )
    path = home("points") / f"{kind}-{key}.npy"
    try:
        with path.open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except FileNotFoundError:
        raise ValueError(
            f"The data of {spec} must be stored on this server, but are not. Upload them again."
        ) from None
    except (OSError, ValueError):
        raise _damaged(path) from None
    if _key(array) != key:
        raise _damaged(path)
    mark_used(path)
    return BUILDERS[kind](spec, array)


def _parsed(filename: str, content: bytes) -> tuple[str, NDArray]:
    """The kind of a file and its content as an array."""
    if len(content) > MAX_BYTES:
        raise _too_large(len(content))
    suffix = PurePath(filename).suffix.lower()
    if suffix in PICTURE_SUFFIXES:
        return "picture", parse_picture(content)
    if suffix in TABLE_SUFFIXES:
        return "points", parse_table(content)
    raise ValueError(
        f"A file must be a table ({', '.join(TABLE_SUFFIXES)}) or a picture "
        f"({', '.join(PICTURE_SUFFIXES)}); got {filename[-60:]!r}. Save it as one of them."
    )


def _store(kind: str, array: NDArray) -> str:
    key = _key(array)
    path = home("points") / f"{kind}-{key}.npy"
    with storing(path, "*-*.npy", MAX_STORED, _not_stored):
        write_array(path, array)
    return f"{kind}:{key}"


def _not_stored(why: str) -> ValueError:
    return ValueError(
        f"Your data must be stored on this server, but were not: {why}. "
        "Ask its operator, or try again later."
    )


def _key(array: NDArray) -> str:
    """The hash of the shape, the type and the content of an array."""
    head = f"{array.shape} {array.dtype.str} ".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def _too_large(size: int) -> ValueError:
    return ValueError(
        f"A file must have at most {MAX_BYTES / 1e6:g} MB; got {size / 1e6:.1f} MB. "
        "Use fewer points or a smaller picture."
    )


def _damaged(path: Path) -> ValueError:
    return ValueError(
        f"The stored data in {path.name} must not be damaged, but they are. Upload them again."
    )
