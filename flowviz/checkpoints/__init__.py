"""Checkpoints of the plane: weights with a card, read from files that are not trusted.

A checkpoint is one file, NAME.safetensors, with the tensors and, in its header, the card.
NAME.json next to it is a copy of the card for people and other programs. Nothing is unpickled. An
invalid file raises `CheckpointError` with one sentence.
"""

from flowviz.checkpoints.cards import Card
from flowviz.checkpoints.errors import CheckpointError
from flowviz.checkpoints.lookup import (
    FOLDER,
    checkpoint_file,
    file_in,
    find,
    folders,
    listing,
    names,
    read_card,
)
from flowviz.checkpoints.runs import Run, load_run, run_file, save_run
from flowviz.checkpoints.weights import (
    Checkpoint,
    describe,
    dumps,
    load,
    rewrite_quality,
    save,
)

__all__ = [
    "FOLDER",
    "Card",
    "Checkpoint",
    "CheckpointError",
    "Run",
    "checkpoint_file",
    "describe",
    "dumps",
    "file_in",
    "find",
    "folders",
    "listing",
    "load",
    "load_run",
    "names",
    "read_card",
    "rewrite_quality",
    "run_file",
    "save",
    "save_run",
]
