"""Velocity fields by name: a checkpoint's name or file, exact:DATA/PATH, or a live field.

NAME@DIGITS also fixes the content, by the first digits of the card's sha256, so that a cache never
returns results of an earlier checkpoint of the same name. A live field has no file; its name is
live: and a hash, and it is passed along with the config that names it.
"""

import copy
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, Self, TypeVar

import torch
from torch import Tensor

from flowviz import checkpoints
from flowviz.checkpoints import Card, Checkpoint, CheckpointError
from flowviz.checkpoints.lookup import OPENED
from flowviz.datasets import Dataset, dataset, parted
from flowviz.datasets.entry import Framed
from flowviz.densities import LogProb, refined_log_prob
from flowviz.experiments.evaluate import FlowField
from flowviz.experiments.starts import log_prior
from flowviz.fields import exact_field_of
from flowviz.objectives import OBJECTIVES
from flowviz.paths import AffinePath
from flowviz.schedulers import scheduler, spec_of
from flowviz.settings import Config, settings
from flowviz.solvers import Field

C = TypeVar("C", bound=Config)

EXACT = "exact"
"""In place of a name: the closed-form field of the config's data set and path."""

PREFIX = "exact:"
"""Prefix of the names of exact fields."""

NO_NAMES = ("", EXACT, "none", "new")
"""Values of settings of fields that name none."""

PIN = 12
"""Number of digits of a sha256 in a name."""

LARGE = 1_000_000
"""Number of weights of a network above which few networks stay in memory."""

SHIPPED = 150_000
"""Number of weights of the largest networks of the plane that ship."""

CHUNK = 4_096
"""Batch size of exact fields: a data set may have 10,000 components."""


@dataclass(frozen=True)
class FieldRef(Framed):
    """A velocity field in the coordinates of the frame, and its origin.

    Attributes:
        name: the name of the field, see `of`.
        field: the velocity.
        path: its path.
        data: spec of its data set.
        center: center of the frame in the user's coordinates.
        scale: unit of the frame in the user's units.
        label: path and kind of the field, in a few words.
        method: training method of a network; "" for an exact field.
    """

    name: str
    field: FlowField
    path: AffinePath
    data: str
    center: tuple[float, float]
    scale: float
    label: str
    method: str = ""

    def __repr__(self) -> str:
        return f"<FieldRef {self.name!r}: {self.label}, data set {self.data!r}>"

    @classmethod
    def of(cls, name: str) -> "FieldRef":
        """The field of a name; the same object as long as its content is the same.

        Raises:
            ValueError: there is no such data set, path or checkpoint, its file is damaged, or it
                no longer has the content that the name states.
        """
        if name.startswith(PREFIX):
            return _load(name, "")
        called, pin = _parts(name)
        card = checkpoints.read_card(called)
        sha256 = card.sha256
        if not sha256.startswith(pin):
            raise ValueError(
                f"Checkpoint {called!r} must have the content {pin}; it was overwritten and "
                f"has {sha256[:PIN]}: use its name alone."
            )
        return (_load if card.weights <= LARGE else _load_large)(name, sha256)

    @classmethod
    def of_checkpoint(cls, loaded: Checkpoint, name: str) -> Self:
        """The field of a checkpoint that has been read."""
        card, field = loaded.card, loaded.field
        placed = card.data, card.center, card.scale
        return cls(name, field, field.path, *placed, label_of(card), card.method)

    @property
    def path_spec(self) -> str:
        """The spec of the path, such as "ot"."""
        return spec_of(self.path.scheduler)

    @property
    def exact(self) -> bool:
        """Whether the field is the closed form."""
        return self.name.startswith(PREFIX)

    @property
    def jumps(self) -> bool:
        """Whether the field is a flow map, which also jumps."""
        return hasattr(self.field, "jump")

    @cached_property
    def dataset(self) -> Dataset:
        """The data set of the field."""
        return dataset(self.data, sources=True)

    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        """The velocity at t () or (B,) and x (B, 2) in the frame, (B, 2)."""
        return self.field(t, x)

    def log_prob(self, points: Tensor, method: str, **budget: Any) -> LogProb:
        """The log-densities of points (n, 2) in user coordinates, in their precision.

        The densities are in nats per unit of area of these coordinates.

        Args:
            points: float32 or float64.
            method: a name in METHODS.
            budget: `steps` or `tol`, see `refined_log_prob`.

        Raises:
            ValueError, SolveError: as `refined_log_prob`.
        """
        result = refined_log_prob(
            self.double() if points.dtype == torch.float64 else self.field,
            self.from_user(points),
            t_max=self.path.t_max,
            method=method,
            log_prior=log_prior(self.path),
            **budget,
        )
        area = 2 * torch.tensor(self.scale, dtype=points.dtype).log()
        return replace(result, log_prob=result.log_prob - area)

    def double(self) -> FlowField:
        """The same field in float64: exact fields are in any precision, networks are copied."""
        if not isinstance(self.field, torch.nn.Module):
            return self.field
        return copy.deepcopy(self.field).double()


@lru_cache(maxsize=64)
def _load(name: str, sha256: str) -> FieldRef:
    """The field of a name and content; this and `_load_large` are the only caches of fields."""
    if name.startswith(PREFIX):
        data, _, path = name.removeprefix(PREFIX).rpartition("/")
        if not data:
            raise ValueError(
                "An exact field must be written exact:DATA/PATH, such as exact:checkerboard/ot; "
                f"got {name!r}."
            )
        chosen = dataset(data, sources=True)
        affine = AffinePath(scheduler(path), parted(data)[0])
        field, label = exact_field_of(affine, chosen), f"{affine.scheduler.label}, exact"
        return FieldRef(name, field, affine, data, chosen.center, chosen.scale, label)
    return FieldRef.of_checkpoint(checkpoints.load(_parts(name)[0]), name)


_load_large = lru_cache(maxsize=4)(_load.__wrapped__)  # visitors open networks of 64 MB


def data_and_path(data: str, path: str, *, sources: bool = False) -> tuple[Dataset, AffinePath]:
    """The data set and the path of a config.

    Args:
        sources: whether the caller can start from another data set than noise, see `starts`.

    Raises:
        ValueError: a name is unknown, or the data set has a source and must not.
    """
    return dataset(data, sources=sources), AffinePath(scheduler(path), parted(data)[0])


def resolve(
    data: str, path: str, name: str, live: Field | None = None, *, sources: bool = False
) -> tuple[Dataset, AffinePath, Field]:
    """The data set, the path and the field of a config, see `data_and_path`.

    Args:
        name: EXACT or the name of a checkpoint of this path.
        live: the field that `name` names, if it is already loaded.

    Raises:
        ValueError: as `data_and_path`, or the checkpoint was trained on another path or from
            another source.
    """
    chosen, affine = data_and_path(data, path, sources=sources)
    if live is not None:
        return chosen, affine, live
    if name == EXACT:
        ref = FieldRef.of(exact_name(data, path))
        return ref.dataset, affine, Chunked(ref.field)
    ref = FieldRef.of(name)
    if ref.path.source != affine.source:
        trained, required = (each.source or "Gaussian noise" for each in (ref.path, affine))
        raise ValueError(
            f"Checkpoint {name!r} starts from {trained}; got a data set from {required}: choose "
            "its own source or the exact field."
        )
    if ref.path != affine:
        raise ValueError(
            f"Checkpoint {name!r} was trained on the path {ref.path.scheduler}; "
            f"got {affine.scheduler}, so choose its own path or the exact field."
        )
    return ref.dataset if ref.data == data else chosen, affine, ref.field


@dataclass(frozen=True, eq=False)
class Chunked:
    """The same field, evaluated in batches of at most CHUNK states."""

    field: FlowField

    @property
    def path(self) -> AffinePath:
        """The path of the field."""
        return self.field.path

    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        """The velocity at t () and x (B, 2), shape (B, 2)."""
        if len(x) <= CHUNK:
            return self.field(t, x)
        return torch.cat([self.field(t, part) for part in x.split(CHUNK)])


def settled(config: C) -> C:
    """The config with all its fields named, and each checkpoint as NAME@DIGITS.

    Its results depend on the content of the checkpoints, so a cache must use this config as a key.
    A name that cannot be read stays as it is; computing states the reason.
    """
    config = config.chosen()
    named = {s.name: s for s in settings(type(config)).values() if s.kind == "field"}
    values = {name: getattr(config, name) for name in named}
    return replace(
        config,
        **{
            name: tuple(map(_with_content, value)) if named[name].several else _with_content(value)
            for name, value in values.items()
        },
    )


def size_factor(config: Config) -> float:
    """The weights of the largest network of a config over SHIPPED, at least 1."""
    field_settings = (s.name for s in settings(type(config)).values() if s.kind == "field")
    names = set(_flat(getattr(config, name) for name in field_settings)) - {*NO_NAMES}
    factor = 1.0
    for name in names:
        if not name.startswith((PREFIX, "live:")):
            with suppress(CheckpointError):
                factor = max(factor, card_of(name).weights / SHIPPED)
    return factor


def _flat(values: Iterable[Any]) -> Iterator[str]:
    for each in values:
        yield from [each] if isinstance(each, str) else _flat(each)


def _with_content(name: str) -> str:
    called, pin = _parts(name)
    if pin or name in NO_NAMES or name.startswith((PREFIX, "live:")):
        return name
    try:
        return f"{called}@{checkpoints.read_card(called).sha256[:PIN]}"
    except CheckpointError:
        return name


def _parts(name: str) -> tuple[str, str]:
    """A checkpoint's name and the digits of its sha256, "" without any."""
    called, _, pin = name.rpartition("@")
    return (called, pin) if called and re.fullmatch(f"[0-9a-f]{{{PIN}}}", pin) else (name, "")


def label_of(card: Card) -> str:
    """The label of a checkpoint's field: path, method and, if these are ambiguous, name."""
    kind = "" if card.objective == "flow" else f", {card.method}"
    known = f"{card.data}-{card.path}"
    shipped = card.name in (known, f"{known}-{card.objective}")
    named = "" if shipped else f" ({short_name(pinned(card))})"
    return f"{scheduler(card.path).label}{kind}{named}"


def short_name(name: str) -> str:
    """What a field with this name is, in a few words; a visitor's network is named by digits."""
    if name.startswith("live:"):
        return "trained here"
    called, digits = _parts(name)
    return f"your network {digits[:4]}" if OPENED.fullmatch(called) else called


def exact_name(data: str, path: str) -> str:
    """The name of the exact field of a data set on a path."""
    return f"{PREFIX}{data}/{path}"


def pinned(card: Card) -> str:
    """The name of the field of a checkpoint with exactly this content."""
    return f"{card.name}@{card.sha256[:PIN]}"


def card_of(name: str) -> Card:
    """The card of a checkpoint by its name, with or without digits."""
    return checkpoints.read_card(_parts(name)[0])


def trained_name(data: str, path: str) -> str | None:
    """The name of the checkpoint `DATA-PATH` with its content, or None if there is none."""
    file = checkpoints.names().get(f"{data}-{path}")
    try:
        return pinned(checkpoints.read_card(file)) if file else None
    except CheckpointError:
        return None


def preferred(*data: str) -> list[tuple[str, str]]:
    """The fields of conditional OT and VP diffusion for each data set: networks if both exist."""
    names = []
    for each in data:
        ot, vp = (trained_name(each, path) for path in ("ot", "vp"))
        names.append((ot, vp) if ot and vp else (exact_name(each, "ot"), exact_name(each, "vp")))
    return names


def map_names(data: str) -> tuple[str, ...]:
    """The flow maps of a data set that are called DATA-PATH-OBJECTIVE, for OT and VP."""
    kinds = [name for name, each in OBJECTIVES.items() if each.two_times]
    found = (trained_name(data, f"{path}-{kind}") for path in ("ot", "vp") for kind in kinds)
    return tuple(name for name in found if name and card_of(name).jumps)


def learned_names(cards: Iterable[Card], data: str) -> tuple[str, ...]:
    """The checkpoints of learned paths of a data set, by increasing penalty."""
    learned = [card for card in cards if card.is_learned_path and card.data == data]
    learned.sort(key=lambda card: (card.training.get("penalty", 0), card.name))
    return tuple(pinned(card) for card in learned)


def network_names(cards: Iterable[Card], data: str) -> tuple[str, ...]:
    """The velocity fields of a data set: of OT, of VP by each objective, of learned paths."""
    by_name = {card.name: card for card in cards}
    objectives = [name for name, objective in OBJECTIVES.items() if not objective.two_times]
    names = [f"{data}-{end}" for end in ("ot", "vp", *(f"vp-{name}" for name in objectives))]
    fixed = tuple(pinned(by_name[name]) for name in names if name in by_name)
    return fixed + learned_names(by_name.values(), data)


def readable_cards() -> list[Card]:
    """The cards of all checkpoints that can be read."""
    return checkpoints.listing(lambda error: None)
