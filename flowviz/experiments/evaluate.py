"""How good a field's samples and likelihoods are, at which cost: the numbers behind `evaluate`.

Each measure comes with its floor: the same measure between two fresh data sets of the same size,
which is what a perfect sampler would reach. All random numbers follow from the seed: the noise is
that of `sample` with the same seed; the data and the floor have their own streams.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from flowviz.bounds import MAX_BATCH, MAX_SAMPLES, MAX_SEED, check_bounds
from flowviz.datasets import FRAME, Dataset
from flowviz.densities import log_prob
from flowviz.distributions import PointMasses
from flowviz.draws import stream
from flowviz.experiments.starts import log_prior, starts
from flowviz.fields import ExactField
from flowviz.grids import GRIDS
from flowviz.metrics import METRICS, Metric, unbounded
from flowviz.solvers import METHODS, Solution, solve, steps_for
from flowviz.straightness import FlowField

PAIRS = 6
"""Pairs of fresh data sets, at the least, over which the floor of an evaluation is averaged: one
alone can be half or twice another where data lies on thin curves."""

LOST = 2 * FRAME
"""A sample with a coordinate beyond this was thrown out of the plane by its solver."""

CONVERGED = ("dopri5", 1e-6)
"""Method and tolerance of a reference, in float64: its root mean square error is about 1e-5 where
the field is stiff (the exact ones of the board), measured against dopri8 at 1e-10."""

PART = 4_096
"""States of a fixed-step solve that are sampled at once: their layers fit a core's cache. An exact
field has no layers; its reference takes half the time in parts of this size."""

CHUNK = 1_024
"""States whose layers stay in a core's cache in float64: a part of a network's reference."""


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """One way to sample and how to judge it: only names and numbers.

    Attributes:
        method: name in METHODS.
        nfe: evaluations that a fixed-step method takes; None of an adaptive one.
        tol: tolerance of an adaptive method.
        grid: name in GRIDS, where the steps of a fixed-step method lie; adaptive ones ignore it.
        n: samples.
        seed: of every draw.
        draws: disjoint parts of the samples over which a measure with a limit is averaged.
        metrics: names in METRICS; those that say nothing of the data set are left out.
    """

    method: str = "midpoint"
    nfe: int | None = 20
    tol: float = 1e-5
    grid: str = "uniform"
    n: int = 20_000
    seed: int = 0
    draws: int = 4
    metrics: tuple[str, ...] = tuple(METRICS)

    def __post_init__(self) -> None:
        if METHODS[self.method].adaptive:
            if self.nfe is not None:
                raise ValueError(
                    f"{self.method} chooses its own NFE; give it tol, not nfe={self.nfe}."
                )
            if not 0 < self.tol < 1:
                raise ValueError(f"tol must be between 0 and 1; got {self.tol}.")
            if self.n > MAX_BATCH:
                raise ValueError(
                    f"An adaptive solver takes at most {MAX_BATCH} samples, because all share its "
                    f"steps; got {self.n}: take fewer, or a fixed-step solver."
                )
        elif self.nfe is None:
            raise ValueError(f"{self.method} takes fixed steps; give it nfe, not a tolerance.")
        else:
            steps_for(self.method, self.nfe)
        check_bounds(self, n=(1, MAX_SAMPLES), draws=(1, MAX_SAMPLES), seed=(0, MAX_SEED))
        _ = GRIDS[self.grid], [METRICS[name] for name in self.metrics]


@dataclass(frozen=True)
class Measure:
    """A metric of the samples.

    Attributes:
        value: the mean over the draws.
        error: the standard error of that mean, None with one draw.
        floor: the same between two fresh data sets.
        ratio: value over floor, None where the floor is 0.
        floor_error: the standard error of a floor that is a mean over pairs, else None.
    """

    value: float
    error: float | None
    floor: float
    ratio: float | None
    floor_error: float | None = None


@dataclass(frozen=True)
class Reference:
    """Where the converged flow of a field ends.

    Attributes:
        states: (n, 2) float64.
        nfe: the counted evaluations of the field, the most of any part.
    """

    states: Tensor
    nfe: int


@dataclass(frozen=True)
class NumericalError:
    """How far samples are from where the converged flow of the same field carries their noise.

    Attributes:
        mse: mean square per dimension, as in Fig. 7 (left) of Lipman et al. 2022.
        rms: its root.
        reference_nfe: the evaluations of the converged solve.
    """

    mse: float
    rms: float
    reference_nfe: int


@dataclass(frozen=True)
class Evaluation:
    """What one way to sample gives.

    Attributes:
        config: how it was done.
        nfe: the counted evaluations of the field.
        steps: the steps taken.
        rejected: the steps that an adaptive method refused.
        lost: the share of the samples that were thrown farther than LOST.
        measures: by name in METRICS, those that apply to the data set.
        error: of the solver; None if no reference was given.
        step_times: where the steps taken begin and, last, end.
        refused: start t and length dt of each rejected step.
    """

    config: EvaluateConfig
    nfe: int
    steps: int
    rejected: int
    lost: float
    measures: dict[str, Measure]
    error: NumericalError | None = None
    step_times: tuple[float, ...] = ()
    refused: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Likelihood:
    """The likelihood of fresh data under the field's flow, in nats.

    Attributes:
        nll: mean of -log p(x), the cross-entropy.
        kl: mean of log q(x) - log p(x), KL(data || model); None if q has no density.
        error: standard error of `kl`, or of `nll` where kl is None; None of a single point.
        entropy: of the data, below which no nll can be; None where no closed form is known.
        n: points.
        method: the solver.
        tol: its tolerance.
        nfe: the counted evaluations.
    """

    nll: float
    kl: float | None
    error: float | None
    entropy: float | None
    n: int
    method: str
    tol: float
    nfe: int


def evaluations(
    field: FlowField,
    dataset: Dataset,
    configs: Iterable[EvaluateConfig],
    *,
    double: FlowField | None = None,
) -> Iterator[Evaluation]:
    """One evaluation after the other, each as soon as it is there; floors are measured once.

    `double`, the same field in float64, has the numerical error measured too.
    """
    ends: dict[tuple[int, int], Reference] = {}
    known: dict[tuple[Any, ...], dict[str, tuple[float, float | None]]] = {}
    for config in configs:
        key = (config.n, config.seed, config.draws, config.metrics)
        if key not in known:
            known[key] = floors_of_pairs(dataset, config)
        start = (config.n, config.seed)
        if double is not None and start not in ends:
            ends[start] = reference(double, *start)
        evaluation = evaluate(
            field,
            dataset,
            config,
            floor={name: mean for name, (mean, _) in known[key].items()},
            converged=ends.get(start),
        )
        yield replace(
            evaluation,
            measures={
                name: replace(measure, floor_error=known[key][name][1])
                for name, measure in evaluation.measures.items()
            },
        )


def evaluate(
    field: FlowField,
    dataset: Dataset,
    config: EvaluateConfig,
    *,
    floor: dict[str, float] | None = None,
    converged: Reference | None = None,
) -> Evaluation:
    """The measures of `config.n` samples of the field against as many fresh data.

    Args:
        floor: what `floors` returned for the same n, seed, draws and metrics, if known.
        converged: what `reference` returned for the same field, n and seed, to tell the error.
    """
    start = starts(field.path, config.n, config.seed)
    solution = samples_of(field, start, config)
    states = solution.states[-1]
    error = None
    if converged is not None:
        mse = (states.double() - converged.states).square().mean().item()
        error = NumericalError(mse, math.sqrt(mse), converged.nfe)
    return Evaluation(
        config,
        solution.nfe,
        len(solution.step_times) - 1,
        len(solution.rejected),
        (states.abs() > LOST).any(dim=1).double().mean().item(),
        measures_of(states, dataset, config, floor=floor),
        error,
        tuple(solution.step_times.tolist()),
        tuple((t, dt) for t, dt in solution.rejected.tolist()),
    )


def measures_of(
    samples: Tensor,
    dataset: Dataset,
    config: EvaluateConfig,
    *,
    floor: dict[str, float] | None = None,
) -> dict[str, Measure]:
    """The measures of samples (n, 2) by name, whatever way they were made."""
    if floor is None:
        floor = floors(dataset, config)
    data = dataset.sample(config.n, stream(config.seed, "reference"))
    measures = {}
    for name, metric in _metrics(dataset, config).items():
        values = _values(metric, samples, data, dataset, config.draws)
        value, error = _mean(values)
        ratio = value / floor[name] if floor[name] > 0 else None
        measures[name] = Measure(value, error, floor[name], ratio)
    return measures


def samples_of(
    field: FlowField,
    start: Tensor,
    config: EvaluateConfig,
    *,
    times: Tensor | None = None,
) -> Solution:
    """The flow of states at t = 0, (n, 2), see `starts`; its last states are the samples.

    `times` (T,), from 0 to t_max, are where states are wanted; by default at these ends alone.
    """
    if times is None:
        times = field.path.clock(2)
    budget: dict[str, Any] = {"tol": config.tol}
    if config.nfe is not None:
        steps = steps_for(config.method, config.nfe)
        budget = {"grid": GRIDS[config.grid](field.path, steps)}
    return solve(field, start, times, config.method, **budget)


def sampled(field: FlowField, start: Tensor, config: EvaluateConfig) -> Iterator[Solution]:
    """`samples_of` in parts of PART states; an adaptive method solves all at once.

    The steps of an adaptive method depend on all states.
    """
    for part in [start] if config.nfe is None else start.split(PART):
        yield samples_of(field, part, config)


def reference(field: FlowField, n: int, seed: int) -> Reference:
    """Where the converged flow carries the noise of a seed.

    The field must take float64, see `FieldRef.double`.

    Raises:
        SolveError: the field is too stiff for its flow to converge.
    """
    method, tol = CONVERGED
    times = field.path.clock(2)
    size = PART if isinstance(field, ExactField) else CHUNK
    parts = [
        solve(field, part, times, method, tol=tol)
        for part in starts(field.path, n, seed, torch.float64).split(size)
    ]
    return Reference(torch.cat([part.states[-1] for part in parts]), max(p.nfe for p in parts))


def floors(dataset: Dataset, config: EvaluateConfig) -> dict[str, float]:
    """Each metric between two fresh data sets of n points, by name: what a perfect sampler has."""
    return {name: values[0] for name, values in _floors(dataset, config, 1).items()}


def floors_of_pairs(
    dataset: Dataset, config: EvaluateConfig
) -> dict[str, tuple[float, float | None]]:
    """The mean of each metric over PAIRS pairs of fresh data sets or more, and its standard error.

    The first pair is that of `floors`.
    """
    return _floors(dataset, config, PAIRS)


def _floors(
    dataset: Dataset, config: EvaluateConfig, count: int
) -> dict[str, tuple[float, float | None]]:
    """The mean over at least `count` values of each metric, and its standard error."""
    mean_values = {}
    for name, metric in _metrics(dataset, config).items():
        values: list[float] = []
        pair = 0
        while len(values) < count:
            first, second = (
                dataset.sample(config.n, stream(config.seed, name, *indices))
                for name, *indices in (
                    ("floor", pair),
                    ("floor-reference", pair) if pair else ("reference",),
                )
            )
            values += _values(metric, first, second, dataset, config.draws)
            pair += 1
        mean_values[name] = _mean(values)
    return mean_values


def likelihood(
    field: FlowField,
    dataset: Dataset,
    *,
    n: int = 4000,
    seed: int = 0,
    method: str = "dopri5",
    tol: float = 1e-5,
) -> Likelihood:
    """The likelihood of n fresh data in nats (Lipman et al. 2022, eq. 27-33, exact divergence).

    The density is that at the path's t_max, where a little noise is left in the samples.

    Raises:
        SolveError: the flow cannot be followed backward.
    """
    x_1 = dataset.sample(n, stream(seed, "likelihood"))
    result = log_prob(
        field,
        x_1,
        t_max=field.path.t_max,
        method=method,
        tol=tol,
        log_prior=log_prior(field.path),
    )
    log_p = result.log_prob.double()
    nll, error = _mean((-log_p).tolist())
    kl = None
    if not isinstance(dataset.distribution, PointMasses):
        log_q = dataset.distribution.log_prob(x_1.double())
        kl, error = _mean((log_q - log_p).tolist())
    entropy = dataset.distribution.entropy
    return Likelihood(nll, kl, error, entropy, n, method, tol, result.nfe)


def _metrics(dataset: Dataset, config: EvaluateConfig) -> dict[str, Metric]:
    """The metrics asked for that say something of the data set."""
    boundless = unbounded(dataset.distribution)
    chosen = {name: METRICS[name] for name in config.metrics}
    return {n: m for n, m in chosen.items() if not (boundless and m.needs == "distribution")}


def _values(
    metric: Metric, samples: Tensor, data: Tensor, dataset: Dataset, draws: int
) -> list[float]:
    """The metric on disjoint parts of its limit's size, or on all where it has none."""
    size = min(metric.limit or len(samples), len(samples))
    count = min(draws, len(samples) // size) if metric.limit else 1
    return [
        metric(samples[k * size :][:size], data[k * size :][:size], dataset.distribution)
        for k in range(count)
    ]


def _mean(values: list[float]) -> tuple[float, float | None]:
    """The mean and, of two values or more, its standard error."""
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return mean, None
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean, math.sqrt(variance / len(values))
