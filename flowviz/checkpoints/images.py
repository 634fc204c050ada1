"""Checkpoints of images: a U-Net's field or a classifier in one .safetensors file with its card.

They lie in the folder `images` of each checkpoint folder, NAME.safetensors with a readable copy of
the card, NAME.json, as those of the plane do. What was measured of them once and for all lies in
NAME.quality.json. Nothing is ever unpickled.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from flowviz.bounds import is_whole
from flowviz.checkpoints.cards import (
    KEY,
    NAME,
    CheckpointError,
    Entries,
    folders,
    is_number,
    listed,
    read_header,
    shown,
)
from flowviz.checkpoints.weights import check_fit, commit, digest, pack, read_tensors, write
from flowviz.datasets.images import IMAGE_SETS, ImageSet, image_set
from flowviz.fields import LearnedField
from flowviz.files import write_text
from flowviz.networks import UNet, UNetShape
from flowviz.networks.classifier import Classifier
from flowviz.objectives import OBJECTIVES
from flowviz.paths import AffinePath
from flowviz.registry import hint_at
from flowviz.schedulers import scheduler

__all__ = [
    "FOLDER_NAME",
    "ImageCard",
    "ImageCheckpoint",
    "describe_classifier",
    "describe_field",
    "find_images",
    "image_checkpoints",
    "is_images",
    "load_classifier",
    "load_images",
    "locate_images",
    "quality_file",
    "read_quality",
    "run_checkpoint",
    "save_images",
    "snapshot_checkpoint",
    "write_quality",
]

FOLDER_NAME = "images"
"""The folder of image checkpoints within each checkpoint folder."""

RUN_KEY = "flowviz-image-run"
"""The header's entry of a training run's snapshot, which has no card."""

AVERAGED = "ema.network."
"""How the averaged weights' names begin in a run's saved state."""

MOST_BYTES = 2**30
"""Larger files are refused before they are read."""

MOST_NUMBER = 2**16
MOST_WIDTH = 4096
MOST_MOMENT = 1 + 1e-6
"""Greatest mean and standard deviation of images in [-1, 1], after rounding."""

FLAGS = ("conditional", "preconditioned", "clocked")
"""What a field's card says of its network beside the entries of a `UNetShape`."""
TRAINING = {
    **dict.fromkeys(("data", "network", "path", "objective"), str),
    **dict.fromkeys(("classes", "preconditioned"), bool),
    **dict.fromkeys(("images", "batch"), int),
}
"""What a card is made of in a run's config, by type."""

CLOCKS = 2
"""Clocks of a network that a `LearnedField` tells the time by its clock."""


@dataclass(frozen=True, kw_only=True)
class ImageCard(Entries):
    """All about a checkpoint of images but its weights.

    Attributes:
        name: how it is called; a file's own name wins over it.
        kind: "field" or "classifier".
        data: name of the image set it was trained on.
        classes: the names of the classes.
        channels: C of the images.
        size: their height and width in pixels.
        network: of a field, the entries of its UNetShape, and conditional (whether it is told
            classes), preconditioned, clocked; of a classifier, stem and widths.
        path: spec of a field's path; "" of a classifier.
        objective: name in OBJECTIVES of what a field's network predicts; "" of a classifier.
        mean: of each channel of the data in [-1, 1], (C,).
        std: of the data about `mean`, one number for all channels.
        training: the training config, by name.
        images: seen in training.
        planned: images of the whole run; more than `images` where it has not ended.
        seconds: of training.
        quality: measured numbers, by name.
        sha256: of the tensors' names, types, shapes and bytes.
        commit: of flowviz, where the file was written; "" where that is unknown.
        format: what this is.
        version: of the format.
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

    def holds(self) -> dict[str, bool]:
        """See `Entries.holds`."""
        return {
            "kind": self.kind in ("field", "classifier"),
            **{
                name: isinstance(getattr(self, name), str)
                for name in ("name", "data", "path", "objective", "sha256", "commit")
            },
            "classes": isinstance(self.classes, tuple)
            and len(self.classes) <= MOST_NUMBER
            and all(isinstance(name, str) for name in self.classes),
            "channels": is_whole(self.channels, 1, 16),
            "size": is_whole(self.size, 1, 1024),
            "network": isinstance(self.network, dict),
            "mean": isinstance(self.mean, tuple)
            and all(is_number(mean) and abs(mean) <= MOST_MOMENT for mean in self.mean)
            and len(self.mean) in (self.channels, 0),
            "std": is_number(self.std) and 0 < self.std <= MOST_MOMENT,
            **{name: is_whole(getattr(self, name)) for name in ("images", "planned")},
            "seconds": is_number(self.seconds) and self.seconds >= 0,
            "training": isinstance(self.training, dict),
            "quality": isinstance(self.quality, dict),
        }

    def follow(self) -> None:
        """See `Entries.follow`."""
        if self.kind == "field":
            _ = unet_shape(self)
            _check_path(self.path, self.objective)
        else:
            _ = classifier_sizes(self)


@dataclass(frozen=True)
class ImageCheckpoint:
    """A learned field of images in float32 on the CPU, ready to sample from, with its card."""

    card: ImageCard
    field: LearnedField

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        return (self.card.channels, self.card.size, self.card.size)

    @property
    def conditional(self) -> bool:
        """Whether the network is told classes, so that they can be chosen and guided."""
        return self.field.network.num_classes > 0

    @property
    def label(self) -> str:
        """The path and how far the training went, for legends: "ot, 0.30 of 3.00 M images"."""
        card = self.card
        if not card.images:
            return card.path
        seen = f"{card.images / 1e6:.2f}"
        if card.planned > card.images:
            seen += f" of {card.planned / 1e6:.2f}"
        return f"{card.path}, {seen} M images"


def find_images(kind: str | None = None) -> dict[str, Path]:
    """The file of every named image checkpoint, of one kind or both; damaged ones are left out."""
    found: dict[str, Path] = {}
    for folder in folders():
        for file in sorted((folder / FOLDER_NAME).glob("*.safetensors")):
            if NAME.fullmatch(file.stem) and file.is_file():
                found.setdefault(file.stem, file)
    if kind is None:
        return found
    return {name: file for name, file in found.items() if _kind(file) == kind}


def image_checkpoints(
    on_damage: Callable[[CheckpointError], None] | None = None,
) -> list[ImageCard]:
    """The cards of all image checkpoints that have names, fields and classifiers, by name.

    Args:
        on_damage: hears of each file that cannot be listed; without it the first one raises.
    """
    return listed(find_images().values(), _card_of, on_damage)


def is_images(name: str | Path) -> bool:
    """Whether a name or a .safetensors file is a checkpoint of images, by its header alone."""
    try:
        path = locate_images(name)
    except CheckpointError:
        return False
    return _kind(path) is not None


def locate_images(name: str | Path) -> Path:
    """The file of an image checkpoint by name or path.

    Raises:
        CheckpointError: there is none; the message tells the nearest name.
    """
    text, path = str(name), Path(name).expanduser()
    if path.suffix == ".json":
        path = path.with_suffix(".safetensors")
    if path.suffix == ".safetensors":
        if not path.is_file():
            raise CheckpointError(f"There is no file {path}.")
        return path
    found = find_images()
    if text in found:
        return found[text]
    hint = hint_at(text, found)
    raise CheckpointError(
        f"Unknown checkpoint of images {text!r}.{hint} There are: {', '.join(found) or 'none'}."
    )


def load_images(name: str | Path) -> ImageCheckpoint:
    """The field of an image checkpoint by name or file, or of a training run's snapshot.

    Raises:
        CheckpointError: it is not there, damaged, or not a field of images.
    """
    path = locate_images(name)
    content = _read(path)
    metadata = read_header(content, path.name).get("__metadata__", {})
    if RUN_KEY in metadata and KEY not in metadata:
        return snapshot_checkpoint(path)
    card = _card_within(content, path.name)
    if card.kind != "field":
        raise CheckpointError(
            f"{path.name} is a {card.kind}; name a checkpoint that draws images."
        )
    tensors = _checked(read_tensors(content, path.name), card, path.name)
    return ImageCheckpoint(replace(card, name=path.stem), _field(card, tensors, path.name))


def load_classifier(name: str | Path = "cifar10-classifier") -> tuple[ImageCard, Classifier]:
    """The card and network of a classifier by name or file.

    Raises:
        CheckpointError: it is not there, damaged, or not a classifier.
    """
    path = locate_images(name)
    content = _read(path)
    card = _card_within(content, path.name)
    if card.kind != "classifier":
        raise CheckpointError(f"{path.name} is a {card.kind}, not a classifier.")
    tensors = _checked(read_tensors(content, path.name), card, path.name)
    sizes = classifier_sizes(card)
    with torch.device("meta"):
        blank = Classifier(**sizes).state_dict()
    check_fit(blank, tensors, path.name)
    network = Classifier(**sizes)
    network.load_state_dict({key: value.float() for key, value in tensors.items()}, strict=False)
    network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    return replace(card, name=path.stem), network


def snapshot_checkpoint(path: str | Path, data: ImageSet | None = None) -> ImageCheckpoint:
    """The field of a snapshot that a training run on images wrote, with a card made for it.

    Args:
        path: snapshot-005.safetensors or the like.
        data: the image set of the run, whose moments the field needs; read by default.

    Raises:
        CheckpointError: the file is damaged or no snapshot.
        ValueError: the image set is not here.
    """
    path = Path(path)
    content = _read(path)
    text = read_header(content, path.name).get("__metadata__", {}).get(RUN_KEY)
    about = _parsed(text, path.name)
    training = _training(about, path.name)
    card = _card_of_run(path.stem, training, about.get("step"), path.name, data)
    tensors = read_tensors(content, path.name)
    return ImageCheckpoint(card, _field(card, tensors, path.name))


def run_checkpoint(folder: str | Path, data: ImageSet | None = None) -> ImageCheckpoint:
    """The field with the averaged weights of a training run's newest saved state.

    Args:
        folder: of the run, see `flowviz.training.image_runs`.
        data: the image set of the run, whose moments the field needs; read by default.

    Raises:
        CheckpointError: there is no run, or no state of it that can be read.
        ValueError: the image set is not here.
    """
    folder = Path(folder)
    states = sorted(folder.glob("state-*.safetensors"), reverse=True)
    if not (folder / "config.json").is_file() or not states:
        raise CheckpointError(f"{folder} has no saved training run on images.")
    source = states[0].name
    place = f"config.json of {folder}"
    training = _training(_parsed((folder / "config.json").read_bytes(), place), place)
    try:
        with safe_open(states[0], "pt") as file:
            about = _parsed((file.metadata() or {}).get(RUN_KEY), source)
            names = [name for name in file.keys() if name.startswith(AVERAGED)]  # noqa: SIM118
            tensors = {name.removeprefix(AVERAGED): file.get_tensor(name) for name in names}
            step = file.get_tensor("step").tolist()
        seconds = float(about["progress"]["seconds"])
    except (SafetensorError, KeyError, TypeError, ValueError, ArithmeticError, OSError) as error:
        raise CheckpointError(f"The newest state in {folder} cannot be read.") from error
    card = _card_of_run(folder.name, training, step, source, data, seconds=seconds)
    return ImageCheckpoint(card, _field(card, tensors, source))


def describe_field(
    name: str,
    training: Mapping[str, Any],
    data: ImageSet,
    *,
    images: int,
    seconds: float = 0.0,
    quality: Mapping[str, Any] | None = None,
) -> ImageCard:
    """The card of a field trained on `data`; `training` has the entries of its config."""
    from flowviz.networks import IMAGE_NETWORKS

    shape = IMAGE_NETWORKS[training["network"]]
    return ImageCard(
        name=name,
        kind="field",
        data=data.name,
        classes=data.classes,
        channels=data.channels,
        size=data.size,
        network=asdict(shape)
        | {
            "conditional": bool(training["classes"]),
            "preconditioned": bool(training["preconditioned"]),
            "clocked": bool(shape.clocks),
        },
        path=training["path"],
        objective=training["objective"],
        mean=tuple(data.mean.flatten().tolist()),
        std=data.std,
        training=dict(training),
        images=images,
        planned=int(training["images"]),
        seconds=round(seconds, 1),
        quality=dict(quality or {}),
        commit=commit(),
    )


def describe_classifier(
    name: str,
    training: Mapping[str, Any],
    data: ImageSet,
    *,
    images: int,
    seconds: float = 0.0,
    quality: Mapping[str, Any] | None = None,
) -> ImageCard:
    """The card of a classifier trained on `data`; `training` has the entries of its config."""
    return ImageCard(
        name=name,
        kind="classifier",
        data=data.name,
        classes=data.classes,
        channels=data.channels,
        size=data.size,
        network={"stem": training["stem"], "widths": list(training["widths"])},
        training=dict(training),
        images=images,
        planned=images,
        seconds=round(seconds, 1),
        quality=dict(quality or {}),
        commit=commit(),
    )


def save_images(
    path: str | Path, network: nn.Module, card: ImageCard, *, precision: str = "float16"
) -> Path:
    """Writes path.safetensors and the readable card path.json; returns the weights' file.

    Args:
        path: folder and name, with or without the suffix .safetensors.
        network: the U-Net or classifier whose weights and running moments to keep.
        card: all else; its name becomes the file's, its sha256 that of the weights.
        precision: "float16" or "float32".

    Raises:
        CheckpointError: a weight is not finite in that precision, or the card is bad.
    """
    path = Path(path)
    path = path if path.suffix == ".safetensors" else path.with_name(path.name + ".safetensors")
    weights = {k: v for k, v in network.state_dict().items() if v.is_floating_point()}
    write(path, *pack(weights, replace(card, name=path.stem), precision))
    return path


def quality_file(name: str | Path) -> Path:
    """Where measurements of a checkpoint are kept, NAME.quality.json beside its weights.

    Raises:
        CheckpointError: there is no such checkpoint, or it has no card.
    """
    path = locate_images(name)
    _card_of(path)
    return path.with_suffix(".quality.json")


def read_quality(name: str | Path) -> dict[str, Any]:
    """What NAME.quality.json keeps of a checkpoint's measurements; empty where there is none.

    Raises:
        CheckpointError: the file is damaged or belongs to other weights.
    """
    path = locate_images(name)
    beside = path.with_suffix(".quality.json")
    if not beside.is_file():
        return {}
    try:
        content = json.loads(beside.read_text())
        owner = content["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{beside.name} is damaged.") from error
    if owner != _card_of(path).sha256:
        raise CheckpointError(
            f"{beside.name} was measured of other weights than {path.name}'s; measure again."
        )
    return content


def write_quality(name: str | Path, quality: Mapping[str, Any]) -> Path:
    """Keeps measurements beside a checkpoint, marked with its sha256; returns their file.

    Raises:
        CheckpointError: there is no such checkpoint, or `quality` has the sha256 of other weights.
    """
    beside = quality_file(name)
    owner = _card_of(locate_images(name)).sha256
    if quality.get("sha256", owner) != owner:
        raise CheckpointError(
            f"{name} was replaced by other weights while it was measured; measure again."
        )
    content = {"sha256": owner} | dict(quality)
    write_text(beside, json.dumps(content, indent=1, allow_nan=False) + "\n")
    return beside


def unet_shape(card: ImageCard) -> UNetShape:
    """The U-Net's shape in a field's card, which a `LearnedField` can tell the time.

    Raises:
        ValueError: an entry is missing, unknown or bad.
    """
    entries = dict(card.network)
    numbers = {entry.name: entry.default is MISSING for entry in fields(UNetShape)}
    needed = {*FLAGS, *(name for name, must in numbers.items() if must)}
    _check_entries(entries, needed, needed | numbers.keys())
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
        ValueError: an entry is missing, unknown or bad.
    """
    _check_entries(card.network, {"stem", "widths"}, {"stem", "widths"})
    stem, widths = card.network["stem"], card.network["widths"]
    if not is_whole(stem, 1, MOST_WIDTH):
        raise ValueError(f"stem must be a whole number in 1..{MOST_WIDTH}; got {shown(stem)}.")
    if (
        not isinstance(widths, list | tuple)
        or len(widths) > 8
        or not all(is_whole(width, 1, MOST_WIDTH) for width in widths)
    ):
        raise ValueError(
            f"widths must be at most 8 whole numbers in 1..{MOST_WIDTH}; got {shown(widths)}."
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


def _check_path(path: str, objective: str) -> None:
    """Refuses a path that has no finite coefficients, or on which an objective has no velocity.

    Raises:
        ValueError: so it is, or there is no such path or objective.
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


def _parsed(text: str | bytes | None, source: str) -> dict[str, Any]:
    """The JSON object that a training run wrote."""
    try:
        about = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{source} is not of a training run on images, or it is damaged."
        ) from error
    if not isinstance(about, dict):
        raise CheckpointError(f"{source} is not of a training run on images.")
    return about


def _training(about: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The config of a run, with the entries that a card is made of checked for their types."""
    training = about.get("config")
    if not isinstance(training, dict):
        raise CheckpointError(f"{source} has no config of a training run on images.")
    for name, kind in TRAINING.items():
        if type(training.get(name)) is not kind:
            raise CheckpointError(
                f"The run's config in {source} has a bad entry {name!r}: "
                f"{shown(training.get(name))}."
            )
    return training


def _card_of_run(
    name: str,
    training: dict[str, Any],
    step: object,
    source: str,
    data: ImageSet | None,
    *,
    seconds: float = 0.0,
) -> ImageCard:
    """The card of a run's config, as good as that of a file must be.

    Raises:
        CheckpointError: the config cannot be followed.
        ValueError: the image set is not here.
    """
    if not is_whole(step):
        raise CheckpointError(f"{source} has a bad number of steps: {shown(step)}.")
    if data is None and training["data"] not in IMAGE_SETS:
        raise CheckpointError(f"{source} is of an unknown image set {shown(training['data'])}.")
    data = data or image_set(training["data"])
    images = step * training["batch"]
    try:
        card = describe_field(name, training, data, images=images, seconds=seconds)
        text = card.to_json()
    except ValueError as error:
        reason = str(error).rstrip(".")
        raise CheckpointError(f"The run's config in {source} is bad: {reason}.") from error
    _ = ImageCard.from_json(text, f"of {source}")
    return card


def _field(card: ImageCard, tensors: dict[str, Tensor], source: str) -> LearnedField:
    """The field of a card and its weights, once they are known to fit."""
    shape = unet_shape(card)
    sizes = {
        "channels": card.channels,
        "size": card.size,
        "num_classes": len(card.classes) if card.network["conditional"] else 0,
    }
    try:
        with torch.device("meta"):  # shapes alone, so that a lying card costs no memory
            blank = UNet(shape, **sizes).state_dict()
    except (ValueError, RuntimeError, ZeroDivisionError) as error:
        raise CheckpointError(f"The card of {source} describes no network: {error}") from error
    check_fit(blank, tensors, source)
    network = UNet(shape, **sizes)
    network.load_state_dict({key: value.float() for key, value in tensors.items()})
    mean = torch.tensor(card.mean or (0.0,) * card.channels)[:, None, None]
    field = LearnedField(
        network,
        AffinePath(scheduler(card.path)),
        OBJECTIVES[card.objective],
        mean=mean,
        std=card.std,
        preconditioned=card.network["preconditioned"],
        clocked=card.network["clocked"],
    )
    return field.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def _checked(tensors: dict[str, Tensor], card: ImageCard, source: str) -> dict[str, Tensor]:
    if digest(tensors) != card.sha256:
        raise CheckpointError(
            f"The weights in {source} do not have the sha256 that the card states: the file was "
            "changed or damaged."
        )
    return tensors


def _read(path: Path) -> bytes:
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise CheckpointError(
            f"{path.name} has {size / 2**20:.0f} MB; a checkpoint of images has at most "
            f"{MOST_BYTES // 2**20} MB."
        )
    return path.read_bytes()


def _card_within(content: bytes, source: str) -> ImageCard:
    card = ImageCard.within(content, source)
    if card is None:
        raise CheckpointError(f"{source} has no card in its header.")
    return card


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        start = file.read(8)
        return start + file.read(min(int.from_bytes(start, "little"), 2**21))


def _card_of(path: Path) -> ImageCard:
    return replace(_card_within(_start(path), path.name), name=path.stem)


def _kind(path: Path) -> str | None:
    """ "field" or "classifier"; None of a file of the plane or a damaged one."""
    try:
        metadata = read_header(_start(path), path.name).get("__metadata__", {})
        if RUN_KEY in metadata and KEY not in metadata:
            return "field"
        return _card_of(path).kind
    except CheckpointError:
        return None
