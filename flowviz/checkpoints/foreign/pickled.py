"""Files of torch.save, read without executing anything in them.

torch.save writes a zip archive with a pickle, data.pkl, and one entry of raw bytes for each
storage of tensors (https://docs.pytorch.org/docs/stable/notes/serialization.html). `Machine`
interprets the pickle; the storages are read directly.
"""

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from torch import Tensor

from flowviz.bounds import shown
from flowviz.checkpoints.errors import CheckpointError
from flowviz.checkpoints.foreign.opcodes import FIX, Machine, Skipped, StoredTensor

MAX_PICKLE_BYTES = 16 * 2**20
MAX_DIRECTORY_BYTES = 8 * 2**20
"""Of a zip archive's table of contents: more than 80,000 entries."""

DAMAGE = (
    *(zipfile.BadZipFile, RuntimeError, EOFError, OSError, ValueError, TypeError),
    *(LookupError, AttributeError, ArithmeticError),
)
"""Exceptions of `zipfile` and `Machine` for a damaged file."""


def read_pickled(source: Path | bytes, name: str) -> dict[str, Any]:
    """The dict in a file of torch.save; the values of its tensors stay in the file.

    Args:
        source: path or content of the file.
        name: of the file in errors.

    Raises:
        CheckpointError: the file is damaged, names code to run, or holds no dict.
    """
    try:
        with _opened(source, name) as archive:
            entries = archive.namelist()
            pickles = [entry for entry in entries if entry.endswith("/data.pkl")]
            if len(pickles) != 1 or archive.getinfo(pickles[0]).file_size > MAX_PICKLE_BYTES:
                raise ValueError("no data.pkl of a valid size")
            folder = pickles[0].removesuffix("data.pkl")
            order = f"{folder}byteorder"
            if order in entries and archive.read(order) != b"little":
                raise CheckpointError(f"{name} was written by a big-endian machine. {FIX}")
            content = archive.read(pickles[0])
        saved = Machine(source, folder, name).run(content)
    except CheckpointError:
        raise
    except DAMAGE as error:
        raise CheckpointError(
            f"{name} is damaged or truncated, or is not a file of weights. {FIX}"
        ) from error
    if not isinstance(saved, dict):
        kind = saved.name if isinstance(saved, Skipped) else type(saved).__name__
        raise CheckpointError(
            f"{name} holds no weights by name but an object of type {shown(kind)}. {FIX}"
        )
    return saved


def read_stored(tensors: Mapping[str, StoredTensor], name: str) -> dict[str, Tensor]:
    """The values of tensors, by the same names. Each storage is read once.

    Raises:
        CheckpointError: a file is damaged; `name` names it.
    """
    values: dict[str, Tensor] = {}
    archives = {id(tensor.archive): tensor.archive for tensor in tensors.values()}
    for key, source in archives.items():
        length = len(source) if isinstance(source, bytes) else source.stat().st_size
        inside = {name: each for name, each in tensors.items() if id(each.archive) == key}
        used = {tensor.entry for tensor in inside.values()}
        try:
            with _opened(source, name) as archive:
                if sum(archive.getinfo(entry).file_size for entry in used) > length:
                    raise ValueError("the storages exceed the file")
                storages = {entry: bytearray(archive.read(entry)) for entry in used}
            values |= {key: tensor.view(storages[tensor.entry]) for key, tensor in inside.items()}
        except CheckpointError:
            raise
        except DAMAGE as error:
            raise CheckpointError(f"{name} is damaged: its weights cannot be read.") from error
    return values


@contextmanager
def _opened(source: Path | bytes, name: str) -> Iterator[zipfile.ZipFile]:
    """The archive, after a check that torch.save may have written it.

    Raises:
        CheckpointError: it is something else.
    """
    with BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        start = file.read(2)
        # zipfile reads the whole table of contents, so its size is checked before.
        # The stubs leave out the private functions of zipfile.
        read_end = zipfile._EndRecData  # pyright: ignore[reportAttributeAccessIssue]
        end = read_end(file) if start == b"PK" else None
        if end is None and start[:1] == b"\x80":
            raise CheckpointError(
                f"flowviz never unpickles a file, since a pickle can run any code: {name} is a "
                f"bare pickle, not an archive of torch.save of PyTorch 1.6 or newer. {FIX}"
            )
        if end is None:
            problem = "damaged or truncated" if start == b"PK" else "not a file of weights"
            raise CheckpointError(f"{name} is {problem}. {FIX}")
        size = zipfile._ECD_SIZE  # pyright: ignore[reportAttributeAccessIssue]
        if end[size] > MAX_DIRECTORY_BYTES:
            raise CheckpointError(f"{name} has too many entries for a file of weights. {FIX}")
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            if any("/code/" in entry.filename for entry in entries):
                raise CheckpointError(f"{name} is a TorchScript archive, which is code. {FIX}")
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise CheckpointError(f"{name} is compressed, which torch.save never does. {FIX}")
            yield archive
