"""The safetensors container: an 8-byte header length, a JSON header, then the tensors' bytes.

Format: https://github.com/huggingface/safetensors#format
"""

import hashlib
import json
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from flowviz.bounds import shown
from flowviz.checkpoints.cards import KEY, Entries
from flowviz.checkpoints.errors import CheckpointError
from flowviz.files import replacing, sync

MAX_HEADER_BYTES = 2**20
MAX_LENGTH = 2**32
"""Of a header that is still recognised as one, although it is refused as too long."""

PRECISIONS = {"float16": torch.float16, "float32": torch.float32}

C = TypeVar("C", bound=Entries)


def is_safetensors(start: bytes) -> bool:
    """Whether a file with these first bytes is a safetensors file.

    The JSON brace behind the header's length decides. The bytes of the length may have any value,
    also those with which a pickle (0x80) or a zip archive ("PK") begins. In these the ninth byte
    is no brace, or the first eight exceed MAX_LENGTH.
    """
    return start[8:9] == b"{" and 2 <= int.from_bytes(start[:8], "little") <= MAX_LENGTH


def is_pickle(start: bytes) -> bool:
    """Whether a file with these first bytes is a pickle or a zip archive such as torch.save's."""
    return not is_safetensors(start) and (start[:2] == b"PK" or start[:1] == b"\x80")


def read_start(path: Path) -> bytes:
    """The bytes of a safetensors file up to the end of its header.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(9)
        if is_safetensors(start):
            start += file.read(min(int.from_bytes(start[:8], "little"), MAX_HEADER_BYTES) - 1)
        return start


def read_header(content: bytes, source: str) -> dict[str, Any]:
    """The header of a safetensors file, from the file's first bytes (the header or more).

    Raises:
        CheckpointError: these are not the first bytes of a safetensors file.
    """
    if is_pickle(content[:9]):
        raise CheckpointError(pickle_sentence(source))
    if not is_safetensors(content[:9]):
        raise CheckpointError(f"{source} is not a safetensors file.")
    length = int.from_bytes(content[:8], "little")
    if length > MAX_HEADER_BYTES:
        raise CheckpointError(f"{source} is not a safetensors file: its header exceeds 1 MB.")
    if len(content) < 8 + length:
        raise CheckpointError(f"{source} is truncated: it ends within its header.")
    try:
        header = json.loads(content[8 : 8 + length])
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{source} is damaged: its header is not valid JSON.") from error
    if not isinstance(header, dict) or not isinstance(header.get("__metadata__", {}), dict):
        raise CheckpointError(
            f"{source} is damaged: its header is not that of a safetensors file."
        )
    return header


def is_own(start: bytes) -> bool:
    """Whether flowviz wrote a file with these first bytes, its header or more.

    Raises:
        CheckpointError: its header is damaged.
    """
    if not is_safetensors(start[:9]):
        return False
    metadata = read_header(start, "the file").get("__metadata__", {})
    return any(key.startswith("flowviz") for key in metadata)


def card_within(kind: type[C], content: bytes, source: str) -> C | None:
    """The card in the header of a safetensors file, from its first bytes; None without a card.

    Raises:
        CheckpointError: these are no safetensors file, or its card is invalid.
    """
    text = read_header(content, source).get("__metadata__", {}).get(KEY)
    return None if text is None else kind.from_json(text, f"inside {source}")


def read_tensors(content: bytes, source: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        CheckpointError: the bytes are not those of a whole safetensors file.
    """
    header = read_header(content, source)
    length = 8 + int.from_bytes(content[:8], "little")
    ends = [
        entry["data_offsets"][1]
        for key, entry in header.items()
        if key != "__metadata__" and isinstance(entry, dict) and _has_offsets(entry)
    ]
    if ends and len(content) < length + max(ends):
        raise CheckpointError(
            f"{source} is truncated: it has {len(content)} of {length + max(ends)} bytes."
        )
    try:
        return safetensors.torch.load(content)
    except (SafetensorError, KeyError) as error:
        reason = str(error).strip().rstrip(".")
        raise CheckpointError(f"{source} is damaged ({reason}).") from error


def check_size(size: int, source: str, limit: int) -> None:
    """Refuses a file of `size` bytes if that exceeds `limit`, before it is read.

    Raises:
        CheckpointError: it does; the message names the file as `source`.
    """
    if size > limit:
        unit, digits = (2**30, "GB") if limit >= 2**30 else (2**20, "MB")
        raise CheckpointError(
            f"{source} has {size / unit:.0f} {digits}; it must have at most {limit / unit:.0f}."
        )


def check_fit(
    expected: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    source: str,
    *,
    network: str = "the card's network",
) -> None:
    """Refuses tensors that are not finite weights of the expected names and shapes.

    Args:
        expected: state dict of a network, which may be on the meta device. Integer counters in it
            are ignored, since no file has them.
        tensors: read from a file, in float16 or float32.
        source: names the file in errors.
        network: names the network in errors.

    Raises:
        CheckpointError: a tensor is missing, unknown, of another shape or type, or not finite.
    """
    shapes = {key: tuple(v.shape) for key, v in expected.items() if v.is_floating_point()}
    differing = sorted(shapes.keys() ^ tensors.keys())
    if differing:
        problem = "lacks" if differing[0] in shapes else "has an unknown tensor"
        raise CheckpointError(
            f"{source} {problem} {shown(differing[0])}: its weights are not of {network}."
        )
    for key, shape in shapes.items():
        tensor = tensors[key]
        if tuple(tensor.shape) != shape:
            raise CheckpointError(
                f"{source} has {shown(key)} of shape {shown(tuple(tensor.shape))} where {network} "
                f"has {shape}."
            )
        if tensor.dtype not in PRECISIONS.values():
            raise CheckpointError(
                f"{source} has {shown(key)} of type {str(tensor.dtype).removeprefix('torch.')}; "
                "weights must be float16 or float32."
            )
        if not tensor.isfinite().all():
            raise CheckpointError(f"{source} has weights {shown(key)} that are not finite.")


def digest(tensors: Mapping[str, Tensor]) -> str:
    """The sha256 over name, type, shape and bytes of each tensor, in the order of the names."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def read_checked(content: bytes, card: Entries, source: str) -> dict[str, Tensor]:
    """The tensors of a file, after a check that they have the sha256 that the card states.

    Raises:
        CheckpointError: they do not, or the file is damaged.
    """
    tensors = read_tensors(content, source)
    if digest(tensors) != card.sha256:
        raise CheckpointError(
            f"The weights in {source} do not have the sha256 that the card states: the file was "
            "changed or damaged, or the card belongs to other weights."
        )
    return tensors


def pack(weights: Mapping[str, Tensor], card: C, precision: str) -> tuple[dict[str, Tensor], C]:
    """The weights in a precision on the CPU, and the card with their sha256.

    Raises:
        CheckpointError: a weight is not finite in that precision, or the card is invalid.
    """
    if precision not in PRECISIONS:
        raise CheckpointError(f"precision must be float16 or float32; got {precision!r}.")
    tensors = {
        name: tensor.detach().to("cpu", PRECISIONS[precision]).contiguous()
        for name, tensor in weights.items()
    }
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise CheckpointError(f"The weights {name} are not finite in {precision}.")
    card = replace(card, sha256=digest(tensors))
    return tensors, card.from_json(card.to_json(), "to write")


def write(path: Path, tensors: Mapping[str, Tensor], card: Entries) -> None:
    """Writes a checkpoint, and its card as a .json file of the same name.

    Both are on the disk, and the weights have been read back, before an old file is replaced.
    """
    card_file = path.with_suffix(".json")
    with replacing(card_file) as text, replacing(path) as draft:
        text.write_text(card.to_json(), encoding="utf-8")
        _write_draft(draft, path.name, tensors, {KEY: card.to_json()})
        sync(text)
        sync(draft)
        # Between the two moves there is no card next to the weights, never one of other weights.
        card_file.unlink(missing_ok=True)


def write_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Writes a safetensors file, which is read back before it replaces an old one."""
    with replacing(path) as draft:
        _write_draft(draft, Path(path).name, tensors, metadata)


def commit() -> str:
    """The git commit of the working copy that flowviz runs from; "" outside of one."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip()


def pickle_sentence(source: str) -> str:
    """Why a pickle is refused where a checkpoint of flowviz is expected."""
    return (
        f"flowviz never unpickles a file, since a pickle can run any code: {source} is not a "
        ".safetensors checkpoint."
    )


def _write_draft(
    draft: Path, name: str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    tensors = {key: tensor.contiguous() for key, tensor in tensors.items()}
    draft.write_bytes(safetensors.torch.save(tensors, dict(metadata)))
    content = draft.read_bytes()
    written = read_tensors(content, name)
    if (
        digest(written) != digest(tensors)
        or read_header(content, name).get("__metadata__") != metadata
    ):
        raise CheckpointError(
            f"{name} was not written: it differs when read back. The old file is kept; check the "
            "disk."
        )


def _has_offsets(entry: Mapping[str, Any]) -> bool:
    offsets = entry.get("data_offsets")
    return (
        isinstance(offsets, list)
        and len(offsets) == 2
        and all(type(end) is int for end in offsets)
    )
