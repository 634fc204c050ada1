"""Folders of diffusers' UNet2DModel, read for our U-Net.

The model's config.json and its safetensors lie in the folder or, of a whole pipeline, in unet/
within it; scheduler_config.json likewise, or in scheduler/. Without it the noise levels are those
of Ho et al. 2020 (https://arxiv.org/abs/2006.11239): 1,000, beta linear from 1e-4 to 0.02.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from flowviz.checkpoints.cards import MOST_HEADER_BYTES, CheckpointError, check_size, shown
from flowviz.checkpoints.pickled import check_tensors
from flowviz.checkpoints.weights import read_tensors
from flowviz.networks import UNetShape

__all__ = ["DiffusersModel", "is_folder", "read_folder"]

WEIGHTS = "diffusion_pytorch_model.safetensors"
MOST_LEVELS = 100_000

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
"""What a config that leaves an entry out means by it."""

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
"""The values that our U-Net can follow."""

SCHEDULER: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 1e-4,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "trained_betas": None,
    "prediction_type": "epsilon",
    "rescale_betas_zero_snr": False,
}

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
QKV = (("to_q", "query"), ("to_k", "key"), ("to_v", "value"))
"""Names of the projections, those of older files second."""
OUT = ("to_out.0", "proj_attn")


@dataclass(frozen=True)
class DiffusersModel:
    """A DDPM of diffusers in our terms.

    Attributes:
        shape: of our U-Net.
        channels: C of the images.
        size: their height and width.
        weights: by our names.
        bar_alphas: the noise levels, (N,) float64, falling: the data's share of the variance.
        path: spec of the VP path whose noise follows these levels.
        schedule: the levels in words.
    """

    shape: UNetShape
    channels: int
    size: int
    weights: dict[str, Tensor]
    bar_alphas: Tensor
    path: str
    schedule: str


def is_folder(path: Path) -> bool:
    """Whether this looks like such a folder, by the names of the files in it."""
    return path.is_dir() and _model_folder(path) is not None


def read_folder(folder: Path, most: int) -> DiffusersModel:
    """The model in a folder, whose weights' file may have `most` bytes.

    Raises:
        CheckpointError: it is no such folder, damaged, too large, or of a kind that our U-Net
            cannot follow.
    """
    name = folder.name
    inner = _model_folder(folder)
    if inner is None:
        raise CheckpointError(
            f"{name} is not a folder of diffusers' UNet2DModel: it has no config.json with "
            f"{WEIGHTS} beside it."
        )
    file = inner / WEIGHTS
    check_size(file, name, most)
    entries = _json(inner / "config.json", name)
    if entries.get("_class_name", "UNet2DModel") != "UNet2DModel":
        raise CheckpointError(
            f"{name} holds a model of class {shown(entries['_class_name'])}; flowviz reads "
            "diffusers' UNet2DModel alone."
        )
    config = MODEL | {key: value for key, value in entries.items() if key in MODEL}
    shape, channels, size = _shape(config, name)
    content = file.read_bytes()
    theirs = check_tensors(read_tensors(content, name), len(content), name)
    weights = _renamed(theirs, config, name)
    bar_alphas, path, schedule = _levels(folder, inner, name)
    return DiffusersModel(shape, channels, size, weights, bar_alphas, path, schedule)


def _model_folder(folder: Path) -> Path | None:
    for inner in (folder, folder / "unet"):
        if (inner / "config.json").is_file() and (inner / WEIGHTS).is_file():
            return inner
    return None


def _json(path: Path, name: str) -> dict[str, Any]:
    if path.stat().st_size > MOST_HEADER_BYTES:
        raise CheckpointError(f"{name} has a {path.name} larger than 1 MB.")
    try:
        entries = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{name} has a {path.name} that is not JSON.") from error
    if not isinstance(entries, dict):
        raise CheckpointError(f"{name} has a {path.name} that is not a config.")
    return entries


def _shape(config: dict[str, Any], name: str) -> tuple[UNetShape, int, int]:
    """Our U-Net of a config, C and the size of the images."""
    for key, values in FIXED.items():
        if config[key] not in values:
            wanted = " or ".join(map(str, values))
            raise CheckpointError(
                f"{name} has {key} = {shown(config[key])}; flowviz follows {wanted}."
            )
    scaled = config["resnet_time_scale_shift"] == "scale_shift"
    groups = config["norm_num_groups"]
    own = config["attn_norm_num_groups"]
    own = groups if own is None and not scaled else own
    if own != groups:
        raise CheckpointError(
            f"{name} has a middle attention with {'no' if own is None else 'another'} norm "
            f"(attn_norm_num_groups = {shown(own)}, norm_num_groups = {shown(groups)}), which "
            "flowviz does not follow."
        )
    try:
        widths = [int(value) for value in config["block_out_channels"]]
        width, blocks = widths[0], int(config["layers_per_block"])
        down = [_attends(kind, "Down") for kind in config["down_block_types"]]
        up = [_attends(kind, "Up") for kind in config["up_block_types"]]
        channels, size = int(config["in_channels"]), int(config["sample_size"])
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
    return shape, channels, size


def _attends(kind: str, way: str) -> bool:
    """Whether a level of this kind attends."""
    known = {f"{way}Block2D": False, f"Attn{way}Block2D": True}
    if kind not in known:
        raise ValueError(f"blocks are of kind {shown(kind)}")
    return known[kind]


def _renamed(theirs: dict[str, Tensor], config: dict[str, Any], name: str) -> dict[str, Tensor]:
    """The weights by our names; each of theirs is used once."""
    left = dict(theirs)
    ours: dict[str, Tensor] = {}

    def move(source: str, target: str) -> None:
        for end in (".weight", ".bias"):
            if source + end in left:
                ours[target + end] = left.pop(source + end)

    def move_block(source: str, target: str) -> None:
        for old, new in RESNET.items():
            move(f"{source}.{old}", f"{target}.{new}")

    def move_attention(source: str, target: str) -> None:
        move(f"{source}.group_norm", f"{target}.norm")
        for end in (".weight", ".bias"):
            parts = [
                left.pop(next(f"{source}.{n}{end}" for n in names if f"{source}.{n}{end}" in left))
                for names in QKV
            ]
            joined = torch.cat(parts)
            ours[f"{target}.qkv{end}"] = joined[..., None] if end == ".weight" else joined
        for old in OUT:
            move(f"{source}.{old}", f"{target}.proj_out")
        ours[f"{target}.proj_out.weight"] = ours[f"{target}.proj_out.weight"][..., None]

    levels, blocks = len(config["block_out_channels"]), int(config["layers_per_block"])
    try:
        move("conv_in", "input_blocks.0.0")
        move("time_embedding.linear_1", "time_embed.0")
        move("time_embedding.linear_2", "time_embed.2")
        if not config["flip_sin_to_cos"]:  # theirs then begins with the sines, ours never does
            sines, cosines = ours["time_embed.0.weight"].chunk(2, dim=1)
            ours["time_embed.0.weight"] = torch.cat([cosines, sines], dim=1)
        i = o = 0
        for level in range(levels):
            attends = _attends(config["down_block_types"][level], "Down")
            for j in range(blocks):
                i += 1
                move_block(f"down_blocks.{level}.resnets.{j}", f"input_blocks.{i}.0")
                if attends:
                    move_attention(f"down_blocks.{level}.attentions.{j}", f"input_blocks.{i}.1")
            if level < levels - 1:
                i += 1
                move(f"down_blocks.{level}.downsamplers.0.conv", f"input_blocks.{i}.0.op")
        move_block("mid_block.resnets.0", "middle_block.0")
        move_attention("mid_block.attentions.0", "middle_block.1")
        move_block("mid_block.resnets.1", "middle_block.2")
        for level in range(levels):
            attends = _attends(config["up_block_types"][level], "Up")
            for j in range(blocks + 1):
                move_block(f"up_blocks.{level}.resnets.{j}", f"output_blocks.{o}.0")
                if attends:
                    move_attention(f"up_blocks.{level}.attentions.{j}", f"output_blocks.{o}.1")
                if j == blocks and level < levels - 1:
                    source = f"up_blocks.{level}.upsamplers.0"
                    move(f"{source}.conv", f"output_blocks.{o}.{1 + attends}.conv")
                o += 1
        move("conv_norm_out", "out.0")
        move("conv_out", "out.2")
    except (StopIteration, KeyError, IndexError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"{name} lacks weights of the network that its config describes."
        ) from error
    if left:
        raise CheckpointError(
            f"{name} has weights {shown(sorted(left)[0])} that its config does not describe."
        )
    return ours


def _levels(folder: Path, inner: Path, name: str) -> tuple[Tensor, str, str]:
    """bar alpha of each level, the VP path that follows them, and the levels in words."""
    places = [place / "scheduler_config.json" for place in (folder / "scheduler", folder, inner)]
    found = next((place for place in places if place.is_file()), None)
    entries = {} if found is None else _json(found, name)
    config = SCHEDULER | {key: value for key, value in entries.items() if key in SCHEDULER}
    if config["prediction_type"] != "epsilon" or config["rescale_betas_zero_snr"]:
        raise CheckpointError(
            f"{name} predicts {shown(config['prediction_type'])}; flowviz reads networks "
            "that predict the noise (epsilon), with noise levels as they are."
        )
    kind = config["beta_schedule"]
    try:
        n = int(config["num_train_timesteps"])
        first, last = float(config["beta_start"]), float(config["beta_end"])
        if not 2 <= n <= MOST_LEVELS:
            raise ValueError("num_train_timesteps is out of range")
        if config["trained_betas"] is not None:
            kind = "its own betas"
            betas = torch.tensor(config["trained_betas"], dtype=torch.float64)
        elif kind == "linear":
            betas = torch.linspace(first, last, n, dtype=torch.float64)
        elif kind == "scaled_linear":
            betas = torch.linspace(first**0.5, last**0.5, n, dtype=torch.float64) ** 2
        elif kind == "squaredcos_cap_v2":
            angle = (torch.arange(n + 1, dtype=torch.float64) / n + 0.008) / 1.008 * math.pi / 2
            share = torch.cos(angle) ** 2
            betas = (1 - share[1:] / share[:-1]).clamp(max=0.999)
        else:
            raise ValueError(f"its beta_schedule is {shown(kind)}")
        if betas.ndim != 1 or len(betas) < 2 or not ((betas > 0) & (betas < 1)).all():
            raise ValueError("betas must be two or more numbers between 0 and 1")
        exponents = -torch.cumsum(torch.log1p(-betas), 0)
        bar_alphas = torch.exp(-exponents)
        if not ((bar_alphas.diff() < 0).all() and bar_alphas[0] < 1 and bar_alphas[-1] > 0):
            raise ValueError("its betas are too small or too large to tell its levels apart")
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise CheckpointError(
            f"{name} has a scheduler that flowviz cannot follow ({error})."
        ) from error
    n = len(betas)
    low = n * betas[0].item()
    # A linear schedule is that of the continuous path; any other gets the path that ends alike.
    high = n * betas[-1].item() if kind == "linear" else 2 * exponents[-1].item() - low
    if high < low:
        low = high = exponents[-1].item()
    path = f"vp:beta_min={low:.10g},beta_max={high:.10g}"
    path = "vp" if path == "vp:beta_min=0.1,beta_max=20" else path
    levels = f"beta {kind}"
    if kind == "linear":
        levels += f" from {first:g} to {last:g}"
    return bar_alphas, path, levels
