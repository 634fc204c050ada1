"""Data of the plot in which a schedule is shaped."""

from collections.abc import Mapping
from typing import Any

from flowviz.canvases import themes
from flowviz.figures import theme

Values = tuple[tuple[float, ...], tuple[float, ...]]
"""alpha and sigma at the inner knots."""


def content(shape: Values, presets: Mapping[str, Values], *, min_step: float) -> dict[str, Any]:
    """What the canvas shows.

    Args:
        shape: the current schedule.
        presets: values to start from, by the label of their button.
        min_step: the smallest change from one knot to the next.
    """
    alpha, sigma = shape
    return {
        "alpha": alpha,
        "sigma": sigma,
        "least": min_step,
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
