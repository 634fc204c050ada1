"""Speed against other projects on the same work: one network, one solver, one machine.

All contestants of a task take turns in every round, in an order that rotates, so that other work
on the machine slows all of them alike; a ratio is the median over rounds of the ratios within a
round. On one thread processor time is measured, which other work disturbs least; on several,
elapsed time. Ratios depend on the processor: the faster its arithmetic is compared with its
memory, the more is gained by intermediate results that stay in the cache.

The peers are the extra `peers` of the package. torchcfm has no solver: its examples call
torchdiffeq, which needs no extra.

References:
    Lipman et al. 2024, flow_matching, https://github.com/facebookresearch/flow_matching
    Tong et al. 2023, torchcfm, https://github.com/atong01/conditional-flow-matching
"""

import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu
from torchdiffeq import odeint

from flowviz.densities import CHUNK, log_prob, normal_log_prob
from flowviz.device import processors
from flowviz.draws import stream
from flowviz.fields import LearnedField
from flowviz.networks import MLP
from flowviz.networks.plan import ROWS
from flowviz.networks.products import product, silu_layer
from flowviz.solvers import solve
from flowviz.threads import threads_for

OURS = "flowviz"

LIMIT = "limit: matrix products and activations alone"
"""A contestant that does only the largest part of the arithmetic of flowviz, in the cache: its
ratio is the share of the machine's best speed that flowviz reaches."""

STEPS = {"sampling": 10, "likelihood": 20}
"""Steps of the midpoint method: NFE 20 and 40."""

Call = Callable[[], Tensor]


@dataclass(frozen=True)
class Task:
    """Work that all contestants do, with results that can be compared, but for those of LIMIT.

    Attributes:
        label: what is done.
        unit: of one piece of work.
        size: pieces of work of one call.
        calls: the work of each contestant by name, OURS first; results of equal shape.
    """

    label: str
    unit: str
    size: int
    calls: Mapping[str, Call]


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The measured times of one contestant at one task.

    Attributes:
        task: label of the task.
        contestant: its name.
        unit: of one piece of work.
        seconds: median time of a call.
        rate: pieces of work a second, from the median.
        ratio: the contestant's time over that of flowviz, median over the rounds; above 1,
            flowviz is faster.
        low: lower quartile of that ratio.
        high: upper quartile of that ratio.
        rounds: number of rounds.
        difference: largest difference of its results from those of flowviz; NaN of LIMIT.
    """

    task: str
    contestant: str
    unit: str
    seconds: float
    rate: float
    ratio: float
    low: float
    high: float
    rounds: int
    difference: float


class Plain(nn.Module):
    """A learned field as its modules compute it, on the clock [0, 1] that peers integrate over."""

    def __init__(self, field: LearnedField) -> None:
        super().__init__()
        self.field, self.t_max = field, field.path.t_max

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """The velocity at t () in [0, 1] and x (B, D), shape (B, D)."""
        field, time = self.field, t * self.t_max
        q = field.predict(time, x)
        return self.t_max * field.objective.velocity(field.path, time, x, q)


def tasks(field: LearnedField, *, peers: bool, large: int = 100_000) -> Iterator[Task]:
    """The tasks: a large sample, a single call of 2,000, and exact log-likelihoods.

    Args:
        field: a learned field of the plane whose network is an MLP.
        peers: whether flow_matching takes part, too; otherwise only torchdiffeq.
        large: number of samples of the first task.

    Raises:
        ValueError: flow_matching takes part and is not installed, or the network is no MLP.
    """
    if peers and not find_spec("flow_matching"):
        raise ValueError("The peers must be installed; run `pip install flowviz[peers]`.")
    network, generator = field.network, stream(0, "benchmark")
    if not isinstance(network, MLP):
        raise ValueError(
            "The benchmark needs the network of a trained field of the plane, an MLP."
        )
    # The calls are made after the last task was yielded: no name in them may change here.
    plain, clock, steps, log_prob_steps = Plain(field), field.path.clock(2), *STEPS.values()
    for count in (large, 2_000):
        x = torch.randn(count, 2, generator=generator)
        calls: dict[str, Call] = {
            OURS: lambda x=x: solve(field, x, clock, "midpoint", steps=steps).states[-1],
            "torchdiffeq (torchcfm)": lambda x=x: _odeint(plain, x, steps),
        }
        if peers:
            calls["flow_matching"] = lambda x=x: _flow_matching(plain).sample(
                x_init=x, method="midpoint", step_size=1 / steps
            )
        calls[LIMIT] = _arithmetic(network, count, values=2 * steps)
        yield Task(f"{count:,} samples, midpoint NFE {2 * steps}", "samples", count, calls)
    points = torch.randn(4_096, 2, generator=generator)
    last: dict[str, Call] = {OURS: lambda: _log_prob(field, points, log_prob_steps)}
    if peers:
        last["flow_matching"] = lambda: _flow_matching(plain).compute_likelihood(
            points, normal_log_prob, 1 / log_prob_steps, method="midpoint", exact_divergence=True
        )[1]
    last[LIMIT] = _arithmetic(
        network, len(points), values=2 * log_prob_steps, diagonals=log_prob_steps
    )
    yield Task(f"exact log-likelihood of {len(points):,} points", "points", len(points), last)


def measure(
    task: Task, *, rounds: int = 7, clock: Callable[[], float] | None = None
) -> list[Timing]:
    """The timings of a task, one for each contestant, after a first call that does not count.

    Args:
        rounds: how often each contestant does it, 2 or more.
        clock: returns the time in seconds; by default that of the processor or the elapsed time.
    """
    if clock is None:
        clock = time.perf_counter if torch.get_num_threads() > 1 else time.process_time
    results = {name: call() for name, call in task.calls.items()}
    seconds: dict[str, list[float]] = {name: [] for name in task.calls}
    names = list(task.calls)
    for k in range(rounds):
        for name in names[k % len(names) :] + names[: k % len(names)]:
            start = clock()
            task.calls[name]()
            seconds[name].append(clock() - start)
    timings = []
    for name in names:
        pairs = zip(seconds[name], seconds[OURS], strict=True)
        ratios = [duration / our_duration for duration, our_duration in pairs]
        low, ratio, high = statistics.quantiles(ratios, n=4, method="inclusive")
        median = statistics.median(seconds[name])
        timings.append(
            Timing(
                task=task.label,
                contestant=name,
                unit=task.unit,
                seconds=median,
                rate=task.size / median,
                ratio=ratio,
                low=low,
                high=high,
                rounds=rounds,
                difference=math.nan
                if name == LIMIT
                else (results[name] - results[OURS]).abs().max().item(),
            )
        )
    return timings


def machine() -> dict[str, str | int]:
    """What the times depend on: processor, cores, threads, PyTorch and the date."""
    return {
        "processor": _processor(),
        "cores": processors(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "time": "elapsed" if torch.get_num_threads() > 1 else "of the processor",
        "date": time.strftime("%Y-%m-%d"),
    }


def _log_prob(field: LearnedField, x: Tensor, steps: int) -> Tensor:
    workers = threads_for(len(x) // CHUNK)
    options = {"method": "midpoint", "steps": steps, "workers": workers}
    return log_prob(field, x, t_max=field.path.t_max, **options).log_prob


def _arithmetic(network: MLP, count: int, *, values: int, diagonals: int = 0) -> Call:
    """The matrix products and activations of evaluations at `count` states, and nothing else.

    Args:
        network: gives the shapes and weights.
        count: number of states of each evaluation.
        values: number of evaluations.
        diagonals: how many of them also need the diagonal of the Jacobian.
    """
    parts = -(-count // ROWS)
    first, *hidden_weights = [layer.get_parameter("weight").T for layer in network.layers]
    head, width = network.head.weight.T, network.head.in_features
    x = torch.randn(-(-count // parts), len(first))
    memory = torch.zeros(2, len(x), width)
    tangents = torch.randn(2, head.shape[1] * len(x), width)
    none = torch.zeros(width)

    @torch.no_grad()
    def call() -> Tensor:
        out = x
        for k in range(parts * values):
            h, buffer = memory
            silu(torch.mm(x, first, out=h), inplace=True)
            for weight in hidden_weights:
                h, buffer = silu_layer(h, weight, none, buffer), h
                if k < parts * diagonals:
                    product(tangents[0], weight, tangents[1])
            out = torch.mm(h, head)
        return out

    return call


def _odeint(plain: Plain, x: Tensor, steps: int) -> Tensor:
    times = torch.tensor([0.0, 1.0])
    with torch.no_grad():
        states = odeint(
            lambda t, x: plain(x, t), x, times, method="midpoint", options={"step_size": 1 / steps}
        )
        assert isinstance(states, Tensor)
        return states[-1]


def _flow_matching(plain: Plain) -> Any:
    return import_module("flow_matching.solver").ODESolver(velocity_model=plain)


def _processor() -> str:
    """The processor's name, with family and model where Linux has them."""
    if not os.path.exists("/proc/cpuinfo"):
        return platform.processor() or platform.machine()
    with open("/proc/cpuinfo") as file:
        entries = dict(line.split(":", 1) for line in file.read().split("\n\n")[0].splitlines())
    values = {key.strip(): value.strip() for key, value in entries.items()}
    parts = [values.get("model name", platform.machine())]
    parts += [
        f"{key.removeprefix('cpu ')} {values[key]}"
        for key in ("cpu family", "model")
        if key in values
    ]
    return ", ".join(parts)
