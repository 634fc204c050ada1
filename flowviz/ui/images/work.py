"""Images in the making: pieces of work in the background, shown as they come.

Each piece is kept by its key for all visitors, so that what is there is not drawn again and work
that was stopped goes on where it was. The pieces of a view are spread over the processors; they
stop before their next evaluation when the visitor cancels, moves a control or leaves.
"""

import queue
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, is_dataclass
from typing import Any

import numpy as np
import streamlit as st

from flowviz.device import limit_threads, processors
from flowviz.solvers import SolveCancelled
from flowviz.ui import jobs

__all__ = ["Piece", "Store", "draw", "store", "worked"]

MOST = 300
"""Results that are kept; of the shipped checkpoints the largest, a film, has 1.3 megabytes."""
MOST_BYTES = 500_000_000
"""Of the kept results together, whose images may be those of larger networks."""
POLL = 0.25
"""Seconds between looks at work in the background."""
PATIENCE = 0.15
"""Seconds for which a page waits before it says that something is being made."""
RUN = "work:images"
"""Where the session keeps its work; one at a time."""


@dataclass(frozen=True)
class Piece:
    """One part of a view.

    Attributes:
        key: what is computed and of which weights; equal keys have equal results.
        work: computes it, given a function to be asked before each evaluation whether to stop.
        asks: about how often it asks, for the progress.
    """

    key: Hashable
    work: Callable[[Callable[[], bool]], Any]
    asks: int


class Store(OrderedDict[Hashable, Any]):
    """The newest results by key, MOST of them and MOST_BYTES together, but always the newest."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def __setitem__(self, key: Hashable, value: Any) -> None:
        with self._lock:
            super().__setitem__(key, value)
            held = sum(map(_bytes, self.values()))
            while len(self) > MOST or (len(self) > 1 and held > MOST_BYTES):
                _, oldest = self.popitem(last=False)
                held -= _bytes(oldest)


def _bytes(value: Any) -> int:
    """The memory of the arrays in a result: an array, or a tuple or dataclass with arrays."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if is_dataclass(value):
        value = tuple(vars(value).values())
    return sum(map(_bytes, value)) if isinstance(value, tuple) else 0


@st.cache_resource(show_spinner=False)
def store() -> Store:
    """The server's one store of results."""
    return Store()


def worked(pieces: Sequence[Piece], known: Store, *, workers: int) -> Iterator[float]:
    """Does the pieces that are not known yet, the first ones first; yields the share of them done.

    It yields ten times a second, and ends all work when it is closed.

    Raises:
        ValueError: what the first failing piece raises.
    """
    left = [piece for piece in pieces if piece.key not in known]
    weight = [max(1, piece.asks) for piece in left]
    asked, stop = [0.0] * len(left), threading.Event()
    waiting, ended = iter(range(len(left))), queue.SimpleQueue()

    def serve() -> None:
        limit_threads(1)
        # next() of a range is one step of the interpreter, so that no two threads get the same.
        for i in waiting:
            piece = left[i]

            def should_stop(i: int = i, piece: Piece = piece) -> bool:
                asked[i] = min(0.98, asked[i] + 1 / max(1, piece.asks))
                return stop.is_set()

            try:
                if piece.key not in known:  # another visitor may have asked for it meanwhile
                    known[piece.key] = piece.work(should_stop)
            except SolveCancelled:
                return
            except (ValueError, RuntimeError, MemoryError) as error:
                ended.put(error)
                return
            asked[i] = 1.0
            ended.put(None)

    for _ in range(min(workers, len(left))):
        threading.Thread(target=serve, name="flowviz-images", daemon=True).start()
    try:
        done = 0
        while done < len(left):
            with suppress(queue.Empty):
                error = ended.get(timeout=0.1)
                if error is not None:
                    raise error
                done += 1
            yield sum(w * share for w, share in zip(weight, asked, strict=True)) / sum(weight)
    finally:
        stop.set()


@dataclass
class _Run:
    token: Hashable
    job: jobs.Job


def draw(
    pieces: Sequence[Piece],
    show: Callable[[list[Any]], None],
    *,
    label: str,
    workers: int | None = None,
) -> None:
    """Shows the results of pieces as they come, with their progress and a button to cancel.

    Args:
        pieces: in the order in which they are wanted.
        show: draws what is there: a result for each piece, None where there is none yet.
        label: what is being made, in a few words.
        workers: pieces done beside each other; by default one a processor.
    """
    known, token = store(), tuple(piece.key for piece in pieces)
    run: _Run | None = st.session_state.get(RUN)
    if run is not None and run.token != token:
        run.job.cancel()
        run = None
    if run is not None and run.job.state == "done" and any(key not in known for key in token):
        run = None  # it was finished, and others' results have taken its place
    if run is None and any(key not in known for key in token):
        count = min(workers or processors(), len(pieces))
        job = jobs.queue().run(
            lambda: worked(pieces, known, workers=count), jobs.session_is_here()
        )
        run = _Run(token, job)
        job.wait(PATIENCE)
    st.session_state[RUN] = run
    live = run is not None and run.job.live

    def body() -> None:
        found = [known.get(key) for key in token]
        show(found)
        if run is not None and any(each is None for each in found):
            _status(run, label)  # below, where it moves nothing when it goes
        now = st.session_state.get(RUN)
        if now is not run or live != (run is not None and run.job.live):
            st.rerun()  # the whole page once: polling ends, or begins

    st.fragment(body, run_every=POLL if live else None)()


def _status(run: _Run, label: str) -> None:
    job = run.job
    with st.container(horizontal=True, vertical_alignment="center", key="images-progress"):
        if not job.live:
            if job.error:
                st.error(f"This cannot be drawn. {job.error}", icon=":material/error:")
            else:
                text = f"Stopped: {label}. What was done is kept."
                st.info(text, icon=":material/pause_circle:")
            again = "Try again" if job.error else "Go on"
            st.button(again, key="images:go", on_click=st.session_state.pop, args=(RUN,))
            return
        text = f"{label}: waiting for {job.ahead} others" if job.ahead else label
        st.progress(min(1.0, float(job.snapshot or 0.0)), text=text)
        st.button("Cancel", key="images:stop", icon=":material/stop_circle:", on_click=job.cancel)
