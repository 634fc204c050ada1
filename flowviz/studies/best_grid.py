"""Which time grid is best for a field? Found by dynamic programming, compared with named grids."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from flowviz.experiments.best_grid import (
    BestGridConfig,
    BestGrids,
    compute_best_grids,
    one_step_methods,
)
from flowviz.experiments.fields import exact_name, trained_name
from flowviz.figures import curves, theme
from flowviz.grids import GRIDS
from flowviz.paths import AffinePath
from flowviz.progress import Progress
from flowviz.schedulers import scheduler
from flowviz.settings import Config, setting
from flowviz.solvers import METHODS
from flowviz.studies import Figures, Finding, Findings, Live, Study, Tables
from flowviz.studies import _settings as declare
from flowviz.studies._lines import line_figure, nfe_figure, path_line

BEST = "best"
"""Name of the grid that is found here."""


@dataclass(frozen=True, kw_only=True)
class BestConfig(Config):
    """A field, a solver and the budgets for which the grid is optimised."""

    data: str = declare.data()
    path: str = declare.path("ot")
    field: str = declare.field(
        declare.EXACT, "Exact: the closed form. Learned: the network DATA-PATH."
    )
    source: str = declare.names(
        "Field", "Name of the field; by default that of data set and path.", default=""
    )
    method: str = declare.method(
        "euler",
        "A fixed-step solver whose steps depend on the last state only.",
        choices=one_step_methods,
    )
    nfes: tuple[int, ...] = setting(
        BestGridConfig.nfes,
        "NFE",
        bounds=(1, 32),
        work=1,
        offered=(2, 4, 8, 12, 16),
        help="Budgets; for each the best grid is found.",
    )
    shown: int = setting(
        8,
        "NFE of the grids",
        bounds=(1, 64),
        display=True,
        help="Budget whose grids are drawn, or the nearest.",
    )
    cells: int = setting(
        BestGridConfig.cells,
        "Candidates",
        bounds=(2, 64),
        advanced=True,
        help="Steps of each of the two grids, even in t and in log-SNR, whose times are "
        "the candidates.",
    )
    n: int = declare.count()
    seed: int = declare.seed()

    def chosen(self) -> Self:
        """See `Config.chosen`."""
        learned = trained_name(self.data, self.path) if self.field == declare.LEARNED else None
        return replace(self, source=self.source or learned or exact_name(self.data, self.path))


def compute(config: BestConfig, live: Live, progress: Progress) -> Iterator[BestGrids]:
    """Finds the grids and measures the errors.

    Raises:
        ValueError: the field is unknown, or a solve failed.
    """
    yield progress.cached(compute_best_grids, config.part(BestGridConfig), progress=progress)


def draw(config: BestConfig, result: BestGrids) -> Figures:
    """The error of each grid against NFE, and the times of the grids of one budget."""
    k = _nearest_nfe(config, result)
    lines = [
        _line(name, result, result.nfe.astype(float), values)
        for name, values in result.errors.items()
    ]
    ends = ", ".join(f"{label_of(name)} {values[k]:.3g}" for name, values in result.errors.items())
    yield nfe_figure(
        "error",
        "error of each grid",
        f"RMS distance from the converged ends against NFE; at NFE {result.nfe[k]}: {ends}.",
        lines,
        METHODS[config.method].label,
        y_title="RMS distance from the converged end",
        x_ticks=result.nfe.tolist(),
        half=True,
    )
    share = np.arange(result.steps[k] + 1) / result.steps[k]
    grids = [_line(name, result, share, times) for name, times in _times(result, k).items()]
    yield line_figure(
        "grids",
        f"times of the steps at NFE {result.nfe[k]}",
        f"Time of each step against its number over {result.steps[k]}, one line for each grid.",
        grids,
        x_title="number of the step / number of steps",
        y_title="time t",
        markers=True,
        half=True,
    )


def _line(name: str, result: BestGrids, x: np.ndarray, y: np.ndarray) -> curves.Curve:
    """The best grid in the colour of its path, the others in grey with dashes."""
    if name == BEST:
        return path_line(result.path, x, y, label=label_of(name))
    other_grids = [other for other in result.errors if other != BEST]
    dash = theme.dash(other_grids.index(name))
    colour = theme.pick(theme.MUTED)
    return curves.Curve(label=label_of(name), colour=colour, x=x, y=y, dash=dash)


def label_of(name: str) -> str:
    """The label of a grid in legends and sentences."""
    return "best found" if name == BEST else GRIDS[name].label


def _times(result: BestGrids, k: int) -> dict[str, np.ndarray]:
    """The times of each grid with the k-th number of steps."""
    path, steps = AffinePath(scheduler(result.path)), int(result.steps[k])
    named = {name: GRIDS[name](path, steps).numpy() for name in result.errors if name != BEST}
    return {BEST: result.best[k]} | named


def _nearest_nfe(config: BestConfig, result: BestGrids) -> int:
    return int(np.abs(result.nfe - config.shown).argmin())


def table(config: BestConfig, result: BestGrids) -> Tables:
    """One row for each budget, grid and time."""
    return [
        {
            "path": result.path,
            "solver": config.method,
            "grid": name,
            "nfe": int(nfe),
            "rms_error": result.errors[name][k],
            "step": np.arange(len(times)),
            "t": times,
        }
        for k, nfe in enumerate(result.nfe)
        for name, times in _times(result, k).items()
    ]


def say(config: BestConfig, result: BestGrids) -> Findings:
    """The gain of the best grid over the uniform one and over the best named one."""
    best, uniform = result.errors[BEST], result.errors["uniform"]
    texts, numbers = [], {}
    for k, nfe in enumerate(result.nfe.tolist()):
        others = {name: values[k] for name, values in result.errors.items() if name != BEST}
        name = min(others, key=others.__getitem__)
        texts.append(
            f"NFE {nfe}: {best[k]:.3g} against {uniform[k]:.3g} uniform, best named grid "
            f"{label_of(name)} ({others[name]:.3g})"
        )
        numbers |= {f"best at NFE {nfe}": best[k], f"uniform at NFE {nfe}": uniform[k]}
    yield Finding(
        lead="What the best grid gains",
        text=f"RMS distance from the converged end, with {METHODS[config.method].label} on "
        f"{result.label}. {'; '.join(texts)}.",
        numbers={name: float(value) for name, value in numbers.items()},
    )
    k = _nearest_nfe(config, result)
    *inner, end = result.best[k][1:].tolist()
    if inner:
        yield Finding(
            lead="Where its steps are",
            text=f"at NFE {result.nfe[k]} half of the inner times of the best grid are after "
            f"t = {np.median(inner):.2f}; of the uniform grid after t = {end / 2:.2f}.",
            numbers={"median time": float(np.median(inner))},
        )
    yield Finding.note(
        f"The search has {len(result.candidates)} candidate times. For each number of steps and "
        "each time it keeps the grid with the smallest error at the end and extends it step by "
        "step; with more than two steps this is an approximation. The errors above are of "
        f"{config.n:,} particles that took no part in the search; on those that did, they are "
        f"{', '.join(f'{value:.3g}' for value in result.found)}."
    )


STUDY = Study(
    __name__,
    "The best time grid of a field",
    BestConfig,
    (compute, draw, table, say),
    seconds=8.0,
    smallest={"data": "mixture:1,0@0.8", "nfes": (2, 4), "cells": 4, "n": 50},
)
