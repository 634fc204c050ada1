"""Tables in the files of NumPy: .npy, and .npz of one table or of one array for each column."""

import io
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

MAGIC = b"\x93NUMPY"
REAL = "fiub"
"""The kinds of types of real numbers: floats, signed and unsigned integers, truth values."""

LABEL = "iubU"
"""The kinds of types of labels."""

DAMAGE = (
    *(ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError),
    *(SyntaxError, TypeError, ValueError),
    *(struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)
"""How zipfile and NumPy report broken files."""

MAX_BYTES = 100_000_000
"""The largest size of an array in a compressed file."""


def is_array(filename: str, content: bytes) -> bool:
    """Whether a file has arrays of NumPy, by its first bytes and the suffix of its name.

    `flowviz data --out x.npz` writes a file of the format .npy.
    """
    suffix = PurePath(filename).suffix.lower()
    return content.startswith(MAGIC) or suffix in (".npy", ".npz")


def read_arrays(content: bytes) -> tuple[tuple[str, ...] | None, list[list[str | float]]]:
    """The names of the columns, None if they have none, and the rows.

    A table (n, k) in an archive gets further columns from arrays (n,) of labels next to it.

    Raises:
        ValueError: the file is damaged or has no table of real numbers.
    """
    arrays = _archive(content) if not content.startswith(MAGIC) else {"": _array(content)}
    for key, array in arrays.items():
        if array.ndim == 2 and array.dtype.kind in REAL:
            labels = _columns(arrays, LABEL, len(array))
            names = (*(f"{key}{k + 1}" for k in range(array.shape[1])), *labels)
            return names if labels else None, _rows([*array.T, *labels.values()])
        if array.ndim == 1 and array.dtype.names:
            arrays = {name: array[name] for name in array.dtype.names}
            break
    numbers = _columns(arrays, REAL)
    if len(numbers) < 2 or len({len(array) for array in numbers.values()}) != 1:
        raise ValueError(
            "An array of NumPy must be a table of real numbers, of shape (n, 2) or more columns; "
            f"got {_shapes(arrays)}. Save it with numpy.save."
        )
    columns = _columns(arrays, REAL + LABEL, len(next(iter(numbers.values()))))
    return tuple(columns), _rows(columns.values())


def _columns(arrays: dict[str, NDArray], kinds: str, n: int | None = None) -> dict[str, NDArray]:
    """The arrays (n,) whose types are of these kinds, of any length if n is None."""
    return {
        name: array
        for name, array in arrays.items()
        if array.ndim == 1 and array.dtype.kind in kinds and n in (None, len(array))
    }


def _rows(columns: Iterable[NDArray]) -> list[list[str | float]]:
    """The rows of columns (n,), their numbers as float."""
    cells = [each if each.dtype.kind == "U" else each.astype(np.float64) for each in columns]
    return list(map(list, zip(*(each.tolist() for each in cells), strict=True)))


def _archive(content: bytes) -> dict[str, NDArray]:
    """The arrays of an .npz file, by name."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            files = archive.infolist()
            if sum(file.file_size for file in files) > MAX_BYTES:
                raise _damaged()
            return {
                file.filename.removesuffix(".npy"): _array(archive.read(file)) for file in files
            }
    except DAMAGE:
        raise _damaged() from None


def _array(content: bytes) -> NDArray:
    """An array of real numbers; nothing in it is unpickled."""
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, _, dtype = read(file)
        # A false shape would take memory before the content is seen to be too short.
        if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(content) - file.tell():
            raise _damaged()
        file.seek(0)
        array = np.lib.format.read_array(file, allow_pickle=False)
    except DAMAGE:
        raise _damaged() from None
    return array


def _shapes(arrays: dict[str, NDArray]) -> str:
    found = [f"{array.shape} {array.dtype.kind}" for array in arrays.values()]
    return ", ".join(found)[:80] or "none"


def _damaged() -> ValueError:
    return ValueError(
        "A file of NumPy must have arrays of numbers and must not be damaged; this one cannot be "
        "read. Save it again with numpy.save."
    )
