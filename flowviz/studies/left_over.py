"""Residual error of learned fields when sampling costs nothing: NFE 1,000 and more.

The ends of a learned flow are compared with those of the exact flow from the same noise, its
samples with the best possible samples.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from flowviz.bounds import MAX_NFE
from flowviz.experiments.fields import exact_name, network_names, readable_cards
from flowviz.experiments.unlimited import (
    MEASURE,
    Residual,
    ResidualConfig,
    compute_converged,
    compute_residual,
    exact_of,
)
from flowviz.figures import straightness, theme
from flowviz.metrics import METRICS
from flowviz.progress import Progress
from flowviz.schedulers import LEARNED, scheduler
from flowviz.settings import Config, setting
from flowviz.studies import Figures, Finding, Findings, Live, NamedFigure, Study, Summary, Tables
from flowviz.studies import _settings as declare
from flowviz.studies._numbers import VERDICTS, compare, joined, mean, undecided

FLOW = "flow matching"
"""The label of the objective for the comparison of OT and VP."""


@dataclass(frozen=True, kw_only=True)
class LeftOverConfig(Config):
    """Learned fields of one data set with many function evaluations."""

    data: str = declare.data(help="Data set on which the claims are tested.")
    networks: tuple[str, ...] = declare.names(
        "Networks", "Checkpoints; without any, those of the data set on OT, VP and learned paths."
    )
    seed: int = declare.seed()
    nfe: int = setting(
        1_000,
        "NFE",
        bounds=(2, MAX_NFE),
        advanced=True,
        help="Evaluations of midpoint.",
    )
    n: int = setting(1_000, "Samples", bounds=(2, 50_000), advanced=True, help="Samples per seed.")
    seeds: int = setting(3, "Seeds", bounds=(1, 10), advanced=True, help="Number of seeds.")

    def chosen(self) -> Self:
        """See `Config.chosen`."""
        return replace(self, networks=self.networks or network_names(readable_cards(), self.data))

    def piece(self, name: str, seed: int) -> ResidualConfig:
        """One field with one seed."""
        return self.part(ResidualConfig, name=name, seed=self.seed + seed)


@dataclass(frozen=True, kw_only=True, eq=False)
class LeftOver:
    """The residual error of one field; (R,), by seed; NaN where the solver failed.

    Attributes:
        name: of the field.
        path: spec of its path.
        method: how it was trained; "" for the exact field.
        distance: RMS distance of its ends from those of the exact flow on the same path; NaN of a
            learned path, whose exact flow is not known.
        quality: MEASURE of its samples.
    """

    name: str
    path: str
    method: str
    distance: NDArray[np.float64]
    quality: NDArray[np.float64]

    @property
    def label(self) -> str:
        """Path and method."""
        return ", ".join(filter(None, [scheduler(self.path).label, self.method]))


@dataclass(frozen=True, kw_only=True, eq=False)
class LeftOverResult:
    """The fields measured so far; the exact one, whose samples are the best possible, is first.

    Attributes:
        exact: the exact field.
        fields: the learned fields.
        floor: MEASURE between two random samples of the data, mean over the seeds.
    """

    exact: LeftOver
    fields: tuple[LeftOver, ...]
    floor: float


def compute(config: LeftOverConfig, live: Live, progress: Progress) -> Iterator[LeftOverResult]:
    """Measures one field after the other; yields after each.

    Raises:
        ValueError: there is no trained network for the data set.
    """
    if not config.networks:
        raise ValueError(
            f"There must be a trained network for {config.data}; got none. Train one on the page "
            "Train or by `flowviz train`."
        )
    names = [exact_name(config.data, "ot"), *config.networks]
    measured: list[LeftOver] = []
    floors: list[float] = []
    for name in names:
        rows: list[Residual] = []
        exact = exact_of(name)
        for seed in range(config.seeds):
            progress.report((len(measured) + seed / config.seeds) / len(names), name.split("@")[0])
            converged = (
                progress.cached(compute_converged, config.piece(exact, seed)) if exact else None
            )
            rows.append(
                progress.cached(compute_residual, config.piece(name, seed), converged=converged)
            )
        measured.append(
            LeftOver(
                name=name,
                path=rows[0].path,
                method=rows[0].method,
                distance=np.array([row.distance for row in rows]),
                quality=np.array([row.quality for row in rows]),
            )
        )
        floors = floors or [row.floor for row in rows]
        if len(measured) > 1:
            floor = float(np.mean(floors))
            yield LeftOverResult(exact=measured[0], fields=tuple(measured[1:]), floor=floor)


def draw(config: LeftOverConfig, result: LeftOverResult) -> Figures:
    """The residual error of the learned fields, or the quality if all are of learned paths."""
    with_distance = [each for each in result.fields if each.path != LEARNED]
    name = "distance" if with_distance else "quality"
    fields = with_distance or result.fields
    title = {
        "distance": f"RMS distance from the exact flow's ends at NFE {config.nfe:,}",
        "quality": f"{METRICS[MEASURE].label} to data at NFE {config.nfe:,}",
    }[name]
    rows = [
        straightness.Runs(
            label=each.label, colour=theme.path_colour(each.path), values=getattr(each, name)
        )
        for each in fields
    ]
    values = "; ".join(f"{each.label} {mean(getattr(each, name))}" for each in fields)
    yield NamedFigure(
        name=name,
        title=title,
        alt=f"{title}: {values}.",
        figure=straightness.dots(rows, x_title=f"{title}, one dot per seed"),
    )


def table(config: LeftOverConfig, result: LeftOverResult) -> Tables:
    """One row for each field and seed."""
    return [
        {
            "field": each.name,
            "seed": config.seed + np.arange(config.seeds),
            "distance": each.distance,
            MEASURE.replace("-", "_"): each.quality,
        }
        for each in (result.exact, *result.fields)
    ]


def summarise(config: LeftOverConfig, result: LeftOverResult) -> Summary:
    """Distance and quality of each field."""
    rows = [
        [
            each.label if each.method else "exact flow",
            "–" if each.path == LEARNED else mean(each.distance),
            mean(each.quality),
        ]
        for each in (result.exact, *result.fields)
    ]
    rows.append(["two random samples of the data", "–", f"{result.floor:.3f}"])
    heads = ("Field", "distance from the exact ends", METRICS[MEASURE].label)
    return Summary(title=f"With {config.nfe:,} function evaluations", heads=heads, rows=rows)


def say(config: LeftOverConfig, result: LeftOverResult) -> Findings:
    """Whose samples are worse than the best possible, and whether OT is closer than VP."""
    best = result.exact.quality
    judged = [each for each in result.fields if np.isfinite(each.quality - best).any()]
    failed = [_named(each) for each in result.fields if each not in judged]
    worse = [_named(each) for each in judged if compare(each.quality, best) > 0]
    if judged:
        verb = "gives" if len(worse) == 1 else "give"
        text = (
            f"{joined(worse)} {verb} worse samples than the exact flow from the same noise: what "
            "remains is the error of the network."
            if worse
            else "no network gives measurably worse samples than the exact flow from the same "
            "noise."
        )
        yield Finding(
            lead="What is left", text=text, numbers={"worse": len(worse), "measured": len(judged)}
        )
    if failed:
        yield Finding(
            lead="Not measured",
            text=f"the solver failed for {joined(failed)}.",
            numbers={"failed": len(failed)},
        )
    yield from _nearer(result)
    if any("flow map" in each.method for each in result.fields):
        yield Finding.note("A flow map follows its velocity here and does not jump.")
    if any(each.path == LEARNED for each in result.fields):
        yield Finding.note(
            "A learned path is not of the form α x₁ + σ x₀: its exact flow is not known, "
            "so only its samples are judged."
        )


def _named(field: LeftOver) -> str:
    """The label of a field for a list in a sentence, without its comma."""
    return field.label.replace(", ", " with ")


def _nearer(result: LeftOverResult) -> Findings:
    """Whether training leaves a smaller error on conditional OT than on VP diffusion."""
    distances = {
        each.path: each.distance
        for each in reversed(result.fields)
        if each.method == FLOW and np.isfinite(each.distance).any()
    }
    if not {"ot", "vp"} <= distances.keys():
        return
    order = compare(distances["ot"], distances["vp"])
    text = {
        -1: "conditional OT is closer to the exact flow",
        0: f"the difference is {undecided(distances['ot'], distances['vp'])}",
        1: "VP diffusion is closer to the exact flow",
    }[order]
    yield Finding(
        lead="Learned better",
        text="the ends of the learned flow differ from the exact ones by "
        f"{mean(distances['ot'])} on "
        f"conditional OT and by {mean(distances['vp'])} on VP diffusion; {text}.",
        numbers={path: float(np.nanmean(distances[path])) for path in ("ot", "vp")},
        verdict=VERDICTS[order],
    )


STUDY = Study(
    __name__,
    "What is left when sampling costs nothing",
    LeftOverConfig,
    (compute, draw, table, say),
    summary=summarise,
    page="straighter",
    seconds=40.0,
    smallest={"data": "moons", "nfe": 8, "n": 50, "seeds": 1},
)
