"""Components of our own: how one is declared, and what they share in the browser.

Streamlit takes a component as one script, one sheet of styles and one piece of HTML, without
neighbours to import from, so that `canvas.js` and `canvas.css` are put in front of each one's own.
A root of the class `ground` has the look, an element `ground-theme` in it tells of a new theme.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

__all__ = ["component", "sources"]

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


def _text(stem: Path, kind: str) -> str:
    return stem.with_suffix(f".{kind}").read_text(encoding="utf-8")
