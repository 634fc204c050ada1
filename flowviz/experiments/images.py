"""Images from noise: samples, grids, film-strips, interpolations and sweeps of a checkpoint.

Every function takes loaded checkpoints and a frozen `ImageConfig` and gives arrays; what takes
long is a generator of parts in the order in which they can be shown, and asks `should_stop` before
each evaluation. The noise of an image depends on the seed and its place alone, so that two
checkpoints given one config start from the same noise.

Costs are counted, never computed. `nfe` counts evaluations of the velocity field, as papers do;
`passes` counts how often the network saw an image, for each image drawn: one an evaluation, or two
where guidance needs the class and the null class both.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from flowviz.bounds import MAX_SEED, check_bounds
from flowviz.checkpoints.images import ImageCheckpoint
from flowviz.datasets.images import ImageSet
from flowviz.device import limit_threads
from flowviz.distributed import current
from flowviz.draws import noise
from flowviz.fields import LearnedField
from flowviz.fields.guided import GuidedField
from flowviz.grids import GRIDS
from flowviz.paths import AffinePath
from flowviz.solvers import METHODS, Solution, SolveCancelled, solve, steps_for
from flowviz.straightness import Straightness, marginal_straightness

__all__ = [
    "BATCH",
    "STUDY_NFES",
    "ClassField",
    "Film",
    "GridRow",
    "ImageConfig",
    "SampleBatch",
    "Samples",
    "all_classes",
    "field_of",
    "film",
    "image_noise",
    "interpolation",
    "montage",
    "nearest_nfe",
    "nfe_grid",
    "pixel_straightness",
    "sample",
    "sample_all",
    "spherical",
]

STUDY_NFES = (2, 5, 10, 20, 50, 100)
"""The rows of the grid in the reproduction study's slides."""

BATCH = 16
"""Images drawn together: enough to keep a core busy, few enough to be shown soon."""

MOST_IMAGES = 50_000


@dataclass(frozen=True, kw_only=True)
class ImageConfig:
    """One way to draw images: only names and numbers, so that it can be a cache key.

    Attributes:
        solver: name in METHODS.
        nfe: evaluations of a fixed-step solver; adaptive ones ignore it.
        tol: tolerance of an adaptive solver; the others ignore it.
        grid: name in GRIDS, where the steps of a fixed-step solver lie.
        classes: image i is of class classes[i % len(classes)]; () draws without a class.
        guidance: weight of classifier-free guidance, see `GuidedField`; 1 is the plain class.
        n: images.
        seed: of the noise.
    """

    solver: str = "midpoint"
    nfe: int = 20
    tol: float = 1e-3
    grid: str = "uniform"
    classes: tuple[int, ...] = ()
    guidance: float = 2.0
    n: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        check_bounds(
            self,
            nfe=(1, 10_000),
            n=(1, MOST_IMAGES),
            seed=(0, MAX_SEED),
            guidance=(0.0, 100.0),
        )
        if not 0 < self.tol < 1:
            raise ValueError(f"tol must be in (0, 1); got {self.tol:g}.")
        _ = METHODS[self.solver], GRIDS[self.grid]
        if any(k < 0 for k in self.classes):
            raise ValueError(f"A class must be 0 or more; got {min(self.classes)}.")

    @property
    def adaptive(self) -> bool:
        """Whether the solver chooses its own steps."""
        return METHODS[self.solver].adaptive


class SampleBatch(NamedTuple):
    """Images i with start <= i < start + b, as they come."""

    start: int
    images: NDArray[np.uint8]
    """(b, C, H, W)."""
    labels: NDArray[np.int64]
    """(b,), the classes asked for; -1 where none was."""
    nfe: int
    """Evaluations of the field."""
    passes: float
    """Network passes for each image."""
    step_times: NDArray[np.float64]
    """(S + 1,), where the accepted steps begin and, last, end."""
    rejected: NDArray[np.float64]
    """(R, 2), start and length of the steps that an adaptive solver refused."""


@dataclass(frozen=True)
class Samples:
    """Images with what they cost.

    Attributes:
        images: (n, C, H, W) uint8.
        labels: (n,) the classes asked for; -1 where none was.
        nfe: evaluations of the field; of an adaptive solver their mean over the images, since
            each batch has its own steps.
        passes: network passes for each image, likewise.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    nfe: float
    passes: float


class GridRow(NamedTuple):
    """One row of one side of the grid over NFE."""

    side: int
    """Which of the checkpoints."""
    wanted: int
    """The NFE asked for."""
    nfe: int
    """The NFE counted: the nearest below that the solver can take, or its least."""
    passes: float
    images: NDArray[np.uint8]
    """(n, C, H, W)."""


@dataclass(frozen=True)
class Film:
    """Images over time: the states, and what the field takes each for.

    Attributes:
        times: (T,) rising from 0 to the path's last time.
        states: (T, n, C, H, W) uint8: x_t, cut to the range of pixels.
        predictions: (T, n, C, H, W) uint8: E[x_1 | x_t], likewise; with guidance, what the guided
            velocity takes x_1 for.
        noise: (T,) the share of noise in x_t by standard deviation, sigma / |(alpha s, sigma)| for
            data of standard deviation s.
        remaining: (T, n) root mean square distance of the prediction from the final image, in
            units of [-1, 1].
        nfe: evaluations that the solve took; the predictions took one more a time.
    """

    times: NDArray[np.float64]
    states: NDArray[np.uint8]
    predictions: NDArray[np.uint8]
    noise: NDArray[np.float64]
    remaining: NDArray[np.float64]
    nfe: int


class ClassField:
    """The velocity field of a checkpoint for images of given classes, counted.

    Attributes:
        path: its path.
        nfe: evaluations so far.
        rows: images that the network has seen so far.
    """

    def __init__(self, checkpoint: ImageCheckpoint, y: Tensor | None, guidance: float) -> None:
        own = checkpoint.field
        self.path: AffinePath = own.path
        self.nfe = 0
        self.network = _Counted(own.network)
        counted = LearnedField(
            self.network,
            own.path,
            own.objective,
            mean=own.mean,
            std=own.std,
            preconditioned=own.preconditioned,
            clocked=own.clocked,
        )
        self.field = counted if y is None else GuidedField(counted, y, guidance)

    @property
    def rows(self) -> int:
        """Images that the network has seen so far."""
        return self.network.rows

    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        """The velocity at t () and x (B, C, H, W), shape (B, C, H, W)."""
        self.nfe += 1
        return self.field(t, x)

    def data(self, t: Tensor, x: Tensor) -> Tensor:
        """E[x_1 | x_t = x], shape (B, C, H, W), by one more evaluation."""
        return self.path.data_from_velocity(t, x, self(t, x))


class _Counted(nn.Module):
    """A network that counts the images it sees; the network itself stays shared and unchanged."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.num_classes: int = network.num_classes
        self.rows = 0

    def forward(self, time: Tensor, x: Tensor, y: Tensor | None = None) -> Tensor:
        self.rows += len(x)
        return self.network(time, x) if y is None else self.network(time, x, y)


def image_noise(shape: tuple[int, int, int], n: int, seed: int) -> Tensor:
    """Standard normal noise for n images of (C, H, W), float32 (n, C, H, W).

    Image i has the same noise whatever n is.
    """
    return noise(n, seed, shape)


def labels_of(checkpoint: ImageCheckpoint, config: ImageConfig) -> Tensor | None:
    """The classes of the images, (n,) int64; None if the network knows none or none was asked.

    Raises:
        ValueError: a class was asked for that the checkpoint does not know.
    """
    if not config.classes:
        return None
    if not checkpoint.conditional:
        raise ValueError(
            f"{checkpoint.card.name} was trained without classes; draw without a class."
        )
    known = checkpoint.field.network.num_classes
    if max(config.classes) >= known:
        raise ValueError(
            f"{checkpoint.card.name} knows the classes 0 to {known - 1}; got "
            f"{max(config.classes)}."
        )
    return torch.tensor(config.classes)[torch.arange(config.n) % len(config.classes)]


def field_of(checkpoint: ImageCheckpoint, y: Tensor | None, guidance: float = 1.0) -> ClassField:
    """The counted velocity field of a checkpoint for images of classes y (B,), None for none."""
    return ClassField(checkpoint, y, guidance)


def nearest_nfe(solver: str, nfe: int) -> int:
    """The most evaluations up to `nfe` that a fixed-step solver can take, or its least."""
    entry = METHODS[solver]
    return entry.nfe(entry.steps_within(nfe))


def sample(
    checkpoint: ImageCheckpoint,
    config: ImageConfig,
    *,
    batch: int = BATCH,
    device: torch.device | None = None,
    should_stop: Callable[[], bool] | None = None,
    starts: Sequence[int] | None = None,
) -> Iterator[SampleBatch]:
    """Images of a checkpoint, batch after batch.

    Args:
        checkpoint: whose.
        config: which.
        batch: images drawn together; the steps of an adaptive solver depend on it.
        device: where; the checkpoint's own by default.
        should_stop: asked before each evaluation; if it says yes, SolveCancelled is raised.
        starts: where the batches to draw begin, of 0, batch, 2 batch ...; all by default.

    Raises:
        ValueError: the config does not fit the checkpoint.
        SolveError, SolveCancelled: as `flowviz.solvers.solve`.
    """
    noise = image_noise(checkpoint.shape, config.n, config.seed)
    y = labels_of(checkpoint, config)
    if device is not None:
        checkpoint.field.to(device)
    here = _device(checkpoint)
    for start in starts if starts is not None else range(0, config.n, batch):
        part = slice(start, start + batch)
        own = None if y is None else y[part].to(here)
        field = field_of(checkpoint, own, config.guidance)
        x_0 = noise[part].to(here)
        solution = _solve(field, x_0, config, should_stop=should_stop)
        yield SampleBatch(
            start,
            _pixels(solution.states[-1]),
            np.full(len(x_0), -1) if own is None else own.cpu().numpy(),
            solution.nfe,
            field.rows / len(x_0),
            solution.step_times.cpu().numpy(),
            solution.rejected.cpu().numpy(),
        )


def sample_all(
    checkpoint: ImageCheckpoint,
    config: ImageConfig,
    *,
    batch: int = BATCH,
    device: torch.device | None = None,
    should_stop: Callable[[], bool] | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> Samples:
    """All images of `sample` together; `on_batch` hears how many are drawn.

    Processes that torchrun started draw them batch by batch between them; each gets all.
    """
    group = current()
    if not config.adaptive:  # whose steps do not depend on the batch
        batch = min(batch, -(-config.n // group.world))
    starts = range(0, config.n, batch)
    starts = starts[group.share(len(starts))]
    parts = [_nothing(checkpoint)]
    for part in sample(
        checkpoint, config, batch=batch, device=device, should_stop=should_stop, starts=starts
    ):
        parts.append(part)
        if on_batch is not None:
            on_batch(min(config.n, group.world * (part.start + len(part.images) - starts[0])))

    def together(values: Iterable[NDArray]) -> NDArray:
        return group.gather(torch.from_numpy(np.concatenate(list(values)))).numpy()

    def mean(values: Iterable[float]) -> float:
        pairs = zip(parts, values, strict=True)
        return float(together(np.full(len(part.images), float(v)) for part, v in pairs).mean())

    return Samples(
        together(part.images for part in parts),
        together(part.labels for part in parts),
        mean(part.nfe for part in parts),
        mean(part.passes for part in parts),
    )


def _nothing(checkpoint: ImageCheckpoint) -> SampleBatch:
    """A batch of no images, for a process that has none to draw."""
    images, labels = np.empty((0, *checkpoint.shape), np.uint8), np.empty(0, np.int64)
    return SampleBatch(0, images, labels, 0, 0.0, np.empty(0), np.empty(0))


def nfe_grid(
    checkpoints: Sequence[ImageCheckpoint],
    config: ImageConfig,
    nfes: Sequence[int] = STUDY_NFES,
    *,
    workers: int = 1,
    should_stop: Callable[[], bool] | None = None,
) -> Iterator[GridRow]:
    """The study's grid, row after row from the least NFE on: each row of all checkpoints in turn.

    Column i starts from the same noise, in all rows and on all sides.

    Args:
        checkpoints: the sides.
        config: how images are drawn; its `nfe` is replaced.
        nfes: the rows.
        workers: sides drawn beside each other, each by one thread (`flowviz.device.processors`).
        should_stop: asked before each evaluation; if it says yes, SolveCancelled is raised.

    Raises:
        ValueError: the solver is adaptive, so that it cannot be told an NFE.
    """
    if config.adaptive:
        raise ValueError(f"{config.solver} chooses its own NFE; take a solver of fixed steps.")
    rows = [replace(config, nfe=nearest_nfe(config.solver, wanted)) for wanted in nfes]

    def drawn(row: ImageConfig, checkpoint: ImageCheckpoint) -> Samples:
        return sample_all(checkpoint, row, batch=row.n, should_stop=should_stop)

    with ThreadPoolExecutor(workers, initializer=partial(limit_threads, 1)) as pool:
        for wanted, row in zip(nfes, rows, strict=True):
            if workers > 1:
                sides = pool.map(partial(drawn, row), checkpoints)
            else:
                sides = map(partial(drawn, row), checkpoints)
            for side, samples in enumerate(sides):
                yield GridRow(side, wanted, round(samples.nfe), samples.passes, samples.images)


def film(
    checkpoint: ImageCheckpoint,
    config: ImageConfig,
    *,
    frames: int = 21,
    should_stop: Callable[[], bool] | None = None,
) -> Film:
    """The states of the first images and the data that the field predicts from them, over time.

    The frames are even in t. Between the steps of a fixed-step solver they lie on the chord, so
    that a step a frame or a whole number of them shows the solver's own states.

    Raises:
        ValueError: the config does not fit the checkpoint, or there are fewer than two frames.
        SolveError, SolveCancelled: as `flowviz.solvers.solve`.
    """
    if frames < 2:
        raise ValueError(f"A film needs two frames or more; got {frames}.")
    field, x_0 = _started(checkpoint, config)
    path = field.path
    times = path.clock(frames)
    solution = _solve(field, x_0, config, times=times, should_stop=should_stop)
    predicted = []
    with torch.no_grad():
        for t, x in zip(times, solution.states, strict=True):
            if should_stop is not None and should_stop():
                raise SolveCancelled
            predicted.append(field.data(t, x))
    predictions = torch.stack(predicted)
    c = path.scheduler(times)
    away = predictions - solution.states[-1]
    return Film(
        times.numpy(),
        _pixels(solution.states),
        _pixels(predictions),
        (c.sigma / torch.hypot(c.alpha * checkpoint.field.std, c.sigma)).numpy(),
        away.double().square().flatten(2).mean(dim=2).sqrt().cpu().numpy(),
        solution.nfe,
    )


def spherical(a: Tensor, b: Tensor, shares: Tensor) -> Tensor:
    """Points on the great arcs from noises a to b, each (B, *), at shares (K,): (B, K, *).

    Between two normal noises of many dimensions they have the length that noise has, where points
    of the chord would be too short (Song et al. 2020, https://arxiv.org/abs/2010.02502, eq. 67).
    """
    flat_a, flat_b = a.double().flatten(1), b.double().flatten(1)
    lengths = flat_a.norm(dim=1) * flat_b.norm(dim=1)
    angle = torch.acos(((flat_a * flat_b).sum(dim=1) / lengths).clamp(-1, 1))[:, None, None]
    s = shares.double()[None, :, None]
    safe = torch.sin(angle).clamp_min(1e-12)
    near = angle < 1e-6  # equal noises: the arc is a point
    weight_a = torch.where(near, 1 - s, torch.sin((1 - s) * angle) / safe)
    weight_b = torch.where(near, s, torch.sin(s * angle) / safe)
    points = weight_a * flat_a[:, None] + weight_b * flat_b[:, None]
    return points.to(a).reshape(len(a), len(shares), *a.shape[1:])


def interpolation(
    checkpoint: ImageCheckpoint,
    config: ImageConfig,
    *,
    to_seed: int,
    steps: int = 8,
    should_stop: Callable[[], bool] | None = None,
) -> NDArray[np.uint8]:
    """Images along great arcs of noise, from that of the seed to that of `to_seed`.

    Returns (n, steps, C, H, W): a row for each of the config's images, which keeps its class.
    """
    ends = [image_noise(checkpoint.shape, config.n, seed) for seed in (config.seed, to_seed)]
    noise = spherical(*ends, torch.linspace(0, 1, steps))
    y = labels_of(checkpoint, config)
    wide = None if y is None else y.repeat_interleave(steps)
    images = _draw(checkpoint, config, noise.flatten(0, 1), wide, config.guidance, should_stop)
    return images.reshape(config.n, steps, *checkpoint.shape)


def all_classes(
    checkpoint: ImageCheckpoint,
    config: ImageConfig,
    *,
    should_stop: Callable[[], bool] | None = None,
) -> NDArray[np.uint8]:
    """Every class from one noise: (n, K, C, H, W), a row for each of the config's noises.

    Raises:
        ValueError: the checkpoint knows no classes.
    """
    if not checkpoint.conditional:
        raise ValueError(f"{checkpoint.card.name} was trained without classes.")
    known = checkpoint.field.network.num_classes
    noise = image_noise(checkpoint.shape, config.n, config.seed)
    wide = noise.repeat_interleave(known, dim=0)
    y = torch.arange(known).repeat(config.n)
    images = _draw(checkpoint, config, wide, y, config.guidance, should_stop)
    return images.reshape(config.n, known, *checkpoint.shape)


def pixel_straightness(
    checkpoint: ImageCheckpoint,
    config: ImageConfig,
    *,
    tol: float = 1e-3,
    should_stop: Callable[[], bool] | None = None,
) -> Straightness:
    """How straight the ways of the config's n noises to their images are, summed over pixels.

    The ways are those of Dormand and Prince's method at `tol`, seen at 161 times: about 300
    evaluations for each image, or twice as many passes with guidance.

    Raises:
        ValueError, SolveError, SolveCancelled: as `sample`.
    """
    field, noise = _started(checkpoint, config)
    return marginal_straightness(field, noise, tol=tol, should_stop=should_stop)


def montage(images: NDArray[np.uint8], columns: int, *, gap: int = 1) -> NDArray[np.uint8]:
    """Images (n, C, H, W) in rows of `columns` on white, (height, width, C) uint8."""
    n, channels, height, width = images.shape
    rows = -(-n // columns)
    cell_h, cell_w = height + gap, width + gap
    sheet = np.full((rows * cell_h + gap, columns * cell_w + gap, channels), 255, np.uint8)
    for i, image in enumerate(images):
        top, left = (i // columns) * cell_h + gap, (i % columns) * cell_w + gap
        sheet[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return sheet


def _device(checkpoint: ImageCheckpoint) -> torch.device:
    return next(checkpoint.field.parameters()).device


def _started(checkpoint: ImageCheckpoint, config: ImageConfig) -> tuple[ClassField, Tensor]:
    """The field of all of the config's images together and their noise, on its device."""
    here, y = _device(checkpoint), labels_of(checkpoint, config)
    field = field_of(checkpoint, None if y is None else y.to(here), config.guidance)
    return field, image_noise(checkpoint.shape, config.n, config.seed).to(here)


def _draw(
    checkpoint: ImageCheckpoint,
    config: ImageConfig,
    noise: Tensor,
    y: Tensor | None,
    guidance: float,
    should_stop: Callable[[], bool] | None,
) -> NDArray[np.uint8]:
    """The images of noises (B, C, H, W) with their classes, batch by batch."""
    here = _device(checkpoint)
    drawn = []
    for start in range(0, len(noise), BATCH):
        part = slice(start, start + BATCH)
        field = field_of(checkpoint, None if y is None else y[part].to(here), guidance)
        solution = _solve(field, noise[part].to(here), config, should_stop=should_stop)
        drawn.append(_pixels(solution.states[-1]))
    return np.concatenate(drawn)


def _solve(
    field: ClassField,
    noise: Tensor,
    config: ImageConfig,
    *,
    times: Tensor | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Solution:
    """The solve from noise (B, C, H, W) to the path's last time that the config describes."""
    path = field.path
    if times is None:
        times = path.clock(2)
    start = path.start(noise).contiguous(memory_format=torch.channels_last)
    if config.adaptive:
        return solve(field, start, times, config.solver, tol=config.tol, should_stop=should_stop)
    grid = GRIDS[config.grid](path, steps_for(config.solver, config.nfe))
    return solve(field, start, times, config.solver, grid=grid, should_stop=should_stop)


def _pixels(x: Tensor) -> NDArray[np.uint8]:
    return ImageSet.from_unit(x.float().cpu()).contiguous().numpy()
