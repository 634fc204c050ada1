"""Files of image sets from their authors' servers, in pieces and checked before they are used."""

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flowviz.datasets.images import ARCHIVE, CIFAR10_MD5
from flowviz.registry import Registry

__all__ = ["DOWNLOADS", "Download", "download"]

PIECE = 2**18
TIMEOUT = 30.0
"""Seconds without a byte after which a server is given up."""


@dataclass(frozen=True)
class Download:
    """A file that can be had.

    Attributes:
        url: where.
        file: its name on the disk, which is what the reader of the set looks for.
        md5: the checksum that its authors publish.
        size: its bytes.
    """

    url: str
    file: str
    md5: str
    size: int


DOWNLOADS: Registry[Download] = Registry("download")
DOWNLOADS["cifar10"] = Download(
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", ARCHIVE, CIFAR10_MD5, 170_052_171
)


def download(
    entry: Download, folder: str | Path, *, url: str | None = None
) -> Iterator[tuple[int, int]]:
    """Yields (bytes here, bytes of all) as the file comes into the folder.

    What has come lies in a file with the further suffix .part, from which a later call goes on;
    the file gets its name when it is whole and has its checksum. A file that is there already and
    right is left, and nothing is asked of the network.

    Args:
        entry: which file.
        folder: where to put it; it is made if need be.
        url: another place to take it from; the checksum holds all the same.

    Raises:
        ValueError: the server cannot be reached or breaks off (what came is kept), or sends
            something else (which is deleted).
    """
    folder, url = Path(folder), url or entry.url
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"The address must begin with https:// or http://; got {url!r}.")
    target = folder / entry.file
    if target.exists():
        if _md5(target) != entry.md5:
            raise ValueError(f"{target} is there but damaged; delete it and download it again.")
        yield entry.size, entry.size
        return
    folder.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    try:
        yield from _fetch(url, part, entry.size)
    except urllib.error.HTTPError as error:
        raise ValueError(f"{url} answers {error.code} ({error.reason}).") from error
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, OSError) and error.filename:
            raise  # of the disk, not of the network
        here = part.stat().st_size if part.exists() else 0
        reason = getattr(error, "reason", None) or error
        raise ValueError(
            f"{url} cannot be reached or broke off ({reason or type(error).__name__}); "
            f"{here:,} bytes are kept. Go online and give the command again, or put "
            f"{entry.file} into {folder} by hand."
        ) from error
    if part.stat().st_size < entry.size:
        raise ValueError(
            f"{url} broke off after {part.stat().st_size:,} of {entry.size:,} bytes; give the "
            "command again to go on."
        )
    found = _md5(part)
    if found != entry.md5:
        part.unlink()
        raise ValueError(
            f"What {url} sent has the md5 {found}, not {entry.md5}; it was deleted. Give the "
            "command again."
        )
    os.replace(part, target)


def _fetch(url: str, part: Path, size: int) -> Iterator[tuple[int, int]]:
    """Lets `part` grow to at most `size` bytes, from where it is."""
    here = part.stat().st_size if part.exists() else 0
    if here > size:
        part.unlink()
        here = 0
    yield here, size
    if here == size:
        return
    request = urllib.request.Request(url, headers={"User-Agent": "flowviz"})
    if here:
        request.add_header("Range", f"bytes={here}-")
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        start = answer.headers.get("Content-Range", "")
        if answer.status != 206 or not start.startswith(f"bytes {here}-"):
            here = 0  # it sends all from the beginning
        with part.open("ab" if here else "wb") as file:
            while here < size:
                piece = answer.read(min(PIECE, size - here))
                if not piece:
                    return
                file.write(piece)
                here += len(piece)
                yield here, size


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
