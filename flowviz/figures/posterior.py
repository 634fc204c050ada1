"""Figures of conditional flows (Lipman et al. 2022, Figures 2, 3 and 8) and of predictions.

Positions have shape (m, 2), on a square grid. Vectors at several times have shape (T, m, 2).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from flowviz.figures import marks, theme

PANEL = 185
"""The side of a panel of fields in pixels."""
STAR = {"symbol": "star", "size": 13}
STRONG, FAINT = 0.9, 0.3
"""Opacity of the trajectories that overshoot and of the others."""


@dataclass(frozen=True, kw_only=True)
class FieldRow:
    """A row of panels: one quantity at several times.

    `label` is its name, `colour` the colour of its path, `times` (T,) are the times and `vectors`
    (T, m, 2) the values.
    """

    label: str
    colour: str
    times: NDArray
    vectors: NDArray


def conditional_fields(rows: Sequence[FieldRow], positions: NDArray, end: NDArray) -> go.Figure:
    """Directions as arrows of equal length, magnitudes as shades; one row per quantity.

    The shades of each panel are on a log scale of its own, darker for larger magnitudes. Its title
    gives the range. The star is the data point `end`, (2,).
    """
    if not rows or any(row.vectors.shape[1:] != positions.shape for row in rows):
        raise ValueError(
            f"every row's vectors must have shape (T, {len(positions)}, 2); "
            f"got {[row.vectors.shape for row in rows]}."
        )
    moments = len(rows[0].times)
    titles = [
        f"<i>t</i> = {t:.3g}:  {_range(v)}"
        for row in rows
        for t, v in zip(row.times, row.vectors, strict=True)
    ]
    figure = _panels(
        titles,
        [theme.pick(theme.MUTED)] * len(titles),
        11.5,
        rows=len(rows),
        cols=moments,
        horizontal_spacing=0.015,
        vertical_spacing=0.3 / (1 + 2 * len(rows)),
        height=len(rows) * (PANEL + 36) + 20,
    )
    axis = np.unique(positions[:, 0])
    step = axis[1] - axis[0]
    for r, row in enumerate(rows, start=1):
        for c, vectors in enumerate(row.vectors, start=1):
            size = np.linalg.norm(vectors, axis=1)
            unit = vectors / np.maximum(size, 1e-300)[:, None]
            heat = {
                "x": axis,
                "y": axis,
                "z": np.log10(np.maximum(size, 1e-12)).reshape(len(axis), -1),
                "customdata": size.reshape(len(axis), -1),
                "colorscale": [
                    (i / 3, colour) for i, colour in enumerate(theme.pick(theme.DENSITY_RAMP)[:4])
                ],
                "showscale": False,
                "hovertemplate": "(%{x:.2f}, %{y:.2f}): %{customdata:.3g}<extra></extra>",
            }
            figure.add_heatmap(**heat, row=r, col=c)
            cell = {"showlegend": False, "row": r, "col": c}
            arrows = marks.arrows(positions - 0.4 * step * unit, unit, scale=0.8 * step)
            figure.add_scatter(**marks.line(arrows, theme.rgba(row.colour, 0.95), 1.2), **cell)
            figure.add_scatter(**_star(end), **cell)
        first = f"x{(r - 1) * moments + 1 if r > 1 else ''}"
        figure.add_annotation(
            text=f"<b>{row.label}</b>",
            font={"size": 13, "color": row.colour},
            textangle=-90,
            xref=f"{first} domain",
            yref=f"y{first[1:]} domain",
            x=-0.06,
            y=0.5,
            xanchor="right",
            yanchor="middle",
            showarrow=False,
        )
    return _bare(figure).update_layout(margin={"l": 44, "r": 8, "t": 30, "b": 8})


@dataclass(frozen=True, kw_only=True)
class Trajectories:
    """Conditional trajectories of one path.

    `states` (S, n, 2) lead from noise to the data point at the times `clock` (S,). `progress`
    (S, n) is the covered fraction of the straight line, `overshoot` (n,) the largest distance
    beyond its end.
    """

    label: str
    colour: str
    clock: NDArray
    states: NDArray
    progress: NDArray
    overshoot: NDArray


def conditional_trajectories(paths: Sequence[Trajectories], end: NDArray) -> go.Figure:
    """Trajectories from noise to the star `end` (2,), a panel per path; strong lines overshoot."""
    titles = [f"<b>{path.label}</b>" for path in paths]
    colours = [path.colour for path in paths]
    shared = {"horizontal_spacing": 0.04, "shared_yaxes": True}
    figure = _panels(titles, colours, 14, **shared, height=410)
    noise = theme.colour("noise")
    for c, path in enumerate(paths, start=1):
        overshoots = path.overshoot > 1e-3
        for part, opacity, width in ((~overshoots, FAINT, 1.2), (overshoots, STRONG, 1.8)):
            if part.any():
                trace = marks.line(marks.polyline(path.states[:, part]), path.colour, width)
                figure.add_scatter(**trace, opacity=opacity, showlegend=False, row=1, col=c)
        start = marks.points(path.states[0], {"size": 6, "color": noise}, name="noise, t = 0")
        figure.add_scatter(**start, showlegend=c == 1, row=1, col=c)
        star = _star(end) | {"name": "the data point, t = 1"}
        figure.add_scatter(**star, showlegend=c == 1, row=1, col=c)
    states = np.concatenate([w.states[w.clock >= 0.02].reshape(-1, 2) for w in paths])
    half = min(theme.FRAME, 1.06 * np.abs(states).max())
    figure.update_xaxes(title=marks.X1, **marks.square(half))
    figure.update_yaxes(**marks.square(half))
    for axis in figure.select_yaxes():
        axis.update(scaleanchor=axis.anchor, constraintoward="top")
    figure.layout.yaxis.title.text = marks.X2
    return figure.update_layout(margin={"t": 40, "b": 76}, legend={"y": -0.15})


def progress(paths: Sequence[Trajectories]) -> go.Figure:
    """Covered fraction of the straight line over t, per trajectory; above 1 it overshoots."""
    figure = marks.blank(340)
    for path in paths:
        line = marks.line(marks.over_time(path.clock, path.progress), path.colour, 1.2)
        figure.add_scatter(**line, opacity=0.75, name=path.label)
    figure.add_hline(y=1, line={"color": theme.pick(theme.MUTED), "width": 1, "dash": "dash"})
    figure.update_xaxes(title=marks.TIME, range=[0, 1])
    figure.update_yaxes(title="fraction of the straight line covered")
    return figure.update_layout(margin={"t": 16, "b": 84}, legend_y=-0.25)


def predictions(
    positions: NDArray, panels: dict[str, NDArray], colours: Sequence[str], *, data: NDArray
) -> go.Figure:
    """Four vector fields over one frame, two by two, each with its own scale.

    The length of an arrow grows with the vector and saturates at one grid cell. The title of each
    panel gives the magnitude of an arrow of half a cell. `data` (n, 2) is drawn faintly below.
    """
    step = np.diff(np.unique(np.round(positions[:, 0], 9))).min()
    sizes = {name: np.linalg.norm(v, axis=1) for name, v in panels.items()}
    halves = {name: float(np.median(s)) or 1.0 for name, s in sizes.items()}
    titles = [f"<b>{name}</b>   half a cell: {halves[name]:.3g}" for name in panels]
    grid = {"rows": 2, "cols": 2, "horizontal_spacing": 0.03, "vertical_spacing": 0.07}
    figure = _panels(titles, colours, 13, **grid, height=580)
    faint = {"size": 2.5, "color": theme.colour("data"), "opacity": 0.35}
    for i, (name, vectors) in enumerate(panels.items()):
        cell = {"showlegend": False, "row": i // 2 + 1, "col": i % 2 + 1}
        size = sizes[name][:, None]
        figure.add_scatter(**marks.points(data, faint), **cell)
        arrows = marks.arrows(positions, step * vectors / (size + halves[name]), scale=1.0)
        figure.add_scatter(**marks.line(arrows, colours[i], 1.3), **cell)
        hover = marks.points(
            positions,
            {"size": 8, "opacity": 0},
            customdata=np.column_stack([vectors, size]),
            hovertemplate="x = (%{x:.2f}, %{y:.2f})<br>(%{customdata[0]:.3g}, "
            "%{customdata[1]:.3g}), size %{customdata[2]:.3g}<extra></extra>",
        )
        figure.add_scatter(**hover, **cell)
    return _bare(figure).update_layout(margin={"l": 8, "r": 8, "t": 30, "b": 8})


def _bare(figure: go.Figure) -> go.Figure:
    """The figure with square panels over the whole frame, without tick labels."""
    span = marks.square(tickvals=marks.TICKS, showticklabels=False, ticks="")
    figure.update_xaxes(**span)
    figure.update_yaxes(**span)
    for axis in figure.select_yaxes():
        axis.update(scaleanchor=axis.anchor, constraintoward="top")
    return figure


def _panels(titles: Sequence[str], colours: Sequence[str], size: float, **more: Any) -> go.Figure:
    """Panels with titles anchored to them: panels become smaller squares on a narrow page."""
    figure = marks.panels(titles, colours=colours, size=size, yshift=None, **more)
    for i, title in enumerate(figure.select_annotations()):
        name = marks.suffix(i)
        title.update(xref=f"x{name} domain", yref=f"y{name} domain", x=0.5, y=1.01)
    return figure


def _range(vectors: NDArray) -> str:
    size = np.linalg.norm(vectors, axis=1)
    return f"{size.min():.2g}…{size.max():.2g}".replace("e+0", "e")


def _star(end: NDArray) -> dict[str, Any]:
    colour, edge = theme.colour("data"), {"color": theme.pick(theme.PAPER), "width": 1}
    hover = "x₁ = (%{x:.2f}, %{y:.2f})<extra></extra>"
    return marks.points(end[None], STAR | {"color": colour, "line": edge}, hovertemplate=hover)
