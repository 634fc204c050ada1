"""What a view's images leave the page as: a PNG to show and an .npz to compute with."""

import io
import json
from collections.abc import Callable, Mapping

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from PIL import Image

__all__ = ["npz", "png", "row"]

ENLARGED = 4
"""Screen pixels for an image pixel in a PNG."""


def png(sheet: NDArray[np.uint8]) -> bytes:
    """A sheet (height, width, C) as a PNG, each pixel a square of ENLARGED pixels."""
    large = sheet.repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)
    out = io.BytesIO()
    Image.fromarray(large[..., 0] if large.shape[-1] == 1 else large[..., :3]).save(out, "PNG")
    return out.getvalue()


def npz(arrays: Mapping[str, NDArray], settings: Mapping[str, object]) -> bytes:
    """Arrays by name with the settings that made them, as the JSON text `settings`."""
    out = io.BytesIO()
    np.savez_compressed(out, **arrays, settings=np.array(json.dumps(settings, default=str)))
    return out.getvalue()


def row(
    key: str,
    *,
    filename: str,
    sheet: Callable[[], NDArray[np.uint8]],
    arrays: Callable[[], Mapping[str, NDArray]],
    settings: Mapping[str, object],
) -> None:
    """One line under the images: PNG and .npz, each made when it is asked for."""
    with st.container(
        horizontal=True, gap="small", vertical_alignment="center", key=f"{key}-downloads"
    ):
        st.caption("Download", width="content")
        st.download_button(
            "PNG",
            lambda: png(sheet()),
            f"{filename}.png",
            "image/png",
            key=f"{key}-png",
            on_click="ignore",
            type="tertiary",
            help=f"These images, each pixel {ENLARGED} × {ENLARGED}, without smoothing",
        )
        st.download_button(
            "NPZ",
            lambda: npz(arrays(), settings),
            f"{filename}.npz",
            "application/octet-stream",
            key=f"{key}-npz",
            on_click="ignore",
            type="tertiary",
            help="The images as uint8 arrays, with the settings that made them",
        )
