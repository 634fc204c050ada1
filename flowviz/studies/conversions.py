"""How do velocity, score, noise and data prediction follow from one another?

Given x and t each follows from any other by u = alpha' m + sigma' eps, x = alpha m + sigma eps and
s = -eps / sigma. What differs is the factor by which an error of one becomes an error of another.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from flowviz.experiments.fields import EXACT
from flowviz.experiments.posterior import (
    FACTORS,
    ConversionConfig,
    ConversionResult,
    TouchConfig,
    compute_conversions,
    compute_touch,
)
from flowviz.figures import curves, theme
from flowviz.figures import posterior as figures
from flowviz.progress import Progress
from flowviz.schedulers import scheduler
from flowviz.settings import Config, setting
from flowviz.studies import Figures, Finding, Findings, Live, NamedFigure, Study, Summary, Tables
from flowviz.studies import _settings as declare
from flowviz.studies._numbers import RAISED
from flowviz.studies._tables import xy

LARGE = 99.5
"""Factors that round to 100 or more: an error of 1% becomes one of the whole."""

TABLE_TIMES = (0.0, 0.01, 0.1, 0.5, 0.9, 0.99, 1.0)
NAMES = {
    "velocity": "velocity u",
    "score": "score s",
    "noise": "noise ε̂",
    "data": "data m, as m − x",
}
SYMBOLS = {"velocity": "u", "score": "s", "noise": "ε̂", "data": "m"}


@dataclass(frozen=True, kw_only=True)
class ConversionsConfig(Config):
    """Four predictions of one field at one time."""

    data: str = declare.data()
    path: str = declare.path()
    field: str = declare.names(
        "Field", "exact, or a checkpoint of this data set and path.", default=EXACT
    )
    t: float = setting(0.6, "Time t", bounds=(0.0, 1.0), help="0 is noise, 1 is data.")


def compute(
    config: ConversionsConfig, live: Live, progress: Progress
) -> Iterator[ConversionResult]:
    """Evaluates the field and its conversions over the frame."""
    piece = config.part(ConversionConfig)
    yield progress.cached(compute_conversions, piece, field=live.get(config.field))


def draw(config: ConversionsConfig, result: ConversionResult) -> Figures:
    """The four predictions as arrows, and the factors over time."""
    yield _arrows(config, result)
    yield _factors(config, result)


def _arrows(config: ConversionsConfig, result: ConversionResult) -> NamedFigure:
    points = compute_touch(TouchConfig(data=config.data, path="ot")).points
    vectors = {
        NAMES[name]: value - result.positions if name == "data" else value
        for name, value in result.predictions.items()
    }
    colours = [
        theme.path_colour(config.path),
        theme.pick(theme.INK),
        theme.colour("noise"),
        theme.colour("data"),
    ]
    columns = xy(result.positions)
    for name, value in result.predictions.items():
        columns |= {f"{name}_1": value[:, 0], f"{name}_2": value[:, 1]}
    return NamedFigure(
        name="predictions",
        title=f"four predictions at t = {result.t:.3g}",
        alt="Velocity, score, noise and data prediction of one field, as arrows over the frame.",
        figure=figures.predictions(result.positions, vectors, colours, data=points),
        tables=columns,
    )


def _factors(config: ConversionsConfig, result: ConversionResult) -> NamedFigure:
    hues = {
        "score": theme.pick(theme.INK),
        "noise": theme.colour("noise"),
        "data": theme.colour("data"),
    }
    lines = []
    for factor, values in zip(FACTORS, np.abs(result.factors), strict=True):
        positive = np.isfinite(values) & (values > 0)
        into = factor.target == "velocity"
        dash = "solid" if into else "dot" if factor.source == "noise" else "dash"
        lines.append(
            curves.Curve(
                label=f"{SYMBOLS[factor.source]} → {SYMBOLS[factor.target]}",
                colour=hues[factor.source if into else factor.target],
                x=result.times[positive],
                y=values[positive],
                dash=dash,
            )
        )
    figure = curves.curves(lines, y_title="|factor|: error out per error in", log_y=True)
    level = {"color": theme.pick(theme.MUTED), "width": 1}
    figure.add_hline(y=1, line={**level, "dash": "dot"})
    figure.add_vline(x=result.t, line={**level, "dash": "dash"})
    label = scheduler(config.path).label
    return NamedFigure(
        name="factors",
        title=f"factors between predictions on {label}",
        alt="Size of the factor of each conversion over time, on a log axis: solid into the "
        "velocity, dashed out of it, dotted from noise to score and data.",
        figure=figure.update_xaxes(range=[0, 1]),
    )


def table(config: ConversionsConfig, result: ConversionResult) -> Tables:
    """One row for each time, one column for each factor."""
    return {"t": result.times} | {
        f"{factor.source}_to_{factor.target}": values
        for factor, values in zip(FACTORS, result.factors, strict=True)
    }


def summarise(config: ConversionsConfig, result: ConversionResult) -> Summary:
    """The factors at seven times."""
    times = [min(t, float(result.times[-1])) for t in TABLE_TIMES]
    values = np.stack([result.factor(t) for t in times], axis=1)
    return Summary(
        title=f"By what factor an error is multiplied on {scheduler(config.path).label}",
        heads=("from → to", *(f"t = {t:.6g}" for t in times)),
        rows=[
            (
                f"{SYMBOLS[factor.source]} → {SYMBOLS[factor.target]}",
                *(_number(v) if abs(v) < LARGE else f"{_number(v)} ▲" for v in row),
            )
            for factor, row in zip(FACTORS, values, strict=True)
        ],
    )


def say(config: ConversionsConfig, result: ConversionResult) -> Findings:
    """Which prediction magnifies errors most at this time, and where a conversion breaks down."""
    now = dict(zip([(f.source, f.target) for f in FACTORS], result.factor(result.t), strict=True))
    into = {source: abs(now[source, "velocity"]) for source in ("score", "noise", "data")}
    worst, best = max(into, key=into.__getitem__), min(into, key=into.__getitem__)
    yield Finding(
        lead=f"At t = {result.t:.3g} on {scheduler(config.path).label}",
        text=f"an error of 0.01 in the {worst} becomes one of {_number(0.01 * into[worst])} "
        f"in the velocity, an error of 0.01 in the {best} one of "
        f"{_number(0.01 * into[best])}: the predictions are one regression with different "
        "weights.",
        numbers=into,
    )
    ends = {"at t = 0": result.factors[:, 0], "near t = 1": result.factors[:, -1]}
    parts = []
    for where, values in ends.items():
        large = [
            f"{SYMBOLS[f.source]} → {SYMBOLS[f.target]}"
            for f, value in zip(FACTORS, values, strict=True)
            if not abs(value) < LARGE
        ]
        parts.append(f"{where} {', '.join(large) if large else 'none'}")
    yield Finding(lead="Factors of 100 or more (▲)", text=f"{'; '.join(parts)}.")
    if config.field != EXACT:
        errors = ", ".join(f"{name} {value:.3g}" for name, value in result.error.items())
        yield Finding(
            lead="The network's error",
            text=f"{errors} (root mean square under the density): one error in four units.",
            numbers=result.error,
        )
    yield Finding.note(
        "u velocity, s score, ε̂ noise, m data. α is 0 at t = 0 and σ at t = 1. Each "
        "conversion also adds a multiple of x, which has no error."
    )


def _number(value: float) -> str:
    """A number to three digits, such as −0.52, 50,100, 2.0·10⁻⁵ or ∞."""
    sign, size = "−" if value < 0 else "", abs(value)
    if math.isinf(size):
        return f"{sign}∞"
    if size >= 1e6 or 0 < size < 1e-3:
        digits, power = f"{size:.1e}".split("e")
        return f"{sign}{digits}·10{str(int(power)).translate(RAISED)}"
    return f"{sign}{float(f'{size:.3g}'):,g}" if size < 1e3 else f"{sign}{size:,.0f}"


STUDY = Study(
    __name__,
    "Four predictions of one field",
    ConversionsConfig,
    (compute, draw, table, say),
    summary=summarise,
    page="why",
    seconds=0.5,
)
