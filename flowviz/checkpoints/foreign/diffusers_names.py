"""Names of diffusers' UNet2DModel in terms of those of guided-diffusion."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from flowviz.bounds import shown
from flowviz.checkpoints.errors import CheckpointError

KINDS = {
    "layer": {"": ""},
    "block": {
        ".norm1": ".in_layers.0",
        ".conv1": ".in_layers.2",
        ".time_emb_proj": ".emb_layers.1",
        ".norm2": ".out_layers.0",
        ".conv2": ".out_layers.3",
        ".conv_shortcut": ".skip_connection",
    },
    "attention": {".group_norm": ".norm", ".to_out.0": ".proj_out", ".proj_attn": ".proj_out"},
}
"""Names of the parts of a module, by its kind."""

QKV = (("to_q", "query"), ("to_k", "key"), ("to_v", "value"))
"""Names of the projections of an attention; the second are those of older files."""


def renamed(
    foreign: Mapping[str, Tensor],
    attends: Sequence[bool],
    blocks: int,
    *,
    sines_first: bool,
    name: str,
) -> dict[str, Tensor]:
    """The weights by the names of flowviz; each weight is used once.

    Args:
        foreign: weights by the names of diffusers.
        attends: whether a level has attention, from the finest on.
        blocks: residual blocks of a level on the way down.
        sines_first: whether the time embedding begins with the sines.
        name: of the file in errors.

    Raises:
        CheckpointError: a weight is missing or left over.
    """
    left = dict(foreign)
    renamed_weights: dict[str, Tensor] = {}
    try:
        for kind, source, target in _modules(attends, blocks):
            for old, new in KINDS[kind].items():
                for end in (".weight", ".bias"):
                    if source + old + end in left:
                        renamed_weights[target + new + end] = left.pop(source + old + end)
            if kind == "attention":
                for end in (".weight", ".bias"):
                    parts = [_pop_any(left, source, names, end) for names in QKV]
                    renamed_weights[f"{target}.qkv{end}"] = torch.cat(parts)
                for matrix in (f"{target}.qkv.weight", f"{target}.proj_out.weight"):
                    renamed_weights[matrix] = renamed_weights[matrix][..., None]
        if sines_first:  # those of flowviz begin with the cosines
            sines, cosines = renamed_weights["time_embed.0.weight"].chunk(2, dim=1)
            renamed_weights["time_embed.0.weight"] = torch.cat([cosines, sines], dim=1)
    except (KeyError, IndexError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"{name} lacks weights of the network that its config describes."
        ) from error
    if left:
        raise CheckpointError(
            f"{name} has weights {shown(min(left))} that its config does not describe."
        )
    return renamed_weights


def _pop_any(left: dict[str, Tensor], source: str, names: Sequence[str], end: str) -> Tensor:
    """The weight of the first of the names that there is, which is removed."""
    for name in names:
        if f"{source}.{name}{end}" in left:
            return left.pop(f"{source}.{name}{end}")
    raise KeyError(f"{source}.{names[0]}{end}")


def _modules(attends: Sequence[bool], blocks: int) -> Iterator[tuple[str, str, str]]:
    """Kind, name in diffusers and name in guided-diffusion of each module with weights."""
    last = len(attends) - 1
    yield "layer", "conv_in", "input_blocks.0.0"
    yield "layer", "time_embedding.linear_1", "time_embed.0"
    yield "layer", "time_embedding.linear_2", "time_embed.2"
    i = 0
    for level, attending in enumerate(attends):
        for j in range(blocks):
            i += 1
            yield "block", f"down_blocks.{level}.resnets.{j}", f"input_blocks.{i}.0"
            if attending:
                yield "attention", f"down_blocks.{level}.attentions.{j}", f"input_blocks.{i}.1"
        if level < last:
            i += 1
            yield "layer", f"down_blocks.{level}.downsamplers.0.conv", f"input_blocks.{i}.0.op"
    yield "block", "mid_block.resnets.0", "middle_block.0"
    yield "attention", "mid_block.attentions.0", "middle_block.1"
    yield "block", "mid_block.resnets.1", "middle_block.2"
    o = 0
    for level, attending in enumerate(reversed(attends)):
        for j in range(blocks + 1):
            yield "block", f"up_blocks.{level}.resnets.{j}", f"output_blocks.{o}.0"
            if attending:
                yield "attention", f"up_blocks.{level}.attentions.{j}", f"output_blocks.{o}.1"
            if j == blocks and level < last:
                target = f"output_blocks.{o}.{1 + attending}.conv"
                yield "layer", f"up_blocks.{level}.upsamplers.0.conv", target
            o += 1
    yield "layer", "conv_norm_out", "out.0"
    yield "layer", "conv_out", "out.2"
