"""What do samples cost? Numerical error and sample quality against NFE."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from flowviz.experiments.evaluate import LOST
from flowviz.experiments.fields import PREFIX, map_names, preferred
from flowviz.experiments.solver_curves import ERROR_LEVEL, CurveConfig, SolverCurve, ot_and_vp
from flowviz.figures import cost, theme
from flowviz.grids import GRIDS
from flowviz.methods import JUMPS, velocity_methods
from flowviz.metrics import METRICS
from flowviz.progress import Progress
from flowviz.schedulers import scheduler
from flowviz.settings import Config, setting
from flowviz.solvers import METHODS
from flowviz.studies import Figures, Finding, Findings, Live, NamedFigure, Study, Summary, Tables
from flowviz.studies import _settings as declare
from flowviz.studies._cost import (
    CLAIMED,
    budgets,
    comparable,
    curve_table,
    curves_of,
    curves_so_far,
    percent,
    reached,
    share,
    target_table,
    targets,
)
from flowviz.studies._numbers import joined

COMPARED = (1, 2, 4, 8, 16)
"""The NFE at which the best curve is named."""

USUAL = ("euler", "midpoint", "rk4", "dopri5")
"""Default solvers."""

MAIN = ("midpoint", JUMPS)
"""The solvers whose curves are thicker: the default of other pages, and that of flow maps."""

FEW_STEPS = ("dpmpp-2m", "unipc-2")
"""Solvers for few steps that are added to the default ones."""

FEW_NFES = (1, 2)
"""Budgets that are added with them."""


@dataclass(frozen=True, kw_only=True)
class NfeQualityConfig(Config):
    """Fields and solvers, and how their samples are judged."""

    data: str = declare.data()
    fields: tuple[str, ...] = declare.fields(
        help="Networks trained on this data set, and exact fields in closed form."
    )
    methods: tuple[str, ...] = setting(
        USUAL,
        "ODE solvers",
        slug="solvers",
        choices=velocity_methods,
        help="Fixed-step solvers take exactly the given NFE. Adaptive solvers get tolerances from "
        "0.1 to 0.00001, and their NFE is counted.",
    )
    few: str = setting(
        "auto",
        "Methods for few steps",
        choices={"auto": "with the default solvers", "on": "always", "off": "never"},
        help="Adds DPM-Solver++ (2M), UniPC-2, the jumps of the data set's flow maps, and budgets "
        "of 1 and 2 evaluations.",
    )
    maps: tuple[str, ...] = declare.names(
        "Flow maps",
        "Flow maps whose jumps are added; by default DATA-PATH-OBJECTIVE of OT and VP.",
    )
    grid: str = declare.grid()
    measure: str = declare.measure()
    n: int = declare.count()
    seeds: int = declare.seeds()
    seed: int = declare.seed("First seed")
    nfes: tuple[int, ...] = declare.nfes()
    tols: tuple[float, ...] = declare.tols()

    def chosen(self) -> Self:
        """See `Config.chosen`."""
        fields = self.fields or preferred(self.data)[0]
        maps = self.maps or (map_names(self.data) if self.with_few else ())
        return replace(self, fields=fields, maps=maps if self.with_few else ())

    @property
    def with_few(self) -> bool:
        """Whether the methods for few steps are added."""
        return self.few == "on" or (self.few == "auto" and self.methods == USUAL)

    @property
    def solvers(self) -> tuple[str, ...]:
        """All solvers, those for few steps included."""
        added = (*FEW_STEPS, JUMPS) if self.with_few else ()
        return tuple(dict.fromkeys((*self.methods, *added)))

    def curves(self) -> list[CurveConfig]:
        """The curves: of each field with each solver, and the jumps of each flow map."""
        nfes = tuple(dict.fromkeys((*FEW_NFES, *self.nfes))) if self.with_few else self.nfes
        with_nfes = replace(self, nfes=nfes)
        velocities = [name for name in self.solvers if name != JUMPS]
        return [
            *curves_of(with_nfes, self.fields, velocities),
            *curves_of(with_nfes, self.maps, (JUMPS,)),
        ]


@dataclass(frozen=True, kw_only=True, eq=False)
class NfeQualityResult:
    """The complete curves, solver by solver.

    Attributes:
        curves: one per field and solver.
        uniform: if the grid is another one, curves of conditional OT and VP with one solver on
            the grid even in t.
    """

    curves: tuple[SolverCurve, ...]
    uniform: tuple[SolverCurve, ...] = ()


def compute(
    config: NfeQualityConfig, live: Live, progress: Progress
) -> Iterator[NfeQualityResult]:
    """Computes the curves in parallel; yields after each.

    Raises:
        ValueError: a field leads to another data set, or the metric does not apply to this one.
    """
    curves: tuple[SolverCurve, ...] = ()
    for curves in curves_so_far(config.curves(), progress):
        _check(config, curves[0])
        yield NfeQualityResult(curves=curves)
    fixed = [pair for pair in ot_and_vp(curves) if not METHODS[pair[0].config.method].adaptive]
    if config.grid != "uniform" and fixed:
        configs = [replace(each.config, grid="uniform") for each in fixed[0]]
        *_, uniform = curves_so_far(configs, progress)
        yield NfeQualityResult(curves=curves, uniform=uniform)


def _check(config: NfeQualityConfig, curve: SolverCurve) -> None:
    if curve.data != config.data:
        raise ValueError(
            f"All fields must lead to the data set {config.data}; {curve.config.source} leads to "
            f"{curve.data}. Set data to {curve.data}, or choose other fields."
        )
    if config.measure not in curve.values:
        known = ", ".join(curve.values)
        raise ValueError(
            f"measure must apply to {config.data}, whose density is positive everywhere; got "
            f"{config.measure}. There are: {known}."
        )


def draw(config: NfeQualityConfig, result: NfeQualityResult) -> Figures:
    """Error (left) and quality (right) against NFE."""
    metric, first = METRICS[config.measure], result.curves[0]
    fresh = first.fresh[config.measure]
    spread = fresh.std(ddof=1)
    figure = cost.costs(
        _lines(config, result.curves),
        measure=f"{metric.label} ({metric.unit})" if metric.unit else metric.label,
        floor=float(first.floor[config.measure].mean()) if fresh.mean() > 0 else 0.0,
        band=(float(fresh.mean() - spread), float(fresh.mean() + spread)),
        target=first.target(config.measure),
        level=ERROR_LEVEL,
    )
    yield NamedFigure(
        name="nfe",
        title="error and quality against NFE",
        alt="Squared error per dimension (left) and sample quality (right) against the "
        f"counted function evaluations, for {len(result.curves)} pairs of field and solver.",
        figure=figure,
    )


def _lines(config: NfeQualityConfig, curves: Sequence[SolverCurve]) -> list[cost.CostCurve]:
    """The curves as they are drawn: shade and marker by kind of field, dash by solver."""
    lines, kinds = [], list(dict.fromkeys(map(_kind, curves)))
    for curve in curves:
        source, method = curve.config.source, curve.config.method
        style = theme.style(curve.path, kinds.index(_kind(curve)))
        symbol = style["symbol"]
        lines.append(
            cost.CostCurve(
                field=curve.label,
                solver=METHODS[method].label,
                colour=style["colour"],
                symbol=f"{symbol}-open" if source.startswith(PREFIX) else symbol,
                dash=theme.dash(config.solvers.index(method)),
                main=method in MAIN,
                nfe=curve.cost,
                error=_range(curve.mse),
                quality=_range(curve.values[config.measure]),
                diverged=curve.diverged,
                notes=[_note(curve, p) for p in range(len(curve.failures))],
            )
        )
    return lines


def _kind(curve: SolverCurve) -> str:
    """The label of the field without its path, such as how a flow map was trained."""
    return curve.label.removeprefix(scheduler(curve.path).label)


def _range(values: NDArray) -> NDArray:
    """Lowest, mean and highest value of the seeds, (3, P)."""
    return np.stack([values.min(axis=1), values.mean(axis=1), values.max(axis=1)])


def _note(curve: SolverCurve, p: int) -> str:
    if curve.failures[p]:
        return curve.failures[p]
    lost_share = curve.lost[p].mean()
    error = curve.mse[p].mean()
    return f"{100 * lost_share:.2g}% of the samples left the plane; squared error {error:.3g}"


def table(config: NfeQualityConfig, result: NfeQualityResult) -> Tables:
    """One row per field, solver, budget and seed."""
    return curve_table([*result.curves, *result.uniform])


def say(config: NfeQualityConfig, result: NfeQualityResult) -> Findings:
    """The cost of OT and VP at equal error, the best at few NFE, what diverged, the method."""
    yield from _at_equal_error(result)
    yield from _best(config, result)
    yield from _error_is_not_quality(result)
    yield from _grid_effect(config, result)
    yield from _diverged(result)
    yield from _method(config, result)


def _at_equal_error(result: NfeQualityResult) -> Findings:
    """NFE of OT over that of VP at equal error, for each solver."""
    shares, texts = {}, []
    for ot, vp in ot_and_vp(result.curves):
        first, second = ot.nfe_to_error(), vp.nfe_to_error()
        if comparable(first, second):
            label = _solver(ot)
            shares[label] = share(first, second)
            texts.append(
                f"{label} {percent(shares[label])} ({reached(first)} against {reached(second)})"
            )
    if not shares:
        return
    fewer = [value < 1 for value in shares.values()]
    yield Finding(
        lead=f"At equal error ({ERROR_LEVEL:g} per dimension)",
        text="conditional OT needs this share of the evaluations of VP diffusion: "
        f"{'; '.join(texts)}. Numbers such as 7.9 are interpolated between budgets. The paper "
        f"states about {percent(CLAIMED)} (Fig. 7, images).",
        numbers=shares,
        verdict="supported" if all(fewer) else "undecided" if any(fewer) else "not supported",
    )


def _best(config: NfeQualityConfig, result: NfeQualityResult) -> Findings:
    """The best samples at each NFE of COMPARED, by field and solver, and the next best value."""
    texts, numbers = [], {}
    floor = result.curves[0].floor[config.measure].mean()
    for nfe in COMPARED:
        ranked = sorted(
            (float(values.mean()), _named(curve), values.tolist())
            for curve in result.curves
            for values, cost, diverged in zip(
                curve.values[config.measure], curve.cost, curve.diverged, strict=True
            )
            if cost == nfe and not diverged
        )
        if len(ranked) > 1:
            (best, name, best_values), (second, other, second_values) = ranked[:2]
            numbers |= {f"best at NFE {nfe}": best, f"second at NFE {nfe}": second}
            if second <= floor:
                texts.append(f"NFE {nfe}: several at the floor")
            elif f"{best:.3g}" == f"{second:.3g}":
                texts.append(f"NFE {nfe}: {name} and {other} (both {best:.3g})")
            elif any(a >= b for a, b in zip(best_values, second_values, strict=True)):
                texts.append(f"NFE {nfe}: {name} and {other} ({best:.3g} and {second:.3g})")
            else:
                texts.append(f"NFE {nfe}: {name} ({best:.3g}; next {second:.3g})")
    if not texts:
        return
    yield Finding(
        lead="Best at few evaluations",
        text=f"the smallest {METRICS[config.measure].words} (mean of the seeds). "
        f"{'. '.join(texts)}. Two are named if the order depends on the seed. Values at or below "
        f"the floor ({floor:.3g}) differ by chance.",
        numbers=numbers,
    )


def _named(curve: SolverCurve) -> str:
    """Solver and field of a curve; a flow map by its name, since its label has commas."""
    method, name = METHODS[curve.config.method], curve.config.source.partition("@")[0]
    return f"{method.label} of {name}" if method.jumps else f"{method.label} on {curve.label}"


def _error_is_not_quality(result: NfeQualityResult) -> Findings:
    """The first budget of Euler at which VP has the lower error and the worse samples."""
    for ot, vp in ot_and_vp(result.curves):
        for name in ("off-support", "histogram-tv"):
            if ot.config.method != "euler" or name not in ot.values:
                continue
            error = [each.mse.mean(axis=1) for each in (ot, vp)]
            worse = [each.values[name].mean(axis=1) for each in (ot, vp)]
            for p in np.flatnonzero((error[1] < error[0]) & (worse[1] > worse[0])):
                (e_ot, e_vp), (w_ot, w_vp) = (
                    [float(v[p]) for v in pair] for pair in (error, worse)
                )
                yield Finding(
                    lead="Error is not quality",
                    text=f"with Euler at NFE {ot.cost[p]:.0f}, VP diffusion has the lower error "
                    f"({e_vp:.2g} against {e_ot:.2g}) but the worse samples "
                    f"({METRICS[name].words} {w_vp:.2g} against {w_ot:.2g}).",
                    numbers={"error_ot": e_ot, "error_vp": e_vp}
                    | {f"{name}_ot": w_ot, f"{name}_vp": w_vp},
                )
                return


def _grid_effect(config: NfeQualityConfig, result: NfeQualityResult) -> Findings:
    """What another time grid changes in the ratio of the paths."""
    if not result.uniform:
        return
    ((ot, vp),) = ot_and_vp(result.uniform)
    pairs = [
        pair for pair in ot_and_vp(result.curves) if pair[0].config.method == ot.config.method
    ]
    texts, numbers = [], {}
    for target, reach_of in targets(config.measure, result.curves):
        ratio, uniform_ratio = share(*map(reach_of, pairs[0])), share(reach_of(ot), reach_of(vp))
        if np.isfinite([ratio, uniform_ratio]).all():
            texts.append(f"{percent(ratio)} for {target} (even in t: {percent(uniform_ratio)})")
            numbers |= {f"{target}, {config.grid}": ratio, f"{target}, uniform": uniform_ratio}
    if not texts:
        return
    yield Finding(
        lead="Time grid",
        text=f"with {METHODS[ot.config.method].label} and steps "
        f"{GRIDS[config.grid].label}, conditional OT needs this share of the evaluations of VP: "
        f"{' and '.join(texts)}. A part of OT's advantage is its schedule, which a grid can give "
        "to VP.",
        numbers=numbers,
    )


def _diverged(result: NfeQualityResult) -> Findings:
    """Which solvers diverged, and what to do."""
    failed: dict[tuple[str, str], set[float]] = {}
    off_plane: dict[tuple[str, str], set[float]] = {}
    for curve in result.curves:
        solve_failed = np.array([bool(text) for text in curve.failures])
        for budgets_of, where in (
            (failed, solve_failed),
            (off_plane, curve.diverged & ~solve_failed),
        ):
            values = np.array(curve.config.budgets)[where].tolist()
            if values:
                map_name = f" ({curve.label})" if curve.training else ""
                budgets_of.setdefault((curve.config.method, map_name), set()).update(values)
    parts = [
        f"{event} with "
        + "; ".join(
            budgets(name, values) + map_name for (name, map_name), values in budgets_of.items()
        )
        for event, budgets_of in (
            ("the solve failed", failed),
            (f"samples left the plane (a coordinate above {LOST:g})", off_plane),
        )
        if budgets_of
    ]
    if not parts:
        return
    ends = [
        METHODS[name].label
        for name in dict.fromkeys(name for name, _ in (*failed, *off_plane))
        if METHODS[name].evaluates_end and not METHODS[name].adaptive
    ]
    yield Finding(lead="Diverged (crosses)", text=f"{', and '.join(parts)}.")
    if ends:
        yield Finding(
            lead="Remedy",
            text=f"{joined(ends)} {'evaluates' if len(ends) == 1 else 'evaluate'} the "
            "velocity at the end time, where the field of sharp data is stiff; the solver "
            f"“{METHODS['edm'].label}” avoids this by a last step of Euler.",
        )


def _method(config: NfeQualityConfig, result: NfeQualityResult) -> Findings:
    floor = float(result.curves[0].floor[config.measure].mean())
    limits = {
        each.label: float(each.limit[config.measure].mean())
        for each in result.curves
        if each.config.method != JUMPS
    }
    learned = any(not each.config.source.startswith(PREFIX) for each in result.curves)
    spent = sorted({each.reference_nfe for each in result.curves})
    nfe = f"{spent[0]} to {spent[-1]}" if len(spent) > 1 else f"{spent[0]}"
    maps = any(each.config.method == JUMPS for each in result.curves)
    exact = " Jumps of a flow map are compared with the exact field." if maps else ""
    yield Finding.note(
        f"{config.seeds} seed{'s' * (config.seeds > 1)} of {config.n:,} samples; bars show the "
        "lowest and the highest seed. The error is measured against an accurate solution with the "
        f"same field and noise (dopri5 in float64 at tolerance 1e-6, NFE {nfe}).{exact} Between "
        "budgets the curves are straight lines on these axes. A target is reached where the curve "
        "stays below the dashed line."
    )
    yield Finding(
        text=f"The floor ({floor:.4g}) is the value of the exact flow from the same noise, the "
        "best that a sampler can reach but for chance; the band is the spread between samples of "
        "the data. With unlimited NFE: "
        + ", ".join(f"{label} {value:.4g}" for label, value in limits.items())
        + ("; what exceeds the floor is the error of the network." if learned else "."),
        numbers={"floor": floor, **limits},
        detail=True,
    )


def summarise(config: NfeQualityConfig, result: NfeQualityResult) -> Summary:
    """The NFE to reach an error and a quality, and OT over VP, for each solver."""
    # Flow maps have a row for each training, and share the columns of the networks on their paths.
    columns = dict.fromkeys(map(_column, result.curves))
    fields = {each.label for each in result.curves if not each.training}
    known = {(_solver(each), _column(each)): each for each in result.curves}
    solvers = [METHODS[m].label for m in config.solvers if m != JUMPS]
    maps = [_solver(each) for each in result.curves if each.training]

    def cell(row: str, column: str) -> SolverCurve | str | None:
        waits = row in solvers and column in fields
        return known.get((row, column), None if waits else "–")

    return target_table(
        "NFE to reach a target, interpolated between budgets, and OT : VP (about "
        f"{percent(CLAIMED)} in the paper)",
        "Solver",
        config.measure,
        columns,
        {row: [cell(row, each) for each in columns] for row in [*solvers, *maps]},
    )


def _solver(curve: SolverCurve) -> str:
    """The solver of a curve, of jumps with the training of their flow map."""
    label = METHODS[curve.config.method].label
    return f"{label} of {curve.training}" if curve.training else label


def _column(curve: SolverCurve) -> str:
    """The field of a curve; of a flow map its path."""
    return curve.label.removesuffix(f", {curve.training}") if curve.training else curve.label


STUDY = Study(
    __name__,
    "Error and quality against NFE",
    NfeQualityConfig,
    (compute, draw, table, say),
    summary=summarise,
    page="nfe_quality",
    seconds=30.0,
    smallest={
        "data": "mixture:1,0@0.8",
        "methods": ("euler", "bosh3"),
        "grid": "log-snr",
        "n": 50,
        "seeds": 1,
        "nfes": (4, 8),
        "tols": (0.1,),
    },
)
