"""The densities of learned fields over time, by the change of variables, on two paths."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Self

from flowviz.experiments.density_evolution import (
    CELLS,
    TIMES,
    DensityEvolution,
    evolution_of,
    piece_configs,
)
from flowviz.experiments.evolution import at_time
from flowviz.experiments.fields import FieldRef, trained_name
from flowviz.experiments.likelihood import compute_density
from flowviz.progress import Progress
from flowviz.schedulers import scheduler
from flowviz.settings import Config, setting
from flowviz.studies import Figures, Finding, Findings, Live, Study, Tables
from flowviz.studies import _settings as declare
from flowviz.studies._lines import line_figure, path_line


@dataclass(frozen=True, kw_only=True)
class DensityEvolutionConfig(Config):
    """The densities of learned fields on each path."""

    data: str = declare.data()
    paths: tuple[str, ...] = declare.paths(max_chosen=3)
    networks: tuple[str, ...] = declare.names(
        "Networks", "A checkpoint for each path; by default DATA-PATH."
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

    def chosen(self) -> Self:
        """See `Config.chosen`."""
        names = self.networks or [trained_name(self.data, path) or "" for path in self.paths]
        return replace(self, networks=tuple(names))


@dataclass(frozen=True, kw_only=True, eq=False)
class DensityEvolutionResult:
    """One evolution for each computed path, and the names of the fields."""

    paths: tuple[str, ...]
    evolutions: tuple[DensityEvolution, ...] = field(default=())


def compute(
    config: DensityEvolutionConfig, live: Live, progress: Progress
) -> Iterator[DensityEvolutionResult]:
    """Follows the cells of a grid backward, time by time; yields after each path.

    Raises:
        ValueError: there is no network for a path.
    """
    paths: list[str] = []
    evolutions: list[DensityEvolution] = []
    for path, name in zip(config.paths, config.networks, strict=True):
        if not name:
            raise ValueError(
                f"There is no network for {config.data} on {scheduler(path).label}; train one."
            )
        path = path if name in live else FieldRef.of(name).path_spec
        densities = []
        sizes = {"cells": config.cells, "times": config.times}
        for piece in piece_configs(config.data, path, name, **sizes):
            densities.append(progress.cached(compute_density, piece, field=live.get(name)))
            done = len(evolutions) + len(densities) / config.times
            progress.report(done / len(config.paths), scheduler(path).label)
        paths.append(path)
        evolutions.append(evolution_of(densities))
        yield DensityEvolutionResult(paths=tuple(paths), evolutions=tuple(evolutions))


def draw(config: DensityEvolutionConfig, result: DensityEvolutionResult) -> Figures:
    """KL divergence of the learned from the exact density over time."""
    lines = [
        path_line(path, each.times, each.kl)
        for path, each in zip(result.paths, result.evolutions, strict=True)
    ]
    yield line_figure(
        "kl",
        "KL divergence over time",
        "KL divergence of the learned from the exact density over time, for each path.",
        lines,
        y_title="KL(exact ‖ learned), nats",
    )


def table(config: DensityEvolutionConfig, result: DensityEvolutionResult) -> Tables:
    """One row for each path and time."""
    return [
        {"path": path, "t": each.times, "kl": each.kl, "mass": each.mass}
        for path, each in zip(result.paths, result.evolutions, strict=True)
    ]


def say(config: DensityEvolutionConfig, result: DensityEvolutionResult) -> Findings:
    """The KL divergence of the learned density from the exact one at time t."""
    for path, evolution in zip(result.paths, result.evolutions, strict=True):
        kl, mass = (
            float(at_time(evolution.times, v, config.t)) for v in (evolution.kl, evolution.mass)
        )
        yield Finding(
            lead=scheduler(path).label,
            text=f"at t = {config.t:.2f} KL(exact ‖ learned) is {kl:.4f} nats, and the "
            f"learned density integrates to {mass:.3f} over the frame.",
            numbers={"kl": kl, "mass": mass},
        )
    yield Finding(
        text=f"By the change of variables on {config.cells} × {config.cells} cells at "
        f"{config.times} times, "
        "with the midpoint method and NFE 40, independent of the solver of the particles; "
        "interpolated in between, on the color scale of the exact density.",
        numbers={"times": config.times},
        detail=True,
    )


STUDY = Study(
    __name__,
    "The density of a learned field over time",
    DensityEvolutionConfig,
    (compute, draw, table, say),
    page="compare",
    seconds=28.0,
    smallest={"paths": ("ot",), "cells": 9, "times": 3},
)
