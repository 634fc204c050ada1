"""Where checkpoints are stored, and how they are found by name."""

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from flowviz.checkpoints.cards import Card
from flowviz.checkpoints.container import (
    MAX_HEADER_BYTES,
    card_within,
    pickle_sentence,
    read_start,
)
from flowviz.checkpoints.errors import CheckpointError
from flowviz.files import PROJECT, home
from flowviz.registry import hint_at

FOLDER = PROJECT / "checkpoints"
"""The folder of the shipped checkpoints."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
OPENED = re.compile(r"open-[0-9a-f]{16}")
"""The name of a checkpoint that a visitor opened, see `flowviz.checkpoints.opened`."""
PICKLES = {".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin", ".joblib"}

T = TypeVar("T")


def folders() -> list[Path]:
    """The folders in which names are looked up, in this order.

    These are those in $FLOWVIZ_CHECKPOINTS, the shipped folder, and $FLOWVIZ_HOME/checkpoints (by
    default ~/.cache/flowviz/checkpoints), where the app saves if the first variable is not set.
    """
    extra = os.environ.get("FLOWVIZ_CHECKPOINTS", "").split(os.pathsep)
    return [
        *(Path(folder).expanduser() for folder in extra if folder),
        FOLDER,
        home("checkpoints"),
    ]


def names(inner: str = "") -> dict[str, Path]:
    """The weights file of each name; if two folders share a name, that of the first folder.

    Args:
        inner: folder within each of `folders` that is searched; "" searches them themselves.
    """
    files: dict[str, Path] = {}
    for folder in folders():
        for file in sorted((folder / inner).glob("*.safetensors")):
            if NAME.fullmatch(file.stem) and file.is_file():
                files.setdefault(file.stem, file)
    return files


def find(name: str, inner: str = "") -> Path:
    """The weights file of a checkpoint by its name; a path is not a name. See `names`.

    Raises:
        CheckpointError: no folder has it; the message suggests the nearest name.
    """
    files = names(inner)
    if name in files:
        return files[name]
    hint = hint_at(name, files)
    known = ", ".join(files) or f"none in {', '.join(map(str, folders()))}"
    within = f" of {inner}" if inner else ""
    raise CheckpointError(f"Unknown checkpoint{within} {name!r}.{hint} There are: {known}.")


def locate(name: str | Path, inner: str = "") -> Path:
    """The weights file of a name, or of a path to a .safetensors file or to its card.

    A path may omit the suffix. A name is looked up first, see `names`, then read as a path.

    Raises:
        CheckpointError: there is no such checkpoint, or the file is of another kind.
    """
    path = Path(name).expanduser()
    text = str(name)
    if path.suffix.lower() in PICKLES:
        raise CheckpointError(pickle_sentence(path.name))
    if path.suffix == ".json":
        path = path.with_suffix(".safetensors")
    if path.suffix == ".safetensors":
        if not path.is_file():
            raise CheckpointError(f"There is no file {path}.")
        return path
    is_name = text == path.name and not isinstance(name, Path)
    suffixed = path.with_name(path.name + ".safetensors") if path.name else path
    if is_name and OPENED.fullmatch(text) and opened_file(text).is_file():
        return opened_file(text)
    known = names(inner) if is_name else {}
    if text in known:
        return known[text]
    if suffixed.is_file():
        return suffixed
    if is_name:
        return find(text, inner)
    problem = "is a folder" if path.is_dir() else "does not end in .safetensors or .json"
    raise CheckpointError(f"{path} {problem}; name a checkpoint's .safetensors file.")


def opened_file(name: str) -> Path:
    """The file of a checkpoint with a name like OPENED."""
    return home("opened") / f"{name}.safetensors"


def checkpoint_file(path: str | Path) -> Path:
    """The weights file to write for `path`, which may omit the suffix .safetensors.

    Raises:
        CheckpointError: the suffix is that of another format, or the name is invalid.
    """
    path = Path(path)
    if path.suffix.lower() in PICKLES | {".json", ".run"}:
        raise CheckpointError(
            f"A checkpoint's file must end in .safetensors or nothing; got {path.name!r}."
        )
    if path.suffix != ".safetensors":
        path = path.with_name(path.name + ".safetensors")
    if not NAME.fullmatch(path.stem):
        raise CheckpointError(
            "A checkpoint's name must be letters, digits, '-', '_' and '.', beginning with one of "
            f"the first two; got {path.stem!r}."
        )
    return path


def file_in(folder: Path, name: str) -> Path:
    """The weights file of the checkpoint `name` in a folder, never one outside of it.

    Raises:
        CheckpointError: the name is invalid.
    """
    file = checkpoint_file(name or "-")  # "-" is no valid name either
    if file.name != str(file):
        raise CheckpointError(
            f"A checkpoint's name must not lead to another folder; got {name!r}."
        )
    return folder / file


def choose_card(header_card: Card | None, json_card: Card | None, source: str) -> Card:
    """The card of a checkpoint, from its header or from the .json file next to it.

    Raises:
        CheckpointError: there is no card, or the two differ.
    """
    card = header_card or json_card
    if card is None:
        raise CheckpointError(
            f"{source} has no card: there is none in its header and no .json file beside it."
        )
    if header_card and json_card and header_card != replace(json_card, name=header_card.name):
        differing = [
            field.name
            for field in fields(Card)
            if field.name != "name"
            and getattr(header_card, field.name) != getattr(json_card, field.name)
        ]
        raise CheckpointError(
            f"The card beside {source} differs from the one inside it in {', '.join(differing)}; "
            "restore the .json file or delete it."
        )
    return card


def read_card(name: str | Path) -> Card:
    """The card of a checkpoint by name or path, without its weights, named as the file.

    Raises:
        CheckpointError: there is no such checkpoint, or its card is missing or invalid. The
            weights are not read.
    """
    path = locate(name)
    return _read_card(path, _state(path), _state(path.with_suffix(".json")))


@lru_cache(maxsize=256)
def _read_card(path: Path, *states: tuple[int, int, int]) -> Card:
    """The card of a weights file; `states` tell versions of the file and its card apart."""
    header_card = card_within(Card, read_start(path), path.name)
    card = choose_card(header_card, read_json_card(path), path.name)
    return replace(card, name=path.stem)


def _state(path: Path) -> tuple[int, int, int]:
    """What changes with the content of a file: its time, size and inode; zeros without one."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return 0, 0, 0
    return status.st_mtime_ns, status.st_size, status.st_ino


def read_json_card(path: Path) -> Card | None:
    """The card in the .json file next to a weights file; None without such a file."""
    file = path.with_suffix(".json")
    if not file.is_file():
        return None
    if file.stat().st_size > MAX_HEADER_BYTES:
        raise CheckpointError(f"The card {file.name} is larger than 1 MB.")
    return Card.from_json(file.read_bytes(), file.name)


def listing(on_damage: Callable[[CheckpointError], None] | None = None) -> list[Card]:
    """The cards of all named checkpoints, by `folders`, then by name; see `listed`."""
    return listed(names().values(), read_card, on_damage)


def listed(
    paths: Iterable[Path],
    read: Callable[[Path], T],
    on_damage: Callable[[CheckpointError], None] | None,
) -> list[T]:
    """The cards of files, in order. One damaged or unreadable file does not affect the others.

    Args:
        read: the card of a file.
        on_damage: is called with the error of each damaged file; by default the first one raises.
    """
    cards = []
    for path in paths:
        try:
            try:
                cards.append(read(path))
            except OSError as error:
                reason = error.strerror or error
                raise CheckpointError(
                    f"{path.name} cannot be read ({reason}); check its permissions."
                ) from error
            except RecursionError as error:
                raise CheckpointError(
                    f"{path.name} has a card that is nested too deep."
                ) from error
        except CheckpointError as error:
            if on_damage is None:
                raise
            on_damage(error)
    return cards
