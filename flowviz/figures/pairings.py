"""Pictures of couplings: segments from noise to data with their crossings, and the ways made."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from numpy.typing import NDArray

from flowviz.figures import theme
from flowviz.figures.curves import Curve, curves
from flowviz.figures.plane import TICKS, polyline, reach

__all__ = ["Panel", "over_minibatch", "panels"]

GAP = 0.025
"""Between two panels, as a part of the figure's width."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One coupling.

    Attributes:
        title: its name.
        lines: what is said of it, up to three short lines.
        colour: of segments or ways.
        states: (T, n, 2): noise, data, and what lies between; segments have T = 2.
        crossings: (C, 2), where they cross; None where that is not marked.
        at_once: (C,), which crossings two particles pass at nearly the same time.
    """

    title: str
    lines: Sequence[str]
    colour: str
    states: NDArray
    crossings: NDArray | None = None
    at_once: NDArray | None = None

    def __post_init__(self) -> None:
        if self.states.ndim != 3 or self.states.shape[2] != 2 or len(self.states) < 2:
            raise ValueError(f"states must have shape (T, n, 2), T > 1; got {self.states.shape}.")


def over_minibatch(
    lines: Sequence[Curve],
    *,
    sizes: Sequence[int],
    y_title: str,
    floor_label: str = "",
    log_y: bool = False,
    dark: bool = False,
) -> go.Figure:
    """Measures of couplings over the size of the minibatch within which pairs are chosen."""
    return curves(
        lines,
        x_title="pairs of a minibatch (1: independent)",
        y_title=y_title,
        floor_label=floor_label,
        log_x=True,
        log_y=log_y,
        markers=True,
        x_ticks=sizes,
        dark=dark,
    )


def panels(shown: Sequence[Panel], *, ends: str, dark: bool = False) -> go.Figure:
    """Panels beside each other on linked equal axes, `ends` being what the last states are called.

    Made from one dictionary, since Plotly checks a figure anew at every change that is made to it.
    """
    if not shown:
        raise ValueError("There must be at least one panel to draw; got none.")
    half = reach(*(panel.states for panel in shown))
    wide = (1 - GAP * (len(shown) - 1)) / len(shown)
    layout: dict[str, Any] = {}
    traces, notes = [], []
    for i, panel in enumerate(shown):
        axis, left = "" if i == 0 else str(i + 1), i * (wide + GAP)
        span = {
            "range": [-half, half],
            "tickvals": TICKS,
            "showgrid": False,
            "constrain": "domain",
        }
        layout[f"xaxis{axis}"] = span | {
            "domain": [left, min(left + wide, 1)],
            "anchor": f"y{axis}",
        }
        layout[f"yaxis{axis}"] = span | {
            "anchor": f"x{axis}",
            "showticklabels": i == 0,
            "constraintoward": "top",
            "scaleanchor": f"x{axis}",
        }
        if i:  # which links zoom and shift
            layout[f"xaxis{axis}"]["matches"] = "x"
            layout[f"yaxis{axis}"] |= {"matches": "y"}
        on = {"xaxis": f"x{axis}", "yaxis": f"y{axis}"}
        traces += [trace | on for trace in _marks(panel, ends, first=i == 0, dark=dark)]
        notes.append(
            {
                "text": "<br>".join([f"<b>{panel.title}</b>", *panel.lines]),
                "x": left + wide / 2,
                "y": 1,
                "xref": "paper",
                "yref": "paper",
                "xanchor": "center",
                "yanchor": "bottom",
                "yshift": 4,
                "showarrow": False,
                "font": {"size": 12, "color": theme.INK[dark]},
            }
        )
    layout |= {
        "template": theme.template(dark=dark),
        "annotations": notes,
        "height": 372,
        "margin": {"l": 32, "r": 8, "t": 108, "b": 24},
        # Above, since in a narrow window the panels end high above the figure's bottom.
        "legend": {"y": 1, "yref": "container", "yanchor": "top"},
    }
    return go.Figure({"data": traces, "layout": layout})


def _marks(panel: Panel, ends: str, *, first: bool, dark: bool) -> list[dict[str, Any]]:
    """The lines, their ends and their crossings; only the first panel's are in the legend."""
    line = polyline(panel.states)
    noise, data = (theme.colour(role, dark=dark) for role in ("noise", "data"))
    shared = {"type": "scatter", "hoverinfo": "skip", "showlegend": first}
    found: list[dict[str, Any]] = [
        shared
        | {
            "x": line[:, 0],
            "y": line[:, 1],
            "mode": "lines",
            "line": {"color": theme.rgba(panel.colour, 0.6), "width": 1},
            "showlegend": False,
        }
    ]
    for name, points, colour in (
        ("noise x<sub>0</sub>", panel.states[0], noise),
        (ends, panel.states[-1], data),
    ):
        found.append(
            shared
            | {
                "x": points[:, 0],
                "y": points[:, 1],
                "mode": "markers",
                "marker": {"size": 5, "color": colour},
                "name": name,
                "legendgroup": name,
            }
        )
    if panel.crossings is None or panel.at_once is None:
        return found
    ink, muted = theme.INK[dark], theme.MUTED[dark]
    for name, chosen, mark in (
        (
            "lines cross",
            ~panel.at_once,
            {"size": 3.5, "color": theme.PAPER[dark], "line": {"width": 0.8, "color": muted}},
        ),
        ("and both are there at nearly the same time", panel.at_once, {"size": 4, "color": ink}),
    ):
        points = panel.crossings[chosen]
        found.append(
            shared
            | {
                "x": points[:, 0] if len(points) else [None],
                "y": points[:, 1] if len(points) else [None],
                "mode": "markers",
                "marker": mark,
                "name": name,
                "legendgroup": name,
            }
        )
    return found
