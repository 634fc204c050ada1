"""Figures of schedules: alpha, sigma, their derivatives and log-SNR over time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from flowviz.figures import marks, theme

PANELS = (
    ("signal α<sub>t</sub>", "alpha"),
    ("noise σ<sub>t</sub>", "sigma"),
    ("log-SNR  2 log(α/σ)", "log_snr"),
    ("dα/dt", "d_alpha"),
    ("dσ/dt", "d_sigma"),
    ("σ against α", "plane"),
)
"""Title and quantity of each panel, row by row."""

REACH = {"alpha": (-0.04, 1.04), "sigma": (-0.06, 1.6), "log_snr": (-12.5, 14.5)}
"""Axis ranges of quantities for which one path would make the others small."""

STEEPEST = 6.0
"""The largest derivative that the panels show."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The coefficients of one path over time, each (T,).

    Attributes:
        label: name in the legend.
        colour: #rrggbb.
        t: times in [0, t_max].
        alpha: coefficient of the data in x_t.
        sigma: coefficient of the noise in x_t.
        d_alpha: d alpha / dt.
        d_sigma: d sigma / dt.
        log_snr: 2 log(alpha / sigma); NaN where alpha is 0.
        wide: whether the line is wider than the others.
    """

    label: str
    colour: str
    t: NDArray
    alpha: NDArray
    sigma: NDArray
    d_alpha: NDArray
    d_sigma: NDArray
    log_snr: NDArray
    wide: bool = False


def schedules(lines: Sequence[Schedule], *, against: str = "t") -> go.Figure:
    """Six panels: alpha, sigma, log-SNR, both derivatives, and sigma against alpha.

    Args:
        lines: one schedule per path.
        against: "t" or "log-snr", which compares paths at equal noise levels; the third panel
            shows t then.
    """
    titles = [_title(title, name, against) for title, name in PANELS]
    grid = {"rows": 2, "cols": 3, "horizontal_spacing": 0.07, "vertical_spacing": 0.25}
    figure = marks.panels(titles, 580, size=13, yshift=2, **grid)
    for index, (_, name) in enumerate(PANELS):
        cell: dict[str, Any] = {"row": index // 3 + 1, "col": index % 3 + 1}
        for line in lines:
            x, y = _points(line, name, against)
            figure.add_scatter(
                x=x,
                y=y,
                mode="lines",
                line={
                    "color": line.colour,
                    "width": 3 if line.wide else 1.8,
                    "simplify": False,  # simplification leaves visible corners in a wide line
                },
                name=line.label,
                legendgroup=line.label,
                showlegend=index == 0,
                hovertemplate=f"%{{x:.3g}}: %{{y:.4g}}<extra>{line.label}</extra>",
                **cell,
            )
        figure.update_yaxes(range=_range(lines, name, against), **cell)
        clock = {"t": [0, 1], "log-snr": list(REACH["log_snr"])}[against]
        figure.update_xaxes(range=list(REACH["alpha"]) if name == "plane" else clock, **cell)
    for column in (1, 2):
        figure.update_xaxes(title=_clock(against), row=2, col=column)
    figure.update_xaxes(title=_clock(against), row=1, col=3)
    figure.update_xaxes(title="signal α<sub>t</sub>", row=2, col=3)
    if against == "t":
        third: Any = {"row": 1, "col": 3}  # Plotly annotates them as texts
        dotted = {"color": theme.pick(theme.MUTED), "width": 1, "dash": "dot"}
        figure.add_hline(y=0, line=dotted, **third)
    margin = {"t": 34, "b": 84, "l": 40, "r": 8}
    return figure.update_layout(margin=margin, legend={"y": -0.15})


def _title(title: str, name: str, against: str) -> str:
    return "time t" if name == "log_snr" and against != "t" else title


def _clock(against: str) -> str:
    return {"t": marks.TIME, "log-snr": "log-SNR"}[against]


def _points(line: Schedule, name: str, against: str) -> tuple[NDArray, NDArray]:
    if name == "plane":
        return line.alpha, line.sigma
    if against == "t":
        return line.t, getattr(line, name)
    return line.log_snr, line.t if name == "log_snr" else getattr(line, name)


def _range(lines: Sequence[Schedule], name: str, against: str) -> list[float]:
    """The range of the vertical axis of a panel."""
    if name == "log_snr":
        return [0, 1] if against != "t" else list(REACH[name])
    if name in ("alpha", "sigma", "plane"):
        exploding = any(line.sigma.max() > 1.1 for line in lines)
        return list(REACH["sigma" if exploding and name != "alpha" else "alpha"])
    rates = np.concatenate([getattr(line, name) for line in lines])
    low, high = max(rates.min(), -STEEPEST), min(rates.max(), STEEPEST)
    margin = 0.06 * max(high - low, 0.5)
    return [low - margin, high + margin]
