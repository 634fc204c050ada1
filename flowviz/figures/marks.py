"""Marks and axes that figures share: traces as dictionaries, their positions, blank figures."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray
from plotly.subplots import make_subplots

from flowviz.figures import theme

TIME = "time t  (0 noise, 1 data)"
X1, X2 = "<i>x</i><sub>1</sub>", "<i>x</i><sub>2</sub>"
TITLES = 90
"""Characters for the titles of all panels side by side on a small screen; others are broken."""
TICKS = [-4, -2, 0, 2, 4]
WIDEST = 1.4 * theme.FRAME
"""The largest half side of a frame: one far trajectory must not make all others small."""

DRAWN = {"itemsizing": "trace", "itemwidth": 44, "title_font_size": 12}
"""A legend whose entries have lines and markers as in the figure, wide enough for a dash."""

ALONE = {"groupclick": "togglegroup", "itemclick": "toggleothers", "itemdoubleclick": "toggle"}
"""A legend in which a click on an entry shows its curves alone, and the next click shows all."""

ABOVE = {
    "orientation": "h",
    "x": 0,
    "y": 1,
    "yref": "container",
    "yanchor": "top",
    "bgcolor": "rgba(0, 0, 0, 0)",
    "itemclick": False,
    "itemdoubleclick": False,
    **DRAWN,
}
"""A second legend at the top edge, which only explains."""

ALIKE, NEAR, FINE, MANY = 0.15, 0.6, 2.4, 9.0
"""Decades up to which a logarithmic axis has Plotly's own ticks, ticks at most digits, at 1, 2
and 5, and at every power of ten."""


def blank(height: float) -> go.Figure:
    """A figure of one panel without traces."""
    return go.Figure(layout={"template": theme.template(), "height": height})


def panels(
    titles: Sequence[str],
    height: float,
    *,
    colours: Sequence[str] = (),
    size: float = 14,
    yshift: float | None = 4,
    **options: Any,
) -> go.Figure:
    """A figure of panels without traces, side by side by default.

    Args:
        titles: of the panels.
        height: in pixels.
        colours: of the titles; that of text by default.
        size: of the titles.
        yshift: pixels between titles and panels.
        options: further arguments of `make_subplots`.
    """
    max_chars = TITLES // options.get("cols", len(titles))
    wrapped_titles: Any = [theme.wrapped_title(title, max_chars) for title in titles]
    figure = make_subplots(
        **{"rows": 1, "cols": len(titles), "subplot_titles": wrapped_titles} | options
    )
    for k, title in enumerate(figure.select_annotations()):
        colour = colours[k] if colours else theme.pick(theme.INK)
        title.update(font={"size": size, "color": colour}, yshift=yshift)
    return figure.update_layout(template=theme.template(), height=height)


def suffix(i: int) -> str:
    """The suffix of the axis names of panel i in Plotly."""
    return "" if i == 0 else str(i + 1)


def panel_axes(i: int) -> dict[str, str]:
    """The axes of a trace on panel i."""
    return {"xaxis": f"x{suffix(i)}", "yaxis": f"y{suffix(i)}"}


def small_panel(i: int, x: Sequence[float], y: Sequence[float]) -> dict[str, Any]:
    """The axes of panel i without labels, on these shares of the figure."""
    axis, name = square(showticklabels=False, ticks=""), suffix(i)
    return {
        f"xaxis{name}": axis | {"domain": x, "anchor": f"y{name}"},
        f"yaxis{name}": axis | {"domain": y, "anchor": f"x{name}", "scaleanchor": f"x{name}"},
    }


def points(positions: NDArray, marker: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Markers at positions (n, 2); `more` are further attributes of the trace."""
    trace = {"x": positions[:, 0], "y": positions[:, 1], "mode": "markers", "marker": marker}
    return trace | ({} if "hovertemplate" in more else {"hoverinfo": "skip"}) | more


def line(positions: NDArray, colour: str, width: float = 1, **more: Any) -> dict[str, Any]:
    """A line through positions (n, 2); `more` are further attributes of the trace."""
    trace = {"mode": "lines", "line": {"color": colour, "width": width}, "hoverinfo": "skip"}
    return {"x": positions[:, 0], "y": positions[:, 1]} | trace | more


def bar() -> dict[str, Any]:
    """A thin colour bar in the upper right corner of a figure, whose title says what it shows.

    A title of its own would be drawn over it, and shift the titles of a narrow figure.
    """
    return {
        "orientation": "h",
        "thickness": 8,
        "lenmode": "pixels",
        "len": 150,
        "nticks": 4,
        "tickangle": 0,
        "outlinewidth": 0,
        "tickfont": {"size": 11, "color": theme.pick(theme.MUTED)},
        "x": 1,
        "xanchor": "right",
        "y": 1,
        "yref": "container",
        "yanchor": "top",
        "xpad": 0,
        "ypad": 16,
    }


def key(
    name: str, colour: str, *, dash: str = "solid", symbol: str = "", **more: Any
) -> dict[str, Any]:
    """An entry of the legend without data: a line, with a marker if it has a symbol."""
    return {
        "x": [None],
        "y": [None],
        "mode": "lines+markers" if symbol else "lines",
        "line": {"color": colour, "width": 2, "dash": dash},
        "marker": {"size": 8, "symbol": symbol or "circle", "color": colour},
        "name": name,
        "hoverinfo": "skip",
    } | more


def level(
    ends: ArrayLike, height: float, name: str, colour: str, dash: str = "dot", width: float = 1.2
) -> dict[str, Any]:
    """A horizontal line between two ends (2,)."""
    return {
        "x": ends,
        "y": [height, height],
        "mode": "lines",
        "line": {"color": colour, "width": width, "dash": dash},
        "name": name,
        "hovertemplate": f"%{{y:.4g}}<extra>{name}</extra>",
    }


def arrows(positions: NDArray, velocities: NDArray, *, scale: float) -> NDArray:
    """Arrows from x to x + scale u as one line with NaN between its parts, (9 m, 2).

    Each arrow is a shaft of three rows, a head of five rows and a gap. Positions and velocities
    have shape (m, 2). A head has a third of the length of its arrow, so that the direction of a
    short arrow stays visible.
    """
    shafts = scale * velocities
    tip = positions + shafts
    base, side = tip - shafts / 3, np.stack([-shafts[:, 1], shafts[:, 0]], axis=1) / 6
    gap = np.full_like(positions, np.nan)
    line = [positions, tip, gap, base + side, tip, base - side, base + side, tip, gap]
    return np.stack(line, axis=1).reshape(-1, 2)


def polyline(states: NDArray) -> NDArray:
    """Trajectories (S + 1, n, 2) as one line with NaN between particles, ((S + 2) n, 2)."""
    gap = np.full_like(states[:1], np.nan)
    return np.concatenate([states, gap]).swapaxes(0, 1).reshape(-1, 2)


def half_side(*states: NDArray) -> float:
    """Half the side of a frame around states (..., 2), from FRAME to WIDEST.

    Rounded up to multiples of 0.5, so that figures of similar trajectories have the same frame.
    """
    largest = max(float(np.abs(one).max(initial=0.0)) for one in states)
    return min(max(theme.FRAME, math.ceil(2 * (largest + 0.1)) / 2), WIDEST)


def over_time(times: NDArray, values: NDArray) -> NDArray:
    """Values (T, n) over times (T,) as one line with NaN between them, ((T + 1) n, 2)."""
    return polyline(np.stack(np.broadcast_arrays(times[:, None], values), axis=-1))


def square(half: float = theme.FRAME, **more: Any) -> dict[str, Any]:
    """An axis of a square panel of the plane; `more` are further attributes."""
    return {"range": [-half, half], "showgrid": False, "constrain": "domain"} | more


def log_axis(low: float, high: float) -> dict[str, Any]:
    """A logarithmic axis from one positive value to another."""
    span = [np.log10(low), np.log10(high)]
    return {"type": "log", "range": span, **log_ticks(np.array([low, high]))}


def log_ticks(values: NDArray) -> dict[str, Any]:
    """Ticks of a logarithmic axis for values (n,); only positive finite values are drawn.

    The ticks are 1, 2, 5, 10, ... over a few decades and the powers of ten over more. Plotly would
    print every digit, so its own ticks are used only where the values are nearly equal. The ticks
    extend one decade beyond the values, for users who zoom out.
    """
    values = values[np.isfinite(values) & (values > 0)]
    low, high = np.log10(values.min(initial=1e300)), np.log10(values.max(initial=1e-300))
    decades = high - low
    if decades < ALIKE:
        return {}
    steps = (
        (1, 1.5, 2, 3, 4, 5, 6, 7, 8) if decades < NEAR else (1, 2, 5) if decades <= FINE else (1,)
    )
    stride = 1 if decades <= MANY else 2
    first = math.floor(low / stride) * stride - stride
    powers = range(first, math.ceil(high) + stride + 1, stride)
    plain = -3 <= low < high < 5
    ticks = [(step, power) for power in powers for step in steps]
    return {
        "tickvals": [step * 10.0**power for step, power in ticks],
        "ticktext": [
            _plain(step * 10.0**power) if plain else _power(step, power) for step, power in ticks
        ],
    }


def _plain(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.6f}".rstrip("0").rstrip(".")


def _power(step: float, power: int) -> str:
    """The label of step * 10^power."""
    size = f"10<sup>{power}</sup>".replace("-", "−")
    return size if step == 1 else f"{step:g}·{size}"
