"""Cost, error and quality of one field under one solver, and where they reach a target.

Computed by `flowviz.experiments.nfe_quality`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowviz.bounds import MAX_SEED, check_bounds
from flowviz.experiments.evaluate import EvaluateConfig
from flowviz.experiments.evolution import budgets
from flowviz.experiments.fields import PREFIX
from flowviz.grids import GRIDS
from flowviz.metrics import METRICS
from flowviz.solvers import METHODS

NFES = (4, 8, 12, 16, 20, 40, 60, 100)
"""Budgets of fixed-step methods, or the nearest that a method can meet exactly."""

TOLERANCES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
"""Tolerances of adaptive methods."""

QUICK = ("sliced-w2", "off-support", "histogram-tv", "histogram-kl")
"""Metrics that take milliseconds; every curve has them all."""

ADAPTIVE_NFE = 100
"""Typical NFE of an adaptive solve, for the order in which curves are computed."""

MARGIN = 1.1
"""A metric has reached its target at this multiple of its floor."""

SHARE_LEVEL = 0.03
"""Target of a metric whose floor is 0, such as mass off the support; the shipped checkpoints meet
it."""

ERROR_LEVEL = 0.01
"""The mean square error per dimension at which the cost of paths is compared."""


@dataclass(frozen=True, kw_only=True)
class CurveConfig:
    """One field under one solver; names and numbers only, a cache key.

    Attributes:
        source: name of the field, see `flowviz.experiments.fields.FieldRef.of`.
        method: name in METHODS.
        budgets: NFE of a fixed-step method, tolerances of an adaptive one.
        grid: name in GRIDS; adaptive methods ignore it.
        n: number of samples per seed.
        seed: first seed.
        seeds: number of seeds.
        metrics: names in METRICS.
    """

    source: str
    method: str = "midpoint"
    budgets: tuple[float, ...] = NFES
    grid: str = "uniform"
    n: int = 1_000
    seed: int = 0
    seeds: int = 3
    metrics: tuple[str, ...] = QUICK

    def __post_init__(self) -> None:
        check_bounds(self, n=(10, 20_000), seeds=(1, 20))
        check_bounds(self, seed=(0, MAX_SEED - self.seeds + 1))
        if not self.budgets:
            raise ValueError(f"{self.method} needs one budget or more; got none.")
        _ = GRIDS[self.grid], [METRICS[name] for name in self.metrics]

    def evaluate_config(self, budget: float, seed: int) -> EvaluateConfig:
        """The evaluation of one point of the curve with one seed."""
        adaptive = METHODS[self.method].adaptive
        return EvaluateConfig(
            method=self.method,
            nfe=None if adaptive else int(budget),
            tol=budget if adaptive else EvaluateConfig.tol,
            grid="uniform" if adaptive else self.grid,
            n=self.n,
            seed=seed,
            metrics=self.metrics,
        )

    @property
    def work(self) -> float:
        """Number of evaluations of the field, roughly."""
        adaptive = METHODS[self.method].adaptive
        return len(self.budgets) * ADAPTIVE_NFE if adaptive else sum(self.budgets)


def curve_configs(
    sources: Iterable[str],
    methods: Iterable[str],
    *,
    measure: str = QUICK[0],
    grid: str = "uniform",
    nfes: Sequence[int] = NFES,
    tols: Sequence[float] = TOLERANCES,
    **shared: Any,
) -> list[CurveConfig]:
    """One config per source and solver, solver by solver, each with the budgets it can meet.

    Args:
        sources: names of fields.
        methods: names in METHODS.
        measure: a metric to compute in addition to QUICK.
        grid: name in GRIDS, for fixed-step methods.
        nfes: budgets of fixed-step methods; see `flowviz.experiments.evolution.budgets`.
        tols: tolerances of adaptive ones.
        shared: n, seed and seeds of `CurveConfig`.
    """
    metrics = QUICK if measure in QUICK else (*QUICK, measure)
    return [
        CurveConfig(
            source=name,
            method=method,
            budgets=tuple(tols if METHODS[method].adaptive else budgets(method, nfes)),
            grid="uniform" if METHODS[method].adaptive else grid,
            metrics=metrics,
            **shared,
        )
        for method in methods
        for name in sources
    ]


@dataclass(frozen=True, kw_only=True, eq=False)
class SolverCurve:
    """Cost, error and quality of a field under a solver, for P budgets and R seeds.

    Values of failed solves are NaN.

    Attributes:
        config: what was computed.
        label: the field's label.
        data: spec of the data set.
        path: spec of the path.
        nfe: (P, R), the counted evaluations.
        mse: (P, R), squared error per dimension against the converged flow.
        lost: (P, R), share of the samples that left the plane.
        values: each metric by name, (P, R).
        failures: P sentences; "" where all solves succeeded.
        floor: each metric of the best possible sampler from the same noise, (R,).
        fresh: each metric between two fresh data sets, (F,).
        limit: each metric of this field's converged flow, (R,): what remains at any NFE.
        reference_nfe: NFE of the converged flow.
    """

    config: CurveConfig
    label: str
    data: str
    path: str
    nfe: NDArray[np.float64]
    mse: NDArray[np.float64]
    lost: NDArray[np.float64]
    values: dict[str, NDArray[np.float64]]
    failures: tuple[str, ...]
    floor: dict[str, NDArray[np.float64]]
    fresh: dict[str, NDArray[np.float64]]
    limit: dict[str, NDArray[np.float64]]
    reference_nfe: int

    @property
    def cost(self) -> NDArray[np.float64]:
        """The mean NFE over the seeds, (P,)."""
        return self.nfe.mean(axis=1)

    @property
    def diverged(self) -> NDArray[np.bool_]:
        """Whether a solve failed or samples left the plane, (P,)."""
        return np.array([bool(text) for text in self.failures]) | (self.lost > 0).any(axis=1)

    @property
    def training(self) -> str:
        """How the flow map of a curve of jumps was trained, as its label states; else ""."""
        return self.label.partition(", ")[2] if METHODS[self.config.method].jumps else ""

    @property
    def reach(self) -> "dict[str, Reach | None]":
        """Where the curve reaches each target, by the target's description."""
        return {f"mse <= {ERROR_LEVEL:g}": self.nfe_to_error()} | {
            f"{name} <= {self.target(name):.4g}": self.nfe_to_quality(name) for name in self.values
        }

    def target(self, metric: str) -> float:
        """The value at which a sampler is good enough: MARGIN floors, or SHARE_LEVEL."""
        fresh = self.fresh[metric].mean()
        return MARGIN * self.floor[metric].mean() if fresh > 0 else SHARE_LEVEL

    def nfe_to_quality(self, metric: str) -> "Reach | None":
        """The NFE from which on the metric stays at its target or below."""
        return nfe_to_reach(self.cost, self.values[metric].mean(axis=1), self.target(metric))

    def nfe_to_error(self) -> "Reach | None":
        """The NFE from which on the squared error per dimension is ERROR_LEVEL or less."""
        return nfe_to_reach(self.cost, self.mse.mean(axis=1), ERROR_LEVEL)


@dataclass(frozen=True)
class Reach:
    """Where a curve reaches a target for good.

    Attributes:
        nfe: evaluations, interpolated between two budgets.
        at_first: whether the smallest budget reaches it, so that fewer may suffice.
    """

    nfe: float
    at_first: bool


def ot_and_vp(curves: Iterable[SolverCurve]) -> list[tuple[SolverCurve, SolverCurve]]:
    """The first curves of conditional OT and VP of each data set, solver and kind of field."""
    groups: dict[tuple[str, str, bool, str], dict[str, SolverCurve]] = {}
    for curve in curves:
        exact = curve.config.source.startswith(PREFIX)
        kind = curve.data, curve.config.method, exact, curve.training
        groups.setdefault(kind, {}).setdefault(curve.path, curve)
    return [
        (curves_by_path["ot"], curves_by_path["vp"])
        for curves_by_path in groups.values()
        if {"ot", "vp"} <= curves_by_path.keys()
    ]


def nfe_to_reach(nfe: NDArray, values: NDArray, target: float) -> Reach | None:
    """The NFE from which on `values` (P,) stay at `target` or below; None if they do not.

    Between the last budget above the target and the next one, log value is linear in log NFE.
    NaN (a failed solve) counts as above.
    """
    above = np.flatnonzero(~(values <= target))
    if not len(above):
        return Reach(float(nfe[0]), True)
    last = above[-1]
    if last == len(values) - 1:
        return None
    ends, costs = values[last : last + 2], nfe[last : last + 2]
    if not np.isfinite(ends[0]) or ends[1] <= 0:
        return Reach(float(costs[1]), False)
    share = np.log(ends[0] / target) / np.log(ends[0] / ends[1])
    return Reach(float(np.exp(np.log(costs[0]) + share * np.log(costs[1] / costs[0]))), False)
