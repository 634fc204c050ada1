"""The densities of learned fields over time, by the change of variables, on two paths."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from flowviz.experiments.density_evolution import (
    CELLS,
    TIMES,
    DensityEvolution,
    evolution_of,
    piece_configs,
)
from flowviz.experiments.evolution import at_time
from flowviz.experiments.likelihood import compute_density
from flowviz.experiments.sources import source, trained_name
from flowviz.figures import curves, theme
from flowviz.progress import Progress
from flowviz.schedulers import scheduler
from flowviz.settings import Config, setting
from flowviz.studies._common import data_setting, paths_setting
from flowviz.studies.study import Columns, Finding, LiveFields, NamedFigure, Study, stacked


@dataclass(frozen=True, kw_only=True)
class DensityEvolutionConfig(Config):
    """The densities of learned fields on each path."""

    data: str = data_setting()
    paths: tuple[str, ...] = paths_setting(max_chosen=3)
    networks: tuple[str, ...] = setting(
        (),
        "Networks",
        advanced=True,
        help="A checkpoint for each path; by default DATA-PATH.",
    )
    cells: int = setting(
        CELLS, "Cells", bounds=(2, 256), advanced=True, help="Cells of the grid along each axis."
    )
    times: int = setting(
        TIMES, "Times", bounds=(2, 101), advanced=True, help="Number of times from 0 to 1."
    )
    t: float = setting(
        1.0, "Time t", bounds=(0.0, 1.0), display=True, help="Time of the findings."
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class DensityEvolutionResult:
    """One evolution for each computed path, and the names of the fields."""

    paths: tuple[str, ...]
    evolutions: tuple[DensityEvolution, ...] = field(default=())


def compute(
    config: DensityEvolutionConfig,
    *,
    field: LiveFields | None = None,
    progress: Progress | None = None,
) -> Iterator[DensityEvolutionResult]:
    """Follows the cells of a grid backward, time by time; yields after each path.

    Raises:
        ValueError: there is no network for a path.
    """
    progress, live = progress or Progress(), field or {}
    names = config.networks or [trained_name(config.data, path) for path in config.paths]
    paths: list[str] = []
    found: list[DensityEvolution] = []
    for path, name in zip(config.paths, names, strict=True):
        if not name:
            raise ValueError(
                f"There is no network for {config.data} on {scheduler(path).label}; train one."
            )
        path = path if name in live else source(name).path_spec
        densities = []
        sizes = {"cells": config.cells, "times": config.times}
        for piece in piece_configs(config.data, path, name, **sizes):
            densities.append(progress.cached(compute_density, piece, field=live.get(name)))
            done = len(found) + len(densities) / config.times
            progress.report(done / len(names), scheduler(path).label)
        paths.append(path)
        found.append(evolution_of(densities))
        yield DensityEvolutionResult(paths=tuple(paths), evolutions=tuple(found))


def draw(
    config: DensityEvolutionConfig, result: DensityEvolutionResult, *, dark: bool = False
) -> list[NamedFigure]:
    """KL divergence of the learned from the exact density over time."""
    lines = [
        curves.Curve(
            label=scheduler(path).label,
            colour=theme.path_colour(path, dark=dark),
            x=each.times,
            y=each.kl,
        )
        for path, each in zip(result.paths, result.evolutions, strict=True)
    ]
    return [
        NamedFigure(
            name="kl",
            title="KL divergence over time",
            alt="KL divergence of the learned from the exact density over time, for each path.",
            figure=curves.curves(
                lines,
                x_title="time t  (0 noise, 1 data)",
                y_title="KL(exact ‖ learned), nats",
                dark=dark,
            ),
        )
    ]


def table(config: DensityEvolutionConfig, result: DensityEvolutionResult) -> Columns:
    """One row for each path and time."""
    return stacked(
        [
            {"path": path, "t": each.times, "kl": each.kl, "mass": each.mass}
            for path, each in zip(result.paths, result.evolutions, strict=True)
        ]
    )


def say(config: DensityEvolutionConfig, result: DensityEvolutionResult) -> list[Finding]:
    """The KL divergence of the learned density from the exact one at time t."""
    found = []
    for path, each in zip(result.paths, result.evolutions, strict=True):
        kl, mass = (float(at_time(each.times, v, config.t)) for v in (each.kl, each.mass))
        found.append(
            Finding(
                lead=scheduler(path).label,
                text=f"at t = {config.t:.2f} KL(exact ‖ learned) is {kl:.4f} nats, and the "
                f"learned density integrates to {mass:.3f} over the frame.",
                numbers={"kl": kl, "mass": mass},
            )
        )
    found.append(
        Finding(
            text=f"By the change of variables on {config.cells} × {config.cells} cells at "
            f"{config.times} times, "
            "with the midpoint method and NFE 40, independent of the solver of the particles; "
            "interpolated in between, on the color scale of the exact density.",
            numbers={"times": config.times},
            detail=True,
        )
    )
    return found


STUDY = Study(
    name="density-evolution",
    title="The density of a learned field over time",
    config=DensityEvolutionConfig,
    compute=compute,
    draw=draw,
    table=table,
    say=say,
    page="compare",
    seconds=28.0,
    smallest={"paths": ("ot",), "cells": 9, "times": 3},
)
