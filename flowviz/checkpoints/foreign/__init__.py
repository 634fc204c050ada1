"""Checkpoints of images from other projects, read into fields on flowviz's U-Net.

A file of torch.save is read without executing anything in it. What the weights do not state is
assumed; the sentences `notes` say what was taken and assumed, and `Assumptions` corrects it.

Sources of the formats:
    torchcfm, https://github.com/atong01/conditional-flow-matching
    flow_matching, https://github.com/facebookresearch/flow_matching/tree/main/examples/image
    diffusers, https://huggingface.co/docs/diffusers/api/models/unet2d
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flowviz.bounds import shown
from flowviz.checkpoints.container import read_header, read_start
from flowviz.checkpoints.errors import CheckpointError
from flowviz.checkpoints.foreign.diffusers import is_diffusers, read_diffusers
from flowviz.checkpoints.foreign.files import (
    Contents,
    is_folder,
    read_content,
    read_file,
    read_folder,
)
from flowviz.checkpoints.foreign.format import Assumptions, ForeignWeights, Format, Model
from flowviz.checkpoints.foreign.guided import has_film, is_guided, read_guided
from flowviz.checkpoints.foreign.schedules import Reversal
from flowviz.checkpoints.foreign.sets import choose, find_sets, groups, is_average, read_weights
from flowviz.checkpoints.images import ImageCard, ImageCheckpoint, load_images
from flowviz.checkpoints.images.cards import check_path
from flowviz.checkpoints.images.fields import learned_field
from flowviz.checkpoints.lookup import PICKLES, folders
from flowviz.networks import Retimed
from flowviz.registry import hint_at

__all__ = [
    "FORMATS",
    "MAX_UPLOAD",
    "Assumptions",
    "ForeignCheckpoint",
    "Format",
    "Found",
    "Model",
    "foreign_files",
    "is_foreign",
    "load_any",
    "load_foreign",
    "load_foreign_bytes",
]

FORMATS = {
    "diffusers": Format("diffusers' UNet2DModel", is_diffusers, read_diffusers),
    "flow_matching": Format(
        "flow_matching's image U-Net", lambda each: is_guided(each) and has_film(each), read_guided
    ),
    "torchcfm": Format(
        "torchcfm's U-Net", lambda each: is_guided(each) and not has_film(each), read_guided
    ),
}
"""The known formats; no two recognise the same weights."""

MAX_UPLOAD = 200 * 2**20
"""Bytes of an uploaded file; larger ones go into a folder named by $FLOWVIZ_CHECKPOINTS."""

MAX_LABEL = 60
"""Characters of a file's name in errors."""

IMAGE_STD = 0.5
"""Standard deviation of natural images in [-1, 1], which foreign weights do not state; that of
CIFAR-10 is 0.499."""

USUAL = Assumptions()


@dataclass(frozen=True)
class ForeignCheckpoint:
    """A field of images from a file of another project.

    Attributes:
        checkpoint: the field with a card made for it.
        origin: name in FORMATS, or "flowviz" for our own.
        notes: what was read and assumed, in sentences.
    """

    checkpoint: ImageCheckpoint
    origin: str
    notes: str


def foreign_files() -> dict[str, Path]:
    """Files and folders of other projects in the checkpoint folders, by their names."""
    files: dict[str, Path] = {}
    for folder in folders():
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            if _looks_foreign(path):
                files.setdefault(path.name, path)
    return files


def is_foreign(name: str | Path) -> bool:
    """Whether a path, or a name among `foreign_files`, looks like a file of another project."""
    path = Path(name).expanduser()
    return _looks_foreign(path) if path.exists() else str(name) in foreign_files()


def load_any(name: str | Path, assume: Assumptions = USUAL) -> ForeignCheckpoint:
    """The field of images of any checkpoint, flowviz's own or another's, by name or path.

    Raises:
        CheckpointError: it is missing, damaged, or of no known format; or `assume` corrects one of
            flowviz, whose card states everything.
    """
    if is_foreign(name):
        return load_foreign(name, assume)
    loaded = ForeignCheckpoint(load_images(name), "flowviz", "flowviz's own checkpoint.")
    if assume.changed:
        raise CheckpointError(
            f"{name} has a card that states its path, prediction and size; leave out "
            f"{', '.join('--' + each.replace('_', '-') for each in assume.changed)}."
        )
    return loaded


def load_foreign(name: str | Path, assume: Assumptions = USUAL) -> ForeignCheckpoint:
    """The field in a file or folder of another project.

    Args:
        name: a path, or a name among `foreign_files`.
        assume: corrections of what is assumed.

    Raises:
        CheckpointError: it is missing, damaged, of no known format, or names code to run.
    """
    file = Path(name).expanduser()
    if not file.exists():
        files = foreign_files()
        if str(name) not in files:
            raise CheckpointError(f"There is no file {name}.{hint_at(str(name), files)}")
        file = files[str(name)]
    try:
        if file.is_dir():
            return _read(read_folder(file, assume.weights), _label(file.name), assume)
        return _read(read_file(file, _label(file.name)), _label(file.name), assume)
    except OSError as error:
        raise CheckpointError(
            f"{_label(file.name)} cannot be read ({error.strerror or error})."
        ) from error


def load_foreign_bytes(
    content: bytes, name: str, assume: Assumptions = USUAL
) -> ForeignCheckpoint:
    """The field in the bytes of an uploaded file; `name` names it. See `load_foreign`."""
    name = _label(name)
    if len(content) > MAX_UPLOAD:
        raise CheckpointError(
            f"{name} has {len(content) / 2**20:.0f} MB, more than the {MAX_UPLOAD // 2**20} MB "
            "of an upload; put it into a folder named by FLOWVIZ_CHECKPOINTS on the server, and "
            "choose it from the menu by its name."
        )
    return _read(read_content(content, name), name, assume)


def _read(contents: Contents, source: str, assume: Assumptions) -> ForeignCheckpoint:
    """The field of the contents, by the first format that recognises the weights."""
    sets = find_sets(contents.saved, _recognised, source)
    if not sets:
        labels = " or ".join(entry.label for entry in FORMATS.values())
        has = ", ".join(shown(key) for key in list(contents.saved)[:3]) or "nothing by name"
        raise CheckpointError(
            f"{source} is of no known format: it must hold the weights of {labels}; it "
            f"has {has}. Save model.state_dict() alone."
        )
    averaged = {name: each.averaged for name, each in sets.items()}
    averaged |= {name: is_average(name) for name in contents.others}
    name, selection = choose(averaged, assume.weights, source)
    chosen = sets[name]
    if not chosen.tensors:
        raise CheckpointError(
            f"{source} has averages by number alone; the model's own weights, which name them, "
            "are missing. Save both, or the averages by name."
        )
    averages = None
    if chosen.numbered is not None:
        by_key = {f"shadow_params.{i}": value for i, value in chosen.numbered.items()}
        read = read_weights(by_key, contents.size, source)
        averages = dict(zip(chosen.numbered, read.values(), strict=True))
    foreign_weights = ForeignWeights(
        source,
        read_weights(chosen.tensors, contents.size, source),
        averages,
        frozenset(averaged),
        contents.config,
        contents.scheduler,
    )
    origin = next(key for key, entry in FORMATS.items() if entry.recognises(chosen.tensors))
    model = FORMATS[origin].read(foreign_weights, assume)
    notes = [f"{FORMATS[origin].label}.", selection, model.notes]
    if assume.changed:
        corrected = ", ".join(f"{key} = {value}" for key, value in assume.changed.items())
        notes.append(f"Corrected by options: {corrected}.")
    checkpoint = _checkpoint(model, source, assume.time_reversed)
    return ForeignCheckpoint(checkpoint, origin, " ".join(notes))


def _recognised(weights: Mapping[str, Any]) -> bool:
    return any(entry.recognises(weights) for entry in FORMATS.values())


def _checkpoint(model: Model, source: str, time_reversed: bool) -> ImageCheckpoint:
    """The field of a model with a card made for it."""
    network = model.network
    if time_reversed:
        network = Retimed(network, Reversal(), sign=-1 if model.objective == "flow" else 1)
    try:
        check_path(model.path, model.objective)
    except ValueError as error:
        raise CheckpointError(f"{source} cannot be read so: {error}") from error
    flags = {"conditional": bool(model.classes), "preconditioned": False, "clocked": False}
    card = ImageCard(
        name=source,
        kind="field",
        data="cifar10" if (model.channels, model.size) == (3, 32) else "",
        classes=model.classes,
        channels=model.channels,
        size=model.size,
        network=asdict(model.shape) | flags,
        path=model.path,
        objective=model.objective,
        std=IMAGE_STD,
    )
    return ImageCheckpoint(card, learned_field(network, card))


def _label(name: str) -> str:
    half = MAX_LABEL // 2  # the ends of names differ, such as the steps of a training
    return name if len(name) <= MAX_LABEL else f"{name[: half - 1]}…{name[-half:]}"


def _looks_foreign(path: Path) -> bool:
    """By the suffix, the names of a folder's files, or the names in a safetensors header."""
    try:
        if path.is_dir():
            return is_folder(path)
        if not path.is_file() or path.suffix.lower() in PICKLES:
            return path.is_file()
        if path.suffix != ".safetensors":
            return False
        header = read_header(read_start(path), path.name)
    except (CheckpointError, OSError):
        return False
    is_own = any(key.startswith("flowviz") for key in header.pop("__metadata__", {}))
    return not is_own and bool(groups(header, _recognised))
