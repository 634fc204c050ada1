"""Measurements of an image checkpoint, kept in NAME.quality.json next to its weights."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flowviz.checkpoints.errors import CheckpointError
from flowviz.checkpoints.images.files import locate_images, read_image_card
from flowviz.files import write_text


def quality_file(name: str | Path) -> Path:
    """The file of a checkpoint's measurements, NAME.quality.json next to its weights.

    Raises:
        CheckpointError: there is no such checkpoint, or it has no card.
    """
    path = locate_images(name)
    read_image_card(path)
    return path.with_suffix(".quality.json")


def read_quality(name: str | Path) -> dict[str, Any]:
    """The measurements in NAME.quality.json; empty without such a file.

    Raises:
        CheckpointError: the file is damaged or belongs to other weights.
    """
    path = locate_images(name)
    file = path.with_suffix(".quality.json")
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text())
        owner = content["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{file.name} is damaged.") from error
    if owner != read_image_card(path).sha256:
        raise CheckpointError(
            f"{file.name} was measured of other weights than {path.name}'s; measure again."
        )
    return content


def write_quality(name: str | Path, quality: Mapping[str, Any]) -> Path:
    """Writes measurements next to a checkpoint with the sha256 of its weights; returns their file.

    Raises:
        CheckpointError: there is no such checkpoint, or `quality` has the sha256 of other weights.
    """
    file = quality_file(name)
    owner = read_image_card(locate_images(name)).sha256
    if quality.get("sha256", owner) != owner:
        raise CheckpointError(
            f"{name} was replaced by other weights while it was measured; measure again."
        )
    content = {"sha256": owner} | dict(quality)
    write_text(file, json.dumps(content, indent=1, allow_nan=False) + "\n")
    return file
