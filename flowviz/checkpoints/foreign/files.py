"""Files and folders of foreign weights, opened by their content and not by their suffix.

A folder is that of a diffusers model or pipeline, or of an accelerate checkpoint: weights in
safetensors or by torch.save, whole or in shards, with config files next to them.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flowviz.bounds import shown
from flowviz.checkpoints.container import check_size, is_safetensors, read_tensors
from flowviz.checkpoints.errors import CheckpointError
from flowviz.checkpoints.foreign.pickled import read_pickled
from flowviz.checkpoints.foreign.sets import choose, is_average

MAX_BYTES = 8 * 2**30
"""Larger files are refused before they are read."""

MAX_CONFIG_BYTES = 2**20

WEIGHTS = re.compile(
    r"(?P<stem>(diffusion_pytorch_model|pytorch_model|model)(_\d+)?)"
    r"(\.(?P<variant>[\w-]+))?\.(?P<kind>safetensors|bin)(?P<index>\.index(\.(?P<listed>[\w-]+))?\.json)?"
)
"""Names of weights files; a file .index.json lists the shards of a model."""

PRECISIONS = ("", "fp32", "bf16", "fp16")
"""Variants of the same weights; the first that exists is taken."""

LATENT = ("vae", "vqvae", "movq")
"""Parts of a pipeline that generates codes of images rather than images."""

PARTS = {"unet", "scheduler"}
"""Parts of a pipeline that are read."""


@dataclass(frozen=True)
class Contents:
    """What a file or folder holds.

    Attributes:
        saved: tensors and other values in nested dicts.
        size: bytes of its files.
        config: from config.json, if any.
        scheduler: from scheduler_config.json, if any.
        others: names of sets of weights that were not read.
    """

    saved: Mapping[str, Any]
    size: int
    config: Mapping[str, Any] | None = None
    scheduler: Mapping[str, Any] | None = None
    others: tuple[str, ...] = field(default=())


def is_folder(path: Path) -> bool:
    """Whether a folder holds weights, by the names of its files."""
    return path.is_dir() and bool(_parts(path))


def read_content(content: bytes, name: str) -> Contents:
    """What the bytes of a file hold; `name` is that of the file in errors.

    Raises:
        CheckpointError: the file is damaged or no file of weights.
    """
    safe = is_safetensors(content[:9])
    saved = read_tensors(content, name) if safe else read_pickled(content, name)
    return Contents(saved, len(content))


def read_file(file: Path, name: str) -> Contents:
    """What a file holds; the tensors of a file of torch.save are not read yet.

    Raises:
        CheckpointError: the file is damaged, too large, or no file of weights.
    """
    size = file.stat().st_size
    check_size(size, name, MAX_BYTES)
    with file.open("rb") as opened:
        safe = is_safetensors(opened.read(9))
    return (
        read_content(file.read_bytes(), name) if safe else Contents(read_pickled(file, name), size)
    )


def read_folder(folder: Path, chosen: str | None) -> Contents:
    """What a folder holds, of the set of weights that `choose` takes.

    Raises:
        CheckpointError: the folder has no weights, parts that flowviz does not support, or is
            damaged.
    """
    name = folder.name
    parts = _parts(folder)
    if not parts:
        raise CheckpointError(
            f"{name} is not a folder of diffusers' UNet2DModel or of accelerate: it has no "
            "model.safetensors or diffusion_pytorch_model.safetensors."
        )
    index = _check_pipeline(folder, name)
    averaged = {part: is_average(part) for part in parts}
    part, _ = choose(averaged, chosen if chosen in parts else None, name)
    file = parts[part]
    saved, size = _read_part(file, name)
    nested = len(parts) > 1 or file.parent != folder
    config = file.parent / "config.json"
    scheduler_folders = (
        folder / "scheduler",
        file.parent.parent / "scheduler",
        folder,
        file.parent,
    )
    schedulers = [each / "scheduler_config.json" for each in scheduler_folders]
    scheduler = next((_json(path, name) for path in schedulers if path.is_file()), None)
    if isinstance(index.get("scheduler"), list):
        scheduler = {"_class_name": index["scheduler"][-1]} | (scheduler or {})
    return Contents(
        saved={part: saved} if nested else saved,
        size=size,
        config=_json(config, name) if config.is_file() else None,
        scheduler=scheduler,
        others=tuple(other for other in parts if other != part),
    )


def _parts(folder: Path) -> dict[str, Path]:
    """The files of weights, or the lists of their shards, in a folder by the name of their set."""
    parts: dict[str, Path] = {}
    inner = sorted(path for path in folder.glob("*unet*") if path.is_dir())
    for subfolder in (folder, *inner):
        best: dict[str, tuple[tuple[int, bool, bool], Path]] = {}
        for file in sorted(subfolder.iterdir()):
            match = WEIGHTS.fullmatch(file.name)
            if match and file.is_file():
                variant = match["variant"] or match["listed"] or ""
                precision = variant in PRECISIONS
                called = match["stem"] if precision else f"{match['stem']}.{variant}"
                order = PRECISIONS.index(variant) if precision else 0
                rank = (order, match["kind"] == "bin", bool(match["index"]))
                best[called] = min(best.get(called, (rank, file)), (rank, file))
        for called, (_, file) in best.items():
            inside = subfolder.name if len(best) == 1 else f"{subfolder.name}.{called}"
            parts[called if subfolder == folder else inside] = file
    return parts


def _read_part(file: Path, name: str) -> tuple[Mapping[str, Any], int]:
    """What a file or the shards of a list hold, and their bytes."""
    if file.suffix != ".json":
        contents = read_file(file, name)
        return contents.saved, contents.size
    weight_map = _json(file, name).get("weight_map")
    shards = set(weight_map.values()) if isinstance(weight_map, dict) else set()
    saved: dict[str, Any] = {}
    size = 0
    for shard in sorted(shards, key=str):
        if not isinstance(shard, str) or Path(shard).name != shard:
            raise CheckpointError(f"{name} lists the shard {shown(shard)}, which is no file name.")
        if not (file.parent / shard).is_file():
            raise CheckpointError(f"{name} lacks its shard {shown(shard)}; download it as well.")
        contents = read_file(file.parent / shard, name)
        saved |= contents.saved
        size += contents.size
        check_size(size, name, MAX_BYTES)
    return saved, size


def _check_pipeline(folder: Path, name: str) -> Mapping[str, Any]:
    """model_index.json, after a check that the U-Net alone generates images; {} without it."""
    root = folder.parent if folder.name.startswith("unet") else folder
    file = root / "model_index.json"
    index = _json(file, name) if file.is_file() else {}
    parts = {
        key: value
        for key, value in index.items()
        if isinstance(value, list) and any(value) and key not in PARTS
    }
    latent = [part for part in LATENT if part in parts or (root / part).is_dir()]
    if latent:
        raise CheckpointError(
            f"{name} is a latent model: its U-Net generates codes that {latent[0]} decodes. "
            "flowviz supports models of pixels."
        )
    if parts:
        part = next(iter(parts))
        raise CheckpointError(
            f"{name} has the part {shown(part)} of class {shown(parts[part][-1])}, which flowviz "
            "does not support; it reads a U-Net with its scheduler."
        )
    return index


def _json(path: Path, name: str) -> dict[str, Any]:
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise CheckpointError(f"{name} has a {path.name} larger than 1 MB.")
    try:
        entries = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{name} has a {path.name} that is not JSON.") from error
    if not isinstance(entries, dict):
        raise CheckpointError(f"{name} has a {path.name} that is not a config.")
    return entries
