r"""Schedulers: the coefficients of an affine conditional path.

A scheduler maps a time t to the four numbers that define

    x_t = alpha_t x_1 + sigma_t x_0,    d x_t / dt = d_alpha_t x_1 + d_sigma_t x_0,

with noise at t = 0 and data at t = 1. Everything else (conditional velocities, marginal fields,
conversions between velocity, score and noise) follows from the four.

References:
    Lipman et al. 2022, Flow Matching for Generative Modeling, https://arxiv.org/abs/2210.02747
"""

import math
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from flowviz.registry import Registry

__all__ = [
    "SCHEDULERS",
    "Coefficients",
    "CondOT",
    "Scheduler",
    "Trigonometric",
    "VPDiffusion",
    "VarianceExploding",
    "scheduler",
    "spec_of",
]

SIGMA_STOP = 1e-3
"""Where sigma_t would fall below this, a path stops: fields are unbounded as sigma_t -> 0."""


class Coefficients(NamedTuple):
    """The coefficients of a path at a time and their time derivatives, each with t's shape."""

    alpha: Tensor
    sigma: Tensor
    d_alpha: Tensor
    d_sigma: Tensor


class Scheduler(Protocol):
    """What a path asks of a scheduler."""

    label: ClassVar[str]
    """What menus and legends show."""
    symbol: ClassVar[str]
    """The formula of alpha_t and sigma_t in TeX, for captions."""

    @property
    def t_max(self) -> float:
        """The time at which training stops drawing and solvers stop, at most 1."""

    @property
    def sigma_0(self) -> float:
        """The standard deviation of the noise at t = 0."""

    def __call__(self, t: Tensor) -> Coefficients:
        """The coefficients at times t in [0, t_max], of any shape."""


SCHEDULERS: Registry[type[Scheduler]] = Registry("path")


@SCHEDULERS.register("ot")
@dataclass(frozen=True)
class CondOT:
    """The conditional optimal-transport path (Lipman et al. 2022, eq. 20-23).

    alpha_t = t and sigma_t = 1 - (1 - sigma_min) t. The paper gives no value of sigma_min; the
    default 0 is that of the authors' later library. "OT" is said of the map from noise to one data
    point, not of the marginal flow.
    """

    sigma_min: float = 0.0
    label: ClassVar[str] = "conditional OT"
    symbol: ClassVar[str] = r"\alpha_t = t,\; \sigma_t = 1 - (1 - \sigma_{\min})\,t"
    sigma_0: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.sigma_min < 1:
            raise ValueError(f"sigma_min must be in [0, 1); got {self.sigma_min}.")

    @property
    def t_max(self) -> float:
        """The last time, at most 1, at which sigma_t is SIGMA_STOP or more."""
        return min(1.0, (1 - SIGMA_STOP) / (1 - self.sigma_min))

    def __call__(self, t: Tensor) -> Coefficients:
        """The coefficients at times t in [0, t_max], of any shape."""
        slope = 1 - self.sigma_min
        return Coefficients(t, 1 - slope * t, torch.ones_like(t), torch.full_like(t, -slope))


@SCHEDULERS.register("vp")
@dataclass(frozen=True)
class VPDiffusion:
    """Variance-preserving diffusion, run from noise to data (Lipman et al. 2022, eq. 18-19).

    alpha_t = exp(-T(1 - t) / 2) and sigma_t^2 = 1 - alpha_t^2, where T(s) integrates
    beta(s) = beta_min + s (beta_max - beta_min) from 0. alpha_0 = 0.0066, so that p_0 is not
    exactly the noise; sigma_1 = 0, so that time stops at the paper's 1 - 1e-5.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    label: ClassVar[str] = "VP diffusion"
    symbol: ClassVar[str] = (
        r"\alpha_t = e^{-T(1-t)/2},\; \sigma_t^2 = 1 - \alpha_t^2,\;"
        r" T(s) = \beta_{\min} s + \tfrac12 s^2 (\beta_{\max} - \beta_{\min})"
    )
    t_max: ClassVar[float] = 1 - 1e-5
    sigma_0: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.beta_min <= self.beta_max:
            raise ValueError(
                "beta_min must be positive and at most beta_max; "
                f"got {self.beta_min} and {self.beta_max}."
            )

    def __call__(self, t: Tensor) -> Coefficients:
        """The coefficients at times t in [0, t_max], of any shape."""
        s = 1 - t  # diffusion runs from data to noise
        beta = self.beta_min + s * (self.beta_max - self.beta_min)
        T = s * (self.beta_min + beta) / 2
        alpha = torch.exp(-T / 2)
        sigma = torch.sqrt(-torch.expm1(-T))  # 1 - exp(-T) loses its digits near t = 1
        d_alpha = beta * alpha / 2
        return Coefficients(alpha, sigma, d_alpha, -alpha * d_alpha / sigma)


@SCHEDULERS.register("trig")
@dataclass(frozen=True)
class Trigonometric:
    """The trigonometric interpolant alpha_t = sin(pi t / 2), sigma_t = cos(pi t / 2).

    It keeps the variance of unit-variance data, as VP diffusion does, but it is another path:
    Albergo and Vanden-Eijnden 2022, https://arxiv.org/abs/2209.15571.
    """

    label: ClassVar[str] = "trigonometric"
    symbol: ClassVar[str] = r"\alpha_t = \sin\tfrac{\pi t}2,\; \sigma_t = \cos\tfrac{\pi t}2"
    t_max: ClassVar[float] = 2 / math.pi * math.acos(SIGMA_STOP)
    sigma_0: ClassVar[float] = 1.0

    def __call__(self, t: Tensor) -> Coefficients:
        """The coefficients at times t in [0, t_max], of any shape."""
        angle, rate = math.pi / 2 * t, math.pi / 2
        sine, cosine = torch.sin(angle), torch.cos(angle)
        return Coefficients(sine, cosine, rate * cosine, -rate * sine)


@SCHEDULERS.register("ve")
@dataclass(frozen=True)
class VarianceExploding:
    """Variance-exploding diffusion, run from noise to data (Lipman et al. 2022, eq. 16-17).

    alpha_t = 1 and sigma_t falls geometrically from sigma_max to sigma_min, the schedule of Song
    et al. 2021 (https://arxiv.org/abs/2011.13456); the paper states no constants. p_0 is
    N(x_1, sigma_max^2 I), which the noise N(0, sigma_max^2 I) matches the better the larger
    sigma_max is.
    """

    sigma_min: float = SIGMA_STOP
    sigma_max: float = 25.0
    label: ClassVar[str] = "VE diffusion"
    symbol: ClassVar[str] = (
        r"\alpha_t = 1,\; \sigma_t = \sigma_{\max} (\sigma_{\min} / \sigma_{\max})^t"
    )
    t_max: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max:
            raise ValueError(
                "sigma_min must be positive and below sigma_max; "
                f"got {self.sigma_min} and {self.sigma_max}."
            )

    @property
    def sigma_0(self) -> float:
        """sigma_max, the standard deviation of the noise at t = 0."""
        return self.sigma_max

    def __call__(self, t: Tensor) -> Coefficients:
        """The coefficients at times t in [0, t_max], of any shape."""
        rate = math.log(self.sigma_min / self.sigma_max)
        sigma = self.sigma_max * torch.exp(rate * t)
        return Coefficients(torch.ones_like(t), sigma, torch.zeros_like(t), rate * sigma)


def scheduler(spec: str) -> Scheduler:
    """The scheduler that a spec such as "ot" or "vp:beta_min=0.1,beta_max=10" names."""
    name, _, given = spec.partition(":")
    kind = SCHEDULERS[name]
    known = [f.name for f in fields(kind)]
    values = {}
    for item in given.split(",") if given else []:
        key, equals, text = item.partition("=")
        if not equals:
            raise ValueError(
                f"A path's parameters must read name=number; got {item!r} in {spec!r}."
            )
        if key not in known:
            near = get_close_matches(key, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            has = f"There are: {', '.join(known)}." if known else "It has none."
            raise ValueError(f"Unknown parameter {key!r} of path {name!r}.{hint} {has}")
        if key in values:
            raise ValueError(f"Each parameter of a path must be given once; got {spec!r}.")
        values[key] = _number(key, text)
    return kind(**values)


def spec_of(scheduler: Scheduler) -> str:
    """The shortest spec that names this scheduler, the inverse of `scheduler`."""
    name = next(name for name, kind in SCHEDULERS.items() if type(scheduler) is kind)
    values = {f.name: getattr(scheduler, f.name) for f in fields(scheduler)}
    defaults = {f.name: f.default for f in fields(scheduler)}
    changed = [f"{key}={value!r}" for key, value in values.items() if value != defaults[key]]
    return f"{name}:{','.join(changed)}" if changed else name


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number; got {text!r}.")
    return value
