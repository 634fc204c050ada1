"""Downloads of a figure: PNG and SVG, drawn in the browser, and its numbers as CSV."""

from collections.abc import Callable, Mapping

import streamlit as st
from numpy.typing import NDArray

from flowviz.studies.export import csv_text
from flowviz.ui.canvas import component

__all__ = ["csv", "row"]

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

    The CSV is made on request from `columns`, arrays of equal length by name, with the `settings`
    as comment lines at the top.
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
    """A button that makes the CSV of `row` on request."""
    st.download_button(
        "CSV",
        lambda: csv_text(settings, columns()),
        f"{filename}.csv",
        "text/csv",
        key=f"{key}-csv",
        on_click="ignore",
        type="tertiary",
        help="The numbers behind the figure, with the settings on top",
    )
