"""Figures of couplings: lines from noise to data with their crossings, and trajectories."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from flowviz.figures import marks, theme
from flowviz.figures.curves import Curve, curves

GAP = 0.025
"""Space between two panels, as a fraction of the width of the figure."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One coupling.

    Attributes:
        title: name of the coupling.
        lines: up to three short lines of text below the title.
        colour: colour of the lines or trajectories.
        states: from noise to data, (T, n, 2); straight lines have T = 2.
        crossings: positions where lines cross, (C, 2); None to draw no crossings.
        at_once: crossings that two particles pass at nearly the same time, (C,) bool.
    """

    title: str
    lines: Sequence[str]
    colour: str
    states: NDArray
    crossings: NDArray | None = None
    at_once: NDArray | None = None


def over_minibatch(
    lines: Sequence[Curve],
    *,
    sizes: Sequence[int],
    y_title: str,
    floor_label: str = "",
    levels: Sequence[tuple[str, float]] = (),
    log_y: bool = False,
) -> go.Figure:
    """Metrics of couplings over the size of the minibatch in which pairs are chosen.

    Args:
        lines: one line for each path.
        sizes: all sizes, marked on the axis.
        y_title: title of the vertical axis.
        floor_label: what the floors of the lines are.
        levels: labels and values of horizontal lines, the first dashed, others dotted.
        log_y: whether the vertical axis is logarithmic.
    """
    figure = curves(
        lines,
        x_title="minibatch size in pairs (1: independent)",
        y_title=y_title,
        floor_label=floor_label,
        log_x=True,
        log_y=log_y,
        markers=True,
        x_ticks=sizes,
    )
    for k, (label, value) in enumerate(levels):
        pair, dash = (theme.MUTED, "dot") if k else (theme.INK, "dash")
        ends = sizes[0], sizes[-1]
        figure.add_scatter(**marks.level(ends, value, label, theme.pick(pair), dash, 1.4))
    return figure


def panels(coupling_panels: Sequence[Panel], *, ends: str) -> go.Figure:
    """Panels side by side on linked equal axes; `ends` is the legend entry of the last states.

    The figure is built from one dictionary, because Plotly validates it again at every change.
    """
    half = marks.half_side(*(panel.states for panel in coupling_panels))
    lines = max(1 + len(panel.lines) for panel in coupling_panels)  # of a title
    width = (1 - GAP * (len(coupling_panels) - 1)) / len(coupling_panels)
    layout: dict[str, Any] = {}
    traces, notes = [], []
    for i, panel in enumerate(coupling_panels):
        axis, left = marks.suffix(i), i * (width + GAP)
        span = marks.square(half, tickvals=marks.TICKS)
        layout[f"xaxis{axis}"] = span | {
            "domain": [left, min(left + width, 1)],
            "anchor": f"y{axis}",
        }
        layout[f"yaxis{axis}"] = span | {
            "anchor": f"x{axis}",
            "showticklabels": i == 0,
            "constraintoward": "top",
            "scaleanchor": f"x{axis}",
        }
        if i:  # links zoom and pan
            layout[f"xaxis{axis}"]["matches"] = "x"
            layout[f"yaxis{axis}"] |= {"matches": "y"}
        panel_traces = _marks(panel, ends, first=i == 0)
        traces += [trace | marks.panel_axes(i) for trace in panel_traces]
        notes.append(
            {
                "text": "<br>".join([f"<b>{panel.title}</b>", *panel.lines]),
                "x": left + width / 2,
                "y": 1,
                "xref": "paper",
                "yref": "paper",
                "xanchor": "center",
                "yanchor": "bottom",
                "yshift": 4,
                "showarrow": False,
                "font": {"size": 12, "color": theme.pick(theme.INK)},
            }
        )
    layout |= {
        "template": theme.template(),
        "annotations": notes,
        "height": 372,
        "margin": {"l": 32, "r": 8, "t": 48 + 16 * lines, "b": 24},
        # At the top: in a narrow window the panels end far above the bottom of the figure.
        "legend": {"y": 1, "yref": "container", "yanchor": "top"},
    }
    return go.Figure({"data": traces, "layout": layout})


def _marks(panel: Panel, ends: str, *, first: bool) -> list[dict[str, Any]]:
    """Lines, end points and crossings; only those of the first panel are in the legend."""
    line = marks.polyline(panel.states)
    noise, data = (theme.colour(role) for role in ("noise", "data"))
    point_sets = [
        ("noise x<sub>0</sub>", panel.states[0], {"size": 5, "color": noise}),
        (ends, panel.states[-1], {"size": 5, "color": data}),
    ]
    if panel.crossings is not None and panel.at_once is not None:
        ink, edge = theme.pick(theme.INK), {"width": 0.8, "color": theme.pick(theme.MUTED)}
        hollow = {"size": 3.5, "color": theme.pick(theme.PAPER), "line": edge}
        crossing_label, filled = "lines cross at nearly the same time", {"size": 4, "color": ink}
        point_sets.append(("lines cross", panel.crossings[~panel.at_once], hollow))
        point_sets.append((crossing_label, panel.crossings[panel.at_once], filled))
    nowhere = np.array([[None, None]])  # keeps the entry of the legend
    return [
        marks.line(line, theme.rgba(panel.colour, 0.6), showlegend=False),
        *(
            marks.points(
                positions if len(positions) else nowhere,
                mark,
                name=name,
                legendgroup=name,
                showlegend=first,
            )
            for name, positions, mark in point_sets
        ),
    ]
