"""The number of threads: what is measured, stored and never exceeded."""

import math
import platform
import subprocess
import sys

import pytest

from flowviz import device, threads
from flowviz.device import _granted, processors


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with four processors on which two threads are fastest; counts measurements."""
    calls = []
    monkeypatch.setenv("FLOWVIZ_HOME", str(tmp_path))
    monkeypatch.delenv("FLOWVIZ_THREADS", raising=False)
    monkeypatch.setattr(threads, "processors", lambda: 4)
    monkeypatch.setattr(threads, "_seconds", lambda n, _: calls.append(n) or abs(n - 2) + 0.1)
    threads.best_threads.cache_clear()
    yield calls
    threads.best_threads.cache_clear()


def test_fastest_number_is_measured_once_and_stored(machine, tmp_path):
    assert threads.threads_for(1) == 1 and not machine  # small work is not measured
    assert threads.threads_for(100) == threads.threads_for(2) == 2
    assert sorted(set(machine)) == [1, 2, 4] and len(machine) == 3 * threads.ROUNDS
    threads.best_threads.cache_clear()  # as in the next process
    assert threads.best_threads() == 2 and len(machine) == 3 * threads.ROUNDS
    (tmp_path / "threads.json").write_text("[damaged")
    threads.best_threads.cache_clear()
    assert threads.best_threads() == 2 and len(machine) == 6 * threads.ROUNDS


def test_stored_numbers_expire_and_the_variable_decides(machine, monkeypatch):
    assert threads.best_threads() == 2
    monkeypatch.setattr(threads, "MAX_AGE", -1)
    threads.best_threads.cache_clear()
    assert threads.best_threads() == 2 and len(machine) == 6 * threads.ROUNDS
    monkeypatch.setenv("FLOWVIZ_THREADS", "3")
    assert threads.threads_for(8) == 3


@pytest.mark.parametrize("value", ["0", "abc", "-1"])
def test_invalid_number_is_refused_in_one_sentence(monkeypatch, value):
    monkeypatch.setenv("FLOWVIZ_THREADS", value)
    with pytest.raises(ValueError, match="FLOWVIZ_THREADS must be a whole number in"):
        threads.threads_for(8)


def test_work_of_two_threads_is_timed():
    assert 0 < threads._seconds(2, 2) < math.inf


@pytest.mark.parametrize(
    ("line", "files", "granted"),
    [
        ("0::/", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/a/b", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "max 100000"}, 2),
        ("0::/", {}, math.inf),
        ("4:cpu:/a", {"cpu/a/cpu.cfs_quota_us": "-1", "cpu/a/cpu.cfs_period_us": "9"}, math.inf),
        ("4:cpu:/", {"cpu/cpu.cfs_quota_us": "300", "cpu/cpu.cfs_period_us": "100"}, 3),
        ("5:memory:/", {"memory/cpu.max": "1 1"}, math.inf),
    ],
)
def test_control_groups_limit_the_processors(line, files, granted, tmp_path, monkeypatch):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(line + "\n")
    for name, text in files.items():
        file = tmp_path / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    assert _granted(tmp_path) == granted
    monkeypatch.setattr(device, "_granted", lambda: granted)
    monkeypatch.setattr(device.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert processors() == min(8, granted // 1)


ALLOCATING = """
import ctypes, threading
from flowviz.device import tune_allocator
if LIMITED:
    tune_allocator()
gate = threading.Barrier(20)
def allocate():
    gate.wait()
    ctypes.CDLL(None).malloc(1_000)
    gate.wait()
threads = [threading.Thread(target=allocate) for _ in range(20)]
[each.start() for each in threads]
[each.join() for each in threads]
ctypes.CDLL(None).malloc_stats()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the arenas are those of glibc")
def test_threads_of_a_server_share_arenas_of_memory():
    """Otherwise 12 visitors leave 500 MB of free memory in 16 arenas."""
    counts = []
    for limited in (True, False):
        command = [sys.executable, "-c", ALLOCATING.replace("LIMITED", str(limited))]
        counts.append(
            subprocess.run(command, capture_output=True, text=True).stderr.count("Arena")
        )
    assert counts[0] <= max(2, processors()) < counts[1]


FREEING = """
import torch
from flowviz.device import tune_allocator
if TUNED:
    tune_allocator()
resident = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096
tensors = [torch.ones(2**20) for _ in range(8)]
before = resident()
del tensors
print(before - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the thresholds are those of glibc")
def test_freed_memory_is_kept_for_the_next_tensors():
    """Otherwise 32 MB are returned to the system, which clears them again for the next tensors."""
    returned = []
    for tuned in (True, False):
        command = [sys.executable, "-c", FREEING.replace("TUNED", str(tuned))]
        returned.append(int(subprocess.run(command, capture_output=True, text=True).stdout))
    assert returned[0] < 2**22 and returned[1] > 2**24
