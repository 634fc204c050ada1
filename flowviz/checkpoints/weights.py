"""Weights: a learned field to a file and back."""

import hashlib
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from flowviz.checkpoints.cards import (
    FOLDER,
    KEY,
    KINDS,
    MOST_BYTES,
    MOST_HEADER_BYTES,
    C,
    Card,
    CheckpointError,
    Entries,
    card_beside,
    checkpoint_file,
    choose_card,
    locate,
    read_header,
    shown,
)
from flowviz.fields import LearnedField
from flowviz.fields.learned_path import LearnedPathField, build_learned_path
from flowviz.files import write_bytes, write_text
from flowviz.networks import MLP
from flowviz.objectives import OBJECTIVES
from flowviz.paths import AffinePath
from flowviz.schedulers import LEARNED, scheduler

if TYPE_CHECKING:
    from flowviz.datasets import Dataset

__all__ = ["Checkpoint", "describe", "dumps", "load", "load_bytes", "rewrite_quality", "save"]

PRECISIONS = {"float16": torch.float16, "float32": torch.float32}


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
    """The card of a field trained on `dataset`; `training` has the entries of its config."""
    return Card(
        name=name,
        data=training["data"],
        path=training["path"],
        objective=training["objective"],
        network=_network(training),
        mean=tuple(dataset.mean.tolist()),
        std=float(dataset.std),
        center=tuple(map(float, dataset.center)),
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
    """A whole checkpoint as the bytes of one .safetensors file, and the card as it stands in it.

    Args:
        field: whose weights to keep.
        card: all else; its sha256 is filled in here.
        precision: "float16" or "float32"; weights are read back as float32 either way.

    Raises:
        CheckpointError: a weight is not finite in that precision, or the card is bad.
    """
    return pack(_weights(field), card, precision)


def save(
    path: str | Path,
    field: LearnedField | LearnedPathField,
    card: Card,
    *,
    precision: str = "float16",
) -> Path:
    """Writes path.safetensors and its readable card path.json; returns the weights' file.

    Args:
        path: folder and name, with or without the suffix .safetensors.
        field: whose weights to keep.
        card: all else; its name becomes the file's, its sha256 that of the weights.
        precision: "float16" or "float32".
    """
    path = checkpoint_file(path)
    write(path, *dumps(field, replace(card, name=path.stem), precision=precision))
    return path


def load(name: str | Path) -> Checkpoint:
    """The checkpoint of a name, or of a path to its .safetensors or .json file.

    Raises:
        CheckpointError: it is not there, damaged, or not ours; the message says which.
    """
    path = locate(name)
    if path.stat().st_size > MOST_BYTES:
        raise CheckpointError(_size_sentence(path.name, path.stat().st_size))
    return _assemble(path.read_bytes(), card_beside(path), path.name, path.stem)


def load_bytes(
    weights: bytes, card: bytes | None = None, *, name: str = "upload.safetensors"
) -> Checkpoint:
    """The checkpoint in the bytes of a .safetensors file and, where given, of its .json file.

    Raises:
        CheckpointError: it is damaged or not ours; `name` names it in the message.
    """
    if len(weights) > MOST_BYTES:
        raise CheckpointError(_size_sentence(name, len(weights)))
    if card is not None and len(card) > MOST_HEADER_BYTES:
        raise CheckpointError(f"The card of {name} is larger than 1 MB.")
    beside = None if card is None else Card.from_json(card, f"of {name}")
    return _assemble(weights, beside, name, Path(name).stem)


def rewrite_quality(name: str | Path, quality: Mapping[str, Any]) -> Card:
    """Replaces the measured quality in a checkpoint's two cards; weights stay to the bit."""
    path = locate(name)
    checkpoint = load(path)
    card = replace(checkpoint.card, quality=dict(quality))
    card = Card.from_json(card.to_json(), "to write")
    tensors = safetensors.torch.load(path.read_bytes())
    write(path, safetensors.torch.save(tensors, {KEY: card.to_json()}), card)
    return card


def pack(weights: Mapping[str, Tensor], card: C, precision: str) -> tuple[bytes, C]:
    """The bytes of the .safetensors file of weights and card, and the card as it stands in it.

    Raises:
        CheckpointError: a weight is not finite in that precision, or the card is bad.
    """
    if precision not in PRECISIONS:
        raise CheckpointError(f"precision must be float16 or float32; got {precision!r}.")
    tensors = {
        name: tensor.detach().to("cpu", PRECISIONS[precision]).contiguous()
        for name, tensor in weights.items()
    }
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise CheckpointError(f"The weights {name} are not finite in {precision}.")
    card = replace(card, sha256=digest(tensors))
    card = card.from_json(card.to_json(), "to write")
    return safetensors.torch.save(tensors, {KEY: card.to_json()}), card


def write(path: Path, content: bytes, card: Entries) -> None:
    """Writes a weights' file and its readable card beside it."""
    # Between the two writes there is no card beside the weights, never one of other weights.
    path.with_suffix(".json").unlink(missing_ok=True)
    write_bytes(path, content)
    write_text(path.with_suffix(".json"), card.to_json())


def read_tensors(content: bytes, source: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        CheckpointError: the bytes are not those of a whole safetensors file.
    """
    header = read_header(content, source)
    length = 8 + int.from_bytes(content[:8], "little")
    ends = [
        entry["data_offsets"][1]
        for key, entry in header.items()
        if key != "__metadata__" and isinstance(entry, dict) and _has_offsets(entry)
    ]
    if ends and len(content) < length + max(ends):
        raise CheckpointError(
            f"{source} is truncated: it has {len(content)} of {length + max(ends)} bytes."
        )
    try:
        return safetensors.torch.load(content)
    except (SafetensorError, KeyError) as error:
        reason = str(error).strip().rstrip(".").replace("\n", " ")
        raise CheckpointError(f"{source} is damaged ({reason}).") from error


def check_fit(
    wanted: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    source: str,
    *,
    network: str = "the card's network",
) -> None:
    """Refuses tensors that are not finite weights of the wanted names and shapes.

    Args:
        wanted: the state of a network, which may be on "meta"; its counters, which are no real
            numbers, are in no file.
        tensors: read from a file, in float16 or float32.
        source: names the file in errors.
        network: names the network in errors.

    Raises:
        CheckpointError: a tensor is missing, unknown, of another shape or type, or not finite.
    """
    shapes = {key: tuple(v.shape) for key, v in wanted.items() if v.is_floating_point()}
    odd = sorted(shapes.keys() ^ tensors.keys())
    if odd:
        what = "lacks" if odd[0] in shapes else "has an unknown tensor"
        raise CheckpointError(
            f"{source} {what} {shown(odd[0])}: its weights are not of {network}."
        )
    for key, shape in shapes.items():
        tensor = tensors[key]
        if tuple(tensor.shape) != shape:
            raise CheckpointError(
                f"{source} has {shown(key)} of shape {shown(tuple(tensor.shape))} where {network} "
                f"has {shape}."
            )
        if tensor.dtype not in PRECISIONS.values():
            raise CheckpointError(
                f"{source} has {shown(key)} of type {str(tensor.dtype).removeprefix('torch.')}; "
                "weights must be float16 or float32."
            )
        if not tensor.isfinite().all():
            raise CheckpointError(f"{source} has weights {shown(key)} that are not finite.")


def digest(tensors: Mapping[str, Tensor]) -> str:
    """The sha256 over name, type, shape and bytes of each tensor, in the order of names."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def _assemble(content: bytes, beside: Card | None, source: str, name: str) -> Checkpoint:
    card = choose_card(Card.within(content, source), beside, source)
    tensors = read_tensors(content, source)
    if digest(tensors) != card.sha256:
        raise CheckpointError(
            f"The weights in {source} do not have the sha256 that the card states: the file was "
            "changed or damaged, or the card belongs to other weights."
        )
    return Checkpoint(replace(card, name=name), _field(card, tensors, source))


def _field(card: Card, tensors: dict[str, Tensor], source: str) -> LearnedField | LearnedPathField:
    """The field of a card and its weights, once they are known to fit."""
    with torch.device("meta"):  # shapes alone, so that a lying card costs no memory
        blank = _weights(_blank(card, torch.zeros(2), source))
    check_fit(blank, tensors, source)
    field = _blank(card, torch.tensor(card.mean), source)
    weights = {key: tensor.float() for key, tensor in tensors.items()}
    (field if card.is_learned_path else field.network).load_state_dict(weights)
    return field.eval().requires_grad_(False)


def _blank(card: Card, mean: Tensor, source: str) -> LearnedField | LearnedPathField:
    """The field of a card with other weights."""
    sizes = {key: card.network[key] for key in KINDS[card.network["kind"]]}
    if card.is_learned_path:
        return build_learned_path(sizes, mean, card.std)
    try:
        path, objective = AffinePath(scheduler(card.path)), OBJECTIVES[card.objective]
    except ValueError as error:
        raise CheckpointError(f"The card of {source} cannot be followed: {error}") from error
    preconditioned = card.network["preconditioned"]
    return LearnedField(
        MLP(**sizes), path, objective, mean=mean, std=card.std, preconditioned=preconditioned
    )


def _weights(field: LearnedField | LearnedPathField) -> dict[str, Tensor]:
    """What of a field is kept, by name: a learned path is more than its network."""
    return (field if isinstance(field, LearnedPathField) else field.network).state_dict()


def _network(training: Mapping[str, Any]) -> dict[str, Any]:
    """A card's entry `network`, from the entries of a training config."""
    if training["path"] == LEARNED:
        kind, preconditioned = "learned-path", True
    else:
        kind, preconditioned = "mlp", training["preconditioned"]
    sizes = {key: training[key] for key in KINDS[kind]}
    return {"kind": kind} | sizes | {"preconditioned": preconditioned}


def _has_offsets(entry: Mapping[str, Any]) -> bool:
    offsets = entry.get("data_offsets")
    return (
        isinstance(offsets, list)
        and len(offsets) == 2
        and all(type(end) is int for end in offsets)
    )


def _size_sentence(source: str, size: int) -> str:
    return (
        f"{source} has {size / 2**20:.0f} MB; a checkpoint of the plane has at most "
        f"{MOST_BYTES // 2**20} MB."
    )


def commit() -> str:
    """The commit of the working copy that flowviz runs from, "" outside of one."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(FOLDER.parent), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip()
