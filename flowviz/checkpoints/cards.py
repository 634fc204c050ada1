"""Cards: the metadata of a checkpoint, stored as JSON in the header of its file."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import Field, asdict, dataclass, field, fields
from itertools import pairwise
from typing import Any, ClassVar, Self, TypeGuard

from flowviz.bounds import is_whole, shown
from flowviz.checkpoints.errors import CheckpointError
from flowviz.datasets.specs import FROM, parted
from flowviz.fields.learned_path import OBJECTIVE
from flowviz.networks import ACTIVATIONS
from flowviz.objectives import OBJECTIVES
from flowviz.paths import AffinePath
from flowviz.schedulers import LEARNED, scheduler

KEY = "flowviz"
"""The entry of a safetensors header that holds the card."""

MAX_DEPTH = 32
"""Nested lists and objects within an entry of a card."""

NETWORK = {"width": (1, 4096), "depth": (1, 64), "octaves": (0, 24)}
LEARNED_NETWORK = NETWORK | {"sines": (1, 64), "bend_width": (1, 4096), "bend_depth": (1, 64)}
KINDS = {
    "mlp": NETWORK,
    "flow-map": NETWORK,
    "bridge": NETWORK,
    "learned-path": LEARNED_NETWORK,
    "plain": {},
}
"""For each kind of network, its sizes with their bounds."""

MIN_STD, MAX_MOMENT = 1e-9, 1e9
"""Bounds of means and standard deviations, whose squares must be numbers in float32."""

MAX_LAYERS, MAX_UNITS = 64, 4096
"""Of a plain network, which has a list of widths."""


class Entries:
    """Base of the cards of all kinds: entries from and to JSON, with one sentence for an error.

    A kind is a frozen dataclass whose fields are the entries. All kinds have these:

    Attributes:
        name: of the checkpoint; a file's own name takes precedence.
        training: entries of the training config; each is an option of `flowviz train`.
        seconds: training time.
        quality: measurements, by name.
        sha256: of the tensors' names, types, shapes and bytes.
        commit: git commit of flowviz at training or writing; "" if unknown.
        format: FORMAT.
        version: VERSION.
    """

    FORMAT: ClassVar[str]
    OF: ClassVar[str]
    """What such a checkpoint generates, in errors."""
    VERSION: ClassVar[int]
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    std: float
    seconds: float
    sha256: str

    def to_json(self) -> str:
        """The card as JSON with one entry on each line."""
        entries = {"format": self.FORMAT, "version": self.VERSION} | asdict(self)
        return json.dumps(entries, indent=2, allow_nan=False, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, source: str) -> Self:
        """The card written by `to_json`; `source` names it in errors.

        Raises:
            CheckpointError: it is no card, one of another version, or an entry is missing or
                invalid.
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
        try:
            card = cls(**{name: _frozen(entries[name]) for name in known})
        except ValueError as error:
            raise CheckpointError(f"The card {source} has {error}.") from error
        for name, valid in (card._shared_entries() | card.valid_entries()).items():
            if not valid:
                raise CheckpointError(
                    f"The card {source} has a bad entry {name!r}: {shown(entries[name])}."
                )
        try:
            card.check_references()
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"The card {source} cannot be followed: {error}") from error
        return card

    def _shared_entries(self) -> dict[str, bool]:
        texts = ("name", "data", "path", "objective", "sha256", "commit")
        return {
            **{name: isinstance(getattr(self, name), str) for name in texts},
            **{n: isinstance(getattr(self, n), dict) for n in ("network", "training", "quality")},
            "std": is_std(self.std),
            "seconds": is_number(self.seconds) and self.seconds >= 0,
        }

    def valid_entries(self) -> dict[str, bool]:
        """Whether each entry of this kind has a valid type and range, by name.

        Entries that all kinds have are checked before; free ones are left out.
        """
        raise NotImplementedError

    def check_references(self) -> None:
        """Raises ValueError, KeyError or TypeError if an entry names something unknown."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Card(Entries):
    """Everything about a checkpoint except its weights: enough to use it and to train it again.

    Attributes:
        data: spec of the data set.
        path: spec of the path.
        objective: name in OBJECTIVES; "bound" of a learned path.
        network: kind, preconditioned, and the sizes that KINDS names; see `plain_network`. With a
            source, also its mean and standard deviation.
        mean: of the data in the frame, (2,).
        std: standard deviation of the data in the frame, one number for both dimensions.
        center: the frame's origin in user coordinates, (2,).
        scale: length of one unit of the frame in user units.
        shape: the shape of a sample.
        plans: [step, steps] for each time a resumed run was given another number of steps.
        steps: number of optimiser steps.
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
        """Whether the path was learned as well, see `flowviz.fields.learned_path`."""
        return self.path == LEARNED

    @property
    def jumps(self) -> bool:
        """Whether the network is a flow map."""
        return self.network["kind"] == "flow-map"

    @property
    def method(self) -> str:
        """The training method in a few words, for menus."""
        if self.network["kind"] == "plain":
            return "network of another project"
        if self.objective == "distillation":
            return f"distillation of {self.training.get('start') or 'the exact field'} (flow map)"
        if self.network["kind"] == "bridge":
            return f"bridges of diffusion {self.network['noise']:g}"
        if not self.is_learned_path:
            return OBJECTIVES[self.objective].label
        return "curvature penalty" if self.training.get("penalty") else "bound alone"

    @property
    def weights(self) -> int:
        """About the number of weights, from the sizes of the layers."""
        network = self.network
        if network["kind"] == "plain":
            return sum(a * b for a, b in pairwise(network["widths"]))
        return (
            network["depth"] * network["width"] ** 2
            + network.get("bend_depth", 0) * network.get("bend_width", 0) ** 2
        )

    def valid_entries(self) -> dict[str, bool]:
        """See `Entries.valid_entries`."""

        def pair(value: object, is_valid: Callable[[object], bool] = is_number) -> bool:
            return isinstance(value, tuple) and len(value) == 2 and all(map(is_valid, value))

        network = self.network if isinstance(self.network, dict) else {}
        return {
            "network": isinstance(network.get("preconditioned"), bool)
            and _is_network(network, self.path, self.objective)
            and (not str(self.data).startswith(FROM) or _is_source(network.get("source"))),
            "mean": pair(self.mean, is_mean),
            "center": pair(self.center),
            "scale": is_number(self.scale) and self.scale > 0,
            "shape": self.shape == (2,),
            "plans": isinstance(self.plans, tuple) and all(map(pair, self.plans)),
            "steps": is_whole(self.steps),
        }

    def check_references(self) -> None:
        """See `Entries.check_references`."""
        AffinePath(scheduler(self.path), parted(self.data)[0])
        if not self.is_learned_path:
            _ = OBJECTIVES[self.objective]
        elif self.objective != OBJECTIVE:
            raise ValueError(
                f"A learned path's objective must be {OBJECTIVE!r}; got {self.objective!r}."
            )


def network_kind(path: str, objective: str) -> str:
    """The kind of network, in KINDS, that an objective trains on a path."""
    if path == LEARNED:
        return "learned-path"
    known = isinstance(objective, str) and objective in OBJECTIVES
    return "flow-map" if known and OBJECTIVES[objective].two_times else "mlp"


def plain_network(widths: Sequence[int], activation: str, description: str) -> dict[str, Any]:
    """The entry `network` of the card of a plain network of another project.

    Args:
        widths: numbers of units, from the inputs [x, t] to the velocity.
        activation: name in ACTIVATIONS.
        description: what was read and what was assumed, in sentences.
    """
    sizes = {"widths": list(widths), "activation": activation}
    return {"kind": "plain", "preconditioned": False, **sizes, "about": description}


def _is_network(network: dict[str, Any], path: str, objective: str) -> bool:
    """Whether the entries of a network are valid and of the kind that the objective trains."""
    kind = network.get("kind")
    if kind == "plain":
        widths = network.get("widths")
        return (
            objective == "flow"
            and path != LEARNED
            and not network["preconditioned"]
            and isinstance(network.get("about"), str)
            and network.get("activation") in list(ACTIVATIONS)
            and isinstance(widths, list)
            and 2 <= len(widths) <= MAX_LAYERS + 1
            and all(is_whole(width, 1, MAX_UNITS) for width in widths)
            and (widths[0], widths[-1]) == (3, 2)
        )
    bridge = objective == "flow" and _has_bridges(network)
    expected_kind = "bridge" if bridge else network_kind(path, objective)
    return kind == expected_kind and all(
        is_whole(network.get(name), *bounds) for name, bounds in KINDS[expected_kind].items()
    )


def _has_bridges(network: dict[str, Any]) -> bool:
    """Whether a network is of bridges, with its source, their diffusion and their coupling."""
    noise, coupling = network.get("noise"), network.get("coupling")
    named = network.get("kind") == "bridge" and "source" in network and isinstance(coupling, str)
    return named and is_std(noise)


def _is_source(source: object) -> bool:
    """Whether this is the entry of a source: its mean (2,) and its standard deviation."""
    entries = source if isinstance(source, dict) else {}
    mean = entries.get("mean")
    return (
        isinstance(mean, list)
        and len(mean) == 2
        and all(map(is_mean, mean))
        and is_std(entries.get("std"))
    )


def is_mean(value: object) -> TypeGuard[float]:
    """Whether an entry is a number that can be a mean in the frame."""
    return is_number(value) and abs(value) <= MAX_MOMENT


def is_std(value: object) -> TypeGuard[float]:
    """Whether an entry is a number that can be a standard deviation in the frame."""
    return is_number(value) and MIN_STD <= value <= MAX_MOMENT


def is_number(value: object) -> TypeGuard[float]:
    """Whether an entry is a finite number."""
    return (type(value) is int or type(value) is float) and abs(value) <= sys.float_info.max


def _refuse_constant(constant: str) -> float:
    raise ValueError(f"{constant} is not a number")


def _frozen(value: object, depth: int = 0) -> object:
    """JSON's lists as tuples, so that cards compare equal whichever way they were made."""
    if depth > MAX_DEPTH:
        raise ValueError(f"more than {MAX_DEPTH} lists or objects within one another")
    if isinstance(value, list):
        return tuple(_frozen(item, depth + 1) for item in value)
    if isinstance(value, dict):
        for item in value.values():  # lists within an object stay lists
            _frozen(item, depth + 1)
    return value
