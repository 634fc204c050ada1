"""Uploaded data, stored under the hash of its content, so that links keep working.

The files are .npy arrays in FLOWVIZ_HOME/points, by default ~/.cache/flowviz/points.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowviz.bounds import shortened
from flowviz.datasets.entry import Dataset
from flowviz.datasets.picture import parse_picture, picture
from flowviz.datasets.points import check_drawing, check_points, drawing, points, samples
from flowviz.datasets.table_files import TABLE_SUFFIXES, read_table
from flowviz.datasets.tables import Table
from flowviz.files import home, mark_used, storing, write_array

MAX_BYTES = 10_000_000

MAX_STORED = 500_000_000
"""The maximum size of all stored files in bytes, about 1,600 of the largest tables."""

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")

BUILDERS: dict[str, Callable[[str, NDArray], Dataset]] = {
    "points": points,
    "picture": picture,
    "drawing": drawing,
    "samples": samples,
}
"""The function that makes a data set from its spec and the stored array, by kind."""


@dataclass(frozen=True)
class Reading:
    """How a file is read. None leaves a choice to what is in the file.

    Attributes:
        x: the column of the first coordinate, by its number from 1 or its name.
        y: the column of the second coordinate.
        label: the column of the labels, or NO_LABEL.
        header: whether the first row of a table names the columns.
        light: whether light pixels of a picture are sampled instead of dark ones.
    """

    x: str | None = None
    y: str | None = None
    header: bool | None = None
    light: bool = False
    label: str | None = None

    @classmethod
    def of(cls, text: str) -> "Reading":
        """The choices of a text such as "x=3,y=height,label=species" or "ink=light".

        Raises:
            ValueError: a choice is unknown, given twice or has no value.
        """
        choices: dict[str, str] = {}
        for item in text.split(",") if text else []:
            key, _, value = item.partition("=")
            allowed = _VALUES.get(key, ())
            if (
                key not in _VALUES
                or not value
                or key in choices
                or (allowed and value not in allowed)
            ):
                raise ValueError(
                    "After the name of a file, choices must read x=COLUMN, y=COLUMN, "
                    "label=COLUMN|none, header=yes|no or ink=dark|light, each at most once; got "
                    f"{item[:40]!r}."
                )
            choices[key] = value
        header = {None: None, "yes": True, "no": False}[choices.get("header")]
        light = choices.get("ink") == "light"
        return cls(choices.get("x"), choices.get("y"), header, light, choices.get("label"))


AS_IS = Reading()
"""The choices that the file makes."""

_VALUES = {"x": (), "y": (), "label": (), "header": ("yes", "no"), "ink": ("dark", "light")}
"""The choices after the name of a file, and their values."""


@dataclass(frozen=True)
class UserFile:
    """The content of a file.

    Attributes:
        kind: of the data set, a key of BUILDERS.
        array: what is stored.
        note: what was taken from the file.
    """

    kind: str
    array: NDArray
    note: str


def parse(filename: str, content: bytes, reading: Reading = AS_IS) -> UserFile:
    """Reads a table or a picture.

    Raises:
        ValueError: the file is too large or invalid, or it does not have the chosen columns.
    """
    if PurePath(filename).suffix.lower() not in PICTURE_SUFFIXES:
        return chosen_points(open_table(filename, content, reading.header), reading)
    if len(content) > MAX_BYTES:
        raise _too_large(len(content))
    darkness = parse_picture(content, light=reading.light)
    height, width = darkness.shape
    ink = "light" if reading.light else "dark"
    return UserFile("picture", darkness, f"{width} × {height} pixels; {ink} ones are sampled")


def open_table(filename: str, content: bytes, header: bool | None = None) -> Table:
    """All columns of a table, see `read_table`.

    Raises:
        ValueError: the file is too large or no table.
    """
    if PurePath(filename).suffix.lower() not in TABLE_SUFFIXES:
        raise ValueError(
            f"A file must be a table ({', '.join(TABLE_SUFFIXES)}) or a picture "
            f"({', '.join(PICTURE_SUFFIXES)}); got {filename[-60:]!r}. Save it as one of them."
        )
    if len(content) > MAX_BYTES:
        raise _too_large(len(content))
    return read_table(filename, content, header)


def chosen_points(table: Table, reading: Reading) -> UserFile:
    """The points of the chosen columns of a table.

    Raises:
        ValueError: there are no such columns, or they are not two of finite numbers.
    """
    x, y = (None if each is None else table.column(each) for each in (reading.x, reading.y))
    return UserFile("points", *table.points(x, y, reading.label))


def store(file: UserFile) -> str:
    """Stores a file that was read and returns its spec, such as points:3f2a...

    Raises:
        ValueError: the disk is full or read-only.
    """
    return _store(file.kind, file.array)


def draw(x: ArrayLike) -> str:
    """Stores points drawn in the frame, (n, 2), and returns their spec.

    Raises:
        ValueError: the number of points is invalid, a point is outside the frame, or the disk is
            full or read-only.
    """
    return _store("drawing", check_drawing(x))


def keep_samples(x: ArrayLike) -> str:
    """Stores samples of a network in the frame, (n, 2), and returns their spec.

    Raises:
        ValueError: as `check_points`, or the disk is full or read-only.
    """
    return _store("samples", check_points(x))


def is_file(spec: str) -> bool:
    """Whether a spec is the path of a table or a picture, with or without choices (`Reading`)."""
    return _has_suffix(_split(spec)[0])


def read(spec: str) -> Dataset:
    """The data set of a table or picture on this machine, such as people.csv:x=3,y=height.

    Raises:
        ValueError: there is no such file, or it or a choice is invalid.
    """
    name, choices = _split(spec)
    path, reading = Path(name), Reading.of(choices)
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= MAX_BYTES else b""
    except (OSError, ValueError) as error:  # a ValueError of a name with a null character
        reason = error.strerror if isinstance(error, OSError) else "the name is invalid"
        raise ValueError(
            f"The data must be a readable file; {name[:100]} is not ({reason}). Correct its path."
        ) from None
    if size > MAX_BYTES:
        raise _too_large(size)
    file = parse(path.name, content, reading)
    data = BUILDERS[file.kind](spec, file.array)
    return replace(data, reading=f"{shortened(path.name)[:100]}: {file.note}")


def _split(spec: str) -> tuple[str, str]:
    """The path of a file and the choices after it."""
    if _has_suffix(spec):
        return spec, ""
    suffixes = "|".join(map(re.escape, TABLE_SUFFIXES + PICTURE_SUFFIXES))
    match = re.match(rf"(.+?(?:{suffixes})):(.*)", spec, re.IGNORECASE | re.DOTALL)
    return (match[1], match[2]) if match else (spec, "")


def _has_suffix(path: str) -> bool:
    return PurePath(path).suffix.lower() in TABLE_SUFFIXES + PICTURE_SUFFIXES


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
