"""The first claim on the track: do straighter conditional paths train faster and more stably?

Four networks start from the same weights and see the same data, noise and times at every step:
flow matching on the conditional OT path and on VP diffusion, score matching and noise matching on
VP diffusion (the rows of the paper's Table 1 but for ScoreFlow). A fifth may join them, flow
matching on a schedule of one's own. Several seeds run beside each other. They are compared by:

- quality: sliced W2 of samples to data. The solver takes enough steps, evenly in log-SNR, that
  what is seen is the training and not the discretisation.
- error: the distance to the exact velocity in units of that velocity's root mean square, which has
  no unit and takes each path on its own states.
- loss minus its floor, each in the units of its own objective: comparable along a curve, and not
  between curves of different objectives or paths. Nor are raw losses.

The networks are plain by default, that is they predict the velocity, noise or score itself, as in
the paper: preconditioned ones would make score and noise matching on one path the same regression.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowviz.bounds import MAX_SEED, check_bounds
from flowviz.datasets import Dataset, dataset
from flowviz.draws import stream
from flowviz.experiments.evaluate import EvaluateConfig, evaluate, floors
from flowviz.experiments.live import Probe
from flowviz.fields import exact_field
from flowviz.objectives import OBJECTIVES
from flowviz.paths import AffinePath
from flowviz.schedulers import Shaped, scheduler
from flowviz.solvers import SolveError
from flowviz.training import PlaneRun, TrainConfig, train

__all__ = [
    "ENTRANTS",
    "LRS",
    "METRIC",
    "OWN",
    "Entrant",
    "RaceConfig",
    "RaceResult",
    "SweepConfig",
    "SweepResult",
    "Targets",
    "TargetsConfig",
    "compute_targets",
    "entrant",
    "race",
    "sweep_rates",
]

METRIC = "sliced-w2"
SAMPLES = 1_000
SOLVER = {"method": "midpoint", "nfe": 40, "grid": "log-snr"}
"""On exact fields of the board this errs by 0.01 (VP), far below what training leaves."""

LOOKS = 12
"""Moments at which every run is measured, closer together at first."""

BEAT = 20
"""Steps between two reports."""

LRS = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
"""The learning rates of a sweep."""


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
"""Those of every race."""

OWN = "own"
"""The name of the one that joins them on a schedule of one's own."""


def entrant(name: str, own: str = "shaped") -> Entrant:
    """The entrant of a name in ENTRANTS, or OWN: flow matching on the path of the spec `own`."""
    if name == OWN:
        return Entrant(f"flow matching, {Shaped.label}", own, "flow")
    return ENTRANTS[name]


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """Who takes part; flat, so that it can be a cache key.

    Attributes:
        own: spec of a schedule of one's own, on which one more network learns; empty for none.
    """

    own: str = ""

    def __post_init__(self) -> None:
        if self.own and not isinstance(scheduler(self.own), Shaped):
            raise ValueError(
                f"own must be a schedule of one's own, such as shaped:a1=0.2; got {self.own!r}."
            )

    @property
    def entrants(self) -> dict[str, Entrant]:
        """All that take part, by name."""
        return ENTRANTS | ({OWN: entrant(OWN, self.own)} if self.own else {})


@dataclass(frozen=True, kw_only=True)
class RaceConfig(_Entry):
    """One race: only names and numbers.

    Attributes:
        data: spec of the data set.
        steps: optimiser steps of every run.
        seeds: runs of each entrant, with seeds from `seed` on.
        width: units of a hidden layer.
        depth: hidden layers.
        batch: pairs a step.
        lr: peak learning rate.
        preconditioned: whether networks learn the remainder of the best linear prediction.
        seed: the first one.
    """

    VERSION: ClassVar[int] = 1

    data: str = "checkerboard"
    steps: int = 1_500
    seeds: int = 3
    width: int = 64
    depth: int = 3
    batch: int = 256
    lr: float = 2e-3
    preconditioned: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bounds(self, seeds=(1, 10))
        check_bounds(self, seed=(0, MAX_SEED - self.seeds + 1))
        self.training("ot", 0)

    def training(self, entrant: str, run: int) -> TrainConfig:
        """The training of an entrant with the run-th seed."""
        chosen = self.entrants[entrant]
        shared = {
            key: getattr(self, key)
            for key in ("data", "steps", "width", "depth", "batch", "lr", "preconditioned")
        }
        return TrainConfig(
            path=chosen.path, objective=chosen.objective, seed=self.seed + run, **shared
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class RaceResult:
    """What was seen so far: E entrants by R seeds by L looks; NaN where a run has not come yet.

    Attributes:
        entrants: their names, E; see `entrant`.
        steps: (L,), the steps after which runs are measured.
        seconds: (E, R, L), of computing that training took until then.
        quality: METRIC of the samples.
        error: relative distance to the exact velocity.
        excess: loss minus floor of the averaged weights, in the objective's own units.
        loss: the mean loss since the look before.
        gradient: the mean gradient norm since the look before, before clipping.
        broken: (E, R), the step at which a loss was no longer a number; 0 if none.
        floor: METRIC between two fresh data sets.
        step: the steps that all runs have made.
    """

    entrants: tuple[str, ...]
    steps: NDArray[np.int64]
    seconds: NDArray[np.float64]
    quality: NDArray[np.float64]
    error: NDArray[np.float64]
    excess: NDArray[np.float64]
    loss: NDArray[np.float64]
    gradient: NDArray[np.float64]
    broken: NDArray[np.int64]
    floor: float
    step: int

    @property
    def share(self) -> float:
        """How much of the race is run, in [0, 1]."""
        return self.step / int(self.steps[-1])


def race(config: RaceConfig, entrants: tuple[str, ...] = ()) -> Iterator[RaceResult]:
    """Runs all entrants and seeds in lock-step; yields every BEAT steps and after each look.

    Args:
        config: the race.
        entrants: names of those that run; all of the config's if empty.
    """
    entrants = entrants or tuple(config.entrants)
    target = dataset(config.data)
    judged = _judged(config.seed)
    floor = floors(target, judged)[METRIC]
    looks = np.unique(np.geomspace(max(1, config.steps // 60), config.steps, LOOKS).round())
    shape = (len(entrants), config.seeds, len(looks))
    seen = {
        name: np.full(shape, np.nan)
        for name in ("seconds", "quality", "error", "excess", "loss", "gradient")
    }
    broken = np.zeros(shape[:2], dtype=np.int64)
    runs = {
        (e, r): _Run(config.training(name, r), target)
        for e, name in enumerate(entrants)
        for r in range(config.seeds)
    }

    def result(step: int) -> RaceResult:
        return RaceResult(
            entrants=entrants,
            steps=looks.astype(np.int64),
            **{name: values.copy() for name, values in seen.items()},
            broken=broken.copy(),
            floor=floor,
            step=step,
        )

    yield result(0)
    for step in range(1, config.steps + 1):
        for run in runs.values():
            run.advance()
        if step in looks:
            for place, run in runs.items():
                for name, value in run.look(target, judged, floor).items():
                    seen[name][(*place, int(np.searchsorted(looks, step)))] = value
                broken[place] = run.broken
                yield result(step)
        elif step % BEAT == 0:
            yield result(step)


@dataclass(frozen=True, kw_only=True)
class SweepConfig(_Entry):
    """The same entrants at every learning rate of LRS, one seed each; see `RaceConfig`.

    Attributes:
        data: spec of the data set.
        steps: optimiser steps of every run.
        width: units of a hidden layer.
        depth: hidden layers.
        batch: pairs a step.
        preconditioned: whether networks learn the remainder of the best linear prediction.
        seed: of every run.
    """

    VERSION: ClassVar[int] = 1

    data: str = "checkerboard"
    steps: int = 400
    width: int = 64
    depth: int = 3
    batch: int = 256
    preconditioned: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.race(LRS[0])

    def race(self, lr: float) -> RaceConfig:
        """The race at one learning rate."""
        shared = {
            key: getattr(self, key)
            for key in (
                "data",
                "steps",
                "width",
                "depth",
                "batch",
                "preconditioned",
                "seed",
                "own",
            )
        }
        return RaceConfig(lr=lr, seeds=1, **shared)


@dataclass(frozen=True, kw_only=True, eq=False)
class SweepResult:
    """What became of E entrants at F learning rates; NaN where one has not come yet.

    Attributes:
        entrants: their names, E; see `entrant`.
        lrs: (F,), the learning rates.
        quality: (E, F), METRIC of the samples in the end.
        error: (E, F), relative distance to the exact velocity in the end.
        diverged: (E, F), whether the loss was no longer a number, or the weights in the end are
            further from the exact field than a network that says 0 to everything.
        floor: METRIC between two fresh data sets.
        share: of the work that is done, in [0, 1].
    """

    entrants: tuple[str, ...]
    lrs: NDArray[np.float64]
    quality: NDArray[np.float64]
    error: NDArray[np.float64]
    diverged: NDArray[np.bool_]
    floor: float
    share: float


def sweep_rates(
    config: SweepConfig,
    lrs: tuple[float, ...] = LRS,
    entrants: tuple[str, ...] = (),
) -> Iterator[SweepResult]:
    """Trains every entrant at every learning rate; yields every BEAT steps and after each run.

    Args:
        config: the sweep.
        lrs: the learning rates.
        entrants: names of those that run; all of the config's if empty.
    """
    entrants = entrants or tuple(config.entrants)
    target = dataset(config.data)
    judged = _judged(config.seed)
    shape = len(entrants), len(lrs)
    result = SweepResult(
        entrants=entrants,
        lrs=np.array(lrs),
        quality=np.full(shape, np.nan),
        error=np.full(shape, np.nan),
        diverged=np.zeros(shape, dtype=bool),
        floor=floors(target, judged)[METRIC],
        share=0.0,
    )
    yield result
    total = len(lrs) * len(entrants) * config.steps
    done = 0
    for f, lr in enumerate(lrs):
        for e, name in enumerate(entrants):
            run = _Run(config.race(lr).training(name, 0), target)
            for step in range(1, config.steps + 1):
                run.advance()
                if step % BEAT == 0:
                    yield replace(result, share=(done + step) / total)
            done += config.steps
            last = run.look(target, judged, result.floor)
            values = {"quality": last["quality"], "error": last["error"]}
            values["diverged"] = run.diverged
            changed = {key: getattr(result, key).copy() for key in values}
            for key, value in values.items():
                changed[key][e, f] = value
            result = replace(result, share=done / total, **changed)
            yield result


@dataclass(frozen=True, kw_only=True)
class TargetsConfig(_Entry):
    """What the exact field says of each regression, before any training.

    Attributes:
        data: spec of the data set.
        n: pairs a time.
        times: how many, evenly from 0 to the path's t_max.
    """

    VERSION: ClassVar[int] = 1

    data: str = "checkerboard"
    n: int = 600
    times: int = 41


@dataclass(frozen=True, kw_only=True, eq=False)
class Targets:
    """What each entrant's network is asked for, at T times.

    Attributes:
        entrants: their names, E; see `entrant`.
        times: (E, T).
        size: (E, T), root mean square per dimension of what the best network says.
        share: (E, T), how much of the target's variance x_t determines; the rest is what makes
            gradients noisy.
    """

    entrants: tuple[str, ...]
    times: NDArray[np.float64]
    size: NDArray[np.float64]
    share: NDArray[np.float64]


@torch.no_grad()
def compute_targets(config: TargetsConfig) -> Targets:
    """Sizes and predictable shares of the regression targets, in closed form but for the mean."""
    target = dataset(config.data)
    generator = stream(0, "targets")
    x_1 = target.sample(config.n, generator).double()
    x_0 = torch.randn(x_1.shape, generator=generator, dtype=torch.float64)
    times, sizes, shares = [], [], []
    for each in config.entrants.values():
        path, objective = AffinePath(scheduler(each.path)), OBJECTIVES[each.objective]
        exact = exact_field(path, target.distribution)
        clock = path.clock(config.times)
        rows = []
        for t in clock:
            x = path.flow(t, x_0, x_1)
            c = path.coefficients(t, x)
            q_1, q_0 = objective.target(c)
            best = q_1 * exact.data_mean(t, x) + q_0 * exact.noise_mean(t, x)
            drawn = q_1 * x_1 + q_0 * x_0
            spread = (drawn - drawn.mean(dim=0)).square().mean()
            rows.append((best.square().mean().sqrt(), 1 - (drawn - best).square().mean() / spread))
        times.append(clock.numpy())
        size, share = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
        sizes.append(size)
        shares.append(np.clip(share, 0, 1))
    return Targets(
        entrants=tuple(config.entrants),
        times=np.array(times),
        size=np.array(sizes),
        share=np.array(shares),
    )


@dataclass
class _Run:
    """One training with its clock; a run whose loss is no longer a number stands still."""

    config: TrainConfig
    target: Dataset
    seconds: float = 0.0
    broken: int = 0
    state: PlaneRun | None = None
    since: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.steps = train(self.config, self.target)
        self.probe: Probe | None = None

    def advance(self) -> None:
        """Makes one step, on the clock of this thread's own computing."""
        if self.broken:
            return
        start = time.thread_time()
        self.state = next(self.steps)
        self.seconds += time.thread_time() - start
        self.since.append(torch.stack([self.state.loss, self.state.gradient_norm.detach()]))

    def look(self, target: Dataset, judged: EvaluateConfig, floor: float) -> dict[str, float]:
        """What is seen of the run now, by the names of RaceResult; what cannot be had is NaN."""
        assert self.state is not None
        seen = dict.fromkeys(("quality", "error", "excess"), float("nan"))
        loss, gradient = float("nan"), float("nan")
        if self.since:
            loss, gradient = torch.stack(self.since).double().mean(dim=0).tolist()
            self.since.clear()
        if not np.isfinite(loss):
            self.broken = self.broken or self.state.step
            return seen | {"seconds": self.seconds, "loss": loss, "gradient": gradient}
        ema = self.state.ema
        self.probe = self.probe or Probe(ema, self.target, self.config.seed)
        seen |= {"error": self.probe.error(ema), "excess": self.probe.excess(ema)}
        try:
            found = evaluate(ema, target, judged, floor={METRIC: floor})
            seen["quality"] = found.measures[METRIC].value
        except SolveError:  # a field that throws samples out of the plane has no quality
            pass
        return seen | {"seconds": self.seconds, "loss": loss, "gradient": gradient}

    @property
    def diverged(self) -> bool:
        """Whether training has done worse than nothing; known after a look."""
        if self.broken or self.probe is None or self.state is None:
            return bool(self.broken)
        return self.probe.excess(self.state.model) > self.probe.excess_of_nothing()


def _judged(seed: int) -> EvaluateConfig:
    return EvaluateConfig(n=SAMPLES, seed=seed, metrics=(METRIC,), **SOLVER)
