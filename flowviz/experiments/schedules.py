"""The schedules alpha_t and sigma_t of several paths."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from flowviz.bounds import check_bounds
from flowviz.grids import time_of
from flowviz.paths import AffinePath
from flowviz.schedulers import SCHEDULERS, Shaped, scheduler

MIXED = 10.0
"""Signal and noise count as mixed while alpha and sigma differ by less than this factor."""


@dataclass(frozen=True, kw_only=True)
class SchedulesConfig:
    """The schedules of several paths: only names and numbers.

    Attributes:
        paths: specs of the paths.
        points: number of times, denser towards both ends.
    """

    paths: tuple[str, ...] = ("ot", "vp", "trig", "shaped")
    points: int = 401

    def __post_init__(self) -> None:
        for path in self.paths:
            scheduler(path)
        if not self.paths:
            raise ValueError("paths must name at least one path; got none.")
        check_bounds(self, points=(2, 100_001))


@dataclass(frozen=True, kw_only=True, eq=False)
class Course:
    """The schedule of one path at T times, and its summary.

    Attributes:
        path: its spec.
        label: its name.
        t: (T,), from 0 to the path's t_max.
        alpha: (T,).
        sigma: (T,).
        d_alpha: (T,), the time derivative of alpha.
        d_sigma: (T,), that of sigma.
        even: the time at which alpha = sigma.
        window: start and end of the time in which alpha and sigma are mixed, see MIXED.
        circle: the largest |alpha^2 + sigma^2 - 1|.
        fastest: the largest |d_alpha| or |d_sigma|.
    """

    path: str
    label: str
    t: NDArray[np.float64]
    alpha: NDArray[np.float64]
    sigma: NDArray[np.float64]
    d_alpha: NDArray[np.float64]
    d_sigma: NDArray[np.float64]
    even: float
    window: tuple[float, float]
    circle: float
    fastest: float

    @property
    def log_snr(self) -> NDArray[np.float64]:
        """2 log(alpha / sigma), (T,); NaN where there is no signal."""
        ratio = np.divide(
            self.alpha, self.sigma, out=np.full_like(self.alpha, np.nan), where=self.alpha > 0
        )
        return 2 * np.log(ratio)

    @property
    def share(self) -> float:
        """The length of the window in which signal and noise are mixed."""
        return self.window[1] - self.window[0]


@dataclass(frozen=True, kw_only=True, eq=False)
class SchedulesResult:
    """The courses of a config's paths, in their order."""

    courses: tuple[Course, ...]


def compute_schedules(config: SchedulesConfig) -> SchedulesResult:
    """The schedules of a config's paths in closed form."""
    return SchedulesResult(courses=tuple(_course(path, config.points) for path in config.paths))


def _course(spec: str, points: int) -> Course:
    path = AffinePath(scheduler(spec))
    # Denser towards the ends, where sigma of VP falls like a square root.
    share = np.linspace(0, np.pi, points)
    t = path.time((1 - np.cos(share)) / 2)
    alpha, sigma, d_alpha, d_sigma = (v.numpy() for v in path.scheduler(torch.from_numpy(t)))
    ratios = torch.tensor([1 / MIXED, 1.0, MIXED], dtype=torch.float64)
    low, even, high = time_of(path, ratios).tolist()
    return Course(
        path=spec,
        label=path.scheduler.label,
        t=t,
        alpha=alpha,
        sigma=sigma,
        d_alpha=d_alpha,
        d_sigma=d_sigma,
        even=even,
        window=(low, high),
        circle=float(np.abs(alpha**2 + sigma**2 - 1).max()),
        fastest=float(np.abs([d_alpha, d_sigma]).max()),
    )


PRESETS = {"ot": "OT", "vp": "VP", "trig": "trigonometric"}
"""Paths that a user's schedule can start from, with their names on the buttons."""


def presets() -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    """Shapes to start from, as alpha and sigma at `Shaped.KNOTS`, by the label of their button."""
    shapes = {"S-curve": Shaped().values}
    knots = torch.tensor(Shaped.KNOTS, dtype=torch.float64)
    for name, label in PRESETS.items():
        c = SCHEDULERS[name]()(knots)
        shapes[label] = (_spaced(c.alpha.tolist(), 0.0), _spaced(c.sigma.tolist(), 1.0))
    return shapes


def _spaced(values: list[float], first: float) -> tuple[float, ...]:
    """Rounded values at least one step apart."""
    step, last = Shaped.MIN_STEP, 1 - first
    sign = 1 if last > first else -1
    spaced = []
    for k, value in enumerate(values):
        previous = spaced[-1] if spaced else first
        max_rise = sign * (last - previous) - (len(values) - k) * step
        rise = min(max(sign * (value - previous), step), max_rise)
        spaced.append(round(previous + sign * rise, 2))
    return tuple(spaced)
