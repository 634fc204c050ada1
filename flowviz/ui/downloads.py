"""A figure's downloads: PNG and SVG from the browser's own drawing, and its numbers as CSV."""

import io
from collections.abc import Callable, Mapping, Sequence
from csv import writer

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from flowviz.ui.canvas import component

__all__ = ["csv", "csv_text", "row", "stacked"]

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


def csv_text(settings: Mapping[str, object], columns: Mapping[str, NDArray]) -> str:
    """A table with a header line, below the settings as "# name: value" lines."""
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"the columns of a table must be equally long; got {lengths}.")
    out = io.StringIO()
    for name, value in settings.items():
        out.write(f"# {name}: {str(value).splitlines()[0] if str(value) else ''}\n")
    table = writer(out, lineterminator="\n")  # it quotes labels with a comma in them
    table.writerow(columns)
    texts = [
        np.asarray(v) if np.asarray(v).dtype.kind == "U" else np.char.mod("%.7g", v)
        for v in columns.values()
    ]
    table.writerows(zip(*texts, strict=True))
    return out.getvalue()


def stacked(tables: Sequence[Mapping[str, NDArray | str]]) -> dict[str, NDArray]:
    """Tables of the same columns, concatenated; a single text fills its column."""
    filled = []
    for table in tables:
        rows = max(len(v) for v in table.values() if not isinstance(v, str))
        filled.append({k: np.full(rows, v) if isinstance(v, str) else v for k, v in table.items()})
    return {name: np.concatenate([table[name] for table in filled]) for name in filled[0]}
