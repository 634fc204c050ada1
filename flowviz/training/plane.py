"""Training a field of the plane: a generator of states, one a step.

The caller decides what a step is for: it draws, logs, saves, stops or goes on. Two runs with one
seed draw the same weights, data, noise and times whatever their path and objective, so that they
can be compared pair by pair.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from flowviz.bounds import MOST_SEED, check_bounds
from flowviz.couplings import COUPLINGS, Pairs
from flowviz.datasets import Dataset
from flowviz.device import finest_float
from flowviz.fields import LearnedField, exact_field
from flowviz.networks import MLP
from flowviz.objectives import OBJECTIVES
from flowviz.paths import AffinePath
from flowviz.schedulers import LEARNED, scheduler
from flowviz.training import rest

__all__ = [
    "BOUNDS",
    "Descent",
    "TrainConfig",
    "TrainState",
    "build_field",
    "irreducible_loss",
    "steps_within",
    "train",
]

BOUNDS: dict[str, tuple[float, float]] = {
    "width": (8, 1024),
    "depth": (1, 8),
    "octaves": (0, 8),
    "batch": (16, 65_536),
    "lr": (1e-6, 1.0),
    "steps": (1, 10_000_000),
    "ema": (0.0, 0.99999),
    "seed": (0, MOST_SEED),
}
"""Least and greatest value of each number of a `TrainConfig`."""

WARM_UP = 200
"""Steps over which the learning rate rises, at most a tenth of all."""

CLIP = 5.0
"""Norm beyond which gradients are scaled down."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig(rest.Config):
    """One training run: only names and numbers, so it can be a card, a cache key and a URL.

    Attributes:
        data: spec of the data set, as `flowviz.datasets.dataset` takes it.
        path: spec of the path, as `flowviz.schedulers.scheduler` takes it.
        objective: name in OBJECTIVES.
        coupling: name in COUPLINGS.
        width: units of a hidden layer.
        depth: hidden layers.
        octaves: frequencies of the positional features.
        batch: pairs a step.
        lr: peak learning rate; it warms up, then falls linearly to 0 at the last step.
        steps: optimiser steps of the whole run.
        ema: decay of the moving average of the weights, a step.
        preconditioned: see `flowviz.fields.learned`.
        seed: of the weights and of every draw.
    """

    WHAT: ClassVar[str] = "A training config"

    data: str = "checkerboard"
    path: str = "ot"
    objective: str = "flow"
    coupling: str = "independent"
    width: int = 128
    depth: int = 3
    octaves: int = 5
    batch: int = 512
    lr: float = 2e-3
    steps: int = 3000
    ema: float = 0.999
    preconditioned: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.path == LEARNED:
            raise ValueError(
                f"The path {LEARNED!r} is trained together with its field, by "
                "`flowviz.training.nfdm`; take ot, vp or another path here."
            )
        chosen = scheduler(self.path)
        objective, _ = OBJECTIVES[self.objective], COUPLINGS[self.coupling]
        check_bounds(self, **BOUNDS)
        if objective.needs_alpha and chosen(torch.zeros(())).alpha == 0:
            raise ValueError(
                f"{objective.label} cannot give the velocity at t = 0 on the {chosen.label} path, "
                "where alpha is 0; take the objective flow, or the path vp or ve."
            )


class Descent:
    """A field in training: its weights, their moving average, the optimiser and the draws.

    Attributes:
        config: what is being trained; it has lr, steps, ema and seed.
        step: optimiser steps done.
        loss: the batch's loss at the last step; a tensor ().
        gradient_norm: of the last step, before clipping; a tensor ().
        field: the field whose weights are being trained.
        ema: the field with the moving average of the weights: the one to sample from.
    """

    def __init__(
        self,
        config: Any,
        build: Callable[[torch.Generator | None], nn.Module],
        device: torch.device,
    ) -> None:
        self.config = config
        self.device = device
        self.generator = torch.Generator().manual_seed(config.seed)
        self.field = build(self.generator).to(device)
        self.ema = build(None).to(device).requires_grad_(False)
        self.ema.load_state_dict(self.field.state_dict())
        self.optimizer = torch.optim.Adam(
            self.field.parameters(), lr=config.lr, betas=(0.9, 0.99), fused=True
        )
        self.step = 0
        self.loss = self.gradient_norm = torch.tensor(float("nan"))

    @property
    def done(self) -> bool:
        """Whether all steps have been made."""
        return self.step >= self.config.steps

    def tensors(self) -> dict[str, Tensor]:
        """All that the next step depends on, as named CPU tensors."""
        return rest.tensors_of(self._parts, self.optimizer, self.step, self.generator)

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Takes up where `tensors()` was called, to the bit.

        Raises:
            ValueError: the tensors are not those of a run with this config.
        """
        self.step = rest.restore(tensors, self._parts, self.optimizer, self.generator)

    @property
    def _parts(self) -> dict[str, nn.Module]:
        return {"field": self.field, "ema": self.ema}

    def advance(self, dataset: Dataset) -> None:
        """Makes one optimiser step on a fresh batch; each kind of training has its own loss."""
        raise NotImplementedError

    def descend(self, loss: Tensor) -> None:
        """Makes one optimiser step down a loss ()."""
        config = self.config
        warm_up = min(WARM_UP, config.steps // 10)
        for group in self.optimizer.param_groups:
            group["lr"] = config.lr * rest.schedule(self.step, config.steps, warm_up)
        self.optimizer.zero_grad()
        loss.backward()
        self.gradient_norm = nn.utils.clip_grad_norm_(self.field.parameters(), CLIP)
        self.optimizer.step()
        self.step += 1
        self.loss = loss.detach()
        rest.average(self.ema.parameters(), self.field.parameters(), self.step, config.ema)


class TrainState(Descent):
    """A training run after some steps, see `Descent`; `train` advances it in place.

    Its loss is averaged over pairs and dimensions.
    """

    def __init__(
        self,
        config: TrainConfig,
        dataset: Dataset,
        device: torch.device,
        pairs: Pairs | None = None,
    ) -> None:
        super().__init__(config, partial(build_field, config, dataset), device)
        self.pairs = pairs

    def advance(self, dataset: Dataset) -> None:
        """Makes one optimiser step."""
        config, path = self.config, self.field.path
        x_1 = dataset.sample(config.batch, self.generator)
        x_0 = torch.randn(x_1.shape, generator=self.generator)
        t = stratified(config.batch, self.generator) * path.t_max
        if self.pairs is None:
            x_1 = COUPLINGS[config.coupling](x_0, x_1)
        else:
            x_0, x_1 = self.pairs.draw(config.batch, self.generator)
        t = t.to(self.device, finest_float(self.device))
        loss = self.field.loss(t, x_0.to(self.device), x_1.to(self.device))
        self.descend(loss.mean())


def train(
    config: TrainConfig,
    dataset: Dataset,
    *,
    device: torch.device | None = None,
    tensors: dict[str, Tensor] | None = None,
    pairs: Pairs | None = None,
) -> Iterator[TrainState]:
    """Yields the state after each optimiser step, the same object every time.

    Args:
        config: what to train.
        dataset: the data set that `config.data` names.
        device: where; the CPU by default.
        tensors: what `TrainState.tensors` gave of an earlier run, to go on with that run.
        pairs: in place of the coupling that the config names; see `flowviz.training.reflow`.
    """
    state = TrainState(config, dataset, device or torch.device("cpu"), pairs)
    if tensors is not None:
        state.restore(tensors)
    while not state.done:
        state.advance(dataset)
        yield state


def build_field(
    config: TrainConfig, dataset: Dataset, generator: torch.Generator | None = None
) -> LearnedField:
    """The untrained field of a config, its weights drawn by `generator`."""
    network = MLP(
        width=config.width, depth=config.depth, octaves=config.octaves, generator=generator
    )
    return LearnedField(
        network,
        AffinePath(scheduler(config.path)),
        OBJECTIVES[config.objective],
        mean=dataset.mean,
        std=dataset.std,
        preconditioned=config.preconditioned,
    )


def steps_within(seconds: float, state: Descent, dataset: Dataset) -> int:
    """How many steps this machine makes in `seconds`, by a trial of at most 2 s.

    The learning rate needs to know the last step before the first is made.

    Args:
        seconds: how long the training may take, the trial included.
        state: a fresh run of any length; it is used up.
        dataset: its data set.
    """
    start, trial = time.perf_counter(), min(2.0, 0.1 * seconds)
    for _ in range(3):
        state.advance(dataset)  # the first are slow
    begun, made = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - begun) < trial or not made:
        state.advance(dataset)
        made += 1
    left = seconds - (time.perf_counter() - start)
    return max(1, int(0.9 * made * left / elapsed))


def irreducible_loss(
    config: TrainConfig, dataset: Dataset, n: int = 100_000, chunk: int = 10_000
) -> float | None:
    """The loss of the best possible field, to about 0.5% (one standard error at 100,000 pairs).

    It is E[w_t tr Cov(q | x_t)] / D: for flow matching the constant between the conditional and
    the marginal loss (Lipman et al. 2022, theorem 2). None where it is not known: for a coupling
    other than independent.
    """
    if config.coupling != "independent":
        return None
    path, objective = AffinePath(scheduler(config.path)), OBJECTIVES[config.objective]
    exact = exact_field(path, dataset.distribution)
    generator = torch.Generator().manual_seed(0)
    total = 0.0
    for _ in range(0, n, chunk):
        x_1 = dataset.sample(chunk, generator).double()
        x_0 = torch.randn(x_1.shape, generator=generator, dtype=torch.float64)
        t = stratified(chunk, generator) * path.t_max
        x_t = path.flow(t, x_0, x_1)
        c = path.coefficients(t, x_t)
        q_1, q_0 = objective.target(c)
        spread = q_1 * (x_1 - exact.data_mean(t, x_t)) + q_0 * (x_0 - exact.noise_mean(t, x_t))
        total += (objective.weight(c) * spread.square()).mean().item()
    return total / (n // chunk)


def stratified(n: int, generator: torch.Generator) -> Tensor:
    """n numbers in [0, 1), one in each n-th part, ascending, shape (n,), float64."""
    return (torch.arange(n) + torch.rand(n, generator=generator, dtype=torch.float64)) / n
