"""Work that takes a minute: a button, progress, what there is so far, and a store for all.

A finished result is kept by its flat config for every visitor of the server.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

import streamlit as st

from flowviz.ui.jobs import Task, queue, session_is_here

__all__ = ["board", "finished"]

POLL = 1.5
"""Seconds between looks at a task: figures are drawn anew at each."""

MOST = 48
"""Results that are kept."""


class Shared(Protocol):
    """A result that knows how much of its work is done."""

    share: float


R = TypeVar("R", bound=Shared)


class _Store(OrderedDict):
    """The newest MOST results by config."""

    def __setitem__(self, config: object, result: object) -> None:
        super().__setitem__(config, result)
        while len(self) > MOST:
            self.popitem(last=False)


@st.cache_resource(show_spinner=False)
def _store() -> _Store:
    return _Store()


def finished(config: object) -> object | None:
    """The result of a config that somebody has had computed, if any."""
    return _store().get(config)


def board(
    key: str,
    config: object,
    work: Callable[[], Iterator[R]],
    draw: Callable[[R], None],
    *,
    start: str,
    invite: str,
    doing: Callable[[R], str],
) -> None:
    """The result of `work` if it is kept; else a button, then progress and what there is so far.

    Args:
        key: unique on the page.
        config: flat and frozen; all that the result depends on.
        work: a generator of results, of which the last is complete.
        draw: draws a result, complete or not.
        start: what the button says.
        invite: what will be done and how long it takes, in a sentence.
        doing: what is being done, in a few words.
    """
    known = finished(config)
    if known is not None:
        draw(known)
        return
    task, wanted = st.session_state.get(key, (None, None))
    ours = task is not None and wanted == config
    live = ours and task.live
    if not live:
        st.markdown(invite)
        if ours and task.state == "failed":
            st.error(task.error, icon=":material/error:")
        again = ours and task.snapshot is not None
        st.button(
            f"{start} again" if again else start,
            type="primary",
            icon=":material/play_arrow:",
            key=f"{key}-start",
            on_click=_start,
            args=(key, config, work),
        )

    def watched() -> None:
        if not ours:
            return
        if live:
            _progress(key, task, doing)
        if task.snapshot is not None:
            draw(task.snapshot)
        if live and not task.live:
            st.rerun()  # the whole page once: polling ends

    st.fragment(watched, run_every=POLL if live else None)()


def _progress(key: str, task: Task, doing: Callable[[R], str]) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if task.state == "waiting":
            share, text = 0.0, f"Waiting for a free place: {task.ahead} ahead of yours."
        elif task.snapshot is None:
            share, text = 0.0, "Getting ready …"
        else:
            share, text = float(task.snapshot.share), doing(task.snapshot)
        st.progress(min(share, 1.0), text=text)
        st.button("Cancel", icon=":material/stop:", key=f"{key}-cancel", on_click=task.cancel)


def _start(key: str, config: object, work: Callable[[], Iterator[R]]) -> None:
    before, _ = st.session_state.get(key, (None, None))
    if before is not None:
        before.cancel()
    store = _store()

    def kept() -> Iterator[R]:
        result = None
        for result in work():
            yield result
        store[config] = result

    st.session_state[key] = (queue().run(kept, session_is_here()), config)
