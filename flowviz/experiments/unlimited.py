"""What paths differ in when compute has no limit: not their ends, but their ways, and learning.

Exact flows end in the same points on every path (`flowviz.experiments.endpoints`); how straight
they run on the way there is one question of this file. The other is what a learned field has left
to err with when its solver has as many evaluations as it likes: its ends are held against those of
the exact flow from the same noise, and its samples against those of a perfect sampler.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from flowviz import checkpoints
from flowviz.bounds import check_bounds
from flowviz.datasets import dataset
from flowviz.draws import noise, stream
from flowviz.experiments.endpoints import OWN, specs
from flowviz.experiments.evaluate import (
    EvaluateConfig,
    Reference,
    evaluate,
    floors,
    measures_of,
    reference,
)
from flowviz.experiments.evolution import EXACT, resolve
from flowviz.experiments.sources import exact_name, source
from flowviz.fields import exact_field
from flowviz.schedulers import LEARNED
from flowviz.solvers import SolveError
from flowviz.straightness import Straightness, conditional_straightness, marginal_straightness

__all__ = [
    "MEASURE",
    "LearnedStraightness",
    "Left",
    "LeftConfig",
    "LeftResult",
    "StraightnessConfig",
    "StraightnessResult",
    "compute_straightness",
    "left_over",
]

MEASURE = "histogram-tv"
"""A name in METRICS: the measure that varies least from draw to draw."""

LEARNED_TOL = 1e-4
"""Of the flows of learned paths, which are in float32: S changes by less than 0.1 % below it."""


@dataclass(frozen=True, kw_only=True)
class StraightnessConfig:
    """The flows of one data set: only names and numbers.

    Attributes:
        data: spec of the data set.
        own: spec of the shaped schedule; empty to leave it out.
        learned: checkpoints of learned paths of this data set.
        n: particles.
        seed: of their noise and data.
    """

    VERSION: ClassVar[int] = 3

    data: str = "checkerboard"
    own: str = OWN
    learned: tuple[str, ...] = ()
    n: int = 800
    seed: int = 0

    def __post_init__(self) -> None:
        check_bounds(self, n=(2, 20_000))


@dataclass(frozen=True, kw_only=True, eq=False)
class StraightnessResult:
    """How straight the flows of P paths are, each of them conditional and marginal.

    Attributes:
        paths: specs, P.
        conditional: of pairs of noise and data that know nothing of each other, P.
        marginal: of the exact field, P.
        learned: of learned paths, whose marginal flow is that of their network.
    """

    paths: tuple[str, ...]
    conditional: tuple[Straightness, ...]
    marginal: tuple[Straightness, ...]
    learned: tuple["LearnedStraightness", ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class LearnedStraightness:
    """How straight a learned path is.

    Attributes:
        name: of the checkpoint.
        method: how it was trained, in a few words.
        conditional: of its forward process.
        marginal: of its flow.
    """

    name: str
    method: str
    conditional: Straightness
    marginal: Straightness


def compute_straightness(config: StraightnessConfig) -> StraightnessResult:
    """The straightness of every path's conditional flows and of its marginal flow."""
    x_0 = noise(config.n, config.seed).double()
    conditional, marginal = [], []
    paths = specs(config.own)
    for spec in paths:
        target, path, _ = resolve(config.data, spec, None)
        x_1 = target.sample(config.n, stream(config.seed, "data")).double()
        conditional.append(conditional_straightness(path, x_0, x_1))
        marginal.append(marginal_straightness(exact_field(path, target.distribution), x_0))
    return StraightnessResult(
        paths=paths,
        conditional=tuple(conditional),
        marginal=tuple(marginal),
        learned=tuple(
            _learned(name, config.data, config.n, config.seed) for name in config.learned
        ),
    )


@lru_cache(maxsize=32)  # whatever one's own schedule is, which the config has too
def _learned(name: str, data: str, n: int, seed: int) -> LearnedStraightness:
    field = source(name).field
    x_0 = noise(n, seed)
    x_1 = dataset(data).sample(n, stream(seed, "data"))
    return LearnedStraightness(
        name=name,
        method=_method(name),
        conditional=conditional_straightness(field.path, x_0, x_1, process=field.forward_process),
        marginal=marginal_straightness(field, x_0, tol=LEARNED_TOL),
    )


def _method(name: str) -> str:
    """How a learned path was trained, by the card of a checkpoint's pinned name."""
    return checkpoints.read_card(name.partition("@")[0]).method


@dataclass(frozen=True, kw_only=True)
class LeftConfig:
    """Learned fields of one data set, followed by many evaluations; only names and numbers.

    Attributes:
        data: spec of the data set.
        names: the checkpoints.
        nfe: evaluations of the midpoint method.
        n: particles a seed.
        seeds: how many.
        seed: the first.
    """

    VERSION: ClassVar[int] = 1

    data: str = "checkerboard"
    names: tuple[str, ...] = ()
    nfe: int = 1_000
    n: int = 1_000
    seeds: int = 3
    seed: int = 0

    def at(self, seed: int) -> EvaluateConfig:
        """How the samples of a seed are made and judged."""
        return EvaluateConfig(nfe=self.nfe, n=self.n, seed=seed, metrics=(MEASURE,))


@dataclass(frozen=True, kw_only=True, eq=False)
class Left:
    """What a learned field errs by; each by seed, (R,), NaN where the solve failed.

    Attributes:
        name: of the checkpoint; EXACT for the exact flow.
        path: spec of its path.
        objective: label of what the network predicts; how a learned path was trained; "" for the
            exact flow.
        distance: RMS distance of its ends from those of the exact flow on the same path; NaN of a
            learned path, whose exact flow is not known.
        quality: MEASURE of its samples.
    """

    name: str
    path: str
    objective: str
    distance: NDArray[np.float64]
    quality: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class LeftResult:
    """What there is so far.

    Attributes:
        fields: those that are through; the exact flow, which is a perfect sampler, is the first.
        floor: MEASURE between two fresh data sets, mean of the seeds.
        share: of the work that is done, in [0, 1].
    """

    fields: tuple[Left, ...]
    floor: float
    share: float


@torch.no_grad()
def left_over(config: LeftConfig) -> Iterator[LeftResult]:
    """Measures one learned field after the other; yields after each seed."""
    target = dataset(config.data)
    seeds = range(config.seed, config.seed + config.seeds)
    floor = float(np.mean([floors(target, config.at(seed))[MEASURE] for seed in seeds]))
    ends: dict[str, list[Reference | None]] = {}
    total = (len(config.names) + 1) * config.seeds
    result = LeftResult(fields=(), floor=floor, share=0.0)
    done = 0
    for name in (EXACT, *config.names):
        origin = source(exact_name(config.data, "ot") if name == EXACT else name)
        path = origin.path_spec
        if path not in ends:
            ends[path] = [None] * config.seeds
            if path != LEARNED:
                exact = source(exact_name(config.data, path)).field
                ends[path] = [reference(exact, config.n, seed) for seed in seeds]
        rows = []
        for seed, true in zip(seeds, ends[path], strict=True):
            rows.append(_row(config.at(seed), name, origin.field, target, true))
            done += 1
            yield replace(result, share=done / total)
        distance, quality = np.array(rows).T
        objective = "" if name == EXACT else origin.field.objective.label
        if path == LEARNED:
            objective = _method(name)
        found = Left(name=name, path=path, objective=objective, distance=distance, quality=quality)
        result = replace(result, fields=(*result.fields, found), share=done / total)
        yield result


def _row(
    judged: EvaluateConfig, name: str, field: object, target: object, true: Reference | None
) -> tuple[float, float]:
    """Distance to the true ends where they are known, and MEASURE."""
    if name == EXACT:
        ends = true.states.float()
        return 0.0, measures_of(ends, target, judged, floor={MEASURE: 0.0})[MEASURE].value
    try:
        found = evaluate(field, target, judged, floor={MEASURE: 0.0}, converged=true)
    except SolveError:
        return float("nan"), float("nan")
    distance = float("nan") if found.error is None else float(np.sqrt(2) * found.error.rms)
    return distance, found.measures[MEASURE].value
