"""Training of a field of images.

The draws of step k (images, flips, dropped classes, noise and times) depend on the seed and on k
alone. A run therefore continues bit for bit from its weights and step number, and two runs with
the same seed pair the same images with the same noise whatever their path. With `times="level"`
nine tenths of the times even have the same ratio of noise to data on every path, so that only the
velocity to be learned and the path's weighting of the levels differ. The other tenth is uniform in
each path's own time, where the ratios differ (at t = 1/4 its logarithm is 1.1 on the OT path and
2.8 on VP).

Each of several processes (`flowviz.distributed`) draws the whole batch and keeps its rows, so that
they make the steps of one process but for the order in which gradients are summed.
"""

import copy
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from flowviz.bounds import MAX_SEED, check_bounds
from flowviz.couplings import COUPLINGS, within_classes
from flowviz.datasets.images import IMAGE_SETS, ImageSet, png
from flowviz.device import finest_float
from flowviz.draws import stream
from flowviz.fields import FlowMap, LearnedField, field_class
from flowviz.fields.flow_map import draw_times
from flowviz.networks import IMAGE_NETWORKS, channels_last
from flowviz.objectives import OBJECTIVES, weighted
from flowviz.paths import AffinePath
from flowviz.schedulers import scheduler
from flowviz.training.image_files import SNAPSHOTS, sample_grid, snapshot
from flowviz.training.plane import check_flow_map, check_velocity_at_start, with_origin
from flowviz.training.run import TrainingConfig, TrainingRun
from flowviz.training.times import TIMES
from flowviz.training.trajectories import Jumps, Trajectories, follow

IMAGE_BOUNDS: dict[str, tuple[float, float]] = {
    "images": (1, 10**10),
    "batch": (1, 65_536),
    "accumulate": (1, 65_536),
    "lr": (1e-7, 1.0),
    "weight_decay": (0.0, 1.0),
    "warm_up": (0, 10_000_000),
    "clip": (0.0, 1e6),
    "ema": (0.0, 0.999999),
    "drop_class": (0.0, 1.0),
    "seed": (0, MAX_SEED),
}
"""Minimum and maximum of each number of an `ImageTrainConfig`."""

DECAYS = ("linear", "constant")

POOL_STEPS = 160
"""Number of steps of a distillation that draw from the same trajectories."""

POOL = 4
"""Number of those trajectories over the size of a batch; several processes divide them. A
trajectory takes 78 evaluations of the teacher, which was a quarter of the time on a GPU. Its
states stay on the device: 0.5 MB for an image of 32 x 32 and 3 channels, 4 GB for the part of a
process that has 2,048 jumps of a batch."""


@dataclass(frozen=True, kw_only=True)
class ImageTrainConfig(TrainingConfig):
    """A training of a field of images.

    Attributes:
        data: name in IMAGE_SETS.
        path: spec of the path, as `flowviz.schedulers.scheduler` takes it.
        objective: name in OBJECTIVES.
        weighting: name in WEIGHTINGS, the weight of the loss over time.
        coupling: name in COUPLINGS: how the noise and the images of a class, or of the batch
            without classes, are paired. A distillation, which sees no images, ignores it, `times`
            and `flips`.
        network: name in IMAGE_NETWORKS.
        classes: whether the network is conditioned on the class of each image.
        preconditioned: see `flowviz.fields.learned`.
        times: name in TIMES: how the times of a batch are drawn; the jumps of samplers have their
            own.
        images: number of images seen in the whole run, flips and repetitions included, or of
            jumps in a distillation; rounded up to batches.
        batch: number of images per step, of all processes together. A distillation keeps states
            in proportion to it, see `POOL`.
        accumulate: number of parts in which a batch is computed, to save memory; it must divide
            `batch`.
        lr: peak learning rate.
        weight_decay: AdamW's.
        warm_up: number of steps over which the learning rate rises, at most a fifth of all.
        decay: "linear" to 0 at the last step, or "constant".
        clip: maximum norm of a gradient; 0 for no maximum.
        ema: decay of the moving average of the weights per step.
        flips: whether half of the images are mirrored left to right.
        drop_class: share of images whose class is replaced by the null class, for guidance.
        mixed: whether the network computes in bfloat16 on CUDA; it never does elsewhere.
        seed: of the weights and of all draws.
        start: image checkpoint of a field on the same path, "" for none: the first weights of a
            flow map, and the teacher of a distillation.

    Raises:
        ValueError: an entry is unknown or out of its bounds, or entries do not go together.
    """

    LABEL: ClassVar[str] = "An image training config"
    FORMAT: ClassVar[str] = "flowviz-image-run"
    MAX_WARM_UP: ClassVar[float] = 0.2

    data: str = "cifar10"
    path: str = "ot"
    objective: str = "flow"
    weighting: str = "objective"
    coupling: str = "independent"
    network: str = "small"
    classes: bool = True
    preconditioned: bool = True
    times: str = "level"
    images: int = 3_000_000
    batch: int = 64
    accumulate: int = 1
    lr: float = 1e-3
    weight_decay: float = 0.01
    warm_up: int = 1000
    decay: str = "linear"
    clip: float = 1.0
    ema: float = 0.9995
    flips: bool = True
    drop_class: float = 0.1
    mixed: bool = True
    seed: int = 0
    start: str = ""

    def __post_init__(self) -> None:
        _ = IMAGE_SETS[self.data], IMAGE_NETWORKS[self.network], TIMES[self.times]
        _ = COUPLINGS[self.coupling]
        check_bounds(self, **IMAGE_BOUNDS)
        if self.batch % self.accumulate:
            raise ValueError(
                f"accumulate must divide batch; got {self.accumulate} and {self.batch}."
            )
        if self.decay not in DECAYS:
            raise ValueError(f"decay must be {' or '.join(DECAYS)}; got {self.decay!r}.")
        check_velocity_at_start(self.path, self.objective)
        check_flow_map(self.objective, self.start, self.preconditioned)
        weighted(self.objective, self.weighting)
        if self.objective == "distillation" and not self.start:
            raise ValueError("A distillation on images needs a teacher; set start to its name.")
        if self.preconditioned and not IMAGE_NETWORKS[self.network].clocks:
            raise ValueError(
                f"The U-Net {self.network!r} takes t itself, which suits a plain field; set "
                "preconditioned to false."
            )

    # The config is frozen, so that the property is as good as a field.
    @property
    def steps(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Number of optimiser steps."""
        return math.ceil(self.images / self.batch)


class ImageBatch(NamedTuple):
    """The data of one step."""

    t: Tensor
    """Times, (B,) float64."""
    x_0: Tensor
    """Noise, (B, C, H, W) float32."""
    x_1: Tensor
    """Images in [-1, 1], (B, C, H, W) float32."""
    y: Tensor | None
    """Classes or the null class, (B,) int64; None without class conditioning."""
    s: Tensor | None
    """Second times of a flow map, (B,) float64; None for other fields."""


def draw_batch(config: ImageTrainConfig, data: ImageSet, step: int) -> ImageBatch:
    """The whole batch of a step, the same in every process."""
    n = config.batch
    positions = torch.arange(step * n, (step + 1) * n)
    epochs, offsets = positions // len(data), positions % len(data)
    chosen = torch.cat(
        [
            epoch_order(config.seed, epoch, len(data))[offsets[epochs == epoch]]
            for epoch in epochs.unique().tolist()
        ]
    )
    generator = stream(config.seed, "batch", step)
    x_1 = data.to_unit(data.images[chosen])
    flipped = torch.rand(n, generator=generator) < 0.5
    if config.flips:
        x_1 = torch.where(flipped[:, None, None, None], x_1.flip(-1), x_1)
    dropped = torch.rand(n, generator=generator) < config.drop_class
    y = None
    if config.classes:
        y = torch.where(dropped, len(data.classes), data.labels[chosen])
    u = (torch.arange(n) + torch.rand(n, generator=generator, dtype=torch.float64)) / n
    path, objective = AffinePath(scheduler(config.path)), OBJECTIVES[config.objective]
    t, s = TIMES[config.times](u, path, data.std), None
    x_0 = torch.randn(x_1.shape, generator=generator)
    if objective.two_times:
        t, s = draw_times(t, path, objective, generator)
    if config.coupling != "independent":
        coupling = COUPLINGS[config.coupling]
        classes = torch.zeros(n) if y is None else y
        x_1 = within_classes(coupling, x_0, x_1, classes, generator)
    return ImageBatch(t, x_0, x_1, y, s)


class ImageRun(TrainingRun[ImageTrainConfig], config=ImageTrainConfig):
    """A field of images in training, see `TrainingRun`; its loss is the mean over all pixels.

    Args:
        grid_every: number of images between two grids of samples in the run's folder; 0 for none.
        origin: the field of the checkpoint that `config.start` names.
        arguments, options: of `TrainingRun`.

    Raises:
        ValueError: the batch cannot be divided between the processes and parts.
    """

    model: LearnedField
    ema: LearnedField
    DRAWS_BY_STEP = True

    def __init__(
        self,
        *arguments: Any,
        grid_every: int = 100_000,
        origin: LearnedField | None = None,
        **options: Any,
    ) -> None:
        self.origin = copy.deepcopy(origin)
        super().__init__(*arguments, **options)
        batch, parts, world = self.config.batch, self.config.accumulate, self.processes.world
        if batch % (parts * world):
            raise ValueError(
                f"A batch of {batch} must divide by processes and parts; got {world} processes of "
                f"{parts} parts."
            )
        self.grid_every = grid_every
        if self.origin is not None:
            self.origin = self.origin.to(self.device)
        self._pool: tuple[int, Trajectories] | None = None
        self._mean_loss: nn.Module = _MeanLoss(self.model)
        if world > 1:
            self._mean_loss = DistributedDataParallel(self._mean_loss)

    def build_generator(self) -> Generator:
        """See `TrainingRun.build_generator`."""
        return stream(self.config.seed, "weights", 0)

    def build(self, generator: Generator | None) -> nn.Module:
        """See `TrainingRun.build`."""
        field = build_image_field(self.config, self.data, generator)
        field = with_origin(field, self.origin, self.config.start)
        return channels_last(field)

    def build_optimizer(self) -> torch.optim.Optimizer:
        """See `TrainingRun.build_optimizer`."""
        config = self.config
        return torch.optim.AdamW(
            self.model.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True
        )

    def losses(self) -> Iterator[Tensor]:
        """See `TrainingRun.losses`: `config.accumulate` parts."""
        config, n = self.config, self.config.accumulate
        if config.objective == "distillation":
            batch, share = self._jumps(), slice(None)
        else:
            batch = draw_batch(config, self.data, self.step)
            share = self.processes.share(config.batch)
        parts = ([None] * n if value is None else value[share].chunk(n) for value in batch)
        # Dropout draws from the global generators, which this seeds.
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(self._stream("dropout", self.step).initial_seed())
            for i, part in enumerate(zip(*parts, strict=True)):
                with self._summing(last=i == n - 1), self._mixed():
                    yield self._mean_loss(*(self._to_device(value) for value in part)) / n

    def log_entry(self) -> dict[str, int]:
        """See `TrainingRun.log_entry`: the number of images or jumps seen."""
        return {"images": self.step * self.config.batch}

    def outputs(self) -> dict[str, bytes]:
        """See `TrainingRun.outputs`: snapshots of the averaged weights, and grids of samples."""
        files = {}
        due = {math.ceil(self.steps * percent / 100): percent for percent in SNAPSHOTS}
        if self.step in due:
            files[f"snapshot-{due[self.step]:03d}.safetensors"] = snapshot(self)
        interval = max(1, self.grid_every // self.config.batch)
        if self.grid_every and (self.step % interval == 0 or self.done):
            files[f"grid-{self.step:09d}.png"] = png(sample_grid(self))
        return files

    def _jumps(self) -> Jumps:
        """This process's part of the batch of a distillation, along trajectories of its own."""
        config, origin = self.config, self.origin
        batch = config.batch // self.processes.world
        assert origin is not None and isinstance(self.model, FlowMap)  # of a distillation
        number = self.step // POOL_STEPS
        if self._pool is None or self._pool[0] != number:
            generator, n = self._stream("trajectories", number), POOL * batch
            shape = self.data.channels, self.data.size, self.data.size
            noise = self._to_device(torch.randn(n, *shape, generator=generator))
            y = None
            if config.classes:
                y = torch.randint(len(self.data.classes), (n,), generator=generator)
                dropped = torch.rand(n, generator=generator) < config.drop_class
                y = torch.where(dropped, len(self.data.classes), y).to(self.device)
            assert noise is not None
            self._pool = None  # frees the memory of the one before
            with self._mixed():
                self._pool = number, follow(origin, self.model, noise, y)
        generator = self._stream("batch", self.step)
        with self._mixed():
            return self._pool[1].draw(batch, self.model.objective, generator)

    def _stream(self, purpose: str, number: int) -> Generator:
        """The random numbers of this process for a step or pool, on which alone they depend."""
        rank = self.processes.rank
        return stream(self.config.seed, f"{purpose}/{rank}" if rank else purpose, number)

    def _to_device(self, value: Tensor | None) -> Tensor | None:
        """A part of a batch as the network takes it, on the device."""
        if value is None:
            return None
        if value.ndim == 4:
            return value.to(self.device, non_blocking=True, memory_format=torch.channels_last)
        dtype = finest_float(self.device) if value.is_floating_point() else value.dtype
        return value.to(self.device, dtype, non_blocking=True)

    def _mixed(self) -> AbstractContextManager:
        """The context in which networks compute: in bfloat16 if `config.mixed`, on CUDA."""
        mixed = self.config.mixed and self.device.type == "cuda"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=mixed)

    def _summing(self, *, last: bool) -> AbstractContextManager:
        """The context of a part: processes sum their gradients during the last one."""
        if last or not isinstance(self._mean_loss, DistributedDataParallel):
            return nullcontext()
        return self._mean_loss.no_sync()


class _MeanLoss(nn.Module):
    """The mean loss of a batch as a module, as DistributedDataParallel needs it."""

    def __init__(self, field: LearnedField) -> None:
        super().__init__()
        self.field = field

    def forward(self, *batch: Any) -> Tensor:
        """The loss of the parts of an `ImageBatch`, or of `Jumps` in a distillation."""
        if not isinstance(self.field, FlowMap):
            return self.field.loss(*batch[:4]).mean()
        if self.field.objective.jump_target is None:
            return self.field.jump_loss(*batch).mean()
        return self.field.loss(*batch[:4], s=batch[4]).mean()


def build_image_field(
    config: ImageTrainConfig, data: ImageSet, generator: Generator | None = None
) -> LearnedField:
    """The untrained field of a config, its weights drawn by `generator`."""
    shape = IMAGE_NETWORKS[config.network]
    objective = weighted(config.objective, config.weighting)
    network = shape.build(
        channels=data.channels,
        size=data.size,
        num_classes=len(data.classes) if config.classes else 0,
        two_times=objective.two_times,
        generator=generator,
    )
    return field_class(objective)(
        network,
        AffinePath(scheduler(config.path)),
        objective,
        mean=data.mean,
        std=data.std,
        preconditioned=config.preconditioned,
        clocked=bool(shape.clocks),
    )


@lru_cache(maxsize=2)
def epoch_order(seed: int, epoch: int, n: int) -> Tensor:
    """The order of n images in an epoch, (n,) int64."""
    return torch.randperm(n, generator=stream(seed, "order", epoch))
