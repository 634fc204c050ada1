"""The accepted and rejected steps of an adaptive solve."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowviz.experiments.evaluate import EvaluateConfig, samples_of
from flowviz.experiments.fields import FieldRef
from flowviz.experiments.starts import starts
from flowviz.solvers import METHODS

SHOWN = 12
"""Number of stored trajectories."""


@dataclass(frozen=True, kw_only=True)
class AdaptiveConfig:
    """One adaptive solve; names and numbers only, a cache key.

    Attributes:
        source: name of the field.
        method: an adaptive method in METHODS.
        tol: tolerance of a step.
        n: number of samples that share the steps.
        seed: seed of the noise.
        frames: number of times of the trajectories, evenly from 0 to the path's t_max.
    """

    source: str
    method: str = "dopri5"
    tol: float = 1e-3
    n: int = 1_000
    seed: int = 0
    frames: int = 201

    def __post_init__(self) -> None:
        if not METHODS[self.method].adaptive:
            names = ", ".join(name for name, entry in METHODS.items() if entry.adaptive)
            raise ValueError(f"method must be adaptive: {names}; got {self.method!r}.")


@dataclass(frozen=True, kw_only=True, eq=False)
class AdaptiveSolve:
    """The steps of an adaptive solve and the trajectories of some particles.

    Attributes:
        label: the field's label.
        path: spec of the path.
        t_max: end time.
        nfe: counted evaluations.
        begin: (S,), start times of the accepted steps.
        size: (S,), their lengths.
        rejected: (R, 2), start and length of the rejected steps.
        times: (T,), from 0 to t_max.
        states: (T, SHOWN, 2), particles at these times.
    """

    label: str
    path: str
    t_max: float
    nfe: int
    begin: NDArray[np.float64]
    size: NDArray[np.float64]
    rejected: NDArray[np.float64]
    times: NDArray[np.float64]
    states: NDArray[np.float32]


def compute_adaptive(config: AdaptiveConfig) -> AdaptiveSolve:
    """Solves the flow of a field and records the steps.

    Raises:
        ValueError: a name is unknown, or the solve failed (SolveError).
    """
    origin = FieldRef.of(config.source)
    times = origin.path.clock(config.frames)
    settings = EvaluateConfig(
        method=config.method, nfe=None, tol=config.tol, n=config.n, seed=config.seed
    )
    start = starts(origin.path, config.n, config.seed)
    solution = samples_of(origin.field, start, settings, times=times)
    edges = solution.step_times.numpy()
    return AdaptiveSolve(
        label=origin.label,
        path=origin.path_spec,
        t_max=origin.path.t_max,
        nfe=solution.nfe,
        begin=edges[:-1],
        size=np.diff(edges),
        rejected=solution.rejected.numpy().reshape(-1, 2),
        times=times.numpy(),
        states=solution.states[:, :SHOWN].numpy(),
    )
