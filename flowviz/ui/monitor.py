"""The training monitor on a page: live samples next to live curves.

It is drawn in the browser from one small payload per second, since each update of a Plotly figure
takes about 0.3 s.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from flowviz.canvases import themes
from flowviz.canvases.wire import class_entries, encode, quantised, role_of
from flowviz.experiments.live import QUALITY, Snapshot, Trace
from flowviz.figures import theme
from flowviz.metrics import METRICS
from flowviz.ui import state as controls
from flowviz.ui.canvas import component

LIMIT = 7.5
"""Points further out are drawn at this distance, outside the frame."""
RESERVE = 440
"""Height in pixels that a page needs besides the planes, so that all fits in a window."""

LOSS_TITLE = "loss, not comparable between paths"
EXCESS_TITLE = "loss − irreducible floor"
FLOOR_LABEL = "two samples of the data"

MonitorState = Literal["empty", "live", "ended"]

_monitor = component("flowviz_monitor", "monitor")


def monitor(payload: bytes, *, key: str) -> None:
    """Draws a payload of `pack`; later payloads with the same key update the picture."""
    _monitor(key=key, data=payload)


def pack(
    snapshot: Snapshot | None,
    *,
    run: str,
    state: MonitorState,
    panels: Sequence[tuple[str, str]],
    data: NDArray[np.float32],
    steps: int,
    classes: NDArray[np.int64] | None = None,
    class_names: Sequence[str] = (),
    floor: bool = True,
    message: str = "",
) -> bytes:
    """The payload of a training.

    Args:
        snapshot: of the training; None before there is one.
        run: identifies the training, so that the picture of another one starts anew.
        state: if "ended", the slider moves over the frames of the snapshot.
        panels: path and label of each panel before the first snapshot.
        data: points of the data set, (n, 2).
        steps: of the whole training.
        classes: the class of each point, (n,), which gives its colour; None without classes.
        class_names: their names.
        floor: whether the losses can have a floor.
        message: shown in panels without samples.
    """
    ended = state == "ended"
    traces = snapshot.traces if snapshot else ()
    frames: Sequence[Sequence[NDArray]] = [[] for _ in panels]
    if snapshot and traces:
        panels = [(trace.path, trace.label) for trace in traces]
        frames = [[] if trace.samples is None else [trace.samples] for trace in traces]
        if ended:
            frames = list(zip(*snapshot.frames, strict=True)) or [[] for _ in traces]
    return encode(
        {
            "kind": "monitor",
            "run": run,
            "state": state,
            "step": snapshot.step if snapshot else 0,
            "steps": steps,
            "limit": LIMIT,
            "frame": theme.FRAME,
            "reserve": None if controls.is_restricted() else RESERVE,
            "metric": METRICS[QUALITY].label,
            "message": message,
            "frame_steps": list(snapshot.frame_steps) if snapshot and ended else [],
            "data": _points(data),
            **({} if classes is None else class_entries(classes, class_names)),
            "panels": [
                {
                    "role": role_of(path),
                    "label": label,
                    "frames": _points(np.stack(samples)) if len(samples) else None,
                }
                for (path, label), samples in zip(panels, frames, strict=True)
            ],
            "charts": _charts(traces, floor, snapshot.data_quality if snapshot else None),
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


def _charts(traces: Sequence[Trace], floor: bool, data_quality: float | None) -> dict[str, Any]:
    """The curves of each chart, with a dotted line: the loss, its excess if known, the quality."""
    known = floor and all(trace.excess is not None for trace in traces)
    excess = [_curve(trace, trace.probe_steps, trace.excess) for trace in traces if known]
    titles = {
        "loss": (LOSS_TITLE, [_curve(t, t.steps, t.smoothed, t.floor) for t in traces]),
        "excess": (EXCESS_TITLE, excess),
        "quality": (
            f"{METRICS[QUALITY].label} to the data",
            [_curve(trace, trace.quality_steps, trace.quality) for trace in traces],
        ),
    }
    charts: dict[str, Any] = {
        name: {"title": title, "lines": lines, "floor": None, "floor_label": ""}
        for name, (title, lines) in titles.items()
    }
    charts["quality"] |= {"floor": data_quality, "floor_label": FLOOR_LABEL}
    return charts if known else charts | {"excess": None}


def _curve(
    trace: Trace, x: NDArray, y: NDArray | None, floor: float | None = None
) -> dict[str, Any]:
    """A curve to five digits, without the values that are not finite."""
    assert y is not None
    finite = np.isfinite(y)
    return {
        "role": role_of(trace.path),
        "label": trace.label,
        "x": x[finite].tolist(),
        "y": [float(f"{value:.5g}") for value in y[finite]],
        "floor": floor,
    }
