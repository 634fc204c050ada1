"""Downloads of the images of a view: a PNG to look at and an .npz to compute with."""

import io
import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from flowviz.datasets import images as pixels
from flowviz.ui import state
from flowviz.ui.downloads import Download, line

SCALE = 4
"""Pixels of a PNG for one pixel of an image, in each direction."""


def png(images: Mapping[str, NDArray[np.uint8]], columns: int) -> bytes:
    """Sheets of images (n, C, H, W) side by side as a PNG."""
    parts: list[NDArray[np.uint8]] = []
    for each in images.values():
        sheet = pixels.montage(each, columns)
        parts += [sheet, np.full((len(sheet), 8, sheet.shape[2]), 255, np.uint8)]
    return pixels.png(np.concatenate(parts[:-1], axis=1)[..., :3], scale=SCALE)


def npz(arrays: Mapping[str, NDArray], settings: Mapping[str, object]) -> bytes:
    """Arrays by name with the settings as the JSON text `settings`."""
    out = io.BytesIO()
    named: dict[str, Any] = {**arrays, "settings": np.array(json.dumps(settings, default=str))}
    np.savez_compressed(out, **named)
    return out.getvalue()


def row(
    key: str,
    *,
    filename: str,
    images: Mapping[str, NDArray[np.uint8]],
    columns: int,
    arrays: Mapping[str, NDArray],
    settings: Mapping[str, object],
    extra: Sequence[Download],
) -> None:
    """One line below the images: PNG and .npz, made on request, and others; none in a lecture.

    Args:
        key: unique on the page.
        filename: without suffix.
        images: (n, C, H, W) of each side, by name, in rows of `columns`.
        columns: number of images in a row.
        arrays: further arrays of the .npz, by name.
        settings: of the view.
        extra: further files.
    """
    if state.is_restricted():
        return
    saved = {f"images_{name}": values for name, values in images.items()} | dict(arrays)
    files = [
        Download(
            "PNG",
            "png",
            partial(png, images, columns),
            f"These images, enlarged {SCALE} times",
            "image/png",
        ),
        Download(
            "NPZ",
            "npz",
            partial(npz, saved, settings),
            "The images as uint8 arrays, with their classes and the settings",
            "application/octet-stream",
        ),
        *extra,
    ]
    with st.container(key=f"{key}-downloads"):  # compact, see pages.css
        line(key, filename=filename, files=files)
