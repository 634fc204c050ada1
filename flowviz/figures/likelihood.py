"""Figures of log-densities: a map with one trajectory, and KL divergence over time."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from flowviz.figures import marks, theme
from flowviz.figures.curves import Curve, curves

DEPTH = 12.0
"""Nats below the largest log-density at which the colour scale of the map starts."""

CLICKS = 0.25
"""Distance of the invisible points of the map that users can click."""


def log_density_map(
    axis: NDArray, log_density: NDArray, *, backward: NDArray, forward: NDArray, colour: str
) -> go.Figure:
    """The log-density over the plane in nats, and the trajectory of one point back and forward.

    Invisible points over the map show the log-density on hover and react to a click.

    Args:
        axis: coordinates along both axes, (H,).
        log_density: nats, (H, H), rows along y.
        backward: the trajectory solved back from the point, in increasing time, (S + 1, 2).
        forward: the trajectory solved forward from the noise, (R + 1, 2).
        colour: colour of the trajectories, #rrggbb.
    """
    top = float(np.max(log_density))
    nodes = np.arange(-theme.FRAME + CLICKS / 2, theme.FRAME, CLICKS)
    x, y = (v.ravel() for v in np.meshgrid(nodes, nodes))
    columns, rows = (_nearest(axis, v) for v in (x, y))
    unseen = {"marker": {"opacity": 0}}
    noise, paper = theme.colour("noise"), theme.pick(theme.PAPER)
    traces = [
        {
            "type": "heatmap",
            "x": axis,
            "y": axis,
            "z": log_density,
            "zmin": top - DEPTH,
            "zmax": top,
            "zsmooth": "best",
            "colorscale": theme.plotly_scale(),
            "colorbar": marks.bar(),
            "hoverinfo": "skip",
        },
        marks.points(
            np.stack([x, y], axis=1),
            {"size": 10, "opacity": 0},
            selected=unseen,
            unselected=unseen,
            customdata=log_density[rows, columns],
            hovertemplate="(%{x:.2f}, %{y:.2f})<br>log p = %{customdata:.2f} nats"
            "<extra>click to select</extra>",
            showlegend=False,
        ),
    ]
    for track, name, dash in (
        (backward, "back to noise", "solid"),
        (forward, "forward to data", "dot"),
    ):
        mode = "lines+markers" if len(track) <= 61 else "lines"
        line = {"color": colour, "width": 2.5, "dash": dash}
        mark = {"size": 4, "color": colour}
        traces.append(marks.points(track, mark, mode=mode, line=line, name=name))
    for position, name, fill, edge in (
        (backward[0], "its noise", noise, paper),
        (backward[-1], "the point", paper, colour),
    ):
        mark = {"size": 12, "color": fill, "line": {"width": 2.5, "color": edge}}
        hover = f"(%{{x:.3f}}, %{{y:.3f}})<extra>{name}</extra>"
        traces.append(marks.points(position[None], mark, name=name, hovertemplate=hover))
    span = marks.square()
    layout = {
        "template": theme.template(),
        "title": {"text": "colours: log <i>p</i> in nats", "font": {"size": 12}},
        "height": 560,
        "margin": {"l": 48, "r": 8, "t": 48, "b": 72},
        "xaxis": span | {"title": {"text": marks.X1}},
        "yaxis": span
        | {"title": {"text": marks.X2}, "scaleanchor": "x", "constraintoward": "top"},
        "font": {"color": theme.pick(theme.INK)},
        "legend": {"y": -0.13},
    }
    return go.Figure({"data": traces, "layout": layout})


def log_density_over_time(
    times: NDArray,
    log_density: NDArray,
    exact: NDArray,
    *,
    colour: str,
    exact_label: str = "exact log <i>p<sub>t</sub></i>",
) -> go.Figure:
    """log p_t in nats along one trajectory and its exact value, (S + 1,) over times (S + 1,).

    `exact` is NaN where it is unknown; its line skips these times.
    """
    known = np.isfinite(exact)
    pink = theme.colour("exact")
    lines = [
        Curve(label="by change of variables", colour=colour, x=times, y=log_density),
        Curve(label=exact_label, colour=pink, x=times[known], y=exact[known], dash="dash"),
    ]
    figure = curves(lines, y_title="log-density along the trajectory (nats)")
    figure.update_yaxes(rangemode="normal")
    figure.update_layout(height=320, legend={"y": -0.28}, margin={"b": 80})
    return figure.update_xaxes(range=[0, 1])


def gaps(lines: Sequence[Curve], errors: Sequence[NDArray]) -> go.Figure:
    """KL divergences in nats over time, with standard errors (n,) as error bars."""
    figure = curves(
        lines,
        y_title="KL(exact <i>p<sub>t</sub></i> ‖ learned <i>p<sub>t</sub></i>) in nats",
        markers=True,
    )
    for trace, error in zip(theme.traces(figure), errors, strict=False):
        trace.error_y = {"type": "data", "array": error, "thickness": 1.2, "width": 3}
    figure.add_hline(y=0, line={"color": theme.pick(theme.MUTED), "width": 1})
    return figure.update_xaxes(range=[-0.01, 1.02])


def ranking(
    labels: Sequence[str],
    values: NDArray,
    errors: NDArray,
    *,
    colours: Sequence[str],
    floor: float | None,
) -> go.Figure:
    """Values (n,) in nats with standard errors (n,), one row each, and the smallest possible."""
    figure = marks.blank(130 + 34 * len(labels))
    figure.add_scatter(
        x=values,
        y=list(labels),
        mode="markers",
        marker={"size": 10, "color": list(colours)},
        error_x={
            "type": "data",
            "array": errors,
            "color": theme.pick(theme.INK),  # that of the marker only if all have one
            "thickness": 1.4,
            "width": 4,
        },
        hovertemplate="%{x:.4f} nats<extra>%{y}</extra>",
        showlegend=False,
    )
    if floor is not None:
        figure.add_vline(
            x=floor,
            line={"color": theme.pick(theme.MUTED), "width": 1.2, "dash": "dot"},
            annotation={"text": "entropy of the data", "yanchor": "bottom"},
        )
    figure.update_xaxes(title="negative log-likelihood (nats)")
    figure.update_yaxes(autorange="reversed", automargin=True)
    return figure.update_layout(margin={"t": 34, "b": 60})


def _nearest(axis: NDArray, values: NDArray) -> NDArray:
    """Indices of the points of a uniform axis that are nearest to values (n,)."""
    step = axis[1] - axis[0]
    return np.clip(np.rint((values - axis[0]) / step), 0, len(axis) - 1).astype(int)
