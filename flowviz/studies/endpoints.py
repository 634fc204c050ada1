"""Better with unlimited compute? The ends of the exact flows of all paths from the same noise."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowviz.experiments.endpoints import Ends, EndsConfig, compute_ends, specs
from flowviz.figures import curves, marks, straightness, theme
from flowviz.grids import GRIDS
from flowviz.progress import Progress
from flowviz.schedulers import scheduler
from flowviz.settings import Config, setting
from flowviz.solvers import METHODS
from flowviz.studies import Figures, Finding, Findings, Live, NamedFigure, Study, Tables
from flowviz.studies import _settings as declare
from flowviz.studies._lines import nfe_figure
from flowviz.studies._numbers import joined, small

AGREE = 0.02
"""Distance, in units of the plane, below which ends are the same: no figure shows it."""

SHOWN = 64
"""Number of particles whose ends are drawn."""

MATCHED = "Start every path on the OT flow"


@dataclass(frozen=True, kw_only=True)
class EndpointsConfig(Config):
    """The same noise along the exact flow of every path."""

    data: str = declare.data(help="Data set on which the claims are tested.")
    own: str = declare.own("Adds the exact flow of your own schedule.")
    method: str = declare.method(
        "midpoint", "The solver whose ends are compared over NFE.", choices=declare.fixed_methods
    )
    grid: str = setting("uniform", "Placement of the steps", choices=GRIDS, help=GRIDS.sentences())
    matched: bool = setting(
        False,
        MATCHED,
        help="On VP and VE the first state has a little data in the noise, but a sampler starts "
        "from noise alone. On: they start from the state of the OT flow with the same ratio of "
        "signal to noise, and all paths end in the same points.",
    )
    seed: int = declare.seed()
    doublings: int = setting(
        7, "Doublings", bounds=(0, 12), advanced=True, help="1, 2, 4 ... 2^doublings steps."
    )
    n: int = setting(400, "Particles", bounds=(2, 20_000), advanced=True, help="Sample size.")

    def ends(self, path: str) -> EndsConfig:
        """The flow of one path."""
        return self.part(EndsConfig, path=path)


@dataclass(frozen=True, kw_only=True, eq=False)
class EndpointsResult:
    """Ends of the exact flows of the P paths computed so far, with K numbers of steps.

    Attributes:
        paths: specs of the paths, P; conditional OT is the first.
        start: (n, 2), the noise.
        ends: (P, n, 2), converged ends, as x / alpha at the path's stop.
        floor: (P,), RMS distance of these ends from those of the first path.
        first_ratio: (P,), alpha / sigma at the path's start.
        nfe: (K,), function evaluations of the cheap solutions.
        distance: (P, K), RMS distance of their ends from the converged ends of the first path;
            NaN where the solver failed.
    """

    paths: tuple[str, ...]
    start: NDArray[np.float64]
    ends: NDArray[np.float64]
    floor: NDArray[np.float64]
    first_ratio: NDArray[np.float64]
    nfe: NDArray[np.int64]
    distance: NDArray[np.float64]


def compute(config: EndpointsConfig, live: Live, progress: Progress) -> Iterator[EndpointsResult]:
    """Solves one path after the other; yields after each."""
    results: list[Ends] = []
    paths = specs(config.own)
    for spec in paths:
        progress.report(len(results) / len(paths), scheduler(spec).label)
        results.append(progress.cached(compute_ends, config.ends(spec)))
        reference_ends = results[0].ends
        yield EndpointsResult(
            paths=paths[: len(results)],
            start=results[0].start,
            ends=np.array([each.ends for each in results]),
            floor=np.array([_rms(each.ends, reference_ends) for each in results]),
            first_ratio=np.array([each.first_ratio for each in results]),
            nfe=config.ends(spec).nfe,
            distance=np.array(
                [[_rms(cheap, reference_ends) for cheap in each.cheap] for each in results]
            ),
        )


def _rms(first: NDArray, second: NDArray) -> float:
    """The root of the mean squared distance between points (n, 2)."""
    return float(np.sqrt(np.square(first - second).sum(axis=1).mean()))


def draw(config: EndpointsConfig, result: EndpointsResult) -> Figures:
    """Ends of the same noise on all paths, and their distance with few evaluations."""
    labels = [scheduler(path).label for path in result.paths]
    colours = [theme.path_colour(path) for path in result.paths]
    ends = [
        straightness.Ends(label=label, colour=colour, points=points[:SHOWN])
        for label, colour, points in zip(labels, colours, result.ends, strict=True)
    ]
    lines = [
        curves.of_runs(label, colour, result.nfe, row, floor=level or None)
        for label, colour, row, level in zip(
            labels, colours, result.distance, result.floor, strict=True
        )
    ]
    distance = nfe_figure(
        "distance",
        "distance of the ends against NFE",
        f"Distance of each path's ends from the converged ends of {labels[0]}: {_falls(result)}.",
        lines,
        METHODS[config.method].label,
        y_title=f"RMS distance from {labels[0]}'s converged ends",
        floor_label="converged",
        half=True,
    )
    curves.name_floors(distance.figure, "converged, in each path's colour")
    distance.figure.update_layout(height=520, legend_y=-0.12)
    distance.figure.update_yaxes(**marks.log_axis(1e-8, 10.0))
    yield NamedFigure(
        name="ends",
        title="ends of the exact flows",
        alt=f"{len(result.start[:SHOWN])} noise samples and where the exact flow of each path "
        f"carries them; distances from {labels[0]}: {_distances(result) or 'none'}.",
        figure=straightness.endpoints(result.start[:SHOWN], ends),
        half=True,
    )
    yield distance


def table(config: EndpointsConfig, result: EndpointsResult) -> Tables:
    """One row for each path and number of function evaluations."""
    rows = zip(result.paths, result.distance, result.floor, strict=True)
    return [
        {"path": path, "nfe": result.nfe, "distance": distance, "converged_distance": floor}
        for path, distance, floor in rows
    ]


def say(config: EndpointsConfig, result: EndpointsResult) -> Findings:
    """The paths with the same ends, and the reasons of the others."""
    first, *others = result.paths
    distances = dict(zip(result.paths, result.floor, strict=True))
    same = [first, *(spec for spec in others if distances[spec] < AGREE)]
    if len(same) > 1:
        yield Finding(
            lead="Same ends",
            text=f"{joined([_label(spec) for spec in same])} carry the same noise to the same "
            f"data; distances from {_label(first)} are {_distances(result, same[1:])}.",
            numbers={spec: float(distances[spec]) for spec in same[1:]},
        )
    yield from (_explain_difference(config, result, spec) for spec in others if spec not in same)
    if "vp" in distances:
        text = "VP diffusion and conditional OT end in the same points, so for exact fields " + (
            "a straighter path does not give better samples."
        )
        if not distances["vp"] < AGREE:
            text = "VP diffusion and conditional OT end in different points in this run."
        yield Finding(
            lead="Better with unlimited compute",
            text=text,
            numbers={"distance": float(distances["vp"])},
            verdict="not supported" if distances["vp"] < AGREE else "undecided",
        )
    if not others:
        yield Finding(text=f"only {_label(first)} is computed so far.")


def _explain_difference(config: EndpointsConfig, result: EndpointsResult, spec: str) -> Finding:
    """The difference of the ends of a path, and its reason if known."""
    index = result.paths.index(spec)
    distance, first = float(result.floor[index]), float(result.first_ratio[index])
    if not np.isfinite(distance):
        text = "the solver failed on this path."
    elif first > result.first_ratio[0] and not config.matched:
        text = (
            f"its ends differ by {small(distance)}. Its first state has a little data in the "
            "noise "
            f"(α/σ = {first:.2g}), but the sampler starts from noise alone. “{MATCHED}” removes "
            "this."
        )
    else:
        text = (
            f"its ends differ by {small(distance)}; only the error of the solver can explain that."
        )
    return Finding(
        lead=_label(spec), text=text, numbers={"distance": distance, "first_ratio": first}
    )


def _distances(result: EndpointsResult, paths: Sequence[str] | None = None) -> str:
    """The distance of the ends of each path from those of the first."""
    distances = dict(zip(result.paths, result.floor, strict=True))
    chosen = result.paths[1:] if paths is None else paths
    return ", ".join(f"{small(distances[spec])} ({_label(spec)})" for spec in chosen)


def _falls(result: EndpointsResult) -> str:
    """First and last finite distance of each path over the evaluations."""
    parts = []
    for spec, row in zip(result.paths, result.distance, strict=True):
        known = np.flatnonzero(np.isfinite(row))
        if not len(known):
            parts.append(f"{_label(spec)} failed with every number of evaluations")
            continue
        ends = [f"{small(row[k])} at NFE {result.nfe[k]}" for k in (known[0], known[-1])]
        parts.append(f"{_label(spec)} {' and '.join(ends)}")
    return "; ".join(parts)


def _label(spec: str) -> str:
    return scheduler(spec).label


STUDY = Study(
    __name__,
    "The same noise ends in the same points",
    EndpointsConfig,
    (compute, draw, table, say),
    page="straighter",
    seconds=4.0,
    smallest={"data": "8gaussians", "doublings": 1, "n": 20},
)
