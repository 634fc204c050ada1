"""Cards of image checkpoints, and the networks that they describe."""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, ClassVar

import torch

from flowviz.bounds import is_whole, shown
from flowviz.checkpoints.cards import Entries, is_number
from flowviz.checkpoints.container import commit
from flowviz.datasets.images import ImageSet
from flowviz.networks import IMAGE_NETWORKS, UNetShape
from flowviz.objectives import OBJECTIVES
from flowviz.schedulers import scheduler

MAX_CLASSES = 2**16
MAX_WIDTH = 4096
MAX_MOMENT = 1 + 1e-6
"""Bound of the mean and standard deviation of images in [-1, 1], after rounding."""

FLAGS = ("conditional", "preconditioned", "clocked")
"""Entries of a field's network in addition to those of a `UNetShape`."""

CLOCKS = 2
"""Number of clocks of a network that receives `LearnedField.clock` as its time."""


@dataclass(frozen=True, kw_only=True)
class ImageCard(Entries):
    """Everything about a checkpoint of images except its weights.

    Attributes:
        kind: "field" or "classifier".
        data: name of the image set it was trained on.
        classes: names of the classes.
        channels: C of the images.
        size: height and width of the images in pixels.
        network: of a field, the entries of its UNetShape, and conditional (whether it receives
            classes), preconditioned, clocked; of a classifier, stem and widths.
        path: spec of a field's path; "" for a classifier.
        objective: name in OBJECTIVES of what a field's network predicts; "" for a classifier.
        mean: of each channel of the data in [-1, 1], (C,).
        std: standard deviation of the data about `mean`, one number for all channels.
        images: number of images seen in training.
        planned: number of images of the whole run; above `images` before its end.
    """

    FORMAT: ClassVar[str] = "flowviz-images"
    OF: ClassVar[str] = "images"
    VERSION: ClassVar[int] = 1

    name: str
    kind: str
    data: str
    classes: tuple[str, ...]
    channels: int
    size: int
    network: dict[str, Any]
    path: str = ""
    objective: str = ""
    mean: tuple[float, ...] = ()
    std: float = 1.0
    training: dict[str, Any] = field(default_factory=dict)
    images: int = 0
    planned: int = 0
    seconds: float = 0.0
    quality: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""
    commit: str = ""
    format: str = FORMAT
    version: int = VERSION

    @property
    def jumps(self) -> bool:
        """Whether the network is a flow map."""
        return self.objective in OBJECTIVES and OBJECTIVES[self.objective].two_times

    def valid_entries(self) -> dict[str, bool]:
        """See `Entries.valid_entries`."""
        return {
            "kind": self.kind in ("field", "classifier"),
            "classes": isinstance(self.classes, tuple)
            and len(self.classes) <= MAX_CLASSES
            and all(isinstance(name, str) for name in self.classes),
            "channels": is_whole(self.channels, 1, 16),
            "size": is_whole(self.size, 1, 1024),
            "mean": isinstance(self.mean, tuple)
            and all(is_number(mean) and abs(mean) <= MAX_MOMENT for mean in self.mean)
            and len(self.mean) in (self.channels, 0),
            "std": is_number(self.std) and 0 < self.std <= MAX_MOMENT,
            **{name: is_whole(getattr(self, name)) for name in ("images", "planned")},
        }

    def check_references(self) -> None:
        """See `Entries.check_references`."""
        if self.kind == "field":
            _ = unet_shape(self)
            check_path(self.path, self.objective)
        else:
            _ = classifier_sizes(self)


def describe_field(
    name: str, training: Mapping[str, Any], data: ImageSet, **measured: Any
) -> ImageCard:
    """The card of a field trained on `data`.

    Args:
        name: of the checkpoint.
        training: the entries of its config.
        data: the training set.
        measured: `images` seen, and `seconds` and `quality` if they are known.
    """
    shape = IMAGE_NETWORKS[training["network"]]
    flags = ("conditional", "classes"), ("preconditioned", "preconditioned")
    return _describe(
        name,
        training,
        data,
        kind="field",
        network=asdict(shape)
        | {flag: bool(training[entry]) for flag, entry in flags}
        | {"clocked": bool(shape.clocks)},
        path=training["path"],
        objective=training["objective"],
        mean=tuple(data.mean.flatten().tolist()),
        std=data.std,
        planned=int(training["images"]),
        **measured,
    )


def describe_classifier(
    name: str, training: Mapping[str, Any], data: ImageSet, *, images: int, **measured: Any
) -> ImageCard:
    """The card of a classifier trained on `data`; arguments as of `describe_field`."""
    network = {"stem": training["stem"], "widths": list(training["widths"])}
    entries = {"images": images, "planned": images, **measured}
    return _describe(name, training, data, kind="classifier", network=network, **entries)


def _describe(
    name: str,
    training: Mapping[str, Any],
    data: ImageSet,
    *,
    seconds: float = 0.0,
    quality: Mapping[str, Any] | None = None,
    **entries: Any,
) -> ImageCard:
    return ImageCard(
        name=name,
        data=data.name,
        classes=data.classes,
        channels=data.channels,
        size=data.size,
        training=dict(training),
        seconds=round(seconds, 1),
        quality=dict(quality or {}),
        commit=commit(),
        **entries,
    )


def unet_shape(card: ImageCard) -> UNetShape:
    """The shape of the U-Net in a field's card.

    Raises:
        ValueError: an entry is missing, unknown or invalid.
    """
    entries = dict(card.network)
    required = {entry.name: entry.default is MISSING for entry in fields(UNetShape)}
    needed = {*FLAGS, *(name for name, must in required.items() if must)}
    _check_entries(entries, needed, needed | required.keys())
    flags = {name: entries.pop(name) for name in FLAGS}
    for name, flag in flags.items():
        if not isinstance(flag, bool):
            raise ValueError(f"{name} must be true or false; got {shown(flag)}.")
    for name, value in entries.items():
        entries[name] = tuple(value) if isinstance(value, list) else value
    shape = UNetShape(**entries)
    clocks = CLOCKS if flags["clocked"] else 0
    if shape.clocks != clocks:
        raise ValueError(
            f"clocks must be {clocks} where clocked is {str(flags['clocked']).lower()}; "
            f"got {shape.clocks}."
        )
    return shape


def classifier_sizes(card: ImageCard) -> dict[str, Any]:
    """The arguments of a classifier in its card.

    Raises:
        ValueError: an entry is missing, unknown or invalid.
    """
    _check_entries(card.network, {"stem", "widths"}, {"stem", "widths"})
    stem, widths = card.network["stem"], card.network["widths"]
    if not is_whole(stem, 1, MAX_WIDTH):
        raise ValueError(f"stem must be a whole number in 1..{MAX_WIDTH}; got {shown(stem)}.")
    if (
        not isinstance(widths, list | tuple)
        or len(widths) > 8
        or not all(is_whole(width, 1, MAX_WIDTH) for width in widths)
    ):
        raise ValueError(
            f"widths must be at most 8 whole numbers in 1..{MAX_WIDTH}; got {shown(widths)}."
        )
    if not card.classes or card.size < 2 ** len(widths):
        raise ValueError(
            "a classifier must have classes, and images that can be halved as often as it has "
            f"widths; got {len(card.classes)} classes, size {card.size}, {len(widths)} widths."
        )
    return {
        "channels": card.channels,
        "num_classes": len(card.classes),
        "stem": stem,
        "widths": tuple(widths),
    }


def check_path(path: str, objective: str) -> None:
    """Refuses a path without finite coefficients, or on which an objective has no velocity.

    Raises:
        ValueError: it is such a path, or the path or objective is unknown.
    """
    chosen, target = scheduler(path), OBJECTIVES[objective]
    try:
        ends = torch.stack(chosen(torch.tensor([0.0, chosen.t_max], dtype=torch.float64)))
    except (ValueError, ArithmeticError):
        ends = torch.tensor(torch.nan)
    if not ends.isfinite().all():
        raise ValueError(f"The path {shown(path)} has coefficients that are not finite.")
    if target.needs_alpha and ends[0, 0] == 0:
        raise ValueError(
            f"The objective {objective!r} needs a path that does not start at alpha = 0; got "
            f"{shown(path)}."
        )


def _check_entries(entries: Mapping[str, Any], needed: set[str], known: set[str]) -> None:
    lacking, unknown = sorted(needed - entries.keys()), sorted(entries.keys() - known)
    if lacking:
        raise ValueError(f"The entry network lacks {', '.join(lacking)}.")
    if unknown:
        raise ValueError(f"The entry network has an unknown {shown(unknown[0])}.")
