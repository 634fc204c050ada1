"""Data of the gallery: sheets of images, and films of images under one clock."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowviz.canvases.wire import encode


@dataclass(frozen=True)
class Sheet:
    """Images in rows and columns.

    Attributes:
        title: of the sheet.
        colours: of its dot, in the light and in the dark theme.
        images: rows of (columns, C, H, W) uint8; None for a row that is not available yet.
        columns: number of images in a row.
        size: (H, W) of an image.
        note: a few words beside the title.
        row_labels: one per row, or none.
        column_labels: one per column, or none.
        tips: tooltip of each image, row by row; or none.
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
    """The film of one checkpoint: n images at T times.

    Attributes:
        title: of the side.
        colours: of its dot, in the light and in the dark theme.
        times: (T,).
        states: (T, n, C, H, W) uint8.
        predictions: (T, n, C, H, W) uint8.
        noise: (T,), the share of noise in the states.
        remaining: (T, n), root mean square distance of the predictions from the final images.
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
    """The clock of a film and the index of the image that is shown."""

    t: float = 0.5
    image: int = 0

    def __post_init__(self) -> None:
        """Raises ValueError for an invalid entry."""
        if not 0 <= self.t <= 1:
            raise ValueError(f"t must be in [0, 1]; got {self.t:g}.")
        if self.image < 0:
            raise ValueError(f"image must be at least 0; got {self.image}.")


def pack_sheets(sheets: Sequence[Sheet], *, key: str = "", row_title: str = "") -> bytes:
    """The payload of sheets side by side; `row_title` is the heading of the row labels."""
    panels = [_panel(sheet) for sheet in sheets]
    return encode({"kind": "sheet", "key": key, "row_title": row_title, "panels": panels})


def pack_film(
    sides: Sequence[FilmSide], labels: Sequence[str], view: FilmView, *, key: str = ""
) -> bytes:
    """The payload of films under one clock.

    Args:
        sides: films of the same number and size of images.
        labels: one per image.
        view: shown first.
        key: identifies the film; the browser keeps one view per key.
    """
    if any(side.states.shape[1:] != sides[0].states.shape[1:] for side in sides):
        raise ValueError("Films under one clock must have images of one number and size.")
    return encode(
        {
            "kind": "film",
            "key": key,
            "labels": list(labels),
            "initial": asdict(view),
            "sides": [
                {
                    "title": side.title,
                    "colours": list(side.colours),
                    "times": [round(float(t), 5) for t in side.times],
                    "states": _rgb(side.states),
                    "predictions": _rgb(side.predictions),
                    "noise": np.asarray(side.noise, "f4"),
                    "remaining": np.asarray(side.remaining, "f4"),
                }
                for side in sides
            ],
        }
    )


def _panel(sheet: Sheet) -> dict[str, Any]:
    cells = np.zeros((len(sheet.images), sheet.columns, *sheet.size, 3), np.uint8)
    present = np.zeros(cells.shape[:2], bool)
    for i, row in enumerate(sheet.images):
        if row is not None:
            cells[i, : len(row)] = _rgb(row)
            present[i, : len(row)] = True
    return {
        "title": sheet.title,
        "note": sheet.note,
        "colours": list(sheet.colours),
        "cells": cells,
        "present": present.ravel().tolist(),
        "rows": list(sheet.row_labels),
        "columns": list(sheet.column_labels),
        "tips": list(sheet.tips),
    }


def _rgb(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images (..., C, H, W) as (..., H, W, 3): grey is repeated, further channels are left out."""
    three = images if images.shape[-3] >= 3 else np.repeat(images[..., :1, :, :], 3, axis=-3)
    return np.moveaxis(three[..., :3, :, :], -3, -1)
