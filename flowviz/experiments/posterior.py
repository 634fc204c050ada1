r"""From one conditional path to the marginal flow: what the page "Vector field" shows.

`compute_touch` prepares the posterior at a point for the browser, which evaluates it while the
point is dragged. `compute_conditional` evaluates conditional scores, fields and trajectories
(Lipman et al. 2022, Figures 2, 3 and 8), `compute_conversions` velocity, score, noise and data
prediction of one field.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowviz.datasets import FRAME, dataset
from flowviz.draws import noise, stream
from flowviz.experiments.configs import OfField, OnPath
from flowviz.experiments.fields import EXACT, resolve
from flowviz.fields import LearnedField, exact_field
from flowviz.paths import AffinePath
from flowviz.schedulers import Coefficients, scheduler

ROWS = 501
"""Number of positions of the time slider."""
PANEL_TIMES = (0.0, 1 / 3, 2 / 3, 1.0)
"""Times of Figures 2 and 8, as shares of t_max."""
STATES = 401
"""Number of states of a conditional trajectory."""


@dataclass(frozen=True, kw_only=True)
class TouchConfig(OnPath):
    """The data points and the path of the posterior at a point.

    Attributes:
        n: number of points drawn from it.
        seed: of the draw.
    """

    BOUNDS = {"n": (2, 2_000)}

    n: int = 1_000
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class TouchResult:
    """The drawn points, the distribution and the path, ready for the browser.

    Attributes:
        points: (n, 2), drawn from the data set.
        times: (T,), from 0 to t_max in steps of the slider.
        coefficients: (4, T): alpha, sigma, d_alpha, d_sigma at these times.
        speed: (T,), root mean square of the conditional velocities, for the arrows' scale.
    """

    points: NDArray[np.float64]
    times: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    speed: NDArray[np.float64]


def compute_touch(config: TouchConfig) -> TouchResult:
    """The points, the distribution and the coefficients over time."""
    data, schedule = dataset(config.data), scheduler(config.path)
    points = data.sample(config.n, stream(config.seed, "data")).double()
    times = AffinePath(schedule).clock(ROWS)
    c = schedule(times)
    square = points.square().sum(dim=1).mean()
    return TouchResult(
        points=points.numpy(),
        times=times.numpy(),
        coefficients=torch.stack(c).numpy(),
        speed=(c.d_alpha.square() * square + 2 * c.d_sigma.square()).sqrt().numpy(),
    )


@dataclass(frozen=True, kw_only=True)
class ConditionalConfig:
    """Conditional fields and trajectories towards one data point, on two or three paths.

    Attributes:
        paths: specs of the paths, separated by spaces, the diffusion path first.
        x: first coordinate of the data point.
        y: second coordinate of the data point.
        n: number of trajectories.
        seed: of their noise.
        arrows: rows and columns of the fields.
    """

    paths: str = "vp ot"
    x: float = 1.6
    y: float = 0.8
    n: int = 24
    seed: int = 0
    arrows: int = 15

    def __post_init__(self) -> None:
        if not self.paths.split():
            raise ValueError("paths must name at least one path; got none.")
        for path in self.paths.split():
            scheduler(path)
        if max(abs(self.x), abs(self.y)) > FRAME:
            raise ValueError(
                f"The data point must lie in [-{FRAME:g}, {FRAME:g}]^2; got ({self.x}, {self.y})."
            )


@dataclass(frozen=True)
class ConditionalTrajectories:
    """The conditional flow of one path towards one data point x_1.

    Attributes:
        path: its spec.
        label: its name.
        times: (4,), the path's times at the shares PANEL_TIMES.
        field: (4, m, 2), u_t(x | x_1) at the grid.
        score: (4, m, 2), the gradient of log p_t(x | x_1) at the grid.
        field_turn: mean angle in degrees between the field's direction at t = 0 and at the end.
        score_turn: the same of the score.
        clock: (S,), the times of the trajectories.
        states: (S, n, 2), conditional trajectories, from noise to x_1.
        progress: (S, n), covered fraction of the straight line to the end; above 1 it overshoots.
        overshoot: (n,), largest distance beyond the end in data units, at least 0.
        detour: (n,), length of each trajectory over the distance between its ends.
    """

    path: str
    label: str
    times: NDArray[np.float64]
    field: NDArray[np.float64]
    score: NDArray[np.float64]
    field_turn: float
    score_turn: float
    clock: NDArray[np.float64]
    states: NDArray[np.float64]
    progress: NDArray[np.float64]
    overshoot: NDArray[np.float64]
    detour: NDArray[np.float64]


@dataclass(frozen=True)
class ConditionalResult:
    """The conditional flows of the paths of a config.

    Attributes:
        positions: (m, 2), the grid of the fields.
        end: (2,), the data point.
        trajectories: one entry per path.
    """

    positions: NDArray[np.float64]
    end: NDArray[np.float64]
    trajectories: tuple[ConditionalTrajectories, ...]


def compute_conditional(config: ConditionalConfig) -> ConditionalResult:
    """Conditional scores, fields and trajectories of a config, in closed form."""
    axis = torch.linspace(-FRAME, FRAME, config.arrows, dtype=torch.float64) * 0.93
    positions = torch.cartesian_prod(axis, axis).flip(1)
    end = torch.tensor([config.x, config.y], dtype=torch.float64)
    x_0 = noise(config.n, config.seed).double()
    trajectories = tuple(_trajectories(path, positions, end, x_0) for path in config.paths.split())
    return ConditionalResult(positions.numpy(), end.numpy(), trajectories)


def _trajectories(
    spec: str, positions: Tensor, end: Tensor, noise: Tensor
) -> ConditionalTrajectories:
    path = AffinePath(scheduler(spec))
    times = path.time(torch.tensor(PANEL_TIMES, dtype=torch.float64))
    x_1 = end.expand_as(positions)
    fields = torch.stack([path.velocity(t, positions, x_1) for t in times])
    scores = torch.stack([path.score(t, positions, x_1) for t in times])
    clock = path.clock(STATES)
    ends = end.expand_as(noise)
    states = torch.stack([path.flow(t, noise, ends) for t in clock])
    chord = states[-1] - states[0]
    length = torch.linalg.vector_norm(chord, dim=-1)
    progress = ((states - states[0]) * chord).sum(-1) / length.square()
    arc = torch.linalg.vector_norm(states.diff(dim=0), dim=-1).sum(0)
    return ConditionalTrajectories(
        path=spec,
        label=path.scheduler.label,
        times=times.numpy(),
        field=fields.numpy(),
        score=scores.numpy(),
        field_turn=_turn(fields),
        score_turn=_turn(scores),
        clock=clock.numpy(),
        states=states.numpy(),
        progress=progress.numpy(),
        overshoot=((progress.amax(0) - 1).clamp(min=0) * length).numpy(),
        detour=(arc / length).numpy(),
    )


def _turn(vectors: Tensor) -> float:
    """The mean angle in degrees between the first and the last of vectors (T, m, 2)."""
    first, last = (torch.nn.functional.normalize(v, dim=-1) for v in (vectors[0], vectors[-1]))
    return torch.rad2deg(torch.acos((first * last).sum(-1).clamp(-1, 1))).mean().item()


@dataclass(frozen=True)
class Factor:
    """A conversion between two predictions of one field, linear in the source.

    Attributes:
        source: the given prediction.
        target: the prediction that is computed.
        symbol: the factor in TeX.
        value: the factor at some coefficients: how much an error of the source is magnified.
    """

    source: str
    target: str
    symbol: str
    value: Callable[[Coefficients], Tensor]


FACTORS = (
    Factor("score", "velocity", r"\sigma D/\alpha", lambda c: c.sigma * c.wronskian / c.alpha),
    Factor("noise", "velocity", r"-D/\alpha", lambda c: -c.wronskian / c.alpha),
    Factor("data", "velocity", r"D/\sigma", lambda c: c.wronskian / c.sigma),
    Factor("velocity", "score", r"\alpha/(\sigma D)", lambda c: c.alpha / (c.sigma * c.wronskian)),
    Factor("velocity", "noise", r"-\alpha/D", lambda c: -c.alpha / c.wronskian),
    Factor("velocity", "data", r"\sigma/D", lambda c: c.sigma / c.wronskian),
    Factor("noise", "score", r"-1/\sigma", lambda c: -1 / c.sigma),
    Factor("noise", "data", r"-\sigma/\alpha", lambda c: -c.sigma / c.alpha),
)
"""D = d_alpha sigma - alpha d_sigma, positive on every path. All follow from
u = d_alpha m + d_sigma e, x = alpha m + sigma e and s = -e / sigma."""


@dataclass(frozen=True, kw_only=True)
class ConversionConfig(OfField):
    """One field in four predictions.

    Attributes:
        t: the time, a share of the path's t_max in [0, 1].
        arrows: rows and columns of the fields.
    """

    BOUNDS = {"t": (0.0, 1.0)}

    t: float = 0.5
    arrows: int = 15


@dataclass(frozen=True)
class ConversionResult:
    """Four predictions of one field at one time, and the factors between them over time.

    Attributes:
        t: the path's time.
        positions: (m, 2).
        predictions: velocity, score, noise and data, each (m, 2), all from the velocity.
        error: RMS difference of each from the exact one where the density is at least 1% of its
            maximum, by name; rounding errors only for an exact field.
        times: (T,), the times of the factors.
        factors: (len(FACTORS), T), infinite at a division by 0.
    """

    t: float
    positions: NDArray[np.float64]
    predictions: dict[str, NDArray[np.float64]]
    error: dict[str, float]
    times: NDArray[np.float64]
    factors: NDArray[np.float64]

    def factor(self, t: float) -> NDArray[np.float64]:
        """All factors at the time nearest to t, (len(FACTORS),)."""
        return self.factors[:, np.abs(self.times - t).argmin()]


@torch.no_grad()
def compute_conversions(
    config: ConversionConfig, *, field: LearnedField | None = None
) -> ConversionResult:
    """The four predictions of a config's field on a grid, and the factors between them."""
    data, path, velocity = resolve(config.data, config.path, config.field, field)
    axis = torch.linspace(-FRAME, FRAME, config.arrows, dtype=torch.float64) * 0.93
    x = torch.cartesian_prod(axis, axis).flip(1)
    t = torch.tensor(path.time(config.t), dtype=torch.float64)
    exact = exact_field(path, data.distribution)
    u = velocity(t, x) if config.field == EXACT else velocity(t.float(), x.float()).double()
    predictions = {
        "velocity": u,
        "score": path.score_from_velocity(t, x, u),
        "noise": path.noise_from_velocity(t, x, u),
        "data": path.data_from_velocity(t, x, u),
    }
    noise, mean = exact.means(t, x)
    truth = {
        "velocity": exact(t, x),
        "score": exact.score(t, x),
        "noise": noise,
        "data": mean,
    }
    log_density = exact.log_density(t, x)
    likely = log_density > log_density.max() + math.log(0.01)
    times = _factor_times(path.t_max)
    c = path.scheduler(times)
    return ConversionResult(
        t=t.item(),
        positions=x.numpy(),
        predictions={name: value.numpy() for name, value in predictions.items()},
        error={
            name: (value - truth[name])[likely].square().sum(-1).mean().sqrt().item()
            for name, value in predictions.items()
        },
        times=times.numpy(),
        factors=torch.stack([f.value(c) for f in FACTORS]).numpy(),
    )


def _factor_times(t_max: float) -> Tensor:
    """Times from 0 to t_max, denser near both ends, where factors are steep."""
    near_start = torch.logspace(-4, -2, 41, dtype=torch.float64)
    middle = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    ends = torch.tensor([0.0, t_max], dtype=torch.float64)
    times = torch.cat([near_start, middle, 1 - near_start, ends])
    return torch.unique(times[times <= t_max])
