r"""Exact marginal fields, the limit of a perfectly trained network.

For data x_1 of a known distribution and noise x_0 ~ N(0, I), x_t = alpha_t x_1 + sigma_t x_0 has a
density p_t and posterior means m = E[x_1 | x_t = x] and e = E[x_0 | x_t = x] in closed form for
Gaussian mixtures, points and boxes. The marginal velocity (Lipman et al. 2022, eq. 8), score and
divergence follow,

    u = d_alpha m + d_sigma e,    s = -e / sigma,
    div u = 2 d_sigma / sigma + (D alpha / sigma^3) tr Cov[x_1 | x_t = x],

with D = d_alpha sigma - alpha d_sigma. The formulas are also accurate at t = 0, as sigma -> 0 and
far from the data, within the precision of float64, in which all is computed. Results have x's
dtype.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import singledispatch
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.functional import linear

from flowviz.distributions import Boxes, Distribution, GaussianMixture, PointMasses
from flowviz.paths import AffinePath
from flowviz.schedulers import Coefficients, LearnedReference

__all__ = ["ExactField", "exact_field"]

CHUNK = 2**16
"""Largest number of elements (points x components) of a batch; fits the cache of a core."""

LOG_2PI = math.log(2 * math.pi)
LOST = 1e-130
"""Sums below this may miss terms set to 0 by FLOOR and are computed in logarithms."""
SERIES = 0.03
"""Intervals of z shorter than this, and than this over |z|, are evaluated by series."""
FADED = -300.0
"""Smaller log responsibilities are raised to this, since exp of them is denormal and slow."""
PLAIN = 0.003
"""If all intervals of z are longer, plain differences of probabilities keep 10 digits."""
FLOOR = 1e-150
"""Smaller factors of densities are set to 0, since their products are denormal and slow."""


class Posterior(NamedTuple):
    """Density and posterior moments given x_t = x."""

    log_density: Tensor
    """log p_t(x) in nats, shape (B,)."""
    data: Tensor
    """E[x_1 | x], shape (B, 2)."""
    noise: Tensor
    """E[x_0 | x], shape (B, 2)."""
    variance: Tensor
    """tr Cov[x_1 | x], shape (B,)."""


class Target(Protocol):
    """A distribution of x_1, prepared for inference from x_t = alpha x_1 + sigma x_0."""

    def posterior(self, alpha: Tensor, sigma: Tensor, x: Tensor) -> Posterior:
        """The posterior at x, (B, 2) float64; alpha and sigma have shape () or (B, 1)."""
        ...

    def means(self, alpha: Tensor, sigma: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """E[x_1 | x] and E[x_0 | x], each (B, 2); cheaper than `posterior`."""
        ...

    def density_grid(self, alpha: Tensor, sigma: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
        """p_t on the grid xs (nx,) by ys (ny,), float64, shape (ny, nx)."""
        ...


@dataclass(frozen=True, eq=False)
class ExactField:
    """The exact marginal velocity field u_t(x) of a path to a distribution, called as field(t, x).

    x has shape (B, 2), t has shape () or (B,) with 0 <= t <= path.t_max. Results are
    differentiable in both and have x's dtype.
    """

    path: AffinePath
    distribution: Distribution
    target: Target

    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        """The marginal velocity, shape (B, 2). Lipman et al. 2022, eq. 8."""
        c, data, noise = self._means(t, x)
        return (c.d_alpha * data + c.d_sigma * noise).to(x)

    def log_density(self, t: Tensor, x: Tensor) -> Tensor:
        """log p_t(x) in nats, shape (B,). Lipman et al. 2022, eq. 6."""
        return self._posterior(t, x)[1].log_density.to(x)

    def score(self, t: Tensor, x: Tensor) -> Tensor:
        """The gradient of log p_t at x, shape (B, 2)."""
        c, _, noise = self._means(t, x)
        return (-noise / c.sigma).to(x)

    def data_mean(self, t: Tensor, x: Tensor) -> Tensor:
        """E[x_1 | x_t = x], shape (B, 2)."""
        return self._means(t, x)[1].to(x)

    def noise_mean(self, t: Tensor, x: Tensor) -> Tensor:
        """E[x_0 | x_t = x], shape (B, 2)."""
        return self._means(t, x)[2].to(x)

    def means(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """E[x_0 | x_t = x] and E[x_1 | x_t = x], each (B, 2), at the cost of one of them."""
        _, data, noise = self._means(t, x)
        return noise.to(x), data.to(x)

    def divergence(self, t: Tensor, x: Tensor) -> Tensor:
        """The divergence of the marginal velocity at x, shape (B,)."""
        c, posterior = self._posterior(t, x)
        c = Coefficients(*(value.squeeze(-1) for value in c))
        gain = c.wronskian * c.alpha / c.sigma**3
        return (2 * c.d_sigma / c.sigma + gain * posterior.variance).to(x)

    def density_grid(self, t: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
        """p_t on the grid xs (nx,) by ys (ny,) at one time t (), shape (ny, nx), in xs' dtype.

        Much faster than `log_density` where the density is a sum of products.
        """
        if t.ndim or xs.ndim != 1 or ys.ndim != 1:
            raise ValueError(
                "t, xs and ys must have shapes (), (nx,) and (ny,); "
                f"got {tuple(t.shape)}, {tuple(xs.shape)} and {tuple(ys.shape)}."
            )
        fine_x, fine_y = _float64(xs), _float64(ys)
        c = self.path.coefficients(t, fine_x)
        return self.target.density_grid(c.alpha, c.sigma, fine_x, fine_y).to(xs)

    def _posterior(self, t: Tensor, x: Tensor) -> tuple[Coefficients, Posterior]:
        c, fine = self.coefficients(t, x)
        return c, self.target.posterior(c.alpha, c.sigma, fine)

    def _means(self, t: Tensor, x: Tensor) -> tuple[Coefficients, Tensor, Tensor]:
        c, fine = self.coefficients(t, x)
        return c, *self.target.means(c.alpha, c.sigma, fine)

    def coefficients(self, t: Tensor, x: Tensor) -> tuple[Coefficients, Tensor]:
        """The coefficients of the path at t, and x (B, 2) in float64 where the device has it."""
        if x.ndim != 2 or x.shape[1] != 2:
            raise ValueError(f"x must have shape (B, 2); got {tuple(x.shape)}.")
        fine = _float64(x)
        return self.path.coefficients(t.to(fine.device), fine), fine


def exact_field(path: AffinePath, distribution: Distribution) -> ExactField:
    """The exact marginal field of a path to a Gaussian mixture, to points or to boxes.

    Raises:
        ValueError: the path is learned, or starts at a data set (see `flowviz.fields.sourced`).
    """
    path.refuse_source()
    if isinstance(path.scheduler, LearnedReference):
        raise ValueError(
            "A learned path has no field in closed form; use the field that was trained with it."
        )
    return ExactField(path, distribution, target_of(distribution))


@singledispatch
def target_of(distribution: Distribution) -> Target:
    """A distribution prepared for inference, without the components of weight 0.

    Raises:
        ValueError: it is of another kind.
    """
    raise ValueError(
        "An exact field needs a GaussianMixture, PointMasses or Boxes; "
        f"got {type(distribution).__name__}."
    )


@target_of.register
def _(distribution: GaussianMixture) -> Target:
    kept = distribution.weights > 0
    means, log_weights = distribution.means[kept], distribution.weights[kept].log()
    variances, axes = distribution.variances[kept], distribution.axes[kept]
    if distribution.shared:
        return SharedCovariance(means, log_weights, variances[0], axes[0])
    return OwnCovariances(means, log_weights, variances, axes)


@target_of.register
def _(distribution: PointMasses) -> Target:
    kept = distribution.weights > 0
    log_weights = distribution.weights[kept].log()
    zero, identity = torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    return SharedCovariance(distribution.points[kept], log_weights, zero, identity)


@target_of.register
def _(distribution: Boxes) -> Target:
    return Lattice(distribution.edges_x, distribution.edges_y, distribution.weights)


class SharedCovariance:
    """Gaussians of one covariance, or points (covariance 0).

    In the eigenbasis of the covariance the log responsibilities are linear in each mean and its
    squares up to a common term, so that they and the moments are matrix products.
    """

    def __init__(
        self, means: Tensor, log_weights: Tensor, variances: Tensor, axes: Tensor
    ) -> None:
        self.center = (means.amin(0) + means.amax(0)) / 2  # small means lose fewer digits
        self.locations = (means - self.center) @ axes  # (K, 2), in the eigenbasis
        self.log_weights = log_weights  # (K,)
        self.variances = variances  # (2,)
        self.axes = axes  # (2, 2), eigenvectors as columns
        ones = torch.ones(len(means), 1, dtype=torch.float64)
        squares = self.locations.square()
        self.to_logits = torch.cat([self.locations, squares, log_weights[:, None]], dim=1)
        self.to_moments = torch.cat([ones, self.locations, squares], dim=1).T.contiguous()

    def posterior(self, alpha: Tensor, sigma: Tensor, x: Tensor) -> Posterior:
        """The posterior at x, (B, 2) float64; alpha and sigma have shape () or (B, 1)."""
        device = x.device
        center, axes = self.center.to(device), self.axes.to(device)
        to_logits, to_moments = self.to_logits.to(device), self.to_moments.to(device)
        variances = self.variances.to(device)
        y = (x - alpha * center) @ axes
        spread = alpha**2 * variances + sigma**2  # (2,) or (B, 2), of x_t given the component
        slope, curvature = alpha * y / spread, -(alpha**2) / (2 * spread)
        features = torch.cat([slope, curvature.expand_as(y), torch.ones_like(y[:, :1])], dim=1)
        tops, sums = [], []
        for part in features.split(max(1, CHUNK // len(to_logits))):
            logits = linear(part, to_logits)  # (b, K)
            top = logits.detach().amax(dim=1, keepdim=True)
            sums.append(linear(logits.sub_(top).clamp_(min=FADED).exp_(), to_moments))
            tops.append(top)
        total = torch.cat(sums)
        mass, moments = total[:, :1], total[:, 1:] / total[:, :1]
        mean = moments[:, :2]
        scatter = (moments[:, 2:] - mean.square()).clamp(min=0)
        log_density = (torch.cat(tops) + mass.log())[:, 0] - LOG_2PI
        log_density = log_density - (y.square() / spread + spread.log()).sum(-1) / 2
        shrink = sigma**2 / spread
        return Posterior(
            log_density,
            center + (shrink * mean + alpha * variances / spread * y) @ axes.T,
            sigma * ((y - alpha * mean) / spread) @ axes.T,
            (shrink * variances + shrink**2 * scatter).sum(-1),
        )

    def means(self, alpha: Tensor, sigma: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """E[x_1 | x] and E[x_0 | x], each (B, 2)."""
        posterior = self.posterior(alpha, sigma, x)
        return posterior.data, posterior.noise

    def density_grid(self, alpha: Tensor, sigma: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
        """p_t on the grid xs (nx,) by ys (ny,), float64, shape (ny, nx)."""
        if not torch.equal(self.axes, torch.eye(2, dtype=torch.float64)):
            points = torch.cartesian_prod(ys, xs).flip(1)
            log_density = self.posterior(alpha, sigma, points).log_density
            return log_density.exp().reshape(len(ys), len(xs))
        means = alpha * (self.locations + self.center).to(xs.device)
        spread = alpha**2 * self.variances.to(xs.device) + sigma**2
        along_x, along_y = (
            _floored((v[:, None] - m).square().div(-2 * s).exp() / torch.sqrt(2 * math.pi * s))
            for v, m, s in zip((xs, ys), means.T, spread, strict=True)
        )
        return (along_y * self.log_weights.exp().to(xs.device)) @ along_x.T


class OwnCovariances:
    """Gaussians with different covariances, each in its own eigenbasis."""

    def __init__(
        self, means: Tensor, log_weights: Tensor, variances: Tensor, axes: Tensor
    ) -> None:
        self.center = (means.amin(0) + means.amax(0)) / 2  # small means lose fewer digits
        self.locations = torch.einsum("ki,kij->jk", means - self.center, axes)  # (2, K), in each's
        self.log_weights = log_weights  # (K,)
        self.variances = variances.T.contiguous()  # (2, K)
        self.axes = axes.permute(2, 1, 0).contiguous()  # (2, 2, K): eigenvector, coordinate, k

    def posterior(self, alpha: Tensor, sigma: Tensor, x: Tensor) -> Posterior:
        """The posterior at x, (B, 2) float64; alpha and sigma have shape () or (B, 1)."""
        parts = [self._part(*part) for part in _chunks(alpha, sigma, x, 4 * len(self.log_weights))]
        return Posterior(*(torch.cat(values) for values in zip(*parts, strict=True)))

    def _part(self, alpha: Tensor, sigma: Tensor, x: Tensor) -> Posterior:
        device = x.device
        center, means, axes = (v.to(device) for v in (self.center, self.locations, self.axes))
        variances = self.variances.to(device)
        y = x - alpha * center
        logits, data, noise, inner = self.log_weights.to(device), [], [], 0.0
        for mean, variance, axis in zip(means, variances, axes, strict=True):
            along = y @ axis  # (b, K)
            spread = alpha**2 * variance + sigma**2  # (K,) or (b, K)
            offset = along - alpha * mean
            logits = logits - (offset.square() / spread + spread.log()) / 2
            data.append((sigma**2 * mean + alpha * variance * along) / spread)
            noise.append(sigma * offset / spread)
            inner = inner + sigma**2 * variance / spread
        log_density = torch.logsumexp(logits, dim=1) - LOG_2PI
        weights = torch.softmax(logits, dim=1)
        data_mean, noise_mean = (
            torch.stack(
                [(weights * v) @ axis.T for v, axis in zip(values, axes, strict=True)]
            ).sum(dim=0)
            for values in (data, noise)
        )
        for value, axis in zip(data, axes, strict=True):
            inner = inner + (value - data_mean @ axis).square()
        return Posterior(log_density, center + data_mean, noise_mean, (weights * inner).sum(-1))

    def means(self, alpha: Tensor, sigma: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """E[x_1 | x] and E[x_0 | x], each (B, 2)."""
        if alpha.ndim:  # one time per point: no common table
            posterior = self.posterior(alpha, sigma, x)
            return posterior.data, posterior.noise
        center, means, axes = (v.to(x.device) for v in (self.center, self.locations, self.axes))
        variances = self.variances.to(x.device)
        spread = alpha**2 * variances + sigma**2  # (2, K)
        # Of each component, E[x_0 | x] and E[x_1 | x] - center are a matrix times y and a shift.
        rows = [torch.ones_like(self.log_weights).to(x.device)]
        for scale, shift in (
            (sigma / spread, -alpha * sigma * means / spread),
            (alpha * variances / spread, sigma**2 * means / spread),
        ):
            matrix = torch.einsum("eik,ejk,ek->ijk", axes, axes, scale)
            rows += [matrix[0, 0], matrix[0, 1], matrix[1, 1]]
            rows += torch.einsum("eik,ek->ik", axes, shift)
        to_moments, y = torch.stack(rows), x - alpha * center
        sums = []
        for logits in self._logits(alpha, spread, y):
            top = logits.detach().amax(dim=1, keepdim=True)
            sums.append(linear(logits.sub_(top).clamp_(min=FADED).exp_(), to_moments))
        total = torch.cat(sums)
        _, *terms = (total / total[:, :1]).T
        noise, data = (
            torch.stack([xx * y[:, 0] + xy * y[:, 1] + u, xy * y[:, 0] + yy * y[:, 1] + v], dim=1)
            for xx, xy, yy, u, v in (terms[:5], terms[5:])
        )
        return center + data, noise

    def density_grid(self, alpha: Tensor, sigma: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
        """p_t on the grid xs (nx,) by ys (ny,), float64, shape (ny, nx)."""
        points = torch.cartesian_prod(ys, xs).flip(1) - alpha * self.center.to(xs.device)
        spread = alpha**2 * self.variances.to(xs.device) + sigma**2
        parts = self._logits(alpha, spread, points)
        density = [(part.clamp_(min=FADED)).exp_().sum(1) for part in parts]
        return torch.cat(density).reshape(len(ys), len(xs)) / (2 * math.pi)

    def _logits(self, alpha: Tensor, spread: Tensor, y: Tensor) -> Iterator[Tensor]:
        """log (2 pi w_k p_t(x | k)) at one time, quadratic in y = x - alpha c, (b, K) each."""
        axes, means = self.axes.to(y.device), alpha * self.locations.to(y.device)
        precision = torch.einsum("eik,ejk,ek->ijk", axes, axes, 1 / spread)
        pull = torch.einsum("eik,ek->ik", axes, means / spread)
        level = (spread.log() + means.square() / spread).sum(0) / -2
        level = self.log_weights.to(y.device) + level
        table = [level, *pull, precision[0, 0] / -2, precision[1, 1] / -2, -precision[0, 1]]
        to_logits = torch.stack(table, dim=1)
        features = [torch.ones_like(y[:, :1]), y, y.square(), y[:, :1] * y[:, 1:]]
        for part in torch.cat(features, dim=1).split(max(1, CHUNK // len(to_logits))):
            yield linear(part, to_logits)


class Lattice:
    """Boxes on a lattice: products of truncated normals, computed axis by axis.

    Given x and a cell, z = (alpha x_1 - x) / sigma = -x_0 is standard normal truncated to the
    cell, its axes independent. The weights of the cells couple the axes again.
    """

    def __init__(self, edges_x: Tensor, edges_y: Tensor, weights: Tensor) -> None:
        self.nx, self.ny = weights.shape
        self.weights = weights  # (nx, ny)
        # Both axes' intervals are stacked, x first, to be evaluated together: (nx + ny,).
        self.edges = torch.cat([edges_x, edges_y])
        self.low = torch.cat([torch.arange(self.nx), self.nx + 1 + torch.arange(self.ny)])
        self.edge_axis = torch.tensor([0] * (self.nx + 1) + [1] * (self.ny + 1))
        self.width = self.edges[self.low + 1] - self.edges[self.low]
        self.middle = (self.edges[self.low + 1] + self.edges[self.low]) / 2
        self.lengths = self.edges.diff()
        self.lengths[self.nx] = 1  # no interval: from the last edge of x to the first of y
        self.filled = weights.nonzero().T  # (2, F)

    def posterior(self, alpha: Tensor, sigma: Tensor, x: Tensor) -> Posterior:
        """The posterior at x, (B, 2) float64; alpha and sigma have shape () or (B, 1)."""
        parts = [
            self._part(a.squeeze(-1), s.squeeze(-1), p)
            for a, s, p in _chunks(alpha, sigma, x, len(self.edges))
        ]
        return Posterior(*(torch.cat(values) for values in zip(*parts, strict=True)))

    def means(self, alpha: Tensor, sigma: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """E[x_1 | x] and E[x_0 | x], each (B, 2)."""
        narrowest = alpha * self.width.amin() / sigma
        if (narrowest < PLAIN).any():  # as at t = 0
            posterior = self.posterior(alpha, sigma, x)
            return posterior.data, posterior.noise
        parts = [self._means(*part) for part in _chunks(alpha, sigma, x, len(self.edges))]
        noise = torch.cat(parts)
        return (x - sigma * noise) / alpha, noise

    def _means(self, alpha: Tensor, sigma: Tensor, x: Tensor) -> Tensor:
        """E[x_0 | x], (B, 2), by plain differences of probabilities where they suffice."""
        weights, edges = self.weights.to(x.device), self.edges.to(x.device)[:, None]
        a, s = alpha.squeeze(-1), sigma.squeeze(-1)
        z = (a * edges - x.T[self.edge_axis.to(x.device)]) / s
        tail = torch.special.erfc(z.abs() / math.sqrt(2)) / 2
        phi = torch.exp(z.square() / -2) / math.sqrt(2 * math.pi)
        below = z < 0
        about = below[:-1] & ~below[1:]
        chance = torch.where(about, 1 - tail[:-1] - tail[1:], (tail[:-1] - tail[1:]).abs())
        lengths = self.lengths.to(x.device)[:, None]
        chance, slope = _floored(chance / lengths), (phi[:-1] - phi[1:]) / lengths
        (chance_x, chance_y), (slope_x, slope_y) = (
            (v[: self.nx], v[self.nx + 1 :]) for v in (chance, slope)
        )
        over_y, over_x = weights @ chance_y, weights.T @ chance_x
        mass = (chance_x * over_y).sum(0)
        lost = mass < LOST
        moments = torch.stack([(slope_x * over_y).sum(0), (slope_y * over_x).sum(0)], dim=1)
        if not lost.any():
            return -moments / mass[:, None]
        noise = -moments / torch.where(lost, 1.0, mass)[:, None]
        where = lost.nonzero()[:, 0]
        own_alpha, own_sigma = (v[where] if v.ndim else v for v in (alpha, sigma))
        own = self.posterior(own_alpha, own_sigma, x[where])
        return noise.index_copy(0, where, own.noise)

    def _part(self, alpha: Tensor, sigma: Tensor, x: Tensor) -> Posterior:
        edges, low = self.edges.to(x.device)[:, None], self.low.to(x.device)
        z = truncated(alpha, sigma, edges, x.T[self.edge_axis.to(x.device)], low)
        width, middle = self.width.to(x.device)[:, None], self.middle.to(x.device)[:, None]
        log_density, share = self._shares(z.log_ratio)
        place = middle + width * z.place  # E[x_1 | x, interval], one row an interval
        data = self._per_axis(share * place)  # (2, B)
        noise = -self._per_axis(share * z.mean)
        center = torch.cat([data[:1].expand(self.nx, -1), data[1:].expand(self.ny, -1)])
        inner = width.square() * z.variance + (place - center).square()
        variance = (share * inner).sum(0)
        return Posterior(log_density - 2 * sigma.log(), data.T, noise.T, variance)

    def _shares(self, log_ratio: Tensor) -> tuple[Tensor, Tensor]:
        """log sum_ij w_ij r_i r_j and each interval's share of it, rows x first, (nx + ny, B)."""
        weights = self.weights.to(log_ratio.device)
        rows, columns = log_ratio[: self.nx], log_ratio[self.nx :]
        top_x, top_y = rows.detach().amax(0), columns.detach().amax(0)
        along_x, along_y = _floored((rows - top_x).exp()), _floored((columns - top_y).exp())
        share_x, share_y = along_x * (weights @ along_y), along_y * (weights.T @ along_x)
        mass = share_x.sum(0)
        # Far from the data the largest factors of both axes may belong to an empty cell, and the
        # rest may underflow. Those points are summed over the cells in logarithms.
        lost = mass < LOST
        if not lost.any():
            return top_x + top_y + mass.log(), torch.cat([share_x, share_y]) / mass
        mass = torch.where(lost, 1, mass)
        log_mass, share = top_x + top_y + mass.log(), torch.cat([share_x, share_y]) / mass
        where = lost.nonzero()[:, 0]
        found = [
            self._shares_by_cell(log_ratio[:, part])
            for part in where.split(max(1, CHUNK // self.filled.shape[1]))
        ]
        by_cell, shares = (torch.cat(values, dim=-1) for values in zip(*found, strict=True))
        return log_mass.index_copy(0, where, by_cell), share.index_copy(1, where, shares)

    def _shares_by_cell(self, log_ratio: Tensor) -> tuple[Tensor, Tensor]:
        i, j = self.filled.to(log_ratio.device)
        log_weights = self.weights.to(log_ratio.device)[i, j].log()
        logits = log_weights[:, None] + log_ratio[i] + log_ratio[self.nx + j]  # (F, b)
        cells = torch.softmax(logits, dim=0)
        share = torch.zeros_like(log_ratio)
        share = share.index_add(0, i, cells).index_add(0, self.nx + j, cells)
        return torch.logsumexp(logits, dim=0), share

    def _per_axis(self, values: Tensor) -> Tensor:
        """The sums over the x intervals and over the y intervals, (2, B)."""
        return torch.stack([values[: self.nx].sum(0), values[self.nx :].sum(0)])

    def density_grid(self, alpha: Tensor, sigma: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
        """p_t on the grid xs (nx,) by ys (ny,), float64, shape (ny, nx)."""
        split, device = self.nx + 1, xs.device
        along = []
        for edges, x in ((self.edges[:split], xs), (self.edges[split:], ys)):
            low = torch.arange(len(edges) - 1, device=device)
            z = truncated(alpha, sigma, edges[:, None].to(device), x, low)
            along.append(_floored(z.log_ratio.exp() / sigma))
        return along[1].T @ self.weights.T.to(device) @ along[0]


class Truncated(NamedTuple):
    """A standard normal z truncated to an interval of middle c and width h, elementwise."""

    log_ratio: Tensor
    """log(P / h), P being the interval's probability."""
    mean: Tensor
    """E[z]."""
    place: Tensor
    """(E[z] - c) / h, in [-1/2, 1/2]."""
    variance: Tensor
    """Var[z] / h^2, in [0, 1/12]."""


def truncated(alpha: Tensor, sigma: Tensor, edges: Tensor, x: Tensor, low: Tensor) -> Truncated:
    """z = (alpha x_1 - x) / sigma ~ N(0, 1) within edges[low] <= x_1 <= edges[low + 1].

    edges (E, 1) and x (E, B) or (B,) give (C, B) for low of shape (C,). An interval on one side of
    0 is written with the Mills ratio R(y) = (1 - Phi(y)) / phi(y), an interval around 0 with
    probabilities, a small one as a series in h.
    """
    z = (alpha * edges - x) / sigma
    h = alpha * (edges[low + 1] - edges[low]) / sigma
    size = z.abs()
    mills = math.sqrt(math.pi / 2) * torch.special.erfcx(size / math.sqrt(2))
    log_phi = -(z.square() + LOG_2PI) / 2
    phi = log_phi.exp()
    lo, hi = z[low], z[low + 1]
    c = (lo + hi) / 2
    tilt = h * c.abs()
    small = torch.maximum(h.expand_as(tilt), tilt) < SERIES
    about = (lo < 0) & (hi > 0)
    any_small = bool(small.any())
    # Keeps quotients and their gradients finite where the series replaces them.
    h_safe = torch.where(small, 1.0, h) if any_small else h
    # On one side of 0: with k = phi(far) / phi(near), P = phi(near) q and q = R(near) - k R(far).
    near, far = torch.minimum(size[low], size[low + 1]), torch.maximum(size[low], size[low + 1])
    k = torch.exp(-tilt)
    q = torch.maximum(mills[low], mills[low + 1]) - k * torch.minimum(mills[low], mills[low + 1])
    q = torch.where(about | small, 1.0, q)
    log_P = q.log() - (near.square() + LOG_2PI) / 2
    mean = -torch.sign(c) * torch.expm1(-tilt) / q
    spare = (near - k * far) / q
    # Around 0: P = Phi(hi) - Phi(lo).
    outside = phi * mills
    P = torch.where(about & ~small, 1 - outside[low] - outside[low + 1], 1.0)
    slope = z * phi
    log_P = torch.where(about, P.log(), log_P)
    mean = torch.where(about, (phi[low] - phi[low + 1]) / P, mean)
    spare = torch.where(about, (slope[low] - slope[low + 1]) / P, spare)
    variance = 1 + spare - mean.square()
    beyond = (near > 50) & (tilt > 40) & ~about
    tail = near.square().clamp(min=1).reciprocal()
    variance = torch.where(beyond, tail * (1 - 6 * tail), variance)
    place = (mean - c) / h_safe
    moments = Truncated(log_P - h_safe.log(), mean, place, variance / h_safe.square())
    if not any_small:
        return moments
    series = _series(torch.where(small, c, 0.0), torch.where(small, h, 0.0))
    return Truncated(*(torch.where(small, *pair) for pair in zip(series, moments, strict=True)))


def _series(c: Tensor, h: Tensor) -> Truncated:
    """The moments of a small interval, to relative order h^4 max(1, c)^4."""
    c2, h2 = c.square(), h.square()
    log_ratio = torch.log1p(h2 * (c2 - 1) / 24 + h2.square() * (c2 * (c2 - 6) + 3) / 1920)
    place = -c * h / 12 * (1 - h2 / 30 - c2 * h2 / 60)
    variance = (1 - h2 / 30 - c2 * h2 / 20) / 12
    return Truncated(log_ratio - (c2 + LOG_2PI) / 2, c + h * place, place, variance)


def _chunks(
    alpha: Tensor, sigma: Tensor, x: Tensor, width: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Batches of points with their coefficients, at most CHUNK elements each."""
    size = max(1, CHUNK // width)
    for start in range(0, max(1, len(x)), size):
        own = slice(start, start + size)
        yield alpha[own] if alpha.ndim else alpha, sigma[own] if sigma.ndim else sigma, x[own]


def _floored(factor: Tensor) -> Tensor:
    return torch.where(factor < FLOOR, 0.0, factor)


def _float64(x: Tensor) -> Tensor:
    return (x.cpu() if x.device.type == "mps" else x).double()  # MPS has no float64
