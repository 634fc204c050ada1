"""Canvases on Streamlit pages."""

from collections.abc import Callable
from typing import Any

from streamlit.components import v2

from flowviz.canvases import assets


def component(name: str, canvas: str) -> Callable[..., Any]:
    """The Streamlit component `name` of a canvas of flowviz.canvases; a call mounts it."""
    parts = assets(canvas)
    return v2.component(name, html=parts["html"], css=parts["css"], js=parts["js"])


def listen() -> None:
    """A callback without effect; Streamlit drops a component's value that has no callback."""
