"""Canvases: pictures that the browser draws, with their data format and without Streamlit.

`js/` holds the sources as ES modules, `built/` one minified script per canvas (made by
`npm run build` in .github/js and committed, so that users need no Node), `markup/` HTML and CSS.
The Python modules pack data for one canvas each, in the format of `wire`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flowviz.figures import theme

_HERE = Path(__file__).parent


def assets(name: str) -> dict[str, str]:
    """HTML, CSS and JavaScript of the canvas `name`; the script is an ES module.

    Its default export `mount({data, parentElement, setStateValue, setTriggerValue})` shows data in
    the HTML below `parentElement` and returns a function that ends this.
    """
    return {
        "html": _text("markup", f"{name}.html"),
        "css": "\n".join(_text("markup", f"{each}.css") for each in ("tokens", "canvas", name)),
        "js": _text("built", f"{name}.js"),
    }


def tokens() -> str:
    """The measures of the design as CSS variables, which every canvas and page has."""
    return _text("markup", "tokens.css")


def themes(entries: Callable[[bool], Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The colours of both themes by name; the canvas selects by the background of the page.

    Args:
        entries: entries besides the colours of all figures, given whether the theme is dark.
    """
    return {
        name: {
            "paper": theme.PAPER[dark],
            "ink": theme.INK[dark],
            "muted": theme.MUTED[dark],
            "grid": theme.GRID[dark],
            "hair": theme.HAIR[dark],
            **entries(dark),
        }
        for name, dark in (("light", False), ("dark", True))
    }


def _text(folder: str, name: str) -> str:
    return (_HERE / folder / name).read_text(encoding="utf-8")
