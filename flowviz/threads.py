"""How many threads share the work on many states: measured, and stored for each machine.

Processors that other processes use, or that share their arithmetic units in pairs, can make fewer
threads the faster choice.
"""

import json
import os
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache, partial

import torch

from flowviz.bounds import from_environment
from flowviz.device import limit_threads, processors
from flowviz.files import TargetError, home, replacing

PARTS, SIZE, ROUNDS = 4, 128, 3
"""Pieces of work for each processor, the width of their matrices, and measurements of a number of
threads: about 10 ms for two processors."""

MAX_AGE = 24 * 3600
"""Seconds for which a measurement is used: the machine may have been busy."""


def threads_for(parts: int) -> int:
    """How many threads share `parts` of some work: FLOWVIZ_THREADS, or the measured number.

    Raises:
        ValueError: FLOWVIZ_THREADS is no whole number in 1..1,024.
    """
    if parts < 2:
        return 1
    if os.environ.get("FLOWVIZ_THREADS", "").strip():
        return min(parts, from_environment("FLOWVIZ_THREADS", 1, 1, 1_024))
    return min(parts, best_threads())


@cache
def best_threads() -> int:
    """The number of threads that does most work, at most the processors of this process.

    It is measured at the first call, and stored in threads.json of the folder of visitors' files.
    """
    max_threads = processors()
    if max_threads == 1:
        return 1
    machine, path = f"{platform.node()}, {max_threads}, {torch.__version__}", home("threads.json")
    known: dict[str, tuple[int, float]] = {}
    with suppress(
        OSError, TypeError, ValueError
    ):  # without a file, or with a damaged one, we measure
        known = dict(json.loads(path.read_text()))
        count, measured_at = known.get(machine, (0, 0))
        if 1 <= count <= max_threads and 0 <= time.time() - measured_at < MAX_AGE:
            return count
    count = _measured(max_threads)
    with suppress(OSError, TargetError):  # then the next process measures again
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as draft:
            draft.write_text(json.dumps({**known, machine: (count, time.time())}))
    return count


def _measured(max_threads: int) -> int:
    """The number of threads, 1, 2, 4, ... or `most`, that ends a fixed amount of work first."""
    counts = sorted({max_threads, *(2**k for k in range(max_threads.bit_length()))})
    seconds = [
        (min(_seconds(count, PARTS * max_threads) for _ in range(ROUNDS)), count)
        for count in counts
    ]
    return min(seconds)[1]


def _seconds(threads: int, parts: int) -> float:
    """The time that `threads` threads take for `parts` matrix products."""
    a, b = torch.ones(4 * SIZE, SIZE), torch.ones(SIZE, SIZE)
    with ThreadPoolExecutor(threads, initializer=partial(limit_threads, 1)) as pool:
        list(pool.map(torch.mm, [a] * threads, [b] * threads))  # starts the threads
        start = time.perf_counter()
        list(pool.map(torch.mm, [a] * parts, [b] * parts))
        return time.perf_counter() - start
