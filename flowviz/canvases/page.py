"""Pages of one file: they open without a server and request nothing from a host."""

import base64
import gzip
import json
from collections.abc import Iterable, Sequence
from html import escape
from string import Template
from typing import Literal

from flowviz import __version__
from flowviz.canvases import assets

Mount = tuple[str, bytes]
"""The name of a canvas, see `assets`, and its payload in the format of `wire`; b"" if the canvas
before it mounts it."""


def page(
    title: str,
    body: str,
    *,
    canvases: Sequence[Mount] = (),
    nav: str = "",
    scheme: Literal["auto", "light"] = "auto",
) -> bytes:
    """A page as HTML in UTF-8.

    Args:
        title: plain text.
        body: HTML below the title, which contains `canvas_html(canvases)`.
        canvases: in the order of their places; the scenes of a player stand before it.
        nav: HTML above the title.
        scheme: "auto" follows the theme of the reader's system.
    """
    files = {name: assets(name) for name, _ in canvases}
    page_assets = assets("page")
    scripts = ""
    if canvases:
        content = {
            "scripts": {name: each["js"] for name, each in files.items()},
            "mounts": [{"canvas": name, "payload": as_text(data)} for name, data in canvases],
        }
        # A "<" in the data could end the script.
        data = json.dumps(content, ensure_ascii=False).replace("<", "\\u003c")
        scripts = (
            f'<script type="application/json" id="canvases">{data}</script>\n'
            f'<script type="module">{page_assets["js"]}</script>'
        )
    filled = Template(page_assets["html"]).substitute(
        title=escape(title),
        body=body,
        nav=nav,
        style="\n".join(each["css"] for each in (page_assets, *files.values())),
        scripts=scripts,
        scheme=scheme,
        version=__version__,
    )
    return filled.encode()


def canvas_html(canvases: Iterable[Mount]) -> str:
    """The HTML of canvases, in order."""
    return "\n".join(
        f'<div class="canvas-place">{assets(name)["html"]}</div>' for name, _ in canvases
    )


def as_text(payload: bytes) -> str:
    """A payload as gzip in base64, "" for none; equal payloads give equal texts."""
    if not payload:
        return ""
    return base64.b64encode(gzip.compress(payload, mtime=0)).decode()
