"""The error of a flow map over the plane: its jumps from t to s against the exact ones."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowviz.bounds import check_bounds
from flowviz.datasets import FRAME
from flowviz.experiments.configs import OnPath
from flowviz.experiments.evaluate import CONVERGED
from flowviz.experiments.evolution import REACHED
from flowviz.experiments.fields import Chunked, resolve
from flowviz.fields import exact_field
from flowviz.solvers import Field, solve

WORST = 0.05
"""Share of the states at t, by probability, in `JumpError.worst`."""


@dataclass(frozen=True, kw_only=True)
class JumpErrorConfig(OnPath):
    """The jumps of a flow map from one time.

    Attributes:
        field: name of a checkpoint or of a live field.
        start: index of the time t of the jumps among the times of `intervals`.
        intervals: number of equal parts of [0, t_max]; their ends are the times of all jumps.
        cells: rows and columns of the grid of states at t.
    """

    BOUNDS = {"intervals": (1, 20), "cells": (2, 512)}

    field: str
    start: int = 0
    intervals: int = 4
    cells: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bounds(self, start=(0, self.intervals - 1))


@dataclass(frozen=True, kw_only=True)
class JumpError:
    """Errors of jumps from t over the frame; rows run along y, columns along x.

    Attributes:
        t: where the jumps start.
        ends: times s of the ends, (S,), the first of which is t.
        axis: coordinates of the states at t, along both axes, (H,).
        velocity: |learned - exact| mean velocity from t to s, (S, H, H) float32; the velocity's
            where s = t. NaN where the exact density at t is below REACHED of its maximum.
        rms: its RMS under the exact density at t, (S,).
        worst: share of the mean squared error that is due to the WORST states, (S,).
        length: RMS length of the exact jumps under that density, (S,).
        nfe: evaluations of the exact field.
    """

    t: float
    ends: NDArray[np.float64]
    axis: NDArray[np.float64]
    velocity: NDArray[np.float32]
    rms: NDArray[np.float64]
    worst: NDArray[np.float64]
    length: NDArray[np.float64]
    nfe: int

    @property
    def distance(self) -> NDArray[np.float32]:
        """The distance of the ends of learned and exact jumps, (S, H, H)."""
        return self.velocity * (self.ends - self.t).astype(np.float32)[:, None, None]

    @property
    def rms_distance(self) -> NDArray[np.float64]:
        """The RMS of this distance, (S,)."""
        return self.rms * (self.ends - self.t)


@torch.no_grad()
def compute_jump_error(config: JumpErrorConfig, *, field: Field | None = None) -> JumpError:
    """The errors of the jumps from one time to all later times of a config.

    Raises:
        ValueError: the field is not a flow map, or its data set or path has no exact field.
        SolveError: the exact flow cannot be integrated.
    """
    target, path, field = resolve(config.data, config.path, config.field, field)
    mean_velocity = getattr(field, "mean_velocity", None)
    if mean_velocity is None:
        raise ValueError(
            "The error of jumps needs a flow map, trained by meanflow, shortcut or distillation; "
            f"{config.field} gives velocities only: choose another network."
        )
    if target.estimated:
        raise ValueError(f"The data set of {config.field} must be known; choose another network.")
    exact = exact_field(path, target.distribution)
    times = path.clock(config.intervals + 1)[config.start :]
    axis = torch.linspace(-FRAME, FRAME, config.cells, dtype=torch.float64)
    density = exact.density_grid(times[0], axis, axis).double()
    reached = density >= REACHED * density.max()
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    states = torch.stack([x[reached], y[reached]], dim=-1)
    method, tol = CONVERGED
    solution = solve(Chunked(exact), states, times, method, tol=tol)
    velocity = torch.full((len(times), *reached.shape), torch.nan, dtype=torch.float64)
    weights = density[reached] / density[reached].sum()
    t, single = times[0], states.float()
    rms, worst, length = [], [], []
    for k, (s, end) in enumerate(zip(times, solution.states, strict=True)):
        true = exact(t, states) if k == 0 else (end - states) / (s - t)
        squares = (mean_velocity(t, s, single).double() - true).square().sum(dim=-1)
        velocity[k][reached] = squares.sqrt()
        rms.append((squares * weights).sum().sqrt().item())
        worst.append(_share_of_worst(squares, weights))
        length.append(((end - states).square().sum(dim=-1) * weights).sum().sqrt().item())
    return JumpError(
        t=t.item(),
        ends=times.numpy(),
        axis=axis.numpy(),
        velocity=velocity.float().numpy(),
        rms=np.array(rms),
        worst=np.array(worst),
        length=np.array(length),
        nfe=solution.nfe,
    )


def _share_of_worst(squares: Tensor, weights: Tensor) -> float:
    """The share of the weighted sum of squares (N,) of the largest ones, WORST of the weights."""
    order = squares.argsort(descending=True)
    first = weights[order].cumsum(0) <= WORST
    parts = (squares * weights)[order]
    return (parts[first].sum() / parts.sum().clamp_min(1e-300)).item()
