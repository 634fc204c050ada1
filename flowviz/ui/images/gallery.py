"""Sheets and films of images on a page, in whole screen pixels without smoothing."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from flowviz.canvases.images import FilmSide, FilmView, Sheet, pack_film, pack_sheets
from flowviz.ui import state
from flowviz.ui.canvas import component, listen

_gallery = component("flowviz_images", "gallery")


def sheets(shown: Sequence[Sheet], *, key: str, row_title: str = "") -> None:
    """Draws sheets beside each other, or below each other if the page is narrow."""
    _gallery(key=key, data=pack_sheets(shown, key=key, row_title=row_title))


def film(
    sides: Sequence[FilmSide], labels: Sequence[str], *, key: str, opened: FilmView
) -> FilmView:
    """Plays films and returns the user's last reported view."""
    if state.opening():  # a link was opened anew: do not restore the view kept in the browser
        key = f"{key}-{state.opening()}"
    # The first view is kept: otherwise each release would change the payload and send it again.
    first = st.session_state.setdefault(f"{key}:opened", opened)
    data = pack_film(sides, labels, first, key=key)
    result = _gallery(key=key, data=data, on_view_change=listen, default={"view": None})
    return _reported(result.get("view"), opened, count=len(labels))


def _reported(report: Any, before: FilmView, *, count: int) -> FilmView:
    """The browser's report as a view, or `before` if it is invalid."""
    if not isinstance(report, dict):
        return before
    try:
        view = FilmView(t=float(report["t"]), image=int(report["image"]))
    except (KeyError, TypeError, ValueError):
        return before
    return view if 0 <= view.t <= 1 and 0 <= view.image < count else before
