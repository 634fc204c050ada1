"""Step sizes of adaptive solvers on images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from flowviz.figures import theme
from flowviz.figures.curves import log_ticks

__all__ = ["Steps", "step_sizes"]


@dataclass(frozen=True, kw_only=True)
class Steps:
    """One solve by an adaptive solver.

    Attributes:
        label: name in the legend.
        colour: colour of the path, #rrggbb.
        times: start times of the accepted steps, then the end time, (S + 1,).
        rejected: start time and size of each rejected step, (R, 2).
    """

    label: str
    colour: str
    times: NDArray
    rejected: NDArray

    def __post_init__(self) -> None:
        if self.times.ndim != 1 or len(self.times) < 2 or not (np.diff(self.times) > 0).all():
            raise ValueError(
                f"times must increase and have shape (S + 1,) with S >= 1; got "
                f"{self.times.tolist()}."
            )


def step_sizes(solves: Sequence[Steps], *, dark: bool = False) -> go.Figure:
    """Step size over t, on a logarithmic axis; crosses mark rejected steps."""
    figure = go.Figure(layout={"template": theme.template(dark=dark), "height": 360})
    for solve in solves:
        sizes = np.diff(solve.times)
        figure.add_scatter(
            x=solve.times,
            y=np.append(sizes, sizes[-1]),
            mode="lines+markers",
            line={"color": solve.colour, "width": 2, "shape": "hv"},
            marker={"size": 6},
            name=solve.label,
            hovertemplate="t = %{x:.3f}: step size %{y:.3g}<extra>" + solve.label + "</extra>",
        )
        if len(solve.rejected):
            figure.add_scatter(
                x=solve.rejected[:, 0],
                y=solve.rejected[:, 1],
                mode="markers",
                marker={"color": solve.colour, "symbol": "x-thin-open", "size": 9},
                name=f"rejected, {solve.label}",
                hovertemplate="t = %{x:.3f}: step size %{y:.3g}, rejected<extra></extra>",
            )
    taken = np.concatenate([*(np.diff(solve.times) for solve in solves), []])
    figure.update_xaxes(title="time t  (0 noise, 1 data)", range=[-0.01, 1.01])
    figure.update_yaxes(title="step size", type="log", **log_ticks(taken))
    return figure.update_layout(margin={"t": 16, "b": 84}, legend_y=-0.21)
