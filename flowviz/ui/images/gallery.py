"""Sheets and films of images on a page, in whole screen pixels without smoothing."""

from collections.abc import Sequence
from typing import Any

from flowviz.canvases.images import FilmSide, FilmView, Sheet, pack_film, pack_sheets
from flowviz.ui.canvas import component, listen, viewed

_gallery = component("flowviz_images", "gallery")


def sheets(sheets_to_draw: Sequence[Sheet], *, key: str, row_title: str = "") -> None:
    """Draws sheets side by side, or below each other if the page is narrow."""
    _gallery(key=key, data=pack_sheets(sheets_to_draw, key=key, row_title=row_title))


def film(
    sides: Sequence[FilmSide], labels: Sequence[str], *, key: str, opened: FilmView
) -> FilmView:
    """Plays films and returns the user's last reported view."""

    def mount(key: str, first: FilmView) -> Any:
        data = pack_film(sides, labels, first, key=key)
        return _gallery(key=key, data=data, on_view_change=listen, default={"view": None})

    view = viewed(key, opened, mount)
    return view if view.image < len(labels) else opened
