"""The training monitor on a page: live samples next to live curves.

It is drawn in the browser from one small payload per second, since each update of a Plotly figure
takes about 0.3 s.
"""

import numpy as np
from numpy.typing import NDArray

from flowviz.canvases import monitor as canvas
from flowviz.canvases.monitor import Chart, Curve, MonitorState, Samples
from flowviz.experiments.live import QUALITY, Snapshot
from flowviz.metrics import METRICS
from flowviz.ui import state as controls
from flowviz.ui.canvas import component

LOSS_TITLE = "loss, not comparable between paths"
EXCESS_TITLE = "loss − irreducible floor"
FLOOR_LABEL = "two samples of the data"

_monitor = component("flowviz_monitor", "monitor")


def monitor(payload: bytes, *, key: str) -> None:
    """Draws a payload of `pack`; later payloads with the same key update the picture."""
    _monitor(key=key, data=payload)


def pack(
    snapshot: Snapshot | None,
    *,
    run: str,
    state: MonitorState,
    panels: list[tuple[str, str]],
    data: NDArray[np.float32],
    steps: int,
    classes: NDArray[np.int64] | None = None,
    class_names: tuple[str, ...] = (),
    message: str = "",
) -> bytes:
    """The payload of a training; see `flowviz.canvases.monitor.pack`.

    Args:
        snapshot: of the training; None before there is one.
        panels: path and label of each panel before the first snapshot.
    """
    traces = snapshot.traces if snapshot else ()
    ended = state == "ended"
    shown = [Samples(*panel) for panel in panels]
    if snapshot and traces:
        newest = [[] if t.samples is None else [t.samples] for t in traces]
        past = [[frame[j] for frame in snapshot.frames] for j in range(len(traces))]
        frames = past if ended else newest
        shown = [Samples(t.path, t.label, each) for t, each in zip(traces, frames, strict=True)]
    excess = [
        Curve(t.path, t.label, t.probe_steps, t.excess) for t in traces if t.excess is not None
    ]
    return canvas.pack(
        shown,
        {
            "loss": Chart(
                LOSS_TITLE, [Curve(t.path, t.label, t.steps, t.smoothed, t.floor) for t in traces]
            ),
            "excess": Chart(EXCESS_TITLE, excess) if len(excess) == len(traces) else None,
            "quality": Chart(
                f"{METRICS[QUALITY].label} to the data",
                [Curve(t.path, t.label, t.quality_steps, t.quality) for t in traces],
                snapshot.data_quality if snapshot else None,
                FLOOR_LABEL,
            ),
        },
        run=run,
        state=state,
        step=snapshot.step if snapshot else 0,
        steps=steps,
        data=data,
        classes=classes,
        class_names=class_names,
        metric=METRICS[QUALITY].label,
        message=message,
        frame_steps=snapshot.frame_steps if snapshot and ended else (),
        reserve=None if controls.is_restricted() else canvas.RESERVE,
    )
