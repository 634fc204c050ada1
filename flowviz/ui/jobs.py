"""Training in the background: threads that never call Streamlit, and a queue for all visitors.

A page starts a job and then only reads it: `state`, `snapshot`, `error`. A job ends by itself,
when it is cancelled (between two steps), or when its visitor has gone: the browser's tab is closed
and has not come back for GRACE seconds. Leaving the page for another one of the app is not going:
the session lives on, and so does the job.

Training leaves the page its pace in three ways: PyTorch takes one thread an operation (see
`flowviz.device`) and lets Python run meanwhile; on Linux a training thread yields to every other
thread that wants the processor; and no more than FLOWVIZ_JOBS jobs (default: the processors) run
at once in the whole server, while later ones wait their turn.
"""

import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import streamlit as st
from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

from flowviz.datasets import dataset
from flowviz.device import choose_device, limit_threads
from flowviz.experiments.live import LiveTraining, Snapshot
from flowviz.fields import LearnedField
from flowviz.training import TrainConfig

__all__ = [
    "FAILURES",
    "GRACE",
    "Job",
    "JobQueue",
    "State",
    "Stop",
    "Task",
    "queue",
    "sentence",
    "session_is_here",
    "stand_back",
]

GRACE = 60.0
"""Seconds without its visitor after which a job ends: a lost connection may come back."""
NICE = 5
"""How far a thread in the background stands behind the others (Linux)."""
PULSE = 1.0
"""Seconds between looks whether the visitor is still there."""

FAILURES = (ValueError, RuntimeError, ArithmeticError, MemoryError)
"""What work in the background may end with; the page says it."""

State = Literal["waiting", "starting", "running", "done", "cancelled", "failed"]


class Stop:
    """The wish that work in the background ends: it was told, or its visitor has gone.

    The visitor has gone when `is_wanted` has said no for GRACE seconds.
    """

    def __init__(self, is_wanted: Callable[[], bool]) -> None:
        self._told = threading.Event()
        self._is_wanted = is_wanted
        self._wanted_at = self._looked_at = time.monotonic()

    def tell(self) -> None:
        """Asks the work to end; returns at once."""
        self._told.set()

    def is_told(self) -> bool:
        """Whether it was told or found to be wanted no more."""
        return self._told.is_set()

    def must_stop(self) -> bool:
        """The same after a look at the visitor; the work's threads ask it, however many."""
        now = time.monotonic()
        if now - self._looked_at >= PULSE:
            self._looked_at = now
            if self._is_wanted():
                self._wanted_at = now
            elif now - self._wanted_at > GRACE:
                self._told.set()
        return self._told.is_set()


class Job:
    """One or two paths in training; made by `JobQueue.start`.

    Attributes:
        id: a name that no other job has.
        configs: what is trained, one config a path.
        state: where the job stands; the last three are final.
        snapshot: the newest picture of the training; None until there is one.
        error: why it failed, in one sentence; empty when it did not.
    """

    def __init__(
        self, configs: Sequence[TrainConfig], home: "JobQueue", is_wanted: Callable[[], bool]
    ) -> None:
        self.id = uuid.uuid4().hex[:12]
        self.configs = tuple(configs)
        self.state: State = "waiting"
        self.snapshot: Snapshot | None = None
        self.error = ""
        self._fields: tuple[LearnedField, ...] = ()
        self._home = home
        self._stop = Stop(is_wanted)
        self._thread = threading.Thread(
            target=self._run, name=f"flowviz-train-{self.id}", daemon=True
        )
        self._thread.start()

    @property
    def live(self) -> bool:
        """Whether it waits or works, so that a page must look again."""
        if self._thread.is_alive() or self.state in ("done", "cancelled", "failed"):
            return self.state not in ("done", "cancelled", "failed")
        self.error = "Training broke off for a reason of ours; the server's log has the details."
        self.state = "failed"
        return False

    @property
    def ahead(self) -> int:
        """How many jobs must end before this one begins."""
        return self._home.ahead(self)

    @property
    def fields(self) -> tuple[LearnedField, ...]:
        """The trained fields, one a config, once the job is done or was cancelled after a step."""
        return () if self.live else self._fields

    def cancel(self) -> None:
        """Asks the job to end after the step that it is making; returns at once."""
        self._stop.tell()
        self._home.wake()

    def wait(self, timeout: float | None = None) -> None:
        """Returns when the job has ended, or after `timeout` seconds."""
        self._thread.join(timeout)

    def must_stop(self) -> bool:
        """Whether it was cancelled or its visitor has gone."""
        return self._stop.must_stop()

    def _run(self) -> None:
        try:
            with self._home.turn(self) as granted:
                stand_back()
                self.state = self._train() if granted else "cancelled"
        except FAILURES as error:
            self.error = sentence(error)
            self.state = "failed"

    def _train(self) -> State:
        self.state = "starting"
        limit_threads()
        live = LiveTraining(self.configs, dataset(self.configs[0].data), device=choose_device())
        self.snapshot = live.snapshot
        self.state = "running"
        while not live.done and not self.must_stop():
            live.advance()
            self.snapshot = live.snapshot
        if live.states and not live.done:
            live.look()  # so that the last picture is of the last step
            self.snapshot = live.snapshot
        self._fields = tuple(field.cpu().eval() for field in live.fields)
        return "done" if live.done else "cancelled"


class Task(Job):
    """Any generator in the background; made by `JobQueue.run`. Its `snapshot` is what came last.

    It is cancelled between two items, so that a generator should yield often.
    """

    def __init__(
        self,
        work: Callable[[], Iterator[Any]],
        home: "JobQueue",
        is_wanted: Callable[[], bool],
    ) -> None:
        self._work = work
        super().__init__((), home, is_wanted)

    def _train(self) -> State:
        self.state = "starting"
        limit_threads()
        for item in self._work():
            self.snapshot = item
            self.state = "running"
            if self.must_stop():
                return "cancelled"
        return "done"


class JobQueue:
    """Jobs in the order in which they came, of which the first `limit` run."""

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"At least one job must be able to run; got a limit of {limit}.")
        self.limit = limit
        self._jobs: list[Job] = []
        self._change = threading.Condition()

    def start(
        self, configs: Sequence[TrainConfig], is_wanted: Callable[[], bool] = lambda: True
    ) -> Job:
        """A new job at the end of the queue.

        Args:
            configs: what to train, one config a path; see LiveTraining.
            is_wanted: whether the visitor is still there; called from the job's thread.
        """
        with self._change:
            job = Job(configs, self, is_wanted)
            self._jobs.append(job)
            return job

    def run(
        self, work: Callable[[], Iterator[Any]], is_wanted: Callable[[], bool] = lambda: True
    ) -> Task:
        """A new task at the end of the queue.

        Args:
            work: makes the generator, in the task's thread.
            is_wanted: whether the visitor is still there; called from the task's thread.
        """
        with self._change:
            task = Task(work, self, is_wanted)
            self._jobs.append(task)
            return task

    def ahead(self, job: Job) -> int:
        """How many jobs must end before `job` begins."""
        with self._change:
            return max(0, self._jobs.index(job) + 1 - self.limit) if job in self._jobs else 0

    def wake(self) -> None:
        """Lets waiting jobs look again whether they still must wait."""
        with self._change:
            self._change.notify_all()

    @contextmanager
    def turn(self, job: Job) -> Iterator[bool]:
        """Waits for the job's turn; the block gets whether it came before the job was stopped."""
        try:
            yield self._enter(job)
        finally:
            with self._change:
                self._jobs.remove(job)
                self._change.notify_all()

    def _enter(self, job: Job) -> bool:
        with self._change:
            while not job.must_stop():
                if job in self._jobs[: self.limit]:
                    return True
                self._change.wait(PULSE)
            return False


@st.cache_resource(show_spinner=False)
def queue() -> JobQueue:
    """The server's one queue; FLOWVIZ_JOBS says how many jobs run at once."""
    return JobQueue(int(os.environ.get("FLOWVIZ_JOBS", "0")) or os.cpu_count() or 1)


def session_is_here() -> Callable[[], bool]:
    """A function that tells, from any thread, whether this script's session is still connected."""
    context = get_script_run_ctx()
    if context is None or not runtime.exists():
        return lambda: True
    server, session = runtime.get_instance(), context.session_id
    return lambda: server.is_active_session(session)


def stand_back() -> None:
    """Lets the pages' threads go before this one and those that it starts (Linux)."""
    if sys.platform == "linux":  # where each thread has a priority of its own
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, max(NICE, os.getpriority(os.PRIO_PROCESS, thread)))


def sentence(error: BaseException) -> str:
    """The first line of an error's message, or of its kind where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else f"Training failed: {type(error).__name__}."
