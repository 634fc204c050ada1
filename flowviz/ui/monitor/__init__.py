"""The training monitor: live samples beside live curves, in one light canvas component.

    monitor(pack(...), key="monitor")

It is drawn by the browser from one small payload a second, since a Plotly figure takes about 0.3 s
for every change; when training has ended, the same curves are also there as Plotly figures.

A payload is the length of a JSON head (uint32), the head, and points: uint16 over [-LIMIT, LIMIT].
"""

import json
import struct
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from flowviz.experiments.live import QUALITY, Snapshot, Trace
from flowviz.figures import theme
from flowviz.metrics import METRICS
from flowviz.ui.canvas import component, themes

__all__ = ["EXCESS_TITLE", "LOSS_TITLE", "MonitorState", "monitor", "pack"]

LIMIT = 7.5
"""Points further out are drawn at this distance, which the frame does not show."""
RESERVE = 440
"""Height in pixels that a page needs beside the planes, so that all fits in a window."""
LOSS_TITLE = "loss, not comparable between paths"
EXCESS_TITLE = "loss − irreducible floor"
FLOOR_LABEL = "two samples of the data"

MonitorState = Literal["empty", "live", "ended"]

_monitor = component("flowviz_monitor", Path(__file__).parent / "monitor")


def monitor(payload: bytes, *, key: str) -> None:
    """Draws a payload of `pack`; a later payload under the same key moves the same picture on."""
    _monitor(key=key, data=payload)


def pack(
    snapshot: Snapshot | None,
    *,
    run: str,
    state: MonitorState,
    panels: list[tuple[str, str]],
    data: NDArray[np.float32],
    steps: int,
    message: str = "",
) -> bytes:
    """What the monitor shows, in bytes.

    Args:
        snapshot: of the training; None before there is any.
        run: which training it is, so that the picture of another one starts anew.
        state: when "ended", all live samples of the past are sent along, to be scrubbed over.
        panels: path and label of each panel, for the time before the first snapshot.
        data: points to draw beneath, (n, 2).
        steps: of the whole training.
        message: shown in panels that have no samples yet.
    """
    blobs: list[bytes] = []

    def points(x: NDArray[np.float32]) -> dict[str, int]:
        words = np.round((np.clip(x, -LIMIT, LIMIT) + LIMIT) / (2 * LIMIT) * 65535)
        blob = np.nan_to_num(words).astype("<u2").tobytes()
        at = {"offset": sum(map(len, blobs)), "length": x.size}
        blobs.append(blob)
        return at

    traces = snapshot.traces if snapshot else ()
    frames = _frames(snapshot, state)
    head = {
        "run": run,
        "state": state,
        "step": snapshot.step if snapshot else 0,
        "steps": steps,
        "limit": LIMIT,
        "frame": theme.FRAME,
        "reserve": RESERVE,
        "metric": METRICS[QUALITY].label,
        "message": message,
        "frame_steps": list(snapshot.frame_steps) if snapshot and state == "ended" else [],
        "data": points(data),
        "panels": [
            {"role": _role(path), "label": label, "frames": [points(x) for x in frames[j]]}
            for j, (path, label) in enumerate(
                [(trace.path, trace.label) for trace in traces] or panels
            )
        ],
        "charts": _charts(snapshot, traces),
        "theme": themes(
            lambda dark: {"roles": {role: pair[dark] for role, pair in theme.ROLES.items()}}
        ),
    }
    text = json.dumps(head, ensure_ascii=False, allow_nan=False).encode()
    return b"".join([struct.pack("<I", len(text)), text, *blobs])


def _frames(snapshot: Snapshot | None, state: MonitorState) -> list[list[NDArray[np.float32]]]:
    """For each panel its live samples: all of the past when ended, else the newest, if any."""
    if snapshot is None or not snapshot.traces:
        return [[], []]
    if state == "ended":
        return [[frame[j] for frame in snapshot.frames] for j in range(len(snapshot.traces))]
    return [[] if trace.samples is None else [trace.samples] for trace in snapshot.traces]


def _charts(snapshot: Snapshot | None, traces: tuple[Trace, ...]) -> dict[str, Any]:
    known = all(trace.excess is not None for trace in traces)
    return {
        "loss": {
            "title": LOSS_TITLE,
            "lines": [_line(t, t.steps, t.smoothed, floor=t.floor) for t in traces],
        },
        "excess": {
            "title": EXCESS_TITLE,
            "lines": [_line(t, t.probe_steps, t.excess) for t in traces],
        }
        if known
        else None,
        "quality": {
            "title": f"{METRICS[QUALITY].label} to the data",
            "lines": [_line(t, t.quality_steps, t.quality) for t in traces],
            "floor": snapshot.data_quality if snapshot else None,
            "floor_label": FLOOR_LABEL,
        },
    }


def _line(
    trace: Trace,
    x: NDArray[np.int64],
    y: NDArray[np.float64],
    floor: float | None = None,
) -> dict[str, Any]:
    """A curve without the values that are no numbers, to five digits."""
    good = np.isfinite(y)
    return {
        "role": _role(trace.path),
        "label": trace.label,
        "x": x[good].tolist(),
        "y": [float(f"{value:.5g}") for value in y[good]],
        "floor": floor,
    }


def _role(path: str) -> str:
    return path.split(":")[0]
