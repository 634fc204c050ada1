"""A word as a data set: samples fall on its letters."""

import textwrap
import unicodedata
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from flowviz.datasets.entry import Dataset
from flowviz.datasets.picture import ink, shrunk

__all__ = ["MOST_LETTERS", "word"]

MOST_LETTERS = 24
LINE = 9
"""The most letters a line: on 64 pixels longer lines cannot be read."""

SIZE = 160
"""The size in pixels at which letters are drawn before they are shrunk to the lattice."""


def word(text: str) -> Dataset:
    """The data set uniform on the letters of a text, one line for up to 9 of them.

    Raises:
        ValueError: the text is empty or too long, or the font lacks one of its letters.
    """
    text = " ".join(unicodedata.normalize("NFC", text).split())
    if not text:
        raise ValueError("A word must have at least one letter; got none. Type one, such as FLOW.")
    if len(text) > MOST_LETTERS:
        raise ValueError(
            f"A word must have at most {MOST_LETTERS} letters; got {len(text)}. Shorten it."
        )
    for letter in text.replace(" ", ""):
        if not _is_drawable(letter):
            raise ValueError(
                f"A word must be of letters that the font can draw; got {letter!r}. "
                "Use Latin letters without accents, digits and punctuation."
            )
    letters = shrunk(_drawn("\n".join(_lines(text)))) >= 0.5
    return ink(f"word:{text}", f"“{text}”", f"Uniform on the letters of “{text}”.", letters)


def _lines(text: str) -> list[str]:
    """The text in lines of at most LINE letters; longer words are cut into even parts."""
    parts = []
    for part in text.split():
        pieces = -(-len(part) // LINE)
        parts.append(" ".join(textwrap.wrap(part, -(-len(part) // pieces))))
    return textwrap.wrap(" ".join(parts), LINE, break_on_hyphens=False)


def _drawn(text: str) -> NDArray[np.float32]:
    """The text as darkness from 0 to 1, cut to its letters, (height, width)."""
    style = {"font": _font(), "align": "center", "spacing": SIZE // 8, "stroke_width": SIZE // 40}
    measure = ImageDraw.Draw(Image.new("L", (1, 1)))
    left, top, right, bottom = measure.multiline_textbbox((0, 0), text, **style)
    image = Image.new("L", (int(right - left) + 2, int(bottom - top) + 2))
    ImageDraw.Draw(image).multiline_text((1 - left, 1 - top), text, fill=255, **style)
    return np.asarray(image.crop(image.getbbox()), dtype=np.float32) / 255


@cache
def _font() -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size=SIZE)


def _is_drawable(letter: str) -> bool:
    """Whether the font has the letter: others are drawn blank or as one and the same box."""
    missing = bytes(_font().getmask("\U0010ffff"))
    return letter.isprintable() and bytes(_font().getmask(letter)) not in (b"", missing)
