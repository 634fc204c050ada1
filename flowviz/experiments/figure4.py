"""Histograms of samples of the checkerboard, and the amount of pattern in a density."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowviz.bounds import MAX_SEED, check_bounds
from flowviz.datasets import FRAME
from flowviz.draws import noise
from flowviz.experiments.fields import EXACT, resolve
from flowviz.experiments.likelihood import carry
from flowviz.schedulers import scheduler
from flowviz.solvers import Field, steps_for

DATA = "checkerboard"
"""The paper's checkerboard, of half-width 4.444 in a frame of ±5."""
METHOD = "midpoint"
SAMPLES = 50_000

LONG = 36
"""NFE of the solve for histograms over time: two midpoint steps between two of ten times.

The samples of the shipped fields then lie 0.004 (OT) and 0.008 (VP) from those of a converged
solve, on average: an eighth of the smallest cell on offer.
"""


@dataclass(frozen=True, kw_only=True)
class HistogramConfig:
    """Histograms of the samples of one field; names and numbers only, a cache key.

    Attributes:
        path: spec of the path.
        field: EXACT or the name of a checkpoint.
        method: name of a fixed-step method in METHODS.
        nfe: number of function evaluations.
        frames: number of times, evenly from 0 to the path's t_max; 1 for the end only.
        cells: rows and columns of the grid.
        n: number of samples.
        seed: seed of the noise.
    """

    path: str = "ot"
    field: str = EXACT
    method: str = METHOD
    nfe: int = LONG
    frames: int = 1
    cells: int = 100
    n: int = SAMPLES
    seed: int = 0

    def __post_init__(self) -> None:
        scheduler(self.path)
        steps_for(self.method, self.nfe)
        check_bounds(self, frames=(1, 101), cells=(2, 512), n=(1, 1_000_000), seed=(0, MAX_SEED))


@dataclass(frozen=True, kw_only=True)
class HistogramResult:
    """Densities as counts of samples; rows run along y, columns along x.

    Attributes:
        times: (T,), evenly from 0 to the path's t_max; a single one is t_max.
        density: (T, H, H) float32 per unit area, without samples outside the frame.
        on_support: share of the last samples in the support of the data.
        nfe: counted evaluations of the field.
    """

    times: NDArray[np.float64]
    density: NDArray[np.float32]
    on_support: float
    nfe: int


def compute_histograms(config: HistogramConfig, *, field: Field | None = None) -> HistogramResult:
    """Samples a field and counts the samples at each time.

    Raises:
        SolveError: the solve failed.
    """
    target, path, field = resolve(DATA, config.path, config.field, field)
    frames = max(2, config.frames)
    times = path.clock(frames)
    steps = steps_for(config.method, config.nfe)
    start = path.start(noise(config.n, config.seed))
    states, nfe = carry(field, start, times, config.method, steps=steps)
    states = states[-config.frames :]
    inside = target.distribution.contains(states[-1])
    return HistogramResult(
        times=times[-config.frames :].numpy(),
        density=np.stack([_histogram(points, config.cells) for points in states.numpy()]),
        on_support=inside.double().mean().item(),
        nfe=nfe,
    )


def pattern(density: NDArray) -> NDArray[np.float64]:
    """The amount of pattern in densities (T, H, H), independent of size and position, (T,).

    It is the total variation, in [0, 1], between each and the Gaussian of its mean and covariance,
    on the frame's grid: 0 for noise.
    """
    cells = density.shape[-1]
    axis = (np.arange(cells) + 0.5) * (2 * FRAME / cells) - FRAME
    points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    shares = density.reshape(len(density), -1).astype(np.float64)
    shares /= shares.sum(axis=1, keepdims=True)
    variations = []
    for share in shares:
        mean = share @ points
        offset = points - mean
        covariance = (share[:, None] * offset).T @ offset
        mahalanobis = np.einsum("ni,ij,nj->n", offset, np.linalg.inv(covariance), offset)
        gaussian = np.exp(-mahalanobis / 2)
        variations.append(np.abs(share - gaussian / gaussian.sum()).sum() / 2)
    return np.array(variations)


def half_way(times: NDArray, values: NDArray) -> float:
    """The first time at which values (T,) reach the mean of the first and the last.

    Between two times the values are interpolated linearly.
    """
    level = (values[0] + values[-1]) / 2
    upper = int(np.argmax(values >= level))
    if upper == 0:
        return float(times[0])
    share = (level - values[upper - 1]) / (values[upper] - values[upper - 1])
    return float(times[upper - 1] + share * (times[upper] - times[upper - 1]))


def _histogram(points: NDArray, cells: int) -> NDArray[np.float32]:
    """The density of points (n, 2) per unit area in each cell of the frame, (H, H)."""
    span = [[-FRAME, FRAME]] * 2
    counts, *_ = np.histogram2d(points[:, 1], points[:, 0], bins=cells, range=span)
    return (counts / (len(points) * (2 * FRAME / cells) ** 2)).astype(np.float32)
