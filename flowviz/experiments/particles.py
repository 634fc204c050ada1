"""Particles of one path, moved by fixed pairs, by the flow (ODE) or by a diffusion (SDE).

A *pair* is joined by the conditional path x_t = alpha x_1 + sigma x_0. The *flow* follows the
marginal velocity. The *diffusion* adds noise and removes it by the score. All three have the
density p_t at every t; their trajectories differ.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowviz.bounds import MAX_SEED, check_bounds
from flowviz.datasets import parted
from flowviz.draws import noise, stream
from flowviz.experiments.bridges import bridge_of, bridges, paired
from flowviz.experiments.configs import OfField
from flowviz.experiments.fields import EXACT, data_and_path, resolve
from flowviz.experiments.starts import starts
from flowviz.fields.bridges import LearnedBridge, PairBridges
from flowviz.fields.sourced import BridgeField
from flowviz.metrics import METRICS
from flowviz.paths import AffinePath
from flowviz.schedulers import refuse_learned, scheduler
from flowviz.solvers import Field, solve, steps_for
from flowviz.stochastic import SAMPLERS, diffuse, rate, sample

PAIRS = "pairs"
"""In place of a sampler's name: the conditional path of fixed pairs."""

FLOW = "midpoint"
"""In place of a sampler's name: the flow, solved with this method of METHODS."""

CHECKED = (0.2, 0.4, 0.6, 0.8, 1.0)
"""Times, as shares of t_max, at which particles are compared with samples of p_t."""

FLOOR_SETS = 20
"""Number of pairs of independent samples of p_t whose distances are the floor."""

TOLERANCE = 2.0
"""Largest accepted distance, in units of the largest distance between samples of p_t."""


@dataclass(frozen=True, kw_only=True)
class ParticlesConfig(OfField):
    """The particles of one sampler; pairs need no field.

    Attributes:
        sampler: PAIRS, FLOW or a name in SAMPLERS.
        noise: noise level of a stochastic sampler; ignored otherwise.
        nfe: number of function evaluations, even; pairs need none.
        n: number of particles.
        seed: of the states at t = 0 (the same for all samplers), of the data and of the SDE.
        bridge: diffusion of the bridges between a source and the data, see `bridges`; the data
            set must then have a source. A learned field must have been trained with it.
        coupling: name of the coupling of the pairs of a source and the data.
    """

    BOUNDS = {"nfe": (2, 1_000), "n": (2, 5_000), "seed": (0, MAX_SEED)}

    data: str = "8gaussians"
    sampler: str = PAIRS
    noise: float = 0.0
    nfe: int = 100
    n: int = 600
    seed: int = 0
    bridge: float = 0.0
    coupling: str = "independent"

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_learned(self.path)
        if self.sourced and self.sampler == "ancestral":
            raise ValueError(
                "Particles from a data set need the sampler euler-maruyama; got ancestral."
            )
        if self.sampler == FLOW:
            steps_for(FLOW, self.nfe)
        elif self.sampler != PAIRS:
            _ = SAMPLERS[self.sampler]

    @property
    def sourced(self) -> bool:
        """Whether the particles start from a data set."""
        return bool(parted(self.data)[0])

    @property
    def checked(self) -> list[int]:
        """The steps nearest to CHECKED."""
        return [round(share * self.nfe) for share in CHECKED]


@dataclass(frozen=True, kw_only=True)
class ParticlesResult:
    """Trajectories of the particles, and their distance from the density p_t.

    Attributes:
        times: (K,), from 0 to the path's t_max.
        states: (K, n, 2) float32.
        nfe: counted evaluations of the field.
        checked: (5,), the times of the steps nearest to CHECKED.
        energy: (5,), energy distance to independent samples of p_t at these times.
        floor: (5,), mean energy distance between FLOOR_SETS pairs of samples of p_t.
        highest: (5,), the largest of these distances.
        length: (n,), length of each trajectory.
        displacement: (n,), distance from its start to its end.
    """

    times: NDArray[np.float64]
    states: NDArray[np.float32]
    nfe: int
    checked: NDArray[np.float64]
    energy: NDArray[np.float64]
    floor: NDArray[np.float64]
    highest: NDArray[np.float64]
    length: NDArray[np.float64]
    displacement: NDArray[np.float64]

    @property
    def agrees(self) -> bool:
        """Whether the distance to p_t is at most TOLERANCE * highest at all five times."""
        return bool((self.energy <= TOLERANCE * self.highest).all())


@dataclass(frozen=True)
class Truth:
    """Samples of p_t at five times, (5, n, 2), and distances between such samples."""

    points: Tensor
    floors: NDArray[np.float64]
    """(FLOOR_SETS, 5)."""


def compute_truth(config: ParticlesConfig) -> Truth:
    """Samples of p_t to compare particles with; field, sampler, noise and seed are ignored."""
    target, affine = data_and_path(config.data, config.path, sources=True)
    n, times = config.n, affine.clock(config.nfe + 1)[config.checked]
    generator = stream(0, "reference")

    def fresh() -> Tensor:
        if config.sourced:
            assert target.source is not None
            bridge = PairBridges(affine, config.bridge)
            x_0, x_1 = (each.sample(n, generator) for each in (target.source, target))
            x_1 = paired(config.coupling, x_0, x_1, generator)
            z = torch.randn(n, 2, generator=generator)
            return torch.stack([bridge.state(t, x_0, x_1, z) for t in times])
        x_0, x_1 = torch.randn(n, 2, generator=generator), target.sample(n, generator)
        return torch.stack([affine.flow(t, x_0, x_1) for t in times])

    sets = [fresh() for _ in range(FLOOR_SETS + 1)]
    floors = [_energies(first, second) for first, second in zip(sets[1:], sets, strict=False)]
    return Truth(sets[0], np.array(floors))


@torch.no_grad()
def compute_particles(
    config: ParticlesConfig, *, field: Field | None = None, truth: Truth | None = None
) -> ParticlesResult:
    """Moves the particles of a config.

    Args:
        truth: the result of `compute_truth`, if it is known.

    Raises:
        ValueError: a name is unknown, or the solve failed (SolveError, with the time).
    """
    grid, states, nfe = _move(config, field)
    checked, truth = config.checked, truth or compute_truth(config)
    lengths = torch.linalg.vector_norm(states.diff(dim=0), dim=-1).sum(dim=0)
    return ParticlesResult(
        times=grid.numpy(),
        states=states.numpy(),
        nfe=nfe,
        checked=grid[checked].numpy(),
        energy=_energies(states[checked], truth.points),
        floor=truth.floors.mean(axis=0),
        highest=truth.floors.max(axis=0),
        length=lengths.double().numpy(),
        displacement=torch.linalg.vector_norm(states[-1] - states[0], dim=-1).double().numpy(),
    )


def _move(config: ParticlesConfig, field: Field | None) -> tuple[Tensor, Tensor, int]:
    """Times (K,), states (K, n, 2) and evaluations of the particles.

    Each step of a stochastic sampler has a frame, so that its noise is not smoothed.
    """
    target, path = data_and_path(config.data, config.path, sources=True)
    grid, x_0 = path.clock(config.nfe + 1), starts(path, config.n, config.seed)
    increments = stream(config.seed, "increments")
    if config.sampler == PAIRS:
        x_1 = target.sample(config.n, stream(config.seed, "data"))
        if not config.sourced:
            x_0 = noise(config.n, config.seed)
            return grid, torch.stack([path.flow(t, x_0, x_1) for t in grid]), 0
        x_1 = paired(config.coupling, x_0, x_1, stream(config.seed, "coupling"))
        pairs = PairBridges(path, config.bridge)
        return grid, bridges(pairs, x_0, x_1, grid, increments), 0
    if config.sourced:
        velocity = _bridge(config, field)
    else:
        _, _, velocity = resolve(config.data, config.path, config.field, field)
    if config.sampler == FLOW:
        solution = solve(velocity, x_0, grid, FLOW, steps=steps_for(FLOW, config.nfe))
    elif isinstance(velocity, BridgeField | LearnedBridge):
        motion = velocity.drift, velocity.diffusion, path, x_0, grid
        solution = diffuse(*motion, generator=increments)
    else:
        motion = velocity, path, x_0, grid, config.sampler
        solution = sample(*motion, noise=config.noise, generator=increments)
    return grid, solution.states, solution.nfe


def _bridge(config: ParticlesConfig, field: Field | None) -> BridgeField | LearnedBridge:
    """The exact field, or the learned one if it has the diffusion and coupling of the config."""
    if config.field == EXACT:
        return bridge_of(config.data, config.path, config.bridge)[1]
    _, _, field = resolve(config.data, config.path, config.field, field, sources=True)
    required = config.bridge, config.coupling
    if not isinstance(field, LearnedBridge) or (field.noise, field.coupling) != required:
        raise ValueError(
            f"{config.field} must have been trained with bridges of diffusion {config.bridge:g} "
            f"between pairs of the coupling {config.coupling}; choose such a network (`train "
            "--bridge`) or the exact field."
        )
    return field


@dataclass(frozen=True, kw_only=True)
class NoiseConfig:
    """The noise of the stochastic differential equation: only names and numbers.

    Attributes:
        path: spec of the path.
        noise: the noise level.
        points: number of times, evenly from 0 to the path's t_max.
    """

    path: str = "ot"
    noise: float = 1.0
    points: int = 301

    def __post_init__(self) -> None:
        scheduler(self.path)
        check_bounds(self, points=(2, 100_001))


@dataclass(frozen=True, kw_only=True)
class NoiseResult:
    """The noise over time.

    Attributes:
        times: (K,), from 0 to the path's t_max.
        g: (K,), the strength g_t of the noise.
    """

    times: NDArray[np.float64]
    g: NDArray[np.float64]


def compute_noise(config: NoiseConfig) -> NoiseResult:
    """g_t of the stochastic differential equation over time."""
    path = AffinePath(scheduler(config.path))
    t = path.clock(config.points)
    g = config.noise * (2 * rate(path, t)).sqrt() * path.scheduler(t).sigma
    return NoiseResult(times=t.numpy(), g=g.numpy())


def _energies(first: Tensor, second: Tensor) -> NDArray[np.float64]:
    """The energy distance of sets (T, n, 2) and (T, n, 2), pair by pair, (T,)."""
    energy = METRICS["energy"].compute
    return np.array([energy(x, y, None) for x, y in zip(first, second, strict=True)])
