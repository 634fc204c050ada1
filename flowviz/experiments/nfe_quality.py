"""Numerical error and sample quality against the counted NFE, for fields and solvers.

A curve belongs to one field and one solver. Its error is the distance of the samples from where
the converged flow of the same field (float64) carries the same noise (Lipman et al. 2022, Fig. 7
left), for the jumps of a flow map that of the exact field. Its quality is any metric of the
samples against fresh data (Fig. 7 right). All curves start from the same noise and are compared
with the same data, seed by seed; each number is that of `flowviz evaluate` with that seed.

A metric has two baselines. `fresh` is its value between two fresh data sets: how far perfect
samples are from data, and how much that varies. `floor` is its value for the converged exact flow
from the same noise, the best possible sampler: the variation of the draw is then in both and
cancels in their ratio.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from flowviz.datasets import Dataset
from flowviz.experiments.evaluate import (
    EvaluateConfig,
    Reference,
    evaluate,
    floors,
    measures_of,
    reference,
)
from flowviz.experiments.fields import FieldRef, exact_name
from flowviz.experiments.solver_curves import CurveConfig, SolverCurve
from flowviz.progress import Progress
from flowviz.solvers import METHODS, SolveError

C = TypeVar("C")
R = TypeVar("R")

PERFECT = "ot"
"""Path of the exact flow that gives the floor: the exact flows of all paths have the same ends."""

FRESH = 8
"""Number of pairs of fresh data sets for the band around the floor."""


def solver_curve(config: CurveConfig) -> SolverCurve:
    """The curve of one field under one solver.

    Raises:
        ValueError: a name is unknown.
        SolveError: the field has no converged flow to compare with.
    """
    (curve,) = solver_curves([config], Progress())
    return curve


def solver_curves(configs: Sequence[CurveConfig], progress: Progress) -> Iterator[SolverCurve]:
    """Curves, each as soon as it is complete; what several of them share is computed first.

    Raises:
        ValueError: a name is unknown.
        SolveError: a field has no converged flow to compare with.
        Stopped: a stop was requested.
    """
    origins = {each.source: FieldRef.of(each.source) for each in configs}
    shared = {each: _BaselineConfig.of(each, origins[each.source]) for each in configs}
    missing_sources = {
        name for each in shared.values() for name in (each.source, _perfect(each.data))
    }
    origins |= {name: FieldRef.of(name) for name in missing_sources - origins.keys()}

    def computed(
        compute: Callable[..., R],
        requested: Iterable[C],
        inputs_of: Callable[[C], dict[str, Any]],
        doing: str,
        span: tuple[float, float],
    ) -> Iterator[tuple[C, R]]:
        keys = list(dict.fromkeys(requested))
        pieces = [partial(progress.cached, compute, each, **inputs_of(each)) for each in keys]
        for k, result in progress.in_parallel(pieces, doing=doing, span=span):
            yield keys[k], result

    needed = [each for baseline in shared.values() for each in baseline.references]
    references = dict(
        computed(
            _compute_reference,
            needed,
            lambda each: {"origin": origins[each.source]},
            "converged flows",
            (0.0, 0.25),
        )
    )
    baselines = dict(
        computed(
            _compute_baselines,
            shared.values(),
            lambda baseline: {
                "target": origins[baseline.source].dataset,
                "references": [references[each] for each in baseline.references],
            },
            "baselines",
            (0.25, 0.3),
        )
    )
    longest_first = sorted(configs, key=lambda each: each.work, reverse=True)
    curves = computed(
        _compute_curve,
        longest_first,
        lambda each: {"origin": origins[each.source], "baselines": baselines[shared[each]]},
        "curves",
        (0.3, 1.0),
    )
    for _, curve in curves:
        yield curve


@dataclass(frozen=True, kw_only=True)
class _ReferenceConfig:
    source: str
    n: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class _BaselineConfig:
    """What the baselines of a curve depend on; all solvers of a field share them.

    The source is the field that is converged: of a flow map the exact one, which it imitates.
    """

    source: str
    data: str
    n: int
    seed: int
    seeds: int
    metrics: tuple[str, ...]

    @classmethod
    def of(cls, curve: CurveConfig, origin: FieldRef) -> "_BaselineConfig":
        maps = METHODS[curve.method].jumps and origin.jumps
        source = exact_name(origin.data, origin.path_spec) if maps else curve.source
        names = "n", "seed", "seeds", "metrics"
        shared = {name: getattr(curve, name) for name in names}
        return cls(source=source, data=origin.data, **shared)

    @property
    def references(self) -> list[_ReferenceConfig]:
        """The converged flows of the field and, after them, of the best possible sampler."""
        return [
            _ReferenceConfig(source=name, n=self.n, seed=seed)
            for name in (self.source, _perfect(self.data))
            for seed in range(self.seed, self.seed + self.seeds)
        ]

    def evaluate_config(self, seed: int) -> EvaluateConfig:
        return EvaluateConfig(n=self.n, seed=seed, metrics=self.metrics)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Baselines:
    """The baselines of `SolverCurve`, and the converged flow of each seed."""

    references: tuple[Reference, ...]
    floor: dict[str, NDArray[np.float64]]
    fresh: dict[str, NDArray[np.float64]]
    limit: dict[str, NDArray[np.float64]]


def _perfect(data: str) -> str:
    return exact_name(data, PERFECT)


def _compute_reference(config: _ReferenceConfig, *, origin: FieldRef) -> Reference:
    return reference(origin.double(), config.n, config.seed)


def _compute_baselines(
    config: _BaselineConfig, *, target: Dataset, references: Sequence[Reference]
) -> _Baselines:
    converged, perfect = references[: config.seeds], references[config.seeds :]
    seeds = range(config.seed, config.seed + FRESH)
    return _Baselines(
        references=tuple(converged),
        floor=_metrics_of(perfect, target, config),
        fresh=_columns([floors(target, config.evaluate_config(seed)) for seed in seeds]),
        limit=_metrics_of(converged, target, config),
    )


def _metrics_of(
    ends: Sequence[Reference], target: Dataset, config: _BaselineConfig
) -> dict[str, NDArray[np.float64]]:
    """Each metric of the converged flow of each seed, (R,)."""
    rows = []
    for seed, end in enumerate(ends, start=config.seed):
        no_floor = dict.fromkeys(config.metrics, 0.0)
        measures = measures_of(
            end.states.float(), target, config.evaluate_config(seed), floor=no_floor
        )
        rows.append({name: measure.value for name, measure in measures.items()})
    return _columns(rows)


def _columns(rows: Sequence[dict[str, float]]) -> dict[str, NDArray[np.float64]]:
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


def _compute_curve(
    config: CurveConfig,
    *,
    origin: FieldRef,
    baselines: _Baselines,
) -> SolverCurve:
    target = origin.dataset
    shape = len(config.budgets), config.seeds
    nfe, mse, lost = (np.full(shape, np.nan) for _ in range(3))
    values = {name: np.full(shape, np.nan) for name in baselines.floor}
    failures = []
    for p, budget in enumerate(config.budgets):
        failure = ""
        for r in range(config.seeds):
            try:
                evaluation = evaluate(
                    origin.field,
                    target,
                    config.evaluate_config(budget, config.seed + r),
                    floor=dict.fromkeys(baselines.floor, 0.0),  # the curve has its own
                    converged=baselines.references[r],
                )
            except SolveError as error:
                failure = str(error)
                continue
            assert evaluation.error is not None  # `converged` is given
            nfe[p, r], mse[p, r], lost[p, r] = (
                evaluation.nfe,
                evaluation.error.mse,
                evaluation.lost,
            )
            for name, measure in evaluation.measures.items():
                values[name][p, r] = measure.value
        if failure and not METHODS[config.method].adaptive:
            nfe[p] = budget  # so that the failure has its place on the axis
        failures.append(failure)
    return SolverCurve(
        config=config,
        label=origin.label,
        data=origin.data,
        path=origin.path_spec,
        nfe=nfe,
        mse=mse,
        lost=lost,
        values=values,
        failures=tuple(failures),
        floor=baselines.floor,
        fresh=baselines.fresh,
        limit=baselines.limit,
        reference_nfe=max(each.nfe for each in baselines.references),
    )
