"""The curves of a finished training, as figures to read, zoom and export."""

from dataclasses import asdict

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from flowviz.experiments.live import QUALITY, Snapshot
from flowviz.figures import curves, theme
from flowviz.metrics import METRICS
from flowviz.ui import downloads, figure
from flowviz.ui.theme import is_dark
from flowviz.ui.train.running import Training, described, paths_of, snapshot_of, training


def figures() -> None:
    """The curves of a finished training, as figures to read, zoom and export."""
    current = training()
    snapshot = None if current is None or current.work.live else snapshot_of(current)
    if current is None or snapshot is None or not snapshot.step:
        return
    st.subheader("Training curves")
    known = all(trace.excess is not None for trace in snapshot.traces)
    left, right = st.columns(2)
    with left, theme.using(dark=is_dark()):
        _curve(current, snapshot, "excess" if known else "loss")
    with right, theme.using(dark=is_dark()):
        _curve(current, snapshot, "quality")


def _curve(current: Training, snapshot: Snapshot, quantity: str) -> None:
    metric = METRICS[QUALITY].label
    x_of = {"excess": "probe_steps", "loss": "steps", "quality": "quality_steps"}[quantity]
    y_of = {"excess": "excess", "loss": "smoothed", "quality": "quality"}[quantity]
    title = {"excess": "loss − irreducible floor", "loss": "loss", "quality": metric}[quantity]
    lines = [
        curves.Curve(
            label=trace.label,
            colour=theme.path_colour(trace.path),
            x=getattr(trace, x_of),
            y=getattr(trace, y_of),
            floor={"excess": None, "loss": trace.floor, "quality": snapshot.data_quality}[
                quantity
            ],
        )
        for trace in snapshot.traces
    ]
    figure.show(
        curves.curves(
            lines,
            x_title="training step",
            y_title=title,
            floor_label="two samples of the data"
            if quantity == "quality"
            else "irreducible floor",
            log_y=True,
        ),
        f"train-{quantity}",
        title=f"{title} of {described(current)}",
        alt=f"{title} over training steps: "
        + "; ".join(f"{line.label} ends at {line.y[-1]:.3g}" for line in lines if len(line.y)),
        files=[
            downloads.csv(
                asdict(current.token[0]) | {"path": ", ".join(paths_of(current.token))},
                lambda: _columns(lines),
            )
        ],
        filename=f"training-{quantity}",
    )


def _columns(lines: list[curves.Curve]) -> dict[str, NDArray]:
    """The lines below each other: path, step and value."""
    return {
        "path": np.concatenate([np.full(len(line.x), line.label) for line in lines]),
        "step": np.concatenate([line.x for line in lines]),
        "value": np.concatenate([line.y for line in lines]),
    }
