"""The straightness of flows, and the error of learned fields with a converged solver.

Exact flows have the same ends on every path (`flowviz.experiments.endpoints`). The ends of a
learned field are compared with those of the exact flow from the same noise, its samples with other
samples of the data.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from flowviz.draws import noise, stream
from flowviz.experiments.evaluate import (
    EvaluateConfig,
    Reference,
    evaluate,
    floors,
    measures_of,
    reference,
)
from flowviz.experiments.fields import FieldRef, exact_name
from flowviz.fields.learned_path import LearnedPathField
from flowviz.schedulers import LEARNED
from flowviz.solvers import SolveError
from flowviz.straightness import Straightness, conditional_straightness, marginal_straightness

MEASURE = "histogram-tv"
"""A name in METRICS: the measure with the smallest variance between seeds."""

LEARNED_TOL = 1e-4
"""Tolerance of the flows of learned paths (float32): S changes by less than 0.1% below it."""


@dataclass(frozen=True, kw_only=True)
class FlowConfig:
    """The flow of one field.

    Attributes:
        name: of the field, see `flowviz.experiments.fields`: exact, or a learned path.
        n: number of particles.
        seed: of their noise and data.
    """

    name: str
    n: int = 800
    seed: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class FlowStraightness:
    """The straightness of the flows of one path.

    Attributes:
        name: of the field.
        path: spec of its path.
        method: training method of a learned path; "" for an exact field.
        conditional: of independent pairs of noise and data.
        marginal: of the field.
    """

    name: str
    path: str
    method: str
    conditional: Straightness
    marginal: Straightness


def compute_straightness(config: FlowConfig) -> FlowStraightness:
    """The straightness of the conditional flows of a path and of its marginal flow."""
    origin = FieldRef.of(config.name)
    x_0 = noise(config.n, config.seed)
    x_1 = origin.dataset.sample(config.n, stream(config.seed, "data"))
    if origin.exact:
        x_0, x_1 = x_0.double(), x_1.double()
    process = origin.field.forward_process if isinstance(origin.field, LearnedPathField) else None
    tol: dict[str, Any] = {} if origin.exact else {"tol": LEARNED_TOL}
    return FlowStraightness(
        name=config.name,
        path=origin.path_spec,
        method=origin.method,
        conditional=conditional_straightness(origin.path, x_0, x_1, process=process),
        marginal=marginal_straightness(origin.field, x_0, **tol),
    )


@dataclass(frozen=True, kw_only=True)
class ResidualConfig:
    """Samples of a field with many function evaluations.

    Attributes:
        name: of the field; the exact one is evaluated at its converged ends.
        nfe: function evaluations of the midpoint method.
        n: number of particles.
        seed: of their noise.
    """

    name: str
    nfe: int = 1_000
    n: int = 1_000
    seed: int = 0

    @property
    def judged(self) -> EvaluateConfig:
        """The evaluation of the samples."""
        return EvaluateConfig(nfe=self.nfe, n=self.n, seed=self.seed, metrics=(MEASURE,))


@dataclass(frozen=True, kw_only=True)
class Residual:
    """The error of a field; NaN where the solver failed.

    Attributes:
        path: spec of its path.
        method: training method; "" for the exact field.
        distance: RMS distance of its ends from those of the exact flow on the same path; NaN of a
            learned path, whose exact flow is not known.
        quality: MEASURE of its samples.
        floor: MEASURE between two random samples of the data.
    """

    path: str
    method: str
    distance: float
    quality: float
    floor: float


def compute_converged(config: ResidualConfig) -> Reference:
    """The converged ends of an exact field; `nfe` is ignored."""
    return reference(FieldRef.of(config.name).field, config.n, config.seed)


@torch.no_grad()
def compute_residual(config: ResidualConfig, converged: Reference | None = None) -> Residual:
    """The residual error of one field with one seed.

    Args:
        converged: ends of the exact flow on the same path; None of a learned path.
    """
    origin = FieldRef.of(config.name)
    target, judged = origin.dataset, config.judged
    distance = quality = float("nan")
    if origin.exact:
        assert converged is not None
        ends = converged.states.float()
        distance = 0.0
        quality = measures_of(ends, target, judged, floor={MEASURE: 0.0})[MEASURE].value
    else:
        try:
            evaluation = evaluate(
                origin.field, target, judged, floor={MEASURE: 0.0}, converged=converged
            )
        except SolveError:
            pass
        else:
            quality = evaluation.measures[MEASURE].value
            if evaluation.error is not None:
                distance = float(np.sqrt(2) * evaluation.error.rms)
    return Residual(
        path=origin.path_spec,
        method=origin.method,
        distance=distance,
        quality=quality,
        floor=floors(target, judged)[MEASURE],
    )


def exact_of(name: str) -> str:
    """The name of the exact field on the path of a field; "" if it is not known."""
    origin = FieldRef.of(name)
    path = origin.path_spec
    return "" if path == LEARNED else exact_name(origin.data, path)
