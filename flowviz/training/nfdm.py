"""Training of a learned path of the plane: the forward process together with its flow.

The loss is a bound on the negative log-likelihood, with or without a penalty on the curvature of
the flow's trajectories. For the model see `flowviz.fields.learned_path`.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn

from flowviz.bounds import check_bounds
from flowviz.datasets import parted
from flowviz.device import finest_float
from flowviz.fields.learned_path import OBJECTIVE, LearnedPathField, build_learned_path
from flowviz.paths import AffinePath
from flowviz.schedulers import LEARNED, scheduler
from flowviz.training.plane import BOUNDS
from flowviz.training.run import TrainingConfig, TrainingRun
from flowviz.training.times import weighted_times

MORE_BOUNDS: dict[str, tuple[float, float]] = {
    "penalty": (0.0, 100.0),
    "sines": (1, 16),
    "bend_width": (8, 512),
    "bend_depth": (1, 4),
}
"""Minimum and maximum of each number that only an `NfdmConfig` has."""


@dataclass(frozen=True, kw_only=True)
class NfdmConfig(TrainingConfig):
    """A training of a learned path.

    Attributes:
        data: spec of the data set.
        penalty: weight of the mean square acceleration of the flow's trajectories, in nats per
            unit of length^2 / time^4; 0 for the bound alone.
        sines: K, number of sines of time in the mean and in the scale of the forward process.
        bend_width: number of units of a hidden layer of the forward process's network.
        bend_depth: number of its hidden layers.
        width: number of units of a hidden layer of the network that predicts the data.
        depth: number of its hidden layers.
        octaves: number of frequencies of its positional features.
        batch: number of data points per step, each with one draw of noise and time.
        lr: peak learning rate; it rises linearly, then falls linearly to 0 at the last step.
        steps: number of optimiser steps.
        ema: decay of the moving average of the weights per step.
        seed: of the weights and of all draws.
        path: always "learned".
        objective: always "bound".
    """

    LABEL: ClassVar[str] = "A learned path's config"

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
                f"A learned path must have the path {LEARNED!r} and the objective {OBJECTIVE!r}; "
                f"got {self.path!r} and {self.objective!r}."
            )
        AffinePath(scheduler(LEARNED), parted(self.data)[0])  # refuses a source
        check_bounds(self, **MORE_BOUNDS | BOUNDS)

    @property
    def network(self) -> dict[str, Any]:
        """The sizes of both networks, as arguments of `build_learned_path` and in cards."""
        names = ("width", "depth", "octaves", "sines", "bend_width", "bend_depth")
        return {name: value for name, value in asdict(self).items() if name in names}


class NfdmRun(TrainingRun[NfdmConfig], config=NfdmConfig):
    """A learned path in training, see `TrainingRun`; its loss is bound + penalty * curvature.

    Attributes:
        bound: estimate of the bound from the last batch, in nats, a tensor ().
        curvature: mean square acceleration over half of the last batch, a tensor (); NaN if the
            penalty is 0.
    """

    model: LearnedPathField
    ema: LearnedPathField

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.bound = self.curvature = torch.tensor(float("nan"))

    def build(self, generator: Generator | None) -> nn.Module:
        """See `TrainingRun.build`."""
        return build_learned_path(self.config.network, self.data.mean, self.data.std, generator)

    def losses(self) -> Iterator[Tensor]:
        """See `TrainingRun.losses`."""
        config = self.config
        x_1 = self.data.sample(config.batch, self.generator)
        x_0 = torch.randn(x_1.shape, generator=self.generator)
        t, weight = weighted_times(config.batch, self.model.path, self.generator)
        t = t.to(self.device, finest_float(self.device))
        x_1, x_0 = x_1.to(self.device), x_0.to(self.device)
        weight = weight.float().to(self.device)
        parts = self.model.bound(t, x_0, x_1)
        loss = (parts.diffusion * weight + parts.prior + parts.reconstruction).mean()
        self.bound = loss.detach()
        if config.penalty:
            # Of every second point, as each costs two evaluations, and of the other ones in the
            # next step. Times are sorted, so that both halves cover them evenly.
            half = slice(self.step % 2, None, 2)
            turning = self.model.acceleration(t[half], parts.state[half], parts.velocity[half])
            curvature = (turning.square().sum(dim=1) * weight[half]).mean()
            self.curvature = curvature.detach()
            loss = loss + config.penalty * curvature
        yield loss


@torch.no_grad()
def bound_of(field: LearnedPathField, x_1: Tensor, generator: Generator) -> Tensor:
    """One draw of the bound on -log p(x_1) for each data point x_1 (B, 2), in nats, (B,)."""
    x_0 = torch.randn(x_1.shape, generator=generator, dtype=x_1.dtype)
    t, weight = weighted_times(len(x_1), field.path, generator)
    # Times are sorted, so the points must not be.
    order = torch.randperm(len(x_1), generator=generator)
    parts = field.bound(t[order], x_0, x_1)
    return parts.diffusion * weight[order].to(x_1) + parts.prior + parts.reconstruction
