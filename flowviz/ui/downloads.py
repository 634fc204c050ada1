"""Downloads of a figure: PNG and SVG, drawn in the browser, and its numbers as CSV."""

from collections.abc import Callable, Mapping

import streamlit as st
from numpy.typing import NDArray

from flowviz.studies.export import csv_text
from flowviz.ui.canvas import component

AT_ONCE = 1_000
"""Number of rows up to which a table is made before it is requested."""

_pictures = component("flowviz_downloads", "downloads")


def row(
    chart: str,
    *,
    title: str,
    filename: str,
    settings: Mapping[str, object],
    columns: Callable[[], Mapping[str, NDArray]],
) -> None:
    """Draws the buttons PNG, SVG and CSV under the figure with the key `chart`.

    The CSV has `columns`, arrays of equal length by name, with the `settings` as comment lines at
    the top.
    """
    with st.container(
        horizontal=True, gap="small", vertical_alignment="center", key=f"{chart}-downloads"
    ):
        _pictures(
            key=f"{chart}-pictures",
            data={"chart": chart, "filename": filename, "title": title},
            width="content",
            height="content",
        )
        csv(chart, filename=filename, settings=settings, columns=columns)


def csv(
    key: str,
    *,
    filename: str,
    settings: Mapping[str, object],
    columns: Callable[[], Mapping[str, NDArray]],
) -> None:
    """A button that downloads the CSV of `row`.

    A long table is made on request. A short one is made at once: its address depends on the
    content only, so that it stays valid when the page runs again.
    """
    found = columns()
    rows = max(map(len, found.values()), default=0)
    st.download_button(
        "CSV",
        csv_text(settings, found) if rows <= AT_ONCE else lambda: csv_text(settings, found),
        f"{filename}.csv",
        "text/csv",
        key=f"{key}-csv",
        on_click="ignore",
        type="tertiary",
        help="The numbers behind the figure, with the settings on top",
    )
