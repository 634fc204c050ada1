"""The pad for drawing data or placing Gaussians with mouse, touch or keyboard."""

from collections.abc import Sequence
from typing import Any

from flowviz.canvases import themes
from flowviz.figures import theme
from flowviz.ui.canvas import component, listen

Points = list[tuple[float, float]]

_pad = component("flowviz_pad", "pad")


def draw_pad(
    points: Sequence[Sequence[float]], *, min_points: int, max_points: int, key: str
) -> Points | None:
    """The points along the user's strokes in the run after Apply, else None.

    Args:
        points: shown faintly, to draw over.
        min_points: smallest number of points at which Apply is enabled.
        max_points: largest number of returned points.
        key: unique on the page.
    """
    hint = "" if len(points) else "Draw here"
    content = {"mode": "strokes", "points": [[round(float(v), 3) for v in p] for p in points]}
    result = _mounted(
        key, {**content, "means": [], "least": min_points, "most": max_points, "hint": hint}
    )
    return _points(result.get("drawing"))


def means_pad(means: Points, *, std: float, max_means: int, key: str) -> Points | None:
    """The means in the run after a change, else None.

    Args:
        means: of the Gaussians.
        std: their standard deviation, drawn as rings.
        max_means: largest number of means.
        key: unique on the page.
    """
    content = {"mode": "means", "means": [list(mean) for mean in means], "std": std}
    result = _mounted(key, {**content, "points": [], "least": 1, "most": max_means, "hint": ""})
    return _points(result.get("means"))


def _mounted(key: str, content: dict[str, Any]) -> Any:
    content["frame"] = theme.FRAME
    content["theme"] = themes(lambda dark: {"data": theme.colour("data", dark=dark)})
    return _pad(key=key, data=content, on_drawing_change=listen, on_means_change=listen)


def _points(report: Any) -> Points | None:
    """The browser's report as points, or None if it is invalid."""
    if not isinstance(report, list):
        return None
    try:
        return [(float(x), float(y)) for x, y in report]
    except (TypeError, ValueError):
        return None
