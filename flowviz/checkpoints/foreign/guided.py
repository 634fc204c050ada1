"""U-Nets with the parameter names of guided-diffusion, which several projects share.

The architecture is read from names and shapes (https://github.com/openai/guided-diffusion). What
these do not state, such as the number of heads, is taken from the published recipes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from flowviz.checkpoints.errors import CheckpointError
from flowviz.checkpoints.foreign.format import (
    Assumptions,
    ForeignWeights,
    Model,
    Sizes,
    blank,
    fill,
)
from flowviz.networks import UNetShape

NAMES = {"time_embed.0.weight", "out.2.weight"}
MAX_CHANNELS = 16
MAX_STAGES = 1000

TORCHCFM = {"net_model", "ema_model"}
"""Sets of weights in a file of torchcfm, whose U-Net can have the shapes of flow_matching's."""

DEFAULT_HEAD = 64
"""Channels of a head in torchcfm's CIFAR-10 recipe and flow_matching's ImageNet ones."""


def is_guided(weights: Mapping[str, Any]) -> bool:
    """Whether weights have the names of this family."""
    return weights.keys() >= NAMES


def has_film(weights: Mapping[str, Any]) -> bool:
    """Whether the time scales and shifts the features of a block, rather than only shifts them."""
    block = "input_blocks.1.0."
    embedding = weights.get(block + "emb_layers.1.weight")
    outputs = weights.get(block + "out_layers.3.weight")
    shapes: list[Sequence[int]] = [getattr(weight, "shape", ()) for weight in (embedding, outputs)]
    return all(shapes) and shapes[0][0] == 2 * shapes[1][0]


def read_guided(contents: ForeignWeights, assume: Assumptions) -> Model:
    """The model of weights of this family.

    Raises:
        CheckpointError: they are no whole network of this family.
    """
    name, weights = contents.source, contents.weights
    size = _default_size(weights) if assume.size is None else assume.size
    try:
        shape, channels, classes = _read_shape(weights, size)
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"{name} has the names of a guided-diffusion U-Net, but not a whole one of images of "
            f"{size} x {size} ({str(error).strip(chr(39))}); --size N sets another size."
        ) from error
    is_torchcfm = not shape.use_scale_shift_norm or bool(TORCHCFM & contents.sets)
    shape = replace(shape, heads_first=is_torchcfm)
    if classes and not shape.use_scale_shift_norm:
        raise CheckpointError(
            f"{name} is a class-conditional torchcfm network, which has no null class and so no "
            "field without classes or guidance; flowviz reads the unconditional ones."
        )
    sizes: Sizes = {"channels": channels, "size": size, "num_classes": classes}
    if contents.averages is not None:
        weights = _by_name(contents.averages, blank(shape, name, **sizes), name)
    heads = (
        f"heads of {shape.num_head_channels} channels"
        if shape.num_head_channels
        else "one head per attention"
    )
    path, predicts = assume.path or "ot", assume.predicts or "flow"
    return Model(
        network=fill(shape, weights, name, **sizes),
        shape=shape,
        channels=channels,
        size=size,
        path=path,
        objective=predicts,
        notes=f"Not stated by the weights, and assumed: path {path}, prediction {predicts}, "
        f"images of {size} x {size} in [-1, 1], {heads}.",
        classes=tuple(map(str, range(classes))),
    )


def _default_size(weights: Mapping[str, Tensor]) -> int:
    """28 for one-channel images (MNIST) that can be halved so often, otherwise 32 (CIFAR-10)."""
    first = weights.get("input_blocks.0.0.weight")
    one_channel = first is not None and first.ndim == 4 and first.shape[1] == 1
    halvings = sum(key.endswith(".0.op.weight") for key in weights)
    return 28 if one_channel and halvings <= 2 else 32


def _by_name(averages: dict[int, Tensor], network: Any, name: str) -> dict[str, Tensor]:
    """Averages by name: their number is the position among the network's parameters."""
    parameters = dict(network.named_parameters())
    if len(averages) != len(parameters):
        raise CheckpointError(
            f"{name} has {len(averages)} averages for the {len(parameters)} weights of its "
            "network."
        )
    named = {}
    for i, (key, parameter) in enumerate(parameters.items()):
        average = averages.get(i)
        if average is None or average.shape != parameter.shape:
            raise CheckpointError(f"{name} has no average shadow_params.{i} that fits {key!r}.")
        named[key] = average
    return named


def _stages(weights: Mapping[str, Tensor], part: str) -> list[set[str]]:
    """The names within each stage, such as 0.in_layers.2.weight."""
    inside: dict[int, set[str]] = {}
    for key in weights:
        if key.startswith(part):
            number, _, inner = key.removeprefix(part).partition(".")
            inside.setdefault(int(number), set()).add(inner)
    if not inside or max(inside) > MAX_STAGES:
        raise ValueError(f"{part}<i> is missing or out of range")
    return [inside.get(i, set()) for i in range(max(inside) + 1)]


def _levels(down: list[set[str]], up: list[set[str]]) -> tuple[int, int, bool]:
    """Residual blocks of a level, number of levels, and whether residual blocks resample."""
    halvings = [i for i, names in enumerate(down) if not names or "0.op.weight" in names]
    # A residual block that halves looks like any other; its counterpart on the way up is second.
    doublings = [
        i for i, names in enumerate(up) if {"1.in_layers.0.weight", "2.in_layers.0.weight"} & names
    ]
    if halvings:
        return halvings[0] - 1, len(halvings) + 1, False
    if doublings:
        return doublings[0], len(doublings) + 1, True
    return len(down) - 1, 1, False


def _read_shape(weights: Mapping[str, Tensor], size: int) -> tuple[UNetShape, int, int]:
    """The shape of the U-Net, C and the number of classes."""

    def outputs(block: str) -> int:
        return weights[f"{block}.out_layers.3.weight"].shape[0]

    down, up = _stages(weights, "input_blocks."), _stages(weights, "output_blocks.")
    width = weights["time_embed.0.weight"].shape[1]
    first, last = weights["input_blocks.0.0.weight"], weights["out.2.weight"]
    channels = first.shape[1]
    if not width or channels != last.shape[0] or channels > MAX_CHANNELS:
        raise ValueError(f"{channels} channels in, {last.shape[0]} out")
    blocks, levels, by_blocks = _levels(down, up)
    mult, attending, widths = [], [], [outputs("middle_block.0")]
    for level in range(levels):
        i = 1 + level * (blocks + 1)
        channels_out = outputs(f"input_blocks.{i}.0")
        if channels_out % width:
            raise ValueError(f"{channels_out} channels are no multiple of {width}")
        mult.append(channels_out // width)
        if "1.qkv.weight" in down[i]:
            attending.append(size // 2**level)
            widths.append(channels_out)
    film = weights["input_blocks.1.0.emb_layers.1.weight"].shape[0] == 2 * mult[0] * width
    rows = weights["label_emb.weight"].shape[0] if "label_emb.weight" in weights else 0
    # flow_matching's CIFAR-10 network has one head; its ImageNet ones, which halve by residual
    # blocks, and torchcfm's have heads of 64 channels where the width allows.
    narrow = any(value % DEFAULT_HEAD for value in widths) or (film and not by_blocks)
    resampled = {"0.op.weight"} <= set().union(*down) or levels == 1 or by_blocks
    shape = UNetShape(
        model_channels=width,
        num_res_blocks=blocks,
        channel_mult=tuple(mult),
        attention_resolutions=tuple(attending),
        num_head_channels=0 if narrow else DEFAULT_HEAD,
        use_scale_shift_norm=film,
        conv_resample=resampled,
        resblock_updown=by_blocks,
    )
    return shape, channels, max(0, rows - 1)
