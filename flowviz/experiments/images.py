"""Samples of image checkpoints: one frozen config, drawn in batches.

Every function takes a loaded checkpoint and a frozen `ImageConfig` and returns arrays. Long
computations are generators of parts in display order and stop on request before each
evaluation. The noise of an image depends only on the seed and its index, so that two checkpoints
start from the same noise under one config.

Costs are counted, not computed. `nfe` is the number of evaluations of the velocity field, as in
papers; `passes` is the number of times that the network processed an image, per sample: one per
evaluation, or two if guidance needs both the class and the null class, or a guiding network.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from flowviz.bounds import MAX_NFE, MAX_SEED, check_bounds
from flowviz.checkpoints.images import ImageCheckpoint, unet_shape
from flowviz.datasets.images import ImageSet
from flowviz.device import batch_on
from flowviz.distributed import current
from flowviz.draws import noise
from flowviz.fields import FlowMap, LearnedField
from flowviz.fields.guided import EVER, GuidedField
from flowviz.grids import GRIDS
from flowviz.networks.memory import activation_bytes, max_batch
from flowviz.paths import AffinePath
from flowviz.progress import can_stop, stop_if_requested
from flowviz.solvers import METHODS, Solution, solve, steps_for

BATCH = 16
"""Images per batch: enough to use a core fully, few enough to be shown soon."""

MAX_IMAGES = 50_000

LONG_EVALUATION_BYTES = 2**28
"""Activations above which one evaluation may take seconds; a stop request then ends it within."""


@dataclass(frozen=True, kw_only=True)
class ImageConfig:
    """How images are drawn; strings and numbers only, so that it can be a cache key.

    Attributes:
        solver: name in METHODS.
        nfe: number of evaluations of a fixed-step solver; ignored by adaptive ones.
        tol: tolerance of an adaptive solver; ignored by the others.
        grid: name in GRIDS: the step times of a fixed-step solver.
        classes: image i is of class classes[i % len(classes)]; () for no class.
        guidance: weight of classifier-free guidance, see `GuidedField`; 1 for none.
        interval: times at which it acts, as shares of the path's time: 0 <= first < last <= 1.
        n: number of images.
        seed: of the noise.

    Raises:
        ValueError: an entry is unknown or out of its bounds.
    """

    solver: str = "midpoint"
    nfe: int = 20
    tol: float = 1e-3
    grid: str = "uniform"
    classes: tuple[int, ...] = ()
    guidance: float = 2.0
    interval: tuple[float, float] = EVER
    n: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        check_bounds(
            self, nfe=(1, MAX_NFE), n=(1, MAX_IMAGES), seed=(0, MAX_SEED), guidance=(0.0, 100.0)
        )
        if not 0 < self.tol < 1:
            raise ValueError(f"tol must be in (0, 1); got {self.tol:g}.")
        check_interval(self.interval)
        _ = METHODS[self.solver], GRIDS[self.grid]
        if any(k < 0 for k in self.classes):
            raise ValueError(f"A class must be 0 or more; got {min(self.classes)}.")

    @property
    def adaptive(self) -> bool:
        """Whether the solver is adaptive."""
        return METHODS[self.solver].adaptive


def check_interval(interval: tuple[float, float]) -> None:
    """Refuses an interval of guidance that is empty or leaves the time.

    Raises:
        ValueError: not 0 <= first < last <= 1.
    """
    first, last = interval
    if not 0 <= first < last <= 1:
        raise ValueError(
            "The interval of guidance must be two increasing times in [0, 1]; got "
            f"{first:g} and {last:g}."
        )


class SampleBatch(NamedTuple):
    """The images i with start <= i < start + b."""

    start: int
    images: NDArray[np.uint8]
    """(b, C, H, W)."""
    labels: NDArray[np.int64]
    """(b,), the wanted classes; -1 without classes."""
    nfe: int
    """Number of evaluations of the field."""
    passes: float
    """Network passes per image."""
    step_times: NDArray[np.float64]
    """(S + 1,), start times of the accepted steps and the end of the last."""
    rejected: NDArray[np.float64]
    """(R, 2), start and length of the steps that an adaptive solver rejected."""


@dataclass(frozen=True)
class Samples:
    """Images with their cost.

    Attributes:
        images: (n, C, H, W) uint8.
        labels: (n,) the wanted classes; -1 without classes.
        nfe: number of evaluations of the field; of an adaptive solver the mean over the images,
            as each batch has its own steps.
        passes: network passes per image, likewise.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    nfe: float
    passes: float


class ClassField:
    """The velocity field or flow map of a checkpoint for images of given classes, with its cost.

    Args:
        checkpoint: whose field; with its `guide`, if it has one.
        y: classes (B,) of the images; None for no class.
        guidance: weight of guidance, see `GuidedField`.
        interval: times at which it acts, likewise.

    Attributes:
        path: its path.
        nfe: number of evaluations so far.
        jump: of a flow map alone: (t, s, x) to the states at s of x (B, C, H, W) at t.
    """

    jump: Callable[[Tensor, Tensor, Tensor], Tensor]

    def __init__(
        self,
        checkpoint: ImageCheckpoint,
        y: Tensor | None = None,
        guidance: float = 1.0,
        interval: tuple[float, float] = EVER,
    ) -> None:
        self.path: AffinePath = checkpoint.field.path
        self.nfe = 0
        self.networks: list[_Counted] = []
        counted, guide = self._counted(checkpoint), None
        if checkpoint.guide is not None and guidance != 1.0:
            guide = self._counted(checkpoint.guide)
        guided = y is not None or guide is not None
        self.field = GuidedField(counted, y, guidance, interval, guide) if guided else counted
        if hasattr(self.field, "jump"):
            self.jump = self._jump

    def _counted(self, checkpoint: ImageCheckpoint) -> LearnedField:
        """The field of a checkpoint with a network that counts its images."""
        field, card = checkpoint.field, checkpoint.card
        network = _Counted(
            field.network,
            max_batch(unet_shape(card), card.channels, card.size),
            activation_bytes(unet_shape(card), card.channels, card.size),
            clocked=field.clocked,
        )
        self.networks.append(network)
        return type(field)(
            network,
            field.path,
            field.objective,
            mean=field.mean,
            std=field.std,
            preconditioned=field.preconditioned,
            clocked=field.clocked,
        )

    @property
    def rows(self) -> int:
        """Number of images that the networks have processed so far."""
        return sum(network.rows for network in self.networks)

    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        """The velocity at t () and x (B, C, H, W), shape (B, C, H, W)."""
        self.nfe += 1
        return self.field(t, x)

    def _jump(self, t: Tensor, s: Tensor, x: Tensor) -> Tensor:
        self.nfe += 1
        assert not isinstance(self.field, LearnedField) or isinstance(self.field, FlowMap)
        return self.field.jump(t, s, x)

    def data(self, t: Tensor, x: Tensor) -> Tensor:
        """E[x_1 | x_t = x], shape (B, C, H, W), by one more evaluation."""
        return self.path.data_from_velocity(t, x, self(t, x))


class _Stoppable(TorchDispatchMode):
    """Stops on request before each operation of PyTorch in this thread."""

    def __torch_dispatch__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        stop_if_requested()
        return function(*args, **(kwargs or {}))


class _Counted(nn.Module):
    """A network that counts its images and evaluates at most `batch` of them together.

    A stop request ends an evaluation that takes long between two of its operations.
    """

    def __init__(self, network: nn.Module, batch: int, row_bytes: int, *, clocked: bool) -> None:
        super().__init__()
        self.row_bytes = row_bytes
        self.network = network
        count = network.num_classes
        assert isinstance(count, int)
        self.num_classes = count
        self.batch = batch
        self.clocked = clocked
        self.rows = 0

    def forward(
        self,
        time: Tensor,
        x: Tensor,
        y: Tensor | None = None,
        *,
        second_clock: Tensor | None = None,
    ) -> Tensor:
        self.rows += len(x)
        if len(x) <= self.batch:
            return self._evaluated(time, x, y, second_clock)
        own_times = time.ndim > self.clocked  # one for each image
        parts = [slice(i, i + self.batch) for i in range(0, len(x), self.batch)]
        return torch.cat(
            [
                self._evaluated(
                    time[part] if own_times else time,
                    x[part],
                    None if y is None else y[part],
                    second_clock[part] if own_times and second_clock is not None else second_clock,
                )
                for part in parts
            ]
        )

    def _evaluated(
        self, time: Tensor, x: Tensor, y: Tensor | None, second_clock: Tensor | None
    ) -> Tensor:
        classes = () if y is None else (y,)
        second = {} if second_clock is None else {"second_clock": second_clock}
        long = len(x) * self.row_bytes > LONG_EVALUATION_BYTES
        with _Stoppable() if long and can_stop() else nullcontext():
            return self.network(time, x, *classes, **second)


def labels_of(checkpoint: ImageCheckpoint, config: ImageConfig) -> Tensor | None:
    """The classes of the config's images, (n,) int64; None without classes.

    Raises:
        ValueError: the checkpoint has no such class.
    """
    if not config.classes:
        return None
    if not checkpoint.conditional:
        raise ValueError(f"{checkpoint.card.name} was trained without classes; omit the class.")
    known = checkpoint.field.num_classes
    if max(config.classes) >= known:
        raise ValueError(
            f"{checkpoint.card.name} has the classes 0 to {known - 1}; got {max(config.classes)}."
        )
    return torch.tensor(config.classes)[torch.arange(config.n) % len(config.classes)]


def nearest_nfe(solver: str, nfe: int) -> int:
    """The largest NFE up to `nfe` that a fixed-step solver can make, or its smallest."""
    entry = METHODS[solver]
    return entry.nfe(entry.steps_within(nfe))


def sample(
    checkpoint: ImageCheckpoint,
    config: ImageConfig,
    *,
    batch: int = BATCH,
    device: torch.device | None = None,
    starts: Sequence[int] | None = None,
) -> Iterator[SampleBatch]:
    """Samples of a checkpoint, batch by batch.

    Args:
        batch: images per batch; the steps of an adaptive solver depend on it.
        device: where to compute; the checkpoint's own by default.
        starts: first indices of the batches to draw, of 0, batch, 2 batch ...; all by default.

    Raises:
        ValueError: the config does not fit the checkpoint.
        SolveError: as `flowviz.solvers.solve`.
    """
    x_0, y = noise(config.n, config.seed, checkpoint.shape), labels_of(checkpoint, config)
    if device is not None:
        checkpoint.to(device)
    starts = range(0, config.n, batch) if starts is None else starts
    yield from _batches(checkpoint, config, x_0, y, starts, batch)


def draw_images(
    checkpoint: ImageCheckpoint, config: ImageConfig, x_0: Tensor, y: Tensor | None
) -> NDArray[np.uint8]:
    """The images (n, C, H, W) of given noise (n, C, H, W) and classes (n,), batch by batch."""
    batch = _widest(config, BATCH, _device(checkpoint))
    parts = _batches(checkpoint, config, x_0, y, range(0, len(x_0), batch), batch)
    return np.concatenate([part.images for part in parts])


def _batches(
    checkpoint: ImageCheckpoint,
    config: ImageConfig,
    all_noise: Tensor,
    y: Tensor | None,
    starts: Iterable[int],
    batch: int,
) -> Iterator[SampleBatch]:
    """The batches that begin at `starts`, of noise (n, C, H, W) and classes (n,)."""
    device = _device(checkpoint)
    for start in starts:
        part = slice(start, start + batch)
        classes, x_0 = None if y is None else y[part].to(device), all_noise[part].to(device)
        field = ClassField(checkpoint, classes, config.guidance, config.interval)
        solution = solve_images(field, x_0, config)
        yield SampleBatch(
            start,
            to_pixels(solution.states[-1]),
            np.full(len(x_0), -1) if classes is None else classes.cpu().numpy(),
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
    on_batch: Callable[[int], None] | None = None,
) -> Samples:
    """All images of `sample`; `on_batch` is called with the number of images drawn so far.

    Processes started by torchrun divide the batches; each returns all images.
    """
    group = current()
    batch = _widest(config, batch, device or _device(checkpoint))
    if not config.adaptive:
        batch = min(batch, -(-config.n // group.world))
    starts = range(0, config.n, batch)
    starts = starts[group.share(len(starts))]
    parts = [_no_images(checkpoint)]
    for part in sample(checkpoint, config, batch=batch, device=device, starts=starts):
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


def _widest(config: ImageConfig, batch: int, device: torch.device) -> int:
    """Images per batch on a device: fixed steps do not depend on the batch, adaptive ones do."""
    return batch if config.adaptive else batch_on(device, batch)


def _no_images(checkpoint: ImageCheckpoint) -> SampleBatch:
    """An empty batch, for a process without images to draw."""
    images, labels = np.empty((0, *checkpoint.shape), np.uint8), np.empty(0, np.int64)
    return SampleBatch(0, images, labels, 0, 0.0, np.empty(0), np.empty(0))


def _device(checkpoint: ImageCheckpoint) -> torch.device:
    return next(checkpoint.field.parameters()).device


def field_and_noise(checkpoint: ImageCheckpoint, config: ImageConfig) -> tuple[ClassField, Tensor]:
    """The field of all of the config's images as one batch, and their noise on its device."""
    device, y = _device(checkpoint), labels_of(checkpoint, config)
    classes = None if y is None else y.to(device)
    field = ClassField(checkpoint, classes, config.guidance, config.interval)
    return field, noise(config.n, config.seed, checkpoint.shape).to(device)


def solve_images(
    field: ClassField,
    noise: Tensor,
    config: ImageConfig,
    *,
    times: Tensor | None = None,
) -> Solution:
    """Solves from noise (B, C, H, W) to the path's last time, or to given times, by the config."""
    path = field.path
    if times is None:
        times = path.clock(2)
    start = path.start(noise).contiguous(memory_format=torch.channels_last)
    if config.adaptive:
        budget = {"tol": config.tol, "control": "mean"}  # on which shipped measurements rest
        return solve(field, start, times, config.solver, **budget)
    grid = GRIDS[config.grid](path, steps_for(config.solver, config.nfe))
    return solve(field, start, times, config.solver, grid=grid)


def to_pixels(x: Tensor) -> NDArray[np.uint8]:
    """Network images x as uint8 arrays of the same shape."""
    return ImageSet.from_unit(x.float().cpu()).contiguous().numpy()
