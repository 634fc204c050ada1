"""Flows of particles from noise to data, and the densities and fields that they move through.

A *flow* is the trajectories of particles, their cost and quality; it depends on solver, NFE and
seed. A *scene* is the density of the path, the field, and the difference of a learned field from
the exact one; it does not. They are cached apart. The same seed gives the same noise x_0 on every
path, so that two paths can be compared particle by particle.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from flowviz.bounds import MAX_SEED
from flowviz.couplings import Pairs
from flowviz.datasets import FRAME, Dataset, dataset
from flowviz.distributions import GaussianMixture
from flowviz.draws import stream
from flowviz.experiments.bridges import bridge_of, paired
from flowviz.experiments.configs import OfField, Solved
from flowviz.experiments.fields import EXACT, Chunked, resolve
from flowviz.experiments.starts import starts
from flowviz.fields import exact_field, exact_field_of
from flowviz.fields.learned_path import LearnedPathField
from flowviz.fields.paired import PairedField
from flowviz.metrics import projections, sliced_w2, unbounded
from flowviz.paths import AffinePath
from flowviz.progress import stop_if_requested
from flowviz.schedulers import CondOT, LearnedReference
from flowviz.solvers import METHODS, ROUNDING, Field, budget, solve

BUDGETS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 24, 30, 40, 50, 60, 80, 100)
"""Numbers of function evaluations in menus; each method uses the nearest that it can spend."""

MAX_STEP_STATES = 200
"""Stored states of an adaptive solve, which may take 10,000 steps: 160 MB of 2,000 particles."""

JUMP_TOL = 1e-4
"""Tolerance of the jumps of `Integrated`."""

FLOOR_SETS = 4
"""Number of data samples whose mean distance to the reference is the floor."""

REACHED = 0.01
"""Points with a density below this share of the maximum count as not reached by particles."""

MIXED = 4_000
"""Number of data points that estimate the marginal density of a learned path."""

COUPLED = 1_000
"""Number of data points of that average where a coupling chooses the pairs."""

BLUR = 0.1
"""Standard deviation of the blur of that estimate, which is a set of dots near t = 1."""


def affordable(method: str) -> list[int]:
    """All NFE up to the last of BUDGETS that a fixed-step method can spend exactly."""
    entry = METHODS[method]
    return [entry.nfe(n + 1) for n in range(entry.steps_within(BUDGETS[-1]))]


def budgets(method: str, requested: Iterable[int] = BUDGETS) -> list[int]:
    """The nearest to each NFE of `requested` that a fixed-step method can spend, ascending."""
    options = affordable(method)
    return sorted({min(options, key=lambda n: (abs(n - nfe), -n)) for nfe in requested})


@dataclass(frozen=True, kw_only=True)
class FlowConfig(Solved):
    """One flow of particles; the method `jumps` integrates each jump of a field without jumps.

    Attributes:
        n: number of particles.
        frames: number of times, evenly from 0 to the path's t_max.
        seed: of the noise.
    """

    BOUNDS = {"n": (2, 100_000), "frames": (2, 1_001), "seed": (0, MAX_SEED)}

    n: int = 2_000
    frames: int = 41
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class FlowResult:
    """The trajectories of the particles, their cost, and how well they match the data.

    Attributes:
        times: (K,), evenly from 0 to the path's t_max; with jumps `step_times`, since there are no
            states between them.
        states: (K, n, 2) float32, the particles at these times.
        nfe: counted evaluations of the field.
        step_times: (S + 1,), the times of the accepted steps, ends included; at most
            MAX_STEP_STATES of an adaptive method, evenly by their number.
        step_states: (S + 1, n, 2) float32, the particles at these times.
        accepted: number of accepted steps.
        rejected: number of rejected steps of an adaptive method.
        length: mean length of the polygons through `step_states`.
        displacement: mean distance from start to end.
        quality: (K,), sliced W₂ of the particles at `times` to `data`.
        quality_floor: mean of this distance over FLOOR_SETS other samples of the data.
        off_support: share of the final particles outside the support of the data; None if that is
            the whole plane.
        data: (n, 2) float32, a sample of the data.
        integrated: whether the field has no jumps, so that each was integrated, see `Integrated`.
    """

    times: NDArray[np.float64]
    states: NDArray[np.float32]
    nfe: int
    step_times: NDArray[np.float64]
    step_states: NDArray[np.float32]
    accepted: int
    rejected: int
    length: float
    displacement: float
    quality: NDArray[np.float64]
    quality_floor: float
    off_support: float | None
    data: NDArray[np.float32]
    integrated: bool = False
    classes: NDArray[np.int64] | None = None
    """The classes of `data`, (n,), if the data set has classes."""

    @property
    def detour(self) -> float:
        """Path length over displacement, at least 1; the ratio of the two means."""
        return self.length / self.displacement if self.displacement else 1.0

    @property
    def end_quality(self) -> float:
        """The sliced W₂ of the final particles to the data."""
        return float(self.quality[-1])


@dataclass
class Integrated:
    """A velocity field with the jumps of its exact flow map, by an accurate adaptive solver.

    Attributes:
        field: the field.
        nfe: number of evaluations of the field in all jumps.
    """

    field: Field
    nfe: int = 0

    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        """The velocity at t () and x (B, 2), shape (B, 2)."""
        return self.field(t, x)

    def jump(self, t: Tensor, s: Tensor, x: Tensor) -> Tensor:
        """The states at s () of x (B, 2) at t ()."""
        solution = solve(self.field, x, torch.stack([t, s]), "dopri5", tol=JUMP_TOL)
        self.nfe += solution.nfe
        return solution.states[-1]


@dataclass(frozen=True, kw_only=True)
class SceneConfig(OfField):
    """Density, field and error on grids over the frame.

    Attributes:
        frames: number of times, evenly from 0 to the path's t_max.
        cells: rows and columns of the density.
        arrows: rows and columns of the field.
        difference_cells: rows and columns of the difference.
        bridge: diffusion of the bridges from a source, see `flowviz.experiments.bridges`.
        coupling: name of the coupling of the pairs that the bridges join.
    """

    BOUNDS = {
        "frames": (2, 1_001),
        "arrows": (2, 128),
        **dict.fromkeys(("cells", "difference_cells"), (2, 512)),
    }

    frames: int = 41
    cells: int = 96
    arrows: int = 20
    difference_cells: int = 48
    bridge: float = 0.0
    coupling: str = "independent"


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Density, field and error of a path over the frame; rows run along y, columns along x.

    Attributes:
        times: (K,), evenly from 0 to the path's t_max.
        axis: (H,), the coordinates of the density, along both axes.
        density: (K, H, H) float32, the marginal density p_t per unit area, see `density_of`.
        arrow_axis: (G,), the coordinates of the velocities, along both axes.
        velocity: (K, G, G, 2) float32, of the field that moves the particles.
        difference_axis: (D,), the coordinates of the difference.
        difference: (K, D, D) float32, |learned - exact| velocity; None for the exact field, and
            where that is not known: on a learned path, and for a network of unknown data.
        reached: (K, D, D), whether the exact density is at least REACHED of its maximum at that
            time. Elsewhere a network had no training data, and its error has no effect.
        rms_difference: (K,), RMS of the difference under the exact density; None for the exact
            field.
    """

    times: NDArray[np.float64]
    axis: NDArray[np.float64]
    density: NDArray[np.float32]
    arrow_axis: NDArray[np.float64]
    velocity: NDArray[np.float32]
    difference_axis: NDArray[np.float64]
    difference: NDArray[np.float32] | None
    reached: NDArray[np.bool_] | None
    rms_difference: NDArray[np.float64] | None
    estimated: bool = False
    """Whether the density is a blurred mean over pairs, because no exact field is known."""


@dataclass(frozen=True)
class Reference:
    """A data sample, its sorted projections, and the distance of other samples to it."""

    points: NDArray[np.float32]
    quantiles: NDArray[np.float32]
    floor: float
    bounded: bool
    classes: NDArray[np.int64] | None = None


def compute_reference(sample: tuple[str, int]) -> Reference:
    """What the particles of a flow are compared with, from data set and number of particles."""
    data, n = sample
    target = dataset(data, sources=True)
    generator = stream(0, "reference")
    points = target.sample(n, generator)
    quantiles = projections(points.numpy())
    floor_sets = np.stack([target.sample(n, generator).numpy() for _ in range(FLOOR_SETS)])
    return Reference(
        points.numpy(),
        quantiles,
        float(sliced_w2(floor_sets, quantiles).mean()),
        bounded=not unbounded(target.distribution),
        classes=target.sampled_classes(n, stream(0, "reference")),
    )


def compute_flow(
    config: FlowConfig,
    *,
    field: Field | None = None,
    reference: Reference | None = None,
) -> FlowResult:
    """Solves the flow of a config from noise to data.

    Args:
        reference: the result of `compute_reference`, if it is known.

    Raises:
        ValueError: a name is unknown, or the solve failed (SolveError, with the time).
        Stopped: a stop was requested.
    """
    target, path, field = resolve(config.data, config.path, config.field, field, sources=True)
    times = path.clock(config.frames)
    start = starts(path, config.n, config.seed)
    integrated = None
    if METHODS[config.method].jumps and not hasattr(field, "jump"):
        integrated = Integrated(field)
    solution = solve(
        integrated or field,
        start,
        times,
        config.method,
        max_states=MAX_STEP_STATES,
        **budget(config.method, config.nfe, config.tol),
    )
    steps = solution.step_states
    reference = reference or compute_reference((config.data, config.n))
    end = solution.states[-1]
    inside = target.distribution.contains(end)
    jumps = METHODS[config.method].jumps
    times, states = (solution.step_times, steps) if jumps else (times, solution.states)
    states = states.numpy()
    return FlowResult(
        times=times.numpy(),
        states=states,
        nfe=solution.nfe if integrated is None else integrated.nfe,
        step_times=solution.step_times.numpy(),
        step_states=steps.numpy(),
        accepted=solution.accepted,
        rejected=len(solution.rejected),
        length=torch.linalg.vector_norm(steps.diff(dim=0), dim=-1).sum(dim=0).mean().item(),
        displacement=torch.linalg.vector_norm(steps[-1] - steps[0], dim=-1).mean().item(),
        quality=sliced_w2(states, reference.quantiles),
        quality_floor=reference.floor,
        off_support=1 - inside.double().mean().item() if reference.bounded else None,
        data=reference.points,
        classes=reference.classes,
        integrated=integrated is not None,
    )


@torch.no_grad()
def compute_scene(config: SceneConfig, *, field: Field | None = None) -> Scene:
    """Density, field and difference over the frame at the times of a config."""
    target, path, field = resolve(config.data, config.path, config.field, field, sources=True)
    times = path.clock(config.frames)
    axis = _axis(config.cells)
    arrow_axis = _axis(config.arrows)
    difference_axis = _axis(config.difference_cells)
    estimated = _without_exact(path, target)
    if config.bridge:
        estimated = estimated or config.coupling != "independent"
        field, density = _bridged(config, target, path, times, axis, estimated)
    else:
        density = density_of(target, path, field, times, axis)
    velocity = _on_grid(field, times, arrow_axis)
    difference = reached = rms = None
    known = not (target.estimated or estimated or isinstance(field, LearnedPathField))
    if config.field != EXACT and known:
        exact = exact_field_of(path, target)
        learned_velocity = _on_grid(field, times, difference_axis)
        exact_velocity = _on_grid(Chunked(exact), times, difference_axis)
        squares = (learned_velocity - exact_velocity).square().sum(dim=-1).double()
        difference = squares.sqrt()
        mass = torch.stack(
            [exact.density_grid(t, difference_axis, difference_axis).double() for t in times]
        )
        reached = (mass >= REACHED * mass.amax(dim=(1, 2), keepdim=True)).numpy()
        total = mass.sum(dim=(1, 2)).clamp_min(1e-300)
        rms = ((squares * mass).sum(dim=(1, 2)) / total).sqrt()
    return Scene(
        times=times.numpy(),
        axis=axis.numpy(),
        density=density.float().numpy(),
        arrow_axis=arrow_axis.numpy(),
        velocity=velocity.numpy(),
        difference_axis=difference_axis.numpy(),
        difference=None if difference is None else difference.float().numpy(),
        reached=reached,
        rms_difference=None if rms is None else rms.numpy(),
        estimated=estimated,
    )


def density_of(
    target: Dataset, path: AffinePath, field: Field, times: Tensor, axis: Tensor, n: int = MIXED
) -> Tensor:
    """The density p_t of a path at times (K,) over the square of an axis (H,), (K, H, H).

    It is exact except on a learned path before its end, and where no exact field is known: there
    it is the mean of the conditional densities of n data points or pairs, blurred by BLUR.
    """
    if _without_exact(path, target):
        generator = stream(0, "mixture")
        assert target.source is not None  # `_without_exact`
        x_0, x_1 = (each.sample(n, generator) for each in (target.source, target))
        return torch.stack(
            [_blurred_density(path.flow(t, x_0, x_1), BLUR, axis) for t in _until_stop(times)]
        )
    if not isinstance(field, LearnedPathField):
        exact = exact_field_of(path, target)
        return torch.stack([exact.density_grid(t, axis, axis) for t in _until_stop(times)])
    points = target.sample(n, stream(0, "mixture"))
    process, ends = field.forward_process, exact_field(ends_of(path), target.distribution)
    return torch.stack(
        [
            ends.density_grid(t, axis, axis)
            if t >= path.t_max
            else process.density_grid(t, points, axis, axis, blur=BLUR)
            for t in _until_stop(times)
        ]
    )


def _bridged(
    config: SceneConfig,
    target: Dataset,
    path: AffinePath,
    times: Tensor,
    axis: Tensor,
    estimated: bool,
) -> tuple[Field, Tensor]:
    """The field and the density (K, H, H) of bridges; estimated ones are of some pairs."""
    if not estimated:
        _, exact = bridge_of(config.data, config.path, config.bridge)
        return exact, torch.stack([exact.density_grid(t, axis, axis) for t in _until_stop(times)])
    generator, n = stream(0, "mixture"), MIXED if config.coupling == "independent" else COUPLED
    assert target.source is not None
    x_0, x_1 = (each.sample(n, generator) for each in (target.source, target))
    pairs = Pairs(x_0, paired(config.coupling, x_0, x_1, generator))
    field, density = PairedField(path, pairs, BLUR, config.bridge), []
    for t in _until_stop(times):
        width = (BLUR**2 + path.coefficients(t, x_0).bridge(config.bridge)[0]).sqrt().item()
        density.append(_blurred_density(path.flow(t, pairs.x_0, pairs.x_1), width, axis))
    return field, torch.stack(density)


def _blurred_density(means: Tensor, width: float, axis: Tensor) -> Tensor:
    """The density of equally likely Gaussians of one width on the square of an axis, (H, H)."""
    mixture = exact_field(AffinePath(CondOT()), GaussianMixture(means, width))
    end = torch.tensor(1.0, dtype=torch.float64)  # where the density is that of the mixture
    return mixture.density_grid(end, axis, axis)


def _without_exact(path: AffinePath, target: Dataset) -> bool:
    """Whether no exact field is known from the source of a data set."""
    if target.source is None:
        return False
    try:
        exact_field_of(path, target)
    except ValueError:
        return True
    return False


def ends_of(path: AffinePath) -> AffinePath:
    """An affine path with the same p_t at t = 0 and t_max as a learned path."""
    reference = path.scheduler
    assert isinstance(reference, LearnedReference)
    return AffinePath(CondOT(sigma_min=reference.sigma_min))


def at_time(times: ArrayLike, values: ArrayLike, t: float, *, held: bool = False) -> NDArray:
    """values (K, *) linearly interpolated at the time t, (*), or those of the nearest end.

    With `held`, they are those of the last time that is not later than t.
    """
    times, values = np.asarray(times), np.asarray(values)
    if held:
        return values[last_step(times, t)]
    upper = int(np.clip(np.searchsorted(times, t), 1, len(times) - 1))
    start, end = times[upper - 1], times[upper]
    weight = float(np.clip((t - start) / (end - start), 0, 1))
    return (1 - weight) * values[upper - 1] + weight * values[upper]


def nearest_time(times: NDArray, values: NDArray, t: float) -> NDArray:
    """values (K, *) of the frame nearest to the time t, (*)."""
    return values[int(np.abs(times - t).argmin())]


def last_step(times: NDArray, t: ArrayLike) -> NDArray[np.int64]:
    """The index in times (S + 1,) of the last step that is not later than t, rounding aside."""
    return np.maximum(np.searchsorted(times, np.asarray(t) + ROUNDING, side="right") - 1, 0)


def _on_grid(field: Field, times: Tensor, axis: Tensor) -> Tensor:
    """A field at times (K,) over the square of an axis (G,), (K, G, G, 2) float32."""
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    positions = torch.stack([x, y], dim=-1).reshape(-1, 2).float()
    velocities = torch.stack([field(t, positions).float() for t in _until_stop(times)])
    return velocities.reshape(len(times), len(axis), len(axis), 2)


def _until_stop(times: Tensor) -> Iterator[Tensor]:
    """The times in turn, until a stop is requested."""
    for t in times:
        stop_if_requested()
        yield t


def _axis(nodes: int) -> Tensor:
    """Evenly spaced coordinates from -FRAME to FRAME, (nodes,) float64."""
    return torch.linspace(-FRAME, FRAME, nodes, dtype=torch.float64)
