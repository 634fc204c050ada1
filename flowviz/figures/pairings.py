"""Figures of couplings: lines from noise to data with their crossings, and trajectories."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from numpy.typing import NDArray

from flowviz.figures import theme
from flowviz.figures.curves import Curve, curves
from flowviz.figures.plane import TICKS, polyline, reach

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

    def __post_init__(self) -> None:
        if self.states.ndim != 3 or self.states.shape[2] != 2 or len(self.states) < 2:
            raise ValueError(f"states must have shape (T, n, 2), T > 1; got {self.states.shape}.")


def over_minibatch(
    lines: Sequence[Curve],
    *,
    sizes: Sequence[int],
    y_title: str,
    floor_label: str = "",
    levels: Sequence[tuple[str, float]] = (),
    log_y: bool = False,
    dark: bool = False,
) -> go.Figure:
    """Metrics of couplings over the size of the minibatch in which pairs are chosen.

    Args:
        lines: one line for each path.
        sizes: all sizes, marked on the axis.
        y_title: title of the vertical axis.
        floor_label: what the floors of the lines are.
        levels: labels and values of horizontal lines, the first dashed, others dotted.
        log_y: whether the vertical axis is logarithmic.
        dark: the theme.
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
        dark=dark,
    )
    for k, (label, value) in enumerate(levels):
        figure.add_scatter(
            x=[sizes[0], sizes[-1]],
            y=[value, value],
            mode="lines",
            line={
                "color": (theme.MUTED if k else theme.INK)[dark],
                "width": 1.4,
                "dash": "dot" if k else "dash",
            },
            name=label,
            hovertemplate=f"%{{y:.4g}}<extra>{label}</extra>",
        )
    return figure


def panels(shown: Sequence[Panel], *, ends: str, dark: bool = False) -> go.Figure:
    """Panels side by side on linked equal axes; `ends` is the legend entry of the last states.

    The figure is built from one dictionary, because Plotly validates it again at every change.
    """
    if not shown:
        raise ValueError("There must be at least one panel to draw; got none.")
    half = reach(*(panel.states for panel in shown))
    wide = (1 - GAP * (len(shown) - 1)) / len(shown)
    layout: dict[str, Any] = {}
    traces, notes = [], []
    for i, panel in enumerate(shown):
        axis, left = "" if i == 0 else str(i + 1), i * (wide + GAP)
        span = {
            "range": [-half, half],
            "tickvals": TICKS,
            "showgrid": False,
            "constrain": "domain",
        }
        layout[f"xaxis{axis}"] = span | {
            "domain": [left, min(left + wide, 1)],
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
        on = {"xaxis": f"x{axis}", "yaxis": f"y{axis}"}
        traces += [trace | on for trace in _marks(panel, ends, first=i == 0, dark=dark)]
        notes.append(
            {
                "text": "<br>".join([f"<b>{panel.title}</b>", *panel.lines]),
                "x": left + wide / 2,
                "y": 1,
                "xref": "paper",
                "yref": "paper",
                "xanchor": "center",
                "yanchor": "bottom",
                "yshift": 4,
                "showarrow": False,
                "font": {"size": 12, "color": theme.INK[dark]},
            }
        )
    layout |= {
        "template": theme.template(dark=dark),
        "annotations": notes,
        "height": 372,
        "margin": {"l": 32, "r": 8, "t": 108, "b": 24},
        # At the top: in a narrow window the panels end far above the bottom of the figure.
        "legend": {"y": 1, "yref": "container", "yanchor": "top"},
    }
    return go.Figure({"data": traces, "layout": layout})


def _marks(panel: Panel, ends: str, *, first: bool, dark: bool) -> list[dict[str, Any]]:
    """Lines, end points and crossings; only those of the first panel are in the legend."""
    line = polyline(panel.states)
    noise, data = (theme.colour(role, dark=dark) for role in ("noise", "data"))
    shared = {"type": "scatter", "hoverinfo": "skip", "showlegend": first}
    found: list[dict[str, Any]] = [
        shared
        | {
            "x": line[:, 0],
            "y": line[:, 1],
            "mode": "lines",
            "line": {"color": theme.rgba(panel.colour, 0.6), "width": 1},
            "showlegend": False,
        }
    ]
    for name, points, colour in (
        ("noise x<sub>0</sub>", panel.states[0], noise),
        (ends, panel.states[-1], data),
    ):
        found.append(
            shared
            | {
                "x": points[:, 0],
                "y": points[:, 1],
                "mode": "markers",
                "marker": {"size": 5, "color": colour},
                "name": name,
                "legendgroup": name,
            }
        )
    if panel.crossings is None or panel.at_once is None:
        return found
    ink, muted = theme.INK[dark], theme.MUTED[dark]
    for name, chosen, mark in (
        (
            "lines cross",
            ~panel.at_once,
            {"size": 3.5, "color": theme.PAPER[dark], "line": {"width": 0.8, "color": muted}},
        ),
        ("lines cross at nearly the same time", panel.at_once, {"size": 4, "color": ink}),
    ):
        points = panel.crossings[chosen]
        found.append(
            shared
            | {
                "x": points[:, 0] if len(points) else [None],
                "y": points[:, 1] if len(points) else [None],
                "mode": "markers",
                "marker": mark,
                "name": name,
                "legendgroup": name,
            }
        )
    return found
