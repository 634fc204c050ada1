"""Long work in pieces: progress after each, and a button that stops between two.

Each piece is cached by its own config (see `flowviz.ui.cache`), so that work that was stopped or
left goes on where it was, and is done at once the next time.
"""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import streamlit as st

__all__ = ["gather"]

T = TypeVar("T")

QUICK = 0.15
"""Seconds after which pieces are no longer taken to come from the cache, and a bar is shown."""


def gather(
    key: str, pieces: Sequence[Callable[[], T]], *, label: str, token: object
) -> list[T] | None:
    """The results of pieces of work in order, or None if the visitor stopped it.

    Args:
        key: unique on the page.
        pieces: each from a cache, and a few seconds long at most.
        label: what is being made, in a few words.
        token: what the work depends on; stopping is said of one token only.
    """
    stopped = f"{key}:stopped"
    if st.session_state.get(stopped) == token:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.info(f"Stopped: {label}. What was done is kept.", icon=":material/pause_circle:")
            st.button("Go on", key=f"{key}:go", on_click=st.session_state.pop, args=(stopped,))
        return None
    place, start, results, bar = st.empty(), time.monotonic(), [], None
    for done, piece in enumerate(pieces):
        if bar is None and (done == 0 or time.monotonic() - start > QUICK):
            with place.container(horizontal=True, vertical_alignment="center"):
                bar = st.progress(done / len(pieces), text=label)
                st.button(
                    "Cancel",
                    key=f"{key}:stop",
                    icon=":material/stop_circle:",
                    on_click=_stop,
                    args=(stopped, token),
                )
        results.append(piece())
        if bar is not None:
            text = f"{label}: {done + 1} of {len(pieces)}"
            bar.progress((done + 1) / len(pieces), text=text)
    place.empty()
    return results


def _stop(key: str, token: object) -> None:
    st.session_state[key] = token
