"""What a run on images writes while it trains: snapshots of its weights and grids of samples."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray

from flowviz.datasets.images import montage
from flowviz.fields import LearnedField
from flowviz.fields.guided import GuidedField
from flowviz.solvers import solve

if TYPE_CHECKING:
    from flowviz.training.images import ImageRun

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
    metadata = json.dumps({"step": run.step, "config": asdict(run.config)})
    return safetensors.torch.save(weights, {run.config.FORMAT: metadata})


@torch.no_grad()
def sample_grid(run: "ImageRun", *, columns: int = 8, guidance: float = 2.0) -> NDArray[np.uint8]:
    """Samples of the averaged weights, (height, width, C) uint8.

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
    solution = solve(field, path.start(noise), path.clock(2), "midpoint", steps=10)
    images = data.from_unit(solution.states[-1].float().cpu()).numpy()
    return montage(images, columns)
