"""Checkpoints of the plane: a learned field saved to a file and loaded from it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.torch
import torch
from torch import Tensor

from flowviz.checkpoints.cards import KEY, KINDS, Card, network_kind
from flowviz.checkpoints.container import (
    card_within,
    check_fit,
    check_size,
    commit,
    pack,
    read_checked,
    read_tensors,
    write,
)
from flowviz.checkpoints.errors import CheckpointError
from flowviz.checkpoints.lookup import checkpoint_file, choose_card, locate, read_json_card
from flowviz.datasets.specs import parted
from flowviz.fields import LearnedField, field_class
from flowviz.fields.bridges import LearnedBridge, TwoMLPs
from flowviz.fields.learned_path import LearnedPathField, build_learned_path
from flowviz.networks import MLP, PlainMLP
from flowviz.objectives import OBJECTIVES
from flowviz.paths import AffinePath
from flowviz.schedulers import LEARNED, scheduler

if TYPE_CHECKING:
    from flowviz.datasets import Dataset

MAX_BYTES = 64 * 2**20
"""A larger file is refused before it is read."""


@dataclass(frozen=True)
class Checkpoint:
    """A learned field in float32 on the CPU, ready to sample from, with its card."""

    card: Card
    field: LearnedField | LearnedPathField


def describe(
    name: str,
    training: Mapping[str, Any],
    dataset: "Dataset",
    *,
    steps: int,
    seconds: float,
    plans: tuple[tuple[int, int], ...] = (),
    quality: Mapping[str, Any] | None = None,
) -> Card:
    """The card of a field trained on `dataset`; `training` holds the entries of its config."""
    x, y = dataset.center
    return Card(
        name=name,
        data=training["data"],
        path=training["path"],
        objective=training["objective"],
        network=_network(training) | _source(dataset),
        mean=tuple(dataset.mean.tolist()),
        std=float(dataset.std),
        center=(float(x), float(y)),
        scale=float(dataset.scale),
        training=dict(training),
        plans=plans,
        steps=steps,
        seconds=round(seconds, 3),
        quality=dict(quality or {}),
        commit=commit(),
    )


def dumps(
    field: LearnedField | LearnedPathField, card: Card, *, precision: str = "float16"
) -> tuple[bytes, Card]:
    """A checkpoint as the bytes of a .safetensors file, and its card with the weights' sha256.

    Args:
        field: with the weights to save.
        card: everything else.
        precision: "float16" or "float32"; weights are loaded as float32 in both cases.

    Raises:
        CheckpointError: a weight is not finite in that precision, or the card is invalid.
    """
    tensors, card = pack(_weights(field), card, precision)
    return safetensors.torch.save(tensors, {KEY: card.to_json()}), card


def save(
    path: str | Path,
    field: LearnedField | LearnedPathField,
    card: Card,
    *,
    precision: str = "float16",
) -> Path:
    """Writes path.safetensors and its readable card path.json; returns the weights file.

    Args:
        path: folder and name, with or without the suffix .safetensors.
        field: with the weights to save.
        card: everything else; its name becomes the file's, its sha256 that of the weights.
        precision: "float16" or "float32".

    Raises:
        CheckpointError: a weight is not finite in that precision, the card or the name is
            invalid, or the file differs when it is read back.
    """
    path = checkpoint_file(path)
    write(path, *pack(_weights(field), replace(card, name=path.stem), precision))
    return path


def load(name: str | Path) -> Checkpoint:
    """The checkpoint of a name, or of a path to its .safetensors or .json file.

    Raises:
        CheckpointError: the file is missing, damaged, or not one of flowviz.
    """
    path = locate(name)
    check_size(path.stat().st_size, path.name, MAX_BYTES)
    return _assemble(path.read_bytes(), read_json_card(path), path.name, path.stem)


def load_bytes(content: bytes, *, name: str) -> Checkpoint:
    """The checkpoint in the bytes of a .safetensors file with its card.

    Raises:
        CheckpointError: the file is damaged or not one of flowviz; `name` names it.
    """
    check_size(len(content), name, MAX_BYTES)
    return _assemble(content, None, name, Path(name).stem)


def rewrite_quality(name: str | Path, quality: Mapping[str, Any]) -> Card:
    """Replaces the measured quality in both cards of a checkpoint; the weights stay the same."""
    path = locate(name)
    checkpoint = load(path)
    card = replace(checkpoint.card, quality=dict(quality))
    card = Card.from_json(card.to_json(), "to write")
    write(path, read_tensors(path.read_bytes(), path.name), card)
    return card


def _assemble(content: bytes, json_card: Card | None, source: str, name: str) -> Checkpoint:
    card = choose_card(card_within(Card, content, source), json_card, source)
    tensors = read_checked(content, card, source)
    return Checkpoint(replace(card, name=name), build_field(card, tensors, source))


def build_field(
    card: Card, tensors: dict[str, Tensor], source: str
) -> LearnedField | LearnedPathField:
    """The field of a card and its weights, for evaluation.

    Raises:
        CheckpointError: the weights do not fit the card; `source` names the file.
    """
    with torch.device("meta"):  # shapes only: a wrong card costs no memory
        blank = _weights(_blank(card, torch.zeros(2), source))
    check_fit(blank, tensors, source)
    field = _blank(card, torch.tensor(card.mean), source)
    weights = {key: tensor.float() for key, tensor in tensors.items()}
    part = field if isinstance(field, LearnedPathField) else field.network
    part.load_state_dict(weights)
    return field.eval().requires_grad_(False)


def _blank(card: Card, mean: Tensor, source: str) -> LearnedField | LearnedPathField:
    """The field of a card with untrained weights."""
    sizes = {key: card.network[key] for key in KINDS[card.network["kind"]]}
    if card.is_learned_path:
        return build_learned_path(sizes, mean, card.std)
    try:
        path = AffinePath(scheduler(card.path), parted(card.data)[0])
        objective = OBJECTIVES[card.objective]
    except ValueError as error:
        raise CheckpointError(f"The card of {source} cannot be followed: {error}") from error
    preconditioned = card.network["preconditioned"]
    if card.network["kind"] == "plain":
        plain = PlainMLP(card.network["widths"], card.network["activation"])
        arguments = {"mean": mean, "std": card.std, "preconditioned": False, "clocked": False}
        return LearnedField(plain, path, objective, **arguments)
    arguments = {"mean": mean, "std": card.std, "preconditioned": preconditioned}
    if path.source:
        source_entry = card.network["source"]
        arguments |= {
            "source_mean": torch.tensor(source_entry["mean"]),
            "source_std": source_entry["std"],
        }
    if card.network["kind"] == "bridge":
        arguments |= {"noise": card.network["noise"], "coupling": card.network["coupling"]}
        return LearnedBridge(TwoMLPs(**sizes), path, objective, **arguments)
    network = MLP(**sizes, two_times=objective.two_times)
    return field_class(objective)(network, path, objective, **arguments)


def _weights(field: LearnedField | LearnedPathField) -> dict[str, Tensor]:
    """The weights that are saved, by name. A learned path has more than those of its network."""
    return (field if isinstance(field, LearnedPathField) else field.network).state_dict()


def _source(dataset: "Dataset") -> dict[str, Any]:
    """The entry of a network for the mean and the standard deviation of its source, if any."""
    source = dataset.source
    if source is None:
        return {}
    return {"source": {"mean": source.mean.tolist(), "std": float(source.std)}}


def _network(training: Mapping[str, Any]) -> dict[str, Any]:
    """The entry `network` of a card, from the entries of a training config."""
    noise = training.get("bridge")
    kind = "bridge" if noise else network_kind(training["path"], training["objective"])
    preconditioned = training["path"] == LEARNED or training["preconditioned"]
    sizes = {key: training[key] for key in KINDS[kind]}
    bridge_entries = {"noise": noise, "coupling": training["coupling"]} if noise else {}
    return {"kind": kind} | sizes | {"preconditioned": preconditioned} | bridge_entries
