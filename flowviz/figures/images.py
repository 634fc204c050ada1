"""Sheets of images, and step sizes of adaptive solvers on images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from flowviz.figures import marks, theme

CELL = 64
"""Height of an image of a sheet, in pixels of the figure."""


@dataclass(frozen=True, kw_only=True)
class Steps:
    """One solve by an adaptive solver.

    Attributes:
        label: name in the legend.
        colour, dash, symbol: see `theme.style`.
        times: start times of the accepted steps, then the end time, (S + 1,).
        rejected: start time and size of each rejected step, (R, 2).
    """

    label: str
    colour: str
    times: NDArray
    rejected: NDArray
    dash: str = "solid"
    symbol: str = "circle"

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", theme.plain(self.label))
        if self.times.ndim != 1 or len(self.times) < 2 or not (np.diff(self.times) > 0).all():
            raise ValueError(
                f"times must increase and have shape (S + 1,) with S >= 1; got "
                f"{self.times.tolist()}."
            )


def step_sizes(solves: Sequence[Steps]) -> go.Figure:
    """Step size over t, on a logarithmic axis; crosses mark rejected steps."""
    figure = marks.blank(360)
    for solve in solves:
        sizes = np.diff(solve.times)
        figure.add_scatter(
            x=solve.times,
            y=np.append(sizes, sizes[-1]),
            mode="lines+markers",
            line={"color": solve.colour, "width": 2, "shape": "hv", "dash": solve.dash},
            marker={"size": 6, "symbol": solve.symbol},
            name=solve.label,
            hovertemplate="t = %{x:.3f}: step size %{y:.3g}<extra>" + solve.label + "</extra>",
        )
        if len(solve.rejected):
            mark = {"color": solve.colour, "symbol": "x-thin-open", "size": 9}
            hover = "t = %{x:.3f}: step size %{y:.3g}, rejected<extra></extra>"
            name = f"rejected, {solve.label}"
            figure.add_scatter(
                **marks.points(solve.rejected, mark, name=name, hovertemplate=hover)
            )
    all_sizes = np.concatenate([*(np.diff(solve.times) for solve in solves), []])
    figure.update_xaxes(title=marks.TIME, range=[-0.01, 1.01])
    figure.update_yaxes(title="step size", type="log", **marks.log_ticks(all_sizes))
    return figure.update_layout(margin={"t": 16, "b": 84}, legend_y=-0.21)


@dataclass(frozen=True, kw_only=True)
class Mosaic:
    """Images of one size in rows and columns: pixels (H, W, C) uint8, with C of 1 or 3."""

    label: str
    colour: str
    pixels: NDArray[np.uint8]


def mosaics(
    panels: Sequence[Mosaic],
    *,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    row_title: str = "",
) -> go.Figure:
    """Sheets of images side by side, with the labels of their rows and columns."""
    count = len(rows) or max(1, round(panels[0].pixels.shape[0] / 33))
    figure = marks.panels(
        [f"<b>{theme.plain(panel.label)}</b>" for panel in panels],
        80 + CELL * min(count, 10),
        colours=[panel.colour for panel in panels],
        yshift=18 if len(columns) else 4,
        horizontal_spacing=0.03,
    )
    for k, panel in enumerate(panels, start=1):
        pixels = panel.pixels
        rgb = pixels[..., :3] if pixels.shape[-1] >= 3 else pixels[..., :1].repeat(3, axis=-1)
        figure.add_image(z=rgb, hoverinfo="skip", row=1, col=k)
        height, width = pixels.shape[:2]
        figure.update_xaxes(**_labels(columns, width), side="top", constrain="domain", col=k)
        figure.update_yaxes(**_labels(rows if k == 1 else (), height), col=k)
    figure.update_xaxes(showgrid=False, zeroline=False, tickfont_size=11)
    figure.update_yaxes(showgrid=False, zeroline=False)
    if row_title:
        figure.update_yaxes(title=row_title, col=1)
    return figure.update_layout(margin={"l": 72, "r": 16, "t": 64, "b": 16})


def _labels(labels: Sequence[str], size: int) -> dict[str, Any]:
    """One tick in the middle of each of the equal parts of an axis of `size` pixels."""
    centres = (np.arange(len(labels)) + 0.5) * size / max(1, len(labels)) - 0.5
    return {"tickvals": centres.tolist(), "ticktext": [theme.plain(each) for each in labels]}
