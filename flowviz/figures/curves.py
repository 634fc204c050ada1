"""Line plots over training steps, time or cost."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from flowviz.figures import marks, theme
from flowviz.figures.marks import log_ticks


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One line of a figure: y (n,) over x (n,), and the smallest value that it can reach.

    `band` has the lowest and the highest y of several runs, each (n,). `theme.style` gives curves
    of one path different colours, line styles and markers. Without `joined`, there are only
    markers: between them there is nothing.
    """

    label: str
    colour: str
    x: NDArray
    y: NDArray
    floor: float | None = None
    band: tuple[NDArray, NDArray] | None = None
    dash: str = "solid"
    symbol: str = "circle"
    joined: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", theme.plain(self.label))
        if self.x.ndim != 1 or self.x.shape != self.y.shape:
            raise ValueError(
                f"x and y must have the same shape (n,); got {self.x.shape} and {self.y.shape}."
            )


def of_runs(
    label: str,
    colour: str,
    x: NDArray,
    runs: NDArray,
    **more: Any,
) -> Curve:
    """The mean of several runs with their range as a band, where all of them are finite.

    Args:
        label: name in the legend.
        colour: of the line, #rrggbb.
        x: (n,).
        runs: y of one run (n,) or of several (R, n).
        more: further attributes of `Curve`.
    """
    runs = np.atleast_2d(runs)
    known = np.isfinite(runs).all(axis=0)
    runs = runs[:, known]
    return Curve(
        label=label,
        colour=colour,
        x=np.asarray(x, dtype=float)[known],
        y=runs.mean(axis=0),
        band=(runs.min(axis=0), runs.max(axis=0)) if len(runs) > 1 else None,
        **more,
    )


def merged(lines: Sequence[Curve]) -> list[Curve]:
    """The lines; lines of one path that coincide become one line with all their labels."""
    merged_lines: list[Curve] = []
    for each in lines:
        for k, other in enumerate(merged_lines):
            if theme.family(other.colour) == theme.family(each.colour) and _coincide(other, each):
                merged_lines[k] = replace(other, label=f"{other.label}<br>and {each.label}")
                break
        else:
            merged_lines.append(each)
    return merged_lines


def _coincide(a: Curve, b: Curve) -> bool:
    return all(
        p.shape == q.shape and np.allclose(p, q, atol=1e-6, equal_nan=True)
        for p, q in ((a.x, b.x), (a.y, b.y))
    )


def curves(
    lines: Sequence[Curve],
    *,
    x_title: str = marks.TIME,
    y_title: str,
    floor_label: str = "floor",
    log_x: bool = False,
    log_y: bool = False,
    markers: bool = False,
    x_ticks: Sequence[float] | None = None,
) -> go.Figure:
    """Lines over one pair of axes, each with its floor as a dotted line of the same colour.

    `x_ticks` are the ticks of the x axis; without them, Plotly chooses.
    """
    figure = marks.blank(360)
    for line in lines:
        if line.band is not None:
            figure.add_scatter(
                x=np.concatenate([line.x, line.x[::-1]]),
                y=np.concatenate([line.band[0], line.band[1][::-1]]),
                mode="lines",
                line={"width": 0},
                fill="toself",
                fillcolor=theme.rgba(line.colour, 0.15),
                hoverinfo="skip",
                showlegend=False,
            )
    for line in lines:
        figure.add_scatter(
            x=line.x,
            y=line.y,
            mode="markers" if not line.joined else "lines+markers" if markers else "lines",
            line={"color": line.colour, "width": 2, "dash": line.dash},
            marker={"size": 7 if line.symbol != "circle" else 5, "symbol": line.symbol},
            cliponaxis=line.joined,
            name=line.label,
            hovertemplate=f"%{{x:.4g}}: %{{y:.4g}}<extra>{line.label}</extra>",
        )
    x = np.concatenate([*(line.x for line in lines), []])
    for level, colour, label in _floors(lines, floor_label):
        ends = [x.min(initial=np.inf), x.max(initial=-np.inf)]
        figure.add_scatter(**marks.level(ends, level, label, colour))
    figure.update_xaxes(title=x_title, type="log" if log_x else "linear")
    if x_ticks is None and log_x:
        figure.update_xaxes(**log_ticks(x))
    elif x_ticks is not None:
        figure.update_xaxes(tickvals=list(x_ticks), ticktext=[f"{tick:,g}" for tick in x_ticks])
    if log_y:
        levels = [[line.floor] for line in lines if line.floor is not None]
        values = np.concatenate([*(line.y for line in lines), *levels, []]).astype(float)
        figure.update_yaxes(title=y_title, type="log", **log_ticks(values))
    else:
        figure.update_yaxes(title=y_title, rangemode="tozero")
    return figure.update_layout(margin={"t": 16, "b": 84}, legend={"y": -0.21, **marks.DRAWN})


def name_floors(figure: go.Figure, name: str) -> None:
    """Gives all floors, the dotted lines, one entry of the legend, in the colour of none."""
    floors = [trace for trace in theme.traces(figure) if trace.line.dash == "dot"]
    for trace in floors:
        trace.update(showlegend=False, name=name)
    if floors:
        figure.add_scatter(**marks.key(name, theme.pick(theme.MUTED), dash="dot"))


def quality(lines: Sequence[Curve], *, t: float | None = None, metric: str) -> go.Figure:
    """Distance of the particles from the data over time, with a mark at the current time t.

    Each floor is the same distance between two random samples of the data.
    """
    figure = curves(lines, y_title=metric, floor_label="two samples of the data")
    if t is not None:
        figure.add_vline(x=t, line={"color": theme.pick(theme.MUTED), "width": 1, "dash": "dash"})
    return figure.update_xaxes(range=[0, 1])


def _floors(lines: Sequence[Curve], label: str) -> list[tuple[float, str, str]]:
    """(level, colour, label) of each floor; a floor shared by all lines is drawn once, in grey."""
    known = [
        (line.floor, line.colour, f"{label}, {line.label}")
        for line in lines
        if line.floor is not None
    ]
    if len({floor for floor, *_ in known}) == 1 and len(known) > 1:
        return [(known[0][0], theme.pick(theme.MUTED), label)]
    return known
