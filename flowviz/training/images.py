"""Training a field of images: a generator of states, one a step.

What step k draws (the images, their flips, the classes left out, noise and times) depends on the
seed and on k alone. So a run goes on to the bit from its weights and its step number, and two runs
with one seed see the same images beside the same noise whatever their path. With `times="level"`
nine tenths of them even stand at the same ratio of noise to data, wherever a path reaches it, and
differ in the path alone: in which velocity is to be learned and in how the path's own loss weighs
the levels. The times of the other tenth are uniform: the same share of each path's own time, where
the ratios differ (a quarter of the way its logarithm is 1.1 on the OT path and 2.8 on VP).

Several processes (`flowviz.distributed`) each draw the whole batch and keep their rows of it, so
that they make the steps of one process, but for the order in which gradients are summed.
"""

import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from flowviz.bounds import MOST_SEED, check_bounds
from flowviz.datasets.images import IMAGE_SETS, ImageSet
from flowviz.device import finest_float
from flowviz.distributed import ALONE, Processes
from flowviz.fields import LearnedField
from flowviz.networks import UNETS, UNet
from flowviz.objectives import OBJECTIVES
from flowviz.paths import AffinePath
from flowviz.registry import Registry
from flowviz.schedulers import scheduler
from flowviz.training import rest

__all__ = [
    "IMAGE_BOUNDS",
    "IMAGE_PRESETS",
    "TIMES",
    "ImageBatch",
    "ImageTrainConfig",
    "ImageTrainState",
    "build_image_field",
    "draw_batch",
    "train_images",
]

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
    "seed": (0, MOST_SEED),
}
"""Least and greatest value of each number of an `ImageTrainConfig`."""

DECAYS = ("linear", "constant")

LEVEL_SPREAD = 1.2
"""Standard deviation of the logarithm of noise over data under `level` times, as in EDM."""

UNIFORM_SHARE = 0.1
"""Share of `level` times that are uniform, so that a field is defined up to both ends of time."""


@dataclass(frozen=True, kw_only=True)
class ImageTrainConfig(rest.Config):
    """One training run on images: only names and numbers, so it can be a card.

    Attributes:
        data: name in IMAGE_SETS.
        path: spec of the path, as `flowviz.schedulers.scheduler` takes it.
        objective: name in OBJECTIVES.
        network: name in UNETS.
        classes: whether the network is told the class of each image.
        preconditioned: see `flowviz.fields.learned`.
        times: name in TIMES: how the times of a batch are drawn.
        images: images seen in the whole run, flips and repetitions counted; rounded up to batches.
        batch: images a step, all processes together.
        accumulate: parts in which a batch is computed, to save memory; it must divide `batch`.
        lr: peak learning rate.
        weight_decay: AdamW's.
        warm_up: steps over which the learning rate rises, at most a fifth of all.
        decay: "linear" to 0 at the last step, or "constant".
        clip: norm beyond which gradients are scaled down; 0 leaves them.
        ema: decay of the moving average of the weights, a step.
        flips: whether half of the images are mirrored left to right.
        drop_class: share of images whose class is replaced by the null class, for guidance.
        mixed: whether the network computes in bfloat16 on CUDA; elsewhere it never does.
        seed: of the weights and of every draw.
    """

    WHAT: ClassVar[str] = "An image training config"

    data: str = "cifar10"
    path: str = "ot"
    objective: str = "flow"
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

    def __post_init__(self) -> None:
        _ = IMAGE_SETS[self.data], UNETS[self.network], TIMES[self.times]
        objective, chosen = OBJECTIVES[self.objective], scheduler(self.path)
        check_bounds(self, **IMAGE_BOUNDS)
        if self.batch % self.accumulate:
            raise ValueError(
                f"accumulate must divide batch; got {self.accumulate} and {self.batch}."
            )
        if self.decay not in DECAYS:
            raise ValueError(f"decay must be {' or '.join(DECAYS)}; got {self.decay!r}.")
        if objective.needs_alpha and chosen(torch.zeros(())).alpha == 0:
            raise ValueError(
                f"{objective.label} cannot give the velocity at t = 0 on the {chosen.label} path, "
                "where alpha is 0; take the objective flow, or the path vp or ve."
            )
        if self.preconditioned and not UNETS[self.network].clocks:
            raise ValueError(
                f"The U-Net {self.network!r} is told t alone, which suits a plain field; "
                "set preconditioned to false."
            )

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole run."""
        return math.ceil(self.images / self.batch)


def uniform_times(u: Tensor, path: AffinePath, std: float) -> Tensor:
    """Times uniform on [0, t_max], as Lipman et al. 2022 draw them, from u uniform on [0, 1)."""
    return u * path.t_max


def level_times(u: Tensor, path: AffinePath, std: float) -> Tensor:
    """Times at which noise and data are log-normally alike, from u ascending on [0, 1).

    The ratio sigma_t / (alpha_t std) of noise to data of standard deviation `std` is log-normal
    around 1. On the OT path t is then logit-normal, as Esser et al. 2024
    (https://arxiv.org/abs/2403.03206) draw it; on any other path it is where the noise stands in
    the same ratio to the data, so that every path spends the same effort on each level. A tenth is
    uniform. The loss is not divided by the density of these times: they weigh the levels, which
    leaves the best field as it is.
    """
    even = round(UNIFORM_SHARE * len(u))
    ranks = torch.arange(len(u))
    # Every tenth stratum, stretched over all of time; the others share the levels between them.
    chosen = (ranks + 1) * even // len(u) > ranks * even // len(u)
    parts = u * len(u) - ranks  # where u lies in its stratum
    t = torch.empty_like(u)
    t[chosen] = (torch.arange(even) + parts[chosen]) / max(1, even) * path.t_max
    others = len(u) - even
    # From the noisiest level down, so that t ascends.
    share = 1 - (torch.arange(others) + parts[~chosen]) / max(1, others)
    wanted = math.log(std) + LEVEL_SPREAD * torch.special.ndtri(share.clamp(1e-12, 1 - 1e-12))
    low, high = torch.zeros_like(wanted), torch.full_like(wanted, path.t_max)
    for _ in range(50):  # the ratio falls with t on every path
        middle = (low + high) / 2
        c = path.scheduler(middle)
        noisier = torch.log(c.sigma) - torch.log(c.alpha) > wanted
        low, high = torch.where(noisier, middle, low), torch.where(noisier, high, middle)
    t[~chosen] = (low + high) / 2
    return t


TIMES: Registry[Callable[[Tensor, AffinePath, float], Tensor]] = Registry("distribution of times")
TIMES["uniform"] = uniform_times
TIMES["level"] = level_times

IMAGE_PRESETS: Registry[ImageTrainConfig] = Registry("preset")
"""Whole recipes by name. `small` is that of the shipped fields and `tiny` a first try on digits.

`torchcfm` and `paper` have every hyperparameter as published (torchcfm's CIFAR-10 script; Lipman
et al. 2022, table 3 and appendix E), the dropout with the network of the same name. They have NOT
been run to the end here, so that nothing is claimed of what they reach. Where they differ from
their originals: times are stratified over a batch and stop at the path's t_max, the learning rate
rises one step ahead of torchcfm's, and the moving average forgets its first steps faster. The
paper mentions no average, flips or clipping, and so its recipe has none.

Noise and images are paired as they are drawn, which makes `torchcfm` that script's `--model icfm`,
one of those whose weights are released. It is not the script's default, `otcfm`, which first pairs
a batch by optimal transport: training on images has no such coupling here.
"""
IMAGE_PRESETS["small"] = ImageTrainConfig()
IMAGE_PRESETS["tiny"] = ImageTrainConfig(
    data="digits", network="tiny", images=200_000, batch=32, warm_up=100, ema=0.999, flips=False
)
IMAGE_PRESETS["torchcfm"] = ImageTrainConfig(
    network="torchcfm",
    classes=False,
    preconditioned=False,
    times="uniform",
    images=400_001 * 128,
    batch=128,
    lr=2e-4,
    weight_decay=0.0,
    warm_up=5000,
    decay="constant",
    clip=1.0,
    ema=0.9999,
    flips=True,
    drop_class=0.0,
    mixed=False,
)
IMAGE_PRESETS["paper"] = ImageTrainConfig(
    network="paper",
    classes=False,
    preconditioned=False,
    times="uniform",
    images=391_000 * 256,
    batch=256,
    lr=5e-4,
    weight_decay=0.0,
    warm_up=45_000,
    clip=0.0,
    ema=0.0,
    flips=False,
    drop_class=0.0,
    mixed=False,
)


class ImageBatch(NamedTuple):
    """What one step trains on."""

    t: Tensor
    """Times, (B,) float64, ascending but for the uniform ones."""
    x_0: Tensor
    """Noise, (B, C, H, W) float32."""
    x_1: Tensor
    """Images in [-1, 1], (B, C, H, W) float32."""
    y: Tensor | None
    """Classes or the null class, (B,) int64; None if the network is told none."""


def draw_batch(config: ImageTrainConfig, data: ImageSet, step: int) -> ImageBatch:
    """The whole batch of a step, the same in every process; processes share it by rows."""
    n = config.batch
    positions = range(step * n, (step + 1) * n)
    chosen = torch.tensor(
        [_order(config.seed, i // len(data), len(data))[i % len(data)] for i in positions]
    )
    generator = _generator(config.seed, "batch", step)
    x_1 = data.to_unit(data.images[chosen])
    flipped = torch.rand(n, generator=generator) < 0.5
    if config.flips:
        x_1 = torch.where(flipped[:, None, None, None], x_1.flip(-1), x_1)
    dropped = torch.rand(n, generator=generator) < config.drop_class
    y = None
    if config.classes:
        y = torch.where(dropped, len(data.classes), data.labels[chosen])
    u = (torch.arange(n) + torch.rand(n, generator=generator, dtype=torch.float64)) / n
    t = TIMES[config.times](u, AffinePath(scheduler(config.path)), data.std)
    return ImageBatch(t, torch.randn(x_1.shape, generator=generator), x_1, y)


class ImageTrainState:
    """A training run after some steps; `train_images` advances it in place.

    Attributes:
        config: what is being trained.
        step: optimiser steps done.
        loss: the batch's loss at the last step, averaged over images and dimensions; a tensor ().
        gradient_norm: of the last step, before clipping; a tensor ().
        field: the field whose weights are being trained.
        ema: the field with the moving average of the weights: the one to sample from.
    """

    def __init__(
        self,
        config: ImageTrainConfig,
        data: ImageSet,
        device: torch.device,
        *,
        compiled: bool = False,
        processes: Processes = ALONE,
    ) -> None:
        if config.batch % (config.accumulate * processes.world):
            raise ValueError(
                f"A batch of {config.batch} must divide by processes and parts; got "
                f"{processes.world} processes of {config.accumulate} parts."
            )
        self.config = config
        self.device = device
        self.processes = processes
        generator = _generator(config.seed, "weights", 0)
        self.field = build_image_field(config, data, generator).to(device)
        self.ema = build_image_field(config, data).to(device).requires_grad_(False).eval()
        self.ema.load_state_dict(self.field.state_dict())
        for field in (self.field, self.ema):
            field.to(memory_format=torch.channels_last)
        if compiled:
            self.field.network.compile(dynamic=False)
        self._mean_loss: nn.Module = _MeanLoss(self.field)
        if processes.world > 1:
            self._mean_loss = DistributedDataParallel(self._mean_loss)
        self.optimizer = torch.optim.AdamW(
            self.field.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True
        )
        self.step = 0
        self.loss = self.gradient_norm = torch.tensor(float("nan"))

    @property
    def done(self) -> bool:
        """Whether all steps have been made."""
        return self.step >= self.config.steps

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        config = self.config
        warm_up = min(config.warm_up, config.steps // 5)
        falls = config.decay == "linear"
        return config.lr * rest.schedule(self.step, config.steps, warm_up, falls=falls)

    def tensors(self) -> dict[str, Tensor]:
        """All that the next step depends on, as named CPU tensors: weights, averages, step."""
        return rest.tensors_of(self._parts, self.optimizer, self.step)

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Takes up where `tensors()` was called, to the bit.

        Raises:
            ValueError: the tensors are not those of a run with this config.
        """
        self.step = rest.restore(tensors, self._parts, self.optimizer)

    @property
    def _parts(self) -> dict[str, nn.Module]:
        return {"field": self.field, "ema": self.ema}

    def advance(self, data: ImageSet) -> None:
        """Makes one optimiser step."""
        config = self.config
        batch = draw_batch(config, data, self.step)
        own = self.processes.share(config.batch)
        parts = zip(
            *(
                [None] * config.accumulate
                if value is None
                else value[own].chunk(config.accumulate)
                for value in batch
            ),
            strict=True,
        )
        self.optimizer.zero_grad()
        total = torch.zeros((), device=self.device)
        self.field.train()
        # Dropout draws from the global generators; it, too, shall depend on the step alone, but
        # differ between processes.
        devices = [self.device] if self.device.type == "cuda" else []
        purpose = f"dropout/{self.processes.rank}" if self.processes.rank else "dropout"
        with torch.random.fork_rng(devices):
            torch.manual_seed(_seed(config.seed, purpose, self.step))
            for i, (t, x_0, x_1, y) in enumerate(parts):
                with self._summing(last=i == config.accumulate - 1):
                    loss = self._loss(ImageBatch(t, x_0, x_1, y)) / config.accumulate
                    loss.backward()
                total += loss.detach()
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr
        self.gradient_norm = nn.utils.clip_grad_norm_(
            self.field.parameters(), config.clip or math.inf
        )
        self.optimizer.step()
        self.step += 1
        self.loss = self.processes.mean(total)
        rest.average(self.ema.parameters(), self.field.parameters(), self.step, config.ema)

    def _loss(self, batch: ImageBatch) -> Tensor:
        t = batch.t.to(self.device, finest_float(self.device), non_blocking=True)
        x_0, x_1, y = (
            None if value is None else value.to(self.device, non_blocking=True)
            for value in batch[1:]
        )
        x_0 = x_0.contiguous(memory_format=torch.channels_last)
        x_1 = x_1.contiguous(memory_format=torch.channels_last)
        mixed = self.config.mixed and self.device.type == "cuda"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=mixed):
            return self._mean_loss(t, x_0, x_1, y)

    def _summing(self, *, last: bool) -> AbstractContextManager:
        """Where gradients of a part are taken: those of the processes meet at the last part."""
        if last or not isinstance(self._mean_loss, DistributedDataParallel):
            return nullcontext()
        return self._mean_loss.no_sync()


class _MeanLoss(nn.Module):
    """The loss of a batch as a module's call, which is where processes join their gradients."""

    def __init__(self, field: LearnedField) -> None:
        super().__init__()
        self.field = field

    def forward(self, t: Tensor, x_0: Tensor, x_1: Tensor, y: Tensor | None) -> Tensor:
        return self.field.loss(t, x_0, x_1, y).mean()


def train_images(
    config: ImageTrainConfig,
    data: ImageSet,
    *,
    device: torch.device | None = None,
    tensors: dict[str, Tensor] | None = None,
    compiled: bool = False,
    processes: Processes = ALONE,
) -> Iterator[ImageTrainState]:
    """Yields the state after each optimiser step, the same object every time.

    Args:
        config: what to train.
        data: the image set that `config.data` names.
        device: where; the CPU by default.
        tensors: what `ImageTrainState.tensors` gave of an earlier run, to go on with that run.
        compiled: whether torch.compile prepares the network; the weights then differ in the last
            digits from those of a run without.
        processes: this one and those that train with it.
    """
    state = ImageTrainState(
        config, data, device or torch.device("cpu"), compiled=compiled, processes=processes
    )
    if tensors is not None:
        state.restore(tensors)
    while not state.done:
        state.advance(data)
        yield state


def build_image_field(
    config: ImageTrainConfig, data: ImageSet, generator: torch.Generator | None = None
) -> LearnedField:
    """The untrained field of a config, its weights drawn by `generator`."""
    shape = UNETS[config.network]
    network = UNet(
        shape,
        channels=data.channels,
        size=data.size,
        num_classes=len(data.classes) if config.classes else 0,
        generator=generator,
    )
    return LearnedField(
        network,
        AffinePath(scheduler(config.path)),
        OBJECTIVES[config.objective],
        mean=data.mean,
        std=data.std,
        preconditioned=config.preconditioned,
        clocked=bool(shape.clocks),
    )


def _seed(seed: int, purpose: str, n: int) -> int:
    """A seed of its own for the n-th draw of a purpose."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{n}".encode()).digest()
    return int.from_bytes(digest[:7])


def _generator(seed: int, purpose: str, n: int) -> torch.Generator:
    return torch.Generator().manual_seed(_seed(seed, purpose, n))


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, n: int) -> list[int]:
    """The order in which an epoch sees its n images."""
    return torch.randperm(n, generator=_generator(seed, "order", epoch)).tolist()
