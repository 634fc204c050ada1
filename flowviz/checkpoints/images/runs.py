"""Image fields from training runs: from snapshots and from the newest saved state."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from flowviz.bounds import is_whole, shown
from flowviz.checkpoints.container import read_header, read_tensors
from flowviz.checkpoints.errors import CheckpointError
from flowviz.checkpoints.images.cards import ImageCard, describe_field
from flowviz.checkpoints.images.fields import ImageCheckpoint, build_field, read_content
from flowviz.datasets.images import IMAGE_SETS, ImageSet, image_set

RUN_KEY = "flowviz-image-run"
"""The header entry of a snapshot or saved state, which has no card."""

AVERAGED = "ema.network."
"""Prefix of the averaged weights in a saved state."""

TRAINING = {
    **dict.fromkeys(("data", "network", "path", "objective"), str),
    **dict.fromkeys(("classes", "preconditioned"), bool),
    **dict.fromkeys(("images", "batch"), int),
}
"""Entries of a run's config that a card needs, by type."""


def snapshot_checkpoint(path: str | Path, data: ImageSet | None = None) -> ImageCheckpoint:
    """The field of a snapshot of a training run on images, with a card made for it.

    Args:
        path: such as snapshot-005.safetensors.
        data: image set of the run, for its moments; loaded by default.

    Raises:
        CheckpointError: the file is damaged or no snapshot.
        ValueError: the image set is not available.
    """
    path = Path(path)
    content = read_content(path)
    text = read_header(content, path.name).get("__metadata__", {}).get(RUN_KEY)
    entries = _parsed(text, path.name)
    training = _training(entries, path.name)
    card = _card_of_run(path.stem, training, entries.get("step"), path.name, data)
    tensors = read_tensors(content, path.name)
    return ImageCheckpoint(card, build_field(card, tensors, path.name))


def run_checkpoint(folder: str | Path, data: ImageSet | None = None) -> ImageCheckpoint:
    """The field with the averaged weights of the newest saved state of a training run.

    Args:
        folder: of the run; see `flowviz.training.folder`.
        data: image set of the run, for its moments; loaded by default.

    Raises:
        CheckpointError: there is no run, or its state cannot be read.
        ValueError: the image set is not available.
    """
    folder = Path(folder)
    states = sorted(folder.glob("state-*.safetensors"), reverse=True)
    if not (folder / "config.json").is_file() or not states:
        raise CheckpointError(f"{folder} has no saved training run on images.")
    source = states[0].name
    config_name = f"config.json of {folder}"
    training = _training(_parsed((folder / "config.json").read_bytes(), config_name), config_name)
    try:
        with safe_open(states[0], "pt") as file:
            entries = _parsed((file.metadata() or {}).get(RUN_KEY), source)
            names = [name for name in file.keys() if name.startswith(AVERAGED)]  # noqa: SIM118
            tensors = {name.removeprefix(AVERAGED): file.get_tensor(name) for name in names}
            step = file.get_tensor("step").tolist()
        seconds = float(entries["progress"]["seconds"])
    except (SafetensorError, KeyError, TypeError, ValueError, ArithmeticError, OSError) as error:
        raise CheckpointError(f"The newest state in {folder} cannot be read.") from error
    card = _card_of_run(folder.name, training, step, source, data, seconds=seconds)
    return ImageCheckpoint(card, build_field(card, tensors, source))


def _parsed(text: str | bytes | None, source: str) -> dict[str, Any]:
    """The JSON object written by a training run."""
    try:
        entries = json.loads(text or "")
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{source} is not of a training run on images, or it is damaged."
        ) from error
    if not isinstance(entries, dict):
        raise CheckpointError(f"{source} is not of a training run on images.")
    return entries


def _training(entries: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The config of a run; the types of the entries that a card needs are checked."""
    training = entries.get("config")
    if not isinstance(training, dict):
        raise CheckpointError(f"{source} has no config of a training run on images.")
    for name, kind in TRAINING.items():
        if type(training.get(name)) is not kind:
            raise CheckpointError(
                f"The run's config in {source} has a bad entry {name!r}: "
                f"{shown(training.get(name))}."
            )
    return training


def _card_of_run(
    name: str,
    training: dict[str, Any],
    step: object,
    source: str,
    data: ImageSet | None,
    *,
    seconds: float = 0.0,
) -> ImageCard:
    """The card of a run's config, checked as the card of a file is.

    Raises:
        CheckpointError: the config is invalid.
        ValueError: the image set is not available.
    """
    if not is_whole(step):
        raise CheckpointError(f"{source} has a bad number of steps: {shown(step)}.")
    if data is None and training["data"] not in IMAGE_SETS:
        raise CheckpointError(f"{source} is of an unknown image set {shown(training['data'])}.")
    data = data or image_set(training["data"])
    images = step * training["batch"]
    try:
        card = describe_field(name, training, data, images=images, seconds=seconds)
        text = card.to_json()
    except ValueError as error:
        reason = str(error).rstrip(".")
        raise CheckpointError(f"The run's config in {source} is bad: {reason}.") from error
    _ = ImageCard.from_json(text, f"of {source}")
    return card
