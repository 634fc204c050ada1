"""Background work of the server: one queue, whose works run in threads.

Visitors who need the same result at the same time share one work: each sees its progress and its
partial results. Work ends when the last of them has left it, or GRACE_SECONDS after the session
was disconnected; changing the page of the app does not disconnect it. Parts of different works
that are the same are computed once, too.

The queue has three lanes: "quick" for work of a few seconds, "short" for other work of pages and
"long" for training. In each lane the first works in the order of arrival run, others wait. Work
whose visitors are not connected starts after that of the others; AWAY_SECONDS later it ends if
others wait in its lane, but for training. In the long lane, one work of a session runs at a time,
and stops after FLOWVIZ_LONG_MINUTES; its partial result is kept. PyTorch uses one thread per
operation (see `flowviz.device`), and on Linux these threads have a lower priority than those of
the pages.
"""

import math
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice, takewhile
from typing import Any, Concatenate, Generic, Literal, ParamSpec, TypeVar

import streamlit as st

from flowviz.device import limit_threads
from flowviz.progress import Progress, Stopped, stopping
from flowviz.ui import limits
from flowviz.ui.results import key_of, store

C = TypeVar("C")
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

GRACE_SECONDS = 60.0
"""Time without a connection after which work of a session is cancelled."""
AWAY_SECONDS = 5.0
"""The same for work that is not long if other visitors wait in its lane: a reload takes less."""
PULSE_SECONDS = 1.0
"""Time between two checks whether the visitor is connected."""

FAILURES = (ValueError, RuntimeError, ArithmeticError, MemoryError)
"""Errors with which work may end; the page shows their first line."""

State = Literal["waiting", "running", "done", "cancelled", "failed"]
Lane = Literal["quick", "short", "long"]

NICENESS: dict[Lane, int] = {"quick": 2, "short": 5, "long": 10}
"""Priority of the threads of each lane (Linux), as by the command `nice`. The scheduler gives a
thread three times the time of one whose niceness is 5 higher."""


@dataclass(frozen=True, eq=False)
class Visitor:
    """A visitor who needs a work.

    Attributes:
        session: id of the visitor's session, if any.
        is_connected: whether the session is connected; called from the thread of the work.
    """

    session: str | None = None
    is_connected: Callable[[], bool] = lambda: True


class Work(Progress, Generic[R]):
    """One piece of background work with a result R; made by `Queue.run`.

    Attributes:
        id: a name that no other work has.
        lane: the lane of the queue.
        key: names its result, so that others can join it; None if nobody may.
        visitors: those who need it.
        max_seconds: time after which it stops.
        expired: whether it was stopped after `max_seconds`.
        state: its state; the last three are final.
        result: the newest partial result, or the complete one; None before the first.
        error: why it failed, in one sentence; empty if it did not.
    """

    def __init__(
        self,
        compute: Callable[[Progress], Iterator[R]],
        home: "Queue",
        lane: Lane,
        visitor: Visitor,
        key: Hashable,
        yields: bool,
        max_seconds: float,
    ) -> None:
        super().__init__()
        self.key = key
        self.visitors: tuple[Visitor, ...] = (visitor,)
        self.max_seconds, self.expired = max_seconds, False
        self.state: State = "waiting"
        self.result: R | None = None
        self.error = ""
        self.lane: Lane = lane
        self.id = uuid.uuid4().hex[:12]
        self.started = 0.0
        self._compute, self._home, self._yields = compute, home, yields
        self._stop = threading.Event()
        self._connected_at = self._checked_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"flowviz-{lane}", daemon=True)

    @property
    def live(self) -> bool:
        """Whether it waits or runs."""
        ended = self.state in ("done", "cancelled", "failed")
        if not ended and self._thread.ident is not None and not self._thread.is_alive():
            self.error = "The work ended by an internal error; the server's log has the details."
            self.state, ended = "failed", True
        return not ended

    @property
    def ahead(self) -> int:
        """Number of works that must end before this one starts."""
        return self._home.ahead(self)

    @property
    def seconds_left(self) -> float | None:
        """Estimated remaining time; None within the first seconds, when it would be a guess."""
        spent = time.monotonic() - self.started
        if self.state != "running" or spent < 5 or self.share <= 0:
            return None
        return spent * (1 - self.share) / self.share

    @property
    def sessions(self) -> set[str | None]:
        """The sessions of its visitors."""
        return {each.session for each in self.visitors}

    @property
    def has_connected_visitor(self) -> bool:
        """Whether one of its visitors is connected."""
        return any(each.is_connected() for each in self.visitors)

    def start(self) -> None:
        """Starts the thread; `Queue.run` calls it."""
        self._thread.start()

    def cancel(self) -> None:
        """Requests a stop for all visitors and returns at once; the newest result stays."""
        self._stop.set()
        self._home.wake()

    def leave(self, visitor: Visitor) -> None:
        """Removes a visitor; the last one stays, and a stop is requested."""
        self._home.leave(self, visitor)

    def accepts(self, key: Hashable, lane: Lane) -> bool:
        """Whether another visitor who needs the result of `key` can join it."""
        return key is not None and (key, lane) == (self.key, self.lane) and not self._stop.is_set()

    def wait(self, timeout: float | None = None) -> None:
        """Returns when the work has ended, or after `timeout` seconds."""
        self._thread.join(timeout)

    def should_stop(self) -> bool:
        """Whether a stop was requested, the time is over, or all visitors were away for a while.

        They are away if none of their sessions was connected for GRACE_SECONDS, or AWAY_SECONDS
        if this delays others.
        """
        now = time.monotonic()
        if self.started and now - self.started > self.max_seconds and not self._stop.is_set():
            self.expired = True
            self._stop.set()
        if now - self._checked_at >= PULSE_SECONDS:
            self._checked_at = now
            if self.has_connected_visitor:
                self._connected_at = now
                return self._stop.is_set()
            away_seconds = now - self._connected_at
            if away_seconds > GRACE_SECONDS or (
                away_seconds > AWAY_SECONDS and self._home.is_delayed_by(self)
            ):
                self._home.abandon(self)
        return self._stop.is_set()

    def cached(
        self,
        compute: Callable[Concatenate[C, P], T],
        config: C,
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """`compute(config, **kwargs)` from the server's store; see `Progress.cached`."""
        limit_threads()  # a setting of the calling thread
        key = key_of(compute, config)
        with stopping(self.should_stop):
            return store().once(key, partial(compute, config, *args, **kwargs), self.should_stop)

    def _run(self) -> None:
        try:
            with self._home.turn(self) as granted:
                if self._yields:
                    lower_priority(self.lane)
                limit_threads()
                self.state = self._work() if granted else "cancelled"
        except Stopped:
            self.state = "cancelled"
        except FAILURES as error:
            lines = str(error).strip().splitlines()
            self.error = lines[0] if lines else f"The work failed: {type(error).__name__}."
            self.state = "failed"

    def _work(self) -> State:
        self.state, self.started = "running", time.monotonic()
        stopping = False
        for result in self._compute(self):
            self.result = result
            if stopping:  # after a stop request the generator may yield one more result
                break
            stopping = self.should_stop()
        if self._stop.is_set():
            return "cancelled"
        self.share = 1.0
        return "done"


class Queue:
    """Works in the order of arrival; in each lane `jobs` run at once.

    Waiting works without a connected visitor start last. In the long lane one work of a session
    runs at a time, so that a visitor who starts several trainings does not delay all others.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._works: list[Work[Any]] = []
        self._running: list[Work[Any]] = []
        self._change = threading.Condition()

    def run(
        self,
        compute: Callable[[Progress], Iterator[R]],
        *,
        lane: Lane = "short",
        visitor: Visitor | None = None,
        key: Hashable = None,
        yields: bool = True,
        max_seconds: float = math.inf,
    ) -> Work[R]:
        """Adds work at the end of a lane, or a visitor to the same work, and returns at once.

        Args:
            compute: makes the generator of results, in the thread of the work.
            lane: "quick" for a few seconds, "long" for minutes of training, else "short".
            visitor: who needs the result.
            key: names the result; live work of the same key and lane is joined. None: not shared.
            yields: whether the work has a lower priority than pages; False if a page waits.
            max_seconds: time after its start when the work stops.
        """
        visitor = visitor or Visitor()
        with self._change:
            same = next((each for each in self._works if each.accepts(key, lane)), None)
            if same is not None:
                same.visitors = (*same.visitors, visitor)
                self._change.notify_all()  # it may have waited for other work of its session
                return same
            work = Work(compute, self, lane, visitor, key, yields, max_seconds)
            work.start()  # before another visitor can join it and wait for its end
            self._works.append(work)
            return work

    def leave(self, work: Work[Any], visitor: Visitor) -> None:
        """Removes a visitor from a work; for the last one, a stop is requested instead."""
        with self._change:
            remaining = tuple(each for each in work.visitors if each is not visitor)
            if remaining:
                work.visitors = remaining
            else:
                work.cancel()

    def abandon(self, work: Work[Any]) -> None:
        """Requests a stop unless a connected visitor has joined the work by now."""
        with self._change:
            if not work.has_connected_visitor:
                work.cancel()

    def is_delayed_by(self, work: Work[Any]) -> bool:
        """Whether a connected visitor waits in the lane of `work`, unless it is the long one."""
        with self._change:
            return work.lane != "long" and any(
                each.has_connected_visitor and each not in self._running
                for each in self._line(work.lane)
            )

    def ahead(self, work: Work[Any]) -> int:
        """Number of works that must end before `work` starts."""
        with self._change:
            if work in self._running or work not in self._works:
                return 0
            by_order = self._line(work.lane).index(work) + 1 - self.jobs
            return max(by_order, int(self._waits_for_session(work)))

    def wake(self) -> None:
        """Makes waiting works check again whether they must wait."""
        with self._change:
            self._change.notify_all()

    @contextmanager
    def turn(self, work: Work[Any]) -> Iterator[bool]:
        """Waits for the turn of a work; the block gets False if a stop was requested before."""
        try:
            yield self._enter(work)
        finally:
            with self._change:
                self._works.remove(work)
                if work in self._running:
                    self._running.remove(work)
                self._change.notify_all()

    def _enter(self, work: Work[Any]) -> bool:
        with self._change:
            while not work.should_stop():
                if self._may_start(work):
                    self._running.append(work)
                    return True
                self._change.wait(PULSE_SECONDS)
            return False

    def _may_start(self, work: Work[Any]) -> bool:
        """Whether it is among the first waiting works for which its lane has room."""
        n_free = self.jobs - sum(each.lane == work.lane for each in self._running)
        waiting = (
            each
            for each in self._line(work.lane)
            if each not in self._running and not self._waits_for_session(each)
        )
        return work in islice(waiting, max(n_free, 0))

    def _line(self, lane: Lane) -> list[Work[Any]]:
        """The works of a lane: those that run, then the others in the order of their start."""
        works = (each for each in self._works if each.lane == lane)
        return sorted(
            works, key=lambda each: (each not in self._running, not each.has_connected_visitor)
        )

    def _waits_for_session(self, work: Work[Any]) -> bool:
        """Whether a waiting work must let others end first: one of each session that needs it.

        These run, or came earlier: threads enter the queue in any order.
        """
        if work.lane != "long" or None in work.sessions:
            return False
        earlier = takewhile(lambda each: each is not work, self._works)
        first = (each for each in (*self._running, *earlier) if each.lane == "long")
        return work.sessions <= set().union(*(each.sessions for each in first))


@st.cache_resource(show_spinner=False)
def queue() -> Queue:
    """The server's queue.

    Raises:
        ValueError: FLOWVIZ_JOBS is invalid.
    """
    return Queue(limits.JOBS())


def lower_priority(lane: Lane) -> None:
    """Lowers the priority of this thread and of its child threads (Linux), see NICENESS."""
    if sys.platform == "linux":  # only there each thread has its own priority
        thread = threading.get_native_id()
        niceness = max(NICENESS[lane], os.getpriority(os.PRIO_PROCESS, thread))
        os.setpriority(os.PRIO_PROCESS, thread, niceness)
