"""How an adaptive solver walks from noise to images."""

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
        label: in the legend.
        colour: of the path, #rrggbb.
        times: (S + 1,), where the accepted steps begin and, last, end.
        rejected: (R, 2), start and length of those refused.
    """

    label: str
    colour: str
    times: NDArray
    rejected: NDArray

    def __post_init__(self) -> None:
        if self.times.ndim != 1 or len(self.times) < 2 or not (np.diff(self.times) > 0).all():
            raise ValueError(
                f"times must rise and have the shape (S + 1,) with S of at least 1; got "
                f"{self.times.tolist()}."
            )


def step_sizes(solves: Sequence[Steps], *, dark: bool = False) -> go.Figure:
    """The length of the step that covers each t, on a logarithmic axis; crosses were refused."""
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
            hovertemplate="t = %{x:.3f}: a step of %{y:.3g}<extra>" + solve.label + "</extra>",
        )
        if len(solve.rejected):
            figure.add_scatter(
                x=solve.rejected[:, 0],
                y=solve.rejected[:, 1],
                mode="markers",
                marker={"color": solve.colour, "symbol": "x-thin-open", "size": 9},
                name=f"refused, {solve.label}",
                hovertemplate="t = %{x:.3f}: %{y:.3g} was refused<extra></extra>",
            )
    taken = np.concatenate([*(np.diff(solve.times) for solve in solves), []])
    figure.update_xaxes(title="time t  (0 noise, 1 data)", range=[-0.01, 1.01])
    figure.update_yaxes(title="step size", type="log", **log_ticks(taken))
    return figure.update_layout(margin={"t": 16, "b": 84}, legend_y=-0.21)
