r"""Schedulers: the coefficients of an affine conditional path.

A scheduler maps a time t to the four numbers that define

    x_t = alpha_t x_1 + sigma_t x_0,    d x_t / dt = d_alpha_t x_1 + d_sigma_t x_0,

with noise at t = 0 and data at t = 1. Everything else (conditional velocities, marginal fields,
conversions between velocity, score and noise) follows from the four.

References:
    Lipman et al. 2022, Flow Matching for Generative Modeling, https://arxiv.org/abs/2210.02747
"""

import math
from dataclasses import Field, dataclass, fields
from functools import lru_cache
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from flowviz.bounds import shown
from flowviz.registry import Registry, hint_at
from flowviz.roots import bisect

SIGMA_STOP = 1e-3
"""Smallest sigma_t of a path, which ends there: fields are unbounded as sigma_t -> 0."""


class Coefficients(NamedTuple):
    """The coefficients of a path at a time and their time derivatives, each with t's shape."""

    alpha: Tensor
    sigma: Tensor
    d_alpha: Tensor
    d_sigma: Tensor

    @property
    def wronskian(self) -> Tensor:
        """d_alpha sigma - alpha d_sigma, positive on every path."""
        return self.d_alpha * self.sigma - self.alpha * self.d_sigma

    def bridge(self, noise: float) -> tuple[Tensor, Tensor]:
        """The variance b^2 = noise^2 alpha sigma of a bridge of this diffusion, and b d_b.

        On the path ot it is a Brownian bridge (Tong et al. 2023,
        https://arxiv.org/abs/2307.03672, eq. 8).
        """
        slope = self.d_alpha * self.sigma + self.alpha * self.d_sigma
        return noise**2 * self.alpha * self.sigma, noise**2 / 2 * slope


class Scheduler(Protocol):
    """The interface of a scheduler, which is a frozen dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    label: ClassVar[str]
    """Name in menus and legends."""
    symbol: ClassVar[str]
    """The formula of alpha_t and sigma_t in TeX, for captions."""

    @property
    def t_max(self) -> float:
        """The end of the path for training and solvers, at most 1."""
        ...

    @property
    def sigma_0(self) -> float:
        """The standard deviation of the noise at t = 0."""
        ...

    def __call__(self, t: Tensor) -> Coefficients:
        """The coefficients at times t in [0, t_max], of any shape."""
        ...


@dataclass(frozen=True)
class CondOT:
    """The conditional optimal-transport path (Lipman et al. 2022, eq. 20-23).

    alpha_t = t and sigma_t = 1 - (1 - sigma_min) t. The paper gives no value of sigma_min; the
    default 0 is that of the authors' later library. "OT" refers to the map from noise to one data
    point, not to the marginal flow.
    """

    sigma_min: float = 0.0
    label: ClassVar[str] = "conditional OT"
    symbol: ClassVar[str] = r"\alpha_t = t,\; \sigma_t = 1 - (1 - \sigma_{\min})\,t"
    sigma_0 = 1.0

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


@dataclass(frozen=True)
class VPDiffusion:
    """Variance-preserving diffusion, run from noise to data (Lipman et al. 2022, eq. 18-19).

    alpha_t = exp(-T(1 - t) / 2) and sigma_t^2 = 1 - alpha_t^2, where T(s) integrates
    beta(s) = beta_min + s (beta_max - beta_min) from 0. alpha_0 = 0.0066, so that p_0 is not
    exactly the noise; sigma_1 = 0, so that t_max is the paper's 1 - 1e-5.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    label: ClassVar[str] = "VP diffusion"
    symbol: ClassVar[str] = (
        r"\alpha_t = e^{-T(1-t)/2},\; \sigma_t^2 = 1 - \alpha_t^2,\;"
        r" T(s) = \beta_{\min} s + \tfrac12 s^2 (\beta_{\max} - \beta_{\min})"
    )
    t_max = 1 - 1e-5
    sigma_0 = 1.0

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
        sigma = torch.sqrt(-torch.expm1(-T))  # 1 - exp(-T) is inaccurate near t = 1
        d_alpha = beta * alpha / 2
        return Coefficients(alpha, sigma, d_alpha, -alpha * d_alpha / sigma)


@dataclass(frozen=True)
class Trigonometric:
    """The trigonometric interpolant alpha_t = sin(pi t / 2), sigma_t = cos(pi t / 2).

    Like VP diffusion it preserves unit variance, but on another schedule:
    Albergo and Vanden-Eijnden 2022, https://arxiv.org/abs/2209.15571.
    """

    label: ClassVar[str] = "trigonometric"
    symbol: ClassVar[str] = r"\alpha_t = \sin\tfrac{\pi t}2,\; \sigma_t = \cos\tfrac{\pi t}2"
    t_max = 2 / math.pi * math.acos(SIGMA_STOP)
    sigma_0 = 1.0

    def __call__(self, t: Tensor) -> Coefficients:
        """The coefficients at times t in [0, t_max], of any shape."""
        angle, rate = math.pi / 2 * t, math.pi / 2
        sine, cosine = torch.sin(angle), torch.cos(angle)
        return Coefficients(sine, cosine, rate * cosine, -rate * sine)


@dataclass(frozen=True)
class VarianceExploding:
    """Variance-exploding diffusion, run from noise to data (Lipman et al. 2022, eq. 16-17).

    alpha_t = 1 and sigma_t falls geometrically from sigma_max to sigma_min, the schedule of Song
    et al. 2021 (https://arxiv.org/abs/2011.13456); the paper states no constants. p_0 is
    N(x_1, sigma_max^2 I), approximated by the noise N(0, sigma_max^2 I).
    """

    sigma_min: float = SIGMA_STOP
    sigma_max: float = 25.0
    label: ClassVar[str] = "VE diffusion"
    symbol: ClassVar[str] = (
        r"\alpha_t = 1,\; \sigma_t = \sigma_{\max} (\sigma_{\min} / \sigma_{\max})^t"
    )
    t_max = 1.0

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


@dataclass(frozen=True)
class Shaped:
    """A user-defined schedule: monotone cubics through alpha and sigma at four inner times.

    alpha rises from 0 to 1 and sigma falls from 1 to 0 through the values at KNOTS, as monotone
    piecewise cubics with a continuous derivative (Fritsch and Carlson 1980). Slopes at the ends
    are not 0, so that conversions exist at t = 0 and sigma reaches 0 linearly. The defaults are an
    S-curve.

    Attributes:
        a1: alpha at t = 0.2; a2, a3 and a4 are those at 0.4, 0.6 and 0.8.
        s1: sigma at t = 0.2; s2, s3 and s4 are those at 0.4, 0.6 and 0.8.

    Raises:
        ValueError: alpha does not rise or sigma does not fall by MIN_STEP from knot to knot, or
            alpha is below MIN_ALPHA at t_max.
    """

    a1: float = 0.1
    a2: float = 0.35
    a3: float = 0.65
    a4: float = 0.9
    s1: float = 0.95
    s2: float = 0.8
    s3: float = 0.5
    s4: float = 0.2
    label: ClassVar[str] = "your own schedule"
    symbol: ClassVar[str] = (
        r"\alpha_t, \sigma_t \text{ monotone cubics through values at } t = 0.2, 0.4, 0.6, 0.8"
    )
    sigma_0 = 1.0

    KNOTS: ClassVar[tuple[float, ...]] = (0.2, 0.4, 0.6, 0.8)
    """The times of the given values."""
    MIN_STEP: ClassVar[float] = 0.01
    """Minimum change of alpha and sigma from one knot to the next, ends included."""
    MIN_ALPHA: ClassVar[float] = 0.99
    """Minimum of alpha at t_max."""

    def __post_init__(self) -> None:
        for name, direction, values in (
            ("alpha", "rise", self._alphas),
            ("sigma", "fall", self._sigmas),
        ):
            sign = 1 if direction == "rise" else -1
            steps = [sign * (b - a) for a, b in pairwise(values)]
            if not min(steps) >= self.MIN_STEP - 1e-9:
                raise ValueError(
                    f"{name} must {direction} by {self.MIN_STEP} or more from each of t = 0, 0.2, "
                    f"0.4, 0.6, 0.8, 1 to the next; got {', '.join(f'{v:g}' for v in values)}."
                )
        t = self.t_max
        reached = self(torch.tensor(t, dtype=torch.float64, device="cpu")).alpha.item()
        if reached < self.MIN_ALPHA:
            raise ValueError(
                f"alpha must have reached {self.MIN_ALPHA} where sigma falls to {SIGMA_STOP}; "
                f"got {reached:.3f} at t = {t:.3f}: raise sigma or alpha at 0.8."
            )

    @property
    def t_max(self) -> float:
        """The time at which sigma_t is SIGMA_STOP, in the last of the five intervals."""
        return _falls_to(self._sigmas, SIGMA_STOP)

    @property
    def values(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """alpha and sigma at KNOTS."""
        return self._alphas[1:-1], self._sigmas[1:-1]

    @property
    def cubics(self) -> tuple[list[list[float]], list[list[float]]]:
        """alpha and sigma in each interval, as powers of its share: (5, 4) each."""
        return _pieces(self._alphas), _pieces(self._sigmas)

    @property
    def _alphas(self) -> tuple[float, ...]:
        return (0.0, self.a1, self.a2, self.a3, self.a4, 1.0)

    @property
    def _sigmas(self) -> tuple[float, ...]:
        return (1.0, self.s1, self.s2, self.s3, self.s4, 0.0)

    def __call__(self, t: Tensor) -> Coefficients:
        """The coefficients at times t in [0, t_max], of any shape."""
        alpha, d_alpha = _spline(self._alphas, t)
        sigma, d_sigma = _spline(self._sigmas, t)
        return Coefficients(alpha, sigma, d_alpha, d_sigma)


SCHEDULERS: Registry[type[Scheduler]] = Registry("path")
SCHEDULERS.update(
    ot=CondOT, vp=VPDiffusion, trig=Trigonometric, ve=VarianceExploding, shaped=Shaped
)


@dataclass(frozen=True)
class LearnedReference(CondOT):
    """The clock and the ends of a learned path: OT with sigma_min = 0.01.

    Between the ends the path is part of the field, see `flowviz.fields.learned_path`. It is not in
    SCHEDULERS, since no other field can be trained on it and its exact field is not known.
    """

    sigma_min: float = 0.01
    label: ClassVar[str] = "learned path"
    symbol: ClassVar[str] = (
        r"x_t = m_\varphi(t, x_1) + s_\varphi(t, x_1)\,x_0 \text{ with learned } m, s"
    )


LEARNED = "learned"
"""The spec of a LearnedReference."""


def scheduler(spec: str) -> Scheduler:
    """The scheduler of a spec such as "ot" or "vp:beta_min=0.1,beta_max=10".

    Raises:
        ValueError: it is no spec of a path.
    """
    if not isinstance(spec, str):
        raise ValueError(f"A path must be a text such as 'ot'; got {shown(spec)}.")
    name, _, parameters = spec.partition(":")
    if spec == LEARNED:
        return LearnedReference()
    kind = SCHEDULERS[name]
    known = [f.name for f in fields(kind)]
    values = {}
    for item in parameters.split(",") if parameters else []:
        key, equals, text = item.partition("=")
        if not equals:
            raise ValueError(f"A path's parameters must read name=number; got {shown(item)}.")
        if key not in known:
            hint = hint_at(key, known)
            has = f"There are: {', '.join(known)}." if known else "It has none."
            raise ValueError(f"Unknown parameter {shown(key)} of path {name!r}.{hint} {has}")
        if key in values:
            raise ValueError(f"Each parameter of a path must be given once; got {shown(spec)}.")
        values[key] = _number(key, text)
    return kind(**values)


def refuse_learned(spec: str) -> None:
    """Checks that a spec is not that of a learned path.

    Raises:
        ValueError: it is, or the spec is invalid.
    """
    if isinstance(scheduler(spec), LearnedReference):
        raise ValueError(
            f"The path must have a schedule, such as ot or vp; got {spec}, whose pairs "
            "move along a network."
        )


def spec_of(scheduler: Scheduler) -> str:
    """The shortest spec that names this scheduler, the inverse of `scheduler`."""
    kinds = {**SCHEDULERS, LEARNED: LearnedReference}
    name = next(name for name, kind in kinds.items() if type(scheduler) is kind)
    values = {f.name: getattr(scheduler, f.name) for f in fields(scheduler)}
    defaults = {f.name: f.default for f in fields(scheduler)}
    changed = [f"{key}={value!r}" for key, value in values.items() if value != defaults[key]]
    return f"{name}:{','.join(changed)}" if changed else name


def _cubic(pieces: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """Cubics and their derivatives at h in [0, 1]; pieces (*, 4) rise in powers of h."""
    a, b, c, d = pieces.unbind(-1)
    return a + h * (b + h * (c + h * d)), b + h * (2 * c + 3 * h * d)


@lru_cache(maxsize=256)
def _pieces(values: tuple[float, ...]) -> list[list[float]]:
    """The monotone cubic through values at even knots, (intervals, 4), in powers of h.

    h runs from 0 to 1 in each interval. A knot's slope is the mean of the adjacent
    chords' but at most twice the smaller (van Leer 1977); at the ends it is that of the parabola
    through three knots, clipped to 1/4 to 3/2 of the chord's. So all derivatives keep their sign
    (Fritsch and Carlson 1980, SIAM J. Numer. Anal. 17).
    """
    chords = [b - a for a, b in pairwise(values)]
    inner = [
        math.copysign(min(abs(a + b) / 2, 2 * abs(a), 2 * abs(b)), a) for a, b in pairwise(chords)
    ]
    slopes = [_end_slope(*chords[:2]), *inner, _end_slope(*chords[:-3:-1])]
    return [
        [value, slope, 3 * chord - 2 * slope - next_slope, slope + next_slope - 2 * chord]
        for value, chord, slope, next_slope in zip(
            values[:-1], chords, slopes[:-1], slopes[1:], strict=True
        )
    ]


def _end_slope(chord: float, adjacent: float) -> float:
    slope = (3 * chord - adjacent) / 2
    return math.copysign(max(abs(chord) / 4, slope * math.copysign(1, chord)), chord)


def _spline(values: tuple[float, ...], t: Tensor) -> tuple[Tensor, Tensor]:
    """The monotone cubic through values at even knots, and its derivative, at t in [0, 1]."""
    count = len(values) - 1
    interval = (t.detach() * count).long().clamp(0, count - 1)
    value, slope = _cubic(t.new_tensor(_pieces(values))[interval], t * count - interval)
    return value, count * slope


@lru_cache(maxsize=256)
def _falls_to(values: tuple[float, ...], level: float) -> float:
    """The last time at which the cubic through falling values is at least `level`."""
    # On the CPU explicitly: schedulers are also built on the meta device.
    low, high = torch.tensor([0.0, 1.0], dtype=torch.float64, device="cpu")
    return bisect(lambda t: _spline(values, t)[0] >= level, low, high).item()


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number; got {shown(text)}.")
    return value
