"""How good are images for what they cost? Stored measurements of checkpoints, and new ones."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from flowviz.checkpoints.images import ImageCheckpoint, is_images, read_quality
from flowviz.experiments.image_judge import Judge, classifier_judge, classifier_name
from flowviz.experiments.image_quality import (
    BATCH,
    QualityPoint,
    nfe_configs,
    points_from,
    quality_sweep,
)
from flowviz.figures import theme
from flowviz.methods import expected_nfe
from flowviz.metrics.images import IMAGE_METRICS
from flowviz.progress import Progress
from flowviz.settings import setting
from flowviz.solvers import METHODS
from flowviz.studies import Figures, Finding, Findings, NamedFigure, Study, Tables
from flowviz.studies._image_points import (
    JudgedSide,
    Kind,
    failures,
    jumping,
    kind_of,
    leaders,
    smallest,
    value_of,
)
from flowviz.studies._image_sheets import JUMP_NFES
from flowviz.studies._images import (
    GUIDED,
    ImagesConfig,
    ImageSide,
    LiveImages,
    Loaded,
    Piece,
    compute_pieces,
    load_sides,
    origin,
)
from flowviz.studies._lines import line_figure, nfe_figure, path_line
from flowviz.studies.image_straightness import steps_figure

NFES = (2, 5, 10, 20, 50)
"""Budgets at which quality is measured."""
SECONDS = 0.0013
"""Time of a pass of the shipped networks, per image, on two cores."""
TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
JUDGE = classifier_name("cifar10")
"""The classifier that judges new points."""


@dataclass(frozen=True, kw_only=True)
class ImageQualityConfig(ImagesConfig):
    """Quality against NFE and against training images."""

    judged: int = setting(
        200,
        "Images per point",
        bounds=(2, 50_000),
        work=1,
        offered=(200, 500, 1_000),
        help="Images of a new measurement. The more images, the smaller the bias of the distance.",
    )
    measure: bool = setting(
        False,
        "Measure new points",
        advanced=True,
        help="Also draws and judges images at these settings; otherwise only stored points are "
        "shown.",
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageQuality:
    """All sides; `unmeasurable` says why new points cannot be measured, "" if they can."""

    sides: tuple[JudgedSide, ...]
    unmeasurable: str


def compute(
    config: ImageQualityConfig, live: LiveImages, progress: Progress
) -> Iterator[ImageQuality]:
    """Reads stored points, and with `measure` adds new ones; yields after each.

    Raises:
        ValueError: a checkpoint cannot be read, or new points cannot be measured.
    """
    sides = load_sides(config, live)
    try:
        judge, reason = progress.cached(classifier_judge, JUDGE), ""
    except ValueError as error:
        judge, reason = None, str(error)
    if judge is not None and sides[0].side.shape[1:] != (judge.card.size, judge.card.size):
        size = sides[0].side.shape[-1]
        reason = (
            f"The classifier judges images of {judge.card.size} × {judge.card.size}, not of "
            f"{size} × {size}."
        )
    judged = [stored(each, judge) for each in sides]
    yield ImageQuality(sides=tuple(judged), unmeasurable=reason)
    if not config.measure:
        return
    if reason:
        raise ValueError(reason)
    pieces = [
        Piece(checkpoint=each.key, config=image_config)
        for each in sides
        for image_config in budgets(config, each)
    ]
    pieces.sort(key=lambda piece: piece.config.nfe)
    keys = [each.key for each in sides]
    known = {key: side.points for key, side in zip(keys, judged, strict=True)}
    arguments = {"judge": judge, "known": known}
    for index, point in compute_pieces(progress, judge_piece, pieces, sides, **arguments):
        k = keys.index(pieces[index].checkpoint)
        points = {each.key: each for each in (*judged[k].points, point)}
        judged[k] = replace(judged[k], points=tuple(points.values()))
        yield ImageQuality(sides=tuple(judged), unmeasurable=reason)


def judge_piece(
    piece: Piece,
    *,
    checkpoint: ImageCheckpoint,
    judge: Judge,
    known: Mapping[str, Sequence[QualityPoint]],
) -> QualityPoint:
    """The quality of a piece, or the stored one of the same config."""
    (point,) = quality_sweep(checkpoint, [piece.config], judge, known=known[piece.checkpoint])
    return point


def budgets(config: ImageQualityConfig, loaded: Loaded) -> list[Any]:
    """The configs of new points: one for an adaptive solver, else one for each of NFES."""
    image_config = config.image_config(loaded.side, config.judged)
    nfes = JUMP_NFES if METHODS[config.method].jumps else NFES
    return [image_config] if image_config.adaptive else nfe_configs(image_config, nfes)


def cost(config: ImageQualityConfig, sides: Sequence[Loaded]) -> float:
    """Estimated seconds of new points, on two cores with shipped networks, see `size_factor`."""
    configs = [each for loaded in sides for each in budgets(config, loaded)]
    passes = [
        expected_nfe(each.solver, each.nfe, each.tol)
        * (2 if (each.classes or config.guide) and each.guidance != 1 else 1)
        for each in configs
    ]
    return SECONDS * sum(passes) * -(-config.judged // BATCH) * BATCH


def stored(loaded: Loaded, judge: Judge | None) -> JudgedSide:
    """The points in the file next to a checkpoint of flowviz, if the same classifier made them."""
    key, left_out = loaded.key.partition(GUIDED)[0], ""
    quality: dict[str, Any] = {}
    name = key.rpartition("@")[0] or key
    if is_images(name):
        quality = read_quality(name)
    if quality.get("sha256") != loaded.checkpoint.card.sha256:
        quality = {}
    if quality.get("protocol") and judge is not None and not judge.measured(quality):
        left_out = (
            f"the numbers stored beside {loaded.side.name} are those of another classifier than "
            "the shipped one and are left out; move that file away and measure again by "
            f"flowviz evaluate {loaded.side.name} --save."
        )
        quality = {"steps": quality.get("steps")}
    return JudgedSide(
        side=loaded.side,
        points=tuple(points_from(quality)),
        training=tuple(sorted(quality.get("training", []), key=lambda entry: entry["images"])),
        steps=quality.get("steps") or {},
        left_out=left_out,
    )


def draw(config: ImageQualityConfig, result: ImageQuality) -> Figures:
    """Each measure against NFE, the distance over training, and stored steps."""
    points = [point for side in result.sides for point in side.points]
    named = [name for name in IMAGE_METRICS if any(value_of(p, name) is not None for p in points)]
    yield from (_against_nfe(result, name) for name in named)
    ranks = theme.ranks([each.side.path for each in result.sides])
    lines = [
        path_line(
            each.side.path,
            np.array([entry["images"] / 1e6 for entry in each.training]),
            np.array([entry["frechet"] for entry in each.training]),
            label=f"{each.side.label}, NFE {each.training[-1]['nfe']:.0f}",
            floor=each.training[-1].get("floor"),
            k=k,
        )
        for k, each in zip(ranks, result.sides, strict=True)
        if each.training
    ]
    if lines:
        yield line_figure(
            "training",
            "quality against training images",
            "Fréchet distance in classifier features over training, for each path.",
            lines,
            x_title="training images, millions",
            y_title=IMAGE_METRICS["frechet"].label,
            floor_label="real test images",
            log_y=True,
            markers=True,
            half=True,
            tables=[{"run": c.label, "million_images": c.x, "frechet": c.y} for c in lines],
        )
    sides_with_steps = [(each.side, each.steps) for each in result.sides if each.steps]
    if sides_with_steps:
        yield steps_figure(sides_with_steps)


class Line(NamedTuple):
    """One curve of a measure: points of one side and kind, and of one protocol of FID."""

    side: ImageSide
    rank: int
    """Number of the side among those of its path."""
    kind: Kind
    protocol: str
    points: tuple[QualityPoint, ...]


def _lines(result: ImageQuality, name: str) -> list[Line]:
    lines = []
    ranks = theme.ranks([judged.side.path for judged in result.sides])
    for judged, rank in zip(result.sides, ranks, strict=True):
        points = [p for p in judged.points if value_of(p, name) is not None]

        def group(p: QualityPoint) -> tuple[Kind, str]:
            return kind_of(p), p.fid_protocol if name == "fid" else ""

        points.sort(key=lambda p: (str(group(p)), p.nfe))
        lines += [
            Line(judged.side, rank, *key, tuple(line_points))
            for key, line_points in groupby(points, group)
        ]
    return lines


def _against_nfe(result: ImageQuality, name: str) -> NamedFigure:
    lines, metric = _lines(result, name), IMAGE_METRICS[name]
    kinds = sorted({line.kind for line in lines}, key=str)
    protocols = sorted({line.protocol for line in lines if line.protocol})
    keys = [(line.rank, str(line.kind), line.protocol) for line in lines]
    order, path_lines = sorted(set(keys)), []
    for line, key in zip(lines, keys, strict=True):
        description = _describe(line.kind, kinds, line.side.classes)
        if len(protocols) > 1:
            description += f", protocol {protocols.index(line.protocol) + 1}"
        label = f"{line.side.label}, {METHODS[line.kind.solver].label}, {description}"
        path_lines.append(
            path_line(
                line.side.path,
                np.array([p.nfe for p in line.points], dtype=float),
                np.array([value_of(p, name) for p in line.points], dtype=float),
                label=label,
                floor=line.points[0].floor if metric.floored else None,
                k=order.index(key),
            )
        )
    figure = nfe_figure(
        name,
        f"{metric.label} against NFE",
        f"{metric.label} against the number of function evaluations, for each path.",
        path_lines,
        y_title=metric.label,
        floor_label="real test images",
        log_y=not metric.share,
        x_ticks=TICKS,
        half=True,
    )
    plot = figure.figure
    if metric.share:
        plot.update_yaxes(range=[0, 1], tickformat=".0%")
    legend = 70 + 20 * (
        len(path_lines) + 1
    )  # its own room, so that all plots have the same height
    plot.update_layout(height=300 + legend, margin_b=legend, legend_y=-0.2)
    if protocols:
        _state(plot, protocols)
    return figure


def _state(plot: go.Figure, protocols: Sequence[str]) -> None:
    """Writes above the curves how FID was measured."""
    several = len(protocols) > 1
    lines = [f"{i}: {each}" if several else each for i, each in enumerate(protocols, start=1)]
    corner = {"x": 0, "y": 1, "xref": "paper", "yref": "paper", "yanchor": "bottom"}
    plot.add_annotation(
        text="<br>".join(lines),
        **corner,
        xanchor="left",
        align="left",
        showarrow=False,
        font_size=11,
    )
    plot.update_layout(margin_t=16 + 16 * len(lines), height=plot.layout.height + 16 * len(lines))


def _describe(kind: Kind, kinds: Sequence[Kind], names: Sequence[str]) -> str:
    """What distinguishes the points of a curve from those of other kinds."""
    chosen = " and ".join(names[k] if k < len(names) else f"class {k}" for k in kind.classes)
    several = {name: len({getattr(k, name) for k in kinds}) > 1 for name in Kind._fields}
    parts = [
        chosen,
        kind.weight or "no class",
        f"{kind.grid} grid" if len({k.grid for k in kinds if k.grid}) > 1 and kind.grid else "",
        f"seed {kind.seed}" if several["seed"] else "",
        f"{kind.n:,} images" if len(kinds) == 1 or several["n"] else "",
    ]
    return ", ".join(filter(None, parts))


def table(config: ImageQualityConfig, result: ImageQuality) -> Tables:
    """One row for each point; what was not measured is NaN."""
    return [
        {
            "checkpoint": judged.side.name,
            "path": judged.side.path,
            "classes": " ".join(map(str, p.classes)),
            **{name: getattr(p, name) for name in ("solver", "grid", "n", "seed", "nfe")},
            **{
                name: np.array([value], dtype=float)
                for name, value in [
                    ("guidance", p.guidance),
                    ("guided_from", p.interval[0]),
                    ("guided_to", p.interval[1]),
                    *((name, value_of(p, name)) for name in IMAGE_METRICS),
                ]
            },
        }
        for judged in result.sides
        for p in judged.points
    ]


def say(config: ImageQualityConfig, result: ImageQuality) -> Findings:
    """The smallest distances, who leads with few evaluations, and what fails at the end."""
    sides = result.sides
    measured = any(each.points for each in sides)
    if measured:
        yield smallest(sides)
    yield from leaders(sides)
    yield from jumping(sides)
    for each in sides:
        yield from failures(each)
    yield from (Finding(lead="Left out", text=each.left_out) for each in sides if each.left_out)
    if not measured:
        yield Finding(text="No measurements are stored with these checkpoints.")
    method = (
        "The Fréchet distance compares features of the shipped CIFAR-10 classifier, so its scale "
        "is not that of FID. Smaller is better; more images give a smaller distance. The floor is "
        "the distance of the same number of real test images. The command flowviz evaluate NAME "
        "--snapshots RUN --save measures the snapshots of a training."
    )
    yield Finding.note(method)
    if result.unmeasurable:
        text = f"New points cannot be measured. {result.unmeasurable}"
        yield Finding.note(text)
    yield from origin([each.side for each in sides])


STUDY = Study(
    __name__,
    "How good are images for what they cost?",
    ImageQualityConfig,
    (compute, draw, table, say),
    page="images",
    seconds=1.0,
)
