"""Settings, checkpoints and findings that the studies of images share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from flowviz.checkpoints.foreign import ForeignCheckpoint, load_any
from flowviz.checkpoints.images import ImageCheckpoint, unet_shape
from flowviz.datasets.images import IMAGE_SETS
from flowviz.device import choose_device
from flowviz.experiments.images import ImageConfig
from flowviz.figures import theme
from flowviz.methods import all_methods
from flowviz.networks.memory import activation_bytes
from flowviz.progress import Progress
from flowviz.registry import hint_at
from flowviz.schedulers import scheduler
from flowviz.settings import Config, setting
from flowviz.solvers import METHODS
from flowviz.studies import Finding, Findings
from flowviz.studies import _settings as declare

ALL, NONE = "all", "none"
MAX_GUIDANCE = 10.0
GUIDED = " guided by "
"""What stands in the key of a guided side before that of the guiding checkpoint."""
DEFAULT = ImageConfig()
SHIPPED_BYTES, SHIPPED_PRODUCTS = 524_288, 686_337_024
"""Of a shipped network for one image: activations, and weights times pixels."""

LiveImages: TypeAlias = Mapping[str, ForeignCheckpoint]
"""Loaded checkpoints by the names that a config gives them: NAME@SHA256."""


@dataclass(frozen=True, kw_only=True)
class ImagesConfig(Config):
    """One or two checkpoints of images, and how both draw from the same noise."""

    left: str = setting(
        "cifar10-ot",
        "Left checkpoint",
        advanced=True,
        help="A network of images: the name of a checkpoint, or a file of flowviz, torchcfm, "
        "flow_matching or diffusers. The page lists the files of the folders that "
        "FLOWVIZ_CHECKPOINTS names.",
    )
    right: str = setting(
        "cifar10-vp",
        "Right checkpoint",
        advanced=True,
        help="A second network, which starts from the same noise, image by image; or none.",
    )
    image_class: str = setting(
        ALL,
        "Class",
        slug="class",
        help="The class of the images: one class, all classes in turn, or none, which samples "
        "without a class.",
    )
    guidance: float = setting(
        DEFAULT.guidance,
        "Guidance w",
        bounds=(0.0, MAX_GUIDANCE),
        help="The velocity is u₀ + w (u − u₀): u is that of the class, u₀ that without a class "
        "(classifier-free guidance) or that of a worse network (autoguidance). At w = 1 it is u, "
        "and an evaluation takes one network pass; otherwise it takes two.",
    )
    guide: str = setting(
        "",
        "Guide away from",
        advanced=True,
        help="What gives u₀ in guidance: the same network without a class, or a worse checkpoint "
        "on the same path with the class, such as an earlier snapshot of the training "
        "(autoguidance, Karras et al. 2024).",
    )
    method: str = declare.method(
        DEFAULT.solver,
        "The method that moves noise to an image. With jumps, a network that is not a flow map "
        "takes as many Euler steps.",
        choices=all_methods,
    )
    nfe: int = declare.nfe(
        DEFAULT.nfe,
        "Evaluations of the network for one image. The slider has the numbers that this solver "
        "can take.",
    )
    tol: float = declare.tol(
        DEFAULT.tol,
        "Of an adaptive solver: in each step, the root mean square of the estimated error "
        "over all pixels of a batch stays below it. A single image can have a larger error.",
        minimum=1e-9,
    )
    seed: int = declare.seed(
        "Seed of the noise",
        help="Both sides start from the same noise; image i has the same noise in all views.",
    )

    def work(self, **sizes: float) -> float:
        """See `Config.work`; guidance, as by default, takes two passes for an evaluation."""
        guided = self.guidance != 1 and (self.image_class != NONE or bool(self.guide))
        return super().work(**sizes) * (1 if guided else 0.5)

    def image_config(self, side: "ImageSide", n: int, **changes: Any) -> ImageConfig:
        """How a side draws its first n images; without a class if its network takes none."""
        classes: tuple[int, ...] = ()
        if self.image_class == ALL:
            classes = tuple(range(len(side.classes)))
        elif self.image_class in side.classes:
            classes = (side.classes.index(self.image_class),)
        values = {
            "solver": self.solver_of(side),
            "nfe": self.nfe,
            "tol": self.tol,
            "classes": classes,
            "guidance": self.guidance if classes or self.guide else 1.0,
            "n": n,
            "seed": self.seed,
        }
        return ImageConfig(**values | changes)

    def solver_of(self, side: "ImageSide") -> str:
        """The method with which a side draws: Euler's where it should jump but cannot."""
        return "euler" if METHODS[self.method].jumps and not side.jumps else self.method

    def jumps(self, side: "ImageSide") -> bool:
        """Whether a side has images after its jumps only."""
        return METHODS[self.solver_of(side)].jumps

    @property
    def wanted_class(self) -> str:
        """Class and guidance in a few words."""
        if self.image_class == NONE:
            return "no class"
        name = "all classes in turn" if self.image_class == ALL else self.image_class
        return f"{name}, guidance {self.guidance:g}"


@dataclass(frozen=True, kw_only=True)
class ImageSide:
    """What a result states of a checkpoint.

    Attributes:
        name: of the checkpoint.
        label: what figures and sentences call it: its path, with "flow map" if it is one, and
            `name` unless that is DATA-PATH or DATA-PATH-OBJECTIVE.
        path: spec of its path.
        jumps: whether it is a flow map.
        counted: what `images` counts, for a sentence.
        classes: the classes that its network can be given.
        shape: (C, H, W) of its images.
        images: number of images seen in training; 0 if unknown.
        planned: number of images of the whole training.
        about: what was assumed of a file of another project; else "".
    """

    name: str
    label: str
    path: str
    jumps: bool
    counted: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    images: int
    planned: int
    about: str

    def class_names(self, config: ImageConfig) -> list[str]:
        """The class of each image of a config."""
        if not config.classes:
            return ["no class"] * config.n
        return [self.classes[config.classes[i % len(config.classes)]] for i in range(config.n)]


class Loaded(NamedTuple):
    """A side with its network; `key` is its name in the config, which identifies its weights."""

    side: ImageSide
    checkpoint: ImageCheckpoint
    key: str


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Work on one checkpoint; it identifies the result in a cache.

    Attributes:
        checkpoint: its key, see `Loaded`.
        config: of the images.
        task: what is computed of them, where a function computes several things.
        parameter: a number that the result depends on besides the config, such as a seed.
    """

    checkpoint: str
    config: ImageConfig
    task: str = ""
    parameter: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Sides:
    """The sides that are complete, each with its result."""

    results: tuple[tuple[ImageSide, Any], ...]

    @property
    def ranks(self) -> list[int]:
        """The number of each side among those of its path, see `theme.style`."""
        return theme.ranks([side.path for side, _ in self.results])


def size_factor(sides: Sequence[Loaded]) -> float:
    """How much longer than a shipped network the largest network takes, roughly; at least 1.

    Convolutions take a product for each weight and pixel; the activations of an attention grow
    with the square of the pixels, as its products do.
    """
    factor = 1.0
    for side in sides:
        card = side.checkpoint.card
        shape = unet_shape(card)
        pixels = (card.size // shape.patch) ** 2
        weights = sum(weight.numel() for weight in side.checkpoint.field.parameters())
        activations = activation_bytes(shape, card.channels, card.size)
        factor = max(factor, weights * pixels / SHIPPED_PRODUCTS, activations / SHIPPED_BYTES)
    return factor


def load_sides(config: ImagesConfig, live: LiveImages | None = None) -> list[Loaded]:
    """The sides of a config: those of `live` by their names there, others from their files.

    With a guiding checkpoint each side has it, and a side that it cannot guide is left out.

    Raises:
        ValueError: a checkpoint cannot be read, both differ in the size of their images, the
            class is unknown, or no side can be guided.
    """
    names = dict.fromkeys(name for name in (config.left, config.right) if name != NONE)
    if not names:
        raise ValueError("One checkpoint or two are needed; got none.")
    loaded = [(key, load_one(key, live)) for key in names]
    sides = [Loaded(side_of(key, each), each.checkpoint, key) for key, each in loaded]
    shapes = list(dict.fromkeys(each.side.shape for each in sides))
    if len(shapes) > 1:
        sizes = " and ".join("×".join(map(str, shape)) for shape in shapes)
        raise ValueError(f"Both sides must draw images of one size; got {sizes}. Choose others.")
    known = {name: None for each in sides for name in each.side.classes}
    if known and config.image_class not in {ALL, NONE, *known}:
        hint = hint_at(config.image_class, known)
        classes = ", ".join([*known, ALL, NONE])
        raise ValueError(f"Unknown class {config.image_class!r}.{hint} There are: {classes}.")
    return _guided(sides, config.guide, live) if config.guide else sides


def load_one(key: str, live: LiveImages | None) -> ForeignCheckpoint:
    """The checkpoint of `live` with this name, or that of a file.

    Raises:
        ValueError: it cannot be read.
    """
    return (live or {}).get(key) or on_device(load_any(key))


def guided_by(loaded: Loaded, key: str, guide: ImageCheckpoint) -> Loaded:
    """A side with a guiding checkpoint; its own key then names both.

    Raises:
        ValueError: it cannot guide the checkpoint of this side.
    """
    checkpoint = replace(loaded.checkpoint, guide=guide)
    return loaded._replace(checkpoint=checkpoint, key=f"{loaded.key}{GUIDED}{key}")


def _guided(sides: Sequence[Loaded], key: str, live: LiveImages | None) -> list[Loaded]:
    """The sides that a checkpoint can guide, with it."""
    guide = load_one(key, live).checkpoint
    guided, refused = [], None
    for side in sides:
        try:
            guided.append(guided_by(side, key, guide))
        except ValueError as error:
            refused = error
    if not guided:
        assert refused is not None
        raise refused
    return guided


def on_device(loaded: ForeignCheckpoint) -> ForeignCheckpoint:
    """The checkpoint on the device that draws, with the class names of its image set."""
    card = loaded.checkpoint.card
    classes = IMAGE_SETS[card.data].classes if card.data in IMAGE_SETS else ()
    if classes and len(card.classes) == len(classes):
        checkpoint = replace(loaded.checkpoint, card=replace(card, classes=classes))
        loaded = replace(loaded, checkpoint=checkpoint)
    device = choose_device()
    if device.type == "cuda":  # other accelerators lack float64, the type of times
        loaded.checkpoint.field.to(device)
    return loaded


def side_of(key: str, loaded: ForeignCheckpoint) -> ImageSide:
    """What a result states of a checkpoint."""
    checkpoint = loaded.checkpoint
    card, name = checkpoint.card, key.rpartition("@")[0] or checkpoint.card.name
    default_name = f"{card.data}-{card.path}{'-distillation' if card.jumps else ''}"
    named = "" if name == default_name else f" ({name})"
    return ImageSide(
        name=name,
        label=f"{scheduler(card.path).label}{' flow map' if card.jumps else ''}{named}",
        path=card.path,
        jumps=card.jumps,
        counted="jumps of its teacher" if card.objective == "distillation" else "images",
        classes=card.classes if checkpoint.conditional else (),
        shape=checkpoint.shape,
        images=card.images,
        planned=card.planned,
        about="" if loaded.origin == "flowviz" else loaded.notes,
    )


def noticed_jumps(config: ImagesConfig, live: LiveImages | None = None) -> str:
    """What one sees with the solver “jumps”; "" without it.

    Raises:
        ValueError: a checkpoint cannot be read.
    """
    if not METHODS[config.method].jumps:
        return ""
    keys = {"Left": config.left, "Right": config.right}
    jumps = {
        k: load_one(key, live).checkpoint.card.jumps for k, key in keys.items() if key != NONE
    }
    if not any(jumps.values()):
        return "No flow map is chosen, and only flow maps jump: Euler steps replace the jumps."
    if all(jumps.values()):
        return declare.JUMPING.replace("j", "J", 1)
    left, right = sorted(jumps, key=lambda side: not jumps[side])
    return f"{left}: {declare.JUMPING} {right}: no flow map, so as many Euler steps."


def solvers_of(sides: Sequence[ImageSide], solvers: Sequence[str]) -> str:
    """The label of the solver of all sides, or of each side where they differ."""
    labels = [METHODS[solver].label for solver in solvers]
    if len(set(labels)) == 1:
        return labels[0]
    pairs = zip(sides, labels, strict=True)
    return ", ".join(f"{label} for {side.label}" for side, label in pairs)


def compute_pieces(
    progress: Progress,
    compute: Callable[..., Any],
    pieces: Sequence[Piece],
    sides: Sequence[Loaded],
    **arguments: Any,
) -> Iterator[tuple[int, Any]]:
    """Computes pieces in parallel; yields index and result of each as it ends.

    `compute(piece, checkpoint=..., **arguments)` makes the result of a piece.
    """
    checkpoints = {each.key: each.checkpoint for each in sides}
    work = [
        partial(
            progress.cached,
            compute,
            piece,
            checkpoint=checkpoints[piece.checkpoint],
            **arguments,
        )
        for piece in pieces
    ]
    return progress.in_parallel(work)


def compute_sides(
    config: ImagesConfig,
    live: LiveImages | None,
    progress: Progress | None,
    compute: Callable[..., Any],
    *,
    n: int,
    parameter: int = 0,
) -> Iterator[Sides]:
    """Computes one piece of n images for each side, in parallel; yields after each."""
    sides, results = load_sides(config, live), {}
    pieces = [
        Piece(checkpoint=each.key, config=config.image_config(each.side, n), parameter=parameter)
        for each in sides
    ]
    for k, result in compute_pieces(progress or Progress(), compute, pieces, sides):
        results[k] = (sides[k].side, result)
        yield Sides(results=tuple(results[i] for i in sorted(results)))


def origin(sides: Sequence[ImageSide]) -> Findings:
    """How long the sides were trained, and what was assumed of files of other projects."""
    texts = []
    for side in sides:
        if side.images:
            planned = f" of {side.planned / 1e6:.2f}" if side.planned > side.images else ""
            count = f"{side.images / 1e6:.2f}{planned} M {side.counted}"
            texts.append(f"{side.label} was trained on {count}")
    if texts:
        text = f"{'; '.join(texts)}."
        counts = [side.images for side in sides if side.images and side.counted == "images"]
        if len(counts) == 2 and max(counts) > 1.05 * min(counts):
            text += (
                " The two were not trained equally long: compare when their images form, not how "
                "good they are."
            )
        yield Finding(lead="Training", text=text, detail=True)
    yield from (
        Finding(lead=side.label, text=side.about, detail=True) for side in sides if side.about
    )
