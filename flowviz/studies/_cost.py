"""Settings, targets and texts of the studies of sampling cost."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from flowviz.experiments.nfe_quality import solver_curves
from flowviz.experiments.solver_curves import (
    ERROR_LEVEL,
    MARGIN,
    SHARE_LEVEL,
    CurveConfig,
    Reach,
    SolverCurve,
    curve_configs,
    ot_and_vp,
)
from flowviz.metrics import METRICS
from flowviz.progress import Progress
from flowviz.settings import Config
from flowviz.solvers import METHODS
from flowviz.studies import Summary, Tables

CLAIMED = 0.6
"""NFE of conditional OT over that of VP diffusion in Lipman et al. 2022 (section 6.2, Fig. 7)."""

Target = tuple[str, Callable[[SolverCurve], Reach | None]]
"""Label of each target, and the function that finds it on a curve."""


def curves_of(config: Config, sources: Iterable[str], methods: Iterable[str]) -> list[CurveConfig]:
    """The curves of fields and solvers, with the settings that the config of a study has."""
    names = ("measure", "grid", "nfes", "tols", "n", "seed", "seeds")
    values = {name: getattr(config, name) for name in names if hasattr(config, name)}
    return curve_configs(sources, methods, **values)


def curves_so_far(
    configs: Sequence[CurveConfig], progress: Progress
) -> Iterator[tuple[SolverCurve, ...]]:
    """The complete curves, in the order of their configs, after each new one."""
    complete: dict[CurveConfig, SolverCurve] = {}
    for curve in solver_curves(configs, progress):
        complete[curve.config] = curve
        yield tuple(complete[each] for each in configs if each in complete)


def targets(measure: str, curves: Iterable[SolverCurve]) -> list[Target]:
    """The error and the quality at which costs are compared, for the metric's kind of floor."""
    label = METRICS[measure].words
    fresh = next((each.fresh[measure].mean() for each in curves if measure in each.fresh), 1.0)
    level = f"{MARGIN:g} × floor" if fresh > 0 else f"{100 * SHARE_LEVEL:g}%"
    return [
        (f"squared error ≤ {ERROR_LEVEL:g}", SolverCurve.nfe_to_error),
        (f"{label} ≤ {level}", partial(SolverCurve.nfe_to_quality, metric=measure)),
    ]


def target_table(
    title: str,
    kind: str,
    measure: str,
    labels: Iterable[str],
    groups: Mapping[str, Sequence[SolverCurve | str | None]],
) -> Summary:
    """The NFE to reach an error and a quality, and that of OT over that of VP.

    Args:
        title: of the table.
        kind: what a group is, above their names.
        measure: name of the metric of quality.
        labels: of the curves of a group.
        groups: the curves of each group by its name; None for one that is not computed yet, a text
            for what is not a curve.
    """
    rows = []
    known = [each for curves in groups.values() for each in _computed(curves)]
    for target, reach_of in targets(measure, known):
        for name, curves in groups.items():
            cells = [
                reached(reach_of(each)) if isinstance(each, SolverCurve) else each or "…"
                for each in curves
            ]
            pairs = ot_and_vp(_computed(curves))
            ratios = [percent(share(*map(reach_of, pair))) for pair in pairs]
            rows.append([name, target, *cells, ", ".join(ratios) or "–"])
    return Summary(title=title, heads=[kind, "Target", *labels, "OT : VP"], rows=rows)


def _computed(curves: Sequence[SolverCurve | str | None]) -> list[SolverCurve]:
    return [each for each in curves if isinstance(each, SolverCurve)]


def comparable(first: Reach | None, second: Reach | None) -> bool:
    """Whether both targets are reached between two budgets, so that the ratio is measured."""
    return not np.isnan(share(first, second))


def share(first: Reach | None, second: Reach | None) -> float:
    """NFE of the first over that of the second; NaN if they are not `comparable`."""
    if first is None or second is None or first.at_first or second.at_first:
        return np.nan
    return first.nfe / second.nfe


def percent(value: float) -> str:
    """A share in per cent, "–" for NaN."""
    return f"{100 * value:.0f}%" if np.isfinite(value) else "–"


def reached(reach: Reach | None) -> str:
    """The NFE at which a target is reached, as a cell of a table."""
    if reach is None:
        return "not reached"
    return f"≤ {reach.nfe:.0f}" if reach.at_first else f"{reach.nfe:.1f}".removesuffix(".0")


def budgets(method: str, values: Collection[float]) -> str:
    """A method with some of its budgets."""
    entry = METHODS[method]
    listed = ", ".join(f"{each:g}" for each in sorted(values, reverse=entry.adaptive))
    return f"{entry.label} at {'tolerance' if entry.adaptive else 'NFE'} {listed}"


def curve_table(curves: Sequence[SolverCurve]) -> Tables:
    """One row per field, solver, budget and seed: all numbers behind the curves."""
    tables, measures = [], dict.fromkeys(name for each in curves for name in each.values)
    for curve in curves:
        points, seeds = curve.nfe.shape
        rows: dict[str, Any] = {
            "data": curve.data,
            "field": curve.config.source,
            "path": curve.path,
            "solver": curve.config.method,
            "grid": curve.config.grid,
            "budget": np.repeat(np.array(curve.config.budgets, dtype=float), seeds),
            "seed": np.tile(np.arange(seeds) + curve.config.seed, points),
            "nfe": curve.nfe.ravel(),
            "mse": curve.mse.ravel(),
            "rms": np.sqrt(curve.mse.ravel()),
            "lost": curve.lost.ravel(),
        }
        for name in measures:  # a metric that does not apply to a data set is NaN
            known = name in curve.values
            rows[name] = curve.values[name].ravel() if known else np.nan
            rows[f"{name}-floor"] = np.tile(curve.floor[name], points) if known else np.nan
            rows[f"{name}-limit"] = np.tile(curve.limit[name], points) if known else np.nan
        tables.append(rows)
    return tables
