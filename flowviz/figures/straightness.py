"""Figures of endpoints and of straightness, for the claim about unlimited compute."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from flowviz.figures import marks, theme

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


def endpoints(start: NDArray, ends: Sequence[Ends]) -> go.Figure:
    """Start points (n, 2), joined to the endpoints of the first path, and the endpoints of all.

    Markers are nested: where all paths agree, they form one target.
    """
    if len(ends) > len(NESTED) or any(each.points.shape != start.shape for each in ends):
        raise ValueError(
            f"endpoints needs at most {len(NESTED)} paths of shape {start.shape}; "
            f"got {[each.points.shape for each in ends]}."
        )
    noise = theme.colour("noise")
    lines = marks.polyline(np.stack([start, ends[0].points]))
    mark = {"size": 4, "color": noise, "opacity": 0.7}
    figure = marks.blank(520)
    figure.add_scatter(**marks.line(lines, theme.rgba(noise, 0.35), showlegend=False))
    figure.add_scatter(**marks.points(start, mark, name="shared noise"))
    for each, (symbol, size, width) in reversed(list(zip(ends, NESTED, strict=False))):
        edge = {"width": width, "color": each.colour}
        mark = {"symbol": symbol, "size": size, "color": each.colour, "line": edge}
        hover = f"(%{{x:.4f}}, %{{y:.4f}})<extra>{each.label}</extra>"
        name = f"end, {each.label}"
        figure.add_scatter(**marks.points(each.points, mark, name=name, hovertemplate=hover))
    span = marks.square(tickvals=marks.TICKS)
    figure.update_xaxes(title=marks.X1, **span)
    figure.update_yaxes(title=marks.X2, scaleanchor="x", **span)
    return figure.update_layout(margin={"t": 16, "b": 72}, legend={"y": -0.12})


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two values per panel of one row: of the conditional and of the marginal flow."""

    label: str
    colour: str
    conditional: tuple[float, ...]
    marginal: tuple[float, ...]


def pairs(rows: Sequence[Pair], titles: Sequence[str]) -> go.Figure:
    """One row per path, one panel per metric; open markers: conditional, filled: marginal flow.

    Args:
        rows: one per path, with one value per title.
        titles: titles of the panels; each panel has its own axis.
    """
    height = 150 + 44 * len(rows)
    figure = marks.panels(titles, height, shared_yaxes=True, horizontal_spacing=0.06)
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
                    "color": [theme.pick(theme.PAPER), row.colour],
                    "line": {"width": 2.5, "color": row.colour},
                },
                customdata=["conditional", "marginal"],
                hovertemplate="%{customdata} flow: %{x:.4g}<extra>" + row.label + "</extra>",
                showlegend=False,
                row=1,
                col=column,
            )
    ink = theme.pick(theme.INK)
    for name, fill in (("conditional flow", theme.pick(theme.PAPER)), ("marginal flow", ink)):
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
    styles: Sequence[Mapping[str, str]],
    lrs: NDArray,
    values: NDArray,
    diverged: NDArray,
    *,
    y_title: str,
    floor: float | None = None,
) -> go.Figure:
    """A metric over learning rates (F,), one line per row of values (E, F), see `theme.style`.

    A run that diverged is drawn as × at the top edge.
    """
    figure = marks.blank(360)
    finite = values[~diverged & np.isfinite(values)]
    top = 2 * float(finite.max()) if len(finite) else 1.0
    lowest = min(float(finite.min()) if len(finite) else top / 10, floor or np.inf)
    for k, (label, style) in enumerate(zip(labels, styles, strict=True)):
        y = np.where(diverged[k], top, values[k])
        figure.add_scatter(
            x=lrs,
            y=y,
            mode="lines+markers",
            line={"color": style["colour"], "width": 2, "dash": style["dash"]},
            marker={
                "size": np.where(diverged[k], 12, 7),
                "symbol": np.where(diverged[k], "x", style["symbol"]).tolist(),
                "color": style["colour"],
            },
            name=label,
            customdata=np.where(diverged[k], "diverged", np.char.mod("%.4g", values[k])),
            hovertemplate=f"lr %{{x:.3g}}: %{{customdata}}<extra>{label}</extra>",
            cliponaxis=False,
        )
    if floor is not None:
        name = "two samples of the data"
        figure.add_scatter(**marks.level(lrs[[0, -1]], floor, name, theme.pick(theme.MUTED)))
    ticks = [f"{lr:g}" for lr in lrs]
    figure.update_xaxes(title="learning rate", type="log", tickvals=lrs, ticktext=ticks)
    figure.update_yaxes(
        title=y_title, type="log", range=[np.log10(0.85 * lowest), np.log10(1.08 * top)]
    )
    return figure.update_layout(margin={"t": 20, "b": 72}, legend=marks.DRAWN)


@dataclass(frozen=True, kw_only=True)
class Runs:
    """One row of dots: one value per run, (R,)."""

    label: str
    colour: str
    values: NDArray


def dots(rows: Sequence[Runs], *, x_title: str) -> go.Figure:
    """Values of several runs on a logarithmic axis, one row each, with a bar at their mean."""
    figure = marks.blank(120 + 46 * len(rows))
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
        figure.update_xaxes(range=[np.log10(low), np.log10(high)], **marks.log_ticks(known))
    figure.update_xaxes(title=x_title, type="log")
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure.update_layout(margin={"l": 64, "r": 16, "t": 16, "b": 56})
