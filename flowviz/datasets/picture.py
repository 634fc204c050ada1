"""A picture as a data set: samples fall where it is dark."""

import io

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from flowviz.datasets.entry import Dataset
from flowviz.distributions import Boxes

__all__ = ["LATTICE", "REACH", "ink", "parse_picture", "picture", "shrunk"]

LATTICE = 64
"""The most pixels a side: the exact field costs the sum of the two sides a point."""

REACH = 4.0
"""How far from the frame's origin a user's data set extends along either axis."""

MOST_PIXELS = 25_000_000
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""What may be opened. The list keeps out formats that start other programs, such as EPS."""

LIGHTEST = 0.15
"""Darkness (0 white, 1 black) under which a pixel counts as paper."""


def parse_picture(content: bytes) -> NDArray[np.uint8]:
    """The darkness of a picture, (height, width) from 0 white to 255 black, at most 64 a side.

    Transparent parts are white, margins are cut off, and paper is set to 0.

    Raises:
        ValueError: this is no picture, it is too large, or nothing in it is dark.
    """
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        if image.width * image.height > MOST_PIXELS:
            raise _too_large(f"{image.width} x {image.height}")
        darkness = _darkness(image)
    except UnidentifiedImageError:
        raise ValueError(
            f"A picture must be one of {', '.join(FORMATS)}; this file is none. "
            "Save it as PNG and try again."
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large("far more") from None
    except (OSError, SyntaxError, EOFError) as error:  # how Pillow reports broken files
        raise ValueError(
            f"The picture must be whole; this one is damaged ({error}). Save it again."
        ) from None
    rows, columns = (np.flatnonzero((darkness >= LIGHTEST).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        raise ValueError(
            "A picture must have dark pixels, where the samples fall; this one is all white or "
            "transparent. Use dark ink on a light ground."
        )
    drawn = darkness[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    small = shrunk(drawn)
    paper = min(LIGHTEST, small.max() / 2)  # a hair line fades as it shrinks
    return np.rint(255 * np.where(small >= paper, small, 0)).astype(np.uint8)


def picture(name: str, darkness: NDArray[np.uint8]) -> Dataset:
    """The data set of what `parse_picture` gave."""
    height, width = darkness.shape
    return ink(
        name,
        "your picture",
        f"Your picture on a lattice of {width} × {height} pixels: the darker, the more samples.",
        darkness,
    )


def ink(name: str, label: str, sentence: str, darkness: NDArray[np.generic]) -> Dataset:
    """The data set uniform on each pixel and proportional to darkness, (height, width).

    Its mean is the frame's origin and its farthest pixel lies at REACH along an axis.
    """
    weights = torch.from_numpy(darkness[::-1].T.astype(np.float64))  # the first row is the top
    weights = weights / weights.sum()
    edges = []
    for along in (weights.sum(dim=1), weights.sum(dim=0)):
        edge = torch.arange(len(along) + 1, dtype=torch.float64)
        edges.append(edge - torch.dot(along, edge[:-1] + 0.5))
    farthest = max(edge.abs().max() for edge in edges)
    distribution = Boxes(*(REACH / farthest * edge for edge in edges), weights)
    return Dataset(name, label, sentence, distribution.sample, distribution)


def shrunk(darkness: NDArray[np.floating]) -> NDArray[np.float32]:
    """The means of darkness over the cells of a lattice of at most LATTICE a side."""
    image = Image.fromarray(darkness.astype(np.float32))
    ratio = min(1.0, LATTICE / max(image.size))
    width, height = (max(1, round(ratio * side)) for side in image.size)
    return np.asarray(image.resize((width, height), Image.Resampling.BOX))


def _darkness(image: Image.Image) -> NDArray[np.float32]:
    """The darkness of each pixel of the first frame, 0 to 1, upright."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):  # 16 bits and more, which Pillow would clip
        level = np.asarray(image, dtype=np.float32)
        return 1 - level / max(level.max(), 255.0)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    return 1 - np.asarray(image.convert("L"), dtype=np.float32) / 255


def _too_large(pixels: str) -> ValueError:
    return ValueError(
        f"A picture must have at most {MOST_PIXELS:,} pixels; got {pixels}. Make it smaller."
    )
