"""A plot of a schedule whose points are moved by dragging or with the keyboard."""

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from flowviz.canvases import themes
from flowviz.figures import theme
from flowviz.schedulers import Shaped
from flowviz.ui.canvas import component

Values = tuple[tuple[float, ...], tuple[float, ...]]
"""alpha and sigma at `Shaped.KNOTS`."""

_shaper = component("flowviz_shaper", "shaper")


def shaper(
    shape: Shaped, presets: Mapping[str, Values], *, key: str, on_change: Callable[[Values], None]
) -> None:
    """Draws the plot; releasing a point calls `on_change` before the page runs again.

    Args:
        shape: the current schedule.
        presets: values to start from, by the label of their button.
        key: unique on the page.
        on_change: called with all values.
    """
    alpha, sigma = shape.values
    shown = {
        "alpha": alpha,
        "sigma": sigma,
        "least": Shaped.MIN_STEP,
        "presets": [
            {"label": label, "alpha": values[0], "sigma": values[1]}
            for label, values in presets.items()
        ],
        "theme": themes(
            lambda dark: {
                "own": theme.colour("shaped", dark=dark),
                "noise": theme.colour("noise", dark=dark),
            }
        ),
    }

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
