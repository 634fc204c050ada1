"""Do straighter conditional paths train faster? Trainings that differ only in path and objective.

The entrants are flow matching on the conditional OT path and on VP diffusion, and score and noise
matching on VP diffusion (the rows of Table 1 in Lipman et al. 2022 except ScoreFlow); flow
matching on a shaped schedule may join them. All start from the same weights and see the same data,
noise and times at every step. Three measures compare them:

- quality: sliced W2 of samples to data, by a solver whose discretisation error is negligible.
- error: distance to the exact velocity relative to the root mean square of that velocity; it has
  no unit and uses the states of each path.
- excess: loss minus irreducible loss, in the units of the objective. It is comparable along one
  curve only, as are raw losses.

Networks predict velocity, noise or score themselves by default, as in the paper. Preconditioned
networks would make score and noise matching on one path the same regression.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowviz.datasets import dataset
from flowviz.draws import stream
from flowviz.experiments.evaluate import EvaluateConfig, evaluate, floors
from flowviz.experiments.live import Probe
from flowviz.fields import LearnedField, exact_field
from flowviz.objectives import OBJECTIVES
from flowviz.paths import AffinePath
from flowviz.schedulers import Shaped, scheduler
from flowviz.solvers import SolveError
from flowviz.training import TrainConfig, train

METRIC = "sliced-w2"
SAMPLES = 1_000
SOLVER = {"method": "midpoint", "nfe": 40, "grid": "log-snr"}
"""Its error on the exact fields of the checkerboard is 0.01 (VP), far below that of training."""

LOOKS = 12
"""Number of measurements during a run, closer together at first."""

BEAT = 20
"""Number of steps between two calls of `beat`."""


@dataclass(frozen=True)
class Entrant:
    """A path and what the network predicts on it."""

    label: str
    path: str
    objective: str


ENTRANTS: dict[str, Entrant] = {
    "ot": Entrant("flow matching, conditional OT", "ot", "flow"),
    "vp": Entrant("flow matching, VP diffusion", "vp", "flow"),
    "vp-score": Entrant("score matching, VP diffusion", "vp", "score"),
    "vp-noise": Entrant("noise matching, VP diffusion", "vp", "noise"),
}
"""The entrants of every comparison."""

OWN = "own"
"""Name of the entrant on the user's own schedule."""


def entrants(own_path: str = "") -> Mapping[str, Entrant]:
    """The entrants by name.

    Args:
        own_path: spec of the user's own schedule, such as "shaped:a1=0.2"; "" leaves it out.

    Raises:
        ValueError: `own_path` is not the spec of a shaped schedule.
    """
    if not own_path:
        return ENTRANTS
    if not isinstance(scheduler(own_path), Shaped):
        raise ValueError(
            f"own must be a spec of a shaped schedule, such as shaped:a1=0.2; got {own_path!r}."
        )
    return ENTRANTS | {OWN: Entrant(f"flow matching, {Shaped.label}", own_path, "flow")}


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One training with its measurements.

    Attributes:
        training: the training.
        looks: number of measurements; the last is at the end of the training.
        seed: seed of the noise and the data that judge the samples.
    """

    training: TrainConfig
    looks: int = LOOKS
    seed: int = 0

    @property
    def steps(self) -> NDArray[np.int64]:
        """The steps after which the run is measured, (L,)."""
        last = self.training.steps
        if self.looks == 1:
            return np.array([last])
        return np.unique(np.geomspace(max(1, last // 60), last, self.looks).round()).astype(int)


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """The measurements of one training, each (L,); NaN where a value does not exist.

    Attributes:
        steps: the steps after which the run was measured.
        seconds: computing time of the training until then.
        quality: METRIC of the samples.
        error: relative distance to the exact velocity.
        excess: loss minus irreducible loss of the averaged weights.
        loss: mean loss since the measurement before.
        gradient: mean gradient norm since the measurement before, before clipping.
        broken: the step at which the loss was found to be not finite; 0 for none.
        diverged: whether the loss became not finite, or the final weights are further from the
            exact field than a network that predicts 0.
    """

    steps: NDArray[np.int64]
    seconds: NDArray[np.float64]
    quality: NDArray[np.float64]
    error: NDArray[np.float64]
    excess: NDArray[np.float64]
    loss: NDArray[np.float64]
    gradient: NDArray[np.float64]
    broken: int
    diverged: bool


def compute_run(config: RunConfig, beat: Callable[[], None] = lambda: None) -> Run:
    """Trains and measures one network.

    Args:
        beat: called every BEAT steps; it may raise `Stopped`.
    """
    training, measured_steps = config.training, config.steps
    target = dataset(training.data)
    names = "seconds", "quality", "error", "excess", "loss", "gradient"
    rows = {name: np.full(len(measured_steps), np.nan) for name in names}
    seconds, broken, probe = 0.0, 0, None
    since: list[Tensor] = []
    states, state = train(training, target), None
    for step in range(1, training.steps + 1):
        start = time.thread_time()
        state = next(states)
        seconds += time.thread_time() - start
        since.append(torch.stack([state.loss, state.gradient_norm.detach()]))
        if step in measured_steps:
            k = int(np.searchsorted(measured_steps, step))
            loss, rows["gradient"][k] = torch.stack(since).double().mean(dim=0).tolist()
            rows["loss"][k], rows["seconds"][k] = loss, seconds
            since.clear()
            if not np.isfinite(loss):
                broken = step
                rows["seconds"][k:] = seconds
                break
            probe = probe or Probe(state.ema, target, training.seed)
            rows["error"][k], rows["excess"][k] = probe.error(state.ema), probe.excess(state.ema)
            rows["quality"][k] = _quality(config, state.ema)
        if step % BEAT == 0:
            beat()
    worse_than_zero = (
        probe is not None
        and state is not None
        and probe.excess(state.model) > probe.excess_of_zero()
    )
    return Run(
        steps=measured_steps, **rows, broken=broken, diverged=bool(broken) or worse_than_zero
    )


def _quality(config: RunConfig, field: LearnedField) -> float:
    """METRIC of the samples of a field; NaN if its samples leave the plane."""
    try:
        judged = _judged(config.seed)
        evaluation = evaluate(field, dataset(config.training.data), judged, floor={METRIC: 0.0})
        return evaluation.measures[METRIC].value
    except SolveError:
        return float("nan")


def compute_floor(data_and_seed: tuple[str, int]) -> float:
    """METRIC between two random samples of a data set, which is the best possible value."""
    data, seed = data_and_seed
    return floors(dataset(data), _judged(seed))[METRIC]


def _judged(seed: int) -> EvaluateConfig:
    return EvaluateConfig(n=SAMPLES, seed=seed, metrics=(METRIC,), **SOLVER)


@dataclass(frozen=True, kw_only=True)
class TargetConfig:
    """The regression target of one objective on one path.

    Attributes:
        data: spec of the data set.
        path: spec of the path.
        objective: name in OBJECTIVES.
        n: number of pairs at each time.
        n_times: number of times, evenly from 0 to the path's t_max.
    """

    data: str
    path: str
    objective: str
    n: int = 600
    n_times: int = 41


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """What a network is trained to predict, at T times.

    Attributes:
        times: (T,).
        size: (T,), root mean square per dimension of the best prediction.
        share: (T,), share of the target's variance that x_t determines; the rest is noise in
            every gradient.
    """

    times: NDArray[np.float64]
    size: NDArray[np.float64]
    share: NDArray[np.float64]


@torch.no_grad()
def compute_target(config: TargetConfig) -> Target:
    """Size and predictable share of a regression target, from the exact posterior means."""
    target, generator = dataset(config.data), stream(0, "targets")
    x_1 = target.sample(config.n, generator).double()
    x_0 = torch.randn(x_1.shape, generator=generator, dtype=torch.float64)
    path, objective = AffinePath(scheduler(config.path)), OBJECTIVES[config.objective]
    exact = exact_field(path, target.distribution)
    times = path.clock(config.n_times)
    rows = []
    for t in times:
        x = path.flow(t, x_0, x_1)
        q_1, q_0 = objective.target(path.coefficients(t, x))
        mean_0, mean_1 = exact.means(t, x)
        best_predictions = q_1 * mean_1 + q_0 * mean_0
        samples = q_1 * x_1 + q_0 * x_0
        spread = (samples - samples.mean(dim=0)).square().mean()
        rows.append(
            (
                best_predictions.square().mean().sqrt(),
                1 - (samples - best_predictions).square().mean() / spread,
            )
        )
    size, share = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    return Target(times=times.numpy(), size=size, share=np.clip(share, 0, 1))
