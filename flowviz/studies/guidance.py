"""What should guidance lead away from: no class, or a weaker network?"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from flowviz.experiments.image_judge import classifier_judge, classifier_name
from flowviz.experiments.image_quality import QualityPoint
from flowviz.experiments.images import ImageConfig, check_interval
from flowviz.fields.guided import EVER
from flowviz.metrics.images import IMAGE_METRICS
from flowviz.progress import Progress
from flowviz.settings import Config, setting
from flowviz.studies import Figures, Finding, Findings, Study, Summary, Tables
from flowviz.studies import _settings as declare
from flowviz.studies._images import (
    ImageSide,
    LiveImages,
    Loaded,
    Piece,
    compute_pieces,
    guided_by,
    load_one,
    origin,
    side_of,
)
from flowviz.studies._lines import line_figure, path_line
from flowviz.studies._numbers import joined
from flowviz.studies.image_quality import judge_piece

FREE, INTERVAL, AUTO = "classifier-free", "classifier-free in an interval", "autoguidance"
VARIANTS = (FREE, INTERVAL, AUTO)
"""The ways of guidance."""

APART = 2.0
"""Standard errors of a difference above which two distances are taken as different."""


@dataclass(frozen=True, kw_only=True)
class GuidanceConfig(Config):
    """A network, the weaker one that guides it, and the weights."""

    network: str = setting("cifar10-ot", "Checkpoint", advanced=True, help="It makes the images.")
    guide: str = setting(
        "cifar10-ot-early",
        "Guiding checkpoint",
        advanced=True,
        help="The weaker network of autoguidance, of the same path, image size and classes.",
    )
    weights: tuple[float, ...] = setting(
        (1.0, 1.5, 2.0, 3.0),
        "Weights w",
        bounds=(0.0, 10.0),
        advanced=True,
        help="At w = 1 there is no guidance.",
    )
    guided_from: float = setting(
        0.2, "Interval from t", bounds=EVER, advanced=True, help="Start of the interval."
    )
    guided_to: float = setting(
        0.8, "Interval to t", bounds=EVER, advanced=True, help="End of the interval."
    )
    method: str = declare.method("midpoint", "How noise follows the velocity field.")
    nfe: int = declare.nfe(10, "The cost of an image.")
    judged: int = setting(
        500,
        "Images per cell",
        bounds=(2, 50_000),
        work=1,
        advanced=True,
        help="The same noise in each cell. The distance has a bias that decreases with this "
        "number.",
    )
    seed: int = declare.seed("Seed of the noise")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_interval((self.guided_from, self.guided_to))

    def cells(self) -> list[tuple[str, float]]:
        """Each variant with each weight; at w = 1 all variants are equal, so one cell suffices."""
        cells = [(FREE, 1.0)] if 1.0 in self.weights else []
        return cells + [(variant, w) for w in self.weights if w != 1 for variant in VARIANTS]

    def image_config(self, variant: str, weight: float, classes: int) -> ImageConfig:
        """The settings with which the images of a cell are sampled."""
        return ImageConfig(
            solver=self.method,
            nfe=self.nfe,
            classes=tuple(range(classes)),
            guidance=weight,
            interval=(self.guided_from, self.guided_to) if variant == INTERVAL else EVER,
            n=self.judged,
            seed=self.seed,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class GuidanceResult:
    """The cells that are judged, by way and weight, and both networks."""

    network: ImageSide
    guide: ImageSide
    cells: Mapping[tuple[str, float], QualityPoint]

    def by_weight(self, variant: str) -> list[tuple[float, QualityPoint]]:
        """The weights of a variant with their cells; w = 1 is the cell without guidance."""
        keys = (FREE, 1.0), *(key for key in self.cells if key[0] == variant)
        points = {w: self.cells[key] for key in keys if key in self.cells for w in key[1:]}
        return sorted(points.items())


def compute(
    config: GuidanceConfig, live: LiveImages, progress: Progress
) -> Iterator[GuidanceResult]:
    """Draws and judges the cells in parallel; yields after each.

    Raises:
        ValueError: a checkpoint cannot be read, has no classes, or cannot guide the other one.
    """
    opened = {key: load_one(key, live) for key in (config.network, config.guide)}
    network, guide = (side_of(key, loaded) for key, loaded in opened.items())
    if not network.classes:
        raise ValueError(
            f"Guidance by class needs a network with classes; {network.name} has none. Choose "
            "another checkpoint."
        )
    plain = Loaded(network, opened[config.network].checkpoint, config.network)
    guided = guided_by(plain, config.guide, opened[config.guide].checkpoint)
    judge = progress.cached(classifier_judge, classifier_name(plain.checkpoint.card.data))
    cells = config.cells()
    pieces = [
        Piece(
            checkpoint=(guided if variant == AUTO else plain).key,
            config=config.image_config(variant, weight, len(network.classes)),
        )
        for variant, weight in cells
    ]
    points: dict[tuple[str, float], QualityPoint] = {}
    arguments = {"judge": judge, "known": {plain.key: (), guided.key: ()}}
    for k, point in compute_pieces(progress, judge_piece, pieces, (plain, guided), **arguments):
        points[cells[k]] = point
        yield GuidanceResult(network=network, guide=guide, cells=dict(points))


def draw(config: GuidanceConfig, result: GuidanceResult) -> Figures:
    """The distance and the share of the right class over w, one line for each variant."""
    series = [(k, variant, result.by_weight(variant)) for k, variant in enumerate(VARIANTS)]
    for name in ("frechet", "accuracy"):
        metric, lines = IMAGE_METRICS[name], []
        for k, variant, points in series:
            if not points:
                continue
            y = np.array([point.measures[name] for _, point in points], dtype=float)
            spread = np.array([error_of(point, name) for _, point in points])
            line = path_line(
                result.network.path,
                np.array([w for w, _ in points]),
                y,
                label=variant,
                floor=points[0][1].floor if metric.floored else None,
                band=(y - spread, y + spread),
                k=k,
            )
            lines.append(line)
        yield line_figure(
            name,
            f"{metric.label} over the weight of guidance",
            f"{metric.label} over w, one line for each way of guidance; bands are one standard "
            "error.",
            lines,
            half=True,
            x_title="weight w of guidance",
            y_title=metric.label,
            floor_label="real test images",
            markers=True,
            x_ticks=sorted({w for _, w in result.cells}),
        )


def error_of(point: QualityPoint, name: str) -> float:
    """The standard error of a measure: of a share that of a binomial; NaN if it is unknown."""
    if name == "frechet":
        return np.nan if point.error is None else point.error
    share = point.measures[name] or 0.0
    return float(np.sqrt(share * (1 - share) / point.n))


def table(config: GuidanceConfig, result: GuidanceResult) -> Tables:
    """One row for each cell."""
    return [
        {
            "way": variant,
            "w": weight,
            "guided_from": point.interval[0],
            "guided_to": point.interval[1],
            "guide": point.guide,
            "frechet": point.measures["frechet"],
            "frechet_error": error_of(point, "frechet"),
            "accuracy": point.measures["accuracy"],
            "accuracy_error": error_of(point, "accuracy"),
            "floor": np.nan if point.floor is None else point.floor,
            "nfe": point.nfe,
            "passes": point.passes,
            "n": point.n,
        }
        for (variant, weight), point in result.cells.items()
    ]


def say(config: GuidanceConfig, result: GuidanceResult) -> Findings:
    """The best weight of each variant, the best variant, and how all was measured."""
    done, total = len(result.cells), len(config.cells())
    if done < total:
        yield Finding.so_far(done, total, "cells")
        return
    best = {
        variant: min(result.by_weight(variant), key=lambda each: _frechet(each[1]))
        for variant in VARIANTS
    }
    texts = [f"{variant} {_cell(point)} at w = {w:g}" for variant, (w, point) in best.items()]
    yield Finding(
        lead="Smallest Fréchet distance",
        text=f"{'; '.join(texts)} (in parentheses: the share of the right class). Real images "
        f"have {_floor(result)}.",
        numbers={variant: _frechet(point) for variant, (_, point) in best.items()},
    )
    yield _compared(result, best)
    max_weight = max(w for _, w in result.cells)
    last = {variant: result.by_weight(variant)[-1][1] for variant in VARIANTS}
    shares = {variant: point.measures["accuracy"] or 0.0 for variant, point in last.items()}
    listed = joined([f"{100 * share:.0f}% ({variant})" for variant, share in shares.items()])
    plain = result.cells.get((FREE, 1.0))
    without = "" if plain is None else f"; without guidance in {_share(plain)}"
    yield Finding(
        lead="Right class",
        text=f"at w = {max_weight:g} the classifier finds the wanted class in {listed} of the "
        f"images{without}.",
        numbers=shares,
    )
    yield Finding.note(
        f"{config.judged} images per cell from the same noise, all classes in turn "
        f"({config.method}, NFE {config.nfe}); the interval is t = {config.guided_from:g} to "
        f"{config.guided_to:g}. Where guidance acts, an evaluation takes two network passes. The "
        "Fréchet distance compares features of the shipped classifier. More images give a smaller "
        "distance, so compare it with that of the same number of real images. ± is one standard "
        "error (of the distance by a jackknife); differences are more certain, since all cells "
        "have the same noise."
    )
    for side in (result.network, result.guide):
        yield from origin([side])


def _frechet(point: QualityPoint) -> float:
    return float(point.measures["frechet"] or 0.0)


def _share(point: QualityPoint) -> str:
    return f"{100 * (point.measures['accuracy'] or 0.0):.0f}%"


def _cell(point: QualityPoint) -> str:
    return f"{_frechet(point):.2f} ± {error_of(point, 'frechet'):.2f} ({_share(point)})"


def _floor(result: GuidanceResult) -> str:
    floor = next(iter(result.cells.values())).floor
    return "unknown" if floor is None else f"{floor:.2f}"


def _compared(result: GuidanceResult, best: Mapping[str, tuple[float, QualityPoint]]) -> Finding:
    """Whether autoguidance has a smaller distance than classifier-free guidance, at their best."""
    (weight, auto), points = best[AUTO], result.by_weight(AUTO)
    free = min((best[variant][1] for variant in (FREE, INTERVAL)), key=_frechet)
    gap = _frechet(free) - _frechet(auto)
    spread = float(np.hypot(error_of(auto, "frechet"), error_of(free, "frechet")))
    guide = f"{result.guide.label} after {result.guide.images:,} training images"
    if weight == 1 and len(points) > 1:
        min_weight, worse = points[1]
        text = (
            f"autoguidance by {guide} helps at no weight: the distance is {_frechet(auto):.2f} "
            f"without it and {_frechet(worse):.2f} at w = {min_weight:g}. Classifier-free "
            f"guidance lowers it to {_frechet(free):.2f}."
        )
    else:
        text = (
            f"at their best weights, autoguidance by {guide} has the distance "
            f"{_frechet(auto):.2f} (w = {weight:g}), classifier-free guidance "
            f"{_frechet(free):.2f}, a difference of {gap / spread:.1f} standard errors."
        )
    verdict = "supported" if gap > 0 else "not supported"
    return Finding(
        lead="Weaker network instead of no class",
        text=text,
        numbers={AUTO: _frechet(auto), FREE: _frechet(free), "standard_error": spread},
        verdict="undecided" if abs(gap) < APART * spread else verdict,
    )


def summarise(config: GuidanceConfig, result: GuidanceResult) -> Summary:
    """The Fréchet distance and the share of the right class, one row for each weight."""
    points = {variant: dict(result.by_weight(variant)) for variant in VARIANTS}
    weights = sorted({w for _, w in result.cells})
    return Summary(
        title="Fréchet distance ± standard error (share of the right class)",
        heads=["w", *VARIANTS],
        rows=[
            [f"{w:g}", *(_cell(each[w]) if w in each else "–" for each in points.values())]
            for w in weights
        ],
    )


STUDY = Study(
    __name__,
    "What should guidance lead away from?",
    GuidanceConfig,
    (compute, draw, table, say),
    summary=summarise,
    page="images",
    seconds=300.0,
    smallest={"weights": (1.0, 2.0), "method": "euler", "nfe": 1, "judged": 20},
)
