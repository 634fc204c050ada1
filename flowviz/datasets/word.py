"""A word as a data set: the density is uniform on its letters."""

import textwrap
import unicodedata
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from flowviz.datasets.entry import Dataset
from flowviz.datasets.picture import ink, shrunk

MAX_LETTERS = 24
LINE = 9
"""The maximum number of letters per line; longer lines are unreadable at 64 pixels."""

SIZE = 160
"""The font size in pixels, before letters are scaled down to the lattice."""


def word(text: str) -> Dataset:
    """The data set with a uniform density on the letters of a text, at most 9 per line.

    Raises:
        ValueError: the text is empty or too long, or has a letter that the font lacks.
    """
    text = " ".join(unicodedata.normalize("NFC", text).split())
    if not text:
        raise ValueError("A word must have at least one letter; got none. Type one, such as FLOW.")
    if len(text) > MAX_LETTERS:
        raise ValueError(
            f"A word must have at most {MAX_LETTERS} letters; got {len(text)}. Shorten it."
        )
    for letter in text.replace(" ", ""):
        if not _is_drawable(letter):
            raise ValueError(
                f"A word must have only letters that the font contains; got {letter!r}. "
                "Use Latin letters without accents, digits and punctuation."
            )
    letters = shrunk(_darkness("\n".join(_lines(text)))) >= 0.5
    return ink(f"word:{text}", f"“{text}”", f"Uniform on the letters of “{text}”.", letters)


def _lines(text: str) -> list[str]:
    """The text in lines of at most LINE letters; longer words are split into equal parts."""
    parts = []
    for part in text.split():
        pieces = -(-len(part) // LINE)
        parts.append(" ".join(textwrap.wrap(part, -(-len(part) // pieces))))
    return textwrap.wrap(" ".join(parts), LINE, break_on_hyphens=False)


def _darkness(text: str) -> NDArray[np.floating]:
    """The text as darkness from 0 to 1 without margins, (height, width)."""
    style = {"font": _font(), "align": "center", "spacing": SIZE // 8, "stroke_width": SIZE // 40}
    measure = ImageDraw.Draw(Image.new("L", (1, 1)))
    left, top, right, bottom = measure.multiline_textbbox((0, 0), text, **style)
    image = Image.new("L", (int(right - left) + 2, int(bottom - top) + 2))
    ImageDraw.Draw(image).multiline_text((1 - left, 1 - top), text, fill=255, **style)
    return np.asarray(image.crop(image.getbbox()), dtype=np.float32) / 255


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=SIZE)


def _is_drawable(letter: str) -> bool:
    """Whether the font has the letter; a missing letter is drawn blank or as a fixed box."""
    return letter.isprintable() and _mask(letter) not in (b"", _mask("\U0010ffff"))


def _mask(letter: str) -> bytes:
    # The stubs do not state that it is a sequence of pixels.
    return bytes(_font().getmask(letter))  # pyright: ignore[reportArgumentType]
