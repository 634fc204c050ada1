"""Does conditional OT sample with fewer evaluations than VP diffusion, on every data set?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from flowviz.datasets import DATASETS
from flowviz.experiments.fields import exact_name, preferred
from flowviz.experiments.solver_curves import Reach, SolverCurve, ot_and_vp
from flowviz.figures import cost, marks, theme
from flowviz.metrics import METRICS
from flowviz.progress import Progress
from flowviz.schedulers import SCHEDULERS, scheduler
from flowviz.settings import Config, setting
from flowviz.solvers import METHODS
from flowviz.studies import Figures, Finding, Findings, Live, NamedFigure, Study, Summary, Tables
from flowviz.studies import _settings as declare
from flowviz.studies._cost import (
    CLAIMED,
    comparable,
    curve_table,
    curves_of,
    curves_so_far,
    percent,
    share,
    target_table,
    targets,
)
from flowviz.studies._lines import nfe_figure, path_line


@dataclass(frozen=True, kw_only=True)
class AllDataSetsConfig(Config):
    """One solver on conditional OT and VP diffusion of several data sets."""

    method: str = declare.method("midpoint", "A fixed-step solver.", choices=declare.fixed_methods)
    grid: str = declare.grid()
    measure: str = declare.measure()
    n: int = declare.count()
    seeds: int = declare.seeds()
    seed: int = declare.seed("First seed")
    own: str = declare.own(
        "All three paths are then measured by their exact fields, without the errors of networks: "
        "your own schedule has no networks.",
        label="Add your own schedule (exact fields)",
    )
    sets: tuple[str, ...] = setting(
        (), "Data sets", advanced=True, help="Specs of data sets; all by default."
    )
    nfes: tuple[int, ...] = declare.nfes()
    compared: tuple[str, ...] = declare.names(
        "Fields",
        "By default those of conditional OT and VP diffusion, or exact ones with your own "
        "schedule.",
    )

    def chosen(self) -> Self:
        """See `Config.chosen`."""
        sets, paths = self.sets or tuple(DATASETS), ("ot", "vp", self.own)
        if self.compared:
            return self
        if self.own:
            names = [exact_name(each, path) for each in sets for path in paths]
        else:
            names = [name for pair in preferred(*sets) for name in pair]
        return replace(self, sets=sets, compared=tuple(names))


@dataclass(frozen=True, kw_only=True, eq=False)
class AllDataSetsResult:
    """The complete curves of the data sets, in the order of the menu."""

    curves: tuple[SolverCurve, ...]

    def pairs(self, measure: str) -> list[tuple[SolverCurve, SolverCurve]]:
        """The curves of OT and VP of each data set to which the metric applies."""
        return [pair for pair in ot_and_vp(self.curves) if measure in pair[0].values]


def compute(
    config: AllDataSetsConfig, live: Live, progress: Progress
) -> Iterator[AllDataSetsResult]:
    """Computes the curves in parallel; yields whenever another data set is complete."""
    configs = curves_of(config, config.compared, (config.method,))
    known, curves = 0, ()
    for curves in curves_so_far(configs, progress):
        result = AllDataSetsResult(curves=curves)
        if len(result.pairs(config.measure)) > known or len(curves) == len(configs):
            known = len(result.pairs(config.measure))
            yield result
    if curves and not known:
        raise ValueError(
            f"measure must apply to a data set of {', '.join(config.sets)}; got {config.measure}."
        )


def draw(config: AllDataSetsConfig, result: AllDataSetsResult) -> Figures:
    """The NFE to reach both targets on each data set, and the curves behind it."""
    pairs = result.pairs(config.measure)
    groups = [
        (title, {_label(ot.data): (_nfe(reach_of(ot)), _nfe(reach_of(vp))) for ot, vp in pairs})
        for title, reach_of in targets(config.measure, pairs[0])
    ]
    figure = cost.dumbbells(
        groups,
        labels=(SCHEDULERS["ot"].label, SCHEDULERS["vp"].label),
        colours=(theme.path_colour("ot"), theme.path_colour("vp")),
    )
    measure = METRICS[config.measure].label
    yield NamedFigure(
        name="all-nfe",
        title="NFE to reach a target on all data sets",
        alt="Function evaluations that conditional OT and VP diffusion need on each data set, "
        "for an error (left) and for a quality (right).",
        figure=figure,
    )
    yield _against_nfe(config, result, "error", "squared error per dimension")
    yield _against_nfe(config, result, "quality", f"{measure} ÷ its floor")


def _nfe(reach: Reach | None) -> float:
    return np.nan if reach is None else reach.nfe


def _label(data: str) -> str:
    return DATASETS[data].label if data in DATASETS else data


def _against_nfe(
    config: AllDataSetsConfig, result: AllDataSetsResult, name: str, title: str
) -> NamedFigure:
    """Error or quality against NFE: one line per data set, with its marker, and path."""
    measured = [curve for curve in result.curves if config.measure in curve.values]
    sets = list(dict.fromkeys(curve.data for curve in measured))
    lines = [
        path_line(
            curve.path,
            curve.cost,
            np.where(curve.diverged, np.nan, _values(config, curve, name).mean(axis=1)),
            label=f"{scheduler(curve.path).label}, {_label(curve.data)}",
            k=sets.index(curve.data),
        )
        for curve in measured
    ]
    named = nfe_figure(
        f"all-{name}",
        title,
        f"{title} against function evaluations, one line per data set and path.",
        lines,
        METHODS[config.method].label,
        y_title=title,
        half=True,
    )
    for trace, curve in zip(theme.traces(named.figure), measured, strict=True):
        trace.update(showlegend=False, legendgroup=curve.data, line_width=1.4)
    for path in dict.fromkeys(curve.path for curve in measured):
        entry = marks.key(scheduler(path).label, theme.path_colour(path), legend="legend2")
        named.figure.add_scatter(**entry)
    for k, data in enumerate(sets):
        style = theme.style("", k) | {"colour": theme.pick(theme.INK)}
        named.figure.add_scatter(**marks.key(_label(data), **style, legendgroup=data))
    legend_height = 60 + 24 * len(sets) // 2  # two columns of names below the axis
    named.figure.update_layout(
        height=300 + legend_height,
        margin_b=legend_height,
        legend=marks.ALONE | {"tracegroupgap": 0},
        legend2=marks.ABOVE,
    )
    return named


def _values(config: AllDataSetsConfig, curve: SolverCurve, name: str) -> np.ndarray:
    if name == "error":
        return curve.mse
    floor = curve.floor[config.measure]
    return curve.values[config.measure] / np.where(floor > 0, floor, np.nan)


def table(config: AllDataSetsConfig, result: AllDataSetsResult) -> Tables:
    """One row per field, budget and seed."""
    return curve_table(result.curves)


def say(config: AllDataSetsConfig, result: AllDataSetsResult) -> Findings:
    """Whether conditional OT needs fewer evaluations than VP diffusion."""
    pairs = result.pairs(config.measure)
    for target, reach_of in targets(config.measure, pairs[0]):
        rows = [(reach_of(ot), reach_of(vp)) for ot, vp in pairs]
        yield _judged(METHODS[config.method].label, target, rows)
    yield _at_equal_nfe(config, pairs)
    if config.own:
        yield from _own_schedule(config, result)
    yield Finding.note(
        "Networks are measured where both paths have one, exact fields elsewhere, with "
        f"{config.seeds} seed{'s' * (config.seeds > 1)} of {config.n:,} samples. A target is "
        "reached where the mean of the seeds stays below it."
    )


def cheaper(first: Reach | None, second: Reach | None) -> int | None:
    """-1 if the first reaches a target with fewer evaluations, 1 if with more, 0 if equal.

    None if that is not measured: neither reaches it, or both do at the smallest budget.
    """
    if first is None or second is None:
        return None if first is second else (1 if first is None else -1)
    if first.at_first and second.at_first:
        return None
    return int(np.sign(first.nfe - second.nfe))


def _judged(
    solver: str, target: str, rows: Sequence[tuple[Reach | None, Reach | None]]
) -> Finding:
    """The claim that OT needs fewer evaluations, for one target."""
    won = [cheaper(*row) for row in rows]
    better, worse = won.count(-1), won.count(1)
    half = len(rows) / 2
    verdict = "supported" if better > half else "not supported" if worse > half else "undecided"
    sets = f"{len(rows)} data set{'s' if len(rows) > 1 else ''}"
    where_fewer = f"all {sets}" if better == len(rows) > 1 else f"{better} of {sets}"
    text = (
        f"with {solver}, conditional OT needs fewer evaluations than VP diffusion on {where_fewer}"
    )
    if worse:
        text += f" and more on {worse}"
    open_ = won.count(None)
    if open_:
        text += f"; {open_} cannot be compared (not reached, or reached at the smallest budget)"
    ratios = [share(*row) for row in rows if comparable(*row)]
    numbers: dict[str, float] = {"fewer": better, "more": worse, "data_sets": len(rows)}
    if ratios:
        where = "one data set"
        if len(ratios) > 1:
            span = f"{percent(min(ratios))} to {percent(max(ratios))}"
            where = f"median of {len(ratios)} data sets; {span}"
        text += (
            f". It needs {percent(float(np.median(ratios)))} of the evaluations of VP ({where}); "
            f"the paper states about {percent(CLAIMED)}"
        )
        numbers["median_share"] = float(np.median(ratios))
    return Finding(lead=target, text=f"{text}.", numbers=numbers, verdict=verdict)


def _at_equal_nfe(
    config: AllDataSetsConfig, pairs: Sequence[tuple[SolverCurve, SolverCurve]]
) -> Finding:
    """The number of data sets with better OT at the smallest and at the largest budget."""
    nfe, texts, numbers = pairs[0][0].cost, [], {}
    label = METRICS[config.measure].words
    for p in dict.fromkeys((0, len(nfe) - 1)):
        counts = []
        for name, kind in (("error", "error"), (label, "quality")):
            both = np.array([[_values(config, c, kind)[p].mean() for c in pair] for pair in pairs])
            both = both[np.isfinite(both).all(axis=1)]
            better = int((both[:, 0] < both[:, 1]).sum())
            counts.append(f"the lower {name} on {better} of {len(both)}")
            numbers[f"{kind}_at_{nfe[p]:.0f}"] = better
        has = f"conditional OT has {' and '.join(counts)} data sets"
        texts.append(f"with {nfe[p]:.0f} evaluations {has}")
    return Finding(lead="At equal NFE", text=f"{'; '.join(texts)}.", numbers=numbers)


def _own_pairs(
    config: AllDataSetsConfig, result: AllDataSetsResult
) -> list[tuple[SolverCurve, SolverCurve]]:
    """The curves of the user's schedule and of conditional OT of each data set."""
    known = {(each.data, each.path): each for each in result.curves}
    return [
        (known[ot.data, config.own], ot)
        for ot in result.curves
        if ot.path == "ot" and (ot.data, config.own) in known and config.measure in ot.values
    ]


def _own_schedule(config: AllDataSetsConfig, result: AllDataSetsResult) -> Findings:
    """What the user's schedule needs against conditional OT, both by exact fields."""
    pairs = _own_pairs(config, result)
    if not pairs:
        return
    texts, numbers = [], {}
    for target, reach_of in targets(config.measure, pairs[0]):
        outcomes = [
            cheaper(reach_of(own_curve), reach_of(ot_curve)) for own_curve, ot_curve in pairs
        ]
        ratios = [share(reach_of(own_curve), reach_of(ot_curve)) for own_curve, ot_curve in pairs]
        median = float(np.nanmedian(ratios)) if np.isfinite(ratios).any() else np.nan
        n_fewer, n_more = outcomes.count(-1), outcomes.count(1)
        text = f"for {target} it needs fewer evaluations than conditional OT on {n_fewer} of "
        text += f"{len(pairs)} data sets and more on {n_more}"
        if np.isfinite(median):
            text += f" (median {percent(median)})"
            numbers[target] = median
        texts.append(text)
    yield Finding(
        lead="Your own schedule",
        text=f"{'; '.join(texts)}. Exact fields of all paths end at the same points, so that only "
        "the steps of the solver differ.",
        numbers=numbers,
    )


def summarise(config: AllDataSetsConfig, result: AllDataSetsResult) -> Summary:
    """The NFE to reach both targets on each data set."""
    own_curves = {ot.data: each for each, ot in _own_pairs(config, result)}
    return target_table(
        f"NFE to reach a target with {METHODS[config.method].label}, interpolated between budgets",
        "Data set",
        config.measure,
        [scheduler(path).label for path in ("ot", "vp", config.own) if path],
        {
            _label(ot.data): [ot, vp, *([own_curves.get(ot.data)] if config.own else [])]
            for ot, vp in result.pairs(config.measure)
        },
    )


STUDY = Study(
    __name__,
    "NFE of conditional OT and VP diffusion on all data sets",
    AllDataSetsConfig,
    (compute, draw, table, say),
    summary=summarise,
    page="nfe_quality",
    seconds=60.0,
    smallest={"sets": ("mixture:1,0@0.8",), "n": 50, "seeds": 1, "nfes": (4, 8)},
)
