"""Live training of one or two paths in lock-step, with snapshots of curves and samples.

Both networks start from the same weights and see the same data, noise and times at every step;
only the path differs.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowviz.datasets import Dataset, dataset
from flowviz.device import choose_device, finest_float
from flowviz.draws import stream
from flowviz.experiments.starts import starts
from flowviz.fields import ExactField, FlowMap, LearnedField, exact_field_of
from flowviz.metrics import METRICS
from flowviz.progress import Progress, Stopped, stopping
from flowviz.schedulers import scheduler
from flowviz.solvers import SolveError, solve, steps_for
from flowviz.training import PlaneRun, TrainConfig, irreducible_loss, train
from flowviz.training.times import stratified

T = TypeVar("T")

QUALITY = "sliced-w2"
"""The metric of the live samples, a name in METRICS."""
MEASURED = 4_000
"""Number of samples for the live quality."""
NFE = 20
"""Number of function evaluations of a live sample, by the midpoint method."""
JUMPS = 2
"""Number of jumps of a live sample of a flow map."""
POINTS = 400
"""Maximum number of points of a curve; beyond it, neighbours are averaged."""
FRAMES = 80
"""Maximum number of stored pictures; beyond it, every second one is dropped."""
PROBES = 2_048
"""Number of fixed states at which the network is compared with the exact field."""
PUBLISH = 0.25
"""Seconds between snapshots."""
RATED = 3.0
"""Seconds over which the rate of steps is averaged."""
LAST_LOOK = 0.5
"""Seconds that live samples may take after a stop request."""
CHUNK = 512
"""Batch size of exact fields: a data set may have 10,000 components."""


def sampler(jumps: bool) -> dict[str, Any]:
    """The method and the NFE of live samples: `jumps` of a flow map, or of a velocity field."""
    return {"method": "jumps", "nfe": JUMPS} if jumps else {"method": "midpoint", "nfe": NFE}


@dataclass(frozen=True)
class Trace:
    """The curves of one path; all arrays of one curve have the same length."""

    path: str
    """Spec of the path."""
    label: str
    """Its name in legends."""
    steps: NDArray[np.int64]
    loss: NDArray[np.float64]
    """The mean loss since the previous point."""
    smoothed: NDArray[np.float64]
    """`loss`, averaged over the last eighth of the run so far."""
    gradient_norm: NDArray[np.float64]
    floor: float | None
    """The loss of the best possible field, where it is known (to about 2%)."""
    probe_steps: NDArray[np.int64]
    excess: NDArray[np.float64] | None
    """Loss of the averaged weights minus its floor: their weighted squared distance to the exact
    field at fixed states (theorem 2 of Lipman et al. 2022). None if that field is unknown."""
    quality_steps: NDArray[np.int64]
    quality: NDArray[np.float64]
    """The distance QUALITY of the live samples to data."""
    samples: NDArray[np.float32] | None
    """The newest live samples, (n, 2), from the same noise every time."""


@dataclass(frozen=True)
class Snapshot:
    """A training run at one step, as immutable numbers and arrays."""

    step: int
    steps: int
    seconds: float
    """Since the first step."""
    rate: float
    """Recent steps per second; one step trains all paths."""
    remaining: float
    """Estimated remaining seconds."""
    traces: tuple[Trace, ...]
    data: NDArray[np.float32]
    """Points of the data set, (n, 2)."""
    data_quality: float
    """QUALITY between two samples of the data: the value of a perfect sampler."""
    frame_steps: tuple[int, ...]
    frames: tuple[tuple[NDArray[np.float32], ...], ...]
    """Earlier live samples: for each of `frame_steps` one array (n, 2) per path."""
    trouble: str = ""
    """Why there are no new samples, in one sentence; empty when there are."""
    classes: NDArray[np.int64] | None = None
    """The classes of `data`, (n,), if the data set has classes."""


class LiveTraining:
    """One or two training runs that advance in lock-step.

    Args:
        configs: what to train; they must agree in data, seed, batch and steps.
        dataset: the data set that they name.
        device: where; the CPU by default.
        particles: number of samples in a live picture.
        measured: number of samples for the quality. With 1,500, sliced W2 between two
            samples of the checkerboard is already 0.2.
        interval: minimum seconds between live pictures.
        share: largest share of the time spent on live pictures and curves.

    Raises:
        ValueError: the configs do not go together.
    """

    def __init__(
        self,
        configs: Sequence[TrainConfig],
        dataset: Dataset,
        *,
        device: torch.device | None = None,
        particles: int = 1_500,
        measured: int = MEASURED,
        interval: float = 1.0,
        share: float = 0.2,
    ) -> None:
        shared = {(c.data, c.seed, c.batch, c.steps) for c in configs}
        if len(shared) != 1:
            raise ValueError(
                "Runs in lock-step must have the same data, seed, batch and steps; "
                f"got {len(configs)} that do not."
            )
        self.configs = tuple(configs)
        self.dataset = dataset
        self.interval, self.share = interval, share
        seed = configs[0].seed
        self.particles = min(particles, measured)
        self.measured, self.seed = measured, seed
        self.reference = dataset.sample(measured, stream(seed, "reference"))
        self._classes = dataset.sampled_classes(measured, stream(seed, "reference"))
        floor_sample = dataset.sample(measured, stream(seed, "floor"))
        self.data_quality = self._quality(floor_sample)
        self._runs = [train(config, dataset, device=device) for config in configs]
        self.states: tuple[PlaneRun, ...] = ()
        self._curves = [_Curves(config, dataset) for config in configs]
        self._frames = _Thinned[tuple[int, tuple[NDArray[np.float32], ...]]](FRAMES)
        self._trouble = ""
        self._start = self._published = self._next_picture = time.monotonic()
        self._rate = 0.0
        self._rated = (0, self._start)
        self.step = 0
        self._measure_seconds = 0.0
        self.snapshot = self._describe()

    @property
    def done(self) -> bool:
        """Whether all steps have been made."""
        return self.step >= self.configs[0].steps

    @property
    def fields(self) -> tuple[LearnedField, ...]:
        """The averaged fields, one per path; empty before the first step."""
        return tuple(state.ema for state in self.states)

    def advance(self) -> None:
        """Makes one step of every path, and a new `snapshot` if one is due.

        Raises:
            ValueError: the loss of a path is no longer a number.
        """
        self.states = tuple(next(run) for run in self._runs)
        self.step += 1
        for curves, state in zip(self._curves, self.states, strict=True):
            curves.see(state)
        now = time.monotonic()
        if now >= self._next_picture or self.done:
            self.measure()
        elif now - self._published >= PUBLISH:
            self._publish(now)

    def measure(self) -> None:
        """Draws live samples, measures them, and makes a new `snapshot`.

        If a stop is requested meanwhile, the snapshot keeps the previous samples.
        """
        start = time.monotonic()
        if self.states:
            for curves, state in zip(self._curves, self.states, strict=True):
                curves.probe(state)
            try:
                samples = tuple(self._sample(state.ema) for state in self.states)
                self._trouble = ""
            except SolveError as error:
                self._trouble = f"No live samples at step {self.step}: {error}"
            except Stopped:
                self._measure_seconds = math.inf
                self._publish(time.monotonic())
                return
            else:
                visible = tuple(sample[: self.particles].numpy().copy() for sample in samples)
                for curves, sample, part in zip(self._curves, samples, visible, strict=True):
                    curves.samples = part
                    curves.quality.add((self.step, self._quality(sample)))
                self._frames.add((self.step, visible))
        now = time.monotonic()
        self._measure_seconds = now - start
        self._next_picture = now + max(self.interval, self._measure_seconds / self.share)
        self._publish(now)

    def end(self) -> None:
        """Makes the last snapshot after a stop request, with new samples if they take no time."""
        if self._measure_seconds > LAST_LOOK:
            self._publish(time.monotonic())
        else:
            self.measure()

    @torch.no_grad()
    def _sample(self, field: LearnedField) -> Tensor:
        x_0 = starts(field.path, self.measured, self.seed).to(field.mean.device)
        times = field.path.clock(2)
        settings = sampler(isinstance(field, FlowMap))
        return (
            solve(field, x_0, times, settings["method"], steps=steps_for(**settings))
            .states[-1]
            .cpu()
        )

    def _quality(self, samples: Tensor) -> float:
        return METRICS[QUALITY](samples, self.reference, self.dataset.distribution)

    def _publish(self, now: float) -> None:
        step, then = self._rated
        if now - then >= RATED or not step:  # the first mean grows with each snapshot
            self._rate = (self.step - step) / max(now - then, 1e-9)
        if now - then >= RATED:
            self._rated = (self.step, now)
        self._published = now
        self.snapshot = self._describe()

    def _describe(self) -> Snapshot:
        frames = self._frames.items()
        return Snapshot(
            step=self.step,
            steps=self.configs[0].steps,
            seconds=time.monotonic() - self._start,
            rate=self._rate,
            remaining=(self.configs[0].steps - self.step) / self._rate if self._rate else 0.0,
            traces=tuple(curves.trace() for curves in self._curves),
            data=self.reference[: self.particles].numpy(),
            data_quality=self.data_quality,
            frame_steps=tuple(step for step, _ in frames),
            frames=tuple(samples for _, samples in frames),
            trouble=self._trouble,
            classes=None if self._classes is None else self._classes[: self.particles],
        )


@dataclass(frozen=True)
class LiveResult:
    """Training at one step.

    Attributes:
        configs: what is trained, one config for each path.
        snapshot: curves and samples.
        fields: the trained fields on the CPU, one for each path; empty before the end.
    """

    configs: tuple[TrainConfig, ...]
    snapshot: Snapshot
    fields: tuple[LearnedField, ...] = ()


def train_live(
    configs: Sequence[TrainConfig], *, progress: Progress | None = None
) -> Iterator[LiveResult]:
    """Trains one or two paths in lock-step; yields each new snapshot, and last the fields.

    After a stop request the fields of the steps so far are yielded.

    Raises:
        ValueError: the configs do not agree, or the loss of a path is no longer a number.
    """
    progress, configs = progress or Progress(), tuple(configs)
    live = LiveTraining(configs, dataset(configs[0].data, sources=True), device=choose_device())
    published = None
    while not live.done and not progress.should_stop():
        if live.snapshot is not published:
            published = live.snapshot
            yield LiveResult(configs, published)
        try:
            with stopping(progress.should_stop):
                live.advance()
        except Stopped:
            break
        progress.share = live.step / configs[0].steps
    if live.states and not live.done:
        live.end()
    yield LiveResult(configs, live.snapshot, tuple(field.cpu().eval() for field in live.fields))


class _Curves:
    """The recorded curves of one path."""

    def __init__(self, config: TrainConfig, dataset: Dataset) -> None:
        self.config = config
        self.samples: NDArray[np.float32] | None = None
        self.quality = _Thinned[tuple[int, float]](POINTS)
        self._excess = _Thinned[tuple[int, float]](POINTS)
        self._averages = _Averages(POINTS)
        self._floor = irreducible_loss(config, dataset, n=8_192, chunk=CHUNK)
        self._dataset = dataset
        self._probe: Probe | None = None

    def see(self, state: PlaneRun) -> None:
        """Records the loss of the last step."""
        mean = self._averages.add(state.step, torch.stack([state.loss, state.gradient_norm]))
        if mean is not None and not np.isfinite(mean[0]):
            raise ValueError(
                f"The loss of the {state.model.path.scheduler.label} path was no longer a number "
                f"at step {state.step}; use a learning rate below {self.config.lr:g}."
            )

    def probe(self, state: PlaneRun) -> None:
        """Compares the averaged weights with the exact field, if it is known."""
        if self._floor is None:
            return
        self._probe = self._probe or Probe(state.ema, self._dataset, self.config.seed)
        self._excess.add((state.step, self._probe.excess(state.ema)))

    def trace(self) -> Trace:
        """The curves of this path."""
        steps, means = self._averages.items()
        probe_steps, excess = _columns(self._excess.items())
        quality_steps, quality = _columns(self.quality.items())
        return Trace(
            path=self.config.path,
            label=scheduler(self.config.path).label,
            steps=steps,
            loss=means[:, 0],
            smoothed=_smoothed(means[:, 0]),
            gradient_norm=means[:, 1],
            floor=self._floor,
            probe_steps=probe_steps,
            excess=None if self._floor is None else excess,
            quality_steps=quality_steps,
            quality=quality,
            samples=self.samples,
        )


class Probe:
    """Fixed states of a path, with the exact prediction at each."""

    def __init__(self, field: LearnedField, dataset: Dataset, seed: int) -> None:
        path, device = field.path, field.mean.device
        exact = exact_field_of(path, dataset)
        generator = stream(seed, "probes")
        x_1 = dataset.sample(PROBES, generator)
        x_0 = dataset.starts(PROBES, generator)
        t = path.time(stratified(PROBES, generator))
        x = path.flow(t, x_0, x_1).double()
        c = path.coefficients(t, x)
        q_1, q_0 = field.objective.target(c)
        best = torch.cat([_best(exact, *part) for part in _chunks(t, x, q_1, q_0)])
        velocity, weight = field.objective.velocity(path, t, x, best), field.objective.weight(c)
        self.x = x.float().to(device)
        self.t, self.best, self.velocity, self.weight = (
            value.to(device, finest_float(device)) for value in (t, best, velocity, weight)
        )

    @torch.no_grad()
    def excess(self, field: LearnedField) -> float:
        """The mean weighted squared distance to the exact prediction, per dimension."""
        error = field.predict(self.t, self.x) - self.best
        return (self.weight * error.square()).mean().item()

    @torch.no_grad()
    def error(self, field: LearnedField) -> float:
        """The RMS distance to the exact velocity, relative to the RMS of that velocity."""
        error = field(self.t, self.x) - self.velocity
        return (error.square().mean() / self.velocity.square().mean()).sqrt().item()

    def excess_of_zero(self) -> float:
        """The excess of a field that predicts 0 everywhere."""
        return (self.weight * self.best.square()).mean().item()


class _Thinned(Generic[T]):
    """At most about `capacity` items of a series, evenly spread, and the last one."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: list[T] = []
        self._newest: T | None = None
        self._interval = 1
        self._count = 0

    def add(self, item: T) -> None:
        """Adds an item."""
        self._newest = item
        if self._count % self._interval == 0:
            self._items.append(item)
            if len(self._items) > self._capacity:
                self._items = self._items[::2]
                self._interval *= 2
        self._count += 1

    def items(self) -> list[T]:
        """The stored items in order."""
        if self._newest is not None and self._items[-1] is not self._newest:
            return [*self._items, self._newest]
        return list(self._items)


class _Averages:
    """Means over equal intervals of steps, at most `capacity` of them."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._ends: list[int] = []
        self._means: list[NDArray[np.float64]] = []
        self._interval = 1
        self._pending: list[Tensor] = []

    def add(self, step: int, values: Tensor) -> NDArray[np.float64] | None:
        """Adds the values (2,) of a step; returns their mean (2,) at the end of an interval."""
        self._pending.append(values)
        if len(self._pending) < self._interval:
            return None
        mean = torch.stack(self._pending).cpu().double().mean(dim=0).numpy()
        self._pending = []
        self._ends.append(step)
        self._means.append(mean)
        if len(self._means) >= self._capacity:
            pairs = zip(self._means[::2], self._means[1::2], strict=True)
            self._means = [(first + second) / 2 for first, second in pairs]
            self._ends = self._ends[1::2]
            self._interval *= 2
        return mean

    def items(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The last step of each interval (k,) and the means (k, 2)."""
        return np.array(self._ends, dtype=np.int64), np.reshape(self._means, (-1, 2)).astype(float)


def _best(exact: ExactField, t: Tensor, x: Tensor, q_1: Tensor, q_0: Tensor) -> Tensor:
    noise, data = exact.means(t, x)
    return q_1 * data + q_0 * noise


def _chunks(*tensors: Tensor) -> zip:
    return zip(*(tensor.split(CHUNK) for tensor in tensors), strict=True)


def _columns(pairs: list[tuple[int, float]]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    return (
        np.array([step for step, _ in pairs], dtype=np.int64),
        np.array([value for _, value in pairs], dtype=np.float64),
    )


def _smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of the last eighth of the values up to each one: the loss falls fast at first."""
    ends = np.arange(1, len(values) + 1)
    starts = ends - 1 - (ends - 1) // 8
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return (sums[ends] - sums[starts]) / (ends - starts)
