"""Training the classifier in whose features generated images are judged.

It goes on to the bit like a field's training: what a step draws depends on the seed and the step.

config.json          what is trained
log.jsonl            a line every LOG_EVERY steps, and one an epoch with the test accuracy
state.safetensors    all that the next step depends on
"""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional

from flowviz.datasets.images import IMAGE_SETS, ImageSet
from flowviz.files import write_bytes, write_text
from flowviz.networks.classifier import Classifier
from flowviz.training import rest

__all__ = [
    "ClassifierConfig",
    "ClassifierState",
    "accuracy",
    "read_classifier_config",
    "run_classifier",
    "saved_classifier",
]

FORMAT = "flowviz-classifier-run"
LOG_EVERY = 50
"""Steps between two lines of the log."""
MOMENTS = {"momentum_buffer": "momentum."}
"""See `rest.tensors_of`."""
BATCH = 500
"""Images that one evaluation of the test set takes at a time."""


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(rest.Config):
    """One training run of a classifier: only names and numbers, so it can be a card.

    Attributes:
        data: name in IMAGE_SETS.
        stem: see `Classifier`.
        widths: see `Classifier`.
        epochs: how often each image is seen.
        batch: images a step.
        lr: peak learning rate of stochastic gradient descent with Nesterov's momentum 0.9; it
            rises over the first fifth of the steps, then falls linearly to 0.
        weight_decay: on convolutions and the last layer.
        smoothing: share of a label that is spread over all classes.
        shift: pixels by which images are moved at most, edges reflected.
        flips: whether half of the images are mirrored left to right.
        ema: decay of the moving average of the weights, a step.
        seed: of the weights and of every draw.
    """

    WHAT: ClassVar[str] = "A classifier's config"

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
        least = {"stem": 1, "epochs": 1, "batch": 2, "lr": 0.0, "shift": 0, "seed": 0}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ValueError(f"{name} must be at least {value}; got {getattr(self, name)}.")
        for name in ("weight_decay", "smoothing", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1); got {getattr(self, name)}.")
        if not self.widths or min(self.widths) < 1:
            raise ValueError(f"widths must be positive; got {self.widths}.")


class ClassifierState:
    """A training run after some steps.

    Attributes:
        config: what is being trained.
        step: optimiser steps done.
        steps: optimiser steps of the whole run.
        loss: the smoothed cross-entropy of the last batch, a tensor ().
        network: the network that is being trained.
        ema: the one with the moving average of its weights: the one to keep.
    """

    def __init__(self, config: ClassifierConfig, data: ImageSet) -> None:
        self.config = config
        self.steps = config.epochs * (len(data) // config.batch)
        self.step = 0
        self.loss = torch.tensor(float("nan"))
        self.network = build_classifier(config, data, _generator(config.seed, 0, 0))
        self.ema = build_classifier(config, data).requires_grad_(False).eval()
        self.ema.load_state_dict(self.network.state_dict())
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        others = [p for p in self.network.parameters() if p.ndim == 1]
        self.optimizer = torch.optim.SGD(
            [
                {"params": decayed, "weight_decay": config.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=config.lr,
            momentum=0.9,
            nesterov=True,
        )

    @property
    def done(self) -> bool:
        """Whether all steps have been made."""
        return self.step >= self.steps

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return self.config.lr * rest.schedule(self.step, self.steps, self.steps // 5)

    def advance(self, data: ImageSet) -> None:
        """Makes one optimiser step."""
        config = self.config
        x, y = _batch(config, data, self.step)
        self.network.train()
        self.optimizer.zero_grad()
        loss = functional.cross_entropy(self.network(x), y, label_smoothing=config.smoothing)
        loss.backward()
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr
        self.optimizer.step()
        self.step += 1
        self.loss = loss.detach()
        rest.average(_floats(self.ema), _floats(self.network), self.step, config.ema)

    def tensors(self) -> dict[str, Tensor]:
        """All that the next step depends on, by name."""
        return rest.tensors_of(self._parts, self.optimizer, self.step, moments=MOMENTS)

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Takes up where `tensors()` was called, to the bit.

        Raises:
            ValueError: the tensors are not those of a run with this config.
        """
        self.step = rest.restore(tensors, self._parts, self.optimizer, moments=MOMENTS)

    @property
    def _parts(self) -> dict[str, nn.Module]:
        return {"network": self.network, "ema": self.ema}


def build_classifier(
    config: ClassifierConfig, data: ImageSet, generator: torch.Generator | None = None
) -> Classifier:
    """The untrained network of a config, its weights drawn by `generator`."""
    network = Classifier(
        channels=data.channels,
        num_classes=len(data.classes),
        stem=config.stem,
        widths=config.widths,
        generator=generator,
    )
    return network.to(memory_format=torch.channels_last)


@torch.no_grad()
def accuracy(network: Classifier, data: ImageSet) -> float:
    """The share of the images of a set whose class the network names."""
    network.eval()
    right = 0
    for images, labels in zip(data.images.split(BATCH), data.labels.split(BATCH), strict=True):
        x = data.to_unit(images).contiguous(memory_format=torch.channels_last)
        right += int((network(x).argmax(dim=1) == labels).sum())
    return right / len(data)


def read_classifier_config(folder: str | Path) -> ClassifierConfig:
    """The config of the run in a folder.

    Raises:
        ValueError: there is no run, or its config cannot be read.
    """
    return rest.config_in(folder, ClassifierConfig, FORMAT)


def saved_classifier(
    config: ClassifierConfig, folder: str | Path, data: ImageSet
) -> tuple[ClassifierState, float]:
    """The state that the run in a folder saved last, and the seconds that it had trained.

    Raises:
        ValueError: nothing was saved, it cannot be read, or it is of another config.
    """
    state = ClassifierState(config, data)
    return state, _load(Path(folder) / "state.safetensors", state)


def run_classifier(
    config: ClassifierConfig,
    folder: str | Path,
    data: ImageSet,
    test: ImageSet,
    *,
    resume: bool = False,
    save_every: float = 120.0,
) -> Iterator[ClassifierState]:
    """Yields the state of the run in `folder` after each step, keeping the folder up to date.

    Closing the iterator between two steps saves the state; so does the last step.

    Args:
        config: what to train.
        folder: of this run alone; it is made if need be.
        data: the images to learn from.
        test: images on which the averaged weights are tried after every epoch.
        resume: go on with the run in the folder, which must be of the same config.
        save_every: seconds between two saved states.

    Raises:
        ValueError: the folder holds another run, or `resume` was not given, or the loss diverged.
    """
    folder = Path(folder)
    state = ClassifierState(config, data)
    seconds = 0.0
    if resume:
        if read_classifier_config(folder) != config:
            raise ValueError(f"The run in {folder} has another config; resume it with its own.")
        if (folder / "state.safetensors").is_file():
            seconds = _load(folder / "state.safetensors", state)
        rest.cut_log(folder / "log.jsonl", state.step)
    else:
        if (folder / "config.json").exists():
            raise ValueError(f"There is a run in {folder}; resume it or name another folder.")
        folder.mkdir(parents=True, exist_ok=True)
        content = {"format": FORMAT, "version": 1, "config": asdict(config)}
        write_text(folder / "config.json", json.dumps(content, indent=2) + "\n")
    per_epoch = state.steps // config.epochs
    saved_at = lap = time.perf_counter()
    try:
        while not state.done:
            state.advance(data)
            if not math.isfinite(state.loss.item()):
                raise ValueError(
                    f"The training diverged at step {state.step}: its loss is not a number; "
                    "take a lower lr."
                )
            now = time.perf_counter()
            seconds, lap = seconds + now - lap, now
            whole = state.step % per_epoch == 0
            if whole or state.step % LOG_EVERY == 0:
                line = {"step": state.step, "loss": state.loss.item(), "lr": state.lr}
                line["seconds"] = round(seconds, 1)
                if whole:
                    line["test_accuracy"] = accuracy(state.ema, test)
                with (folder / "log.jsonl").open("a") as file:
                    file.write(json.dumps(line) + "\n")
            if state.done or now - saved_at >= save_every:
                _save(folder / "state.safetensors", state, seconds)
                saved_at = time.perf_counter()
            lap = time.perf_counter()
            yield state
    except GeneratorExit:
        _save(folder / "state.safetensors", state, seconds)
        raise


def _batch(config: ClassifierConfig, data: ImageSet, step: int) -> tuple[Tensor, Tensor]:
    """The images and labels of a step, moved and mirrored."""
    per_epoch = len(data) // config.batch
    epoch, position = divmod(step, per_epoch)
    order = _order(config.seed, epoch, len(data))
    chosen = order[position * config.batch : (position + 1) * config.batch]
    generator = _generator(config.seed, 2, step)
    x = data.to_unit(data.images[chosen])
    if config.flips:
        flipped = torch.rand(len(x), generator=generator) < 0.5
        x = torch.where(flipped[:, None, None, None], x.flip(-1), x)
    if config.shift:
        padded = functional.pad(x, (config.shift,) * 4, mode="reflect")
        most = 2 * config.shift + 1
        down, right = torch.randint(most, (2, len(x)), generator=generator)
        span = torch.arange(data.size)
        rows = (down[:, None] + span)[:, None, :, None]
        columns = (right[:, None] + span)[:, None, None, :]
        image = torch.arange(len(x))[:, None, None, None]
        channel = torch.arange(data.channels)[None, :, None, None]
        x = padded[image, channel, rows, columns]
    return x.contiguous(memory_format=torch.channels_last), data.labels[chosen]


def _floats(network: nn.Module) -> list[Tensor]:
    """Weights and running moments, without the counters of batches."""
    return [value for value in network.state_dict().values() if value.is_floating_point()]


def _generator(seed: int, purpose: int, n: int) -> torch.Generator:
    """A generator of its own for the n-th draw of a purpose: weights, orders or batches."""
    return torch.Generator().manual_seed((seed << 34) + (purpose << 32) + n)


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, n: int) -> Tensor:
    """The order in which an epoch sees its n images."""
    return torch.randperm(n, generator=_generator(seed, 1, epoch))


def _save(path: Path, state: ClassifierState, seconds: float) -> None:
    about = {FORMAT: json.dumps({"version": 1, "seconds": seconds})}
    write_bytes(path, safetensors.torch.save(state.tensors(), about))


def _load(path: Path, state: ClassifierState) -> float:
    """Restores the state and returns the seconds that it took."""
    try:
        with safe_open(path, "pt") as file:
            about = json.loads(file.metadata()[FORMAT])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        seconds = float(about["seconds"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be read; start afresh.") from error
    state.restore(tensors)
    return seconds
