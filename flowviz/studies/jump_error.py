"""Where do the jumps of a flow map go wrong? Its error over the plane and both times.

The exact jump from t to s integrates the exact field in float64.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from flowviz.experiments.evaluate import CONVERGED
from flowviz.experiments.evolution import REACHED
from flowviz.experiments.fields import FieldRef, map_names, short_name
from flowviz.experiments.jump_error import WORST, JumpError, compute_jump_error
from flowviz.experiments.jump_error import JumpErrorConfig as Piece
from flowviz.figures import theme
from flowviz.figures.sheet import Strip, sheet
from flowviz.progress import Progress
from flowviz.schedulers import scheduler, spec_of
from flowviz.settings import Config, setting
from flowviz.studies import Figures, Finding, Findings, Live, NamedFigure, Study, Summary, Tables
from flowviz.studies import _settings as declare

QUANTITIES = {"distance": "Distance of the ends", "velocity": "Mean velocity"}


@dataclass(frozen=True, kw_only=True)
class JumpErrorConfig(Config):
    """The jumps of one flow map between several times."""

    data: str = declare.data()
    network: str = declare.names(
        "Flow map", "A checkpoint of a flow map; by default the first of the data set.", default=""
    )
    intervals: int = setting(
        4,
        "Intervals",
        bounds=(1, 20),
        work=1,
        offered=(2, 4, 5),
        help="The jumps start and end at the ends of this number of equal parts of the time.",
    )
    cells: int = setting(
        32,
        "Cells",
        bounds=(2, 256),
        work=2,
        advanced=True,
        help="Cells of the grid along each axis.",
    )
    quantity: str = setting(
        "distance",
        "Error of a jump",
        choices=QUANTITIES,
        display=True,
        help="The distance of the ends of the learned and the exact jump, or the difference of "
        "their mean velocities, which is that of the velocities where s = t.",
    )

    def chosen(self) -> Self:
        """See `Config.chosen`."""
        maps = () if self.network else map_names(self.data)
        return replace(self, network=maps[0]) if maps else self


@dataclass(frozen=True, kw_only=True, eq=False)
class JumpErrorResult:
    """The errors so far: jumps from the first times of the path with the given spec."""

    path: str
    network: str
    errors: tuple[JumpError, ...]

    @property
    def name(self) -> str:
        """The flow map, in a few words, with its path."""
        return f"{short_name(self.network)} ({scheduler(self.path).label})"


def compute(config: JumpErrorConfig, live: Live, progress: Progress) -> Iterator[JumpErrorResult]:
    """Computes the jumps from one time after the other; yields after each.

    Raises:
        ValueError: there is no flow map, or the network is none.
        SolveError: the exact flow cannot be integrated.
    """
    name = config.network
    if not name:
        raise ValueError(
            f"There is no flow map for {config.data}; train one by meanflow, shortcut or "
            "distillation."
        )
    path = spec_of(live[name].path.scheduler) if name in live else FieldRef.of(name).path_spec
    errors: list[JumpError] = []
    for start in range(config.intervals):
        piece = config.part(Piece, path=path, field=name, start=start)
        errors.append(progress.cached(compute_jump_error, piece, field=live.get(name)))
        progress.report(len(errors) / config.intervals, f"jumps from t = {errors[-1].t:.2f}")
        yield JumpErrorResult(path=path, network=name, errors=tuple(errors))


def draw(config: JumpErrorConfig, result: JumpErrorResult) -> Figures:
    """A panel for each pair of times, all on one scale."""
    name = short_name(result.network)
    first = int(config.quantity == "distance")  # a jump from t to t has no distance
    ends = result.errors[0].ends[first:]
    strips = [
        Strip(
            label=f"<i>t</i> = {each.t:.2f}",
            colour=theme.path_colour(result.path),
            panels=[None] * k + list(getattr(each, config.quantity)[first:]),
        )
        for k, each in enumerate(result.errors)
    ]
    yield NamedFigure(
        name="jumps",
        title=f"{result.name}: error of the jumps over the plane",
        alt=f"{result.name}: error of the learned jump for each state at t (rows) and each end s "
        "(columns).",
        figure=sheet(
            strips,
            [f"<i>s</i> = {s:.2f}" for s in ends],
            groups=[(f"{name}<br>error: {QUANTITIES[config.quantity].lower()}", len(ends))],
            panel=118,
            scale="sheet",
            quantity="error",
            ramp=theme.DIFFERENCE_RAMP,
        ),
    )


def table(config: JumpErrorConfig, result: JumpErrorResult) -> Tables:
    """One row for each pair of times and state at t."""
    tables = []
    for error in result.errors:
        x, y = np.meshgrid(error.axis, error.axis)
        for s, velocity, distance in zip(error.ends, error.velocity, error.distance, strict=True):
            finite = np.isfinite(velocity)
            tables.append(
                {"t": error.t, "s": s, "x1": x[finite], "x2": y[finite]}
                | {"velocity_error": velocity[finite], "distance": distance[finite]}
            )
    return tables


def summarise(config: JumpErrorConfig, result: JumpErrorResult) -> Summary:
    """RMS distance of the ends for each pair of times."""
    ends = result.errors[0].ends[1:]
    rows = [
        [f"t = {each.t:.2f}"] + ["–"] * k + [f"{value:.3f}" for value in each.rms_distance[1:]]
        for k, each in enumerate(result.errors)
    ]
    return Summary(
        title=f"{result.name}: RMS distance of the learned from the exact end of a jump "
        "from t to s",
        heads=["Start", *(f"s = {s:.2f}" for s in ends)],
        rows=rows,
    )


def say(config: JumpErrorConfig, result: JumpErrorResult) -> Findings:
    """The error of the jump over the whole time, and that of the last short one."""
    first = result.errors[0]
    distance, length = float(first.rms_distance[-1]), float(first.length[-1])
    yield Finding(
        lead=f"One jump of {result.name}",
        text=f"from t = 0 to {first.ends[-1]:.2f} ends {distance:.3f} from the exact end "
        f"(RMS), {distance / length:.1%} of the length of the exact jump.",
        numbers={"distance": distance, "length": length},
    )
    worst = float(first.worst[-1])
    yield Finding(
        lead="Where",
        text=f"{worst:.0%} of the squared error of this jump is due to {WORST:.0%} of the states. "
        "The exact map tears apart neighbours whose trajectories end in different parts of the "
        "data; a continuous network is wrong along these lines.",
        numbers={"worst": worst},
    )
    if len(result.errors) > 1:
        short = {f"{each.t:.2f}": float(each.rms_distance[1]) for each in result.errors}
        largest = max(short, key=short.__getitem__)
        yield Finding(
            lead="Shortest jumps",
            text=f"the one from t = {largest} has the largest error, {short[largest]:.3f} (RMS).",
            numbers=short,
        )
    yield Finding.note(
        f"The exact jumps integrate the exact field by {CONVERGED[0]} in float64 at tolerance "
        f"{CONVERGED[1]:g}. Blank areas have less than {REACHED:.0%} of the largest density at t. "
        "All panels share one scale."
    )


STUDY = Study(
    __name__,
    "Jumps of a flow map, learned − exact",
    JumpErrorConfig,
    (compute, draw, table, say),
    summary=summarise,
    page="compare",
    seconds=4.0,
    smallest={"data": "8gaussians", "intervals": 2, "cells": 8},
)
