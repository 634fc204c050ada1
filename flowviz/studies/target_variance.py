"""How much does the regression target vary given x_t, and how much less with coupled pairs?

The mean of this variance over time is the smallest value that the conditional loss can reach.
Optimal transport within minibatches (Pooladian et al. 2023, Tong et al. 2023) lowers it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
import plotly.graph_objects as go

from flowviz.experiments.target_variance import (
    BATCHES,
    CouplingConfig,
    CouplingResult,
    TargetConfig,
    TargetResult,
    compute_coupling,
    compute_target,
)
from flowviz.figures import curves, marks, theme
from flowviz.figures.pairings import over_minibatch
from flowviz.progress import Progress
from flowviz.schedulers import scheduler
from flowviz.settings import Config, setting
from flowviz.studies import Figures, Finding, Findings, Live, NamedFigure, Study, Tables
from flowviz.studies import _settings as declare
from flowviz.studies._lines import path_line

MAX_VARIANCE = 300.0
"""Upper end of the variance axis: that of VP diffusion grows like 1 / (1 - t)."""


@dataclass(frozen=True, kw_only=True)
class VarianceConfig(Config):
    """The variance of the target on each path, with independent pairs and with minibatch OT."""

    data: str = declare.data(help="Distribution of the data points x₁.")
    paths: tuple[str, ...] = declare.paths(max_chosen=3)
    batch: int = setting(
        64,
        "Minibatch of optimal transport",
        choices={size: f"{size} pairs" for size in BATCHES if size > 1},
        display=True,
        help="Number of pairs within which noise and data are matched, in the figure over time.",
    )
    seed: int = declare.seed("First seed")
    pairs: int = setting(
        CouplingConfig.pairs,
        "Pairs",
        bounds=(BATCHES[-1], 1_000_000),
        advanced=True,
        help=f"Pairs of each coupling, a multiple of {BATCHES[-1]}.",
    )
    nodes: int = setting(
        CouplingConfig.nodes,
        "Times",
        bounds=(3, 1_000),
        advanced=True,
        help="Times at which the variance of coupled pairs is estimated.",
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class VarianceResult:
    """The exact variance on each path, and the couplings of the first few of BATCHES."""

    exact: tuple[TargetResult, ...]
    coupled: tuple[tuple[CouplingResult, ...], ...]

    @property
    def complete(self) -> bool:
        """Whether all of BATCHES are measured on all paths."""
        return len(self.coupled[-1]) == len(BATCHES)


def compute(config: VarianceConfig, live: Live, progress: Progress) -> Iterator[VarianceResult]:
    """Computes the exact variances, then one minibatch size after the other on all paths."""
    exact = tuple(
        progress.cached(compute_target, TargetConfig(data=config.data, path=path))
        for path in config.paths
    )
    coupled: list[list[CouplingResult]] = [[] for _ in config.paths]
    yield VarianceResult(exact=exact, coupled=tuple(map(tuple, coupled)))
    pieces = list(product(BATCHES, range(len(config.paths))))
    for done, (batch, p) in enumerate(pieces):
        progress.report(done / len(pieces), f"minibatches of {batch} pairs")
        piece = config.part(CouplingConfig, path=config.paths[p], batch=batch)
        coupled[p].append(progress.cached(compute_coupling, piece))
        if p == len(config.paths) - 1:
            yield VarianceResult(exact=exact, coupled=tuple(map(tuple, coupled)))


def draw(config: VarianceConfig, result: VarianceResult) -> Figures:
    """The variance over time, and its mean over the size of the minibatch."""
    yield NamedFigure(
        name="time",
        title="variance of the regression target over time",
        alt="Mean conditional variance of the target velocity over time for each path, with "
        "independent pairs and with minibatch optimal transport.",
        figure=_over_time(config, result),
        half=True,
    )
    if result.coupled[0]:
        yield NamedFigure(
            name="batch",
            title="mean variance over minibatch size",
            alt="Mean variance of the target over the size of the minibatch within which "
            "pairs are chosen: it falls.",
            figure=_over_batch(config, result),
            half=True,
        )


def _over_time(config: VarianceConfig, result: VarianceResult) -> go.Figure:
    """The variance over time, exact for independent pairs and estimated for one minibatch."""
    lines, index = [], BATCHES.index(config.batch)
    for path, exact, coupled in zip(config.paths, result.exact, result.coupled, strict=True):
        label = scheduler(path).label
        line = partial(curves.Curve, colour=theme.path_colour(path))
        lines.append(line(label=label, x=exact.times, y=exact.variance))
        if index < len(coupled):
            other = coupled[index]
            label += f", OT within {config.batch}"
            lines.append(line(label=label, x=other.times, y=other.variance, dash="dash"))
    plot = curves.curves(lines, y_title="variance of the target", log_y=True)
    low = 0.7 * max(min(float(line.y.min()) for line in lines), 1e-3)
    plot.update_yaxes(**marks.log_axis(low, MAX_VARIANCE))
    return plot.update_xaxes(range=[0, 1])


def _over_batch(config: VarianceConfig, result: VarianceResult) -> go.Figure:
    """The mean variance over the size of the minibatch."""
    lines = [
        path_line(
            path,
            np.array(BATCHES[: len(coupled)], dtype=float),
            np.array([each.floor for each in coupled]),
            floor=exact.floor,
        )
        for path, exact, coupled in zip(config.paths, result.exact, result.coupled, strict=True)
    ]
    plot = over_minibatch(
        lines,
        sizes=BATCHES,
        y_title="mean variance of the target",
        floor_label="independent, closed form",
        log_y=True,
    )
    curves.name_floors(plot, "independent pairs, closed form")
    return plot


def table(config: VarianceConfig, result: VarianceResult) -> Tables:
    """One row for each path, coupling and time; the closed form has no minibatch size."""
    rows = []
    for path, exact, coupled in zip(config.paths, result.exact, result.coupled, strict=True):
        costs = [float("nan"), *(each.cost for each in coupled)]
        results = zip(("closed form", *BATCHES), (exact, *coupled), costs, strict=False)
        for batch, each, cost in results:
            rows.append(
                {
                    "path": path,
                    "batch": str(batch),
                    "t": each.times,
                    "variance": each.variance,
                    "mean_variance": each.floor,
                    "transport_cost": cost,
                }
            )
    return rows


def say(config: VarianceConfig, result: VarianceResult) -> Findings:
    """The decrease of the variance by minibatch optimal transport, and its error."""
    for path, exact, coupled in zip(config.paths, result.exact, result.coupled, strict=True):
        text = (
            f"with independent pairs the mean variance of the target is {exact.floor:.2f} per "
            "dimension, the smallest value of the conditional loss"
        )
        numbers = {"independent": exact.floor, "error": exact.error}
        verdict = ""
        if result.complete:
            last = coupled[-1].floor
            times = exact.floor / last
            text += f"; with optimal transport within {BATCHES[-1]} pairs it is {last:.2g}"
            text += f", {times:.0f} times less" if times >= 1.5 else ""
            numbers |= {"coupled": last}
            verdict = "supported" if times > 1 else "not supported"
        yield Finding(
            lead=scheduler(path).label, text=f"{text}.", numbers=numbers, verdict=verdict
        )
    if not result.coupled[0]:
        return
    max_difference = max(
        abs(each[0].floor / exact.floor - 1)
        for exact, each in zip(result.exact, result.coupled, strict=True)
        if each
    )
    yield Finding(
        text="Pairs that pass near each other then have similar velocities, and the marginal "
        "flow is another one (page Which OT?). Dashed lines and marks are estimated from "
        "nearest neighbours; for independent pairs the estimate differs from the closed form "
        f"by at most {max_difference:.1%}.",
        numbers={"largest_difference": max_difference},
        detail=True,
    )


STUDY = Study(
    __name__,
    "Variance of the regression target",
    VarianceConfig,
    (compute, draw, table, say),
    page="cfm",
    seconds=5.0,
    smallest={"paths": ("ot",), "pairs": 256, "nodes": 3},
)
