"""A plot of a schedule whose points are moved by dragging or with the keyboard."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from flowviz.canvases import shaper as canvas
from flowviz.canvases.shaper import Values
from flowviz.experiments.schedules import presets
from flowviz.schedulers import Shaped
from flowviz.ui.canvas import component

_shaper = component("flowviz_shaper", "shaper")


@st.cache_data(show_spinner=False)
def _content(values: Values) -> dict[str, Any]:
    return canvas.content(values, presets(), least=Shaped.MIN_STEP)


def shaper(shape: Shaped, *, key: str, on_change: Callable[[Values], None]) -> None:
    """Draws the plot; releasing a point calls `on_change` before the page runs again.

    Args:
        shape: the current schedule.
        key: unique on the page.
        on_change: called with all values.
    """
    shown = _content(shape.values)

    def changed() -> None:
        values = _values(st.session_state[key].get("shape"))
        if values is not None:
            on_change(values)

    _shaper(key=key, data=shown, on_shape_change=changed)


def _values(report: Any) -> Values | None:
    """The browser's report as values, or None if it is invalid."""
    try:
        alpha, sigma = (tuple(float(v) for v in report[name]) for name in ("alpha", "sigma"))
    except (KeyError, TypeError, ValueError):
        return None
    return (alpha, sigma) if len(alpha) == len(sigma) == len(Shaped.KNOTS) else None
