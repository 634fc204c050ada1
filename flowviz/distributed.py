"""Data-parallel training by the processes that `torchrun` starts, or by a single process.

    torchrun --nproc-per-node 2 -m flowviz train --data cifar10 --preset small --out run

Every process draws the same numbers for the whole job, keeps its rows of them (`Processes.share`)
and works on those; all then get the rows of all (`Processes.gather`), and process 0 alone writes
and reports.
"""

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

PATIENCE = timedelta(minutes=30)
"""Timeout of a collective operation, while another process may draw a grid of samples."""


@dataclass(frozen=True)
class Processes:
    """This process and its group.

    Attributes:
        rank: its number, from 0.
        world: number of processes.
        device: where it computes.
    """

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

    def share(self, n: int) -> slice:
        """The rows of this process among n: contiguous, and at most one more than others have."""
        return slice(n * self.rank // self.world, n * (self.rank + 1) // self.world)

    def mean(self, value: Tensor) -> Tensor:
        """The mean over the processes, the same tensor in each."""
        if self.world == 1:
            return value
        total = value.clone()
        dist.all_reduce(total)
        return total / self.world

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process; the same value in every process."""
        if self.world == 1:
            return flag
        raised = torch.tensor(int(flag), device=self.device)
        dist.all_reduce(raised, dist.ReduceOp.MAX)
        return bool(raised.item())

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all processes on the CPU, in the order of their ranks, in every process.

        Args:
            rows: this process's, (n, *); n may differ between processes, the rest must not.
        """
        if self.world == 1:
            return rows.cpu()
        parts: list[Any] = [None] * self.world
        dist.all_gather_object(parts, rows.cpu())
        return torch.cat(parts)

    def wait(self) -> None:
        """Waits until every process has called this."""
        if self.world > 1:
            dist.barrier()


ALONE = Processes()
"""A single process on the CPU."""


_joined: list[Processes] = []


@contextmanager
def processes(device: torch.device) -> Iterator[Processes]:
    """The group of processes that torchrun started, or of this process alone.

    Within the block the processes communicate, by NCCL on CUDA and by gloo elsewhere. Each process
    of a machine uses the CUDA device of its local rank.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1 or "RANK" not in os.environ:
        yield Processes(device=device)
        return
    if device.type == "mps":
        raise ValueError("Several processes cannot share one mps device; choose the device cpu.")
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
        # Once per process: a second rendezvous at the same port finds the addresses of the first.
        atexit.register(dist.destroy_process_group)
    group = Processes(dist.get_rank(), dist.get_world_size(), device)
    _joined.append(group)
    try:
        yield group
        group.wait()  # until the first process has written its files
    finally:
        _joined.remove(group)


def current() -> Processes:
    """The innermost open `processes` group, or ALONE."""
    return _joined[-1] if _joined else ALONE
