"""The pad on which a visitor draws data, or places Gaussians, with mouse, touch or keyboard."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flowviz.figures import theme
from flowviz.ui.canvas import component, themes

__all__ = ["draw_pad", "means_pad"]

Points = list[tuple[float, float]]

_pad = component("flowviz_pad", Path(__file__).parent / "pad")


def draw_pad(
    points: Sequence[Sequence[float]], *, least: int, most: int, key: str
) -> Points | None:
    """The points along the visitor's strokes in the run that follows Apply, else None.

    Args:
        points: shown faintly beneath, to draw over.
        least: points without which Apply cannot be pressed.
        most: points that are taken.
        key: unique on the page.
    """
    hint = "" if len(points) else "Draw here"
    shown = {"mode": "strokes", "points": [[round(float(v), 3) for v in p] for p in points]}
    result = _mounted(key, {**shown, "means": [], "least": least, "most": most, "hint": hint})
    return _points(result.get("drawing"))


def means_pad(means: Points, *, std: float, most: int, key: str) -> Points | None:
    """The means in the run that follows a change of theirs, else None.

    Args:
        means: where the Gaussians stand.
        std: their standard deviation, drawn as rings.
        most: how many there may be.
        key: unique on the page.
    """
    shown = {"mode": "means", "means": [list(mean) for mean in means], "std": std}
    result = _mounted(key, {**shown, "points": [], "least": 1, "most": most, "hint": ""})
    return _points(result.get("means"))


def _mounted(key: str, shown: dict[str, Any]) -> Any:
    shown["frame"] = theme.FRAME
    shown["theme"] = themes(lambda dark: {"data": theme.colour("data", dark=dark)})
    return _pad(key=key, data=shown, on_drawing_change=_heard, on_means_change=_heard)


def _heard() -> None:
    """Streamlit delivers a trigger only if somebody listens."""


def _points(report: Any) -> Points | None:
    """The browser's report as points; what is not a list of pairs of numbers is not believed."""
    if not isinstance(report, list):
        return None
    try:
        return [(float(x), float(y)) for x, y in report]
    except (TypeError, ValueError):
        return None
