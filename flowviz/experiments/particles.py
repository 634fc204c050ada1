"""One path, three ways to run it: by pairs, by the flow and by a diffusion of the same densities.

A *pair* is joined by the conditional path x_t = alpha x_1 + sigma x_0. The *flow* moves each
state by the marginal velocity alone. The *diffusion* adds noise and takes it out by the score. At
every t all three have the density p_t; what differs is which particle is where, and how it came.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowviz.bounds import MAX_SEED, check_bounds
from flowviz.draws import noise, stream
from flowviz.experiments.evolution import EXACT, resolve
from flowviz.metrics import METRICS
from flowviz.paths import AffinePath
from flowviz.schedulers import refuse_learned, scheduler
from flowviz.solvers import Field, solve, steps_for
from flowviz.stochastic import SAMPLERS, rate, sample

__all__ = [
    "CHECKED",
    "FLOW",
    "PAIRS",
    "TOLERANCE",
    "NoiseConfig",
    "NoiseResult",
    "ParticlesConfig",
    "ParticlesResult",
    "compute_noise",
    "compute_particles",
]

PAIRS = "pairs"
"""The conditional path of fixed pairs, in place of a sampler's name."""

FLOW = "midpoint"
"""The flow, in place of a sampler's name: the method in METHODS that follows it."""

CHECKED = (0.2, 0.4, 0.6, 0.8, 1.0)
"""The times, as shares of t_max, near which particles are held against draws of p_t."""

FLOOR_SETS = 20
"""Pairs of fresh sets whose distances say what a perfect sampler would have."""

TOLERANCE = 2.0
"""How many times the largest distance of fresh sets is more than chance."""


@dataclass(frozen=True, kw_only=True)
class ParticlesConfig:
    """One way to run a path: only names and numbers.

    Attributes:
        data: spec of the data set.
        path: spec of the path.
        field: EXACT, or the name of a checkpoint or of a live field; pairs need none.
        way: PAIRS, FLOW or a name in SAMPLERS.
        noise: the noise level of a sampler; 0 otherwise.
        nfe: evaluations, even; pairs take none.
        n: particles.
        seed: of the noise at t = 0, which all ways share, of the data and of the noise on the way.
    """

    data: str = "8gaussians"
    path: str = "ot"
    field: str = EXACT
    way: str = PAIRS
    noise: float = 0.0
    nfe: int = 100
    n: int = 600
    seed: int = 0

    def __post_init__(self) -> None:
        refuse_learned(self.path)
        if self.way == FLOW:
            steps_for(FLOW, self.nfe)
        elif self.way != PAIRS:
            _ = SAMPLERS[self.way]
        check_bounds(self, nfe=(2, 1_000), n=(2, 5_000), seed=(0, MAX_SEED))


@dataclass(frozen=True, kw_only=True)
class ParticlesResult:
    """Where the particles went.

    Attributes:
        times: (K,), from 0 to the path's t_max.
        states: (K, n, 2) float32.
        nfe: counted evaluations of the field.
        checked: (5,), the times of the steps nearest to CHECKED.
        energy: (5,), the energy distance to fresh draws of p_t at these.
        floor: (5,), that of two fresh sets, mean of FLOOR_SETS.
        highest: (5,), the largest of these.
        length: (n,), of each particle's way.
        displacement: (n,), from its start to its end.
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
        """Whether the densities are p_t, as far as so many particles tell.

        That is at no time more than TOLERANCE times as far from it as any of the fresh sets: the
        five distances hang together, for one draw of noise leads to all of them.
        """
        return bool((self.energy <= TOLERANCE * self.highest).all())


@torch.no_grad()
def compute_particles(config: ParticlesConfig, *, field: Field | None = None) -> ParticlesResult:
    """Runs a path one way.

    Args:
        config: what to compute.
        field: a field that `config.field` names but that lies in no file.

    Raises:
        ValueError: a name is unknown, or the solver failed (SolveError says where).
    """
    needs = config.way != PAIRS and field is None
    target, path, named = resolve(config.data, config.path, config.field if needs else None)
    field = field or named
    x_0 = noise(config.n, config.seed)
    # Frames at the steps of a sampler, so that none of its noise is smoothed away.
    grid = path.clock(config.nfe + 1)
    if config.way == PAIRS:
        x_1 = target.sample(config.n, stream(config.seed, "data"))
        states, nfe = torch.stack([path.flow(t, x_0, x_1) for t in grid]), 0
    elif config.way == FLOW:
        steps = steps_for(FLOW, config.nfe)
        solution = solve(field, path.start(x_0), grid, FLOW, steps=steps)
        states, nfe = solution.states, solution.nfe
    else:
        solution = sample(
            field,
            path,
            path.start(x_0),
            grid,
            config.way,
            noise=config.noise,
            generator=stream(config.seed, "increments"),
        )
        states, nfe = solution.states, solution.nfe
    at = [round(share * config.nfe) for share in CHECKED]
    truth = _truth(config.data, config.path, config.n, tuple(grid[at].tolist()))
    ways = torch.linalg.vector_norm(states.diff(dim=0), dim=-1).sum(dim=0)
    return ParticlesResult(
        times=grid.numpy(),
        states=states.numpy(),
        nfe=nfe,
        checked=grid[at].numpy(),
        energy=_energies(states[at], truth.points),
        floor=truth.floors.mean(axis=0),
        highest=truth.floors.max(axis=0),
        length=ways.double().numpy(),
        displacement=torch.linalg.vector_norm(states[-1] - states[0], dim=-1).double().numpy(),
    )


@dataclass(frozen=True, kw_only=True)
class NoiseConfig:
    """How much noise the stochastic differential equation adds: only names and numbers.

    Attributes:
        path: spec of the path.
        noise: the noise level.
        points: times, evenly from 0 to the path's t_max.
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


@dataclass(frozen=True)
class _Truth:
    """Fresh draws of p_t at five times, (5, n, 2), and how far two fresh sets are apart."""

    points: Tensor
    floors: NDArray[np.float64]
    """(FLOOR_SETS, 5)."""


@lru_cache(maxsize=32)
def _truth(data: str, path: str, n: int, times: tuple[float, ...]) -> _Truth:
    target, affine, _ = resolve(data, path, None)
    generator = stream(0, "reference")

    def fresh() -> Tensor:
        x_0, x_1 = torch.randn(n, 2, generator=generator), target.sample(n, generator)
        moments = torch.tensor(times, dtype=torch.float64)
        return torch.stack([affine.flow(t, x_0, x_1) for t in moments])

    sets = [fresh() for _ in range(FLOOR_SETS + 1)]
    floors = [_energies(first, second) for first, second in zip(sets[1:], sets, strict=False)]
    return _Truth(sets[0], np.array(floors))


def _energies(first: Tensor, second: Tensor) -> NDArray[np.float64]:
    """The energy distance of sets (T, n, 2) and (T, n, 2), pair by pair, (T,)."""
    energy = METRICS["energy"].compute
    return np.array([energy(x, y, None) for x, y in zip(first, second, strict=True)])
