"""Velocity fields by name: a checkpoint's name or file, or exact:DATA/PATH.

NAME@DIGITS also fixes the content, by the first digits of the card's sha256, so that a cache never
returns results of an earlier checkpoint of the same name.
"""

import copy
import re
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from flowviz import checkpoints
from flowviz.checkpoints import Card
from flowviz.datasets import Dataset, dataset
from flowviz.datasets.entry import from_frame, to_frame
from flowviz.experiments.evaluate import FlowField
from flowviz.fields import exact_field
from flowviz.paths import AffinePath
from flowviz.schedulers import scheduler, spec_of

PREFIX = "exact:"
"""Prefix of the names of exact fields."""

PIN = 12
"""Number of digits of a sha256 in a name."""


@dataclass(frozen=True)
class Source:
    """A velocity field in the coordinates of the frame, and its origin.

    Attributes:
        name: the name of the field, see `source`.
        field: the velocity.
        path: its path.
        data: spec of its data set.
        center: center of the frame in the user's coordinates.
        scale: unit of the frame in the user's units.
        label: path and kind of the field, in a few words.
    """

    name: str
    field: FlowField
    path: AffinePath
    data: str
    center: tuple[float, float]
    scale: float
    label: str

    @property
    def path_spec(self) -> str:
        """The spec of the path, such as "ot"."""
        return spec_of(self.path.scheduler)

    @property
    def exact(self) -> bool:
        """Whether the field is the closed form."""
        return self.name.startswith(PREFIX)

    def dataset(self) -> Dataset:
        """The data set of the field."""
        return dataset(self.data)

    def to_user(self, x: Tensor) -> Tensor:
        """Points x (B, 2) from frame to user coordinates, (B, 2) float64."""
        return from_frame(x, self.center, self.scale)

    def from_user(self, x: Tensor) -> Tensor:
        """Points x (B, 2) from user to frame coordinates, (B, 2)."""
        return to_frame(x, self.center, self.scale)

    def double(self) -> FlowField:
        """The same field in float64: exact fields are in any precision, networks are copied."""
        if not isinstance(self.field, torch.nn.Module):
            return self.field
        return copy.deepcopy(self.field).double()


def source(name: str) -> Source:
    """The field of a name; the same object as long as its content is the same.

    Raises:
        ValueError: there is no such data set, path or checkpoint, its file is damaged, or it no
            longer has the content that the name states.
    """
    if name.startswith(PREFIX):
        return _exact(name)
    called, pin = _parts(name)
    sha256 = checkpoints.read_card(called).sha256
    if not sha256.startswith(pin):
        raise ValueError(
            f"Checkpoint {called!r} must have the content {pin}; it was overwritten and "
            f"has {sha256[:PIN]}: use its name alone."
        )
    return replace(_loaded(called, sha256), name=name)


def _parts(name: str) -> tuple[str, str]:
    """A checkpoint's name and the digits of its sha256, "" without any."""
    called, _, pin = name.rpartition("@")
    return (called, pin) if called and re.fullmatch(f"[0-9a-f]{{{PIN}}}", pin) else (name, "")


@lru_cache(maxsize=64)
def _loaded(called: str, sha256: str) -> Source:
    loaded = checkpoints.load(called)
    card = loaded.card
    path = loaded.field.path
    return Source(called, loaded.field, path, card.data, card.center, card.scale, label_of(card))


@lru_cache(maxsize=64)
def _exact(name: str) -> Source:
    data, _, path = name.removeprefix(PREFIX).rpartition("/")
    if not data:
        raise ValueError(
            "An exact field must be written exact:DATA/PATH, such as exact:checkerboard/ot; "
            f"got {name!r}."
        )
    chosen, affine = dataset(data), AffinePath(scheduler(path))
    field = exact_field(affine, chosen.distribution)
    label = f"{affine.scheduler.label}, exact"
    return Source(name, field, affine, data, chosen.center, chosen.scale, label)


def label_of(card: Card) -> str:
    """The label of a checkpoint's field: path, method and, if these are ambiguous, name."""
    kind = "" if card.objective == "flow" else f", {card.method}"
    known = f"{card.data}-{card.path}"
    named = "" if card.name in (known, f"{known}-{card.objective}") else f" ({card.name})"
    return f"{scheduler(card.path).label}{kind}{named}"


def exact_name(data: str, path: str) -> str:
    """The name of the exact field of a data set on a path."""
    return f"{PREFIX}{data}/{path}"


def pinned(card: Card) -> str:
    """The name of the field of a checkpoint with exactly this content."""
    return f"{card.name}@{card.sha256[:PIN]}"


def preferred(*data: str) -> list[tuple[str, str]]:
    """The fields of conditional OT and VP diffusion for each data set: networks if both exist."""
    cards = {card.name: card for card in checkpoints.listing(lambda error: None)}
    found = []
    for each in data:
        ot, vp = (cards.get(f"{each}-{path}") for path in ("ot", "vp"))
        learned = ot is not None and vp is not None
        exact = exact_name(each, "ot"), exact_name(each, "vp")
        found.append((pinned(ot), pinned(vp)) if learned else exact)
    return found


def trained_name(data: str, path: str) -> str | None:
    """The name of the checkpoint `DATA-PATH` with its content, or None if there is none."""
    name = f"{data}-{path}"
    cards = checkpoints.listing(lambda error: None)
    return next((pinned(card) for card in cards if card.name == name), None)
