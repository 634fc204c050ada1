"""Canvases on Streamlit pages."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from flowviz.canvases import assets


def component(name: str, canvas: str) -> Callable[..., Any]:
    """The Streamlit component `name` of a canvas of flowviz.canvases; a call mounts it."""
    return st.components.v2.component(name, **assets(canvas))


def listen() -> None:
    """A callback without effect; Streamlit drops a component's value that has no callback."""
