"""Training of a field of the plane.

Two runs with the same seed draw the same weights, data, noise and times whatever their path and
objective, so that they can be compared pair by pair.
"""

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from flowviz.bounds import MAX_SEED, check_bounds, shown
from flowviz.couplings import COUPLINGS, PairSampler
from flowviz.datasets import Dataset, parted
from flowviz.device import finest_float
from flowviz.draws import stream
from flowviz.fields import LearnedField, exact_field, exact_field_of, field_class
from flowviz.fields.bridges import LearnedBridge, TwoMLPs
from flowviz.fields.flow_map import FlowMap, draw_times
from flowviz.networks import MLP
from flowviz.objectives import OBJECTIVES, weighted
from flowviz.paths import AffinePath
from flowviz.schedulers import LEARNED, scheduler
from flowviz.training.run import TrainingConfig, TrainingRun
from flowviz.training.semidiscrete import DATA_COUPLINGS, check_coupling
from flowviz.training.targets import TARGETS, batch_means, has_means
from flowviz.training.times import TIMES, stratified
from flowviz.training.trajectories import Trajectories, follow

SHARE = 8
"""Pairs of a batch with the same time: embedding it for each pair is 42% of the arithmetic."""

TRAJECTORIES = 32_768
"""Number of trajectories of a distillation."""

BOUNDS: dict[str, tuple[float, float]] = {
    "width": (8, 1024),
    "depth": (1, 8),
    "octaves": (0, 8),
    "batch": (16, 65_536),
    "lr": (1e-6, 1.0),
    "steps": (1, 10_000_000),
    "ema": (0.0, 0.99999),
    "seed": (0, MAX_SEED),
}
"""Minimum and maximum of each number of a training in the plane."""

BRIDGE = (0.0, 10.0)
"""Minimum and maximum of the diffusion of bridges."""


def default_rate(depth: int) -> float:
    """The default learning rate of a network of `depth` hidden layers.

    With 0.02, networks of 5 and 8 layers and 256 or 512 units stayed above the loss at which they
    started; with 0.01 they learned.
    """
    return 0.02 * min(1.0, 3 / max(1, depth))


@dataclass(frozen=True, kw_only=True)
class TrainConfig(TrainingConfig):
    """A training of a field of the plane.

    Attributes:
        data: spec of the data set, as `flowviz.datasets.dataset` takes it, with its source if
            the training does not start from Gaussian noise.
        path: spec of the path, as `flowviz.schedulers.scheduler` takes it.
        objective: name in OBJECTIVES.
        weighting: name in WEIGHTINGS, the weight of the loss over time.
        coupling: name in COUPLINGS or DATA_COUPLINGS.
        times: name in TIMES, how the times of a batch are drawn; the jumps of samplers and those
            of a distillation have their own.
        targets: name in TARGETS, what the network is compared with; "" for the means of the batch
            where they exist, that is for independent pairs from Gaussian noise, else for pairs.
        width: number of units of a hidden layer.
        depth: number of hidden layers.
        octaves: number of frequencies of the positional features.
        batch: number of pairs per step.
        lr: peak learning rate, which rises linearly, then falls linearly to 0 at the last step; 0
            for `default_rate(depth)`.
        steps: number of optimiser steps.
        ema: decay of the moving average of the weights per step.
        preconditioned: see `flowviz.fields.learned`.
        seed: of the weights and of all draws.
        start: checkpoint of a field on the same path, "" for none: the first weights of a flow
            map, and the teacher of a distillation, which otherwise distils the exact field.
        bridge: diffusion of the Brownian bridges between the pairs of a source and the data, see
            `flowviz.fields.bridges`; 0 for the conditional path alone.

    Raises:
        ValueError: an entry is unknown or out of its bounds, or path and objective do not go
            together.
    """

    data: str = "checkerboard"
    path: str = "ot"
    objective: str = "flow"
    weighting: str = "objective"
    coupling: str = "independent"
    times: str = "uniform"
    targets: str = ""
    width: int = 128
    depth: int = 3
    octaves: int = 5
    batch: int = 512
    lr: float = 0.0
    steps: int = 3000
    ema: float = 0.98
    preconditioned: bool = True
    seed: int = 0
    start: str = ""
    bridge: float = 0.0

    def __post_init__(self) -> None:
        if self.path == LEARNED:
            raise ValueError(
                f"The path {LEARNED!r} is trained together with its field and needs an "
                "NfdmConfig; use ot, vp or another path here."
            )
        check_coupling(self.coupling)
        _ = TIMES[self.times]
        if not self.lr:
            object.__setattr__(self, "lr", default_rate(self.depth))
        check_bounds(self, **BOUNDS, bridge=BRIDGE)
        check_source(self.data, self.path, self.objective)
        self._choose_targets()
        check_velocity_at_start(self.path, self.objective)
        check_flow_map(self.objective, self.start, self.preconditioned)
        weighted(self.objective, self.weighting)
        if self.bridge and not (parted(self.data)[0] and self.preconditioned):
            raise ValueError(
                "Bridges need a data set with a source, such as from:8gaussians>moons, and "
                f"preconditioned networks; got {shown(self.data)} and bridge {self.bridge:g}."
            )

    def _choose_targets(self) -> None:
        """Sets `targets` if it is "", else checks it."""
        possible = has_means(self.data, self.coupling, self.objective)
        if not self.targets:
            object.__setattr__(self, "targets", "batch" if possible else "pair")
        elif TARGETS[self.targets] is TARGETS["batch"] and not possible:
            raise ValueError(
                "Means of the batch need independent pairs from Gaussian noise, and no "
                "distillation; use the targets pair, or leave them out."
            )


class PlaneRun(TrainingRun[TrainConfig], config=TrainConfig):
    """A field of the plane in training, see `TrainingRun`.

    Its loss is the mean over pairs and dimensions.

    Args:
        pairs: of noise and data, instead of the config's coupling; see `flowviz.training.reflow`.
        origin: the field of the checkpoint that `config.start` names.
        arguments, options: of `TrainingRun`.
    """

    model: LearnedField
    ema: LearnedField

    def __init__(
        self,
        *arguments: Any,
        pairs: PairSampler | None = None,
        origin: LearnedField | None = None,
        **options: Any,
    ) -> None:
        self.origin = copy.deepcopy(origin)
        super().__init__(*arguments, **options)
        prepare = DATA_COUPLINGS.get(self.config.coupling)
        if pairs is None and prepare is not None:
            pairs = prepare(self.data, self.config.seed)
        self.pairs = pairs
        self.trajectories: Trajectories | None = None

    def build(self, generator: torch.Generator | None) -> nn.Module:
        """See `TrainingRun.build`."""
        return with_origin(
            build_field(self.config, self.data, generator), self.origin, self.config.start
        )

    def losses(self) -> Iterator[Tensor]:
        """See `TrainingRun.losses`."""
        config = self.config
        if config.objective == "distillation":
            yield self._distilled()
            return
        x_1 = self.data.sample(config.batch, self.generator)
        x_0 = self.data.starts(config.batch, self.generator)
        share = math.gcd(config.batch, SHARE)
        u = stratified(config.batch // share, self.generator)
        t = TIMES[config.times](u, self.model.path, self.model.std).repeat_interleave(share)
        s = None
        if isinstance(self.model, FlowMap):
            objective = self.model.objective
            t, s = draw_times(t, self.model.path, objective, self.generator, share=share)
        if self.pairs is None:
            x_1 = COUPLINGS[config.coupling](x_0, x_1, self.generator)
        else:
            x_0, x_1 = self.pairs.draw(config.batch, self.generator)
        means = None
        if config.targets == "batch" and self.pairs is None:
            path = self.model.path
            needed = s == t if s is not None and self.model.objective.own_jumps else None
            means = batch_means(path, t, path.flow(t, x_0, x_1), x_1, needed)
            means = means[0].to(self.device), means[1].to(self.device)
        dtype = finest_float(self.device)
        t, s = t.to(self.device, dtype), None if s is None else s.to(self.device, dtype)
        x_0, x_1 = x_0.to(self.device), x_1.to(self.device)
        if isinstance(self.model, LearnedBridge):
            z = torch.randn(x_0.shape, generator=self.generator).to(x_0)
            yield self.model.bridge_loss(t, x_0, x_1, z).mean()
            return
        if not isinstance(self.model, FlowMap):
            yield self.model.loss(t, x_0, x_1, share=share, means=means).mean()
        else:
            yield self.model.loss(t, x_0, x_1, s=s, share=share, means=means).mean()

    def _distilled(self) -> Tensor:
        """The loss of a batch of jumps along trajectories of the teacher."""
        assert isinstance(self.model, FlowMap)
        if self.trajectories is None:
            path = self.model.path
            teacher = None if self.origin is None else self.origin.to(self.device)
            noise = torch.randn(
                (TRAJECTORIES, 2), generator=stream(self.config.seed, "trajectories", 0)
            )
            self.trajectories = follow(
                teacher or exact_field(path, self.data.distribution),
                self.model,
                noise.to(self.device),
            )
        share = math.gcd(self.config.batch, SHARE)
        jumps = self.trajectories.draw(
            self.config.batch, self.model.objective, self.generator, share=share
        )
        return self.model.jump_loss(*jumps, share=share).mean()


def check_source(data: str, path: str, objective: str) -> None:
    """Checks that a training can start from the source of its data set, if it has one.

    Raises:
        ValueError: the path does not start there, or the objective needs noise.
    """
    source, _ = parted(data)
    AffinePath(scheduler(path), source)
    if source and objective != "flow":
        raise ValueError(
            "A training from a data set needs the objective flow, because the others need "
            f"Gaussian noise at t = 0; got {objective} from {shown(source)}: use flow."
        )


def check_velocity_at_start(path: str, objective: str) -> None:
    """Checks that the velocity at t = 0 follows from what the network predicts.

    Raises:
        ValueError: it does not, or the path or objective is unknown.
    """
    chosen, predicted = scheduler(path), OBJECTIVES[objective]
    if predicted.needs_alpha and chosen(torch.zeros(())).alpha == 0:
        raise ValueError(
            f"{predicted.label} cannot give the velocity at t = 0 on the {chosen.label} "
            "path, where alpha is 0; use the objective flow, or the path vp or ve."
        )


def check_flow_map(objective: str, start: str, preconditioned: bool) -> None:
    """Checks that the settings of a flow map go together.

    Raises:
        ValueError: they do not.
    """
    two_times = OBJECTIVES[objective].two_times
    if two_times and not preconditioned:
        raise ValueError(
            f"The objective {objective} trains a flow map, which must be preconditioned; set "
            "preconditioned to true or use the objective flow."
        )
    if start and not two_times:
        raise ValueError(
            f"start is an option of flow maps only; got {start!r} with the objective {objective}: "
            "omit it, or use meanflow, shortcut or distillation."
        )


def with_origin(field: LearnedField, origin: LearnedField | None, start: str) -> LearnedField:
    """The field with the weights of the checkpoint `start`, whose field is `origin`, if any.

    A distillation can have a network of another size, which then keeps its own weights.

    Raises:
        ValueError: the two do not fit each other.
    """
    if not start:
        return field
    if origin is None:
        raise ValueError(f"The field of the checkpoint {start!r} must be given.")
    if origin.path != field.path or origin.objective.velocity != field.objective.velocity:
        raise ValueError(
            f"The checkpoint {start!r} must predict a velocity on the same path; choose another "
            "start or path."
        )
    old, new = origin.network.state_dict(), field.network.state_dict()
    if old.keys() <= new.keys() and all(new[k].shape == v.shape for k, v in old.items()):
        field.network.load_state_dict(new | old)
    elif field.objective is not OBJECTIVES["distillation"]:
        raise ValueError(
            f"The network must have the sizes of the checkpoint {start!r}; give the same width, "
            "depth and octaves, or the same image network."
        )
    return field


def build_field(
    config: TrainConfig, dataset: Dataset, generator: torch.Generator | None = None
) -> LearnedField:
    """The untrained field of a config, its weights drawn by `generator`."""
    objective = weighted(config.objective, config.weighting)
    source = dataset.source
    source_moments = (
        {} if source is None else {"source_mean": source.mean, "source_std": source.std}
    )
    sizes = {"width": config.width, "depth": config.depth, "octaves": config.octaves}
    path = AffinePath(scheduler(config.path), parted(config.data)[0])
    moments = {"mean": dataset.mean, "std": dataset.std} | source_moments
    if config.bridge:
        networks = TwoMLPs(**sizes, generator=generator)
        pairs = {"noise": config.bridge, "coupling": config.coupling}
        return LearnedBridge(networks, path, objective, **pairs, **moments)
    network = MLP(**sizes, two_times=objective.two_times, generator=generator)
    preconditioned = {"preconditioned": config.preconditioned}
    return field_class(objective)(network, path, objective, **preconditioned, **moments)


def steps_within(seconds: float, run: TrainingRun) -> int:
    """How many steps this machine makes in `seconds`, estimated by a trial of at most 2 s.

    The learning rate depends on the number of steps, so it must be known before the first.

    Args:
        seconds: time for the training, the trial included.
        run: a new run of any length, which the trial consumes.
    """
    start, trial = time.perf_counter(), min(2.0, 0.1 * seconds)
    for _ in range(3):
        run.advance()  # the first are slow
    trial_start, steps = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - trial_start) < trial or not steps:
        run.advance()
        steps += 1
    left = seconds - (time.perf_counter() - start)
    return max(1, int(0.9 * steps * left / elapsed))


def has_floor(config: TrainConfig) -> bool:
    """Whether the best loss follows from the exact field, where there is one.

    It does for independent pairs, but not for flow maps and bridges.
    """
    two_times = OBJECTIVES[config.objective].two_times
    return config.coupling == "independent" and not two_times and not config.bridge


def irreducible_loss(
    config: TrainConfig, dataset: Dataset, n: int = 100_000, chunk: int = 10_000
) -> float | None:
    """The loss of the best possible field, to about 0.5% (one standard error at 100,000 pairs).

    It is E[w_t tr Cov(q | x_t)] / D: for flow matching the constant between the conditional and
    the marginal loss (Lipman et al. 2022, theorem 2). None where it is not known: see `has_floor`,
    and without an exact field.
    """
    path = AffinePath(scheduler(config.path), parted(config.data)[0])
    objective = weighted(config.objective, config.weighting)
    if not has_floor(config):
        return None
    try:
        exact = exact_field_of(path, dataset)
    except ValueError:
        return None
    generator = torch.Generator().manual_seed(0)
    total = 0.0
    for _ in range(0, n, chunk):
        x_1 = dataset.sample(chunk, generator).double()
        if dataset.source is None:
            x_0 = torch.randn(x_1.shape, generator=generator, dtype=torch.float64)
        else:
            x_0 = dataset.source.sample(chunk, generator).double()
        t = TIMES[config.times](stratified(chunk, generator), path, dataset.std)
        x_t = path.flow(t, x_0, x_1)
        c = path.coefficients(t, x_t)
        q_1, q_0 = objective.target(c)
        mean_0, mean_1 = exact.means(t, x_t)
        spread = q_1 * (x_1 - mean_1) + q_0 * (x_0 - mean_0)
        total += (objective.weight(c) * spread.square()).mean().item()
    return total / (n // chunk)
