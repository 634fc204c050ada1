"""Progress of long work: one object that the caller passes in.

The numerics report to it and ask it whether to stop; a front end derives from `Progress` and
shows a bar, keeps partial results or cancels.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from threading import Event
from typing import Concatenate, ParamSpec, TypeVar

from flowviz.device import limit_threads, processors

C = TypeVar("C")
P = ParamSpec("P")
T = TypeVar("T")


class Stopped(RuntimeError):
    """The work ended early because a stop was requested."""


_STOP: ContextVar[Callable[[], bool] | None] = ContextVar("stop", default=None)
"""Whether the code that runs here must stop, see `stopping`; None if it never must."""


@contextmanager
def stopping(should_stop: Callable[[], bool]) -> Iterator[None]:
    """Makes `stop_if_requested` within the block, and in the threads of its `pool`s, ask this."""
    token = _STOP.set(should_stop)
    try:
        yield
    finally:
        _STOP.reset(token)


def stop_if_requested() -> None:
    """Raises Stopped if a stop was requested; solvers call it before each evaluation."""
    should_stop = _STOP.get()
    if should_stop is not None and should_stop():
        raise Stopped("The work was stopped on request.")


def can_stop() -> bool:
    """Whether `stop_if_requested` can ever raise here."""
    return _STOP.get() is not None


def pool(workers: int) -> ThreadPoolExecutor:
    """A pool in which an operation of PyTorch takes one thread, and stops as its caller does."""
    return ThreadPoolExecutor(workers, initializer=partial(_begin, _STOP.get(), 1))


def _begin(should_stop: Callable[[], bool] | None, threads: int | None = None) -> None:
    """Prepares a thread of a pool; for `threads` see `limit_threads`."""
    limit_threads(threads)
    _STOP.set(should_stop)


class Progress:
    """Progress without a listener: no reports, no stop requests, no cache.

    Attributes:
        share: the reported share of the work, in [0, 1].
        doing: what is being done, in a few words.
    """

    def __init__(self) -> None:
        self.share = 0.0
        self.doing = ""

    def report(self, share: float, doing: str = "") -> None:
        """Reports that `share` of the work, in [0, 1], is done.

        Raises:
            Stopped: a stop was requested.
        """
        self.share, self.doing = share, doing or self.doing
        if self.should_stop():
            raise Stopped("The work was stopped on request.")

    def should_stop(self) -> bool:
        """Whether a stop was requested; any thread may ask."""
        return False

    def cached(
        self,
        compute: Callable[Concatenate[C, P], T],
        config: C,
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """`compute(config, **kwargs)`, or the result of an earlier call with an equal config.

        The solves within it end when a stop is requested.

        Args:
            compute: a pure function.
            config: hashable; it identifies the result among those of `compute`.
            kwargs: further arguments that follow from the config, such as a loaded network.
        """
        with stopping(self.should_stop):
            return compute(config, *args, **kwargs)

    def in_parallel(
        self,
        pieces: Sequence[Callable[[], T]],
        *,
        doing: str = "",
        workers: int | None = None,
        span: tuple[float, float] = (0.0, 1.0),
    ) -> Iterator[tuple[int, T]]:
        """Computes pieces of work in threads; yields index and result of each as it ends.

        The share of the work is reported after each piece. All pieces end early when the caller
        closes the iterator or a stop is requested between two pieces.

        Args:
            pieces: functions without arguments, the longest first.
            doing: what is being done, in a few words.
            workers: number of threads; the number of processors by default.
            span: share of the work before the first piece and after the last one.

        Raises:
            Stopped: a stop was requested.
        """
        ended = Event()

        def should_end() -> bool:
            return ended.is_set() or self.should_stop()

        def run(piece: Callable[[], T]) -> T:
            stop_if_requested()
            return piece()

        begin = partial(_begin, should_end)
        pool = ThreadPoolExecutor(workers or processors(), initializer=begin)
        try:
            index_of = {pool.submit(run, piece): k for k, piece in enumerate(pieces)}
            for done, future in enumerate(as_completed(index_of), start=1):
                result = future.result()
                self.report(span[0] + (span[1] - span[0]) * done / len(pieces), doing)
                yield index_of[future], result
        finally:
            ended.set()
            pool.shutdown(cancel_futures=True)
