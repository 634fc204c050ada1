"""Components of our own: how one is declared, and what they share in the browser.

Streamlit takes a component as one script, one sheet of styles and one piece of HTML, without
neighbours to import from, so that `canvas.js` and `canvas.css` are put in front of each one's own.
A root of the class `ground` has the look, an element `ground-theme` in it tells of a new theme.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from flowviz.figures import theme

__all__ = ["component", "sources", "themes"]

_SHARED = Path(__file__).parent / "canvas"


def component(name: str, stem: Path) -> Callable[..., Any]:
    """The component of the files stem.html, stem.css and stem.js; a call mounts it."""
    return st.components.v2.component(name, **sources(stem))


def sources(stem: Path) -> dict[str, str]:
    """The html, css and js of a component, behind what all share."""
    html, css, js = (_text(stem, kind) for kind in ("html", "css", "js"))
    return {
        "html": html,
        "css": f"{_text(_SHARED, 'css')}\n{css}",
        "js": f"{_text(_SHARED, 'js')}\n{js}",
    }


def themes(more: Callable[[bool], Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The colours of both themes by name, between which a component chooses by the page's own.

    Args:
        more: what a component needs besides the colours of all figures, given whether it is dark.
    """
    return {
        name: {
            "paper": theme.PAPER[dark],
            "ink": theme.INK[dark],
            "muted": theme.MUTED[dark],
            "grid": theme.GRID[dark],
            **more(dark),
        }
        for name, dark in (("light", False), ("dark", True))
    }


def _text(stem: Path, kind: str) -> str:
    return stem.with_suffix(f".{kind}").read_text(encoding="utf-8")
