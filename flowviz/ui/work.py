"""Work at a place of a page: one way to show a result that takes longer than a second.

A page calls `show`: the result is drawn at once if it is stored; else the work runs in a thread
that never calls Streamlit, the page draws each partial result and polls until the end. A strip
shows the progress and Cancel. A visitor leaves a work by Cancel, or by other work at the same
place of the page; it stops when nobody else needs it, see `flowviz.ui.queue`.
"""

import math
import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import streamlit as st
from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

from flowviz.progress import Progress
from flowviz.ui import limits
from flowviz.ui.notices import escaped, failed
from flowviz.ui.queue import Lane, State, Visitor, Work, queue
from flowviz.ui.results import store

R = TypeVar("R")
Token = TypeVar("Token", bound=Hashable)

POLL_SECONDS = 0.5
"""Time between two updates of a page with running work."""
PATIENCE_SECONDS = 0.25
"""Time before a page shows progress."""


@dataclass
class Placed(Generic[Token, R]):
    """The work of one place of a page, the token it was started for, and for whom.

    The work may go on for others after this visitor has left it.
    """

    token: Token
    work: Work[R]
    visitor: Visitor

    @property
    def state(self) -> State:
        """The state of the work for this visitor."""
        return self.work.state if self.visitor in self.work.visitors else "cancelled"

    @property
    def live(self) -> bool:
        """Whether it waits or runs for this visitor."""
        return self.visitor in self.work.visitors and self.work.live

    def cancel(self) -> None:
        """Leaves the work, which stops if nobody else needs it; returns at once."""
        self.work.leave(self.visitor)


def session_is_open() -> Callable[[], bool]:
    """A function, callable in any thread: whether this script's session is connected."""
    context = get_script_run_ctx()
    if context is None or not runtime.exists():
        return lambda: True
    server, session = runtime.get_instance(), context.session_id
    return lambda: server.is_active_session(session)


def latest(place: str) -> Placed[Any, Any] | None:
    """The work that this session started last at a place of a page, if any."""
    return st.session_state.get(f"work:{place}")


def current(place: str, token: Token) -> Placed[Token, Any] | None:
    """The same if it was started for this token."""
    placed = latest(place)
    return placed if placed is not None and placed.token == token else None


def start(
    place: str,
    token: Token,
    compute: Callable[[Progress], Iterator[R]],
    *,
    lane: Lane = "short",
    share: bool = True,
    yields: bool = True,
) -> Placed[Token, R]:
    """Starts or joins work at a place of a page; this session leaves other work at that place.

    With `share` the visitors who need the result of `token` at the same time share one work, and
    the complete result is stored under it. So the token must name fields of a session by content.
    """

    def storing(progress: Progress) -> Iterator[R]:
        result = results.get(token) if share else None
        if result is not None:  # another work has stored it since
            yield result
            return
        for result in compute(progress):
            yield result
        if share and result is not None:
            results.put(token, result)

    results = store()
    context = get_script_run_ctx()
    visitor = Visitor(None if context is None else context.session_id, session_is_open())
    work = queue().run(
        storing,
        lane=lane,
        visitor=visitor,
        key=token if share else None,
        yields=yields,
        max_seconds=60.0 * limits.LONG_MINUTES() if lane == "long" else math.inf,
    )
    earlier = latest(place)
    if earlier is not None:
        earlier.cancel()
    st.session_state[f"work:{place}"] = placed = Placed(token, work, visitor)
    return placed


def show(
    place: str,
    token: Hashable,
    compute: Callable[[Progress], Iterator[R]],
    draw: Callable[[R], None],
    *,
    label: str,
    invite: str = "",
    button: str = "Compute",
    lane: Lane = "short",
) -> None:
    """Draws a stored result, or computes it and draws each partial result.

    Args:
        place: unique on the page; one place holds one work of a session.
        token: everything that the result depends on; hashable.
        compute: returns a generator of increasingly complete results.
        draw: draws a complete or partial result.
        label: what is computed, in a few words.
        invite: what will be computed and how long it takes, in one sentence; if given, work
            starts only after a click.
        button: text of that button.
        lane: see `Queue.run`.
    """
    known = store().get(token)
    if known is not None:
        draw(known)
        return
    begin = partial(start, place, token, compute, lane=lane)
    placed = current(place, token)
    if placed is None and not invite:
        placed = begin()
        placed.work.wait(PATIENCE_SECONDS)
    if placed is None:
        st.markdown(invite)
    if placed is None or (not placed.live and placed.state != "done"):
        text = button if placed is None else "Try again" if placed.state == "failed" else "Go on"
        _start_button(text, place, begin)
    if placed is None:
        return
    live = placed.live

    def refresh() -> None:
        strip(place, placed, label)
        if placed.work.result is not None:
            draw(placed.work.result)
        if live and not placed.live:
            st.rerun()  # the whole page once: polling ends

    st.fragment(refresh, run_every=POLL_SECONDS if live else None)()


def result_of(
    place: str,
    token: Hashable,
    compute: Callable[[Progress], Iterator[R]],
    *,
    label: str,
    invite: str = "",
    lane: Lane = "short",
    patience: float = 20.0,
) -> R | None:
    """A complete result, stored or computed now in the queue; None while the page must wait.

    For pages that need the whole result. Meanwhile they show the progress; after `patience`
    seconds they end with it, and run again at the end of the work. With `invite`, a sentence, it
    starts only after a click. `lane` is that of `show`.

    Raises:
        ValueError: the work failed; the message has the reason.
    """
    with st.container(key=f"{place}-waiting"):  # it lies over the page, which does not move
        waiting = st.empty()  # always, since another number of elements would draw all anew
    known = store().get(token)
    if known is not None:
        return known
    begin = partial(start, place, token, compute, lane=lane)
    placed = current(place, token)
    if placed is None and invite:
        st.markdown(invite)
        _start_button("Compute", place, begin)
        return None
    if placed is None or placed.state == "done":
        placed = begin(yields=False)
    work = placed.work
    work.wait(PATIENCE_SECONDS)
    end = time.monotonic() + patience
    while placed.live and time.monotonic() < end:
        waiting.progress(min(max(work.share, 0.0), 1.0), text=escaped(_doing(work, label)))
        work.wait(POLL_SECONDS)
    waiting.empty()
    if placed.state == "done":
        return work.result
    if placed.state == "failed":
        st.session_state.pop(f"work:{place}", None)
        raise ValueError(work.error)
    if placed.state == "cancelled":
        strip(place, placed, label)
        _start_button("Go on", place, begin)
        return None

    def refresh() -> None:
        strip(place, placed, label)
        if not placed.live:
            st.rerun()

    st.fragment(refresh, run_every=POLL_SECONDS)()
    return None


def _start_button(text: str, place: str, begin: Callable[[], Any]) -> None:
    icon = ":material/play_arrow:"
    st.button(text, type="primary", icon=icon, key=f"{place}-start", on_click=begin)


def strip(place: str, placed: Placed[Any, Any], label: str) -> None:
    """One line about work: place in the queue or progress and time left, and Cancel."""
    work = placed.work
    if placed.state == "failed":
        failed(work.error)
    elif placed.state == "cancelled":
        why = f" {limit_sentence(work)}" if work.expired else ""
        st.info(
            f"Stopped: {escaped(label)}.{why} Finished parts are kept.",
            icon=":material/pause_circle:",
        )
    if not placed.live:
        return
    text = _doing(work, label)
    with st.container(horizontal=True, vertical_alignment="center", key=f"{place}-progress"):
        st.progress(min(max(work.share, 0.0), 1.0), text=escaped(text))
        st.button("Cancel", icon=":material/stop:", key=f"{place}-cancel", on_click=placed.cancel)


def _doing(work: Work[Any], label: str) -> str:
    """What live work does, or its place in the queue, and the time left."""
    if work.ahead:
        return f"{label}: waiting, {work.ahead} ahead in the queue"
    text = label if not work.doing else f"{label}: {work.doing}"
    left = work.seconds_left
    return text if left is None else f"{text} · about {duration(left)} left"


def limit_sentence(work: Work[Any]) -> str:
    """Why work stopped after its time, in a sentence."""
    return (
        f"This server stops such work after {duration(work.max_seconds)} "
        f"({limits.LONG_MINUTES.variable})."
    )


def duration(seconds: float) -> str:
    """A time to read, such as "12 s"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:,.0f} h"
