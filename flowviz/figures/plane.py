"""Figures of the plane: densities, velocity fields, particles and trajectories.

Each function takes one `Plane` per panel and draws the panels side by side on linked equal axes.
Positions have shape (n, 2). The values of a square grid have shape (H, H), with rows along y.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from flowviz.figures import marks, theme

UNDER_PARTICLES = theme.DENSITY_RAMP[0][:5], theme.DENSITY_RAMP[1][:5]
"""The density ramp without its strongest colours, so that coloured particles stay visible."""

ROW_TITLE = 18
"""Characters of a line of the title of a row, which stands upright beside its panels."""

Traces = list[dict[str, Any]]
"""Traces of one panel."""


@dataclass(frozen=True, kw_only=True)
class Plane:
    """Content of one panel; entries that are None are not drawn."""

    title: str
    colour: str
    """Colour of the path, for particles and trajectories, #rrggbb."""
    axis: NDArray | None = None
    """Coordinates of the density's columns and rows, (H,)."""
    density: NDArray | None = None
    """Probability per unit area, (H, H)."""
    positions: NDArray | None = None
    """Positions of the velocities, (m, 2)."""
    velocities: NDArray | None = None
    """Velocities at these positions, (m, 2)."""
    particles: NDArray | None = None
    """Positions of particles, (n, 2)."""
    states: NDArray | None = None
    """Trajectories of particles, one state per solver step, (S + 1, n, 2)."""
    jumps: bool = False
    """Whether these steps are jumps, with no trajectory between the states."""
    data: NDArray | None = None
    """Data points, drawn faintly, (n, 2)."""
    directions: NDArray | None = None
    """An angle in degrees for each particle, from -180 to 180, shown as its colour, (n,)."""
    classes: NDArray | None = None
    """The class of each particle, shown as its colour, (n,)."""

    def __post_init__(self) -> None:
        for name in ("positions", "velocities", "particles", "data"):
            points = getattr(self, name)
            if points is not None and (points.ndim != 2 or points.shape[1] != 2):
                raise ValueError(f"{name} must have shape (n, 2); got {points.shape}.")
        if self.states is not None and (self.states.ndim != 3 or self.states.shape[2] != 2):
            raise ValueError(f"states must have shape (S + 1, n, 2); got {self.states.shape}.")
        if self.positions is None or self.velocities is None:
            if self.positions is not self.velocities:
                raise ValueError("positions and velocities must be given together.")
        elif self.positions.shape != self.velocities.shape:
            raise ValueError(
                "positions and velocities must have the same shape; "
                f"got {self.positions.shape} and {self.velocities.shape}."
            )
        if self.density is not None:
            side = 0 if self.axis is None else len(self.axis)
            if self.density.shape != (side, side):
                raise ValueError(
                    f"density must have shape (H, H) = ({side}, {side}); got {self.density.shape}."
                )


def snapshot(panels: Sequence[Plane], *, t: float) -> go.Figure:
    """Density, velocity field and particles at one time, panels side by side.

    All panels share one scale of densities and arrows. The length of an arrow grows with the speed
    and saturates at one grid cell, because speeds near the data differ by orders of magnitude. The
    legend gives the speed of an arrow of half a cell.
    """
    largest = _largest(panels)
    speeds = [_speeds(p.velocities) for p in panels if p.velocities is not None]
    half = min((float(np.median(s)) for s in speeds), default=0.0) or 1.0
    panel_traces = []
    for k, panel in enumerate(panels):
        first, bar = k == 0, k == len(panels) - 1
        traces = _density(panel, largest=largest, bar=bar)
        traces += _data(panel, first=first)
        traces += _arrows(panel, half=half, first=first)
        if panel.particles is not None:
            mark = {"size": 3, "color": panel.colour, "opacity": 0.85}
            name = f"particles, {panel.title}"
            traces.append(marks.points(panel.particles, mark, name=name, showlegend=False))
        panel_traces.append(traces)
    note = "colours: density <i>p<sub>t</sub></i> per unit area" if largest > 0 else ""
    return _figure(panels, panel_traces, title=f"t = {t:.3f}", note=note)


def by_direction(panels: Sequence[Plane], *, t: float) -> go.Figure:
    """Particles at one time, coloured by their directions, over the density."""
    panel_traces = _faint_densities(panels, 0.35)
    for k, (panel, traces) in enumerate(zip(panels, panel_traces, strict=True)):
        mark = {
            "size": 4,
            "color": panel.directions,
            "cmin": -180,
            "cmax": 180,
            "colorscale": theme.plotly_scale(theme.CYCLE),
            "showscale": k == len(panels) - 1,
            "colorbar": marks.bar() | {"tickvals": [-180, -90, 0, 90, 180], "ticksuffix": "°"},
        }
        assert panel.particles is not None
        name = f"particles, {panel.title}"
        traces.append(marks.points(panel.particles, mark, name=name, showlegend=False))
    return _figure(
        panels, panel_traces, title=f"t = {t:.3f}", note="colours: direction of the start"
    )


def by_class(panels: Sequence[Plane], names: Sequence[str], *, t: float) -> go.Figure:
    """Particles at one time, coloured by their classes, over the density."""
    palette = theme.class_colours()
    colours = [palette[index] for index in theme.class_places(len(names))]
    panel_traces = _faint_densities(panels, 0.35)
    for k, (panel, traces) in enumerate(zip(panels, panel_traces, strict=True)):
        assert panel.particles is not None
        for i, (name, colour) in enumerate(zip(names, colours, strict=True)):
            positions, mark = panel.particles[panel.classes == i], {"size": 4, "color": colour}
            legend = {"name": name, "legendgroup": name, "showlegend": k == 0}
            traces.append(marks.points(positions, mark, **legend))
    return _figure(panels, panel_traces, title=f"t = {t:.3f}")


def trajectories(panels: Sequence[Plane]) -> go.Figure:
    """Trajectories of particles through the states of the solver; dotted lines are jumps."""
    panel_traces, named = _faint_densities(panels, 0.5), set()
    for k, (panel, traces) in enumerate(zip(panels, panel_traces, strict=True)):
        traces += _data(panel, first=k == 0)
        for trace in _trajectories(panel):
            in_legend = trace["name"] not in named
            traces.append(trace | {"legendgroup": trace["name"], "showlegend": in_legend})
            named.add(trace["name"])
    return _figure(panels, panel_traces)


def difference(panels: Sequence[Plane], *, t: float) -> go.Figure:
    """A map of the difference of two fields; all panels share one scale.

    The `density` of each panel is the speed |learned - exact|. NaN is left blank.
    """
    # The 99% quantile: one very large value must not make all others pale.
    sizes = [float(np.nanquantile(p.density, 0.99)) for p in panels if p.density is not None]
    panel_traces = [
        []
        if panel.density is None
        else [
            _density_trace(panel, "heatmap")
            | {
                "zmin": 0,
                "zmax": max(sizes),
                "colorscale": theme.plotly_scale(theme.DIFFERENCE_RAMP),
                "showscale": k == len(panels) - 1,
                "colorbar": marks.bar(),
                "hovertemplate": "(%{x:.2f}, %{y:.2f})<br>%{z:.3g}<extra></extra>",
            }
        ]
        for k, panel in enumerate(panels)
    ]
    return _figure(
        panels, panel_traces, title=f"t = {t:.3f}", note="colours: |learned − exact| speed"
    )


def film_strip(rows: Sequence[Plane], frames: Sequence[NDArray], times: NDArray) -> go.Figure:
    """About ten times in a row per path, as in Fig. 4 of Lipman et al. 2022.

    Args:
        rows: one per path, with the title of the row and the colour of its particles.
        frames: particles of each row at `times`, (T, n, 2).
        times: times of the columns, (T,).
    """
    panel_traces, layout, labels = [], {}, []
    titles = [theme.wrapped_title(row.title, ROW_TITLE) for row in rows]
    lines = max(title.count("<br>") for title in titles) + 1
    width, height = 1 / len(times), 1 / len(rows)
    for r, (row, states) in enumerate(zip(rows, frames, strict=True)):
        for c, (t, points) in enumerate(zip(times, states, strict=True)):
            i = r * len(times) + c
            mark = {"size": 2, "color": row.colour, "opacity": 0.7}
            panel_traces.append([marks.points(points, mark, name=row.title, showlegend=False)])
            x = [c * width + 0.003, (c + 1) * width - 0.003]
            layout |= marks.small_panel(
                i, x, [1 - (r + 1) * height + 0.015, 1 - r * height - 0.015]
            )
            if r == 0:
                labels.append(_label(f"t = {t:.2f}", i, theme.pick(theme.INK), y=1.03))
            if c == 0:
                label = _label(titles[r], i, row.colour, x=-0.12, y=0.5)
                labels.append(label | {"textangle": -90, "xanchor": "right", "yanchor": "middle"})
    layout |= {
        "template": theme.template(),
        "annotations": labels,
        "height": 60 + 120 * len(rows),
        "margin": {"l": 18 + 18 * lines, "r": 12, "t": 36, "b": 12},
    }
    return _build(panel_traces, layout)


def _figure(
    panels: Sequence[Plane], panel_traces: Sequence[Traces], *, title: str = "", note: str = ""
) -> go.Figure:
    """Traces on panels with titles and linked equal axes over the frame, four in two rows.

    `note` says under the title what a colour bar shows.
    """
    if not panels:
        raise ValueError("there must be at least one panel to draw; got none.")
    span = marks.square(tickvals=marks.TICKS)
    layout: dict[str, Any] = {}
    rows = 2 if len(panels) == 4 else 1
    columns = len(panels) // rows
    titles = [
        theme.wrapped_title(f"<b>{each.title}</b>", marks.TITLES // columns) for each in panels
    ]
    lines = max(title.count("<br>") for title in titles) + 1
    for i in range(len(panels)):
        row, column = divmod(i, columns)
        name, low = marks.suffix(i), row == rows - 1
        layout[f"xaxis{name}"] = span | {
            "title": {"text": marks.X1 if low else ""},
            "domain": _part(column, columns, 0.06),
            "anchor": f"y{name}",
            "showticklabels": low,  # titles of the lower row are there
        }
        layout[f"yaxis{name}"] = span | {
            "title": {"text": "" if column else marks.X2},
            "domain": _part(rows - 1 - row, rows, 0.04 + 0.06 * lines),
            "anchor": f"x{name}",
            "constraintoward": "top",
        }
        if i == 0:
            layout["yaxis"] |= {"scaleanchor": "x"}
        else:  # links zoom, pan and scale
            layout[f"xaxis{name}"]["matches"] = "x"
            layout[f"yaxis{name}"]["matches"] = "y"
    layout |= {
        "template": theme.template(),
        "title": {"text": title, "subtitle": {"text": note, "font": {"size": 12}}},
        "annotations": [_label(titles[i], i, panel.colour) for i, panel in enumerate(panels)],
        "height": 560,
        # Below the colour bar are the titles, and four names in the legend are two lines.
        "margin": {"l": 56, "r": 16, "t": 68 + 20 * lines, "b": 24 + 40 * rows},
    }
    return _build(panel_traces, layout)


def _build(panel_traces: Sequence[Traces], layout: dict[str, Any]) -> go.Figure:
    """The traces of each panel on its axes.

    The figure is built from one dictionary, because Plotly validates it again at every change. Its
    numbers have single precision, finer than any screen, which halves what a browser receives.
    """
    data = [
        {
            name: value.astype(np.float32) if isinstance(value, np.ndarray) else value
            for name, value in trace.items()
        }
        | marks.panel_axes(i)
        for i, traces in enumerate(panel_traces)
        for trace in traces
    ]
    return go.Figure({"data": data, "layout": layout})


def _part(k: int, count: int, gap: float) -> list[float]:
    """The share of the figure of panel k of `count` with gaps between them."""
    width = (1 - gap * (count - 1)) / count
    return [k * (width + gap), min(k * (width + gap) + width, 1)]


def _label(text: str, i: int, colour: str, *, x: float = 0.5, y: float = 1.01) -> dict[str, Any]:
    """A text in panel i, at a position in fractions of its width and height."""
    return {
        "text": text,
        "font": {"size": 14 if text.startswith("<b>") else 12, "color": colour},
        "xref": f"x{marks.suffix(i)} domain",
        "yref": f"y{marks.suffix(i)} domain",
        "x": x,
        "y": y,
        "xanchor": "center",
        "yanchor": "bottom",
        "showarrow": False,
    }


def _faint_densities(panels: Sequence[Plane], opacity: float) -> list[Traces]:
    """The density of each panel, faint below what is drawn over it."""
    largest = _largest(panels)
    options = {"largest": largest, "bar": False, "opacity": opacity}
    return [_density(panel, **options) for panel in panels]


def _density(panel: Plane, *, largest: float, bar: bool, opacity: float = 1.0) -> Traces:
    """A heatmap of the density with contour lines."""
    if panel.density is None or not largest > 0:
        return []
    heatmap = _density_trace(panel, "heatmap") | {
        "zmin": 0,
        "zmax": largest,
        "zsmooth": "best",
        "opacity": opacity,
        "colorscale": theme.plotly_scale(UNDER_PARTICLES),
        "showscale": bar,
        "colorbar": marks.bar(),
        "hovertemplate": "(%{x:.2f}, %{y:.2f})<br>density %{z:.4f}<extra></extra>",
    }
    levels = {"start": largest / 8, "end": largest, "size": largest / 4, "coloring": "none"}
    contour = _density_trace(panel, "contour") | {
        "contours": levels,
        "line": {"width": 0.6, "color": theme.rgba(theme.pick(theme.INK), 0.3)},
        "opacity": opacity,
        "showscale": False,
        "showlegend": False,
        "hoverinfo": "skip",
    }
    return [heatmap, contour]


def _density_trace(panel: Plane, kind: str) -> dict[str, Any]:
    """The density of a panel over the plane."""
    return {"type": kind, "x": panel.axis, "y": panel.axis, "z": panel.density}


def _data(panel: Plane, *, first: bool) -> Traces:
    if panel.data is None:
        return []
    mark = {"size": 3, "color": theme.colour("data"), "opacity": 0.35}
    return [marks.points(panel.data, mark, name="data", legendgroup="data", showlegend=first)]


def _arrows(panel: Plane, *, half: float, first: bool) -> Traces:
    """Arrows, and invisible markers at their starts that show the velocity on hover."""
    positions, velocities = panel.positions, panel.velocities
    if positions is None or velocities is None:
        return []
    speeds = _speeds(velocities)[:, None]
    lengths = _spacing(positions) * velocities / (speeds + half)
    trace = marks.line(
        marks.arrows(positions, lengths, scale=1.0),
        theme.rgba(theme.pick(theme.INK), 0.55),
        name=f"velocity u (half a cell long: |u| = {half:.3g}; at most a cell)",
        legendgroup="velocity",
        showlegend=first,
    )
    hover = marks.points(
        positions,
        {"size": 8, "opacity": 0},
        name="velocity",
        customdata=np.column_stack([velocities, speeds]),
        hovertemplate="x = (%{x:.2f}, %{y:.2f})<br>u = (%{customdata[0]:.3g}, "
        "%{customdata[1]:.3g})<br>|u| = %{customdata[2]:.3g}<extra></extra>",
        showlegend=False,
    )
    return [trace, hover]


def _trajectories(panel: Plane) -> Traces:
    """Lines through the states, with a marker at each step, at the start and at the end."""
    states = panel.states
    if states is None:
        return []
    steps, colour = len(states) - 1, theme.rgba(panel.colour, 0.55)
    name = f"{steps} {'jump' if panel.jumps else 'solver step'}{'s' * (steps > 1)}"
    line = marks.line(marks.polyline(states), colour, name=name)
    line["line"] |= {"dash": "dot" if panel.jumps else "solid"}
    if steps <= 40:
        mark = {"size": 2.5, "color": theme.rgba(panel.colour, 0.8)}
        line |= {"mode": "lines+markers", "marker": mark}
    noise = theme.colour("noise")
    hollow = {"size": 5, "color": theme.pick(theme.PAPER), "line": {"width": 1.2, "color": noise}}
    hover = {"hovertemplate": "(%{x:.2f}, %{y:.2f})"}
    start = marks.points(states[0], hollow, name="start, t = 0", **hover)
    end = marks.points(states[-1], {"size": 5, "color": panel.colour}, name="end, t = 1", **hover)
    return [line, start, end]


def _largest(panels: Sequence[Plane]) -> float:
    """The largest density of all panels, 0 if there is none."""
    return max((float(np.max(p.density)) for p in panels if p.density is not None), default=0.0)


def _speeds(velocities: NDArray) -> NDArray:
    """The lengths of velocities (m, 2), (m,)."""
    return np.linalg.norm(velocities, axis=1)


def _spacing(positions: NDArray) -> float:
    """Grid spacing of positions (m, 2)."""
    columns = np.unique(np.round(positions[:, 0], 6))
    return float(np.diff(columns).min()) if len(columns) > 1 else 1.0
