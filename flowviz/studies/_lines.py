"""Figures of lines over one pair of axes."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from flowviz.figures import curves, theme
from flowviz.schedulers import scheduler
from flowviz.studies import NamedFigure, Tables


def path_line(
    path: str, x: NDArray, y: NDArray, *, label: str = "", k: int = 0, **more: Any
) -> curves.Curve:
    """A curve y (n,) over x (n,) in the colour of a path, with its label by default.

    Args:
        path: spec of the path.
        x: (n,).
        y: (n,).
        label: name in the legend.
        k: number of the curve among those of this path, see `theme.style`.
        more: further attributes of `curves.Curve`.
    """
    defaults = {"label": label or scheduler(path).label, "x": x, "y": y, **theme.style(path, k)}
    return curves.Curve(**defaults | more)


def line_figure(
    name: str,
    title: str,
    alt: str,
    lines: Sequence[curves.Curve],
    *,
    half: bool = False,
    tables: Tables | None = None,
    **axes: Any,
) -> NamedFigure:
    """A figure of lines over one pair of axes; `axes` are further arguments of `curves.curves`."""
    figure = curves.curves(lines, **axes)
    return NamedFigure(name=name, title=title, alt=alt, figure=figure, half=half, tables=tables)


def nfe_figure(
    name: str, title: str, alt: str, lines: Sequence[curves.Curve], solver: str = "", **more: Any
) -> NamedFigure:
    """A figure of lines over the NFE of a solver, by default on logarithmic axes."""
    x_title = f"function evaluations (NFE){solver and ', '}{solver}"
    axes = {"x_title": x_title, "log_x": True, "log_y": True, "markers": True} | more
    return line_figure(name, title, alt, lines, **axes)
