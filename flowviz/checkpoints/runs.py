"""Runs: a training run on disk, to go on with to the bit."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from flowviz.checkpoints.cards import CheckpointError, read_header
from flowviz.checkpoints.weights import digest, read_tensors
from flowviz.files import write_bytes

__all__ = ["Run", "load_run", "run_file", "save_run"]

FORMAT = "flowviz-run"
KEY = "flowviz-run"
SUFFIX = ".run"
"""Not .safetensors, so that a run is not listed as a checkpoint; inside it is that format."""


@dataclass(frozen=True)
class Run:
    """A training run at rest.

    Attributes:
        training: the entries of its training config.
        tensors: its state, by name.
        seconds: of training so far.
        plans: see `Card.plans`.
    """

    training: dict[str, Any]
    tensors: dict[str, Tensor]
    seconds: float
    plans: tuple[tuple[int, int], ...] = ()


def run_file(path: str | Path) -> Path:
    """The file of the run whose checkpoint is `path`, with or without .safetensors."""
    path = Path(path)
    stem = path.stem if path.suffix == ".safetensors" else path.name
    return path.with_name(stem + SUFFIX)


def save_run(
    path: str | Path,
    training: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    *,
    seconds: float,
    plans: tuple[tuple[int, int], ...] = (),
) -> None:
    """Writes a run to `path` in one step."""
    about = {
        "format": FORMAT,
        "version": 1,
        "training": dict(training),
        "seconds": seconds,
        "plans": plans,
        "sha256": digest(tensors),
    }
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    write_bytes(path, safetensors.torch.save(contiguous, {KEY: json.dumps(about)}))


def load_run(path: str | Path) -> Run:
    """The run that `save_run` wrote to `path`.

    Raises:
        CheckpointError: it is not there, damaged, or something else.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"There is no run to resume: {path} does not exist.")
    content = path.read_bytes()
    tensors = read_tensors(content, path.name)
    text = read_header(content, path.name).get("__metadata__", {}).get(KEY)
    try:
        about = json.loads(text or "null")
    except ValueError as error:
        raise CheckpointError(f"{path.name} is damaged: its header is not JSON.") from error
    if not isinstance(about, dict) or (about.get("format"), about.get("version")) != (FORMAT, 1):
        raise CheckpointError(f"{path.name} is not a saved training run of this flowviz.")
    if digest(tensors) != about.get("sha256"):
        raise CheckpointError(
            f"{path.name} is damaged: its tensors do not have the stated sha256."
        )
    try:
        plans = tuple((int(step), int(steps)) for step, steps in about["plans"])
        return Run(dict(about["training"]), tensors, float(about["seconds"]), plans)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path.name} is damaged: its header lacks an entry.") from error
