"""Stored results of the server: the most recently used ones, within a limit of memory."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future, wait
from dataclasses import fields, is_dataclass
from typing import Any

from torch.nn import Module

from flowviz.progress import Stopped

MAX_ENTRIES = 1_024
"""Number of stored results."""
CHECK_SECONDS = 0.2
"""Time between two checks whether a thread that waits for a result must stop."""


class Store:
    """The most recently used results by key, at most `max_entries` and `max_bytes` together."""

    def __init__(self, max_entries: int = MAX_ENTRIES, max_bytes: int = 10**9) -> None:
        self.max_entries, self.max_bytes = max_entries, max_bytes
        self.bytes = 0
        self._entries: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()
        self._computing: dict[Hashable, Future[Any]] = {}

    def __contains__(self, key: Hashable) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> Any:
        """The result of a key, or None."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def put(self, key: Hashable, result: Any) -> None:
        """Stores a result; the least recently used ones make room, the new one always stays."""
        size = _size(result)
        with self._lock:
            _, old_size = self._entries.pop(key, (None, 0))
            self._entries[key] = (result, size)
            self.bytes += size - old_size
            self._make_room(self.max_bytes)

    def once(
        self,
        key: Hashable,
        compute: Callable[[], Any],
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Any:
        """The result of a key; of the threads that need it at the same time one computes it.

        The others wait for the result or the error. If the computing thread is stopped, one of
        them computes instead. The computing thread never waits for a turn, so that a waiting one
        cannot block it.

        Args:
            key: identifies the result.
            compute: makes the result, which is then stored.
            should_stop: checked while this thread waits for another one.

        Raises:
            Stopped: `should_stop` returned True.
            Exception: what `compute` raises, here or in the other thread.
        """
        future = Future[Any]()
        while True:
            with self._lock:
                if key in self._entries:
                    self._entries.move_to_end(key)
                    return self._entries[key][0]
                running = self._computing.setdefault(key, future)
            if running is future:
                return self._compute(key, compute, future)
            while not wait([running], CHECK_SECONDS).done:
                if should_stop():
                    raise Stopped("The work was stopped on request.")
            try:
                return running.result()
            except Stopped:
                continue  # the visitor of the other thread left; this one still needs the result

    def _compute(self, key: Hashable, compute: Callable[[], Any], outcome: Future[Any]) -> Any:
        """Computes and stores a result for this thread and those that wait for `outcome`."""
        try:
            result = compute()
            self.put(key, result)
        except BaseException as error:
            self._end(key)
            outcome.set_exception(error)
            raise
        self._end(key)
        outcome.set_result(result)
        return result

    def _end(self, key: Hashable) -> None:
        with self._lock:
            del self._computing[key]

    def shrink(self, max_bytes: int) -> None:
        """Removes the least recently used results beyond `max_bytes`."""
        with self._lock:
            self._make_room(max_bytes)

    def _make_room(self, max_bytes: int) -> None:
        while len(self._entries) > 1 and (
            len(self._entries) > self.max_entries or self.bytes > max_bytes
        ):
            _, (_, removed) = self._entries.popitem(last=False)
            self.bytes -= removed

    def clear(self) -> None:
        """Removes all results."""
        with self._lock:
            self._entries.clear()
            self.bytes = 0


def _size(value: Any) -> int:
    """Memory of the arrays, networks, texts and bytes in a result, in bytes."""
    if hasattr(value, "nbytes"):  # an array of NumPy or PyTorch
        return value.nbytes
    if isinstance(value, bytes | str):
        return len(value)
    if isinstance(value, Module):
        return sum(each.nbytes for each in (*value.parameters(), *value.buffers()))
    if is_dataclass(value):
        return sum(_size(getattr(value, each.name)) for each in fields(value))
    if isinstance(value, Mapping):
        return sum(map(_size, value.values()))
    if isinstance(value, tuple | list | set | frozenset):
        return sum(map(_size, value))
    return 64
