"""A sheet of small density panels: one row per method, one column per time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from flowviz.figures import marks, theme

LABELS = 66
"""Pixels for the labels of rows: three lines, also on a page that is a third narrower."""

HEAD = 46
"""Pixels for the titles of columns."""

GAP = 4
BREAK = 22
"""Pixels between two panels, and between two groups of columns."""

BRIGHT = 0.995
"""The quantile of densities at which the colour ramp ends, so that one peak does not make the
rest pale."""


@dataclass(frozen=True, kw_only=True)
class Strip:
    """One row of a sheet.

    Attributes:
        label: text of the row; <br> starts a new line.
        colour: colour of the label, #rrggbb.
        panels: one density (H, H) per column, rows along y; None for an empty panel.
    """

    label: str
    colour: str
    panels: Sequence[NDArray | None]


def sheet(
    rows: Sequence[Strip],
    columns: Sequence[str],
    *,
    groups: Sequence[tuple[str, int]],
    panel: int = 66,
    scale: Literal["panel", "column", "sheet"] = "panel",
    quantity: str = "density",
    ramp: tuple[tuple[str, ...], tuple[str, ...]] = theme.DENSITY_RAMP,
) -> go.Figure:
    """Densities over the frame in rows and columns, as in Fig. 4 of Lipman et al. 2022.

    Args:
        rows: from top to bottom.
        columns: titles of the columns, as many as each row has panels.
        groups: titles of groups of columns and the number of columns of each, from left to right.
        panel: the side of a panel in pixels.
        scale: which panels share one scale, from 0 to a high quantile of their densities.
        quantity: what the panels show instead of a density, for the text under the pointer.
        ramp: colours from 0 upwards, light and dark. NaN is left blank.
    """
    if any(len(row.panels) != len(columns) for row in rows):
        raise ValueError(
            f"Each row must have {len(columns)} panels; got {[len(row.panels) for row in rows]}."
        )
    if sum(size for _, size in groups) != len(columns):
        raise ValueError(f"The groups must hold {len(columns)} columns; got {list(groups)}.")
    lefts = _lefts(groups, panel)
    width = lefts[-1] + panel + 2
    tops = [HEAD + r * (panel + GAP) for r in range(len(rows))]
    height = tops[-1] + panel + 2
    layout = {
        "template": theme.template(),
        "width": width,
        "height": height,
        "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
        "showlegend": False,
    }
    tops_of = np.array([[_top(density) for density in row.panels] for row in rows])
    if scale != "panel":
        tops_of[:] = tops_of.max(axis=0 if scale == "column" else None)
    traces, notes = [], _titles(groups, columns, lefts, width, height, panel)
    for r, (row, top) in enumerate(zip(rows, tops, strict=True)):
        notes.append(
            _note(row.label, LABELS / 2 / width, 1 - (top + panel / 2) / height, 11, row.colour)
            | {"textangle": -90}
        )
        for c, (density, left) in enumerate(zip(row.panels, lefts, strict=True)):
            i = r * len(columns) + c
            # Panels stay square where the page is narrower than the sheet.
            x = [left / width, (left + panel) / width]
            layout |= marks.small_panel(i, x, [1 - (top + panel) / height, 1 - top / height])
            if density is None:
                continue
            cell = 2 * theme.FRAME / len(density)
            traces.append(
                {
                    "type": "heatmap",
                    "z": density,
                    "x0": cell / 2 - theme.FRAME,
                    "dx": cell,
                    "y0": cell / 2 - theme.FRAME,
                    "dy": cell,
                    "zmin": 0,
                    "zmax": tops_of[r, c],
                    "zsmooth": "fast",  # one pixel per cell, so that an export keeps all of them
                    "colorscale": theme.plotly_scale(ramp),
                    "showscale": False,
                    "hovertemplate": "(%{x:.2f}, %{y:.2f})<br>"
                    f"{quantity} %{{z:.4f}}<extra>{columns[c]}</extra>",
                }
                | marks.panel_axes(i)
            )
    return go.Figure({"data": traces, "layout": layout | {"annotations": notes}})


def _lefts(groups: Sequence[tuple[str, int]], panel: int) -> list[int]:
    """The left edges of the columns in pixels."""
    lefts, left = [], LABELS
    for _, size in groups:
        lefts += [left + i * (panel + GAP) for i in range(size)]
        left = lefts[-1] + panel + BREAK
    return lefts


def _titles(
    groups: Sequence[tuple[str, int]],
    columns: Sequence[str],
    lefts: Sequence[int],
    width: int,
    height: int,
    panel: int,
) -> list[dict[str, object]]:
    notes, first = [], 0
    for title, size in groups:
        middle = (lefts[first] + lefts[first + size - 1] + panel) / 2
        notes.append(_note(title, middle / width, 1 - 13 / height, 12, theme.pick(theme.INK)))
        first += size
    y = 1 - (HEAD - 10) / height
    for title, left in zip(columns, lefts, strict=True):
        notes.append(_note(title, (left + panel / 2) / width, y, 11, theme.pick(theme.MUTED)))
    return notes


def _note(text: str, x: float, y: float, size: int, colour: str) -> dict[str, object]:
    """A line of text centred at a point in paper coordinates."""
    return {
        "text": text,
        "x": x,
        "y": y,
        "xref": "paper",
        "yref": "paper",
        "xanchor": "center",
        "yanchor": "middle",
        "showarrow": False,
        "font": {"size": size, "color": colour},
    }


def _top(density: NDArray | None) -> float:
    """The density at which the ramp of a panel ends."""
    if density is None:
        return 0.0
    return float(np.nanquantile(density, BRIGHT)) or float(np.nanmax(density))
