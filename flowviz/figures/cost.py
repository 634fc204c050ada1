"""Cost of sampling: error and quality against NFE, adaptive steps, and cost across data sets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from flowviz.figures import marks, theme

PLAIN = {"width": 2.4, "size": 8}
BEHIND = {"width": 1.0, "size": 5}
"""Width of lines and size of markers of curves, and of those that are thinner than main ones."""


@dataclass(frozen=True, kw_only=True)
class CostCurve:
    """Error and quality of one field and one solver for P budgets: lowest, mean and highest seed.

    Attributes:
        field: name of the field in the legend.
        solver: the solver's name in the legend.
        colour: colour of the field, one of those of its path, #rrggbb.
        symbol: marker of the field.
        dash: line style of the solver.
        nfe: mean number of function evaluations, (P,).
        error: squared error per dimension, (3, P).
        quality: values of the metric, (3, P).
        diverged: where the solver failed or moved samples out of the plane, (P,).
        notes: P sentences, which explain the points that diverged.
        main: whether the curve stands out from those that are not main.
    """

    field: str
    solver: str
    colour: str
    symbol: str
    dash: str
    nfe: NDArray
    error: NDArray
    quality: NDArray
    diverged: NDArray
    notes: Sequence[str]
    main: bool = False

    @property
    def label(self) -> str:
        """Name of the curve."""
        return f"{self.field}, {self.solver}"

    def __post_init__(self) -> None:
        expected = (3, len(self.nfe))
        for name in ("error", "quality"):
            if (shape := getattr(self, name).shape) != expected:
                raise ValueError(
                    f"{name} must have shape {expected}: lowest, mean and highest; got {shape}."
                )


def costs(
    curves: Sequence[CostCurve],
    *,
    measure: str,
    floor: float,
    band: tuple[float, float],
    target: float,
    level: float,
) -> go.Figure:
    """Squared error per dimension and a measure of quality against NFE, on logarithmic axes.

    The legend shows fields by colour and marker; a click on one shows its curves alone in both
    figures, the next click all, and a double click hides it. A second legend shows solvers by line
    style. A cross marks a point that diverged, at the top edge if its value lies above.

    Args:
        curves: one curve per field and solver, in the order of the legend.
        measure: name of the metric.
        floor: its value for the exact flow from the same noise, which is the best possible one.
        band: its lowest and highest value between two random samples of the data.
        target: the value below which a sampler has reached the target.
        level: the error at which costs are compared.
    """
    titles = ["Squared error", measure]
    figure = marks.panels(titles, 540, horizontal_spacing=0.11)
    for column, name in ((1, "error"), (2, "quality")):
        low, top = _span([getattr(c, name) for c in curves], [c.diverged for c in curves])
        factor = 1.6 if column == 1 else 1.08
        if column == 2 and floor > 0:
            low = min(low, floor, *band)
        low, top = low / factor, top * factor
        for curve in curves:
            behind = not curve.main and any(each.main for each in curves)
            style = BEHIND if behind else PLAIN
            _add_curve(figure, curve, getattr(curve, name), column, low=low, top=top, **style)
        _add_diverged(figure, curves, name, column, top=top)
        axis = marks.log_axis(low, top)
        axis["range"][1] += 0.02
        figure.update_yaxes(**axis, row=1, col=column)
    _add_legend(figure, curves)
    costs_of_all = np.concatenate([c.nfe[np.isfinite(c.nfe)] for c in curves] or [[1, 100]])
    ends = costs_of_all.min() / 1.15, costs_of_all.max() * 1.15
    _add_levels(figure, ends, floor=floor, band=band, target=target, level=level)
    figure.update_xaxes(title="NFE", tickangle=0, **marks.log_axis(*ends))
    return figure.update_layout(
        margin={"l": 48, "r": 16, "t": 40, "b": 56},
        legend={
            "title_text": "field:",
            "y": 0,
            "yref": "container",
            "yanchor": "bottom",
            **marks.ALONE,
            **marks.DRAWN,
        },
        legend2=marks.ABOVE | {"title_text": "solver:"},
    )


def _add_curve(
    figure: go.Figure,
    curve: CostCurve,
    band: NDArray,
    column: int,
    *,
    low: float,
    top: float,
    width: float,
    size: float,
) -> None:
    low_value, mean, high_value = band
    drawn_mean = np.where(mean > 0, mean, low)  # a value of 0 is drawn at the bottom edge
    figure.add_scatter(
        x=curve.nfe,
        y=drawn_mean,
        error_y={
            "type": "data",
            "symmetric": False,
            "array": np.clip(np.minimum(high_value, top) - mean, 0, None),
            "arrayminus": np.where(low_value > 0, mean - low_value, 0),
            "thickness": 1,
            "width": 2,
            "color": theme.rgba(curve.colour, 0.5),
        },
        customdata=np.column_stack([mean, np.sqrt(mean), low_value, high_value]),
        mode="lines+markers",
        line={"color": curve.colour, "width": width, "dash": curve.dash},
        marker={"size": size, "symbol": curve.symbol, "color": curve.colour},
        name=curve.label,
        legendgroup=curve.field,
        legendrank=10,
        showlegend=False,
        hovertemplate="NFE %{x:.4g}: %{customdata[0]:.4g}"
        + ("<br>root mean square %{customdata[1]:.4g}" if column == 1 else "")
        + "<br>seeds %{customdata[2]:.4g} to %{customdata[3]:.4g}"
        + f"<extra>{curve.label}</extra>",
        row=1,
        col=column,
    )


def _add_legend(figure: go.Figure, curves: Sequence[CostCurve]) -> None:
    """Adds legend entries without data: one per field and one per solver."""
    for curve in _first(curves, "field"):
        group = {"legendgroup": curve.field, "legendrank": 10}
        entry = marks.key(curve.field, curve.colour, symbol=curve.symbol, **group)
        figure.add_scatter(**entry, row=1, col=1)
    for curve in _first(curves, "solver"):
        second = {"legend": "legend2", "legendrank": 20}
        entry = marks.key(curve.solver, theme.pick(theme.INK), dash=curve.dash, **second)
        figure.add_scatter(**entry, row=1, col=1)


def _add_diverged(
    figure: go.Figure, curves: Sequence[CostCurve], name: str, column: int, *, top: float
) -> None:
    """Adds a cross for each budget that diverged, on its curve or at the top edge."""
    edge = {"width": 1, "color": theme.pick(theme.PAPER)}
    cross = {"name": "diverged", "mode": "markers", "row": 1, "col": column}
    for first in _first(curves, "field"):
        rows = [
            (c.nfe[p], _finite(getattr(c, name)[1, p], top), c.colour, f"{c.label}: {c.notes[p]}")
            for c in curves
            for p in np.flatnonzero(c.diverged).tolist()
            if c.field == first.field
        ]
        if rows:
            nfe, values, colours, notes = zip(*rows, strict=True)
            figure.add_scatter(
                **cross,
                x=nfe,
                y=values,
                marker={"symbol": "x", "size": 9, "color": colours, "line": edge},
                customdata=notes,
                hovertemplate="NFE %{x:.4g}<br>%{customdata}<extra></extra>",
                legendgroup=first.field,
                legendrank=10,
                showlegend=False,
                cliponaxis=False,
            )
    if column == 1 and any(c.diverged.any() for c in curves):
        mark = {"symbol": "x", "size": 9, "color": theme.pick(theme.INK)}
        figure.add_scatter(**cross, x=[None], y=[None], marker=mark, legendrank=30)


def _add_levels(
    figure: go.Figure,
    ends: tuple[float, float],
    *,
    floor: float,
    band: tuple[float, float],
    target: float,
    level: float,
) -> None:
    """Adds the floor, its band and the target to the quality, and the level to the error.

    Their entries of the legend are apart from them, so that they stay when one field is shown.
    """
    data, muted = theme.colour("data"), theme.pick(theme.MUTED)
    reached = "target reached", muted, "dash"
    traces = [(2, marks.level(ends, target, *reached)), (1, marks.level(ends, level, *reached))]
    if floor > 0:
        traces.append((2, marks.level(ends, floor, "best possible, same noise", data)))
    if band[0] > 0:
        shade = {
            "x": [*ends, *ends[::-1]],
            "y": [band[0], band[0], band[1], band[1]],
            "mode": "lines",
            "line": {"width": 0},
            "fill": "toself",
            "fillcolor": theme.rgba(data, 0.14),
            "name": "two samples of the data",
            "hoverinfo": "skip",
        }
        traces.insert(0, (2, shade))
    for column, trace in traces:
        figure.add_scatter(**trace, showlegend=False, row=1, col=column)
    for trace in {trace["name"]: trace for _, trace in traces}.values():
        nowhere = {"x": [None], "y": [None], "legendrank": 40}
        figure.add_scatter(**trace | nowhere, row=1, col=1)


def _first(curves: Sequence[CostCurve], name: str) -> list[CostCurve]:
    """The first curve of each field or solver."""
    first_curves: dict[str, CostCurve] = {}
    for curve in curves:
        first_curves.setdefault(getattr(curve, name), curve)
    return list(first_curves.values())


def _span(bands: Sequence[NDArray], diverged: Sequence[NDArray]) -> tuple[float, float]:
    """Returns the smallest and the largest positive mean of the points that did not diverge."""
    finite = [b[1][~e] for b, e in zip(bands, diverged, strict=True)]
    values = np.concatenate([*finite, [np.nan]])
    values = values[np.isfinite(values) & (values > 0)]
    if not len(values):
        return 1e-3, 10.0
    return float(values.min()), float(values.max())


def _finite(value: float, top: float) -> float:
    return float(min(value, top)) if np.isfinite(value) else top


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """Steps and states of one solve with an adaptive solver.

    Attributes:
        label: title of the panel.
        colour: colour of the path.
        begin: start times of the accepted steps, (S,).
        size: sizes of the accepted steps, (S,).
        rejected: start time and size of each rejected step, (R, 2).
        times: times of the states, (T,).
        states: particles at these times, (T, m, 2).
        t_max: the end time.
    """

    label: str
    colour: str
    begin: NDArray
    size: NDArray
    rejected: NDArray
    times: NDArray
    states: NDArray
    t_max: float


def steps(records: Sequence[StepRecord]) -> go.Figure:
    """First coordinate of particles over t, above the step sizes; one column per path.

    A tick under the trajectories marks the start of each accepted step.
    """
    figure = marks.panels(
        [f"<b>{record.label}</b>" for record in records],
        560,
        colours=[record.colour for record in records],
        yshift=2,
        rows=2,
        shared_xaxes=True,
        vertical_spacing=0.06,
        horizontal_spacing=0.07,
        row_heights=[0.5, 0.5],
    )
    sizes = np.concatenate([np.append(r.size, r.rejected[:, 1]) for r in records])
    for column, record in enumerate(records, start=1):
        _add_trajectories(figure, record, column)
        _add_sizes(figure, record, column)
    figure.update_xaxes(range=[-0.01, 1.01])
    figure.update_xaxes(title=marks.TIME, row=2)
    figure.update_yaxes(range=[-theme.FRAME - 1.1, theme.FRAME + 0.4], row=1)
    figure.update_yaxes(**marks.log_axis(sizes.min() / 1.6, sizes.max() * 1.6), row=2)
    figure.update_yaxes(title=f"{marks.X1} of some particles", row=1, col=1)
    figure.update_yaxes(title="step size", row=2, col=1)
    return figure.update_layout(
        margin={"l": 64, "r": 16, "t": 44, "b": 56}, legend={"y": -0.12, "tracegroupgap": 4}
    )


def _add_trajectories(figure: go.Figure, record: StepRecord, column: int) -> None:
    where = {"showlegend": False, "row": 1, "col": column}
    tracks = marks.over_time(record.times, record.states[:, :, 0])
    figure.add_scatter(**marks.line(tracks, theme.rgba(record.colour, 0.55)), **where)
    figure.add_scatter(
        x=record.begin,
        y=np.full(len(record.begin), -theme.FRAME - 0.6),
        mode="markers",
        marker={"symbol": "line-ns", "size": 9, "line": {"width": 1.4, "color": record.colour}},
        hovertemplate="step starts at t = %{x:.4g}<extra></extra>",
        **where,
    )


def _add_sizes(figure: go.Figure, record: StepRecord, column: int) -> None:
    figure.add_scatter(
        x=record.begin,
        y=record.size,
        mode="lines+markers",
        line={"color": record.colour, "width": 1.4, "shape": "hv"},
        marker={"size": 6, "color": record.colour},
        name=f"accepted, {record.label}",
        hovertemplate="t = %{x:.4g}: step size %{y:.3g}<extra>accepted</extra>",
        row=2,
        col=column,
    )
    crosses = marks.points(
        record.rejected,
        {"symbol": "x-thin", "size": 8, "line": {"width": 1.6, "color": theme.pick(theme.INK)}},
        name="rejected",
        legendgroup="rejected",
        showlegend=column == 1,
        hovertemplate="t = %{x:.4g}: step size %{y:.3g}<extra>rejected</extra>",
    )
    figure.add_scatter(**crosses, row=2, col=column)


def dumbbells(
    groups: Sequence[tuple[str, Mapping[str, tuple[float, float]]]],
    *,
    labels: tuple[str, str],
    colours: tuple[str, str],
) -> go.Figure:
    """NFE of two paths, one row per data set and one panel per target, on logarithmic axes.

    Args:
        groups: title of each target, and the NFE on both paths by the label of the data set; NaN
            for a path that did not reach the target.
        labels: names of the two paths.
        colours: colours of the two paths.
    """
    figure = marks.panels(
        [title for title, _ in groups],
        160 + 34 * max(len(rows) for _, rows in groups),
        shared_yaxes=True,
        horizontal_spacing=0.06,
    )
    values = [value for _, rows in groups for pair in rows.values() for value in pair]
    finite = [value for value in values if np.isfinite(value)] or [4.0, 100.0]
    ends = min(finite) / 1.3, max(finite) * 1.3
    for column, (_, rows) in enumerate(groups, start=1):
        names, pairs = list(rows), np.array([[*pair, np.nan] for pair in rows.values()])
        figure.add_scatter(
            x=pairs.ravel(),
            y=np.repeat(names, 3),
            mode="lines",
            line={"color": theme.pick(theme.GRID), "width": 4},
            hoverinfo="skip",
            showlegend=False,
            row=1,
            col=column,
        )
        for k in range(2):
            figure.add_scatter(
                x=pairs[:, k],
                y=names,
                mode="markers",
                marker={"size": 11, "color": colours[k]},
                name=labels[k],
                legendgroup=labels[k],
                showlegend=column == 1,
                hovertemplate=f"%{{y}}: NFE %{{x:.3g}}<extra>{labels[k]}</extra>",
                row=1,
                col=column,
            )
    title = "function evaluations (NFE)"
    figure.update_xaxes(title=title, tickangle=0, **marks.log_axis(*ends))
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure.update_layout(
        margin={"l": 64, "r": 16, "t": 44, "b": 76},
        legend={"y": 0, "yref": "container", "yanchor": "bottom"},
    )
