"""Other people's checkpoints of images, told apart by the names of their tensors.

| origin | file | what is taken |
|---|---|---|
| torchcfm's CIFAR-10 example | torch.save: net_model, ema_model | ema_model |
| facebookresearch/flow_matching's images | torch.save: model, args | shadow_params.<i> |
| diffusers' UNet2DModel | a folder: config.json and safetensors | all |

A bare state dict of the first two, by torch.save or in safetensors, is read as well. All become a
`LearnedField` on our U-Net. What tensors cannot tell, such as the number of heads, is taken from
the published recipe, and the sentence `about` says so. Nothing of a file is executed.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from flowviz.checkpoints import diffusers
from flowviz.checkpoints.cards import (
    PICKLES,
    CheckpointError,
    check_size,
    folders,
    read_header,
    shown,
)
from flowviz.checkpoints.images import ImageCard, ImageCheckpoint, load_images
from flowviz.checkpoints.pickled import check_tensors, read_pickled
from flowviz.checkpoints.weights import check_fit, read_tensors
from flowviz.fields import LearnedField
from flowviz.networks import DiscreteTime, UNet, UNetShape
from flowviz.objectives import OBJECTIVES
from flowviz.paths import AffinePath
from flowviz.registry import hint_at
from flowviz.schedulers import scheduler

__all__ = [
    "MOST_UPLOAD",
    "ForeignCheckpoint",
    "foreign_files",
    "is_foreign",
    "load_any",
    "load_foreign",
    "load_foreign_bytes",
]

MOST_UPLOAD = 200 * 2**20
"""Most bytes of an uploaded file; larger ones go into a folder named by $FLOWVIZ_CHECKPOINTS."""

MOST_BYTES = 8 * 2**30
"""Larger files are refused before they are read."""

MOST_CHANNELS = 16
WRAPPINGS = ("module.", "_orig_mod.")
"""What DistributedDataParallel and torch.compile put before every name."""

DEFAULT_HEAD = 64
"""Channels of a head in torchcfm's CIFAR-10 recipe and flow_matching's ImageNet ones."""

IMAGE_STD = 0.5
"""Standard deviation of natural images in [-1, 1], which these files do not tell; CIFAR-10's
is 0.499."""


@dataclass(frozen=True)
class ForeignCheckpoint:
    """A field of images from another project's file.

    Attributes:
        checkpoint: the field with a card made for it.
        origin: "torchcfm", "flow_matching", "diffusers", or "flowviz" for our own.
        about: what was read and what was assumed, in sentences.
    """

    checkpoint: ImageCheckpoint
    origin: str
    about: str


def foreign_files() -> dict[str, Path]:
    """Other people's files in the folders of $FLOWVIZ_CHECKPOINTS and flowviz's own, by name.

    A name is that of the file or of the diffusers folder; what they hold is not looked at.
    """
    found: dict[str, Path] = {}
    for folder in folders():
        if not folder.is_dir():
            continue
        for path in sorted(folder.iterdir()):
            if _looks_foreign(path):
                found.setdefault(path.name, path)
    return found


def is_foreign(name: str | Path) -> bool:
    """Whether a path, or a name among `foreign_files`, looks like another project's file."""
    path = Path(name).expanduser()
    return _looks_foreign(path) if path.exists() else str(name) in foreign_files()


def load_any(name: str | Path, *, size: int = 32) -> ForeignCheckpoint:
    """The field of images of any checkpoint, our own or another's, by name or path.

    Raises:
        CheckpointError: it is not there, damaged, or of no known kind.
    """
    if is_foreign(name):
        return load_foreign(name, size=size)
    return ForeignCheckpoint(load_images(name), "flowviz", "flowviz's own checkpoint.")


def load_foreign(
    name: str | Path, *, size: int = 32, path: str | None = None
) -> ForeignCheckpoint:
    """The field in another project's file or folder.

    Args:
        name: a path, or a name among `foreign_files`.
        size: height and width of the images where the file does not tell (diffusers' does).
        path: spec of the path on which the velocity was trained, where it is not conditional OT.

    Raises:
        CheckpointError: it is not there, damaged, of no known kind, or needs code to be run.
    """
    file = Path(name).expanduser()
    if not file.exists():
        found = foreign_files()
        if str(name) not in found:
            hint = hint_at(str(name), found)
            raise CheckpointError(f"There is no file {name}.{hint}")
        file = found[str(name)]
    if file.is_dir():
        return _from_folder(file, path)
    length = file.stat().st_size
    check_size(file, file.name, MOST_BYTES)
    with file.open("rb") as opened:
        safe = opened.read(9)[8:] == b"{"
    saved = read_tensors(file.read_bytes(), file.name) if safe else read_pickled(file, file.name)
    return _from_saved(saved, length, file.name, size, path)


def load_foreign_bytes(
    content: bytes, name: str, *, size: int = 32, path: str | None = None
) -> ForeignCheckpoint:
    """The field in the bytes of an uploaded file; `name` names it. See `load_foreign`."""
    if len(content) > MOST_UPLOAD:
        raise CheckpointError(
            f"{name} has {len(content) / 2**20:.0f} MB, more than the {MOST_UPLOAD // 2**20} MB "
            "of an upload; put it into a folder named by FLOWVIZ_CHECKPOINTS on the server, and "
            "choose it from the menu by its name."
        )
    safe = content[8:9] == b"{"
    saved = read_tensors(content, name) if safe else read_pickled(content, name)
    return _from_saved(saved, len(content), name, size, path)


def _from_saved(
    saved: Mapping[str, Any], length: int, name: str, size: int, path: str | None
) -> ForeignCheckpoint:
    """The field in what a file holds, by the names in it."""
    about = []
    if isinstance(saved.get("ema_model"), dict):
        origin, weights = "torchcfm", saved["ema_model"]
        about.append("The moving average (ema_model) of a torchcfm training.")
    elif isinstance(saved.get("model"), dict):
        origin, weights = "flow_matching", saved["model"]
    else:
        origin, weights = "", dict(saved)
    weights = _unwrapped(weights, name)
    if any(key.startswith("shadow_params.") for key in weights):
        origin = "flow_matching"
        raw = {k.removeprefix("model."): v for k, v in weights.items() if k.startswith("model.")}
        shadow = {k: v for k, v in weights.items() if k.startswith("shadow_params.")}
        raw, shadow = check_tensors(raw, length, name), check_tensors(shadow, length, name)
        weights = _averaged(_unwrapped(raw, name), shadow, name, size)
        about.append("The moving average (shadow_params) of a flow_matching training.")
    weights = check_tensors(weights, length, name)
    if "time_embed.0.weight" not in weights or "out.2.weight" not in weights:
        raise CheckpointError(
            f"{name} is of no kind that flowviz knows: it must hold the weights of torchcfm's or "
            "flow_matching's image U-Net, or be a folder of diffusers' UNet2DModel."
        )
    shape, channels, classes = _family(weights, size, name)
    film = shape.use_scale_shift_norm
    if origin == "torchcfm":
        shape = replace(shape, heads_first=True)
    origin = origin or ("flow_matching" if film else "torchcfm")
    if not about:
        about.append(f"Weights with the names of {origin}'s U-Net, without a moving average.")
    if classes and not film:
        raise CheckpointError(
            f"{name} is a class-conditional torchcfm network, which has no null class and so no "
            "field without classes or guidance; flowviz reads the unconditional ones."
        )
    heads = (
        f"heads of {shape.num_head_channels} channels"
        if shape.num_head_channels
        else "one head an attention"
    )
    path = path or "ot"
    about.append(
        f"Its path is taken to be {path}, its images {size} x {size} in [-1, 1], its attention "
        f"to have {heads}, as published; the weights do not tell."
    )
    network = _filled(shape, weights, name, channels=channels, size=size, num_classes=classes)
    field = _plain_field(network, path, "flow", channels)
    names = tuple(str(i) for i in range(classes))
    card = _card(name, shape, channels, size, names, path, "flow")
    return ForeignCheckpoint(ImageCheckpoint(card, field), origin, " ".join(about))


def _from_folder(folder: Path, path: str | None) -> ForeignCheckpoint:
    """The field of a diffusers folder."""
    model = diffusers.read_folder(folder, MOST_BYTES)
    name = folder.name
    bare = _filled(model.shape, model.weights, name, channels=model.channels, size=model.size)
    path = path or model.path
    chosen = scheduler(path)
    ends = chosen(torch.tensor([0.0, 0.5], dtype=torch.float64))
    if not torch.allclose(ends.alpha**2 + ends.sigma**2, torch.ones(2, dtype=torch.float64)):
        raise CheckpointError(
            f"{name} predicts the noise of a path that preserves the variance; take vp or trig, "
            f"not {path}."
        )
    network = DiscreteTime(bare, chosen, model.bar_alphas)
    field = _plain_field(network, path, "noise", model.channels)
    card = _card(name, model.shape, model.channels, model.size, (), path, "noise")
    levels = len(model.bar_alphas)
    about = (
        f"A diffusers UNet2DModel that predicts the noise on {levels} levels ({model.schedule}), "
        f"as a velocity on the path {path}: time t is the level n with bar alpha_n = alpha_t^2, a "
        "real number between the integers that it was trained on."
    )
    return ForeignCheckpoint(ImageCheckpoint(card, field), "diffusers", about)


def _unwrapped(weights: Mapping[Any, Any], name: str) -> dict[str, Any]:
    """Without what wrappers put before every name.

    Raises:
        CheckpointError: a weight has another name than a string.
    """
    odd = [key for key in weights if not isinstance(key, str)]
    if odd:
        raise CheckpointError(
            f"{name} names its weights by other things than words, such as {shown(odd[0])}."
        )
    weights = dict(weights)
    changed = bool(weights)
    while changed:
        changed = False
        for wrapping in WRAPPINGS:
            if weights and all(key.startswith(wrapping) for key in weights):
                weights = {key.removeprefix(wrapping): value for key, value in weights.items()}
                changed = True
    return weights


def _averaged(
    raw: dict[str, Tensor], shadow: dict[str, Tensor], name: str, size: int
) -> dict[str, Tensor]:
    """The averages shadow_params.<i> by name: i counts the parameters as the model has them."""
    if "time_embed.0.weight" not in raw or "out.2.weight" not in raw:
        raise CheckpointError(
            f"{name} has averages by number alone; the model's own weights, which name them, are "
            "missing."
        )
    shape, channels, classes = _family(raw, size, name)
    own = _blank(shape, name, channels=channels, size=size, num_classes=classes)
    wanted = dict(own.named_parameters())
    if len(shadow) != len(wanted):
        raise CheckpointError(
            f"{name} has {len(shadow)} averages for the {len(wanted)} weights of its network."
        )
    averages = {}
    for i, (key, parameter) in enumerate(wanted.items()):
        average = shadow.get(f"shadow_params.{i}")
        if average is None or average.shape != parameter.shape:
            raise CheckpointError(f"{name} has no average shadow_params.{i} that fits {key!r}.")
        averages[key] = average
    return averages


def _family(weights: Mapping[str, Tensor], size: int, name: str) -> tuple[UNetShape, int, int]:
    """The U-Net of guided-diffusion names: its shape, C and the number of classes.

    Raises:
        CheckpointError: the names are not those of such a network.
    """
    try:
        return _read_family(weights, size)
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"{name} has the names of a guided-diffusion U-Net, but not a whole one of images of "
            f"{size} x {size} ({str(error).strip(chr(39))})."
        ) from error


def _read_family(weights: Mapping[str, Tensor], size: int) -> tuple[UNetShape, int, int]:
    def stages(part: str) -> list[set[str]]:
        """The names within each stage, such as 0.in_layers.2.weight."""
        inside: dict[int, set[str]] = {}
        for key in weights:
            if key.startswith(part):
                number, _, rest = key.removeprefix(part).partition(".")
                inside.setdefault(int(number), set()).add(rest)
        if not inside or max(inside) > 1000:
            raise ValueError(f"{part}<i> is missing or out of range")
        return [inside.get(i, set()) for i in range(max(inside) + 1)]

    down, up = stages("input_blocks."), stages("output_blocks.")
    width = weights["time_embed.0.weight"].shape[1]
    first, last = weights["input_blocks.0.0.weight"], weights["out.2.weight"]
    channels = first.shape[1]
    if not width or channels != last.shape[0] or channels > MOST_CHANNELS:
        raise ValueError(f"{channels} channels in, {last.shape[0]} out")
    halvings = [i for i, names in enumerate(down) if not names or "0.op.weight" in names]
    # A residual block that halves looks like any other; its double on the way up comes second.
    doublings = [
        i for i, names in enumerate(up) if {"1.in_layers.0.weight", "2.in_layers.0.weight"} & names
    ]
    by_blocks = not halvings and bool(doublings)
    if by_blocks:
        blocks, levels = doublings[0], len(doublings) + 1
    elif halvings:
        blocks, levels = halvings[0] - 1, len(halvings) + 1
    else:
        blocks, levels = len(down) - 1, 1
    firsts = [1 + level * (blocks + 1) for level in range(levels)]
    mult, attending, widths = [], [], [_outputs(weights, "middle_block.0")]
    for level, i in enumerate(firsts):
        outputs = _outputs(weights, f"input_blocks.{i}.0")
        if outputs % width:
            raise ValueError(f"{outputs} channels are no multiple of {width}")
        mult.append(outputs // width)
        if "1.qkv.weight" in down[i]:
            attending.append(size // 2**level)
            widths.append(outputs)
    film = weights["input_blocks.1.0.emb_layers.1.weight"].shape[0] == 2 * mult[0] * width
    labelled = "label_emb.weight" in weights
    rows = weights["label_emb.weight"].shape[0] if labelled else 0
    # flow_matching's CIFAR-10 network has one head; its ImageNet ones, which halve by residual
    # blocks, and torchcfm's have heads of 64 channels where the width allows.
    narrow = any(value % DEFAULT_HEAD for value in widths) or (film and not by_blocks)
    shape = UNetShape(
        model_channels=width,
        num_res_blocks=blocks,
        channel_mult=tuple(mult),
        attention_resolutions=tuple(attending),
        num_head_channels=0 if narrow else DEFAULT_HEAD,
        use_scale_shift_norm=film,
        conv_resample="0.op.weight" in down[halvings[0]] if halvings else True,
        heads_first=not film,
        resblock_updown=by_blocks,
    )
    return shape, channels, max(0, rows - 1)


def _outputs(weights: Mapping[str, Tensor], block: str) -> int:
    return weights[f"{block}.out_layers.3.weight"].shape[0]


def _filled(shape: UNetShape, weights: Mapping[str, Tensor], name: str, **sizes: int) -> UNet:
    """The network of a shape with the weights, once they are known to fit."""
    weights = {key: value.float() for key, value in weights.items()}
    blank = _blank(shape, name, **sizes).state_dict()
    check_fit(blank, weights, name, network="the U-Net that it describes")
    network = UNet(shape, **sizes)
    network.load_state_dict(weights)
    return network


def _blank(shape: UNetShape, name: str, **sizes: int) -> UNet:
    """The network of a shape without memory for its weights."""
    try:
        with torch.device("meta"):
            return UNet(shape, **sizes)
    except (ValueError, RuntimeError, ZeroDivisionError) as error:
        reason = str(error).strip().rstrip(".")
        raise CheckpointError(f"{name} describes no network that can be: {reason}.") from error


def _plain_field(network: nn.Module, path: str, objective: str, channels: int) -> LearnedField:
    field = LearnedField(
        network,
        AffinePath(scheduler(path)),
        OBJECTIVES[objective],
        mean=torch.zeros(channels, 1, 1),  # neither matters to a plain field's velocity
        std=IMAGE_STD,
        preconditioned=False,
        clocked=False,
    )
    return field.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def _card(
    name: str,
    shape: UNetShape,
    channels: int,
    size: int,
    classes: tuple[str, ...],
    path: str,
    objective: str,
) -> ImageCard:
    network = asdict(shape)
    network |= {"conditional": bool(classes), "preconditioned": False, "clocked": False}
    return ImageCard(
        name=name,
        kind="field",
        data="cifar10" if (channels, size) == (3, 32) else "",
        classes=classes,
        channels=channels,
        size=size,
        network=network,
        path=path,
        objective=objective,
    )


def _looks_foreign(path: Path) -> bool:
    """By the suffix, the names of a folder's files, or the names in a safetensors header."""
    if path.is_dir():
        return diffusers.is_folder(path)
    if not path.is_file() or path.suffix.lower() in PICKLES:
        return path.is_file()
    if path.suffix != ".safetensors":
        return False
    with path.open("rb") as file:
        start = file.read(8)
        start += file.read(min(int.from_bytes(start, "little"), 2**21))
    try:
        header = read_header(start, path.name)
    except CheckpointError:
        return False
    ours = any(key.startswith("flowviz") for key in header.get("__metadata__", {}))
    return not ours and any(key.endswith("time_embed.0.weight") for key in header)
