"""NFE sweeps in the background, whose curves all visitors share.

A page starts a sweep and then only reads: the curves that are there lie in the store, by their
flat configs, so that what one visitor has computed nobody waits for again. One sweep runs at a
time in the whole server, for it takes every processor. A sweep ends by itself, when it is
cancelled, or when nobody wants it any more: its session wants another one, or has been gone for
GRACE seconds.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable

import streamlit as st

from flowviz.experiments.nfe_quality import Curve, CurveConfig, SweepConfig, sweep
from flowviz.ui import jobs

__all__ = ["Store", "Sweep", "current", "start", "store"]

MOST = 512
"""Curves that are kept; a curve takes some kilobytes."""
PULSE = 0.2
"""Seconds between looks whether a sweep's turn has come."""

_turn = threading.Lock()


class Store(OrderedDict[CurveConfig, Curve]):
    """The newest MOST curves by config."""

    def __setitem__(self, config: CurveConfig, curve: Curve) -> None:
        super().__setitem__(config, curve)
        while len(self) > MOST:
            self.popitem(last=False)

    def of(self, config: SweepConfig) -> list[Curve]:
        """The curves of a sweep that are there, in its order."""
        return [self[each] for each in config.curves if each in self]


class _Progress:
    """What the thread of a sweep tells and is told; it must not hold the sweep itself."""

    def __init__(self, is_wanted: Callable[[], bool]) -> None:
        self.stop = jobs.Stop(is_wanted)
        self.begun = False
        self.error = ""


class Sweep:
    """A sweep in the background.

    Attributes:
        config: what is computed.
    """

    def __init__(
        self, config: SweepConfig, known: Store, is_wanted: Callable[[], bool] = lambda: True
    ) -> None:
        self.config = config
        self._progress = _Progress(is_wanted)
        self._thread = threading.Thread(
            target=_run, args=(config, known, self._progress), name="flowviz-sweep", daemon=True
        )
        self._thread.start()

    def __del__(self) -> None:
        self._progress.stop.tell()

    @property
    def live(self) -> bool:
        """Whether it waits or works, so that a page must look again."""
        return self._thread.is_alive()

    @property
    def waiting(self) -> bool:
        """Whether another sweep runs before it."""
        return self.live and not self._progress.begun

    @property
    def cancelled(self) -> bool:
        """Whether it was told to end."""
        return self._progress.stop.is_told()

    @property
    def error(self) -> str:
        """Why it failed, in a sentence; empty if it did not."""
        return self._progress.error

    def cancel(self) -> None:
        """Ends it before the next evaluation of a field; what was found is kept."""
        self._progress.stop.tell()

    def wait(self, timeout: float | None = None) -> None:
        """Returns when the sweep has ended, or after `timeout` seconds."""
        self._thread.join(timeout)


def _run(config: SweepConfig, known: Store, progress: _Progress) -> None:
    jobs.stand_back()
    while not _turn.acquire(timeout=PULSE):
        if progress.stop.must_stop():
            return
    try:
        progress.begun = True
        for _ in sweep(config, known=known, should_stop=progress.stop.must_stop):
            pass
    except jobs.FAILURES as error:  # a solve that failed, too
        progress.error = jobs.sentence(error)
    finally:
        _turn.release()


@st.cache_resource(show_spinner=False)
def store() -> Store:
    """The server's one store of curves."""
    return Store()


def current(key: str) -> Sweep | None:
    """The sweep that this session started last under `key`."""
    return st.session_state.get(key)


def start(key: str, config: SweepConfig) -> Sweep:
    """A new sweep of this session under `key`; the one before it ends."""
    before = current(key)
    if before is not None:
        before.cancel()
    st.session_state[key] = Sweep(config, store(), jobs.session_is_here())
    return st.session_state[key]
