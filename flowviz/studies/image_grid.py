"""What changes an image? Sheets of images over noise, NFE, class and guidance, on two sides."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flowviz.datasets.images import montage
from flowviz.fields.guided import EVER
from flowviz.figures import theme
from flowviz.figures.images import Mosaic, mosaics
from flowviz.metrics.image_pairs import (
    between_classes_and_noises,
    clipped,
    distance,
    same_noise,
    step_sizes,
)
from flowviz.progress import Progress
from flowviz.solvers import METHODS
from flowviz.studies import Figures, Finding, Findings, NamedFigure, Study, Tables
from flowviz.studies._image_sheets import (
    LAYOUTS,
    SHARES,
    VIEWS,
    WEIGHTS,
    Drawn,
    ImageGridConfig,
    Layout,
    able,
    draw_piece,
    fixed_solver,
)
from flowviz.studies._images import (
    ImageSide,
    LiveImages,
    Loaded,
    compute_pieces,
    load_sides,
    origin,
    solvers_of,
)

ROW_TITLES = {"nfe": "NFE", "guidance": "w"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Panel:
    """The sheet of one side.

    Attributes:
        side: its checkpoint.
        images: (n, C, H, W), row by row; white where an image is not drawn yet.
        known: (n,), whether an image is drawn.
        nfe: (n,), number of function evaluations; NaN if not counted.
        passes: (n,), network passes.
        classes: the class of each image.
    """

    side: ImageSide
    images: NDArray[np.uint8]
    known: NDArray[np.bool_]
    nfe: NDArray[np.float64]
    passes: NDArray[np.float64]
    classes: Sequence[str]


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageGrid:
    """The sheets of all sides, complete or not."""

    panels: tuple[Panel, ...]
    columns: int
    row_labels: Sequence[str]
    column_labels: Sequence[str]

    @property
    def drawn(self) -> tuple[int, int]:
        """Number of images that are drawn, and of all."""
        known = np.concatenate([panel.known for panel in self.panels])
        return int(known.sum()), len(known)

    def rows(self, panel: Panel) -> list[NDArray[np.uint8] | None]:
        """The rows (columns, C, H, W) of a sheet; None for one that is not complete."""
        starts = range(0, len(panel.known), self.columns)
        parts = [slice(start, start + self.columns) for start in starts]
        return [panel.images[part] if panel.known[part].all() else None for part in parts]


def compute(config: ImageGridConfig, live: LiveImages, progress: Progress) -> Iterator[ImageGrid]:
    """Draws the pieces of all sides in parallel, the first rows first; yields after each.

    Raises:
        ValueError: a checkpoint cannot be read or does not fit the config.
    """
    sides = able(config, load_sides(config, live))
    layouts = [LAYOUTS[config.view](config, each) for each in sides]
    panels = [_blank(loaded, each) for loaded, each in zip(sides, layouts, strict=True)]
    pieces = [(k, row) for row in range(len(layouts[0].pieces)) for k in range(len(sides))]
    work = [layouts[k].pieces[row] for k, row in pieces]
    for index, result in compute_pieces(progress, draw_piece, work, sides):
        k, row = pieces[index]
        panels[k] = _filled(panels[k], row * layouts[k].stride, result)
        yield ImageGrid(
            panels=tuple(panels),
            columns=layouts[0].columns,
            row_labels=layouts[0].row_labels,
            column_labels=layouts[0].column_labels,
        )


def _blank(loaded: Loaded, layout: Layout) -> Panel:
    n = len(layout.classes)
    return Panel(
        side=loaded.side,
        images=np.full((n, *loaded.side.shape), 255, np.uint8),
        known=np.zeros(n, bool),
        nfe=np.full(n, np.nan),
        passes=np.full(n, np.nan),
        classes=layout.classes,
    )


def _filled(panel: Panel, start: int, result: Drawn) -> Panel:
    """The panel with the images of a piece; arrays are copied, since a page shows earlier ones."""
    arrays = {}
    for name, value in {**result._asdict(), "known": True}.items():
        arrays[name] = getattr(panel, name).copy()
        arrays[name][start : start + len(result.images)] = value
    return replace(panel, **arrays)


def draw(config: ImageGridConfig, result: ImageGrid) -> Figures:
    """The sheets side by side."""
    panels = [
        Mosaic(
            label=panel.side.label,
            colour=theme.path_colour(panel.side.path),
            pixels=montage(panel.images, result.columns),
        )
        for panel in result.panels
    ]
    figure = mosaics(
        panels,
        rows=result.row_labels,
        columns=result.column_labels,
        row_title=ROW_TITLES.get(config.view, ""),
    )
    yield NamedFigure(
        name="sheet",
        title=VIEWS[config.view].lower(),
        alt="Images in rows and columns, from the same noise on all sides.",
        figure=figure,
    )


def table(config: ImageGridConfig, result: ImageGrid) -> Tables:
    """One row for each image."""
    tables = []
    for panel in result.panels:
        row, column = np.divmod(np.arange(len(panel.known)), result.columns)
        tables.append(
            {
                "checkpoint": panel.side.name,
                "row": row + 1,
                "column": column + 1,
                "class": np.array(panel.classes),
                "nfe": panel.nfe,
                "passes": panel.passes,
                "mean": panel.images.mean(axis=(1, 2, 3)),
                "clipped": np.array([clipped(image) for image in panel.images]),
            }
        )
    return tables


def say(config: ImageGridConfig, result: ImageGrid) -> Findings:
    """What there is to notice once all images are drawn."""
    done, total = result.drawn
    if done < total:
        yield Finding(text=f"{done} of {total} images are drawn.")
        return
    yield from SAYS[config.view](config, result)
    yield from origin([panel.side for panel in result.panels])


def _measured(
    result: ImageGrid, measure: Callable[[NDArray[np.uint8]], Mapping[str, float]], form: str
) -> tuple[str, dict[str, float]]:
    """What is measured of each sheet (rows, columns, C, H, W), as text and by name."""
    texts, numbers = [], {}
    for panel in result.panels:
        images = panel.images.reshape(-1, result.columns, *panel.images.shape[1:])
        values = measure(images)
        texts_of_values = (form.format(name=name, value=value) for name, value in values.items())
        texts.append(f"{panel.side.label} {', '.join(texts_of_values)}")
        numbers |= {f"{panel.side.name} {name}": value for name, value in values.items()}
    return "; ".join(texts), numbers


def _say_samples(config: ImageGridConfig, result: ImageGrid) -> Findings:
    nfe, passes = (
        float(np.mean([getattr(panel, name).mean() for panel in result.panels]))
        for name in ("nfe", "passes")
    )
    adaptive = METHODS[config.method].adaptive
    spent = f"tolerance {config.tol:g}" if adaptive else f"NFE {config.nfe}"
    sides = [panel.side for panel in result.panels]
    solver = solvers_of(sides, [config.solver_of(side) for side in sides])
    text = (
        f"{config.n} images per side from the same noise ({solver}, {spent}; "
        f"{config.wanted_class}) took {nfe:.0f} evaluation{'' if nfe == 1 else 's'} each"
    )
    if passes > nfe:
        text += (
            f" and {passes:.0f} passes of the network, since guidance needs two velocities in "
            "each evaluation"
        )
    yield Finding(lead="Cost", text=f"{text}.", numbers={"nfe": nfe, "passes": passes})
    if len(result.panels) == 2 and config.n > 1:
        left, right = result.panels
        same, other = same_noise(left.images, right.images, left.classes)
        relation = "resemble each other" if same < 0.8 * other else "are hardly related"
        text = (
            f"images from the same noise {relation} on the two sides: they differ by {same:.0f}, "
            "and "
            f"images from different noises by {other:.0f} (root mean square of pixels in 0..255)."
        )
        numbers = {"same": same, "different": other}
        yield Finding(lead="Same noise", text=text, numbers=numbers)


def _say_nfe(config: ImageGridConfig, result: ImageGrid) -> Findings:
    labels, sides = result.row_labels, [panel.side for panel in result.panels]
    solvers = [fixed_solver(config, side) for side in sides]
    named_nfes = (1, 2, 4) if METHODS[config.method].jumps else (4, 5, 9, 10, 20)
    rows_named = [k for k, nfe in enumerate(labels) if int(nfe) in named_nfes] or [0, 1]
    measured_text, numbers = _measured(
        result,
        lambda rows: {f"NFE {labels[k]}": distance(rows[k], rows[-1]) for k in rows_named},
        "{value:.0f} at {name}",
    )
    text = (
        f"root mean square difference of the pixels (0..255) from the row NFE {labels[-1]}: "
        f"{measured_text}. Each column has the same noise in all rows and on both sides "
        f"({solvers_of(sides, solvers)}; {config.wanted_class})."
    )
    yield Finding(lead="Error of few evaluations", text=text, numbers=numbers)
    if METHODS[config.method].adaptive:
        text = (
            f"{METHODS[config.method].label} chooses its own NFE, so this grid uses the "
            f"{METHODS[solvers[0]].label.lower()} method."
        )
        yield Finding.note(text)


def _say_noises(config: ImageGridConfig, result: ImageGrid) -> Findings:
    measured_text, numbers = _measured(
        result,
        lambda rows: dict(zip(("mean", "largest"), step_sizes(rows), strict=True)),
        "{value:.0f} ({name})",
    )
    text = (
        f"root mean square difference of the pixels (0..255) of neighbours: {measured_text}. A "
        "row has "
        f"{SHARES - 1} equal steps along a great arc from the noise of seed {config.seed} to that "
        f"of seed {config.to}. The flow is continuous, so similar noise gives similar images."
    )
    why = (
        "On a straight line between two noises, the noise in the middle would be too short by a "
        "factor of √2, which gives a dull image. On the great arc it keeps its length."
    )
    yield Finding(lead="Neighbours", text=text, numbers=numbers)
    yield Finding.note(why)


def _say_classes(config: ImageGridConfig, result: ImageGrid) -> Findings:
    names = "two classes from one noise", "two noises in one class"
    measured_text, numbers = _measured(
        result,
        lambda rows: dict(zip(names, between_classes_and_noises(rows), strict=True)),
        "{value:.0f} ({name})",
    )
    text = (
        f"root mean square difference of the pixels (0..255): {measured_text}. Where the first "
        "number is "
        "the smaller one, the noise determines more of an image (layout, colours) than the class."
    )
    yield Finding(lead="What the noise keeps", text=text, numbers=numbers)


def _say_guidance(config: ImageGridConfig, result: ImageGrid) -> Findings:
    names = [f"w = {weight:g}" for weight in WEIGHTS]
    measured_text, numbers = _measured(
        result,
        lambda rows: {name: 100 * clipped(row) for name, row in zip(names, rows, strict=True)},
        "{value:.0f}% at {name}",
    )
    first, last = config.interval
    effect = "At w = 0 the class has no effect."
    cause = "guidance strengthens what is typical of the class"
    if config.guide:
        guide = config.guide.rpartition("@")[0] or config.guide
        effect = f"At w = 0 the images are those of {guide}."
        cause = f"guidance leads away from {guide}"
    if config.interval != EVER:
        effect = f"w acts for t = {first:g} to {last:g}; at other times it is 1."
    if _oversaturates(numbers, len(names)):
        cause += " and oversaturates at large w"
    text = f"{cause}. Pixel values at 0 or 255: {measured_text}. {effect}"
    yield Finding(lead="Guidance", text=text, numbers=numbers)


def _oversaturates(numbers: Mapping[str, float], count: int) -> bool:
    """Whether on every side more values are clipped at large weights than at small ones."""
    sides = np.array(list(numbers.values())).reshape(-1, count)
    return bool((sides[:, count // 2 :].max(axis=1) > 1.5 * sides.min(axis=1)).all())


SAYS = {
    "samples": _say_samples,
    "nfe": _say_nfe,
    "noises": _say_noises,
    "classes": _say_classes,
    "guidance": _say_guidance,
}

STUDY = Study(
    __name__,
    "What changes an image: noise, NFE, class or guidance?",
    ImageGridConfig,
    (compute, draw, table, say),
    page="images",
    seconds=3.0,
    smallest={"right": "none", "method": "euler", "nfe": 2, "n": 4},
)
