"""The sheets of images: in which pieces they are drawn, and what stands where."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flowviz.bounds import MAX_SEED
from flowviz.checkpoints.images import ImageCheckpoint
from flowviz.datasets.cifar import CIFAR10_CLASSES
from flowviz.experiments.image_views import all_classes, interpolation
from flowviz.experiments.images import BATCH, check_interval, nearest_nfe, sample
from flowviz.fields.guided import EVER
from flowviz.settings import setting
from flowviz.solvers import METHODS
from flowviz.studies._images import NONE, ImagesConfig, ImageSide, Loaded, Piece

VIEWS = {
    "samples": "Samples",
    "nfe": "Grid over NFE",
    "noises": "Between two noises",
    "classes": "All classes",
    "guidance": "Guidance",
}
COLUMNS = 5
"""Images of a row over NFE or guidance."""
ROWS = 3
"""Rows along which the noise or the class changes."""
SHARES = 9
"""Images from one noise to another."""
WEIGHTS = (0.0, 1.0, 2.0, 3.0, 5.0)
NFES = (2, 5, 10, 20, 50, 100)
"""NFE of the rows of the grid, or the nearest that the solver can use."""
JUMP_NFES = (1, 2, 4, 20)
"""NFE of the rows with jumps."""
REPLACEMENT = "midpoint"
"""The solver of the grid over NFE if the chosen one is adaptive."""


@dataclass(frozen=True, kw_only=True)
class ImageGridConfig(ImagesConfig):
    """A sheet of images for each side."""

    view: str = setting(
        "samples", "What changes", choices=VIEWS, help="What differs between the images."
    )
    n: int = setting(
        16,
        "Images per side",
        bounds=(1, 1_024),
        work=1,
        offered=(16, 36, 64),
        unit="images",
        help="Number of samples; the other views have fixed numbers.",
    )
    to: int = setting(
        1,
        "Seed of the other noise",
        kind="seed",
        bounds=(0, MAX_SEED),
        help="Each row ends at the noise of this seed.",
    )
    guided_from: float = setting(
        EVER[0],
        "Guidance from t",
        bounds=EVER,
        help="Before this time w is 1, which takes one network pass instead of two "
        "(Kynkäänniemi et al. 2024).",
    )
    guided_to: float = setting(
        EVER[1], "Guidance to t", bounds=EVER, help="After this time w is 1, too."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_interval(self.interval)

    def work(self, **sizes: float) -> float:
        """See `Config.work`; only the number of samples can be chosen."""
        fixed = {
            "nfe": {"n": COLUMNS * len(NFES), "nfe": sum(NFES) / len(NFES)},
            "noises": {"n": ROWS * SHARES},
            "classes": {"n": ROWS * len(CIFAR10_CLASSES)},
            "guidance": {"n": COLUMNS * len(WEIGHTS)},
        }
        return super().work(**sizes | fixed.get(self.view, {}))

    @property
    def interval(self) -> tuple[float, float]:
        """The times at which guidance acts, see `ImageConfig`."""
        return self.guided_from, self.guided_to


class Drawn(NamedTuple):
    """Images (b, C, H, W) with NFE and network passes per image; NaN if they are not counted."""

    images: NDArray[np.uint8]
    nfe: float = np.nan
    passes: float = np.nan


class Layout(NamedTuple):
    """The pieces of a side, each `stride` images after the one before, and what stands where."""

    pieces: Sequence[Piece]
    stride: int
    columns: int
    classes: Sequence[str]
    row_labels: Sequence[str] = ()
    column_labels: Sequence[str] = ()


def able(config: ImageGridConfig, sides: Sequence[Loaded]) -> list[Loaded]:
    """The sides that can be drawn: some sheets need a network that can be given a class.

    Raises:
        ValueError: there is none.
    """
    if config.view not in ("classes", "guidance"):
        return list(sides)
    if config.view == "guidance" and config.guide:
        return list(sides)
    if config.view == "guidance" and config.image_class == NONE:
        raise ValueError(
            "Guidance needs a class or a guiding checkpoint: choose a class, or all in turn."
        )
    with_classes = [each for each in sides if each.side.classes]
    if not with_classes:
        raise ValueError("None of the checkpoints was trained with classes; choose another one.")
    return with_classes


def draw_piece(piece: Piece, *, checkpoint: ImageCheckpoint) -> Drawn:
    """The images of a piece; `at` is the first image, or the seed of the other noise."""
    if piece.task == "sample":
        (batch,) = sample(checkpoint, piece.config, starts=[piece.parameter])
        return Drawn(batch.images, batch.nfe, batch.passes)
    if piece.task == "between":
        rows = interpolation(checkpoint, piece.config, to_seed=piece.parameter, steps=SHARES)
    else:
        rows = all_classes(checkpoint, piece.config)
    return Drawn(rows.reshape(-1, *checkpoint.shape))


def _samples(config: ImageGridConfig, loaded: Loaded) -> Layout:
    image_config = config.image_config(loaded.side, config.n)
    pieces = [
        Piece(checkpoint=loaded.key, task="sample", config=image_config, parameter=start)
        for start in range(0, config.n, BATCH)
    ]
    return Layout(pieces, BATCH, ceil(sqrt(config.n)), loaded.side.class_names(image_config))


def _over_nfe(config: ImageGridConfig, loaded: Loaded) -> Layout:
    solver = fixed_solver(config, loaded.side)
    requested = JUMP_NFES if METHODS[config.method].jumps else NFES
    nfes = list(dict.fromkeys(nearest_nfe(solver, nfe) for nfe in requested))
    return _sweep(config, loaded, {str(nfe): {"solver": solver, "nfe": nfe} for nfe in nfes})


def fixed_solver(config: ImageGridConfig, side: ImageSide) -> str:
    """The solver of a side in the grid over NFE."""
    return REPLACEMENT if METHODS[config.method].adaptive else config.solver_of(side)


def _over_guidance(config: ImageGridConfig, loaded: Loaded) -> Layout:
    rows = {f"{w:g}": {"guidance": w, "interval": config.interval} for w in WEIGHTS}
    return _sweep(config, loaded, rows)


def _sweep(
    config: ImageGridConfig, loaded: Loaded, changes: Mapping[str, Mapping[str, object]]
) -> Layout:
    """One row of the same noises for each change of the config, by its label."""
    configs = [config.image_config(loaded.side, COLUMNS, **change) for change in changes.values()]
    names = loaded.side.class_names(configs[0])
    heads = names if configs[0].classes else [f"noise {i + 1}" for i in range(COLUMNS)]
    pieces = [Piece(checkpoint=loaded.key, task="sample", config=each) for each in configs]
    return Layout(pieces, COLUMNS, COLUMNS, names * len(configs), list(changes), heads)


def _between(config: ImageGridConfig, loaded: Loaded) -> Layout:
    image_config = config.image_config(loaded.side, ROWS)
    names = loaded.side.class_names(image_config)
    shares = [f"{i / (SHARES - 1):.3g}"[:4] for i in range(SHARES)]
    piece = Piece(checkpoint=loaded.key, task="between", config=image_config, parameter=config.to)
    return Layout([piece], 0, SHARES, [name for name in names for _ in shares], names, shares)


def _over_classes(config: ImageGridConfig, loaded: Loaded) -> Layout:
    image_config = config.image_config(loaded.side, ROWS, classes=(), guidance=config.guidance)
    names, rows = loaded.side.classes, [f"noise {i + 1}" for i in range(ROWS)]
    piece = Piece(checkpoint=loaded.key, task="classes", config=image_config)
    return Layout([piece], 0, len(names), names * ROWS, rows, names)


LAYOUTS = {
    "samples": _samples,
    "nfe": _over_nfe,
    "noises": _between,
    "classes": _over_classes,
    "guidance": _over_guidance,
}
