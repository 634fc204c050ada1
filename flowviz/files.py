"""Atomic writing of files, used for every file that flowviz writes.

A file is written next to its final place and then moved there in one step, so that a reader (or a
crash) never meets half of it.
"""

import errno
import os
import re
import secrets
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PACKED = Path(__file__).resolve().parent / "project"

PROJECT = _PACKED if _PACKED.is_dir() else _PACKED.parents[1]
"""The folder with app.py, pages and checkpoints: the repository, or its copy in a wheel."""


try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None


STALE = 3_600.0
"""Seconds after which the draft of a file belongs to a process that was killed."""


class TargetError(ValueError):
    """A path at which no file can be written."""


FULL = (errno.ENOSPC, errno.EDQUOT)

CAUSES = {
    **dict.fromkeys(FULL, "the disk is full"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "the folder is read-only"),
}


NUMPY_ERRORS = (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error)
"""What reading a damaged .npz file, or one of another kind, may raise."""


def cause(error: OSError | TargetError) -> str:
    """Why a file was not written, in a few words without its path, which visitors do not need."""
    if isinstance(error, TargetError):
        return CAUSES[errno.EROFS]
    return CAUSES.get(error.errno or 0, "the disk reports an error")


def check_target(path: str | Path, *suffixes: str) -> Path:
    """Returns `path` after a check that a file, of one of `suffixes` if any, can be written there.

    Raises:
        TargetError: the folder is missing or read-only, `path` is a folder or has another suffix.
    """
    path = Path(path)
    if path.is_dir():
        raise TargetError(f"{path} is a folder; name a file in it.")
    if not path.parent.is_dir():
        raise TargetError(f"The folder {path.parent} does not exist; create it first.")
    if not os.access(path.parent, os.W_OK):
        raise TargetError(f"The folder {path.parent} cannot be written to.")
    if suffixes and path.suffix not in suffixes:
        raise TargetError(f"The file must end in {' or '.join(suffixes)}; got {path.name!r}.")
    return path


@contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Locks a file for the block, if the file system supports locks.

    The system releases the lock when the process ends.

    Raises:
        ValueError: another process holds it.
    """
    path = Path(path)
    with path.open() as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(
                    f"Another process uses {path.parent}; end it first, or wait until it "
                    "has saved."
                ) from None
            except OSError:
                pass  # some network file systems have no locks
        yield


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary file in the folder of `path`, moved to `path` when the block succeeds.

    Raises:
        TargetError: see `check_target`.
        OSError: the disk is full or does not answer; an old file is kept. A full disk's error has
            the name of `path`.
    """
    path = check_target(path)
    _remove_drafts(path)
    draft = path.parent / f".{path.name}.{secrets.token_hex(8)}"
    try:
        draft.touch(exist_ok=False)  # with the permissions of any new file
        mode = (path if path.exists() else draft).stat().st_mode & 0o777
        yield draft
        sync(draft)
        draft.chmod(mode)
        os.replace(draft, path)
    except OSError as error:
        if error.errno in FULL:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        draft.unlink(missing_ok=True)


def _remove_drafts(path: Path) -> None:
    """Deletes the drafts of a file that killed processes left, if they are older than STALE."""
    for draft in path.parent.iterdir():
        if re.fullmatch(rf"\.{re.escape(path.name)}\.[0-9a-f]{{16}}", draft.name):
            with suppress(OSError):
                if time.time() - draft.stat().st_mtime > STALE:
                    draft.unlink()


def home(folder: str) -> Path:
    """A folder of the files that visitors store: in FLOWVIZ_HOME, by default ~/.cache/flowviz."""
    chosen = os.environ.get("FLOWVIZ_HOME")
    return (Path(chosen) if chosen else Path.home() / ".cache" / "flowviz") / folder


@contextmanager
def storing(
    path: Path, pattern: str, max_bytes: int, refusal: Callable[[str], ValueError]
) -> Iterator[None]:
    """A block that writes a visitor's file; afterwards its folder is pruned, see `prune`.

    Args:
        path: of the file; its folder is created.
        pattern: of the files that make room for it.
        max_bytes: of these files together.
        refusal: makes the error from the reason for which nothing was written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except (OSError, TargetError) as error:
        raise refusal(cause(error)) from error
    prune(path.parent, pattern, max_bytes)


def mark_used(path: Path) -> None:
    """Makes a file the most recently used one for `prune`; a read-only folder is not pruned."""
    with suppress(OSError):
        os.utime(path)


def prune(folder: Path, pattern: str, max_bytes: int) -> None:
    """Deletes the least recently used files of a folder beyond a size in bytes."""
    files = []
    for file in folder.glob(pattern):
        with suppress(OSError):  # another process may have deleted it
            status = file.stat()
            files.append((status.st_mtime_ns, status.st_size, file))
    total = 0
    for _, size, file in sorted(files, reverse=True):
        total += size
        if total > max_bytes:
            with suppress(OSError):
                file.unlink()


def sync(path: Path) -> None:
    """Returns when the content of a file is on the disk; a full one may refuse it only then."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def write_bytes(path: str | Path, content: bytes) -> None:
    """Writes `content` to `path` in one step, after it has been read back.

    Raises:
        OSError: it differs when it is read back, or the disk is full; an old file is kept.
    """
    with replacing(path) as draft:
        draft.write_bytes(content)
        if draft.read_bytes() != content:
            reason = "The file differs when it is read back; the old one is kept"
            raise OSError(errno.EIO, reason, str(path))


def write_text(path: str | Path, content: str) -> None:
    """Writes `content` to `path` as UTF-8 in one step."""
    write_bytes(path, content.encode())


class _Written:
    """A file of which NumPy sees only `write`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, data: bytes, /) -> int:
        """Writes data to the file."""
        return self._file.write(data)


def read_array(path: str | Path) -> "NDArray":
    """The array in a file in NumPy's .npy format; an archive (.npz) is refused.

    Raises:
        ValueError: the file is damaged or of another kind.
        OSError: the file cannot be read.
    """
    import numpy as np  # here, so that commands answer --help without it

    with Path(path).open("rb") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def write_array(path: str | Path, array: "NDArray") -> None:
    """Writes `array` to `path` in NumPy's .npy format in one step, for any suffix."""
    import numpy as np  # here, so that commands answer --help without it

    with replacing(path) as draft, draft.open("wb") as file:
        # Into an open file NumPy writes with C, whose error does not say that the disk is full.
        np.save(_Written(file), array, allow_pickle=False)
