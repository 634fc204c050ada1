r"""The built-in data sets in the plane, about 8 units wide and centred at the origin.

A data set that is a curve c(s) with noise of standard deviation r has the density

    p(x) = \int N(x; c(s), r^2 I) w(s) ds,

where w is the density of the parameter s. With quadrature nodes at most about 1.5 r apart, the
integral is a mixture of Gaussians, with an error of about 1e-4 of its maximum. Exact fields use
the mixture; samplers use the curve itself.
"""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Generator, Tensor

from flowviz.datasets.entry import DATASETS, Dataset, Sampler
from flowviz.distributions import Boxes, Distribution, GaussianMixture

CELL = 20 / 9
"""The side of a cell of the checkerboard: 1 / 0.45, as in Meta's library flow_matching (2024)."""

Curve = Callable[[Tensor], Tensor]
"""A function from parameters (K,) to points (K, 2)."""


def _enter(
    name: str,
    label: str,
    sentence: str,
    distribution: Distribution,
    sampler: Sampler | None = None,
) -> None:
    """Registers a data set, sampled from its distribution or by a sampler of its own."""
    entry = Dataset(name, label, sentence, sampler or distribution.sample, distribution)
    DATASETS.register(name)(entry)


def _quadrature(
    curve: Curve, low: float, high: float, nodes: int, weight: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Gauss-Legendre points on a curve over [low, high], (K, 2), and their weights, (K,)."""
    s, w = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(nodes))
    s = (low + high) / 2 + (high - low) / 2 * s
    w = w * weight(s)
    return curve(s), w / w.sum()


def _rotated(x: Tensor, angle: Tensor) -> Tensor:
    """Points (B, 2), each rotated about the origin by its angle, (B,)."""
    cosine, sine = torch.cos(angle), torch.sin(angle)
    return torch.stack(
        [cosine * x[:, 0] - sine * x[:, 1], sine * x[:, 0] + cosine * x[:, 1]], dim=-1
    )


def _mirrored(curve: tuple[Tensor, Tensor], std: float) -> GaussianMixture:
    """A noisy curve and its mirror image at the origin, given the nodes and weights of one."""
    points, weights = curve
    return GaussianMixture(torch.cat([points, -points]), std, torch.cat([weights, weights]) / 2)


def _noise(points: Tensor, std: float, generator: Generator) -> Tensor:
    """Points (n, 2) plus independent Gaussian noise, float32."""
    return points + std * torch.randn(points.shape, generator=generator)


def _noisy_points(curve: Tensor, std: float, n: int, generator: Generator) -> Tensor:
    """n random points of a curve (K, 2) with noise, (n, 2) float32."""
    return _noise(curve[torch.randint(len(curve), (n,), generator=generator)], std, generator)


def _seed(generator: Generator) -> int:
    """A random seed for scikit-learn, from the given generator."""
    return int(torch.randint(2**31, (), generator=generator))


# ---- Checkerboard


def _checkerboard(n: int, generator: Generator) -> Tensor:
    x = 4 * torch.rand(n, generator=generator) - 2
    y = torch.rand(n, generator=generator) + 2 * torch.randint(2, (n,), generator=generator) - 2
    # Odd columns are one cell higher.
    return CELL * torch.stack([x, y + torch.floor(x) % 2], dim=-1)


_enter(
    "checkerboard",
    "checkerboard",
    "Uniform on 8 of the 16 cells of a board: sharp edges, eight separate squares.",
    Boxes(
        CELL * torch.arange(-2, 3, dtype=torch.float64),
        CELL * torch.arange(-2, 3, dtype=torch.float64),
        torch.tensor([[1, 0, 1, 0], [0, 1, 0, 1]] * 2, dtype=torch.float64),
    ),
    _checkerboard,
)


# ---- Curves of scikit-learn
#
# make_moons and make_circles use equally spaced angles, so the points of one call are not
# independent (two points are always the tips of the moons). Samples are drawn from their curve.

CURVE_POINTS = 20_000

MOONS_SCALE, MOONS_STD, MOONS_CENTER = 2.5, 0.15, (0.5, 0.25)


def _upper_moon(angle: Tensor) -> Tensor:
    points = torch.stack([torch.cos(angle), torch.sin(angle)], dim=-1)
    return MOONS_SCALE * (points - torch.tensor(MOONS_CENTER, dtype=angle.dtype))


_MOON = _quadrature(_upper_moon, 0, math.pi, 80, torch.ones_like)
_FINE_MOON = _upper_moon(torch.linspace(0, math.pi, CURVE_POINTS // 2, dtype=torch.float64))
_MOONS = torch.cat([_FINE_MOON, -_FINE_MOON]).float()


_enter(
    "moons",
    "two moons",
    "Two interleaved half circles with noise (scikit-learn's make_moons).",
    _mirrored(_MOON, MOONS_STD),
    partial(_noisy_points, _MOONS, MOONS_STD),
)


CIRCLES_RADII, CIRCLES_STD = (3.8, 1.9), 0.12


def _circle(radius: float, nodes: int) -> Tensor:
    angle = 2 * math.pi / nodes * torch.arange(nodes, dtype=torch.float64)
    return radius * torch.stack([torch.cos(angle), torch.sin(angle)], dim=-1)


_CIRCLES = torch.cat([_circle(radius, CURVE_POINTS // 2) for radius in CIRCLES_RADII]).float()


_enter(
    "circles",
    "two circles",
    "Two concentric circles of equal mass with noise (scikit-learn's make_circles).",
    GaussianMixture(
        torch.cat([_circle(CIRCLES_RADII[0], 200), _circle(CIRCLES_RADII[1], 100)]),
        CIRCLES_STD,
        torch.cat([torch.full((200,), 1 / 400), torch.full((100,), 1 / 200)]).double(),
    ),
    partial(_noisy_points, _CIRCLES, CIRCLES_STD),
)


ROLL_STD = 0.125
ROLL_FROM, ROLL_TO = 1.5 * math.pi, 4.5 * math.pi  # scikit-learn's range of the angle
ROLL_SCALE = 4 / ROLL_TO


def _roll(square: Tensor) -> Tensor:
    """The roll as a function of its squared angle, which is nearly proportional to arc length."""
    angle = square.sqrt()
    return ROLL_SCALE * angle[:, None] * torch.stack([torch.cos(angle), torch.sin(angle)], dim=-1)


_ROLL = _quadrature(_roll, ROLL_FROM**2, ROLL_TO**2, 200, lambda square: 0.5 / square.sqrt())


def _swissroll(n: int, generator: Generator) -> Tensor:
    from sklearn.datasets import make_swiss_roll  # slow to import, and only some sets need it

    points, _ = make_swiss_roll(n, noise=ROLL_STD / ROLL_SCALE, random_state=_seed(generator))
    sign = 1 - 2 * torch.randint(2, (n, 1), generator=generator)
    return sign * torch.as_tensor(ROLL_SCALE * points[:, [0, 2]], dtype=torch.float32)


_enter(
    "swissroll",
    "double swiss roll",
    "Two interleaved Swiss rolls (scikit-learn's make_swiss_roll, the second turned by 180°).",
    _mirrored(_ROLL, ROLL_STD),
    _swissroll,
)


S_SCALE, S_STD = 2.0, 0.15


def _bend(angle: Tensor) -> Tensor:
    return S_SCALE * torch.stack([torch.sin(angle), torch.cos(angle) - 1], dim=-1)


_BEND = _quadrature(_bend, 0, 1.5 * math.pi, 120, torch.ones_like)


def _scurve(n: int, generator: Generator) -> Tensor:
    from sklearn.datasets import make_s_curve  # slow to import, and only some data sets need it

    points, _ = make_s_curve(n, noise=S_STD / S_SCALE, random_state=_seed(generator))
    return torch.as_tensor(S_SCALE * points[:, [0, 2]], dtype=torch.float32)


_enter(
    "scurve",
    "S-curve",
    "One long curve with two bends and noise (scikit-learn's make_s_curve, seen from its side).",
    _mirrored(_BEND, S_STD),
    _scurve,
)


# ---- Spirals

SPIRAL_STD = 0.15
SPIRAL_TURN = 3 * math.pi


def _spiral(fraction: Tensor) -> Tensor:
    """One arm as a function of the fraction of its angle; the radius grows from 0 to 4."""
    angle = SPIRAL_TURN * fraction
    return 4 * fraction[:, None] * torch.stack([torch.cos(angle), torch.sin(angle)], dim=-1)


_SPIRAL = _quadrature(_spiral, 0, 1, 200, lambda fraction: 2 * fraction)


def _spirals(n: int, generator: Generator) -> Tensor:
    arm = _spiral(torch.rand(n, generator=generator).sqrt())  # nearly uniform along the arm
    sign = 1 - 2 * torch.randint(2, (n, 1), generator=generator)
    return _noise(sign * arm, SPIRAL_STD, generator)


_enter(
    "spirals",
    "two spirals",
    "Two spiral arms that meet in the middle, with noise: nearby points belong to different arms.",
    _mirrored(_SPIRAL, SPIRAL_STD),
    _spirals,
)


# ---- Gaussian mixtures


_enter(
    "8gaussians",
    "8 Gaussians",
    "Eight Gaussians on a circle, far apart: each particle must move to one of them.",
    GaussianMixture(_circle(4.0, 8), 0.25),
)

_GRID = 2 * torch.arange(-2, 3, dtype=torch.float64)

_enter(
    "25gaussians",
    "25 Gaussians",
    "Twenty-five Gaussians on a 5 × 5 grid: many modes, some surrounded by others.",
    GaussianMixture(torch.cartesian_prod(_GRID, _GRID), 0.2),
)


def _pinwheel(arms: int = 5, beads: int = 11, scale: float = 2.1) -> GaussianMixture:
    """Arms of Gaussians along M. J. Johnson's pinwheel: angle = 0.25 exp(radius).

    Each Gaussian is the linearised warp of a Gaussian with radial std 0.12 and tangential std 0.1.
    The weights along an arm follow a Gaussian of mean 1 and std 0.3.
    """
    radius = torch.linspace(0.3, 1.7, beads, dtype=torch.float64).repeat(arms)
    arm = torch.arange(arms, dtype=torch.float64).repeat_interleave(beads)
    angle = 2 * math.pi / arms * arm + 0.25 * torch.exp(radius)
    means = _rotated(torch.stack([radius, torch.zeros_like(radius)], dim=-1), angle)
    shear = radius * 0.25 * torch.exp(radius)  # d angle / d radius, times radius
    radial = _rotated(torch.stack([torch.ones_like(radius), shear], dim=-1), angle)
    tangential = _rotated(torch.tensor([[0.0, 1.0]], dtype=torch.float64).expand_as(means), angle)
    warp = torch.stack([0.12 * radial, 0.1 * tangential], dim=-1)  # columns
    weights = torch.exp(-(((radius - 1) / 0.3) ** 2) / 2)
    covariances = scale**2 * warp @ warp.mT
    return GaussianMixture(scale * means, (covariances + covariances.mT) / 2, weights)


_enter(
    "pinwheel",
    "pinwheel",
    "Five bent arms, which become thinner outwards: each is a chain of eleven tilted Gaussians.",
    _pinwheel(),
)
