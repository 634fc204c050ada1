"""Training of the classifier whose features judge generated images.

The draws of a step depend on the seed and the step alone, so that a run continues bit for bit.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from flowviz.bounds import MAX_SEED, check_bounds
from flowviz.datasets.images import IMAGE_SETS, ImageSet
from flowviz.draws import stream
from flowviz.networks import channels_last
from flowviz.networks.classifier import Classifier
from flowviz.training.images import epoch_order
from flowviz.training.run import TrainingConfig, TrainingRun

BATCH = 500
"""Number of images per evaluation of the test set."""

BOUNDS: dict[str, tuple[float, float]] = {
    "stem": (1, 4096),
    "epochs": (1, 10_000),
    "batch": (2, 65_536),
    "lr": (0.0, 10.0),
    "weight_decay": (0.0, 1.0),
    "smoothing": (0.0, 0.999),
    "shift": (0, 64),
    "ema": (0.0, 0.999999),
    "seed": (0, MAX_SEED),
}
"""Minimum and maximum of each number of a `ClassifierConfig`."""


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(TrainingConfig):
    """A training of a classifier.

    Attributes:
        data: name in IMAGE_SETS.
        stem: see `Classifier`.
        widths: see `Classifier`.
        epochs: number of passes over the images.
        batch: number of images per step.
        lr: peak learning rate of stochastic gradient descent with Nesterov momentum 0.9; it rises
            over the first fifth of the steps, then falls linearly to 0.
        weight_decay: of convolutions and the last layer.
        smoothing: share of a label that is spread over all classes.
        shift: maximum number of pixels by which images are shifted; edges are reflected.
        flips: whether half of the images are mirrored left to right.
        ema: decay of the moving average of the weights per step.
        seed: of the weights and of all draws.

    Raises:
        ValueError: an entry is unknown or out of its bounds.
    """

    LABEL: ClassVar[str] = "A classifier's config"
    FORMAT: ClassVar[str] = "flowviz-classifier-run"
    MAX_WARM_UP: ClassVar[float] = 0.2
    warm_up = math.inf
    clip = 0.0

    data: str = "cifar10"
    stem: int = 24
    widths: tuple[int, ...] = (64, 128, 192)
    epochs: int = 16
    batch: int = 128
    lr: float = 0.15
    weight_decay: float = 5e-4
    smoothing: float = 0.1
    shift: int = 3
    flips: bool = True
    ema: float = 0.995
    seed: int = 0

    def __post_init__(self) -> None:
        _ = IMAGE_SETS[self.data]
        object.__setattr__(self, "widths", tuple(self.widths))
        check_bounds(self, **BOUNDS)
        if not self.widths or min(self.widths) < 1:
            raise ValueError(f"widths must be positive; got {self.widths}.")


class ClassifierRun(TrainingRun[ClassifierConfig], config=ClassifierConfig):
    """A classifier in training, see `TrainingRun`; its loss is the smoothed cross-entropy.

    Args:
        test: images whose accuracy under the averaged weights is logged after each epoch.
        arguments, options: of `TrainingRun`; only one process is supported.
    """

    model: Classifier
    ema: Classifier
    PART = "network"
    MOMENTS: ClassVar = {"momentum_buffer": "momentum."}
    DRAWS_BY_STEP = True

    def __init__(self, *arguments: Any, test: ImageSet | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.test = test

    @property
    def log_every(self) -> int:
        """See `TrainingRun.log_every`: the steps of an epoch."""
        return len(self.data) // self.config.batch

    @property
    def steps(self) -> int:
        """See `TrainingRun.steps`."""
        return self.config.epochs * self.log_every

    def build_generator(self) -> Generator:
        """See `TrainingRun.build_generator`."""
        return stream(self.config.seed, "weights", 0)

    def build(self, generator: Generator | None) -> nn.Module:
        """See `TrainingRun.build`."""
        network = Classifier(
            channels=self.data.channels,
            num_classes=len(self.data.classes),
            stem=self.config.stem,
            widths=self.config.widths,
            generator=generator,
        )
        return channels_last(network)

    def build_optimizer(self) -> torch.optim.Optimizer:
        """See `TrainingRun.build_optimizer`."""
        parameters, decay = list(self.model.parameters()), self.config.weight_decay
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
            {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
        ]
        return torch.optim.SGD(groups, lr=self.config.lr, momentum=0.9, nesterov=True)

    def losses(self) -> Iterator[Tensor]:
        """See `TrainingRun.losses`."""
        x, y = _batch(self.config, self.data, self.step)
        logits = self.model(x.to(self.device))
        smoothing = self.config.smoothing
        yield functional.cross_entropy(logits, y.to(self.device), label_smoothing=smoothing)

    def log_entry(self) -> dict[str, float]:
        """See `TrainingRun.log_entry`: the accuracy on the test images."""
        return {} if self.test is None else {"test_accuracy": accuracy(self.ema, self.test)}


@torch.no_grad()
def accuracy(network: Classifier, data: ImageSet) -> float:
    """The share of images that the network assigns to their class."""
    network.eval()
    right, device = 0, next(network.parameters()).device
    for images, labels in zip(data.images.split(BATCH), data.labels.split(BATCH), strict=True):
        x = data.to_unit(images).contiguous(memory_format=torch.channels_last)
        right += int((network(x.to(device)).argmax(dim=1).cpu() == labels).sum())
    return right / len(data)


def _batch(config: ClassifierConfig, data: ImageSet, step: int) -> tuple[Tensor, Tensor]:
    """The images and labels of a step, flipped and shifted."""
    epoch, position = divmod(step, len(data) // config.batch)
    order = epoch_order(config.seed, epoch, len(data))
    chosen = order[position * config.batch : (position + 1) * config.batch]
    generator = stream(config.seed, "batch", step)
    x = data.to_unit(data.images[chosen])
    if config.flips:
        flipped = torch.rand(len(x), generator=generator) < 0.5
        x = torch.where(flipped[:, None, None, None], x.flip(-1), x)
    if config.shift:
        padded = functional.pad(x, (config.shift,) * 4, mode="reflect")
        down, right = torch.randint(2 * config.shift + 1, (2, len(x)), generator=generator)
        span = torch.arange(data.size)
        rows = (down[:, None] + span)[:, None, :, None]
        columns = (right[:, None] + span)[:, None, None, :]
        image = torch.arange(len(x))[:, None, None, None]
        channel = torch.arange(data.channels)[None, :, None, None]
        x = padded[image, channel, rows, columns]
    return x.contiguous(memory_format=torch.channels_last), data.labels[chosen]
