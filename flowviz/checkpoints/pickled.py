"""PyTorch's own files, read for their tensors alone: nothing in them is executed."""

import argparse
import pickle
import re
import threading
import warnings
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from flowviz.checkpoints.cards import CheckpointError, shown

__all__ = ["check_tensors", "read_pickled"]

DAMAGE = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError, OSError, AssertionError),
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError, ImportError),
)
"""What PyTorch's restricted reader raises on bytes that it did not write."""

REAL = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Types of weights; PyTorch cannot tell of all others whether they are finite."""

ALLOWED = [argparse.Namespace]
"""What the reader is let make beyond its own list."""

LOCK = threading.Lock()
"""Held by the one reader at a time: what it is let make is told to PyTorch for the process."""

GLOBAL = re.compile(r"GLOBAL (\S+)")


def read_pickled(source: Path | bytes, name: str) -> dict[str, Any]:
    """The dict in a file of torch.save, by PyTorch's reader of tensors and plain values alone.

    That reader calls nothing that a file names, but for what makes tensors and plain containers;
    beyond its own list it is let make an `argparse.Namespace`, the bag of options that
    facebookresearch/flow_matching saves beside its weights. Tensors of a file on the disk stay
    there until they are used.

    Raises:
        CheckpointError: the file is damaged, holds no dict, or needs code to be run.
    """
    content = BytesIO(source) if isinstance(source, bytes) else source
    _check_archive(content, name)
    try:
        if isinstance(content, BytesIO):
            content.seek(0)
        # The reader warns of pickles that torch.save did not write; they are judged by what is
        # in them, as all are.
        with LOCK, warnings.catch_warnings(), torch.serialization.safe_globals(ALLOWED):
            warnings.simplefilter("ignore")
            saved = torch.load(
                content,
                map_location="cpu",
                weights_only=True,
                mmap=not isinstance(content, BytesIO),
            )
    except DAMAGE as error:
        raise CheckpointError(_sentence(error, name)) from error
    if not isinstance(saved, dict) or not all(isinstance(key, str) for key in saved):
        raise CheckpointError(f"{name} holds no weights by name.")
    return saved


def check_tensors(tensors: dict[str, Any], size: int, name: str) -> dict[str, Tensor]:
    """`tensors`, after a check that they are finite numbers that lie in a file of `size` bytes.

    Raises:
        CheckpointError: an entry is something else, or they claim more memory than the file has.
    """
    for key, tensor in tensors.items():
        if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or tensor.is_nested:
            raise CheckpointError(f"{name} has an entry {shown(key)} that is not a plain tensor.")
        if tensor.dtype not in REAL or tensor.device.type != "cpu":
            raise CheckpointError(
                f"{name} has weights {shown(key)} that are not real numbers of 16 bits or more."
            )
    if sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) > size:
        raise CheckpointError(f"{name} claims more weights than it holds.")
    for key, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise CheckpointError(f"{name} has weights {shown(key)} that are not finite.")
    return tensors


def _check_archive(content: Path | BytesIO, name: str) -> None:
    """Refuses what is not the plain zip archive of torch.save, before PyTorch sees it."""
    try:
        with zipfile.ZipFile(content) as archive:
            entries = archive.infolist()
    except DAMAGE as error:
        start = content.getvalue()[:2] if isinstance(content, BytesIO) else _start(content)
        if start[:1] == b"\x80":
            raise CheckpointError(
                f"flowviz never unpickles a file, since a pickle can run any code: {name} is a "
                "bare pickle, not an archive of torch.save (PyTorch 1.6 or newer)."
            ) from error
        what = "damaged or truncated" if start == b"PK" else "not a file of weights"
        raise CheckpointError(
            f"{name} is {what}: torch.save or safetensors must have written it; save a state_dict "
            "once more."
        ) from error
    if any("/code/" in entry.filename for entry in entries):
        raise CheckpointError(
            f"{name} is a TorchScript archive, which is code; flowviz reads weights alone."
        )
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise CheckpointError(f"{name} is compressed, which torch.save never does; unpack it.")


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(2)


def _sentence(error: BaseException, name: str) -> str:
    text = str(error)
    if isinstance(error, pickle.UnpicklingError):
        found = GLOBAL.search(text)
        what = f"; it asks for {found[1]}" if found else ""
        return (
            f"flowviz reads tensors and runs no code of a file, but {name} needs more than that"
            f"{what}. Save its state_dict by itself."
        )
    return f"{name} is damaged or truncated, or is not a file of weights."
