"""The plot in which a visitor shapes a schedule, by dragging its points or with the keyboard."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from flowviz.figures import theme
from flowviz.schedulers import Shaped
from flowviz.ui.canvas import component, themes

__all__ = ["Values", "shaper"]

Values = tuple[tuple[float, ...], tuple[float, ...]]
"""alpha and sigma at `Shaped.KNOTS`."""

_shaper = component("flowviz_shaper", Path(__file__).parent / "shaper")


def shaper(
    shape: Shaped, presets: Mapping[str, Values], *, key: str, on_change: Callable[[Values], None]
) -> None:
    """Draws the plot; a point that is let go calls `on_change` before the page runs again.

    Args:
        shape: where the points stand.
        presets: values to start from, by the label of their button.
        key: unique on the page.
        on_change: told all the values.
    """
    alpha, sigma = shape.values
    shown = {
        "alpha": alpha,
        "sigma": sigma,
        "least": Shaped.LEAST_STEP,
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

    def heard() -> None:
        values = _values(st.session_state[key].get("shape"))
        if values is not None:
            on_change(values)

    _shaper(key=key, data=shown, on_shape_change=heard)


def _values(report: Any) -> Values | None:
    """The browser's report as values; what is not twice four numbers is not believed."""
    try:
        alpha, sigma = (tuple(float(v) for v in report[name]) for name in ("alpha", "sigma"))
    except (KeyError, TypeError, ValueError):
        return None
    return (alpha, sigma) if _fits(alpha) and _fits(sigma) else None


def _fits(values: Sequence[float]) -> bool:
    return len(values) == len(Shaped.KNOTS)
