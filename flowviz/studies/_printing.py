"""Vector files of figures: the description of an SVG or PNG file, and PDF with embedded fonts.

Plotly's own exporter prints PDF with a margin that cuts the right and the lower edge.
"""

import struct
import subprocess
import zlib
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

from choreographer.browsers.chromium import Chromium

SECONDS = 120
"""Time that a browser may take to print a page."""


def can_print() -> bool:
    """Whether this machine has the browser that prints PDF."""
    return Chromium.find_browser(skip_local=False) is not None


def described(content: bytes, suffix: str, description: str) -> bytes:
    """An SVG or PNG file with a description, which image viewers show."""
    return _svg(content, description) if suffix == "svg" else _png(content, description)


def pdf(svg: bytes, width: float, height: float, description: str) -> bytes:
    """An SVG picture as a PDF page of its size; Chrome embeds the fonts.

    Args:
        svg: the picture, whose width and height attributes are those below.
        width: in CSS pixels.
        height: in CSS pixels.
        description: what the picture shows and how it was made; the title of the page.

    Raises:
        OSError, subprocess.SubprocessError: the browser is missing or failed.
    """
    page = (
        f"<!doctype html><meta charset=utf-8><title>{escape(description)}</title><style>"
        f"@page {{ size: {width}px {height}px; margin: 0 }} body {{ margin: 0 }}"
        f"img {{ display: block; width: {width}px; height: {height}px }}</style>"
        "<img src=figure.svg>"
    )
    browser = Chromium.find_browser(skip_local=False)
    if browser is None:
        raise OSError("Chrome was not found.")
    with TemporaryDirectory() as folder:
        source, out = Path(folder, "page.html"), Path(folder, "page.pdf")
        source.write_text(page)
        Path(folder, "figure.svg").write_bytes(svg)
        options = ["--headless", "--no-sandbox", "--no-pdf-header-footer"]
        subprocess.run(
            [browser, *options, f"--print-to-pdf={out}", source.as_uri()],
            check=True,
            capture_output=True,
            timeout=SECONDS,
        )
        return out.read_bytes()


def _svg(content: bytes, description: str) -> bytes:
    head, end, rest = content.partition(b">")
    return head + end + f"<desc>{escape(description)}</desc>".encode() + rest


def _png(content: bytes, description: str) -> bytes:
    """A text chunk before the last chunk (PNG specification, section 11.3.3)."""
    data = b"Description\0\0\0\0\0" + description.encode()
    chunk = b"iTXt" + data
    length, check = struct.pack(">I", len(data)), struct.pack(">I", zlib.crc32(chunk))
    return content[:-12] + length + chunk + check + content[-12:]
