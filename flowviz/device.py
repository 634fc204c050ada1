"""The choice of the device and of the number of threads."""

import ctypes
import math
import os
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from flowviz.bounds import from_environment

if TYPE_CHECKING:
    import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""The numbers of parameters of `mallopt`, in malloc.h of glibc."""

DEVICE_BATCH = 512
"""Images of a batch on a GPU, which takes as long for a small batch."""

KEPT_BYTES = 2**26
"""64 MB: what glibc itself ends up with once a process has freed a block of 32 MB."""


def choose_device(name: str = "auto") -> "torch.device":
    """The device of a name; "auto" is CUDA if available, else MPS, else the CPU.

    Raises:
        ValueError: the device is unknown or this machine lacks it.
    """
    import torch

    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(kind for kind, is_available in available.items() if is_available))
    kind = name.split(":")[0]
    if kind not in available:
        raise ValueError(f"Unknown device {name!r}. There are: auto, {', '.join(available)}.")
    if not available[kind]:
        raise ValueError(
            f"This machine has no {kind} device that PyTorch can use; choose the device cpu."
        )
    return torch.device(name)


def finest_float(device: "torch.device") -> "torch.dtype":
    """The float type of times on a device: float64, or float32 on MPS, which has no float64."""
    import torch

    return torch.float32 if device.type == "mps" else torch.float64


def batch_on(device: "torch.device", batch: int) -> int:
    """The images of a batch on a device: `batch` on the CPU, at least DEVICE_BATCH elsewhere."""
    return batch if device.type == "cpu" else max(batch, DEVICE_BATCH)


def limit_threads(threads: int | None = None) -> int:
    """Sets and returns the number of threads of one PyTorch operation on the CPU.

    The default is 1: the networks of the plane are small, so that a second thread gains nothing,
    and next to another busy process it makes them 40 times slower (measured: a 3 x 128 network at
    batch 512 makes 364 steps/s with one thread and 8 with two). FLOWVIZ_THREADS overrides it.

    Raises:
        ValueError: FLOWVIZ_THREADS is no whole number in 1..1,024.
    """
    import torch

    threads = threads or from_environment("FLOWVIZ_THREADS", 1, 1, 1_024)
    torch.set_num_threads(threads)
    return threads


def tune_allocator() -> None:
    """Sets how the C library (glibc) manages memory in this process.

    By default 8 arenas per processor each keep what the threads that used them have freed: here a
    few are shared. And by default the memory of freed tensors soon returns to the system, which
    then clears it for the next tensors: here an arena keeps up to KEPT_BYTES of it. Training of
    the plane takes a fifth less time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_ARENA_MAX, max(2, processors()))
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES // 2)


def processors() -> int:
    """The number of processors that this process may use, by affinity and control groups."""
    if hasattr(os, "sched_getaffinity"):  # Linux, where a process may be limited to a few
        return max(1, min(len(os.sched_getaffinity(0)), int(min(_granted(), 2**20))))
    return os.cpu_count() or 1


@cache
def _granted(root: Path = Path("/")) -> float:
    """The processors that the control groups of this process grant; infinite without a limit."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return math.inf
    granted = math.inf
    for _, controllers, group in (line.split(":", 2) for line in lines):
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = root / "sys/fs/cgroup" / controllers
        for folder in (base / group.strip("/"), *(base / group.strip("/")).parents):
            granted = min(granted, _quota(folder))
            if folder == base:
                break
    return granted


def _quota(folder: Path) -> float:
    """The processors that a control group grants, of version 2 or 1."""
    files = (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
    for names in files:
        with suppress(OSError, ValueError):  # "max" and -1 are no limit
            quota, period = " ".join((folder / name).read_text() for name in names).split()
            if int(quota) > 0:
                return int(quota) / int(period)
    return math.inf
