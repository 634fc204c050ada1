"""A learned path beside fixed ones: its ways, how straight and how likely, and its training.

The ways of the forward process join noise to a data point and are what is learned; the ways of the
flow are what is sampled. Straight ways of the flow are not the same as straight ways of the
process: conditional OT has the latter and not the former.
"""

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowviz import checkpoints
from flowviz.datasets import Dataset
from flowviz.draws import noise, stream
from flowviz.experiments.evolution import EXACT, resolve
from flowviz.fields import exact_field
from flowviz.fields.learned_path import LearnedPathField
from flowviz.schedulers import LEARNED
from flowviz.solvers import Field, SolveError, solve
from flowviz.straightness import marginal_straightness
from flowviz.training import NfdmConfig, train
from flowviz.training.nfdm import bound_of

__all__ = [
    "Bending",
    "BendingConfig",
    "Learning",
    "Ways",
    "WaysConfig",
    "compute_bending",
    "compute_ways",
    "learn",
]

ENDS = 3
"""Data points to which conditional ways are drawn, far from each other."""

EACH = 5
"""Ways to each of them."""

FRAMES = 41
BEAT = 1.0
"""Seconds between two looks at a training."""

TOL = 1e-4
"""Of the flows whose straightness is measured: S changes by less than 0.1 % below it."""


@dataclass(frozen=True, kw_only=True)
class WaysConfig:
    """The ways of one field: only names and numbers.

    Attributes:
        data: spec of the data set.
        path: spec of the path.
        field: EXACT, the name of a checkpoint or of a live field.
        n: particles of the flow.
        seed: of noise and data, the same for every path.
    """

    VERSION: ClassVar[int] = 1

    data: str = "8gaussians"
    path: str = LEARNED
    field: str = "8gaussians-learned"
    n: int = 60
    seed: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Ways:
    """K states in time of P conditional ways and of n particles.

    Attributes:
        conditional: (K, P, 2), from noise to data points; EACH in a row end at one point.
        flow: (K, n, 2), the particles of the flow.
    """

    conditional: NDArray[np.float32]
    flow: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class BendingConfig:
    """How straight a flow is, and a learned path's bound; flat like `WaysConfig`.

    Attributes:
        data: spec of the data set.
        path: spec of the path.
        field: EXACT, the name of a checkpoint or of a live field.
        n: particles.
        draws: data points for the bound.
        seed: of all.
    """

    VERSION: ClassVar[int] = 1

    data: str = "8gaussians"
    path: str = LEARNED
    field: str = "8gaussians-learned"
    n: int = 500
    draws: int = 60_000
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Bending:
    """What is measured of a flow.

    Attributes:
        deviation: S, see `flowviz.straightness`, summed over dimensions.
        relative: S over the mean squared distance travelled.
        arc_over_chord: length of the ways over that of their chords, at least 1.
        bound: on the negative log-likelihood of the data in nats; None of a fixed path.
        bound_error: its standard error, at most: times are stratified.
    """

    deviation: float
    relative: float
    arc_over_chord: float
    bound: float | None = None
    bound_error: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Learning:
    """A learned path in training.

    Attributes:
        config: what is trained.
        step: steps made.
        seconds: since the first.
        steps: (L,), where the curves have points.
        bound: (L,), the mean bound since the point before, in nats.
        curvature: (L,), the mean square acceleration since then; NaN without a penalty.
        ways: of the averaged weights; None before they can be followed.
        learned: the field with the averaged weights, which does not change any more.
    """

    config: NfdmConfig
    step: int
    seconds: float
    steps: NDArray[np.int64]
    bound: NDArray[np.float64]
    curvature: NDArray[np.float64]
    ways: Ways | None
    learned: LearnedPathField

    @property
    def share(self) -> float:
        """How much of the training is done, in [0, 1]."""
        return self.step / self.config.steps


@torch.no_grad()
def compute_ways(config: WaysConfig, *, field: Field | None = None) -> Ways:
    """The ways of a config's field from the same noise, and to the same data points.

    Args:
        config: what to compute.
        field: a field that `config.field` names but that lies in no file.
    """
    target, flow = _flow(config, field)
    return _ways(flow, target, config.n, config.seed)


@torch.no_grad()
def compute_bending(config: BendingConfig, *, field: Field | None = None) -> Bending:
    """How straight the flow of a config's field is, and the bound if its path is learned.

    Args:
        config: what to compute.
        field: a field that `config.field` names but that lies in no file.
    """
    target, judged = _flow(config, field)
    found = marginal_straightness(judged, noise(config.n, config.seed), tol=TOL)
    bound = error = None
    if isinstance(judged, LearnedPathField):
        generator = stream(config.seed, "bound")
        values = bound_of(judged, target.sample(config.draws, generator), generator).double()
        bound, error = values.mean().item(), values.std().item() / math.sqrt(config.draws)
    return Bending(
        deviation=found.deviation,
        relative=found.relative,
        arc_over_chord=found.arc_over_chord,
        bound=bound,
        bound_error=error,
    )


def learn(config: NfdmConfig, target: Dataset) -> Iterator[Learning]:
    """Trains a learned path; yields what there is every BEAT seconds, and at the last step."""
    curve, since = _Curve(), _Sums()
    start = looked = time.monotonic()
    for state in train(config, target):
        since.add(state.bound, state.curvature)
        now = time.monotonic()
        if now - looked < BEAT and not state.done and state.step > 1:
            continue
        looked = now
        curve.append(state.step, *since.means())
        learned = copy.deepcopy(state.ema).eval()
        try:
            ways = _ways(learned, target, 60, config.seed)
        except SolveError:  # a young field may throw a particle out of the plane
            ways = None
        yield Learning(
            config=config,
            step=state.step,
            seconds=now - start,
            steps=np.array(curve.steps, dtype=np.int64),
            bound=np.array(curve.bound),
            curvature=np.array(curve.curvature),
            ways=ways,
            learned=learned,
        )


def _flow(config: WaysConfig | BendingConfig, field: Field | None) -> tuple[Dataset, Field]:
    """The data set and the field of a config, which knows its path."""
    unnamed = field is not None or config.field == EXACT
    of = config.data if unnamed else checkpoints.read_card(config.field).data
    if of != config.data:
        raise ValueError(
            f"Checkpoint {config.field!r} leads to {of!r}; got the data {config.data!r}, so name "
            "a field of that data, or exact and a fixed path."
        )
    target, path, named = resolve(config.data, config.path, None if unnamed else config.field)
    return target, field or named or exact_field(path, target.distribution)


@torch.no_grad()
def _ways(flow: Field, target: Dataset, n: int, seed: int) -> Ways:
    path = flow.path
    times = path.clock(FRAMES)
    generator = stream(seed, "pairs")
    x_1 = _apart(target.sample(200, generator)).repeat_interleave(EACH, dim=0)
    x_0 = torch.randn(x_1.shape, generator=generator)
    process = flow.forward_process if isinstance(flow, LearnedPathField) else path
    conditional = torch.stack([process.flow(t, x_0, x_1) for t in times])
    start = path.start(noise(n, seed))
    states = solve(flow, start, times, "midpoint", steps=2 * (FRAMES - 1)).states
    return Ways(conditional=conditional.float().numpy(), flow=states.float().numpy())


def _apart(points: Tensor) -> Tensor:
    """ENDS of the points, each as far as can be from those before it."""
    chosen = [points[points.square().sum(dim=1).argmax()]]
    while len(chosen) < ENDS:
        nearest = torch.cdist(points, torch.stack(chosen)).amin(dim=1)
        chosen.append(points[nearest.argmax()])
    return torch.stack(chosen)


@dataclass
class _Curve:
    """Points of the training's curves."""

    steps: list[int] = field(default_factory=list)
    bound: list[float] = field(default_factory=list)
    curvature: list[float] = field(default_factory=list)

    def append(self, step: int, bound: float, curvature: float) -> None:
        self.steps.append(step)
        self.bound.append(bound)
        self.curvature.append(curvature)


@dataclass
class _Sums:
    """What was seen since the last look."""

    seen: list[Tensor] = field(default_factory=list)

    def add(self, bound: Tensor, curvature: Tensor) -> None:
        self.seen.append(torch.stack([bound, curvature]))

    def means(self) -> tuple[float, float]:
        bound, curvature = torch.stack(self.seen).double().mean(dim=0).tolist()
        self.seen.clear()
        return bound, curvature
