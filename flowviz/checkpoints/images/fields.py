"""Networks and fields of image checkpoints, built from a card and its weights."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from flowviz.checkpoints.container import check_fit, check_size
from flowviz.checkpoints.errors import CheckpointError
from flowviz.checkpoints.images.cards import ImageCard, classifier_sizes, unet_shape
from flowviz.fields import LearnedField, field_class
from flowviz.networks import UNet, channels_last
from flowviz.networks.classifier import Classifier
from flowviz.networks.memory import check_memory
from flowviz.objectives import OBJECTIVES
from flowviz.paths import AffinePath
from flowviz.schedulers import scheduler

MAX_BYTES = 2**30
"""A larger file is refused before it is read."""


@dataclass(frozen=True)
class ImageCheckpoint:
    """A learned field of images in float32 on the CPU, with its card.

    Attributes:
        card: of the field.
        field: the field.
        guide: the guiding checkpoint of autoguidance, see `GuidedField`; None for none.

    Raises:
        ValueError: the guiding checkpoint has another path, image size or classes.
    """

    card: ImageCard
    field: LearnedField
    guide: "ImageCheckpoint | None" = None

    def __post_init__(self) -> None:
        if self.guide is not None and self._sort != self.guide._sort:
            raise ValueError(
                "A guiding checkpoint must have the path, image size and classes of the guided "
                f"one; got {self.guide.card.name} ({self.guide._sort}) for {self.card.name} "
                f"({self._sort})."
            )

    @property
    def _sort(self) -> str:
        size = " x ".join(map(str, self.shape))
        return f"{self.card.path}, {size}, {self.field.network.num_classes} classes"

    def to(self, device: torch.device) -> None:
        """Moves the field and that of the guiding checkpoint."""
        self.field.to(device)
        if self.guide is not None:
            self.guide.to(device)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        return (self.card.channels, self.card.size, self.card.size)

    @property
    def conditional(self) -> bool:
        """Whether the network receives classes, so that they can be chosen and guided."""
        return self.field.num_classes > 0

    @property
    def label(self) -> str:
        """The path and the training progress, for legends: "ot, 0.30 of 3.00 M images"."""
        card = self.card
        if not card.images:
            return card.path
        images = f"{card.images / 1e6:.2f}"
        if card.planned > card.images:
            images += f" of {card.planned / 1e6:.2f}"
        return f"{card.path}, {images} M images"


def learned_field(network: nn.Module, card: ImageCard) -> LearnedField:
    """The field of a network on the path and with the objective of its card, for evaluation."""
    objective = OBJECTIVES[card.objective]
    field = field_class(objective)(
        network,
        AffinePath(scheduler(card.path)),
        objective,
        mean=torch.tensor(card.mean or (0.0,) * card.channels)[:, None, None],
        std=card.std,
        preconditioned=card.network["preconditioned"],
        clocked=card.network["clocked"],
    )
    return channels_last(field.eval().requires_grad_(False))


def build_field(card: ImageCard, tensors: dict[str, Tensor], source: str) -> LearnedField:
    """The field of a card and its weights.

    Raises:
        CheckpointError: the card describes no valid network, or the weights do not fit it.
    """
    shape = unet_shape(card)
    sizes = {
        "channels": card.channels,
        "size": card.size,
        "num_classes": len(card.classes) if card.network["conditional"] else 0,
        "two_times": card.jumps,
    }
    try:
        check_memory(shape, card.channels, card.size)
        with torch.device("meta"):  # shapes only: a wrong card costs no memory
            blank = UNet(shape, **sizes).state_dict()
    except (ValueError, RuntimeError, ZeroDivisionError) as error:
        reason = str(error).rstrip(".")
        raise CheckpointError(f"The card of {source} describes no network: {reason}.") from error
    check_fit(blank, tensors, source)
    network = UNet(shape, **sizes)
    network.load_state_dict({key: tensor.float() for key, tensor in tensors.items()})
    return learned_field(network, card)


def build_classifier(card: ImageCard, tensors: dict[str, Tensor], source: str) -> Classifier:
    """The classifier of a card and its weights.

    Raises:
        CheckpointError: the weights do not fit the card.
    """
    sizes = classifier_sizes(card)
    with torch.device("meta"):
        blank = Classifier(**sizes).state_dict()
    check_fit(blank, tensors, source)
    network = Classifier(**sizes)
    network.load_state_dict({key: value.float() for key, value in tensors.items()}, strict=False)
    return channels_last(network.eval().requires_grad_(False))


def read_content(path: Path) -> bytes:
    """The bytes of a checkpoint's file.

    Raises:
        CheckpointError: it has more than MAX_BYTES.
    """
    check_size(path.stat().st_size, path.name, MAX_BYTES)
    return path.read_bytes()
