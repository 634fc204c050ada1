"""A learned path and fixed ones: trajectories, straightness, and the training of a learned path.

Conditional trajectories join noise to a data point; training a learned path changes them.
Marginal trajectories are those of the flow that generates samples. Straight conditional
trajectories do not imply straight marginal ones: conditional OT has only the former.
"""

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowviz.datasets import Dataset, dataset
from flowviz.draws import noise, stream
from flowviz.experiments.evaluate import FlowField
from flowviz.experiments.fields import FieldRef
from flowviz.fields.learned_path import LearnedPathField
from flowviz.progress import Progress
from flowviz.settings import part
from flowviz.solvers import SolveError, solve
from flowviz.straightness import marginal_straightness
from flowviz.training import NfdmConfig, train
from flowviz.training.nfdm import bound_of

ENDS = 3
"""Number of data points at which conditional trajectories end, far from each other."""

EACH = 5
"""Number of conditional trajectories to each of them."""

FRAMES = 41
"""Number of states of a trajectory."""

PARTICLES = 60
"""Number of trajectories of the flow."""

REPORT_SECONDS = 1.0
"""Smallest time between two reports of a training."""

REPORT_SHARE = 0.2
"""Largest share of the time that reports take, above all for their trajectories."""

TOL = 1e-4
"""Tolerance of the flows whose S is measured: S changes by less than 0.1% below it."""


@dataclass(frozen=True, kw_only=True)
class TrajectoriesConfig:
    """The trajectories of one field.

    Attributes:
        data: spec of the data set.
        field: name of the field, see `flowviz.experiments.fields.FieldRef.of`, or of a live field.
        n: number of trajectories of the flow.
        seed: of noise and data, the same for every field.
    """

    data: str = "8gaussians"
    field: str = "8gaussians-learned"
    n: int = PARTICLES
    seed: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Trajectories:
    """K states in time of P conditional and of n marginal trajectories.

    Attributes:
        conditional: (K, P, 2), from noise to data points; EACH in a row end at one point.
        flow: (K, n, 2), the particles of the flow.
    """

    conditional: NDArray[np.float32]
    flow: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class StraightnessConfig(TrajectoriesConfig):
    """The straightness of the trajectories of a flow, and the bound of a learned path.

    Attributes:
        draws: number of data points for the bound.
    """

    n: int = 500
    draws: int = 60_000


@dataclass(frozen=True, kw_only=True)
class FlowStraightness:
    """The straightness of a flow.

    Attributes:
        deviation: S, see `flowviz.straightness`, summed over dimensions.
        error: its standard error, from the differences between particles.
        relative: S over the mean squared displacement.
        arc_over_chord: length of the trajectories over that of their chords, at least 1.
        bound: on the negative log-likelihood of the data in nats; None for a fixed path.
        bound_error: upper bound of its standard error; times are stratified.
    """

    deviation: float
    error: float
    relative: float
    arc_over_chord: float
    bound: float | None = None
    bound_error: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class LearnedPathTraining:
    """A learned path in training.

    Attributes:
        config: what is trained.
        step: number of steps made.
        steps: (L,), the steps at which the curves have points.
        bound: (L,), the mean bound since the previous point, in nats.
        curvature: (L,), the mean square acceleration since then; NaN without a penalty.
        trajectories: of the averaged weights; None if a particle leaves the plane.
        learned: a copy of the field with the averaged weights.
    """

    config: NfdmConfig
    step: int
    steps: NDArray[np.int64]
    bound: NDArray[np.float64]
    curvature: NDArray[np.float64]
    trajectories: Trajectories | None
    learned: LearnedPathField


@torch.no_grad()
def compute_trajectories(
    config: TrajectoriesConfig, *, field: FlowField | None = None
) -> Trajectories:
    """The trajectories of a field; all fields have the same noise and the same data points."""
    target, flow = _resolved(config, field)
    return _trajectories(flow, target, config.n, config.seed)


@torch.no_grad()
def compute_straightness(
    config: StraightnessConfig, *, field: FlowField | None = None
) -> FlowStraightness:
    """The straightness of the flow of a field, and the bound if its path is learned."""
    target, judged = _resolved(config, field)
    result = marginal_straightness(judged, noise(config.n, config.seed), tol=TOL)
    bound = error = None
    if isinstance(judged, LearnedPathField):
        generator = stream(config.seed, "bound")
        values = bound_of(judged, target.sample(config.draws, generator), generator).double()
        bound, error = values.mean().item(), values.std().item() / math.sqrt(config.draws)
    return part(FlowStraightness, result, bound=bound, bound_error=error)


def train_learned_path(config: NfdmConfig, progress: Progress) -> Iterator[LearnedPathTraining]:
    """Trains a learned path; yields about every second and at the last step."""
    target = dataset(config.data)
    points: list[tuple[int, float, float]] = []
    recent: list[Tensor] = []
    due = time.monotonic() + REPORT_SECONDS
    for state in train(config, target):
        recent.append(torch.stack([state.bound, state.curvature]))
        start = time.monotonic()
        if start < due and not state.done and state.step > 1:
            continue
        progress.report(state.step / config.steps, f"step {state.step:,} of {config.steps:,}")
        bound, curvature = torch.stack(recent).double().mean(dim=0).tolist()
        points.append((state.step, bound, curvature))
        recent.clear()
        learned = copy.deepcopy(state.ema).eval()
        try:
            trajectories = _trajectories(learned, target, PARTICLES, config.seed)
        except SolveError:  # early in the training a particle may leave the plane
            trajectories = None
        steps, bounds, curvatures = map(np.array, zip(*points, strict=True))
        yield LearnedPathTraining(
            config=config,
            step=state.step,
            steps=steps,
            bound=bounds,
            curvature=curvatures,
            trajectories=trajectories,
            learned=learned,
        )
        now = time.monotonic()
        due = now + max(REPORT_SECONDS, (now - start) * (1 / REPORT_SHARE - 1))


def _resolved(config: TrajectoriesConfig, field: FlowField | None) -> tuple[Dataset, FlowField]:
    """The data set and the field of a config, which has its path."""
    if field is not None:
        return dataset(config.data), field
    named = FieldRef.of(config.field)
    if named.data != config.data:
        raise ValueError(
            f"The field {config.field!r} leads to {named.data!r}; got the data {config.data!r}. "
            "Name a field of that data, or exact:DATA/PATH."
        )
    return named.dataset, named.field


@torch.no_grad()
def _trajectories(flow: FlowField, target: Dataset, n: int, seed: int) -> Trajectories:
    path = flow.path
    times = path.clock(FRAMES)
    generator = stream(seed, "pairs")
    x_1 = _farthest(target.sample(200, generator)).repeat_interleave(EACH, dim=0)
    x_0 = torch.randn(x_1.shape, generator=generator)
    process = flow.forward_process if isinstance(flow, LearnedPathField) else path
    conditional = torch.stack([process.flow(t, x_0, x_1) for t in times])
    start = path.start(noise(n, seed))
    states = solve(flow, start, times, "midpoint", steps=2 * (FRAMES - 1)).states
    return Trajectories(conditional=conditional.float().numpy(), flow=states.float().numpy())


def _farthest(points: Tensor) -> Tensor:
    """ENDS of the points, each as far as possible from those that were chosen before it."""
    chosen = [points[points.square().sum(dim=1).argmax()]]
    while len(chosen) < ENDS:
        nearest = torch.cdist(points, torch.stack(chosen)).amin(dim=1)
        chosen.append(points[nearest.argmax()])
    return torch.stack(chosen)
