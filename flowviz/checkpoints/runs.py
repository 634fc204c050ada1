"""Saved training states of the plane, from which a run resumes to the same bits."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from flowviz.checkpoints.container import digest, read_header, read_tensors, write_tensors
from flowviz.checkpoints.errors import CheckpointError

FORMAT = "flowviz-run"
KEY = "flowviz-run"
SUFFIX = ".run"
"""Of a file in the safetensors format that is not listed as a checkpoint."""


@dataclass(frozen=True)
class Run:
    """Saved training state.

    Attributes:
        training: entries of the training config.
        tensors: of the state, by name.
        seconds: training time so far.
        plans: see `Card.plans`.
    """

    training: dict[str, Any]
    tensors: dict[str, Tensor]
    seconds: float
    plans: tuple[tuple[int, int], ...] = ()


def run_file(path: str | Path) -> Path:
    """The file of the run with the checkpoint `path`, which may omit .safetensors."""
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
    """Writes a run to `path` in one step, after it has been read back.

    Raises:
        CheckpointError: the file differs when it is read back; an old one is kept.
    """
    header = {
        "format": FORMAT,
        "version": 1,
        "training": dict(training),
        "seconds": seconds,
        "plans": plans,
        "sha256": digest(tensors),
    }
    write_tensors(path, tensors, {KEY: json.dumps(header)})


def load_run(path: str | Path) -> Run:
    """The run that `save_run` wrote to `path`.

    Raises:
        CheckpointError: the file is missing, damaged, or not a saved run.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"There is no run to resume: {path} does not exist.")
    content = path.read_bytes()
    tensors = read_tensors(content, path.name)
    text = read_header(content, path.name).get("__metadata__", {}).get(KEY)
    try:
        header = json.loads(text or "null")
    except ValueError as error:
        raise CheckpointError(f"{path.name} is damaged: its header is not JSON.") from error
    if not isinstance(header, dict) or (header.get("format"), header.get("version")) != (
        FORMAT,
        1,
    ):
        raise CheckpointError(f"{path.name} is not a saved training run of this flowviz.")
    if digest(tensors) != header.get("sha256"):
        raise CheckpointError(
            f"{path.name} is damaged: its tensors do not have the stated sha256."
        )
    try:
        plans = tuple((int(step), int(steps)) for step, steps in header["plans"])
        return Run(dict(header["training"]), tensors, float(header["seconds"]), plans)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path.name} is damaged: its header lacks an entry.") from error
