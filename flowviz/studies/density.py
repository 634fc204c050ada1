"""The density of a flow by the change of variables, compared with the exact one."""

from collections.abc import Iterator
from dataclasses import dataclass

from flowviz.experiments.likelihood import DensityResult, compute_density
from flowviz.figures import sheet, theme
from flowviz.progress import Progress
from flowviz.settings import setting
from flowviz.studies import Figures, Finding, Findings, Live, NamedFigure, Study, Tables
from flowviz.studies._backward import (
    TIMES,
    GridConfig,
    density_columns,
    estimate_note,
    mass_finding,
    own_label,
)

SIDE = 420
"""Side in pixels of one of two panels next to each other."""

SMALL_SIDE = 112
"""Side in pixels of a panel of the strip over time."""


@dataclass(frozen=True, kw_only=True)
class DensitiesConfig(GridConfig):
    """The density at one time, or at TIMES."""

    t: float = setting(
        1.0, "Time t", bounds=(0.0, 1.0), help="Share of the path's time: 0 noise, 1 data."
    )
    over_time: bool = setting(
        False, "Over time", advanced=True, help="At nine times instead of the time t."
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class DensitiesResult:
    """The densities computed so far, in the order of time."""

    densities: tuple[DensityResult, ...]


def compute(config: DensitiesConfig, live: Live, progress: Progress) -> Iterator[DensitiesResult]:
    """Follows the cells of the grid back from each time; yields after each.

    Raises:
        ValueError: a solve failed; the message has the time and advice.
    """
    live_field = live.get(config.field)
    times = TIMES if config.over_time else (config.t,)
    densities: list[DensityResult] = []
    for t in times:
        densities.append(progress.cached(compute_density, config.density(t), field=live_field))
        progress.report(len(densities) / len(times), f"t = {t:.2f}")
        yield DensitiesResult(densities=tuple(densities))


def draw(config: DensitiesConfig, result: DensitiesResult) -> Figures:
    """The density of the flow next to or above the exact one."""
    yield _strip(config, result) if config.over_time else _pair(config, result)


def _pair(config: DensitiesConfig, result: DensitiesResult) -> NamedFigure:
    (density,) = result.densities
    exact = theme.colour("exact")
    titles = [config.label, own_label(config, config.t)]
    figure = sheet.sheet(
        [sheet.Strip(label="", colour=exact, panels=[density.density, density.exact])],
        titles,
        groups=[(f"density at t = {config.t:.3g}", len(titles))],
        panel=SIDE,
        scale="sheet",
    )
    return NamedFigure(
        name="beside",
        title=f"densities at t = {config.t:.2f}",
        alt=f"Density by change of variables, left, and {titles[1]}, right, at t = "
        f"{config.t:.2f}.",
        figure=figure,
    )


def _strip(config: DensitiesConfig, result: DensitiesResult) -> NamedFigure:
    densities = result.densities
    rows = [
        sheet.Strip(
            label="by change<br>of variables",
            colour=theme.path_colour(config.path),
            panels=[each.density for each in densities],
        ),
        sheet.Strip(
            label="from data<br>points" if config.learned_path else "exact",
            colour=theme.colour("exact"),
            panels=[each.exact for each in densities],
        ),
    ]
    titles = [f"<i>t</i> = {t:.3g}" for t in TIMES[: len(densities)]]
    groups = [(f"density over time: {config.label}", len(titles))]
    return NamedFigure(
        name="evolution",
        title="density over time",
        alt="Densities by change of variables, above, and exact, below, from noise to data.",
        figure=sheet.sheet(rows, titles, groups=groups, panel=SMALL_SIDE, scale="column"),
    )


def table(config: DensitiesConfig, result: DensitiesResult) -> Tables:
    """One row for each time and cell."""
    return [density_columns(each) for each in result.densities]


def say(config: DensitiesConfig, result: DensitiesResult) -> Findings:
    """The KL divergence from the exact density, and the integral of the density."""
    last = result.densities[-1]
    share = TIMES[len(result.densities) - 1] if config.over_time else config.t
    # Between a density and a blurred estimate it would be the KL of the blur.
    if not (config.learned_path and 0 < share < 1):
        text = f"KL(exact ‖ flow) is {last.kl:.4f} nats at t = {share:.2f}, on the grid"
        if config.over_time and not config.learned_path:
            k = max(range(len(result.densities)), key=lambda k: result.densities[k].kl)
            text += f"; it is largest at t = {TIMES[k]:.3g}: {result.densities[k].kl:.4f} nats"
        yield Finding(lead="Distance", text=f"{text}.", numbers={"kl": last.kl})
    yield mass_finding(config, last)
    yield from estimate_note(config, blurred=True)


STUDY = Study(
    __name__,
    "The density of a flow and the exact one",
    DensitiesConfig,
    (compute, draw, table, say),
    page="likelihood",
    seconds=3.0,
    smallest={"cells": 18},
)
