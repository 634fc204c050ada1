"""Files of image checkpoints: found by name, loaded and saved.

They are in the folder `images` of each checkpoint folder: NAME.safetensors with a readable copy of
the card, NAME.json. Nothing is unpickled.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch import nn

from flowviz.checkpoints.cards import KEY
from flowviz.checkpoints.container import (
    card_within,
    pack,
    read_checked,
    read_header,
    read_start,
    write,
)
from flowviz.checkpoints.errors import CheckpointError
from flowviz.checkpoints.images.cards import ImageCard
from flowviz.checkpoints.images.fields import (
    ImageCheckpoint,
    build_classifier,
    build_field,
    read_content,
)
from flowviz.checkpoints.images.runs import RUN_KEY, snapshot_checkpoint
from flowviz.checkpoints.lookup import checkpoint_file, listed, locate, names
from flowviz.networks.classifier import Classifier

FOLDER_NAME = "images"
"""The folder of image checkpoints within each checkpoint folder."""


def find_images(kind: str | None = None) -> dict[str, Path]:
    """The file of each named image checkpoint by name.

    With a kind, "field" or "classifier", only those of that kind; damaged files are left out then.
    """
    files = names(FOLDER_NAME)
    if kind is None:
        return files
    return {name: file for name, file in files.items() if _kind(file) == kind}


def image_checkpoints(
    on_damage: Callable[[CheckpointError], None] | None = None,
) -> list[ImageCard]:
    """The cards of all named image checkpoints, fields and classifiers, by name; see `listed`."""
    return listed(find_images().values(), read_image_card, on_damage)


def is_images(name: str | Path) -> bool:
    """Whether a name or a .safetensors file is a checkpoint of images, by its header."""
    try:
        path = locate_images(name)
    except CheckpointError:
        return False
    return _kind(path) is not None


def locate_images(name: str | Path) -> Path:
    """The file of an image checkpoint by name or path.

    Raises:
        CheckpointError: there is none; the message suggests the nearest name.
    """
    return locate(name, FOLDER_NAME)


def load_images(name: str | Path) -> ImageCheckpoint:
    """The field of an image checkpoint by name or file, or of a snapshot of a training run.

    Raises:
        CheckpointError: the file is missing, damaged, or not a field of images.
    """
    path = locate_images(name)
    content = read_content(path)
    metadata = read_header(content, path.name).get("__metadata__", {})
    if RUN_KEY in metadata and KEY not in metadata:
        return snapshot_checkpoint(path)
    card = _card_within(content, path.name)
    if card.kind != "field":
        raise CheckpointError(
            f"{path.name} is a {card.kind}; name a checkpoint that generates images."
        )
    tensors = read_checked(content, card, path.name)
    return ImageCheckpoint(replace(card, name=path.stem), build_field(card, tensors, path.name))


def load_classifier(name: str | Path = "cifar10-classifier") -> tuple[ImageCard, Classifier]:
    """The card and network of a classifier by name or file.

    Raises:
        CheckpointError: the file is missing, damaged, or not a classifier.
    """
    path = locate_images(name)
    content = read_content(path)
    card = _card_within(content, path.name)
    if card.kind != "classifier":
        raise CheckpointError(f"{path.name} is a {card.kind}, not a classifier.")
    tensors = read_checked(content, card, path.name)
    return replace(card, name=path.stem), build_classifier(card, tensors, path.name)


def save_images(path: str | Path, network: nn.Module, card: ImageCard) -> Path:
    """Writes path.safetensors in float16 and its readable card path.json; returns the first file.

    Args:
        path: folder and name, with or without the suffix .safetensors.
        network: U-Net or classifier with the weights and running moments to save.
        card: everything else; its name becomes the file's, its sha256 that of the weights.

    Raises:
        CheckpointError: a weight is not finite in that precision, or the card or the name is
            invalid.
    """
    path = checkpoint_file(path)
    weights = {k: v for k, v in network.state_dict().items() if v.is_floating_point()}
    write(path, *pack(weights, replace(card, name=path.stem), "float16"))
    return path


def read_image_card(path: Path) -> ImageCard:
    """The card in a file's header, named as the file.

    Raises:
        CheckpointError: the file is damaged or has no card.
    """
    return replace(_card_within(read_start(path), path.name), name=path.stem)


def _card_within(content: bytes, source: str) -> ImageCard:
    card = card_within(ImageCard, content, source)
    if card is None:
        raise CheckpointError(f"{source} has no card in its header.")
    return card


def _kind(path: Path) -> str | None:
    """ "field" or "classifier"; None for a file of the plane or a damaged one."""
    try:
        metadata = read_header(read_start(path), path.name).get("__metadata__", {})
        if RUN_KEY in metadata and KEY not in metadata:
            return "field"
        return read_image_card(path).kind
    except (CheckpointError, OSError):
        return None
