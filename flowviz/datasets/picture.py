"""A picture as a data set: dark pixels have a high density."""

import io
import struct

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from flowviz.bounds import shortened
from flowviz.datasets.entry import Dataset
from flowviz.distributions import Boxes

LATTICE = 64
"""The maximum number of pixels per side. The exact field costs the sum of both sides per point."""

REACH = 4.0
"""The maximum absolute coordinate of a user's data set in the frame."""

MAX_PIXELS = 25_000_000
MAX_SIDE = 20_000
"""The maximum number of pixels per side."""

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""The accepted formats. The list excludes formats that start other programs, such as EPS."""

DAMAGE = (
    *(OSError, EOFError, SyntaxError, TypeError, ValueError, struct.error),
    *(AttributeError, LookupError, ArithmeticError),
)
"""How Pillow reports broken files; TypeError, for example, for a TIFF with a rational offset."""

PHOTOMETRIC = 262
"""The tag of a TIFF that is 0 if 0 is white. Pillow applies it to pixels of 8 bits only."""

LIGHTEST = 0.15
"""Pixels below this darkness (0 white, 1 black) are background."""


def parse_picture(content: bytes, *, light: bool = False) -> NDArray[np.uint8]:
    """The darkness of a picture, (height, width) from 0 white to 255 black, at most 64 per side.

    Transparent parts are white, margins are removed, and the background is set to 0. Pixels of
    more than 8 bits are white at the largest value, fractions at 1 or more; black is 0 or less.

    Args:
        content: the bytes of the file.
        light: whether to return the lightness instead, for light lines on a dark background.

    Raises:
        ValueError: the file is not a picture, is too large, or has no dark pixels.
    """
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        large = image.width * image.height > MAX_PIXELS or max(image.size) > MAX_SIDE
        darkness = None if large else _darkness(image, light)
    except UnidentifiedImageError:
        raise ValueError(
            f"A picture must be a file in one of the formats {', '.join(FORMATS)}; this file is "
            "not. Save it as PNG and try again."
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large("far more") from None
    except DAMAGE as error:
        reason = f"; got: {shortened(str(error))}" if isinstance(error, OSError) else ""
        raise ValueError(f"The picture must not be damaged{reason}. Save it again.") from None
    if darkness is None:
        raise _too_large(f"{image.width} x {image.height}")
    rows, columns = (np.flatnonzero((darkness >= LIGHTEST).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        raise ValueError(
            "A picture must have light pixels, which are sampled; this one is dark everywhere. "
            "Sample its dark pixels."
            if light
            else "A picture must have dark pixels, which are sampled; this one is white or "
            "transparent everywhere. Use dark lines on a light background."
        )
    cropped = darkness[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    small = shrunk(cropped)
    # A thin line becomes lighter when it is scaled down.
    background = min(LIGHTEST, small.max() / 2)
    return np.rint(255 * np.where(small >= background, small, 0)).astype(np.uint8)


def picture(name: str, darkness: NDArray[np.uint8]) -> Dataset:
    """The data set of a picture, given its darkness from `parse_picture`."""
    height, width = darkness.shape
    return ink(
        name,
        "your picture",
        f"Your picture at {width} × {height} pixels: darker pixels have more samples.",
        darkness,
    )


def ink(name: str, label: str, sentence: str, darkness: NDArray[np.generic]) -> Dataset:
    """The data set with a uniform density on each pixel, proportional to its darkness.

    The darkness is (height, width) and not negative. The mean is at the origin of the frame, and
    the largest absolute coordinate is REACH.
    """
    weights = torch.from_numpy(darkness[::-1].T.astype(np.float64))  # the first row is the top
    weights = weights / weights.sum()
    edges = []
    for marginal in (weights.sum(dim=1), weights.sum(dim=0)):
        edge = torch.arange(len(marginal) + 1, dtype=torch.float64)
        edges.append(edge - torch.dot(marginal, edge[:-1] + 0.5))
    farthest = max(edge.abs().max() for edge in edges)
    x_edges, y_edges = (REACH / farthest * edge for edge in edges)
    distribution = Boxes(x_edges, y_edges, weights)
    return Dataset(name, label, sentence, distribution.sample, distribution)


def shrunk(darkness: NDArray[np.floating]) -> NDArray[np.float32]:
    """Darkness, scaled down to at most LATTICE pixels per side by averaging."""
    image = Image.fromarray(darkness.astype(np.float32))
    ratio = min(1.0, LATTICE / max(image.size))
    width, height = (max(1, round(ratio * side)) for side in image.size)
    return np.asarray(image.resize((width, height), Image.Resampling.BOX))


def _darkness(image: Image.Image, light: bool) -> NDArray[np.floating]:
    """The darkness, or the lightness, of each pixel of the first frame, 0 to 1, upright."""
    white_is_zero = getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == 0
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):  # at least 16 bits, which Pillow would clip
        level = np.asarray(image, dtype=np.float32)
        known = np.isfinite(level)
        top = level.max(initial=0, where=known)
        white = max(top, 1.0) if image.mode == "F" else top or 1.0
        black = min(0.0, level.min(initial=0.0, where=known))
        lightness = (np.clip(level, black, white) - black) / (white - black)
        lightness = 1 - lightness if white_is_zero else lightness
        return np.where(known, lightness if light else 1 - lightness, 0)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        background = Image.new("RGBA", image.size, "black" if light else "white")
        image = Image.alpha_composite(background, image)
    grey = image.getchannel("L") if image.mode == "LAB" else image.convert("L")
    lightness = np.asarray(grey, dtype=np.float32) / 255
    return lightness if light else 1 - lightness


def _too_large(pixels: str) -> ValueError:
    return ValueError(
        f"A picture must have at most {MAX_PIXELS:,} pixels, and {MAX_SIDE:,} per side; got "
        f"{pixels}. Make it smaller."
    )
