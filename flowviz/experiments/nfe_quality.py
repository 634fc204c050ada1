"""What samples cost: numerical error and quality against counted NFE, curve by curve.

Each curve is one field under one solver. Its error is the distance of the samples from where the
converged flow of the same field (float64) carries the same noise (Lipman et al. 2022, Fig. 7
left); its quality is any metric of the samples against fresh data (Fig. 7 right). All curves of a
sweep start from the same noise and are judged by the same data, seed by seed, and each number is
that of `flowviz evaluate` with that seed.

Two floors stand under a measure. `fresh` is the measure between two fresh data sets: how far
perfect samples are from data, and how much that varies. `floor` is the same for a perfect sampler
that starts from this very noise (the converged exact flow, which every path shares): what varies
with the draw is then in both and falls out of their ratio.
"""

import os
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from threading import Event
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from flowviz.bounds import MAX_SEED, check_bounds
from flowviz.datasets import Dataset, dataset
from flowviz.device import limit_threads
from flowviz.draws import noise
from flowviz.experiments.evaluate import (
    EvaluateConfig,
    Reference,
    evaluate,
    floors,
    measures_of,
    reference,
    samples_of,
)
from flowviz.experiments.evolution import affordable
from flowviz.experiments.sources import PREFIX, Source, exact_name, source
from flowviz.grids import GRIDS
from flowviz.metrics import METRICS
from flowviz.solvers import METHODS, SolveCancelled, SolveError

__all__ = [
    "ERROR_LEVEL",
    "MARGIN",
    "SHARE_LEVEL",
    "Curve",
    "CurveConfig",
    "Reach",
    "Steps",
    "StepsConfig",
    "SweepConfig",
    "SweepResult",
    "compute_curve",
    "compute_steps",
    "met_by",
    "nfe_to_reach",
    "pairs",
    "sweep",
    "sweep_curves",
]

T = TypeVar("T")

NFES = (4, 8, 12, 16, 20, 40, 60, 100)
"""Budgets of fixed-step methods, or the nearest that a method can meet exactly."""

TOLERANCES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
"""Tolerances of adaptive methods."""

QUICK = ("sliced-w2", "off-support", "histogram-tv", "histogram-kl")
"""Measures that take milliseconds, so that a sweep takes them all."""

PERFECT = "ot"
"""The path whose exact flow stands for a perfect sampler: all converge to the same samples."""

ADAPTIVE_NFE = 100
"""The evaluations of an adaptive solve, by which long curves are begun before short ones."""

FRESH = 8
"""Pairs of fresh data sets between which the floor's band is measured."""

MARGIN = 1.1
"""A sampler has arrived where its measure is this many times its floor."""

SHARE_LEVEL = 0.03
"""Where a measure's floor is 0 (mass off the support), arrived means this share: what is asked of
the shipped checkpoints."""

ERROR_LEVEL = 0.01
"""The mean square error per dimension at which the cost of paths is compared."""

SHOWN = 12
"""Particles whose ways are kept beside the steps of an adaptive solve."""


@dataclass(frozen=True, kw_only=True)
class CurveConfig:
    """One field under one solver: only names and numbers, so that it can be a cache key.

    Attributes:
        source: what `flowviz.experiments.sources.source` takes.
        method: name in METHODS.
        budgets: NFE of a fixed-step method, tolerances of an adaptive one.
        grid: name in GRIDS; adaptive methods ignore it.
        n: samples a seed.
        seed: the first of the seeds.
        seeds: how many.
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

    def at(self, budget: float, seed: int) -> EvaluateConfig:
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


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """Fields times solvers, at every NFE that a solver can meet; flat like `CurveConfig`.

    Attributes:
        sources: fields by name.
        methods: names in METHODS.
        nfes: budgets of fixed-step methods; see `met_by`.
        tols: tolerances of adaptive ones.
        grid: name in GRIDS.
        n: samples a seed.
        seed: the first of the seeds.
        seeds: how many.
        metrics: names in METRICS.
    """

    sources: tuple[str, ...]
    methods: tuple[str, ...] = ("euler", "midpoint", "rk4", "dopri5")
    nfes: tuple[int, ...] = NFES
    tols: tuple[float, ...] = TOLERANCES
    grid: str = "uniform"
    n: int = 1_000
    seed: int = 0
    seeds: int = 3
    metrics: tuple[str, ...] = QUICK

    @property
    def curves(self) -> tuple[CurveConfig, ...]:
        """One config a source and solver, solver by solver."""
        shared = {name: getattr(self, name) for name in ("n", "seed", "seeds", "metrics")}
        return tuple(
            CurveConfig(
                source=name,
                method=method,
                budgets=self.tols if METHODS[method].adaptive else met_by(method, self.nfes),
                grid="uniform" if METHODS[method].adaptive else self.grid,
                **shared,
            )
            for method in self.methods
            for name in self.sources
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """Cost, error and quality of a field under a solver, P budgets by R seeds.

    What failed is NaN.

    Attributes:
        config: what was asked.
        data: spec of the data set.
        path: spec of the path.
        nfe: (P, R), the counted evaluations.
        mse: (P, R), squared error per dimension against the converged flow.
        lost: (P, R), share of the samples that were thrown out of the plane.
        values: each measure by name, (P, R).
        failures: P sentences; "" where the solve went through.
        floor: each measure of a perfect sampler from the same noise, (R,).
        fresh: each measure between two fresh data sets, (FRESH,).
        limit: each measure of this field's converged flow, (R,): what is left at any NFE.
        reference_nfe: the evaluations of the converged flow.
    """

    config: CurveConfig
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
    def exploded(self) -> NDArray[np.bool_]:
        """Where the solver failed or threw samples out of the plane, (P,)."""
        return np.array([bool(text) for text in self.failures]) | (self.lost > 0).any(axis=1)

    def as_dict(self) -> dict[str, Any]:
        """Numbers, names, lists and dicts alone, as JSON takes them; None where it failed."""
        tables = {name: _listed(getattr(self, name)) for name in ("nfe", "mse", "lost")}
        measures = {
            name: {key: _listed(value) for key, value in getattr(self, name).items()}
            for name in ("values", "floor", "fresh", "limit")
        }
        goals = {f"mse <= {ERROR_LEVEL:g}": self.reach_error()} | {
            f"{name} <= {self.target(name):.4g}": self.reach(name) for name in self.values
        }
        reach = {goal: found and found._asdict() for goal, found in goals.items()}
        shared = {"failures": list(self.failures), "reference_nfe": self.reference_nfe}
        return tables | measures | shared | {"exploded": self.exploded.tolist(), "reach": reach}

    def target(self, metric: str) -> float:
        """The value at which a sampler has arrived: MARGIN floors, or SHARE_LEVEL over 0."""
        fresh = self.fresh[metric].mean()
        return MARGIN * self.floor[metric].mean() if fresh > 0 else SHARE_LEVEL

    def reach(self, metric: str) -> "Reach | None":
        """The NFE from which on the measure stays at its target or below."""
        return nfe_to_reach(self.cost, self.values[metric].mean(axis=1), self.target(metric))

    def reach_error(self, mse: float = ERROR_LEVEL) -> "Reach | None":
        """The NFE from which on the squared error per dimension is `mse` or less."""
        return nfe_to_reach(self.cost, self.mse.mean(axis=1), mse)


class Reach(NamedTuple):
    """Where a curve has come down to a target.

    Attributes:
        nfe: the evaluations, between two budgets by interpolation.
        at_first: whether the cheapest budget was there already, so that fewer may do.
    """

    nfe: float
    at_first: bool


def met_by(method: str, nfes: Iterable[int]) -> tuple[int, ...]:
    """For each of `nfes`, the nearest that a fixed-step method can spend exactly; no two equal."""
    options = affordable(method)
    return tuple(sorted({min(options, key=lambda n: (abs(n - nfe), -n)) for nfe in nfes}))


def pairs(curves: Iterable[Curve]) -> list[tuple[Curve, Curve]]:
    """Conditional OT beside VP diffusion: the first of each data set, solver and kind of field."""
    found: dict[tuple[str, str, bool], dict[str, Curve]] = {}
    for curve in curves:
        kind = curve.data, curve.config.method, curve.config.source.startswith(PREFIX)
        found.setdefault(kind, {}).setdefault(curve.path, curve)
    return [(of["ot"], of["vp"]) for of in found.values() if {"ot", "vp"} <= of.keys()]


def nfe_to_reach(nfe: NDArray, values: NDArray, target: float) -> Reach | None:
    """The NFE from which on `values` (P,) stay at `target` or below; None if they do not.

    Between the last budget above the target and the next, the curve is taken to be straight in
    log NFE and log value. What failed (NaN) counts as above.
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


def sweep(
    config: SweepConfig,
    *,
    known: MutableMapping[CurveConfig, Curve] | None = None,
    should_stop: Callable[[], bool] | None = None,
    workers: int | None = None,
) -> Iterator[Curve]:
    """Every curve of a sweep as soon as it is there; those that are `known` come first.

    Args:
        config: what to compute.
        known: curves by config, looked up and added to.
        should_stop: asked before each evaluation of a field; if it says yes, the sweep ends.
        workers: threads; the processors by default, as PyTorch and POT let Python run meanwhile.

    Raises:
        ValueError: a name is unknown.
        SolveError: a field has no converged flow to compare with.
    """
    known = {} if known is None else known
    ended = Event()

    def stopped() -> bool:
        return ended.is_set() or (should_stop is not None and should_stop())

    wanted = [each for each in config.curves if each not in known]
    yield from (known[each] for each in config.curves if each in known)
    pool = ThreadPoolExecutor(workers or os.cpu_count() or 1, initializer=limit_threads)
    try:
        # Curves of one field share what they are judged by: it is found once, before them.
        leaders = {each.source: each for each in reversed(wanted)}
        needed = dict.fromkeys(start for each in leaders.values() for start in _starts(each))
        for _ in _results([pool.submit(_converged, *start, stopped) for start in needed]):
            pass
        judges = dict.fromkeys(each for leader in leaders.values() for each in _judges(leader))
        for _ in _results([pool.submit(find, *of) for find, *of in judges]):
            pass
        longest_first = sorted(wanted, key=_work, reverse=True)
        curves = [pool.submit(compute_curve, each, should_stop=stopped) for each in longest_first]
        for curve in _results(curves):
            known[curve.config] = curve
            yield curve
    except SolveCancelled:
        return
    finally:
        ended.set()
        pool.shutdown(cancel_futures=True)


@dataclass(frozen=True, kw_only=True, eq=False)
class SweepResult:
    """The curves that are there, and the share of all, in [0, 1]."""

    curves: tuple[Curve, ...]
    share: float


def sweep_curves(config: SweepConfig) -> Iterator[SweepResult]:
    """The curves of a sweep so far, after each new one; in the end all, in the config's order."""
    found: dict[CurveConfig, Curve] = {}
    for curve in sweep(config):
        found[curve.config] = curve
        curves = tuple(found[each] for each in config.curves if each in found)
        yield SweepResult(curves=curves, share=len(found) / len(config.curves))


def compute_curve(config: CurveConfig, *, should_stop: Callable[[], bool] | None = None) -> Curve:
    """The curve of a field under a solver.

    Raises:
        ValueError: a name is unknown.
        SolveError: the field has no converged flow to compare with.
        SolveCancelled: should_stop said so.
    """
    ground = _ground(config, should_stop)
    shape = len(config.budgets), config.seeds
    nfe, mse, lost = (np.full(shape, np.nan) for _ in range(3))
    values = {name: np.full(shape, np.nan) for name in ground.floor}
    failures = []
    for p, budget in enumerate(config.budgets):
        failure = ""
        for r in range(config.seeds):
            try:
                found = evaluate(
                    ground.source.field,
                    ground.dataset,
                    config.at(budget, config.seed + r),
                    floor=dict.fromkeys(ground.floor, 0.0),  # this sweep has its own
                    converged=ground.references[r],
                    should_stop=should_stop,
                )
            except SolveError as error:
                failure = str(error)
                continue
            nfe[p, r], mse[p, r], lost[p, r] = found.nfe, found.error.mse, found.lost
            for name, measure in found.measures.items():
                values[name][p, r] = measure.value
        if failure and not METHODS[config.method].adaptive:
            nfe[p] = budget  # what it was given, so that the failure has its place
        failures.append(failure)
    return Curve(
        config=config,
        data=ground.source.data,
        path=ground.source.path_spec,
        nfe=nfe,
        mse=mse,
        lost=lost,
        values=values,
        failures=tuple(failures),
        floor=ground.floor,
        fresh=ground.fresh,
        limit=ground.limit,
        reference_nfe=max(each.nfe for each in ground.references),
    )


@dataclass(frozen=True, kw_only=True)
class StepsConfig:
    """The steps of an adaptive solve; flat like `CurveConfig`.

    Attributes:
        source: the field.
        method: an adaptive one in METHODS.
        tol: its tolerance.
        n: samples that share the steps.
        seed: of the noise.
        frames: moments at which the ways are kept, evenly from 0 to the path's t_max.
    """

    source: str
    method: str = "dopri5"
    tol: float = 1e-3
    n: int = 1_000
    seed: int = 0
    frames: int = 201

    def __post_init__(self) -> None:
        if not METHODS[self.method].adaptive:
            names = ", ".join(name for name, entry in METHODS.items() if entry.adaptive)
            raise ValueError(
                f"method must be one that chooses its steps: {names}; got {self.method!r}."
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Steps:
    """How an adaptive method walked, and where some particles went.

    Attributes:
        path: spec of the path.
        t_max: where it ends.
        nfe: the counted evaluations.
        begin: (S,), where the accepted steps begin.
        size: (S,), their lengths.
        rejected: (R, 2), start and length of the steps that were refused.
        times: (T,), from 0 to t_max.
        states: (T, SHOWN, 2), particles at these times.
    """

    path: str
    t_max: float
    nfe: int
    begin: NDArray[np.float64]
    size: NDArray[np.float64]
    rejected: NDArray[np.float64]
    times: NDArray[np.float64]
    states: NDArray[np.float32]


def compute_steps(config: StepsConfig) -> Steps:
    """The accepted and rejected steps of an adaptive solve.

    Raises:
        ValueError: a name is unknown, or the solve failed (SolveError says where).
    """
    origin = source(config.source)
    times = origin.path.clock(config.frames)
    way = EvaluateConfig(
        method=config.method, nfe=None, tol=config.tol, n=config.n, seed=config.seed
    )
    solution = samples_of(origin.field, noise(config.n, config.seed), way, times=times)
    edges = solution.step_times.numpy()
    return Steps(
        path=origin.path_spec,
        t_max=origin.path.t_max,
        nfe=solution.nfe,
        begin=edges[:-1],
        size=np.diff(edges),
        rejected=solution.rejected.numpy(),
        times=times.numpy(),
        states=solution.states[:, :SHOWN].numpy(),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Ground:
    """What the curves of a field are judged by; the measures are those of `Curve`."""

    source: Source
    dataset: Dataset
    references: tuple[Reference, ...]
    floor: dict[str, NDArray[np.float64]]
    fresh: dict[str, NDArray[np.float64]]
    limit: dict[str, NDArray[np.float64]]


def _ground(config: CurveConfig, should_stop: Callable[[], bool] | None) -> _Ground:
    """What the curves of a field are judged by; found once for all its solvers."""
    origin = _source(config.source)
    seeds = range(config.seed, config.seed + config.seeds)
    for start in _starts(config):  # the long part, between whose pieces one can stop
        _converged(*start, should_stop)
    floor, fresh, limit = (find(*of) for find, *of in _judges(config))
    return _Ground(
        source=origin,
        dataset=_dataset(origin.data),
        references=tuple(_reference(config.source, config.n, seed) for seed in seeds),
        floor=floor,
        fresh=fresh,
        limit=limit,
    )


def _judges(config: CurveConfig) -> tuple[tuple[Any, ...], ...]:
    """How floor, fresh and limit are found: a cached function and what it is of, each."""
    data = _source(config.source).data
    shared = config.n, config.seed, config.seeds, config.metrics
    return (
        (_limits, exact_name(data, PERFECT), *shared),
        (_fresh, data, config.n, config.seed, config.metrics),
        (_limits, config.source, *shared),
    )


def _starts(config: CurveConfig) -> list[tuple[str, int, int]]:
    """Field, n and seed of each converged flow that a curve is judged by."""
    names = (config.source, exact_name(_source(config.source).data, PERFECT))
    seeds = range(config.seed, config.seed + config.seeds)
    return [(name, config.n, seed) for name in names for seed in seeds]


def _converged(name: str, n: int, seed: int, should_stop: Callable[[], bool] | None) -> Reference:
    if should_stop is not None and should_stop():
        raise SolveCancelled(f"The sweep was cancelled before {name} had converged.")
    return _reference(name, n, seed)


_source = lru_cache(maxsize=32)(source)
_dataset = lru_cache(maxsize=16)(dataset)


@lru_cache(maxsize=256)
def _reference(name: str, n: int, seed: int) -> Reference:
    return reference(_source(name).double(), n, seed)


@lru_cache(maxsize=128)
def _limits(
    name: str, n: int, seed: int, seeds: int, metrics: tuple[str, ...]
) -> dict[str, NDArray[np.float64]]:
    """Each measure of the converged flow of a field, (R,)."""
    config = CurveConfig(source=name, method="euler", n=n, seed=seed, seeds=seeds, metrics=metrics)
    rows = []
    for each in range(seed, seed + seeds):
        ends = _reference(name, n, each).states.float()
        target = _dataset(_source(name).data)
        found = measures_of(ends, target, config.at(1, each), floor=dict.fromkeys(metrics, 0.0))
        rows.append({key: measure.value for key, measure in found.items()})
    return _columns(rows)


@lru_cache(maxsize=64)
def _fresh(
    data: str, n: int, seed: int, metrics: tuple[str, ...]
) -> dict[str, NDArray[np.float64]]:
    """Each measure between two fresh data sets, (FRESH,)."""
    config = CurveConfig(source=data, method="euler", n=n, metrics=metrics)
    seeds = range(seed, seed + FRESH)
    return _columns([floors(_dataset(data), config.at(1, each)) for each in seeds])


def _columns(rows: Sequence[dict[str, float]]) -> dict[str, NDArray[np.float64]]:
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


def _listed(values: NDArray) -> Any:
    """An array as lists, None for NaN."""
    return np.where(np.isfinite(values), values.astype(object), None).tolist()


def _results(futures: Sequence[Future[T]]) -> Iterator[T]:
    for future in as_completed(futures):
        yield future.result()


def _work(config: CurveConfig) -> float:
    """How many evaluations a curve takes, roughly."""
    adaptive = METHODS[config.method].adaptive
    return len(config.budgets) * ADAPTIVE_NFE if adaptive else sum(config.budgets)
