"""Why can the network learn from single pairs? The data points that decide the velocity at x.

The marginal velocity is the mean of the conditional ones, u_t(x) = E[u_t(x | x_1) | x_t = x]
(Lipman et al. 2022, eq. 8); here over random data points.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from flowviz.experiments.posterior import TouchConfig, compute_touch
from flowviz.figures import plane, theme
from flowviz.paths import AffinePath
from flowviz.progress import Progress
from flowviz.schedulers import scheduler
from flowviz.settings import Config, setting
from flowviz.studies import Figures, Finding, Findings, Live, NamedFigure, Study, Tables
from flowviz.studies import _settings as declare
from flowviz.studies._tables import xy

SHARE = 0.99
"""Share of the weight of the data points that are said to matter."""


@dataclass(frozen=True, kw_only=True)
class TouchStudyConfig(Config):
    """A point x at time t, and random data points."""

    data: str = declare.data()
    path: str = declare.path()
    n: int = setting(
        1_000,
        "Points",
        bounds=(2, 20_000),
        work=1,
        offered=(20, 100, 500, 1_000, 2_000),
        help="Number of data points.",
    )
    seed: int = declare.seed("Seed of the points")
    t: float = setting(0.6, "Time t", bounds=(0.0, 1.0), help="Share of the path's time.")
    x: float = setting(2.2, "x₁", bounds=(-theme.FRAME, theme.FRAME), help="First coordinate.")
    y: float = setting(1.0, "x₂", bounds=(-theme.FRAME, theme.FRAME), help="Second coordinate.")


@dataclass(frozen=True, kw_only=True, eq=False)
class TouchStudyResult:
    """Weights and velocities of the data points at x.

    Attributes:
        points: (n, 2), the data points.
        weights: (n,), the posterior probability of each given x_t = x; they sum to 1.
        velocities: (n, 2), the conditional velocities at x.
    """

    points: NDArray[np.float64]
    weights: NDArray[np.float64]
    velocities: NDArray[np.float64]

    @property
    def velocity(self) -> NDArray[np.float64]:
        """The marginal velocity at x, (2,)."""
        return self.weights @ self.velocities

    @property
    def deciding(self) -> int:
        """Number of data points that have SHARE of the weight."""
        return int(np.searchsorted(np.cumsum(np.sort(self.weights)[::-1]), SHARE)) + 1


def compute(
    config: TouchStudyConfig, live: Live, progress: Progress
) -> Iterator[TouchStudyResult]:
    """Evaluates the posterior in closed form, in float64."""
    piece = TouchConfig(data=config.data, path=config.path, n=config.n, seed=config.seed)
    points = torch.from_numpy(progress.cached(compute_touch, piece).points)
    path = AffinePath(scheduler(config.path))
    t = torch.tensor(path.time(config.t), dtype=torch.float64)
    x = torch.tensor([[config.x, config.y]], dtype=torch.float64)
    c = path.coefficients(t, points)
    logits = -(x - c.alpha * points).square().sum(dim=1) / (2 * c.sigma.flatten()[0] ** 2)
    yield TouchStudyResult(
        points=points.numpy(),
        weights=torch.softmax(logits, dim=0).numpy(),
        velocities=path.velocity(t, x.expand_as(points), points).numpy(),
    )


def draw(config: TouchStudyConfig, result: TouchStudyResult) -> Figures:
    """The data points that matter, and the marginal velocity at x."""
    position = np.array([[config.x, config.y]])
    matter = result.weights >= np.sort(result.weights)[-result.deciding]
    panel = plane.Plane(
        title=f"{scheduler(config.path).label}, t = {config.t:.2f}",
        colour=theme.path_colour(config.path),
        positions=position,
        velocities=result.velocity[None],
        particles=result.points[matter],
        data=result.points,
    )
    yield NamedFigure(
        name="touch",
        title=f"data points that decide the velocity at t = {config.t:.2f}",
        alt=f"{result.deciding} of {config.n:,} data points have {SHARE:.0%} of the weight at "
        f"x = ({config.x:.2f}, {config.y:.2f}); the arrow is the marginal velocity.",
        figure=plane.snapshot([panel], t=config.t),
        squares=1,
    )


def table(config: TouchStudyConfig, result: TouchStudyResult) -> Tables:
    """One row for each data point."""
    return {
        **xy(result.points),
        "weight": result.weights,
        "u1": result.velocities[:, 0],
        "u2": result.velocities[:, 1],
    }


def say(config: TouchStudyConfig, result: TouchStudyResult) -> Findings:
    """How many data points matter at x, and the mean of their velocities."""
    u = result.velocity
    yield Finding(
        text=f"{result.deciding} of {config.n:,} data points matter here: they have "
        f"{SHARE:.0%} of the weight. Their conditional velocities have the weighted mean "
        f"({u[0]:.2f}, {u[1]:.2f}), which is the marginal velocity.",
        numbers={"deciding": result.deciding, "u1": float(u[0]), "u2": float(u[1])},
    )


STUDY = Study(
    __name__,
    "The data points that decide the velocity at a point",
    TouchStudyConfig,
    (compute, draw, table, say),
    page="why",
    seconds=0.2,
    smallest={"n": 50},
)
