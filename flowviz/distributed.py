"""Several processes at one job, as `torchrun` starts them; a process alone is the same with one.

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

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["ALONE", "Processes", "current", "processes"]

PATIENCE = timedelta(minutes=30)
"""How long a process waits for another one, which may be drawing a grid of samples."""


@dataclass(frozen=True)
class Processes:
    """This process among those at the same job.

    Attributes:
        rank: its number, from 0.
        world: how many there are.
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
        """The rows of this process among n: contiguous, disjoint, all, and even to one."""
        return slice(n * self.rank // self.world, n * (self.rank + 1) // self.world)

    def mean(self, value: Tensor) -> Tensor:
        """The mean over the processes, the same tensor in each."""
        if self.world == 1:
            return value
        total = value.clone()
        dist.all_reduce(total)
        return total / self.world

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in some process; every process hears the same."""
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
        rows = rows.to(self.device).contiguous()
        count = torch.tensor([len(rows)], device=self.device)
        counts = [torch.empty_like(count) for _ in range(self.world)]
        dist.all_gather(counts, count)
        lengths = [int(value.item()) for value in counts]
        padded = rows.new_zeros((max(lengths), *rows.shape[1:]))  # all must send as many
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in range(self.world)]
        dist.all_gather(parts, padded)
        return torch.cat([part[:n].cpu() for part, n in zip(parts, lengths, strict=True)])

    def wait(self) -> None:
        """Returns when every process has come here."""
        if self.world > 1:
            dist.barrier()


ALONE = Processes()
"""A process by itself on the CPU."""


_joined: list[Processes] = []


@contextmanager
def processes(device: torch.device) -> Iterator[Processes]:
    """This process among those that torchrun started; by itself where none did.

    Within it, and only there, the processes can talk, by NCCL on CUDA and by gloo elsewhere. Each
    process of a machine takes the CUDA device of its own number there.
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
        # Once a process: a second meeting at the same port would find the first one's addresses.
        atexit.register(dist.destroy_process_group)
    group = Processes(dist.get_rank(), dist.get_world_size(), device)
    _joined.append(group)
    try:
        yield group
        group.wait()  # so that what the first still writes is there when any of them goes on
    finally:
        _joined.remove(group)


def current() -> Processes:
    """This process among those that `processes` has joined, from anywhere within it."""
    return _joined[-1] if _joined else ALONE
