"""What the three sections share: lines of a race, tables below each other, the verdict."""

from collections.abc import Sequence

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from flowviz.figures import curves, theme
from flowviz.ui.theme import is_dark

__all__ = ["DASHES", "columns_of", "line", "sentence", "verdict"]

DASHES = ("solid", "dash", "dot", "dashdot")
"""Dashes of several lines of one colour."""


def line(
    label: str,
    path: str,
    x: NDArray,
    y: NDArray,
    *,
    dash: str = "solid",
    floor: float | None = None,
) -> curves.Curve:
    """A line in its path's colour: y (n,), or the mean and the band of several runs (R, n)."""
    runs = np.atleast_2d(y)
    kept = np.isfinite(runs).all(axis=0)
    runs = runs[:, kept]
    return curves.Curve(
        label=label,
        colour=theme.path_colour(path, dark=is_dark()),
        x=x[kept],
        y=runs.mean(axis=0),
        floor=floor,
        band=(runs.min(axis=0), runs.max(axis=0)) if len(runs) > 1 else None,
        dash=dash,
    )


def columns_of(lines: Sequence[curves.Curve], x: str, y: str) -> dict[str, NDArray]:
    """Lines below each other as columns: line, x, y, and the lowest and highest y of the runs."""
    ends = [each.band or (each.y, each.y) for each in lines]
    return {
        "line": np.concatenate([np.full(len(each.x), each.label) for each in lines]),
        x: np.concatenate([each.x for each in lines]),
        y: np.concatenate([each.y for each in lines]),
        f"{y}_lowest": np.concatenate([low for low, _ in ends]),
        f"{y}_highest": np.concatenate([high for _, high in ends]),
    }


def sentence(text: str) -> None:
    """What a panel shows, below it."""
    st.markdown(text)


def verdict(text: str) -> None:
    """What the section shows, in one sentence, set apart."""
    with st.container(border=True):
        st.markdown(f":material/gavel: {text}")
