"""diffusers' UNet2DModel: weights with their config.json.

Source: https://huggingface.co/docs/diffusers/api/models/unet2d
"""

from collections.abc import Mapping
from typing import Any

from flowviz.bounds import shown
from flowviz.checkpoints.errors import CheckpointError
from flowviz.checkpoints.foreign.diffusers_names import renamed
from flowviz.checkpoints.foreign.format import Assumptions, ForeignWeights, Model, fill
from flowviz.checkpoints.foreign.schedules import read_schedule
from flowviz.networks import UNetShape

NAMES = {"conv_in.weight", "conv_norm_out.weight", "time_embedding.linear_1.weight"}
DEFAULT_SIZE = 32

MODEL: dict[str, Any] = {
    "sample_size": None,
    "in_channels": 3,
    "out_channels": 3,
    "center_input_sample": False,
    "time_embedding_type": "positional",
    "time_embedding_dim": None,
    "freq_shift": 0,
    "flip_sin_to_cos": True,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"],
    "mid_block_type": "UNetMidBlock2D",
    "up_block_types": ["AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [224, 448, 672, 896],
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "downsample_padding": 1,
    "downsample_type": "conv",
    "upsample_type": "conv",
    "act_fn": "silu",
    "attention_head_dim": 8,
    "norm_num_groups": 32,
    "attn_norm_num_groups": None,
    "norm_eps": 1e-5,
    "resnet_time_scale_shift": "default",
    "add_attention": True,
    "class_embed_type": None,
    "num_class_embeds": None,
}
"""Entries of a config with their defaults."""

FIXED = {
    "center_input_sample": (False,),
    "time_embedding_type": ("positional",),
    "flip_sin_to_cos": (True, False),
    "mid_block_type": ("UNetMidBlock2D",),
    "mid_block_scale_factor": (1,),
    "downsample_padding": (0, 1),
    "downsample_type": ("conv",),
    "upsample_type": ("conv",),
    "act_fn": ("silu", "swish"),
    "resnet_time_scale_shift": ("default", "scale_shift"),
    "add_attention": (True,),
    "class_embed_type": (None,),
    "num_class_embeds": (None,),
}
"""Values that flowviz's U-Net supports, of entries that have other ones too."""

IGNORED = {
    *("dropout", "num_train_timesteps", "sample_size", "decay", "inv_gamma", "power", "min_decay"),
    *("update_after_step", "use_ema_warmup", "optimization_step"),
}
"""Entries without influence on the network: of training, and those that EMAModel adds."""


def is_diffusers(weights: Mapping[str, Any]) -> bool:
    """Whether weights have the names of a UNet2DModel."""
    return weights.keys() >= NAMES


def read_diffusers(contents: ForeignWeights, assume: Assumptions) -> Model:
    """The model of weights and config.

    Raises:
        CheckpointError: they do not fit, or describe a network that ours cannot be.
    """
    name = contents.source
    if contents.config is None:
        raise CheckpointError(
            f"{name} has the weights of diffusers' UNet2DModel without their config.json; keep "
            "both in one folder and name the folder."
        )
    kind = contents.config.get("_class_name", "UNet2DModel")
    if kind != "UNet2DModel":
        raise CheckpointError(
            f"{name} holds a model of class {shown(kind)}; flowviz reads diffusers' UNet2DModel "
            "alone."
        )
    for key, value in contents.config.items():
        known = key in MODEL or key in IGNORED or key.startswith("_")
        if not known and value not in (None, False):
            raise CheckpointError(
                f"{name} has a config with the entry {shown(key)}, which flowviz does not support."
            )
    config = MODEL | {key: value for key, value in contents.config.items() if key in MODEL}
    size, size_note = _size(contents.config.get("sample_size"), assume, name)
    shape, channels = _shape(config, size, name)
    schedule = read_schedule(contents.scheduler, assume, name)
    weights = renamed(
        contents.weights,
        [_attends(kind, "Down") for kind in config["down_block_types"]],
        int(config["layers_per_block"]),
        sines_first=not config["flip_sin_to_cos"],
        name=name,
    )
    return Model(
        network=schedule.wrap(fill(shape, weights, name, channels=channels, size=size)),
        shape=shape,
        channels=channels,
        size=size,
        path=schedule.path,
        objective=schedule.objective,
        notes=f"A diffusers UNet2DModel. {schedule.notes}{size_note}",
    )


def _size(sample_size: Any, assume: Assumptions, name: str) -> tuple[int, str]:
    """The size of the images from sample_size, a number or pair; a sentence if it is assumed."""
    if assume.size is not None:
        return assume.size, ""
    if sample_size is None:
        return DEFAULT_SIZE, f" Size assumed: {DEFAULT_SIZE} x {DEFAULT_SIZE} (--size changes it)."
    sides = sample_size if isinstance(sample_size, list) else [sample_size]
    if not 1 <= len(sides) <= 2 or any(side != sides[0] for side in sides):
        raise CheckpointError(
            f"{name} has sample_size = {shown(sample_size)}; flowviz supports square images."
        )
    if type(sides[0]) is not int or not 1 <= sides[0] <= 1024:
        raise CheckpointError(
            f"{name} has a config that flowviz cannot follow (sample_size = {shown(sample_size)})."
        )
    return sides[0], ""


def _scaled(config: Mapping[str, Any]) -> bool:
    return config["resnet_time_scale_shift"] == "scale_shift"


def _check_entries(config: Mapping[str, Any], name: str) -> None:
    """Refuses entries with which the network would be another one than ours."""
    for key, values in FIXED.items():
        if config[key] not in values:
            supported = " or ".join(map(str, values))
            raise CheckpointError(
                f"{name} has {key} = {shown(config[key])}; flowviz supports {supported}."
            )
    groups = config["norm_num_groups"]
    attention_groups = config["attn_norm_num_groups"]
    attention_groups = (
        groups if attention_groups is None and not _scaled(config) else attention_groups
    )
    if attention_groups != groups:
        raise CheckpointError(
            f"{name} has a middle attention with "
            f"{'no' if attention_groups is None else 'another'} norm "
            f"(attn_norm_num_groups = {shown(attention_groups)}, norm_num_groups = "
            f"{shown(groups)}), which flowviz does not support."
        )


def _shape(config: Mapping[str, Any], size: int, name: str) -> tuple[UNetShape, int]:
    """The U-Net of a config, and C."""
    _check_entries(config, name)
    try:
        widths = [int(value) for value in config["block_out_channels"]]
        width, blocks = widths[0], int(config["layers_per_block"])
        down = [_attends(kind, "Down") for kind in config["down_block_types"]]
        up = [_attends(kind, "Up") for kind in config["up_block_types"]]
        channels, scaled = int(config["in_channels"]), _scaled(config)
        head = int(config["attention_head_dim"] or 0)
        numbers = [*widths, blocks, channels, size, int(config["norm_num_groups"])]
        if not all(1 <= n <= 4096 for n in numbers) or not 0 <= head <= 4096 or width < 4:
            raise ValueError("a number is out of range")
        if any(value % width for value in widths):
            raise ValueError("block_out_channels are no multiples of the first")
        if len({len(widths), len(down), len(up)}) != 1 or down != up[::-1] or len(widths) > 10:
            raise ValueError("the blocks down and up do not match")
        if config["out_channels"] != channels:
            raise ValueError("out_channels differs from in_channels")
        if config["time_embedding_dim"] not in (None, 4 * width):
            raise ValueError("time_embedding_dim is not four times the first width")
        shape = UNetShape(
            model_channels=width,
            num_res_blocks=blocks,
            channel_mult=tuple(value // width for value in widths),
            attention_resolutions=tuple(
                size // 2**level for level, attends in enumerate(down) if attends
            ),
            num_head_channels=head,
            use_scale_shift_norm=scaled,
            groups=int(config["norm_num_groups"]),
            heads_first=False,
            pad_after=config["downsample_padding"] == 0,
            frequency_shift=int(config["freq_shift"]),
            eps=float(config["norm_eps"]),
        )
    except (TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise CheckpointError(
            f"{name} has a config that flowviz cannot follow ({error})."
        ) from error
    return shape, channels


def _attends(kind: str, direction: str) -> bool:
    """Whether a level of this kind has attention."""
    known = {f"{direction}Block2D": False, f"Attn{direction}Block2D": True}
    if kind not in known:
        raise ValueError(f"blocks are of kind {shown(kind)}")
    return known[kind]
