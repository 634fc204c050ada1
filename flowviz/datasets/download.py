"""Downloads of image sets from their authors' servers, resumable and verified by checksum."""

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CHUNK = 2**18
"""Bytes that are read at once."""

TIMEOUT = 30.0
"""Seconds without a byte after which a download fails."""


@dataclass(frozen=True)
class Download:
    """A file to download.

    Attributes:
        url: its address.
        file: its path in the data folder, where the reader of the set looks for it.
        md5: the checksum that its authors publish.
        size: number of bytes.
    """

    url: str
    file: str
    md5: str
    size: int


def download(
    entry: Download, folder: str | Path, *, url: str | None = None
) -> Iterator[tuple[int, int]]:
    """Downloads a file into a folder, yielding (bytes so far, bytes in total).

    Incomplete files have the additional suffix .part, from which a later call continues. The file
    gets its name when it is complete and has its checksum. Nothing is requested if it exists.

    Args:
        entry: which file.
        folder: the data folder; created if it does not exist.
        url: another address of the same file.

    Raises:
        ValueError: the server cannot be reached or the connection is lost (the .part file stays),
            or the content is wrong (the .part file is deleted).
    """
    url = url or entry.url
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"The address must begin with https:// or http://; got {url!r}.")
    target = Path(folder) / entry.file
    if target.exists():
        if md5_of(target) != entry.md5:
            raise ValueError(f"{target} is damaged; delete it and download it again.")
        yield entry.size, entry.size
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    try:
        yield from _fetch(url, part, entry.size)
    except urllib.error.HTTPError as error:
        raise ValueError(f"{url} answers {error.code} ({error.reason}).") from error
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, OSError) and error.filename:
            raise  # of the disk, not of the network
        done = part.stat().st_size if part.exists() else 0
        reason = getattr(error, "reason", None) or error
        raise ValueError(
            f"{url} cannot be reached or broke off ({reason or type(error).__name__}); "
            f"{done:,} bytes are saved. Go online and repeat the command, or copy "
            f"{entry.file} into {folder}."
        ) from error
    if part.stat().st_size < entry.size:
        raise ValueError(
            f"{url} broke off after {part.stat().st_size:,} of {entry.size:,} bytes; repeat the "
            "command to continue."
        )
    actual = md5_of(part)
    if actual != entry.md5:
        part.unlink()
        raise ValueError(
            f"The content of {url} has the md5 {actual}, not {entry.md5}; it was deleted. Repeat "
            "the command."
        )
    os.replace(part, target)


def md5_of(path: Path) -> str:
    """The MD5 checksum of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _fetch(url: str, part: Path, size: int) -> Iterator[tuple[int, int]]:
    """Appends to `part` until it has `size` bytes."""
    done = part.stat().st_size if part.exists() else 0
    if done > size:
        part.unlink()
        done = 0
    yield done, size
    if done == size:
        return
    request = urllib.request.Request(url, headers={"User-Agent": "flowviz"})
    if done:
        request.add_header("Range", f"bytes={done}-")
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        start = answer.headers.get("Content-Range", "")
        if answer.status != 206 or not start.startswith(f"bytes {done}-"):
            done = 0  # the server sends the whole file
        with part.open("ab" if done else "wb") as file:
            while done < size:
                chunk = answer.read(min(CHUNK, size - done))
                if not chunk:
                    return
                file.write(chunk)
                done += len(chunk)
                yield done, size
