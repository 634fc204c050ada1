"""A figure's downloads: PNG and SVG from the browser's own drawing, and its numbers as CSV."""

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
    """One compact line under the figure with the key `chart`: PNG, SVG, CSV.

    The pictures are made in the browser; the CSV is made on request from `columns`, arrays of
    equal length by name, below the `settings` as comment lines.
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
