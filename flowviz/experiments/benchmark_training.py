"""Quality that the same processor time of training buys, against torchcfm.

All contestants train by turns, a slice of processor time each, on one thread. The peer trains its
own network with the settings of its tutorial (batch 256, Adam with its default learning rate), and
a wider one (4 layers of 128 units, batch 512) at each of several learning rates, of which the best
counts: a win is then not one over a bad setting.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from itertools import islice, pairwise

import torch
from torch import Tensor, nn

from flowviz.datasets import Dataset, dataset
from flowviz.draws import noise, stream
from flowviz.fields import LearnedField
from flowviz.solvers import solve
from flowviz.training import TrainConfig, train

TRIAL_STEPS = 30
"""Steps that measure how many fit the time; a learning rate that falls needs their number."""

RATES = 1e-3, 3e-3, 1e-2, 2e-2
"""Learning rates of the peer's wider network."""

Velocity = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """One contestant after its training.

    Attributes:
        contestant: its name and settings.
        steps: optimiser steps.
        seconds: processor seconds of them.
        off_board: share of the samples off the board, midpoint, NFE 20.
    """

    contestant: str
    steps: int
    seconds: float
    off_board: float


class _Contestant:
    """A training with its processor time; `steps` yields the velocity after each step."""

    def __init__(self, steps: Iterator[Velocity], t_max: float = 1.0) -> None:
        self.steps, self.t_max = steps, t_max
        self.steps_done, self.seconds = 0, 0.0
        self.velocity: Velocity

    def advance(self, seconds: float) -> bool:
        """Trains until `seconds` of processor time in all; false if there are no steps left."""
        while self.seconds < seconds:
            start = time.thread_time()
            velocity = next(self.steps, None)
            self.seconds += time.thread_time() - start
            if velocity is None:
                return False
            self.velocity, self.steps_done = velocity, self.steps_done + 1
        return True


def compare_training(
    seconds: float, *, slice_seconds: float = 0.5, n: int = 10_000
) -> list[Trained]:
    """The checkerboard after `seconds` of training of each contestant, flowviz first.

    Raises:
        ValueError: torchcfm is not installed.
    """
    if not find_spec("torchcfm"):
        raise ValueError("The peers must be installed; run `pip install flowviz[peers]`.")
    data = dataset("checkerboard")
    contestants = {"flowviz, defaults": _flowviz(data, seconds)}
    contestants["torchcfm, tutorial"] = _Contestant(_torchcfm(data, 256, None, 1e-3))
    for lr in RATES:
        name = f"torchcfm, 4 x 128, batch 512, learning rate {lr:g}"
        contestants[name] = _Contestant(_torchcfm(data, 512, 128, lr))
    reached = 0.0
    while reached < seconds:
        reached = min(seconds, reached + slice_seconds)
        for contestant in contestants.values():
            contestant.advance(reached)
    return [
        Trained(
            contestant=name,
            steps=each.steps_done,
            seconds=each.seconds,
            off_board=off_board(each.velocity, each.t_max, data, n),
        )
        for name, each in contestants.items()
    ]


@torch.no_grad()
def off_board(velocity: Velocity, t_max: float, data: Dataset, n: int) -> float:
    """The share of n samples outside the support of the data, midpoint, NFE 20."""
    x_0 = noise(n, seed=1)
    times = torch.tensor([0.0, t_max], dtype=torch.float64)
    samples = solve(velocity, x_0, times, "midpoint", steps=10).states[-1]
    return 1 - data.distribution.contains(samples).double().mean().item()


def _flowviz(data: Dataset, seconds: float) -> _Contestant:
    trial = _fields(TrainConfig(steps=100_000), data)
    for _ in range(3):
        next(trial)  # the first are slow
    start = time.thread_time()
    *_, field = islice(trial, TRIAL_STEPS)
    step_seconds = (time.thread_time() - start) / TRIAL_STEPS
    steps = max(1, int(seconds / step_seconds))
    return _Contestant(_fields(TrainConfig(steps=steps), data), field.path.t_max)


def _fields(config: TrainConfig, data: Dataset) -> Iterator[LearnedField]:
    for run in train(config, data):
        yield run.ema


def _torchcfm(data: Dataset, batch: int, width: int | None, lr: float) -> Iterator[Velocity]:
    """The velocity after each step of torchcfm's tutorial, with its network or a wider one."""
    generator = stream(0, "benchmark")
    torch.manual_seed(0)  # torchcfm takes the global generator
    if width is None:
        network = import_module("torchcfm.models.models").MLP(dim=2, time_varying=True)
    else:
        network = _torchcfm_network(width)
    matcher = import_module("torchcfm.conditional_flow_matching").ConditionalFlowMatcher(sigma=0.0)
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)

    def velocity(t: Tensor, x: Tensor) -> Tensor:
        return network(torch.cat([x, t.to(x).expand(len(x), 1)], dim=1))

    while True:
        x_1 = data.sample(batch, generator)
        t, x_t, target = matcher.sample_location_and_conditional_flow(torch.randn_like(x_1), x_1)
        optimizer.zero_grad()
        loss = (network(torch.cat([x_t, t[:, None]], dim=1)) - target).square().mean()
        loss.backward()
        optimizer.step()
        yield velocity


def _torchcfm_network(width: int) -> nn.Module:
    """The peer's network with four hidden layers of `width` units."""
    sizes = [3, *[width] * 4]
    layers = [
        layer
        for inputs, outputs in pairwise(sizes)
        for layer in (nn.Linear(inputs, outputs), nn.SELU())
    ]
    return nn.Sequential(*layers, nn.Linear(width, 2))
