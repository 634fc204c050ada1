"""Inference for boxes on a lattice; see `flowviz.fields.exact` for the formulas."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from flowviz.fields.inference import CHUNK, LOG_2PI, Posterior, chunks, floored

LOST = 1e-130
"""Sums below this may miss terms set to 0 by FLOOR and are computed in logarithms."""
SERIES = 0.03
"""Intervals of z shorter than this, and than this over |z|, are evaluated by series."""
PLAIN = 0.003
"""If all intervals of z are longer, plain differences of probabilities keep 10 digits."""


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
            for a, s, p in chunks(alpha, sigma, x, len(self.edges))
        ]
        return Posterior(*(torch.cat(values) for values in zip(*parts, strict=True)))

    def means(self, alpha: Tensor, sigma: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """E[x_1 | x] and E[x_0 | x], each (B, 2)."""
        narrowest = alpha * self.width.amin() / sigma
        if (narrowest < PLAIN).any():  # as at t = 0
            posterior = self.posterior(alpha, sigma, x)
            return posterior.data, posterior.noise
        parts = [self._means(*part) for part in chunks(alpha, sigma, x, len(self.edges))]
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
        contains_zero = below[:-1] & ~below[1:]
        chance = torch.where(contains_zero, 1 - tail[:-1] - tail[1:], (tail[:-1] - tail[1:]).abs())
        lengths = self.lengths.to(x.device)[:, None]
        chance, slope = floored(chance / lengths), (phi[:-1] - phi[1:]) / lengths
        (chance_x, chance_y), (slope_x, slope_y) = (
            (v[: self.nx], v[self.nx + 1 :]) for v in (chance, slope)
        )
        over_y, over_x = weights @ chance_y, weights.T @ chance_x
        mass = (chance_x * over_y).sum(0)
        underflows = mass < LOST
        moments = torch.stack([(slope_x * over_y).sum(0), (slope_y * over_x).sum(0)], dim=1)
        if not underflows.any():
            return -moments / mass[:, None]
        noise = -moments / torch.where(underflows, 1.0, mass)[:, None]
        where = underflows.nonzero()[:, 0]
        some_alpha, some_sigma = (v[where] if v.ndim else v for v in (alpha, sigma))
        fallback = self.posterior(some_alpha, some_sigma, x[where])
        return noise.index_copy(0, where, fallback.noise)

    def _part(self, alpha: Tensor, sigma: Tensor, x: Tensor) -> Posterior:
        edges, low = self.edges.to(x.device)[:, None], self.low.to(x.device)
        z = truncated(alpha, sigma, edges, x.T[self.edge_axis.to(x.device)], low)
        width, middle = self.width.to(x.device)[:, None], self.middle.to(x.device)[:, None]
        log_density, share = self._shares(z.log_ratio)
        means = middle + width * z.relative_mean  # E[x_1 | x, interval], one row an interval
        data = self._per_axis(share * means)  # (2, B)
        noise = -self._per_axis(share * z.mean)
        center = torch.cat([data[:1].expand(self.nx, -1), data[1:].expand(self.ny, -1)])
        inner = width.square() * z.variance + (means - center).square()
        variance = (share * inner).sum(0)
        return Posterior(log_density - 2 * sigma.log(), data.T, noise.T, variance)

    def _shares(self, log_ratio: Tensor) -> tuple[Tensor, Tensor]:
        """log sum_ij w_ij r_i r_j and each interval's share of it, rows x first, (nx + ny, B)."""
        weights = self.weights.to(log_ratio.device)
        rows, columns = log_ratio[: self.nx], log_ratio[self.nx :]
        top_x, top_y = rows.detach().amax(0), columns.detach().amax(0)
        along_x, along_y = floored((rows - top_x).exp()), floored((columns - top_y).exp())
        share_x, share_y = along_x * (weights @ along_y), along_y * (weights.T @ along_x)
        mass = share_x.sum(0)
        # Far from the data the largest factors of both axes may belong to an empty cell, and the
        # rest may underflow. Those points are summed over the cells in logarithms.
        underflows = mass < LOST
        if not underflows.any():
            return top_x + top_y + mass.log(), torch.cat([share_x, share_y]) / mass
        mass = torch.where(underflows, 1, mass)
        log_mass, share = top_x + top_y + mass.log(), torch.cat([share_x, share_y]) / mass
        where = underflows.nonzero()[:, 0]
        parts = [
            self._shares_by_cell(log_ratio[:, part])
            for part in where.split(max(1, CHUNK // self.filled.shape[1]))
        ]
        by_cell, shares = (torch.cat(values, dim=-1) for values in zip(*parts, strict=True))
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
        densities = []
        for edges, x in ((self.edges[:split], xs), (self.edges[split:], ys)):
            low = torch.arange(len(edges) - 1, device=device)
            z = truncated(alpha, sigma, edges[:, None].to(device), x, low)
            densities.append(floored(z.log_ratio.exp() / sigma))
        return densities[1].T @ self.weights.T.to(device) @ densities[0]


class Truncated(NamedTuple):
    """A standard normal z truncated to an interval of middle c and width h, elementwise."""

    log_ratio: Tensor
    """log(P / h), P being the interval's probability."""
    mean: Tensor
    """E[z]."""
    relative_mean: Tensor
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
    contains_zero = (lo < 0) & (hi > 0)
    any_small = bool(small.any())
    # Keeps quotients and their gradients finite where the series replaces them.
    h_safe = torch.where(small, 1.0, h) if any_small else h
    # On one side of 0: with k = phi(far) / phi(near), P = phi(near) q and q = R(near) - k R(far).
    near, far = torch.minimum(size[low], size[low + 1]), torch.maximum(size[low], size[low + 1])
    k = torch.exp(-tilt)
    q = torch.maximum(mills[low], mills[low + 1]) - k * torch.minimum(mills[low], mills[low + 1])
    q = torch.where(contains_zero | small, 1.0, q)
    log_P = q.log() - (near.square() + LOG_2PI) / 2
    mean = -torch.sign(c) * torch.expm1(-tilt) / q
    excess_square = (near - k * far) / q
    # Around 0: P = Phi(hi) - Phi(lo).
    outside = phi * mills
    P = torch.where(contains_zero & ~small, 1 - outside[low] - outside[low + 1], 1.0)
    slope = z * phi
    log_P = torch.where(contains_zero, P.log(), log_P)
    mean = torch.where(contains_zero, (phi[low] - phi[low + 1]) / P, mean)
    excess_square = torch.where(contains_zero, (slope[low] - slope[low + 1]) / P, excess_square)
    variance = 1 + excess_square - mean.square()
    beyond = (near > 50) & (tilt > 40) & ~contains_zero
    tail = near.square().clamp(min=1).reciprocal()
    variance = torch.where(beyond, tail * (1 - 6 * tail), variance)
    relative_mean = (mean - c) / h_safe
    moments = Truncated(log_P - h_safe.log(), mean, relative_mean, variance / h_safe.square())
    if not any_small:
        return moments
    series = _series(torch.where(small, c, 0.0), torch.where(small, h, 0.0))
    return Truncated(*(torch.where(small, *pair) for pair in zip(series, moments, strict=True)))


def _series(c: Tensor, h: Tensor) -> Truncated:
    """The moments of a small interval, to relative order h^4 max(1, c)^4."""
    c2, h2 = c.square(), h.square()
    log_ratio = torch.log1p(h2 * (c2 - 1) / 24 + h2.square() * (c2 * (c2 - 6) + 3) / 1920)
    relative_mean = -c * h / 12 * (1 - h2 / 30 - c2 * h2 / 60)
    variance = (1 - h2 / 30 - c2 * h2 / 20) / 12
    return Truncated(
        log_ratio - (c2 + LOG_2PI) / 2, c + h * relative_mean, relative_mean, variance
    )
