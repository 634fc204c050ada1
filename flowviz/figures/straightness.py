"""Figures of endpoints and of straightness, for the claim about unlimited compute."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from flowviz.figures import theme
from flowviz.figures.curves import log_ticks
from flowviz.figures.plane import TICKS, polyline

NESTED = (
    ("circle", 5, 0.0),
    ("circle-open", 9, 1.6),
    ("square-open", 12, 1.2),
    ("diamond-open", 18, 1.2),
    ("octagon-open", 23, 1.2),
)
"""Symbol, size and line width of the markers of each path; markers at one point are nested."""


@dataclass(frozen=True, kw_only=True)
class Ends:
    """Endpoints of one path, (n, 2), one row per particle."""

    label: str
    colour: str
    points: NDArray


def endpoints(start: NDArray, ends: Sequence[Ends], *, dark: bool = False) -> go.Figure:
    """Start points (n, 2), joined to the endpoints of the first path, and the endpoints of all.

    Markers are nested: where all paths agree, they form one target.
    """
    if len(ends) > len(NESTED) or any(each.points.shape != start.shape for each in ends):
        raise ValueError(
            f"endpoints needs at most {len(NESTED)} paths of shape {start.shape}; "
            f"got {[each.points.shape for each in ends]}."
        )
    noise = theme.colour("noise", dark=dark)
    lines = polyline(np.stack([start, ends[0].points]))
    figure = go.Figure(layout={"template": theme.template(dark=dark), "height": 520})
    figure.add_scatter(
        x=lines[:, 0],
        y=lines[:, 1],
        mode="lines",
        line={"color": theme.rgba(noise, 0.35), "width": 1},
        hoverinfo="skip",
        showlegend=False,
    )
    figure.add_scatter(
        x=start[:, 0],
        y=start[:, 1],
        mode="markers",
        marker={"size": 4, "color": noise, "opacity": 0.7},
        name="shared noise",
        hoverinfo="skip",
    )
    for each, (symbol, size, width) in reversed(list(zip(ends, NESTED, strict=False))):
        figure.add_scatter(
            x=each.points[:, 0],
            y=each.points[:, 1],
            mode="markers",
            marker={
                "symbol": symbol,
                "size": size,
                "color": each.colour,
                "line": {"width": width, "color": each.colour},
            },
            name=f"end, {each.label}",
            hovertemplate=f"(%{{x:.4f}}, %{{y:.4f}})<extra>{each.label}</extra>",
        )
    span = {
        "range": [-theme.FRAME, theme.FRAME],
        "tickvals": TICKS,
        "showgrid": False,
        "constrain": "domain",
    }
    figure.update_xaxes(title="<i>x</i><sub>1</sub>", **span)
    figure.update_yaxes(title="<i>x</i><sub>2</sub>", scaleanchor="x", **span)
    return figure.update_layout(margin={"t": 16, "b": 72}, legend={"y": -0.12})


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two values per panel of one row: of the conditional and of the marginal flow."""

    label: str
    colour: str
    conditional: tuple[float, ...]
    marginal: tuple[float, ...]


def pairs(rows: Sequence[Pair], titles: Sequence[str], *, dark: bool = False) -> go.Figure:
    """One row per path, one panel per metric; open markers: conditional, filled: marginal flow.

    Args:
        rows: one per path, with one value per title.
        titles: titles of the panels; each panel has its own axis.
        dark: whether to use the dark theme.
    """
    figure = make_subplots(
        rows=1, cols=len(titles), shared_yaxes=True, horizontal_spacing=0.06, subplot_titles=titles
    )
    figure.update_layout(template=theme.template(dark=dark), height=150 + 44 * len(rows))
    for annotation in figure.select_annotations():
        annotation.update(font={"size": 14, "color": theme.INK[dark]}, yshift=4)
    for column in range(1, len(titles) + 1):
        for row in rows:
            values = row.conditional[column - 1], row.marginal[column - 1]
            figure.add_scatter(
                x=values,
                y=[row.label, row.label],
                mode="lines+markers",
                line={"color": theme.rgba(row.colour, 0.4), "width": 3},
                marker={
                    "size": 13,
                    "color": [theme.PAPER[dark], row.colour],
                    "line": {"width": 2.5, "color": row.colour},
                },
                customdata=["conditional", "marginal"],
                hovertemplate="%{customdata} flow: %{x:.4g}<extra>" + row.label + "</extra>",
                showlegend=False,
                row=1,
                col=column,
            )
    ink = theme.INK[dark]
    for name, fill in (("conditional flow", theme.PAPER[dark]), ("marginal flow", ink)):
        figure.add_scatter(
            x=[None],
            y=[None],
            mode="markers",
            marker={"size": 11, "color": fill, "line": {"width": 2, "color": ink}},
            name=name,
        )
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure.update_layout(
        margin={"l": 64, "r": 16, "t": 44, "b": 56}, legend={"y": -0.25, "x": 0}
    )


def rates(
    labels: Sequence[str],
    colours: Sequence[str],
    dashes: Sequence[str],
    lrs: NDArray,
    values: NDArray,
    diverged: NDArray,
    *,
    y_title: str,
    floor: float | None = None,
    dark: bool = False,
) -> go.Figure:
    """A metric over learning rates (F,), one line per row of values (E, F).

    A run that diverged is drawn as × at the top edge.
    """
    figure = go.Figure(layout={"template": theme.template(dark=dark), "height": 360})
    finite = values[~diverged & np.isfinite(values)]
    top = 2 * float(finite.max()) if len(finite) else 1.0
    lowest = min(float(finite.min()) if len(finite) else top / 10, floor or np.inf)
    for k, (label, colour, dash) in enumerate(zip(labels, colours, dashes, strict=True)):
        shown = np.where(diverged[k], top, values[k])
        figure.add_scatter(
            x=lrs,
            y=shown,
            mode="lines+markers",
            line={"color": colour, "width": 2, "dash": dash},
            marker={
                "size": np.where(diverged[k], 12, 6),
                "symbol": np.where(diverged[k], "x", "circle").tolist(),
                "color": colour,
            },
            name=label,
            customdata=np.where(diverged[k], "diverged", np.char.mod("%.4g", values[k])),
            hovertemplate=f"lr %{{x:.3g}}: %{{customdata}}<extra>{label}</extra>",
            cliponaxis=False,
        )
    if floor is not None:
        figure.add_scatter(
            x=lrs[[0, -1]],
            y=[floor, floor],
            mode="lines",
            line={"color": theme.MUTED[dark], "width": 1.2, "dash": "dot"},
            name="two samples of the data",
            hovertemplate="%{y:.4g}<extra>two samples of the data</extra>",
        )
    ticks = [f"{lr:g}" for lr in lrs]
    figure.update_xaxes(title="learning rate", type="log", tickvals=lrs, ticktext=ticks)
    figure.update_yaxes(
        title=y_title, type="log", range=[np.log10(0.85 * lowest), np.log10(1.08 * top)]
    )
    return figure.update_layout(margin={"t": 20, "b": 72})


@dataclass(frozen=True, kw_only=True)
class Runs:
    """One row of dots: one value per run, (R,)."""

    label: str
    colour: str
    values: NDArray


def dots(rows: Sequence[Runs], *, x_title: str, dark: bool = False) -> go.Figure:
    """Values of several runs on a logarithmic axis, one row each, with a bar at their mean."""
    figure = go.Figure(
        layout={"template": theme.template(dark=dark), "height": 120 + 46 * len(rows)}
    )
    for row in rows:
        finite = row.values[np.isfinite(row.values)]
        figure.add_scatter(
            x=finite,
            y=[row.label] * len(finite),
            mode="markers",
            marker={"size": 10, "color": theme.rgba(row.colour, 0.55)},
            hovertemplate="%{x:.4g}<extra>" + row.label + "</extra>",
            showlegend=False,
        )
        if len(finite):
            figure.add_scatter(
                x=[finite.mean()],
                y=[row.label],
                mode="markers",
                marker={
                    "symbol": "line-ns",
                    "size": 22,
                    "line": {"width": 3, "color": row.colour},
                },
                hovertemplate="mean %{x:.4g}<extra>" + row.label + "</extra>",
                showlegend=False,
            )
    known = np.concatenate([row.values[np.isfinite(row.values)] for row in rows])
    known = known[known > 0]
    if len(known):
        low, high = known.min() / 1.6, known.max() * 1.6
        figure.update_xaxes(range=[np.log10(low), np.log10(high)], **log_ticks(known))
    figure.update_xaxes(title=x_title, type="log")
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure.update_layout(margin={"l": 64, "r": 16, "t": 16, "b": 56})
