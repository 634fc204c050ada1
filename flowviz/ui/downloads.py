"""Downloads of a figure: PNG and SVG, drawn in the browser, and files that the server makes."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from threading import Lock
from weakref import finalize

import streamlit as st
from numpy.typing import NDArray

from flowviz.figures import paper
from flowviz.studies import export
from flowviz.studies.export import csv_text
from flowviz.ui.canvas import component

AT_ONCE = 1_000
"""Number of rows up to which a table is made before it is requested."""

KEPT = 16
"""Number of tables of one result that are remembered, such as those of several times t."""

COLUMNS_MM = {85: "one column", 178: "two columns"}
"""Widths of printed figures in millimetres."""

_printer = Lock()

_made: dict[int, dict[Hashable, str | None]] = {}
"""The tables of each result, by its id: a result of arrays has no hash."""

_pictures = component("flowviz_downloads", "downloads")


@dataclass(frozen=True)
class Download:
    """A file behind a button.

    Attributes:
        label: of the button.
        suffix: of the file.
        content: the file, or a function that makes it on request. A file that is made at once has
            an address that depends on the content only, so that it stays valid when the page runs
            again.
        help: tooltip of the button.
        kind: media type.
    """

    label: str
    suffix: str
    content: str | bytes | Callable[[], str | bytes]
    help: str
    kind: str = "text/plain"


def csv(
    settings: Mapping[str, object],
    columns: Callable[[], Mapping[str, NDArray]],
    result: object = None,
    name: str = "",
) -> Download:
    """The CSV of columns of equal length, by name, with the settings as comment lines on top.

    A long table is made on request. A short one is made at once, and only once for the result
    `result` that it is made from, the settings and the `name` of the table.
    """
    known = {} if result is None else _tables_of(result)
    key = (name, *settings.items())
    if key not in known:
        table = columns()
        short = max(map(len, table.values()), default=0) <= AT_ONCE
        while len(known) >= KEPT:
            del known[next(iter(known))]
        known[key] = csv_text(settings, table) if short else None
    text = known[key]
    return Download(
        "CSV",
        "csv",
        text if text is not None else lambda: csv_text(settings, columns()),
        "The numbers behind the figure, with the settings on top",
        "text/csv",
    )


def _tables_of(result: object) -> dict[Hashable, str | None]:
    """The remembered tables of a result, until it is deleted."""
    if id(result) not in _made:
        _made[id(result)] = {}
        finalize(result, _made.pop, id(result), None)
    return _made[id(result)]


def python(script: str) -> Download:
    """A script that makes what is shown."""
    return Download(
        "Python", "py", script, "A script that makes this with flowviz", "text/x-python"
    )


@cache
def can_print() -> bool:
    """Whether this server has the browser that prints PDF; looked up once."""
    return export.can_print()


def pdfs(make: Callable[[float], bytes]) -> list[Download]:
    """PDFs for the columns of a paper, made on request, one at a time: each starts a browser."""

    def printed(width: float) -> bytes:
        with _printer:
            return make(width)

    return [
        Download(
            f"PDF {width} mm",
            f"{width}mm.pdf",
            partial(printed, width),
            f"For {place} of a paper, with text of 7 points; light theme. Takes some seconds.",
            "application/pdf",
        )
        for width, place in COLUMNS_MM.items()
    ]


def html_page(make: Callable[[], bytes]) -> Download:
    """What is shown as a page of one file, made on request."""
    help = "This view as one file, which works without a server and without the internet"
    return Download("HTML", "html", make, help, "text/html")


def row(chart: str, *, title: str, filename: str, files: Sequence[Download]) -> None:
    """Draws the buttons PNG and SVG of the figure with the key `chart`, then those of `files`."""
    with st.container(
        horizontal=True, gap="small", vertical_alignment="center", key=f"{chart}-downloads"
    ):
        _pictures(
            key=f"{chart}-pictures",
            data={"chart": chart, "filename": filename, "title": title, "font": paper.FONT},
            width="content",
            height="content",
        )
        buttons(chart, filename=filename, files=files)


def line(key: str, *, filename: str, files: Sequence[Download]) -> None:
    """Draws the word Download and the buttons of files in one line."""
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.caption("Download", width="content")
        buttons(key, filename=filename, files=files)


def buttons(key: str, *, filename: str, files: Sequence[Download]) -> None:
    """The buttons of files; `key` is unique on the page, `filename` has no suffix."""
    for file in files:
        st.download_button(
            file.label,
            file.content,
            f"{filename}.{file.suffix}",
            file.kind,
            key=f"{key}-{file.suffix}",
            on_click="ignore",
            type="tertiary",
            help=file.help,
        )
