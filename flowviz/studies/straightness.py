"""How straight are flows, pair by pair and as a whole? Conditional and marginal straightness.

The measure is S of Liu et al. 2022, the mean squared deviation of the velocity from the chord.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from flowviz.experiments.endpoints import specs
from flowviz.experiments.fields import exact_name, learned_names, readable_cards
from flowviz.experiments.unlimited import FlowConfig, FlowStraightness, compute_straightness
from flowviz.figures import curves, theme
from flowviz.figures import straightness as figures
from flowviz.progress import Progress
from flowviz.schedulers import LEARNED, scheduler
from flowviz.settings import Config, setting
from flowviz.straightness import LATEST, Straightness
from flowviz.studies import Figures, Finding, Findings, Live, NamedFigure, Study, Summary, Tables
from flowviz.studies import _settings as declare
from flowviz.studies._numbers import factor, joined

NOT_DRAWN = "ve"
"""The path that only the table shows: its values are an order of magnitude larger."""

LEGEND_LINE = 24
"""Height of a legend's line in pixels."""

HEADS = {
    "deviation": "S",
    "relative": "S ÷ squared chord",
    "arc_over_chord": "length ÷ displacement",
    "energy": "kinetic energy",
    "displacement": "squared chord",
    "acceleration": "Burgers residual",
}


@dataclass(frozen=True, kw_only=True)
class StraightnessConfig(Config):
    """The flows of all paths of one data set."""

    data: str = declare.data(help="Data set on which the claims are tested.")
    own: str = declare.own("Adds the flows of your own schedule.")
    learned: tuple[str, ...] = declare.names(
        "Learned paths", "Checkpoints of learned paths; without any, all of the data set."
    )
    seed: int = declare.seed()
    n: int = setting(800, "Particles", bounds=(2, 20_000), advanced=True, help="Sample size.")

    def chosen(self) -> Self:
        """See `Config.chosen`."""
        return replace(self, learned=self.learned or learned_names(readable_cards(), self.data))


@dataclass(frozen=True, kw_only=True, eq=False)
class StraightnessResult:
    """How straight the flows computed so far are: exact fields first, then learned paths."""

    flows: tuple[FlowStraightness, ...]

    @property
    def drawn(self) -> tuple[FlowStraightness, ...]:
        """The flows that the figures show."""
        return tuple(each for each in self.flows if each.path != NOT_DRAWN)

    def label(self, flow: FlowStraightness) -> str:
        """The path, and how a learned path was trained."""
        if not flow.method:
            return scheduler(flow.path).label
        is_shared = [each.method for each in self.flows].count(flow.method) > 1
        checkpoint = f" ({flow.name.partition('@')[0]})" if is_shared else ""
        return f"{scheduler(LEARNED).label}, {flow.method}{checkpoint}"


def compute(
    config: StraightnessConfig, live: Live, progress: Progress
) -> Iterator[StraightnessResult]:
    """Measures one path after the other; yields after each."""
    names = [*(exact_name(config.data, spec) for spec in specs(config.own)), *config.learned]
    flows: list[FlowStraightness] = []
    for name in names:
        progress.report(len(flows) / len(names))
        piece = FlowConfig(name=name, n=config.n, seed=config.seed)
        flows.append(progress.cached(compute_straightness, piece))
        yield StraightnessResult(flows=tuple(flows))


def draw(config: StraightnessConfig, result: StraightnessResult) -> Figures:
    """Conditional and marginal straightness of each path, and where marginal flows bend."""
    flows = result.drawn
    paths = [flow.path for flow in flows]
    styles = [theme.style(*pair) for pair in zip(paths, theme.ranks(paths), strict=True)]
    rows = [
        figures.Pair(
            label=result.label(flow).replace(", ", ",<br>"),
            colour=style["colour"],
            conditional=(flow.conditional.relative, flow.conditional.arc_over_chord),
            marginal=(flow.marginal.relative, flow.marginal.arc_over_chord),
        )
        for flow, style in zip(flows, styles, strict=True)
    ]
    lines = [
        curves.of_runs(
            result.label(flow),
            x=flow.marginal.times,
            runs=flow.marginal.deviations / flow.marginal.displacement,
            **style,
        )
        for flow, style in zip(flows, styles, strict=True)
    ]
    legend = LEGEND_LINE * len(flows)
    size = {"height": 300 + legend, "margin_b": 40 + legend, "legend_y": -0.3}
    deviations = curves.curves(lines, y_title="off the chord (area = S ÷ distance²)", log_y=True)
    yield NamedFigure(
        name="pairs",
        title="straightness of conditional and marginal flows",
        alt="Straightness of the conditional flows (hollow) and the marginal flow (full) of "
        "each path.",
        figure=figures.pairs(rows, ("S ÷ distance²", "length ÷ displacement")).update_layout(
            **size
        ),
        half=True,
    )
    yield NamedFigure(
        name="deviations",
        title="where the marginal flow deviates from its chord",
        alt="Mean squared difference of velocity and chord over time for each marginal flow.",
        figure=deviations.update_layout(**size),
        half=True,
    )


def _rows(result: StraightnessResult) -> list[tuple[FlowStraightness, str, Straightness]]:
    return [
        (each, kind, getattr(each, kind))
        for kind in ("conditional", "marginal")
        for each in result.flows
    ]


def table(config: StraightnessConfig, result: StraightnessResult) -> Tables:
    """One row for each path, kind of flow and time."""
    return [
        {"path": each.path, "label": result.label(each), "flow": kind}
        | {name: getattr(measured, name) for name in HEADS}
        | {"t": measured.times, "deviation_at_t": measured.deviations}
        for each, kind, measured in _rows(result)
    ]


def summarise(config: StraightnessConfig, result: StraightnessResult) -> Summary:
    """All measures of all flows."""
    rows = [
        [f"{result.label(each)}, {kind}"] + [_number(getattr(measured, name)) for name in HEADS]
        for each, kind, measured in _rows(result)
    ]
    heads = ("Flow", *HEADS.values())
    return Summary(title="All measures, with VE diffusion", heads=heads, rows=rows)


def _number(value: float) -> str:
    return f"{0 if value < 1e-9 else value:.4g}"


def say(config: StraightnessConfig, result: StraightnessResult) -> Findings:
    """Which path has the straightest conditional flows, and which the straightest marginal one."""
    exact = [each for each in result.drawn if not each.method]
    pairs = {each.path: each.conditional.relative for each in exact}
    deviations = {each.path: each.marginal.deviation for each in exact}
    bends = {each.path: each.marginal.arc_over_chord for each in exact}
    if len(exact) > 1:
        yield _ranked("Pair by pair", "conditional", HEADS["relative"], pairs, ".3g")
        yield _ranked("As a whole, by S", "marginal", HEADS["deviation"], deviations, ".3g")
        yield _ranked("As a whole, by bends", "marginal", HEADS["arc_over_chord"], bends, ".3f")
        yield from _claim(pairs, deviations)
    yield from _learned(result)
    yield Finding.note(
        "S = E∫|(z₁ − z₀) − v|² dt (Liu et al. 2022), summed over both dimensions: "
        "kinetic energy minus squared chord (start to end). The Burgers residual is the mean "
        f"squared acceleration ∂ₜv + (v·∇)v up to {LATEST:.0%} of the time; later it grows "
        "without bound on VP. Time is scaled to [0, 1]. VE starts from noise of standard "
        "deviation 25, which makes its values large. The marginal flow of a learned path is that "
        "of its network."
    )


def _smallest(values: Mapping[str, float], digits: str) -> list[str]:
    """The paths with the smallest value; values that print alike are equal."""
    if not np.isfinite(list(values.values())).all():
        return []
    best = format(min(values.values()), digits)
    return [path for path, value in values.items() if format(value, digits) == best]


def _ranked(
    lead: str, kind: str, measure: str, values: Mapping[str, float], digits: str
) -> Finding:
    """Which path has the straightest flows of a kind."""
    best = [scheduler(path).label for path in _smallest(values, digits)]
    listed = ", ".join(
        f"{scheduler(path).label} {format(0 if value < 1e-9 else value, digits)}"
        for path, value in values.items()
    )
    if not best:
        text = "not every path could be measured"
    elif len(best) == 1:
        text = f"{best[0]} has the straightest {kind} flow"
    else:
        text = f"{joined(best)} have equally straight {kind} flows"
    return Finding(lead=lead, text=f"{text} ({measure}: {listed}).", numbers=dict(values))


def _claim(pairs: Mapping[str, float], deviations: Mapping[str, float]) -> Findings:
    """Whether the path with the straightest pairs has the straightest marginal flow."""
    by_pairs, by_s = set(_smallest(pairs, ".3g")), set(_smallest(deviations, ".3g"))
    if not (by_pairs and by_s and {"ot", "vp"} <= deviations.keys()):
        return
    size = factor(deviations["vp"], deviations["ot"])
    size += " as" if size == "the same" else " than"
    same = "supported" if by_pairs == by_s else "undecided"
    yield Finding(
        lead="Straightest pairs, straightest flow",
        text=f"the marginal S of VP diffusion is {size} that of conditional OT; the smallest "
        f"is that of {joined([scheduler(path).label for path in deviations if path in by_s])}.",
        numbers=dict(deviations),
        verdict=same if by_pairs & by_s else "not supported",
    )


def _learned(result: StraightnessResult) -> Findings:
    """S of learned paths relative to conditional OT."""
    learned = [each for each in result.flows if each.method]
    if not learned:
        return
    base = next(each for each in result.flows if each.path == "ot").marginal.deviation
    each_s = joined(
        [
            f"{each.marginal.deviation:.3g} for {result.label(each).partition(', ')[2]} "
            f"({factor(each.marginal.deviation, base)})"
            for each in learned
        ]
    )
    yield Finding(
        lead="Learned paths",
        text=f"compared with conditional OT, their marginal S is {each_s}.",
        numbers={each.name: each.marginal.deviation for each in learned},
    )


STUDY = Study(
    __name__,
    "How straight: pair by pair, and as a whole",
    StraightnessConfig,
    (compute, draw, table, say),
    summary=summarise,
    page="straighter",
    seconds=5.0,
    smallest={"data": "moons", "n": 20},
)
