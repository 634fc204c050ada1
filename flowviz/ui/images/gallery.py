"""Sheets of images and films of them, drawn in the browser in whole pixels, without smoothing.

Both are one component. Images travel once, as bytes; a film's every moment is drawn there, and the
server hears of the clock on release only.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from flowviz.ui import state
from flowviz.ui.canvas import component

__all__ = ["FilmSide", "FilmView", "Sheet", "film", "film_payload", "sheet_payload", "sheets"]

_gallery = component("flowviz_images", Path(__file__).parent / "gallery")


@dataclass(frozen=True)
class Sheet:
    """Images in rows and columns.

    Attributes:
        title: of the sheet.
        colours: of its dot, in the light and in the dark theme.
        images: rows of (columns, C, H, W) uint8; None where a row has not come yet.
        columns: how many images a row has.
        size: (H, W) of an image.
        note: a few words beside the title.
        row_labels: one a row, or none.
        column_labels: one a column, or none.
        tips: what each image is, row by row; or none.
    """

    title: str
    colours: tuple[str, str]
    images: Sequence[NDArray[np.uint8] | None]
    columns: int
    size: tuple[int, int]
    note: str = ""
    row_labels: Sequence[str] = ()
    column_labels: Sequence[str] = ()
    tips: Sequence[str] = ()


@dataclass(frozen=True)
class FilmSide:
    """One checkpoint's film of n images at T times.

    Attributes:
        title: of the side.
        colours: of its dot, in the light and in the dark theme.
        times: (T,).
        states: (T, n, C, H, W) uint8.
        predictions: (T, n, C, H, W) uint8.
        noise: (T,), the share of noise in the states.
        remaining: (T, n), how far predictions are from the final images.
    """

    title: str
    colours: tuple[str, str]
    times: NDArray
    states: NDArray[np.uint8]
    predictions: NDArray[np.uint8]
    noise: NDArray
    remaining: NDArray


@dataclass(frozen=True)
class FilmView:
    """Where a film stands: its clock and which of its images is shown."""

    t: float = 0.5
    image: int = 0


def sheet_payload(sheets: Sequence[Sheet], *, row_title: str = "") -> dict[str, Any]:
    """What the component is sent to draw sheets beside each other."""
    return {"kind": "sheet", "rowTitle": row_title, "panels": [_panel(each) for each in sheets]}


def film_payload(
    sides: Sequence[FilmSide], labels: Sequence[str], view: FilmView
) -> dict[str, Any]:
    """What the component is sent to play films under one clock."""
    count, (_, h, w) = sides[0].states.shape[1], sides[0].states.shape[2:]
    if any(side.states.shape[1:] != sides[0].states.shape[1:] for side in sides):
        raise ValueError("films under one clock must show images of one number and size.")
    return {
        "kind": "film",
        "labels": list(labels),
        "shape": [count, h, w],
        "initial": {"t": view.t, "image": view.image},
        "sides": [
            {
                "title": side.title,
                "colours": list(side.colours),
                "times": [round(float(t), 5) for t in side.times],
                "states": _pixels(side.states),
                "predictions": _pixels(side.predictions),
                "noise": [round(float(v), 4) for v in side.noise],
                "remaining": np.round(side.remaining, 4).tolist(),
            }
            for side in sides
        ],
    }


def sheets(shown: Sequence[Sheet], *, key: str, row_title: str = "") -> None:
    """Draws sheets beside each other, or below each other where the page is narrow."""
    _gallery(key=key, data=sheet_payload(shown, row_title=row_title) | {"key": key})


def film(
    sides: Sequence[FilmSide], labels: Sequence[str], *, key: str, opened: FilmView
) -> FilmView:
    """Plays films and returns where the visitor last let go of the clock."""
    if state.opening():  # the browser's own clock is of before
        key = f"{key}-{state.opening()}"
    # Sent as it was at first: else every release would change the payload and send it again.
    first = st.session_state.setdefault(f"{key}:opened", opened)
    data = film_payload(sides, labels, first) | {"key": key}
    heard = _gallery(key=key, data=data, on_view_change=_heard, default={"view": None})
    return _reported(heard.get("view"), opened, count=len(labels))


def _heard() -> None:
    """Streamlit keeps a state value only if somebody listens."""


def _reported(report: Any, before: FilmView, *, count: int) -> FilmView:
    """The browser's report; one from elsewhere than our component is not believed."""
    if not isinstance(report, dict):
        return before
    try:
        view = FilmView(t=float(report["t"]), image=int(report["image"]))
    except (KeyError, TypeError, ValueError):
        return before
    return view if 0 <= view.t <= 1 and 0 <= view.image < count else before


def _panel(sheet: Sheet) -> dict[str, Any]:
    height, width = sheet.size
    blank = np.zeros((sheet.columns, height, width, 3), np.uint8)
    have, rows = [], []
    for row in sheet.images:
        cells = blank.copy()
        if row is not None:
            cells[: len(row)] = _rgb(row)
        rows.append(cells)
        have += [row is not None and i < len(row) for i in range(sheet.columns)]
    return {
        "title": sheet.title,
        "note": sheet.note,
        "colours": list(sheet.colours),
        "shape": [len(rows), sheet.columns, height, width],
        "cells": base64.b64encode(np.stack(rows).tobytes()).decode(),
        "have": have,
        "rows": list(sheet.row_labels),
        "columns": list(sheet.column_labels),
        "tips": list(sheet.tips),
    }


def _pixels(images: NDArray[np.uint8]) -> str:
    return base64.b64encode(np.ascontiguousarray(_rgb(images)).tobytes()).decode()


def _rgb(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images (..., C, H, W) as (..., H, W, 3): grey three times, further channels left out."""
    three = images if images.shape[-3] >= 3 else np.repeat(images[..., :1, :, :], 3, axis=-3)
    return np.moveaxis(three[..., :3, :, :], -3, -1)
