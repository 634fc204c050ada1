"""How time and memory grow with the number of points and of evaluations."""

import ctypes
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from flowviz.densities import log_prob
from flowviz.draws import stream
from flowviz.fields import LearnedField
from flowviz.solvers import solve

SIZES = ((1_000, 20), (10_000, 4), (10_000, 20), (10_000, 100), (100_000, 20), (1_000_000, 2))
"""Points and NFE of the rows: each grows with the other fixed, in the order of the memory."""

TASKS = ("samples", "exact log-likelihood")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The cost of one solve by the midpoint method.

    Attributes:
        task: one of TASKS.
        points: number of points.
        nfe: number of evaluations of the field.
        seconds: time of the processor, all threads together.
        memory: bytes by which the memory of the process grew at most, points included; None where
            the system does not say (all but Linux).
    """

    task: str
    points: int
    nfe: int
    seconds: float
    memory: int | None


def scaling(field: LearnedField, *, sizes: tuple[tuple[int, int], ...] = SIZES) -> Iterator[Cost]:
    """The cost of each task at each of `sizes`, pairs of points and even NFE."""
    generator = stream(0, "benchmark")
    for task in TASKS:
        _run(field, task, torch.randn(1_000, 2, generator=generator), 2)  # loads what it needs
        for points, nfe in sizes:
            _forget_peak()
            memory_before = _memory("VmRSS")
            x = torch.randn(points, 2, generator=generator)
            start = time.process_time()
            _run(field, task, x, nfe)
            seconds = time.process_time() - start
            peak = _memory("VmHWM")
            memory = (
                None if peak is None or memory_before is None else max(0, peak - memory_before)
            )
            yield Cost(task=task, points=points, nfe=nfe, seconds=seconds, memory=memory)


def _run(field: LearnedField, task: str, x: torch.Tensor, nfe: int) -> None:
    if task == TASKS[0]:
        solve(field, x, field.path.clock(2), "midpoint", steps=nfe // 2)
    else:
        log_prob(field, x, t_max=field.path.t_max, method="midpoint", steps=nfe // 2)


def _forget_peak() -> None:
    """Returns free memory to the system and makes the current memory the largest (Linux)."""
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):  # glibc keeps it for later calls
            libc.malloc_trim(0)
        reset.write_text("5")


def _memory(entry: str) -> int | None:
    """The memory of the process in bytes: VmRSS now, VmHWM at most; None but on Linux."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    lines = (line.split() for line in status.read_text().splitlines())
    return next(int(words[1]) * 1024 for words in lines if words[0] == f"{entry}:")
