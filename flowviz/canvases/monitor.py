"""Data of the training monitor: samples and curves, at the end of a training over all steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from flowviz.canvases import themes
from flowviz.canvases.wire import class_entries, encode, quantised, role_of
from flowviz.figures import theme

LIMIT = 7.5
"""Points further out are drawn at this distance, outside the frame."""
RESERVE = 440
"""Height in pixels that a page needs beside the planes, so that all fits in a window."""

MonitorState = Literal["empty", "live", "ended"]


@dataclass(frozen=True)
class Samples:
    """One panel: the samples of a path, from noise that is the same every time."""

    path: str
    """Spec of the path, which gives the colour."""
    label: str
    frames: Sequence[NDArray[np.float32]] = ()
    """Arrays (n, 2), oldest first; the last one is shown while the training runs."""


@dataclass(frozen=True)
class Curve:
    """A curve over training steps; values that are not finite are left out."""

    path: str
    label: str
    x: NDArray[np.int64]
    y: NDArray[np.float64]
    floor: float | None = None
    """A value drawn as a dotted line."""


@dataclass(frozen=True)
class Chart:
    """Curves under one title, with a dotted line of their own."""

    title: str
    curves: Sequence[Curve]
    floor: float | None = None
    floor_label: str = ""


def pack(
    panels: Sequence[Samples],
    charts: dict[str, Chart | None],
    *,
    run: str,
    state: MonitorState,
    step: int,
    steps: int,
    data: NDArray[np.float32],
    classes: NDArray[np.int64] | None = None,
    class_names: Sequence[str] = (),
    metric: str = "",
    message: str = "",
    frame_steps: Sequence[int] = (),
    reserve: int | None = RESERVE,
) -> bytes:
    """The payload of the monitor.

    Args:
        panels: one per path.
        charts: "loss", "excess" (None if unknown) and "quality", whose values panels show, too.
        run: identifies the training, so that the picture of another one starts anew.
        state: if "ended", the slider moves over the panels' frames.
        step: number of steps so far.
        steps: of the whole training.
        data: points of the data set, (n, 2).
        classes: the class of each point, (n,), which gives its colour; None without classes.
        class_names: their names.
        metric: name of the quality.
        message: shown in panels without samples.
        frame_steps: steps of the frames, if "ended".
        reserve: height in pixels that the page needs beside the planes; None in a lecture.
    """
    return encode(
        {
            "kind": "monitor",
            "run": run,
            "state": state,
            "step": step,
            "steps": steps,
            "limit": LIMIT,
            "frame": theme.FRAME,
            "reserve": reserve,
            "metric": metric,
            "message": message,
            "frame_steps": list(frame_steps),
            "data": _points(data),
            **({} if classes is None else class_entries(classes, class_names)),
            "panels": [
                {
                    "role": role_of(panel.path),
                    "label": panel.label,
                    "frames": _points(np.stack(panel.frames)) if panel.frames else None,
                }
                for panel in panels
            ],
            "charts": {name: chart and _chart(chart) for name, chart in charts.items()},
            "theme": themes(
                lambda dark: {
                    "roles": {role: pair[dark] for role, pair in theme.ROLES.items()},
                    "classes": theme.class_colours(dark=dark),
                }
            ),
        }
    )


def _points(points: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Points as u16; NaN of a diverged training becomes a point outside the frame."""
    return quantised(np.nan_to_num(points, nan=LIMIT), LIMIT)


def _chart(chart: Chart) -> dict[str, Any]:
    return {
        "title": chart.title,
        "lines": [_curve(curve) for curve in chart.curves],
        "floor": chart.floor,
        "floor_label": chart.floor_label,
    }


def _curve(curve: Curve) -> dict[str, Any]:
    """A curve to five digits."""
    good = np.isfinite(curve.y)
    return {
        "role": role_of(curve.path),
        "label": curve.label,
        "x": curve.x[good].tolist(),
        "y": [float(f"{value:.5g}") for value in curve.y[good]],
        "floor": curve.floor,
    }
