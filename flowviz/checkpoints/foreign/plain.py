"""Velocity networks of the plane from other projects: plain multilayer perceptrons of [x, t].

The tutorials of torchcfm and flow_matching save the weights of such networks, whole scripts a bare
`nn.Sequential`. The weights state the number and the sizes of the layers. They do not state the
activation, the path and the data set. What the user does not state is assumed, and the card says
so.

Sources: torchcfm.models.MLP (https://github.com/atong01/conditional-flow-matching) and
examples/2d_flow_matching.ipynb of https://github.com/facebookresearch/flow_matching.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from flowviz.bounds import shown
from flowviz.checkpoints.cards import MAX_LAYERS, MAX_UNITS, Card, plain_network
from flowviz.checkpoints.container import (
    check_size,
    is_own,
    is_safetensors,
    read_header,
    read_start,
)
from flowviz.checkpoints.errors import CheckpointError
from flowviz.checkpoints.foreign.files import Contents, read_content, read_file
from flowviz.checkpoints.foreign.sets import TOP, choose, find_sets, groups, read_weights
from flowviz.checkpoints.lookup import PICKLES
from flowviz.checkpoints.weights import MAX_BYTES, Checkpoint, build_field
from flowviz.datasets import Dataset, dataset
from flowviz.datasets.uploads import keep_samples
from flowviz.draws import noise
from flowviz.networks import ACTIVATIONS
from flowviz.schedulers import scheduler
from flowviz.solvers import solve

UNKNOWN = "unknown"
"""In place of a data set: the network is shown without an exact field."""

LAYER = re.compile(r"[A-Za-z_]{0,40}(\d{1,4})\.(weight|bias)")
"""The name of a layer's tensor within its set, such as 4.weight or fc2.bias."""

LAYOUTS = {"net": ("torchcfm's MLP", "selu"), "main": ("flow_matching's tutorial MLP", "silu")}
"""Project and activation of a set of weights by the last part of its name."""

SAMPLES = 2_000
"""Samples of a network that replace an unknown data set; fewer of a large network, see WORK."""

WORK = 2e10
"""Largest number of samples times weights times steps, about 3 s of one core."""


@dataclass(frozen=True, kw_only=True)
class PlainAssumptions:
    """What the weights do not state; "" and None assume the usual.

    Attributes:
        path: spec of the path of the training; conditional OT by default.
        data: spec of the data set, or UNKNOWN.
        activation: name in ACTIVATIONS; by default that of a known layout.
        weights: name of the set of weights, if the file has several.

    Raises:
        ValueError: the path, the data set or the activation is unknown.
    """

    path: str = "ot"
    data: str = UNKNOWN
    activation: str = ""
    weights: str | None = None

    def __post_init__(self) -> None:
        scheduler(self.path)
        if self.activation:
            _ = ACTIVATIONS[self.activation]
        if self.data != UNKNOWN:
            dataset(self.data)


def is_plain(path: Path) -> bool:
    """Whether a file holds a plain network, by the names of its tensors; nothing is executed."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            return False
        if path.suffix.lower() not in PICKLES | {".safetensors"}:
            return False
        with path.open("rb") as file:
            safe = is_safetensors(file.read(9))
        if safe:
            start = read_start(path)
            header = read_header(start, path.name)
            header.pop("__metadata__", None)
            return not is_own(start) and bool(groups(header, _recognised))
        return bool(find_sets(read_file(path, path.name).saved, _recognised, path.name))
    except (CheckpointError, OSError):
        return False


def load_plain(source: Path | bytes, name: str, assume: PlainAssumptions) -> Checkpoint:
    """The velocity field of a plain network, with a card that says what was assumed.

    A card of an unknown data set has UNKNOWN in its place; see `with_samples`.

    Args:
        source: path or content of a file of torch.save or safetensors.
        name: of the file in errors.
        assume: what the weights do not state.

    Raises:
        CheckpointError: the file is damaged, names code to run, or holds no plain network from
            [x, t] to a velocity of the plane; or nothing states the activation.
    """
    if isinstance(source, Path) and is_own(read_start(source)):
        raise CheckpointError(
            f"{name} must be a file of another project, but flowviz wrote it; use it as it is, in "
            "the place of CHECKPOINT."
        )
    if isinstance(source, bytes):
        check_size(len(source), name, MAX_BYTES)
        contents = read_content(source, name)
    else:
        check_size(source.stat().st_size, name, MAX_BYTES)
        contents = read_file(source, name)
    set_name, weights = _weights(contents, assume.weights, name)
    layers = _layers(weights, name)
    widths = _widths(layers, name)
    activation, layout = _activation(set_name, assume.activation, name)
    target = None if assume.data == UNKNOWN else dataset(assume.data)
    description = _description(widths, layout, assume, target)
    card = Card(
        name=Path(name).stem,
        data=assume.data,
        path=assume.path,
        objective="flow",
        network=plain_network(widths, activation, description),
        mean=(0.0, 0.0),
        std=1.0,
        center=(0.0, 0.0) if target is None else target.center,
        scale=1.0 if target is None else float(target.scale),
    )
    tensors = {f"layers.{k}.{part}": each[part] for k, each in enumerate(layers) for part in each}
    return Checkpoint(card, build_field(card, tensors, name))


def with_samples(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with stored samples of its network in place of an unknown data set.

    Raises:
        CheckpointError: the network's flow diverges, or the samples cannot be stored.
    """
    card, field = checkpoint.card, checkpoint.field
    if card.data != UNKNOWN:
        return checkpoint
    path = field.path
    times = torch.tensor([0.0, path.t_max], dtype=torch.float64)
    steps = 50 if SAMPLES * card.weights * 50 <= WORK else 10
    count = min(SAMPLES, int(WORK / (steps * card.weights)))
    try:
        solution = solve(field, path.start(noise(count, 0)), times, "rk4", steps=steps)
        spec = keep_samples(solution.states[-1].numpy())
    except ValueError as error:
        raise CheckpointError(
            f"{card.name} with {ACTIVATIONS[card.network['activation']].label} on the path "
            f"{card.path} generates no valid samples ({str(error).rstrip('.')}); correct the "
            "activation or the path."
        ) from error
    return replace(checkpoint, card=replace(card, data=spec))


def _recognised(weights: Mapping[str, Any]) -> bool:
    matches = [LAYER.fullmatch(key) for key in weights]
    return len(matches) > 1 and all(matches)


def _weights(contents: Contents, chosen: str | None, name: str) -> tuple[str, dict[str, Tensor]]:
    """The name of the set of weights that is taken, and its tensors."""
    sets = find_sets(contents.saved, _recognised, name)
    if not sets:
        has = ", ".join(shown(key) for key in list(contents.saved)[:3]) or "nothing by name"
        raise CheckpointError(
            f"{name} must hold the weights of linear layers alone, such as net.0.weight and "
            f"net.0.bias; it has {has}. Save model.state_dict() of a plain network of [x, t]."
        )
    set_name, _ = choose({key: each.averaged for key, each in sets.items()}, chosen, name)
    return set_name, read_weights(sets[set_name].tensors, contents.size, name)


def _layers(weights: Mapping[str, Tensor], name: str) -> list[dict[str, Tensor]]:
    """Weight and bias of each layer in order, as float32; a missing bias is 0."""
    by_number: dict[int, dict[str, Tensor]] = {}
    for key, tensor in weights.items():
        matched = LAYER.fullmatch(key)
        assert matched is not None  # `_recognised`
        number, kind = matched.groups()
        by_number.setdefault(int(number), {})[kind] = tensor.float()
    layers = []
    for number, tensors in sorted(by_number.items()):
        weight = tensors.get("weight")
        if weight is None or weight.ndim != 2:
            got = "none" if weight is None else f"shape {tuple(weight.shape)}"
            raise CheckpointError(
                f"{name} must have linear layers alone, with weights of two dimensions; layer "
                f"{number} has {got}."
            )
        bias = tensors.get("bias", torch.zeros(len(weight)))
        if bias.shape != weight.shape[:1]:
            raise CheckpointError(
                f"{name} has a bias of shape {tuple(bias.shape)} for the {len(weight)} units of "
                f"layer {number}."
            )
        if not (weight.isfinite().all() and bias.isfinite().all()):
            raise CheckpointError(f"{name} has weights in layer {number} that are not finite.")
        layers.append({"weight": weight, "bias": bias})
    return layers


def _widths(layers: list[dict[str, Tensor]], name: str) -> list[int]:
    """The numbers of units, from 3 inputs to 2 outputs."""
    shapes = [tuple(each["weight"].shape) for each in layers]
    widths = [shapes[0][1], *(rows for rows, _ in shapes)]
    chained = all(columns == size for (_, columns), size in zip(shapes, widths, strict=False))
    if widths[0] != 3 or widths[-1] != 2 or not chained:
        raise CheckpointError(
            f"{name} must map the 3 numbers [x, t] to a velocity of 2 by layers that follow each "
            f"other; it has layers {shown(', '.join(f'{b} to {a}' for a, b in shapes))}."
        )
    if len(layers) > MAX_LAYERS or max(widths) > MAX_UNITS:
        raise CheckpointError(
            f"{name} must have at most {MAX_LAYERS} layers of {MAX_UNITS:,} units; it has "
            f"{len(layers)} of up to {max(widths):,}."
        )
    return widths


def _activation(set_name: str, chosen: str, name: str) -> tuple[str, str]:
    """The activation, and a note: the project, and whether the activation is chosen or assumed."""
    project, default = LAYOUTS.get(set_name.split(".")[-1], ("a plain network", ""))
    if not (chosen or default):
        raise CheckpointError(
            f"{name} does not state its activation, and "
            f"{'its' if set_name == TOP else shown(set_name)} "
            f"layout is none that is known; choose one: {', '.join(ACTIVATIONS)}."
        )
    label = ACTIVATIONS[chosen or default].label
    origin = "as chosen" if chosen else "assumed from the names of the layers"
    return chosen or default, f"Read as {project}; activation {label}, {origin}"


def _description(
    widths: list[int], layout: str, assume: PlainAssumptions, target: Dataset | None
) -> str:
    """What was read and what was assumed, in sentences."""
    data_label = "unknown, so that no exact field is shown" if target is None else target.label
    return (
        f"{layout}. Layers {' – '.join(map(str, widths))}, input [x, t]. Path: "
        f"{scheduler(assume.path).label}. Data set: {data_label}. Assumed: it predicts the "
        "velocity, noise N(0, I) at t = 0, data at t = 1, and the coordinates of the frame."
    )
