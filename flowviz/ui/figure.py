"""A figure on a page: the chart, its alternative text, and its downloads."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, Literal

import pandas  # noqa: F401  Plotly fails while another thread is importing it
import plotly.graph_objects as go
import streamlit as st

from flowviz.figures.paper import columns, crowded, titles_width
from flowviz.figures.theme import projected
from flowviz.ui import downloads, state
from flowviz.ui.downloads import Download

MANY = 3
"""Panels side by side from which on a figure scrolls on a phone; else its titles would overlap."""

PHONE = 340
"""Pixels of a phone's page: a figure scrolls, too, whose titles side by side are longer, or whose
legend would leave its panels little height."""

MAX_FILLING = 640
"""Height up to which a figure fills a lecture's screen; a higher one has many rows."""

CONFIG = {
    "displaylogo": False,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
    "scrollZoom": False,
}


def show(
    figure: go.Figure,
    key: str,
    *,
    title: str,
    alt: str,
    files: Sequence[Download] = (),
    filename: str | None = None,
    on_click: Callable[[], None] | None = None,
    squares: Literal[0, 1, 2, 3, 4, 5] = 0,
) -> None:
    """Draws a figure with one line of downloads under it.

    In a lecture its text is larger, there are no downloads, and it is as high as the room below
    the text of the step, so that the fold cuts no figure.

    Args:
        figure: in the theme of `flowviz.figures.theme`, which it keeps.
        key: unique on the page, also a CSS class: letters, digits and hyphens.
        title: what the figure shows, in a few words.
        alt: description in a sentence, for screen readers.
        files: to download, besides PNG and SVG; none of a partial result, which then has no
            downloads.
        filename: of downloads, without suffix; the key by default.
        squares: number of square panels side by side, whose width sets the height of the figure; 0
            keeps its own height.
        on_click: called after a click on a mark, which is then in the session state of `key`.
    """
    layout: Any = figure.layout
    sized = {} if layout.width is None else {"width": "content"}
    events = {} if on_click is None else {"on_select": on_click, "selection_mode": "points"}
    fills = False
    if state.is_restricted():
        fills = layout.width is None and (bool(squares) or (layout.height or 0) <= MAX_FILLING)
        if fills:
            figure.layout.height = None  # the page sets it
        figure = projected(figure)
    if squares or fills:
        figure.layout.height = None
        if fills or figure.layout.legend.y is None:
            # At a share of the height the legend may cover the title of an axis.
            figure.layout.legend.update(y=0, yref="container", yanchor="bottom")
        sized = {"height": "stretch"}
    max_columns = MANY - fills  # a lecture has larger text
    is_wide = (
        columns(figure) >= max_columns or titles_width(figure) > PHONE or crowded(figure, PHONE)
    )
    sides = f"squares{squares}" if squares else ""
    kind = "-".join(filter(None, ["wide" * is_wide, "filling" if fills else sides]))
    with st.container(key=f"{key}-{kind}") if kind else nullcontext():
        st.plotly_chart(figure, theme=None, key=key, config=CONFIG, alt=alt, **sized, **events)
    if files and not state.is_restricted():
        downloads.row(key, title=title, filename=filename or key, files=files)
