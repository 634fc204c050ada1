"""Canvases on Streamlit pages, and their views.

A view is what the visitor of a canvas sees, such as the time and the layers: a frozen dataclass
that raises ValueError for an invalid entry. The browser reports it when the clock rests.
"""

from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from typing import Any, TypeVar

import streamlit as st
from streamlit.components import v2

from flowviz.canvases import assets
from flowviz.ui import state

V = TypeVar("V", bound=Any)


def component(name: str, canvas: str) -> Callable[..., Any]:
    """The Streamlit component `name` of a canvas of flowviz.canvases; a call mounts it."""
    parts = assets(canvas)
    return v2.component(name, html=parts["html"], css=parts["css"], js=parts["js"])


def listen() -> None:
    """A callback without effect; Streamlit drops a component's value that has no callback."""


def opened(default: V, *names: str) -> V:
    """A view with these entries of the link, or as they were kept last."""
    return replace(
        default,
        **{n: state.opened(n, getattr(default, n), partial(_read, default, n)) for n in names},
    )


def keep(view: V, default: V, *names: str) -> None:
    """Writes these entries of a view to the URL, numbers with three decimals."""
    for name in names:
        value, default_value = getattr(view, name), getattr(default, name)
        if isinstance(value, tuple):
            state.keep(name, value, default_value, write=",".join)
        else:
            state.keep(name, round(value, 3) if isinstance(value, float) else value, default_value)


def viewed(key: str, view: V, mount: Callable[[str, V], Any]) -> V:
    """Mounts a canvas; returns the view that the browser reported last, `view` before the first.

    Args:
        key: of the canvas, unique on the page.
        view: shown first; afterwards the browser keeps its view.
        mount: draws the canvas with a key and the view shown first; returns its result.
    """
    # The first view is kept: otherwise each release would change the payload and send it again.
    first = st.session_state.setdefault(_first(key), {})
    if state.opening():  # a link was opened again: do not restore the view kept in the browser
        key = f"{key}-{state.opening()}"
    return _reported(mount(key, first.setdefault(key, view)).get("view"), view)


def forget(key: str) -> None:
    """Makes a canvas that leaves the page open with its last view when it is mounted again."""
    st.session_state.pop(_first(key), None)


def _first(key: str) -> str:
    """Session state: the first view of each canvas that was mounted under a key."""
    return f"{key}:opened"


def _read(default: Any, name: str, raw: str) -> Any:
    """An entry of a view from the text in a link."""
    kind, value = type(getattr(default, name)), raw
    if kind is tuple:
        value = tuple(filter(None, raw.split(",")))
    elif kind is float:
        try:
            value = float(raw)
        except ValueError:
            raise ValueError(f"it must be a number; got {raw[:40]!r}") from None
    return getattr(replace(default, **{name: value}), name)


def _reported(report: Any, previous: V) -> V:
    """The browser's report as a view, or `previous` if it is invalid."""
    try:
        kinds = {each.name: type(getattr(previous, each.name)) for each in fields(previous)}
        return replace(previous, **{name: kind(report[name]) for name, kind in kinds.items()})
    except (KeyError, TypeError, ValueError):
        return previous
