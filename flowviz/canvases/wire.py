"""The data format of the canvases: a JSON header with NumPy arrays in it, as bytes.

A payload is little-endian: the magic `FLOW`, version, header length and 0 as u32, a JSON header
padded to 8 bytes, then arrays, each at a multiple of 8 bytes from the header's end. In the header
an array is {"dtype", "shape", "offset"}. `js/base/wire.js` decodes it.
"""

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowviz.figures import theme

MAGIC = b"FLOW"
VERSION = 1
DTYPES = ("u1", "u2", "i2", "f4", "f8")


def encode(content: Mapping[str, Any]) -> bytes:
    """Packs nested dicts and lists of JSON values and arrays.

    Args:
        content: arrays have one of DTYPES. The header gets an additional entry "name", the hash of
            the content.
    """
    parts: list[bytes] = []
    size = 0

    def entry(array: object) -> dict[str, Any]:
        nonlocal size
        if not isinstance(array, np.ndarray) or array.dtype.str[1:] not in DTYPES:
            raise TypeError(f"A payload holds arrays of {', '.join(DTYPES)}; got {array!r:.80}.")
        raw = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False).tobytes()
        raw += bytes(-len(raw) % 8)
        parts.append(raw)
        size += len(raw)
        return {
            "dtype": array.dtype.str[1:],
            "shape": array.shape,
            "offset": size - len(raw),
        }

    def text(header: Mapping[str, Any]) -> bytes:
        return json.dumps(header, ensure_ascii=False, allow_nan=False, default=entry).encode()

    header = text(content)
    digest = hashlib.blake2b(header, digest_size=8)
    for part in parts:
        digest.update(part)
    header = header[:-1] + f', "name": "{digest.hexdigest()}"}}'.encode()
    header += b" " * (-len(header) % 8)
    return b"".join([MAGIC, struct.pack("<III", VERSION, len(header), 0), header, *parts])


def class_entries(classes: ArrayLike, names: Sequence[str]) -> dict[str, Any]:
    """The entries of a payload for points in classes: the places of their colours, and names.

    Args:
        classes: (n,), the class of each point.
        names: of the classes.
    """
    positions = np.array(theme.class_places(len(names)))
    return {
        "classes": positions[np.asarray(classes)].astype("u1"),
        "class_names": [
            [int(position), name] for position, name in zip(positions, names, strict=True)
        ],
    }


def header_of(payload: bytes, kind: str) -> dict[str, Any]:
    """The header of a payload whose entry "kind" is `kind`.

    Raises:
        ValueError: the bytes are not such a payload.
    """
    header: dict[str, Any] = {}
    if payload[:4] == MAGIC:
        length = struct.unpack_from("<I", payload, 8)[0]
        header = json.loads(payload[16 : 16 + length])
    if header.get("kind") != kind:
        raise ValueError(f"The payload must be of the kind {kind!r}; got other bytes.")
    return header


def quantised(points: NDArray, limit: float) -> NDArray[np.uint16]:
    """Coordinates as u16 over [-limit, limit]; those further out are moved to the edge."""
    return np.rint((np.clip(points, -limit, limit) / limit + 1) * (65535 / 2)).astype("<u2")


def role_of(path: str) -> str:
    """The role of a path's spec in the themes: its name without parameters."""
    return path.split(":")[0]
