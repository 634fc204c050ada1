"""What a run on images writes while it trains: snapshots of its weights and grids of samples."""

import json
from dataclasses import asdict
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor

from flowviz.fields import LearnedField
from flowviz.fields.guided import GuidedField
from flowviz.solvers import solve

if TYPE_CHECKING:
    from flowviz.training.images import ImageRun

__all__ = ["SNAPSHOTS", "png", "sample_grid", "snapshot"]

SNAPSHOTS = (5, 10, 25, 50, 100)
"""Percentages of the steps after which the averaged weights are written."""

MAX_ROWS = 10
"""Maximum number of classes in a grid of samples."""


def snapshot(run: "ImageRun") -> bytes:
    """The averaged weights in half precision as a .safetensors file, with step and config."""
    weights = {
        name: value.half().cpu().contiguous()
        for name, value in run.ema.network.state_dict().items()
    }
    about = json.dumps({"step": run.step, "config": asdict(run.config)})
    return safetensors.torch.save(weights, {run.config.FORMAT: about})


@torch.no_grad()
def sample_grid(run: "ImageRun", *, columns: int = 8, guidance: float = 2.0) -> Tensor:
    """Samples of the averaged weights, (rows * (H + 2), columns * (W + 2), C) uint8.

    A row has the samples of one class, guided, if the network is conditioned on classes. They are
    drawn by the midpoint method, NFE 20, always from the same noise.
    """
    data, path = run.data, run.ema.path
    rows = min(MAX_ROWS, len(data.classes))
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(
        (rows * columns, data.channels, data.size, data.size), generator=generator
    ).to(run.device)
    field: LearnedField | GuidedField = run.ema
    if run.config.classes:
        y = torch.arange(rows, device=run.device).repeat_interleave(columns)
        field = GuidedField(run.ema, y, guidance)
    times = torch.tensor([0.0, path.t_max], dtype=torch.float64)
    solution = solve(field, path.start(noise), times, "midpoint", steps=10)
    images = data.from_unit(solution.states[-1].float().cpu())
    framed = torch.nn.functional.pad(images, (1, 1, 1, 1), value=255)
    framed = framed.unflatten(0, (rows, columns)).permute(0, 3, 1, 4, 2)
    return framed.flatten(2, 3).flatten(0, 1)


def png(pixels: Tensor) -> bytes:
    """Pixels (H, W, C) uint8 as a PNG file, enlarged twice."""
    array = pixels.numpy()
    image = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else np.ascontiguousarray(array))
    buffer = BytesIO()
    image.resize((2 * image.width, 2 * image.height), Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()
