"""Figures of learned paths: trajectories, and straightness against quality."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from flowviz.figures import marks, theme

ROWS = ("conditional trajectories", "trajectories of the flow")


@dataclass(frozen=True, kw_only=True)
class Column:
    """One path: label, colour, and K states of P conditional and n marginal trajectories."""

    label: str
    colour: str
    conditional: NDArray
    """(K, P, 2)."""
    flow: NDArray
    """(K, n, 2)."""


def trajectories(columns: Sequence[Column], data: NDArray) -> go.Figure:
    """Conditional trajectories (top) and those of the flow (bottom), one column per path.

    All panels have equal axes. Data points (m, 2) are drawn faintly below.
    """
    count = len(columns)
    titles = [column.label for column in columns]
    figure = marks.panels(
        titles,
        170 + 2 * 1000 // max(count, 3),
        yshift=2,
        rows=2,
        shared_xaxes=True,
        shared_yaxes=True,
        horizontal_spacing=0.012,
        vertical_spacing=0.03,
        column_titles=titles,
        subplot_titles=None,
    )
    for k, column in enumerate(columns, start=1):
        for row, states in enumerate((column.conditional, column.flow), start=1):
            for trace in _traces(column, states, data, opacity=(0.8, 0.6)[row - 1]):
                in_legend = "name" in trace and k == row == 1
                figure.add_scatter(**trace, showlegend=in_legend, row=row, col=k)
    half = marks.half_side(*(states for c in columns for states in (c.conditional, c.flow)))
    span = marks.square(half, tickvals=marks.TICKS)
    figure.update_xaxes(**span)
    figure.update_yaxes(**span)
    for axis in figure.select_yaxes():
        axis.update(scaleanchor=axis.anchor)
    figure.update_xaxes(title=marks.X1, row=2)
    for row, name in enumerate(ROWS, start=1):
        figure.update_yaxes(title=f"<b>{name}</b><br>{marks.X2}", row=row, col=1)
    return figure.update_layout(
        margin={"l": 72, "r": 8, "t": 40, "b": 72}, legend={"y": -0.11, "x": 0}
    )


def _traces(
    column: Column, states: NDArray, data: NDArray, *, opacity: float
) -> list[dict[str, Any]]:
    """Data points, trajectories, and their starts and ends, of one panel."""
    hover = {"hovertemplate": f"(%{{x:.2f}}, %{{y:.2f}})<extra>{column.label}</extra>"}
    faint = {"size": 2.5, "color": theme.colour("data"), "opacity": 0.3}
    edge = {"width": 1.2, "color": theme.colour("noise")}
    start = {"size": 5, "color": theme.pick(theme.PAPER), "line": edge}
    end = {"size": 4.5, "color": theme.pick(theme.INK)}
    return [
        marks.points(data, faint, name="data"),
        marks.line(marks.polyline(states), theme.rgba(column.colour, opacity), 1.3),
        marks.points(states[0], start, name="noise", **hover),
        marks.points(states[-1], end, name="end", **hover),
    ]


@dataclass(frozen=True, kw_only=True)
class Spot:
    """One flow: its straightness S, and its excess in nats with a standard error."""

    label: str
    colour: str
    straightness: float
    excess: float
    error: float
    symbol: str = "circle"


def trade(spots: Sequence[Spot], *, y_title: str) -> go.Figure:
    """Excess in nats over straightness S, on a logarithmic axis; lower left is better in both."""
    figure = marks.blank(360)
    for spot in spots:
        figure.add_scatter(
            x=[spot.straightness],
            y=[spot.excess],
            error_y={"type": "data", "array": [2 * spot.error], "thickness": 1.2, "width": 5},
            mode="markers",
            marker={"size": 12, "color": spot.colour, "symbol": spot.symbol},
            name=spot.label,
            hovertemplate="S %{x:.3g}<br>%{y:.4f} nats<extra>" + spot.label + "</extra>",
        )
    values = np.array([spot.straightness for spot in spots])
    title = "S of the flow (0: straight, at constant speed)"
    figure.update_xaxes(title=title, **marks.log_axis(values.min() / 1.6, values.max() * 1.6))
    figure.update_yaxes(title=y_title, rangemode="tozero")
    return figure.update_layout(margin={"t": 16, "b": 84}, legend_y=-0.21)
