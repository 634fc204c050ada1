"""Figures of learned paths: trajectories, and straightness against quality."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from flowviz.figures import theme
from flowviz.figures.curves import log_ticks
from flowviz.figures.plane import TICKS, polyline, reach

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

    def __post_init__(self) -> None:
        for name in ("conditional", "flow"):
            states = getattr(self, name)
            if states.ndim != 3 or states.shape[2] != 2:
                raise ValueError(f"{name} must have shape (K, n, 2); got {states.shape}.")


def trajectories(columns: Sequence[Column], data: NDArray, *, dark: bool = False) -> go.Figure:
    """Conditional trajectories (top) and those of the flow (bottom), one column per path.

    All panels have equal axes. Data points (m, 2) are drawn faintly below.
    """
    count = len(columns)
    figure = make_subplots(
        rows=2,
        cols=count,
        shared_xaxes=True,
        shared_yaxes=True,
        horizontal_spacing=0.012,
        vertical_spacing=0.03,
        column_titles=[column.label for column in columns],
    )
    figure.update_layout(
        template=theme.template(dark=dark), height=170 + 2 * 1000 // max(count, 3)
    )
    for annotation in figure.select_annotations():
        annotation.update(font={"size": 14, "color": theme.INK[dark]}, yshift=2)
    for k, column in enumerate(columns, start=1):
        for row, states in enumerate((column.conditional, column.flow), start=1):
            for trace in _traces(column, states, data, opacity=(0.8, 0.6)[row - 1], dark=dark):
                trace.showlegend = trace.showlegend is not False and k == row == 1
                figure.add_trace(trace, row=row, col=k)
    half = reach(*(states for c in columns for states in (c.conditional, c.flow)))
    span = {"range": [-half, half], "tickvals": TICKS, "showgrid": False, "constrain": "domain"}
    figure.update_xaxes(**span)
    figure.update_yaxes(**span)
    for k in range(count):
        for row in range(2):
            number = row * count + k + 1
            axis = "" if number == 1 else str(number)
            figure.update_yaxes(scaleanchor=f"x{axis}", row=row + 1, col=k + 1)
    figure.update_xaxes(title="<i>x</i><sub>1</sub>", row=2)
    for row, name in enumerate(ROWS, start=1):
        figure.update_yaxes(title=f"<b>{name}</b><br><i>x</i><sub>2</sub>", row=row, col=1)
    return figure.update_layout(
        margin={"l": 72, "r": 8, "t": 40, "b": 72}, legend={"y": -0.11, "x": 0}
    )


def _traces(
    column: Column, states: NDArray, data: NDArray, *, opacity: float, dark: bool
) -> list[go.Scatter]:
    """Data points, trajectories, and their starts and ends, of one panel."""
    line = polyline(states)
    hover = f"(%{{x:.2f}}, %{{y:.2f}})<extra>{column.label}</extra>"
    start = {
        "size": 5,
        "color": theme.PAPER[dark],
        "line": {"width": 1.2, "color": theme.colour("noise", dark=dark)},
    }
    data_mark = {"size": 2.5, "color": theme.colour("data", dark=dark), "opacity": 0.3}
    points = [
        ("data", data, data_mark, {"hoverinfo": "skip"}),
        ("noise", states[0], start, {"hovertemplate": hover}),
        ("end", states[-1], {"size": 4.5, "color": theme.INK[dark]}, {"hovertemplate": hover}),
    ]
    marks = [
        go.Scatter(x=at[:, 0], y=at[:, 1], mode="markers", marker=mark, name=name, **more)
        for name, at, mark, more in points
    ]
    lines = go.Scatter(
        x=line[:, 0],
        y=line[:, 1],
        mode="lines",
        line={"color": theme.rgba(column.colour, opacity), "width": 1.3},
        showlegend=False,
        hoverinfo="skip",
    )
    return [marks[0], lines, *marks[1:]]


@dataclass(frozen=True, kw_only=True)
class Spot:
    """One flow: its straightness S, and its excess in nats with a standard error."""

    label: str
    colour: str
    straightness: float
    excess: float
    error: float
    symbol: str = "circle"


def trade(spots: Sequence[Spot], *, y_title: str, dark: bool = False) -> go.Figure:
    """Excess in nats over straightness S, on a logarithmic axis; lower left is better in both."""
    figure = go.Figure(layout={"template": theme.template(dark=dark), "height": 360})
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
    low, high = values.min() / 1.6, values.max() * 1.6
    figure.update_xaxes(
        title="S of the flow (0: straight, at constant speed)",
        type="log",
        range=[np.log10(low), np.log10(high)],
        **log_ticks(np.array([low, high])),
    )
    figure.update_yaxes(title=y_title, rangemode="tozero")
    return figure.update_layout(margin={"t": 16, "b": 84}, legend_y=-0.21)
