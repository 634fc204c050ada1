"""Figure 4 of Lipman et al. 2022, from our own networks: when each path shows the board, and how
few evaluations it needs.

The rows are score matching and flow matching on VP diffusion and flow matching on the conditional
OT path, all on the paper's checkerboard (half-width 4.444 in a frame of +-5). To the left are ten
densities over time, to the right samples by the midpoint method with NFE = 4, 8, 10, 20. Another
row may show a schedule of one's own, for which no network is shipped: by its exact field, or by a
network that was trained on it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from flowviz.bounds import MAX_SEED, check_bounds
from flowviz.datasets import FRAME
from flowviz.draws import noise
from flowviz.experiments.evolution import EXACT, resolve
from flowviz.experiments.likelihood import DensityConfig, carry, compute_density
from flowviz.schedulers import Shaped, scheduler
from flowviz.solvers import Field, steps_for

__all__ = [
    "DATA",
    "METHOD",
    "NFES",
    "ROWS",
    "SAMPLES",
    "TIMES",
    "HistogramConfig",
    "HistogramResult",
    "Row",
    "SheetConfig",
    "SheetResult",
    "compute_histograms",
    "compute_sheet",
    "half_way",
    "pattern",
]

DATA = "checkerboard"
METHOD = "midpoint"
NFES = (4, 8, 10, 20)
TIMES = tuple(np.linspace(0, 1, 10).tolist())
SAMPLES = 50_000

LONG = 90
"""NFE of the solve whose histograms stand in for densities: ten steps between two of TIMES."""


@dataclass(frozen=True)
class Row:
    """One row of the figure: a path and what its network was trained to predict."""

    label: str
    path: str
    checkpoint: str
    """The name of the row's checkpoint, or EXACT."""


ROWS: dict[str, Row] = {
    "score": Row("score matching on VP", "vp", f"{DATA}-vp-score"),
    "noise": Row("noise matching on VP", "vp", f"{DATA}-vp-noise"),
    "vp": Row("flow matching on VP", "vp", f"{DATA}-vp"),
    "ot": Row("flow matching on OT", "ot", f"{DATA}-ot"),
}
"""The rows from top to bottom; the paper's Fig. 4 lacks the one of noise matching."""


@dataclass(frozen=True, kw_only=True)
class HistogramConfig:
    """Samples of one field, counted on a grid; flat, so that it can be a cache key.

    Attributes:
        path: spec of the path.
        field: EXACT or the name of a checkpoint.
        method: name of a fixed-step method in METHODS.
        nfe: evaluations that it spends.
        frames: moments, evenly from 0 to the path's t_max; 1 for the end alone.
        cells: rows and columns of the grid.
        n: samples.
        seed: of the noise.
    """

    VERSION: ClassVar[int] = 1

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
        density: (T, H, H) float32 per unit area; samples outside the frame are missing in it.
        on_support: the share of the last samples that lie where the data has mass.
        nfe: counted evaluations of the field.
    """

    times: NDArray[np.float64]
    density: NDArray[np.float32]
    on_support: float
    nfe: int


@dataclass(frozen=True, kw_only=True)
class SheetConfig:
    """The whole figure, from the shipped networks; flat like `HistogramConfig`.

    Attributes:
        densities: over time: "exact" by change of variables, or "histograms" of samples.
        noise: whether there is a row for noise matching too.
        cells: rows and columns of a panel.
        seed: of the noise of all samples.
        own: spec of a schedule of one's own, which has the last row; empty for none.
        own_field: its field: EXACT, or the name of a checkpoint that was trained on this schedule.
    """

    VERSION: ClassVar[int] = 1

    densities: str = "exact"
    noise: bool = False
    cells: int = 54
    seed: int = 0
    own: str = ""
    own_field: str = EXACT

    def __post_init__(self) -> None:
        if self.own and not isinstance(scheduler(self.own), Shaped):
            raise ValueError(
                f"own must be a schedule of one's own, such as shaped:a1=0.2; got {self.own!r}."
            )
        if self.own_field != EXACT and not self.own:
            raise ValueError(
                f"own_field is the field of own, which must be given with it, such as "
                f"shaped:a1=0.2; got {self.own_field!r} alone."
            )
        if self.densities not in ("exact", "histograms"):
            raise ValueError(f'densities must be "exact" or "histograms"; got {self.densities!r}.')

    @property
    def rows(self) -> list[Row]:
        """The rows from top to bottom."""
        rows = [row for name, row in ROWS.items() if self.noise or name != "noise"]
        if self.own:
            kind = "exact" if self.own_field == EXACT else "learned"
            rows.append(Row(f"{kind} field on your own schedule", self.own, self.own_field))
        return rows

    def few(self, row: Row, field: str) -> list[HistogramConfig]:
        """A row's panels with few evaluations, its network called `field`: one each of NFES."""
        shared = {"path": row.path, "field": field, "cells": self.cells, "seed": self.seed}
        return [HistogramConfig(**shared, nfe=nfe) for nfe in NFES]

    def over_time(self, row: Row, field: str) -> list[DensityConfig] | list[HistogramConfig]:
        """A row's densities at TIMES: a config each, or one of histograms at all of them."""
        shared = {"path": row.path, "field": field, "cells": self.cells}
        if self.densities == "exact":
            return [DensityConfig(data=DATA, **shared, t=t) for t in TIMES]
        return [HistogramConfig(**shared, seed=self.seed, frames=len(TIMES))]


@dataclass(frozen=True, kw_only=True, eq=False)
class SheetResult:
    """The rows that are through, R of them.

    Attributes:
        rows: their labels.
        times: (T,), from 0 to 1.
        over_time: (R, T, H, H) densities per unit area, rows along y, columns along x.
        half: (R,), when half of the pattern is there, see `pattern` and `half_way`.
        nfe: (R, K), counted evaluations of the panels with few of them.
        few: (R, K, H, H) densities of their samples.
        on_support: (R, K), the share of these samples that lie on the board.
        share: of the work that is done, in [0, 1].
    """

    rows: tuple[str, ...]
    times: NDArray[np.float64]
    over_time: NDArray[np.float32]
    half: NDArray[np.float64]
    nfe: NDArray[np.int64]
    few: NDArray[np.float32]
    on_support: NDArray[np.float64]
    share: float


def compute_sheet(config: SheetConfig) -> Iterator[SheetResult]:
    """Makes one row after the other, each of the row's checkpoint; yields after each.

    Raises:
        ValueError: a checkpoint is not there, or a solve failed (SolveError says where).
    """
    labels, sheets, counted = [], [], []
    times = np.array(TIMES)
    for row in config.rows:
        found = [compute_histograms(each) for each in config.few(row, row.checkpoint)]
        over = config.over_time(row, row.checkpoint)
        if config.densities == "exact":
            densities = np.stack([compute_density(each).density for each in over])
        else:
            densities = compute_histograms(over[0]).density
        labels.append(row.label)
        sheets.append(densities)
        counted.append(found)
        yield SheetResult(
            rows=tuple(labels),
            times=times,
            over_time=np.stack(sheets),
            half=np.array([half_way(times, pattern(each)) for each in sheets]),
            nfe=np.array([[each.nfe for each in few] for few in counted]),
            few=np.stack([[each.density[0] for each in few] for few in counted]),
            on_support=np.array([[each.on_support for each in few] for few in counted]),
            share=len(labels) / len(config.rows),
        )


def compute_histograms(config: HistogramConfig, *, field: Field | None = None) -> HistogramResult:
    """The histograms of a config's samples at its moments.

    Args:
        config: what to compute.
        field: the field that `config.field` names, if it is at hand.

    Raises:
        SolveError: the solve failed.
    """
    target, path, named = resolve(DATA, config.path, None if field else config.field)
    field = field or named
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
    """How much of a pattern densities (T, H, H) show, whatever its size and place, (T,).

    It is the total variation, in [0, 1], between each and the Gaussian of its mean and covariance,
    on the frame's grid: 0 for noise.
    """
    cells = density.shape[-1]
    axis = (np.arange(cells) + 0.5) * (2 * FRAME / cells) - FRAME
    points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    shares = density.reshape(len(density), -1).astype(np.float64)
    shares /= shares.sum(axis=1, keepdims=True)
    found = []
    for share in shares:
        mean = share @ points
        offset = points - mean
        covariance = (share[:, None] * offset).T @ offset
        far = np.einsum("ni,ij,nj->n", offset, np.linalg.inv(covariance), offset)
        gaussian = np.exp(-far / 2)
        found.append(np.abs(share - gaussian / gaussian.sum()).sum() / 2)
    return np.array(found)


def half_way(times: NDArray, values: NDArray) -> float:
    """The time at which values (T,) have first risen half-way from the first to the last.

    Between two times they are taken to rise evenly.
    """
    level = (values[0] + values[-1]) / 2
    after = int(np.argmax(values >= level))
    if after == 0:
        return float(times[0])
    share = (level - values[after - 1]) / (values[after] - values[after - 1])
    return float(times[after - 1] + share * (times[after] - times[after - 1]))


def _histogram(points: NDArray, cells: int) -> NDArray[np.float32]:
    """The points (n, 2) a unit of area in each cell of the frame, over n, (H, H)."""
    span = [[-FRAME, FRAME]] * 2
    counts, *_ = np.histogram2d(points[:, 1], points[:, 0], bins=cells, range=span)
    return (counts / (len(points) * (2 * FRAME / cells) ** 2)).astype(np.float32)
