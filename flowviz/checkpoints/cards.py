"""Cards: what a checkpoint says about itself, and where checkpoints are found by name."""

import json
import os
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from flowviz.bounds import is_whole
from flowviz.fields.learned_path import OBJECTIVE
from flowviz.objectives import OBJECTIVES
from flowviz.registry import hint_at
from flowviz.schedulers import LEARNED, scheduler

__all__ = ["FOLDER", "Card", "CheckpointError", "find", "folders", "listing", "read_card"]

FOLDER = Path(__file__).resolve().parents[2] / "checkpoints"
"""Where the shipped checkpoints lie."""

KEY = "flowviz"
"""The entry of a safetensors header that holds the card."""

MOST_BYTES = 64 * 2**20
"""Larger files are refused before they are read."""

MOST_HEADER_BYTES = 2**20
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
PICKLES = {".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin", ".joblib"}
NETWORK = {"width": (1, 4096), "depth": (1, 64), "octaves": (0, 24)}
LEARNED_NETWORK = NETWORK | {"sines": (1, 64), "bend_width": (1, 4096), "bend_depth": (1, 64)}
KINDS = {"mlp": NETWORK, "learned-path": LEARNED_NETWORK}
"""Of each kind of network, its sizes with their least and greatest value."""


C = TypeVar("C", bound="Entries")


class CheckpointError(ValueError):
    """A checkpoint that cannot be found, read, trusted or written; the message is one sentence."""


class Entries:
    """What the cards of all kinds share: they are JSON, and bad entries get one sentence.

    A kind is a frozen dataclass whose fields are the entries, format and version among them.
    """

    FORMAT: ClassVar[str]
    OF: ClassVar[str]
    """What such a checkpoint makes, in errors."""
    VERSION: ClassVar[int]

    def to_json(self) -> str:
        """The card as JSON with one entry a line."""
        entries = {"format": self.FORMAT, "version": self.VERSION} | asdict(self)
        return json.dumps(entries, indent=2, allow_nan=False, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, source: str) -> Self:
        """The card written by `to_json`; `source` names it in errors.

        Raises:
            CheckpointError: it is no card, one of another version, or an entry is missing or bad.
        """
        try:
            entries = json.loads(text, parse_constant=_refuse_constant)
        except (TypeError, ValueError, RecursionError) as error:
            raise CheckpointError(f"The card {source} is not valid JSON ({error}).") from error
        got = entries.get("format") if isinstance(entries, dict) else None
        if got != cls.FORMAT:
            raise CheckpointError(
                f"{source} is not a flowviz card of {cls.OF}: its format must be {cls.FORMAT!r}; "
                f"got {shown(got)}."
            )
        if entries.get("version") != cls.VERSION:
            raise CheckpointError(
                f"The card {source} has version {shown(entries.get('version'))}; this flowviz "
                f"reads version {cls.VERSION}."
            )
        known = {field.name for field in fields(cls)}
        missing = [name for name in sorted(known) if name not in entries]
        if missing:
            raise CheckpointError(f"The card {source} lacks {', '.join(missing)}.")
        card = cls(**{name: _frozen(entries[name]) for name in known})
        for name, good in card.holds().items():
            if not good:
                raise CheckpointError(
                    f"The card {source} has a bad entry {name!r}: {shown(entries[name])}."
                )
        try:
            card.follow()
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"The card {source} cannot be followed: {error}") from error
        return card

    @classmethod
    def within(cls, content: bytes, source: str) -> Self | None:
        """The card in the header of a safetensors file, None where it has none."""
        text = read_header(content, source).get("__metadata__", {}).get(KEY)
        return None if text is None else cls.from_json(text, f"inside {source}")

    def holds(self) -> dict[str, bool]:
        """Whether an entry has the right type and range, by name; what is free is left out."""
        raise NotImplementedError

    def follow(self) -> None:
        """Raises ValueError, KeyError or TypeError where the entries name what there is not."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Card(Entries):
    """All about a checkpoint but its weights: enough to use it, and to train it again.

    Attributes:
        name: how it is called; a file's own name wins over it.
        data: spec of the data set.
        path: spec of the path.
        objective: name in OBJECTIVES; "bound" of a learned path.
        network: kind, preconditioned, and the sizes that KINDS names.
        mean: the mean of the data in the frame, (2,).
        std: the standard deviation of the data in the frame, one number for both dimensions.
        center: the user's coordinates of the frame's origin, (2,).
        scale: the user's units a unit of the frame.
        shape: the shape of a sample.
        training: the training config, by name; `flowviz train` takes each as an option.
        plans: [step, steps] for every time a resumed run was given another number of steps.
        steps: optimiser steps made.
        seconds: of training.
        quality: measured numbers, by name.
        sha256: of the tensors' names, types, shapes and bytes.
        commit: of flowviz, where it was trained; "" where that is unknown.
        format: what this is.
        version: of the format.
    """

    FORMAT: ClassVar[str] = "flowviz-2d"
    OF: ClassVar[str] = "points"
    VERSION: ClassVar[int] = 1

    name: str
    data: str
    path: str
    objective: str
    network: dict[str, Any]
    mean: tuple[float, float]
    std: float
    center: tuple[float, float] = (0.0, 0.0)
    scale: float = 1.0
    shape: tuple[int, ...] = (2,)
    training: dict[str, Any] = field(default_factory=dict)
    plans: tuple[tuple[int, int], ...] = ()
    steps: int = 0
    seconds: float = 0.0
    quality: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""
    commit: str = ""
    format: str = FORMAT
    version: int = VERSION

    @property
    def is_learned_path(self) -> bool:
        """Whether the path was learned too, see `flowviz.fields.learned_path`."""
        return self.path == LEARNED

    @property
    def method(self) -> str:
        """How it was trained, in a few words for menus."""
        if not self.is_learned_path:
            return OBJECTIVES[self.objective].label
        return "curvature penalty" if self.training.get("penalty") else "bound alone"

    def holds(self) -> dict[str, bool]:
        """See `Entries.holds`."""

        def pair(value: object) -> bool:
            return isinstance(value, tuple) and len(value) == 2 and all(map(is_number, value))

        network = self.network if isinstance(self.network, dict) else {}
        return {
            **{
                name: isinstance(getattr(self, name), str)
                for name in ("name", "data", "path", "objective", "sha256", "commit")
            },
            "network": network.get("kind") == ("learned-path" if self.is_learned_path else "mlp")
            and isinstance(network.get("preconditioned"), bool)
            and all(is_whole(network.get(k), *b) for k, b in KINDS[network["kind"]].items()),
            "mean": pair(self.mean),
            "std": is_number(self.std) and self.std > 0,
            "center": pair(self.center),
            "scale": is_number(self.scale) and self.scale > 0,
            "shape": self.shape == (2,),
            "training": isinstance(self.training, dict),
            "plans": isinstance(self.plans, tuple) and all(map(pair, self.plans)),
            "steps": is_whole(self.steps),
            "seconds": is_number(self.seconds) and self.seconds >= 0,
            "quality": isinstance(self.quality, dict),
        }

    def follow(self) -> None:
        """See `Entries.follow`."""
        scheduler(self.path)
        if not self.is_learned_path:
            _ = OBJECTIVES[self.objective]
        elif self.objective != OBJECTIVE:
            raise ValueError(
                f"A learned path's objective must be {OBJECTIVE!r}; got {self.objective!r}."
            )


def shown(value: object) -> str:
    """What a sentence shows of a value from a file: on one line, at most 80 characters."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else text[:79] + "…"


def is_number(value: object) -> bool:
    """Whether an entry is a finite number."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def check_size(file: Path, name: str, most: int) -> None:
    """Refuses a file of more than `most` bytes, unread; `name` names it.

    Raises:
        CheckpointError: it is larger.
    """
    if file.stat().st_size > most:
        raise CheckpointError(f"{name} is larger than {most / 2**30:.0f} GB.")


def folders() -> list[Path]:
    """Where names are looked up, first to last.

    These are $FLOWVIZ_CHECKPOINTS, the shipped folder, and what visitors of the app save where
    that variable is not set: $FLOWVIZ_HOME/checkpoints, by default ~/.cache/flowviz/checkpoints.
    """
    extra = os.environ.get("FLOWVIZ_CHECKPOINTS", "").split(os.pathsep)
    home = Path(os.environ.get("FLOWVIZ_HOME") or Path.home() / ".cache" / "flowviz")
    return [
        *(Path(folder).expanduser() for folder in extra if folder),
        FOLDER,
        home / "checkpoints",
    ]


def names() -> dict[str, Path]:
    """The weights' file of every name; where two folders share a name, the first folder's."""
    found: dict[str, Path] = {}
    for folder in folders():
        for file in sorted(folder.glob("*.safetensors")):
            if NAME.fullmatch(file.stem) and file.is_file():
                found.setdefault(file.stem, file)
    return found


def find(name: str) -> Path:
    """The weights' file of a checkpoint by its name; a path is not a name.

    Raises:
        CheckpointError: no folder has it; the message tells the nearest name.
    """
    found = names()
    if name in found:
        return found[name]
    hint = hint_at(name, found)
    there = ", ".join(found) or f"none in {', '.join(map(str, folders()))}"
    raise CheckpointError(f"Unknown checkpoint {name!r}.{hint} There are: {there}.")


def locate(name: str | Path) -> Path:
    """The weights' file of a name or of a path to a .safetensors file or to its card.

    A path may leave out the suffix, as it may where a checkpoint is written. A name is looked for
    in the folders first, then taken for such a path.

    Raises:
        CheckpointError: there is no such checkpoint, or the file is of another kind.
    """
    path = Path(name).expanduser()
    text = str(name)
    if path.suffix.lower() in PICKLES:
        raise CheckpointError(_pickle_sentence(path.name))
    if path.suffix == ".json":
        path = path.with_suffix(".safetensors")
    if path.suffix == ".safetensors":
        if not path.is_file():
            raise CheckpointError(f"There is no file {path}.")
        return path
    is_name = text == path.name and not isinstance(name, Path)
    beside = path.with_name(path.name + ".safetensors") if path.name else path
    if is_name and text in names():
        return find(text)
    if beside.is_file():
        return beside
    if is_name:
        return find(text)
    what = "is a folder" if path.is_dir() else "does not end in .safetensors or .json"
    raise CheckpointError(f"{path} {what}; name a checkpoint's .safetensors file.")


def checkpoint_file(path: str | Path) -> Path:
    """The weights' file to write for `path`, which may leave out the suffix .safetensors.

    Raises:
        CheckpointError: the suffix is that of another format, or the name is no name.
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
    """The weights' file of the checkpoint `name` in a folder, never one outside of it.

    Raises:
        CheckpointError: the name is no name.
    """
    file = checkpoint_file(name or "-")  # "-" is no name either
    if file.name != str(file):
        raise CheckpointError(
            f"A checkpoint's name must not lead to another folder; got {name!r}."
        )
    return folder / file


def read_header(content: bytes, source: str) -> dict[str, Any]:
    """The header of a safetensors file, from the file's beginning (all of it or more).

    Raises:
        CheckpointError: these are not the first bytes of a safetensors file.
    """
    if content[:2] == b"PK" or content[:1] == b"\x80":
        raise CheckpointError(_pickle_sentence(source))
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or not 2 <= length <= MOST_HEADER_BYTES or content[8:9] != b"{":
        raise CheckpointError(f"{source} is not a safetensors file.")
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


def choose_card(inside: Card | None, beside: Card | None, source: str) -> Card:
    """The card of a checkpoint from the one in its file and the one beside it, either optional.

    Raises:
        CheckpointError: there is none, or the two differ.
    """
    card = inside or beside
    if card is None:
        raise CheckpointError(
            f"{source} has no card: there is none in its header and no .json file beside it."
        )
    if inside and beside and inside != replace(beside, name=inside.name):
        differing = [
            field.name
            for field in fields(Card)
            if field.name != "name" and getattr(inside, field.name) != getattr(beside, field.name)
        ]
        raise CheckpointError(
            f"The card beside {source} differs from the one inside it in {', '.join(differing)}; "
            "restore the .json file or delete it."
        )
    return card


def read_card(name: str | Path) -> Card:
    """The card of a checkpoint by name or path, without its weights; `name` is the file's.

    Raises:
        CheckpointError: there is no such checkpoint or no good card; weights are not looked at.
    """
    path = locate(name)
    with path.open("rb") as file:
        start = file.read(8 + MOST_HEADER_BYTES)
    card = choose_card(Card.within(start, path.name), card_beside(path), path.name)
    return replace(card, name=path.stem)


def card_beside(path: Path) -> Card | None:
    """The card in the .json file beside a weights' file, None where there is no such file."""
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return None
    if beside.stat().st_size > MOST_HEADER_BYTES:
        raise CheckpointError(f"The card {beside.name} is larger than 1 MB.")
    return Card.from_json(beside.read_bytes(), beside.name)


def listing(on_damage: Callable[[CheckpointError], None] | None = None) -> list[Card]:
    """The cards of all checkpoints that have names, in the order of `folders`, then by name.

    Args:
        on_damage: hears of each file that cannot be listed; without it the first one raises.
    """
    return listed(names().values(), read_card, on_damage)


def listed(
    paths: Iterable[Path],
    read: Callable[[Path], C],
    on_damage: Callable[[CheckpointError], None] | None,
) -> list[C]:
    """The cards of files in order; `on_damage` hears of each that cannot be read, or it raises."""
    cards = []
    for path in paths:
        try:
            cards.append(read(path))
        except CheckpointError as error:
            if on_damage is None:
                raise
            on_damage(error)
    return cards


def _pickle_sentence(source: str) -> str:
    return (
        f"flowviz never unpickles a file, since a pickle can run any code: {source} is not a "
        ".safetensors checkpoint."
    )


def _refuse_constant(constant: str) -> float:
    raise ValueError(f"{constant} is not a number")


def _frozen(value: object) -> object:
    """JSON's lists as tuples, so that cards compare equal whichever way they came."""
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    return value
