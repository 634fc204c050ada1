"""Training a learned path of the plane: the forward process and the flow that undoes it, by one
bound on the likelihood, with or without a penalty on the curvature of the flow's ways.

It is a generator of states like `flowviz.training.plane`; for the model see
`flowviz.fields.learned_path`.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor

from flowviz.bounds import check_bounds
from flowviz.datasets import Dataset
from flowviz.device import finest_float
from flowviz.fields.learned_path import OBJECTIVE, LearnedPathField, build_learned_path
from flowviz.paths import AffinePath
from flowviz.schedulers import LEARNED
from flowviz.training import rest
from flowviz.training.plane import BOUNDS, Descent, stratified

__all__ = [
    "NfdmConfig",
    "NfdmState",
    "bound_of",
    "draw_times",
    "train_path",
]

MORE_BOUNDS: dict[str, tuple[float, float]] = {
    "penalty": (0.0, 100.0),
    "sines": (1, 16),
    "bend_width": (8, 512),
    "bend_depth": (1, 4),
}
"""Least and greatest value of what only a learned path has."""


@dataclass(frozen=True, kw_only=True)
class NfdmConfig(rest.Config):
    """One training of a learned path: only names and numbers, so that it can be a card.

    Attributes:
        data: spec of the data set.
        penalty: weight of the mean square acceleration of the generative ways, in nats for
            1 unit^2 of length a unit^4 of time; 0 for the bound alone.
        sines: K, sines of time in the mean and in the scale of the forward process.
        bend_width: units of a hidden layer of the forward process's network.
        bend_depth: its hidden layers.
        width: units of a hidden layer of the network that predicts the data.
        depth: its hidden layers.
        octaves: frequencies of its positional features.
        batch: data points a step, each with one draw of noise and time.
        lr: peak learning rate; it warms up, then falls linearly to 0 at the last step.
        steps: optimiser steps of the whole run.
        ema: decay of the moving average of the weights, a step.
        seed: of the weights and of every draw.
        path: always "learned".
        objective: always "bound".
    """

    WHAT: ClassVar[str] = "A learned path's config"

    data: str = "8gaussians"
    penalty: float = 0.01
    sines: int = 4
    bend_width: int = 64
    bend_depth: int = 2
    width: int = 128
    depth: int = 3
    octaves: int = 5
    batch: int = 512
    lr: float = 4e-3
    steps: int = 8000
    ema: float = 0.999
    seed: int = 0
    path: str = LEARNED
    objective: str = OBJECTIVE

    def __post_init__(self) -> None:
        if (self.path, self.objective) != (LEARNED, OBJECTIVE):
            raise ValueError(
                f"A learned path has the path {LEARNED!r} and the objective {OBJECTIVE!r}; "
                f"got {self.path!r} and {self.objective!r}."
            )
        check_bounds(self, **MORE_BOUNDS | BOUNDS)

    @property
    def network(self) -> dict[str, Any]:
        """The sizes of both networks, as `build_learned_path` and cards take them."""
        names = ("width", "depth", "octaves", "sines", "bend_width", "bend_depth")
        return {name: value for name, value in asdict(self).items() if name in names}


class NfdmState(Descent):
    """A learned path after some steps, see `Descent`; `train_path` advances it in place.

    Its loss is the bound plus the weighted penalty.

    Attributes:
        bound: the batch's estimate of the bound at the last step, in nats; a tensor ().
        curvature: the mean square acceleration of half the batch, unweighted; NaN without a
            penalty.
    """

    field: LearnedPathField
    ema: LearnedPathField

    def __init__(self, config: NfdmConfig, dataset: Dataset, device: torch.device) -> None:
        build = partial(build_learned_path, config.network, dataset.mean, dataset.std)
        super().__init__(config, build, device)
        self.bound = self.curvature = torch.tensor(float("nan"))

    def advance(self, dataset: Dataset) -> None:
        """Makes one optimiser step."""
        config = self.config
        x_1 = dataset.sample(config.batch, self.generator)
        x_0 = torch.randn(x_1.shape, generator=self.generator)
        t, weight = draw_times(config.batch, self.field.path, self.generator)
        t = t.to(self.device, finest_float(self.device))
        x_1, x_0 = x_1.to(self.device), x_0.to(self.device)
        weight = weight.float().to(self.device)
        parts = self.field.bound(t, x_0, x_1)
        loss = (parts.diffusion * weight + parts.prior + parts.reconstruction).mean()
        self.bound = loss.detach()
        if config.penalty:
            # Of every second point, since it costs two evaluations each, and of the others in the
            # next step: times are drawn in order, so that each half leaves out half of them.
            half = slice(self.step % 2, None, 2)
            turning = self.field.acceleration(t[half], parts.state[half], parts.velocity[half])
            curvature = (turning.square().sum(dim=1) * weight[half]).mean()
            self.curvature = curvature.detach()
            loss = loss + config.penalty * curvature
        self.descend(loss)


def train_path(
    config: NfdmConfig,
    dataset: Dataset,
    *,
    device: torch.device | None = None,
    tensors: dict[str, Tensor] | None = None,
) -> Iterator[NfdmState]:
    """Yields the state after each optimiser step, the same object every time.

    Args:
        config: what to train.
        dataset: the data set that `config.data` names.
        device: where; the CPU by default.
        tensors: what `NfdmState.tensors` gave of an earlier run, to go on with that run.
    """
    state = NfdmState(config, dataset, device or torch.device("cpu"))
    if tensors is not None:
        state.restore(tensors)
    while not state.done:
        state.advance(dataset)
        yield state


def draw_times(n: int, path: AffinePath, generator: Generator) -> tuple[Tensor, Tensor]:
    """n times in [0, t_max] with one over their density, each (n,) float64.

    Half are even in t and half in log sigma_t of a path whose sigma falls in a straight line: the
    bound's integrand grows like 1 / sigma_t, the velocity matters everywhere.
    """
    ends = torch.tensor([0.0, path.t_max], dtype=torch.float64)
    first, last = path.scheduler(ends).sigma.tolist()
    depth, slope = math.log(first / last), (first - last) / path.t_max
    even = path.t_max * stratified(n // 2, generator)
    late = first * (1 - torch.exp(-depth * stratified(n - n // 2, generator))) / slope
    t = torch.cat([even, late.clamp(max=path.t_max)])
    density = 0.5 / path.t_max + 0.5 * slope / (depth * (first - slope * t))
    return t, 1 / density


@torch.no_grad()
def bound_of(field: LearnedPathField, x_1: Tensor, generator: Generator) -> Tensor:
    """One draw of the bound on -log p(x_1) for each data point x_1 (B, 2), in nats, (B,)."""
    x_0 = torch.randn(x_1.shape, generator=generator, dtype=x_1.dtype)
    t, weight = draw_times(len(x_1), field.path, generator)
    # Times are drawn in order, so that the points must not be.
    order = torch.randperm(len(x_1), generator=generator)
    parts = field.bound(t[order], x_0, x_1)
    return parts.diffusion * weight[order].to(x_1) + parts.prior + parts.reconstruction
