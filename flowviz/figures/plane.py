"""Pictures of the plane: densities, velocity fields, particles and their ways.

Every function takes one `Plane` a panel and draws the panels side by side on linked equal axes, so
that two paths are compared at one scale. Positions have shape (n, 2); a grid is given by its
coordinates xs (nx,) and ys (ny,), and its values have shape (ny, nx).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from flowviz.figures import theme

__all__ = [
    "Plane",
    "arrows",
    "difference",
    "film_strip",
    "polyline",
    "snapshot",
    "trajectories",
]

TICKS = [-4, -2, 0, 2, 4]
UNDER_PARTICLES = tuple(stops[:5] for stops in theme.DENSITY_RAMP)
"""The density ramp short of its far end, since coloured particles must stand out on it."""


@dataclass(frozen=True, kw_only=True)
class Plane:
    """What one panel shows; what is None is not drawn."""

    title: str
    colour: str
    """Of its particles and ways, #rrggbb: that of its path."""
    xs: NDArray | None = None
    """Coordinates of the density's columns, (nx,)."""
    ys: NDArray | None = None
    """Coordinates of the density's rows, (ny,)."""
    density: NDArray | None = None
    """Probability per unit area, (ny, nx)."""
    positions: NDArray | None = None
    """Where the velocities stand, (m, 2)."""
    velocities: NDArray | None = None
    """Velocities at these positions, (m, 2)."""
    particles: NDArray | None = None
    """Positions of particles, (n, 2)."""
    states: NDArray | None = None
    """The ways of particles, one state a solver step, (S + 1, n, 2)."""
    data: NDArray | None = None
    """Samples of the data, drawn faintly, (n, 2)."""

    def __post_init__(self) -> None:
        for name in ("positions", "velocities", "particles", "data"):
            points = getattr(self, name)
            if points is not None and (points.ndim != 2 or points.shape[1] != 2):
                raise ValueError(f"{name} must have shape (n, 2); got {points.shape}.")
        if self.states is not None and (self.states.ndim != 3 or self.states.shape[2] != 2):
            raise ValueError(f"states must have shape (S + 1, n, 2); got {self.states.shape}.")
        if (self.positions is None) != (self.velocities is None):
            raise ValueError("positions and velocities must be given together.")
        if self.positions is not None and self.positions.shape != self.velocities.shape:
            raise ValueError(
                "positions and velocities must have the same shape; "
                f"got {self.positions.shape} and {self.velocities.shape}."
            )
        if self.density is not None:
            if self.xs is None or self.ys is None:
                raise ValueError("a density needs its coordinates xs and ys.")
            if self.density.shape != (len(self.ys), len(self.xs)):
                raise ValueError(
                    f"density must have shape (ny, nx) = ({len(self.ys)}, {len(self.xs)}); "
                    f"got {self.density.shape}."
                )


def arrows(positions: NDArray, velocities: NDArray, *, scale: float) -> NDArray:
    """Arrows from x to x + scale u as one line whose pen NaN lifts, (9 m, 2).

    Each arrow is a shaft of three rows and a head of five and a gap; positions and velocities have
    shape (m, 2). A head is a third of its arrow long, so that a short arrow keeps its direction.
    """
    along = scale * velocities
    tip = positions + along
    back, side = tip - along / 3, np.stack([-along[:, 1], along[:, 0]], axis=1) / 6
    gap = np.full_like(positions, np.nan)
    line = [positions, tip, gap, back + side, tip, back - side, back + side, tip, gap]
    return np.stack(line, axis=1).reshape(-1, 2)


def polyline(states: NDArray) -> NDArray:
    """Ways (S + 1, n, 2) as one line whose pen NaN lifts between particles, ((S + 2) n, 2)."""
    gap = np.full_like(states[:1], np.nan)
    return np.concatenate([states, gap]).swapaxes(0, 1).reshape(-1, 2)


def snapshot(panels: Sequence[Plane], *, t: float, dark: bool = False) -> go.Figure:
    """Density, velocity field and particles at one time, a panel beside the other.

    Density and arrows have one scale over the panels. An arrow's length grows with its speed and
    saturates at a cell of its grid, for near the data speeds differ by orders of magnitude; the
    legend says which speed is half a cell long.
    """
    figure = _canvas(panels, dark=dark)
    figure.update_layout(title=f"t = {t:.3f}")
    largest = max((np.max(p.density) for p in panels if p.density is not None), default=0.0)
    speeds = [_speeds(p.velocities) for p in panels if p.velocities is not None]
    half = min((float(np.median(s)) for s in speeds), default=0.0) or 1.0
    for column, panel in enumerate(panels, start=1):
        _add_density(figure, panel, column, largest=largest, bar=column == len(panels), dark=dark)
        _add_data(figure, panel, column, dark=dark)
        if panel.positions is not None:
            _add_arrows(figure, panel, column, half=half, dark=dark)
        if panel.particles is not None:
            figure.add_scatter(
                x=panel.particles[:, 0],
                y=panel.particles[:, 1],
                mode="markers",
                marker={"size": 3, "color": panel.colour, "opacity": 0.85},
                name=f"particles, {panel.title}",
                hoverinfo="skip",
                row=1,
                col=column,
            )
    return figure


def trajectories(panels: Sequence[Plane], *, dark: bool = False) -> go.Figure:
    """The ways of particles from their start to their end through the solver's own states."""
    figure = _canvas(panels, dark=dark)
    largest = max((np.max(p.density) for p in panels if p.density is not None), default=0.0)
    for column, panel in enumerate(panels, start=1):
        _add_density(figure, panel, column, largest=largest, bar=False, dark=dark, opacity=0.5)
        _add_data(figure, panel, column, dark=dark)
        if panel.states is None:
            continue
        line, few = polyline(panel.states), len(panel.states) <= 41
        figure.add_scatter(
            x=line[:, 0],
            y=line[:, 1],
            mode="lines+markers" if few else "lines",
            line={"color": theme.rgba(panel.colour, 0.55), "width": 1},
            marker={"size": 2.5, "color": theme.rgba(panel.colour, 0.8)},
            name=f"{len(panel.states) - 1} solver steps, {panel.title}",
            hoverinfo="skip",
            row=1,
            col=column,
        )
        for states, name, mark in (
            (panel.states[0], "start: noise", theme.colour("noise", dark=dark)),
            (panel.states[-1], f"end, {panel.title}", panel.colour),
        ):
            start = name.startswith("start")
            figure.add_scatter(
                x=states[:, 0],
                y=states[:, 1],
                mode="markers",
                marker={
                    "size": 5,
                    "color": theme.PAPER[dark] if start else mark,
                    "line": {"width": 1.2 if start else 0, "color": mark},
                },
                name=name,
                legendgroup=name,
                showlegend=not start or column == 1,
                hovertemplate="(%{x:.2f}, %{y:.2f})<extra>" + name + "</extra>",
                row=1,
                col=column,
            )
    return figure


def difference(
    panels: Sequence[Plane], *, t: float, dark: bool = False, signed: bool = False
) -> go.Figure:
    """A map over the plane of how far two fields differ, at one scale over the panels.

    Each panel's `density` holds the difference: the speed |learned - exact|, on a ramp from zero;
    with `signed`, any difference, on a ramp diverging about zero.
    """
    figure = _canvas(panels, dark=dark)
    size = max(
        (_quantile(np.abs(p.density)) for p in panels if p.density is not None), default=1.0
    )
    stops = theme.SIGNED_RAMP if signed else theme.DIFFERENCE_RAMP
    for column, panel in enumerate(panels, start=1):
        if panel.density is None:
            continue
        figure.add_heatmap(
            x=panel.xs,
            y=panel.ys,
            z=panel.density,
            zmin=-size if signed else 0,
            zmax=size,
            colorscale=theme.plotly_scale(stops, dark=dark),
            showscale=column == len(panels),
            colorbar=_bar("difference" if signed else "|learned − exact| speed", dark=dark),
            hovertemplate="(%{x:.2f}, %{y:.2f})<br>%{z:.3g}<extra></extra>",
            row=1,
            col=column,
        )
    return figure


def film_strip(
    rows: Sequence[Plane], frames: Sequence[NDArray], times: NDArray, *, dark: bool = False
) -> go.Figure:
    """Ten or so moments in a row per path, as in Fig. 4 of Lipman et al. 2022.

    Args:
        rows: one per path; its title labels the row, and its `density`, if any, is not drawn.
        frames: per row the particles at each of `times`, (T, n, 2).
        times: the moments, (T,).
        dark: the theme.
    """
    if len(rows) != len(frames) or any(len(f) != len(times) for f in frames):
        raise ValueError(
            f"film_strip needs {len(rows)} arrays of {len(times)} frames; "
            f"got {[f.shape for f in frames]}."
        )
    figure = make_subplots(
        rows=len(rows),
        cols=len(times),
        horizontal_spacing=0.006,
        vertical_spacing=0.03,
        column_titles=[f"t = {t:.2f}" for t in times],
        row_titles=[row.title for row in rows],
    )
    for r, (row, states) in enumerate(zip(rows, frames, strict=True), start=1):
        for c, points in enumerate(states, start=1):
            figure.add_scatter(
                x=points[:, 0],
                y=points[:, 1],
                mode="markers",
                marker={"size": 2, "color": row.colour, "opacity": 0.7},
                name=row.title,
                legendgroup=row.title,
                showlegend=False,
                hoverinfo="skip",
                row=r,
                col=c,
            )
    figure.update_xaxes(range=[-theme.FRAME, theme.FRAME], showticklabels=False, ticks="")
    figure.update_yaxes(range=[-theme.FRAME, theme.FRAME], showticklabels=False, ticks="")
    for axis in figure.select_yaxes():
        axis.update(scaleanchor=axis.anchor, constrain="domain")
    figure.update_xaxes(constrain="domain")
    figure.update_annotations(font={"size": 12, "color": theme.INK[dark]})
    return figure.update_layout(
        template=theme.template(dark=dark),
        height=60 + 120 * len(rows),
        margin={"l": 12, "r": 32, "t": 32, "b": 12},
    )


def _canvas(panels: Sequence[Plane], *, dark: bool) -> go.Figure:
    """Empty panels side by side: equal axes over the frame, linked, titled."""
    if not panels:
        raise ValueError("there must be at least one panel to draw; got none.")
    figure = make_subplots(
        rows=1,
        cols=len(panels),
        horizontal_spacing=0.06,
        subplot_titles=[panel.title for panel in panels],
    )
    span = {"range": [-theme.FRAME, theme.FRAME], "tickvals": TICKS, "showgrid": False}
    figure.update_xaxes(**span, title="<i>x</i><sub>1</sub>", constrain="domain", matches="x")
    figure.update_yaxes(**span, title="<i>x</i><sub>2</sub>", constrain="domain", matches="y")
    figure.update_yaxes(constraintoward="top")
    figure.update_yaxes(scaleanchor="x", row=1, col=1)
    for column, (annotation, panel) in enumerate(
        zip(figure.select_annotations(), panels, strict=True), start=1
    ):
        axis = "" if column == 1 else str(column)
        annotation.update(
            text=f"<b>{panel.title}</b>",
            font={"size": 14, "color": panel.colour},
            xref=f"x{axis} domain",
            yref=f"y{axis} domain",
            x=0.5,
            y=1.01,
        )
    return figure.update_layout(
        template=theme.template(dark=dark),
        height=560,
        margin={"l": 56, "r": 16, "t": 88, "b": 64},
    )


def _add_density(
    figure: go.Figure,
    panel: Plane,
    column: int,
    *,
    largest: float,
    bar: bool,
    dark: bool,
    opacity: float = 1.0,
) -> None:
    """A heatmap of the density with lines of equal density."""
    if panel.density is None or not largest > 0:
        return
    figure.add_heatmap(
        x=panel.xs,
        y=panel.ys,
        z=panel.density,
        zmin=0,
        zmax=largest,
        zsmooth="best",
        opacity=opacity,
        colorscale=theme.plotly_scale(UNDER_PARTICLES, dark=dark),
        showscale=bar,
        colorbar=_bar("density <i>p<sub>t</sub></i> per unit area", dark=dark),
        hovertemplate="(%{x:.2f}, %{y:.2f})<br>density %{z:.4f}<extra></extra>",
        row=1,
        col=column,
    )
    figure.add_contour(
        x=panel.xs,
        y=panel.ys,
        z=panel.density,
        contours={"start": largest / 8, "end": largest, "size": largest / 4, "coloring": "none"},
        line={"width": 0.6, "color": theme.rgba(theme.INK[dark], 0.3)},
        opacity=opacity,
        showscale=False,
        showlegend=False,
        hoverinfo="skip",
        row=1,
        col=column,
    )


def _add_arrows(figure: go.Figure, panel: Plane, column: int, *, half: float, dark: bool) -> None:
    """Arrows, and unseen marks at their feet that tell the velocity when one points there."""
    speeds = _speeds(panel.velocities)[:, None]
    lengths = _spacing(panel.positions) * panel.velocities / (speeds + half)
    line = arrows(panel.positions, lengths, scale=1.0)
    figure.add_scatter(
        x=line[:, 0],
        y=line[:, 1],
        mode="lines",
        line={"color": theme.rgba(theme.INK[dark], 0.55), "width": 1},
        name=f"velocity u (half a cell long: |u| = {half:.3g}; at most a cell)",
        legendgroup="velocity",
        showlegend=column == 1,
        hoverinfo="skip",
        row=1,
        col=column,
    )
    figure.add_scatter(
        x=panel.positions[:, 0],
        y=panel.positions[:, 1],
        mode="markers",
        marker={"size": 8, "opacity": 0},
        customdata=np.column_stack([panel.velocities, speeds]),
        hovertemplate="x = (%{x:.2f}, %{y:.2f})<br>u = (%{customdata[0]:.3g}, "
        "%{customdata[1]:.3g})<br>|u| = %{customdata[2]:.3g}<extra></extra>",
        showlegend=False,
        row=1,
        col=column,
    )


def _add_data(figure: go.Figure, panel: Plane, column: int, *, dark: bool) -> None:
    if panel.data is None:
        return
    figure.add_scatter(
        x=panel.data[:, 0],
        y=panel.data[:, 1],
        mode="markers",
        marker={"size": 3, "color": theme.colour("data", dark=dark), "opacity": 0.35},
        name="data",
        legendgroup="data",
        showlegend=column == 1,
        hoverinfo="skip",
        row=1,
        col=column,
    )


def _bar(title: str, *, dark: bool) -> dict[str, object]:
    """A slim colour bar above the last panel, at the figure's right."""
    return {
        "orientation": "h",
        "title": {"text": title, "side": "right", "font": {"size": 12, "color": theme.INK[dark]}},
        "thickness": 8,
        "len": 0.34,
        "nticks": 4,
        "outlinewidth": 0,
        "tickfont": {"size": 11, "color": theme.MUTED[dark]},
        "x": 1,
        "xanchor": "right",
        "y": 1.09,
        "yanchor": "bottom",
        "xpad": 0,
        "ypad": 0,
    }


def _quantile(values: NDArray) -> float:
    """The 99% quantile, so that one stiff corner does not shrink every other arrow."""
    return float(np.quantile(values, 0.99))


def _speeds(velocities: NDArray) -> NDArray:
    """The lengths of velocities (m, 2), (m,)."""
    return np.linalg.norm(velocities, axis=1)


def _spacing(positions: NDArray) -> float:
    """The distance of neighbours in a grid of positions (m, 2)."""
    columns = np.unique(np.round(positions[:, 0], 6))
    return float(np.diff(columns).min()) if len(columns) > 1 else 1.0
