"""Do the conditional and the marginal loss have the same gradient? Theorem 2, measured.

On one batch of n pairs the two gradients differ; if the difference has mean 0, its root mean
square falls as n^(-1/2), and if not, it levels off.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from flowviz.experiments.gradients import (
    SIZES,
    GradientConfig,
    GradientResult,
    compute_gradients,
    pooled,
    signal,
    slope,
)
from flowviz.figures import theme
from flowviz.progress import Progress
from flowviz.schedulers import scheduler
from flowviz.settings import setting
from flowviz.studies import Figures, Finding, Findings, Live, Study, Tables
from flowviz.studies import _settings as declare
from flowviz.studies._lines import line_figure, path_line
from flowviz.studies._theorem2 import NetworkConfig, missing_networks
from flowviz.studies.study import with_minus_signs

TOLERANCE = 0.05
"""Largest accepted difference between a fitted slope and -1/2."""


@dataclass(frozen=True, kw_only=True)
class GradientsConfig(NetworkConfig):
    """The gradients of both losses on several pools of pairs for each path."""

    seeds: int = setting(
        6,
        "Pools of pairs",
        bounds=(2, 64),
        work=1,
        help="Each of 16,384 pairs; for the error bars.",
    )
    seed: int = declare.seed("First seed")
    pairs: int = setting(
        GradientConfig.pairs,
        "Pairs",
        bounds=(SIZES[-1], 1_048_576),
        advanced=True,
        help=f"Pairs in a pool, a multiple of {SIZES[-1]}.",
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class GradientsResult:
    """The pools measured so far, at least two, for each path."""

    pools: tuple[tuple[GradientResult, ...], ...]


def compute(config: GradientsConfig, live: Live, progress: Progress) -> Iterator[GradientsResult]:
    """Measures one pool after the other on all paths; yields after each from the second on."""
    names = config.networks
    pools_of_path: list[list[GradientResult]] = [[] for _ in config.paths]
    for k in range(config.seeds):
        for p, (path, name) in enumerate(zip(config.paths, names, strict=True)):
            piece = config.part(GradientConfig, path=path, field=name, seed=config.seed + k)
            pool = progress.cached(compute_gradients, piece, field=live.get(name))
            pools_of_path[p].append(pool)
            done = (k * len(names) + p + 1) / (config.seeds * len(names))
            progress.report(done, f"pool {k + 1} of {config.seeds}")
        if k:
            yield GradientsResult(pools=tuple(map(tuple, pools_of_path)))


def draw(config: GradientsConfig, result: GradientsResult) -> Figures:
    """The difference of the gradients over the batch size."""
    lines = []
    for path, pools in zip(config.paths, result.pools, strict=True):
        fitted, runs = slope(pools), np.sqrt([pool.apart for pool in pools])
        lines.append(
            path_line(
                path,
                np.array(SIZES, dtype=float),
                pooled(pools),
                label=f"{scheduler(path).label}: slope "
                + with_minus_signs(f"{fitted.value:.3f} ± {fitted.error:.3f}"),
                band=(runs.min(axis=0), runs.max(axis=0)),
                floor=signal(pools) or None,
            )
        )
    named = line_figure(
        "gradients",
        "difference of the gradients over batch size",
        "Root mean square difference of conditional and marginal gradient over batch size, both "
        "logarithmic: lines of slope -1/2.",
        lines,
        x_title="batch size <i>n</i> (pairs)",
        y_title="|∇<i>L</i><sub>CFM</sub> − ∇<i>L</i><sub>FM</sub>| on one batch",
        floor_label="|∇L<sub>FM</sub>|",
        log_x=True,
        log_y=True,
        markers=True,
        x_ticks=SIZES,
    )
    for trace in theme.traces(named.figure.update_layout(height=400, legend_y=-0.19)):
        if trace.line.dash == "dot":
            trace.name = trace.name.split(":")[0]
    yield named


def table(config: GradientsConfig, result: GradientsResult) -> Tables:
    """One row for each path and batch size."""
    return [
        {
            "path": path,
            "n": np.array(SIZES),
            "gradients_apart": pooled(pools),
            "scatter_of_fm": pooled(pools, "scatter"),
            "gradient_fm": signal(pools),
        }
        for path, pools in zip(config.paths, result.pools, strict=True)
    ]


def say(config: GradientsConfig, result: GradientsResult) -> Findings:
    """Whether the difference of the gradients averages out, and what it costs."""
    for path, pools in zip(config.paths, result.pools, strict=True):
        fitted = slope(pools)
        holds = abs(fitted.value + 0.5) <= TOLERANCE
        power = f"n to the power {fitted.value:.3f} ± {fitted.error:.3f}"
        text = (
            f"the difference of the two gradients falls as {power}: four times the pairs, half "
            "the difference, as for noise of mean 0."
            if holds
            else f"the difference of the two gradients falls as {power}, more than {TOLERANCE:g} "
            "from −1/2; more pools give a smaller error."
        )
        verdict = "supported" if holds else "undecided"
        numbers = {"slope": fitted.value, "error": fitted.error}
        lead = scheduler(path).label
        yield Finding(lead=lead, text=text, numbers=numbers, verdict=verdict)
    prices = {
        scheduler(path).label: 1 + (pooled(pools)[0] / pooled(pools, "scatter")[0]) ** 2
        for path, pools in zip(config.paths, result.pools, strict=True)
    }
    listed = ", ".join(f"{price:.3g} ({label})" for label, price in prices.items())
    yield Finding(
        lead="Cost of single pairs",
        text=f"for a gradient with as little noise as that of the marginal loss one needs "
        f"{listed} times the pairs.",
        numbers={label: float(price) for label, price in prices.items()},
    )
    yield from missing_networks(config)
    yield Finding.note(
        "The dotted level is the gradient that all pairs have in common: left of where a "
        "line meets it, the gradient of a batch is mostly noise. The band is the range of the "
        f"pools. Gradients with respect to {result.pools[0][0].parameters:,} weights."
    )


STUDY = Study(
    __name__,
    "Gradients of the conditional and the marginal loss",
    GradientsConfig,
    (compute, draw, table, say),
    page="cfm",
    seconds=5.0,
    smallest={"paths": ("ot",), "seeds": 2, "pairs": SIZES[-1]},
)
