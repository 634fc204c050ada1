"""Independent pairs of two data sets: what follows about both ends from a state between them.

The states are x_t = alpha_t x_1 + sigma_t x_0; see `flowviz.fields.sourced` for the formulas.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from flowviz.distributions import Boxes, GaussianMixture
from flowviz.fields.inference import Posterior, Target

SMALLEST = 1e-5
"""Least coefficient of the enumerated side: 1 / coefficient is finite, also at t = 0."""

CHUNK = 2**18
"""Largest number of points times components that are prepared at once."""

ROWS = 2**14
"""Largest number of points times components of a mixture at once: memory that is freed in between
stays in pieces, which took 4 GB for two data sets of 2,000 components."""

OFF, REACH = 1e-9, 0.05
"""Length of an intersection that is empty, over sigma, and the distance over which it falls."""

MAX_BOX_WORK = 2**17
"""Largest number of products per point of two sets of boxes: about 0.1 ms of one core."""


class Inferred(NamedTuple):
    """The posterior given x_t = x, with the components of one side enumerated."""

    log_density: Tensor
    """log p_t(x) in nats, (B,)."""
    enumerated: Tensor
    """Posterior mean of the enumerated side, (B, 2)."""
    other: Tensor
    """Posterior mean of the other side, (B, 2)."""
    score: Tensor
    """The gradient of log p_t at x, (B, 2)."""
    divergence: Tensor
    """The divergence of `other` by x, (B,)."""
    variance: Tensor
    """tr Cov of the other side given x, (B,)."""


class Enumerated:
    """A mixture of round Gaussians, summed over its components, and the data set opposite."""

    def __init__(self, mixture: GaussianMixture, other: Target) -> None:
        positive = mixture.weights > 0
        self.means = mixture.means[positive]  # (K, 2)
        self.log_weights = mixture.weights[positive].log()  # (K,)
        self.std = mixture.variances[0, 0].sqrt().item()
        self.other = other

    def infer(
        self, gain: Tensor, scale: Tensor, x: Tensor, blur: Tensor | None = None
    ) -> Inferred:
        """The posterior given x = gain * other + scale * enumerated + blur * N(0, I).

        Args:
            gain: coefficient of the other side, () or (B, 1).
            scale: coefficient of the enumerated side, likewise, at least SMALLEST.
            x: the states, (B, 2) float64.
            blur: standard deviation of independent noise, likewise; None for none.
        """
        size = max(1, ROWS // len(self.means))
        spread = scale * self.std
        if blur is not None:
            spread = torch.sqrt(spread.square() + blur.square())

        def part(rows: slice) -> Inferred:
            a, b, c = (each[rows] if each.ndim else each for each in (gain, scale, spread))
            return self._part(a, b, c, x[rows])

        parts = [part(slice(k, k + size)) for k in range(0, max(1, len(x)), size)]
        return Inferred(*(torch.cat(values) for values in zip(*parts, strict=True)))

    def _part(self, gain: Tensor, scale: Tensor, spread: Tensor, x: Tensor) -> Inferred:
        """`infer` with the standard deviation of x given a component and the other side."""
        means, count = self.means.to(x.device), len(self.means)
        rows = (x[:, None] - scale[..., None] * means).reshape(-1, 2)  # (B K, 2)
        gains, spreads = (
            c.repeat_interleave(count, dim=0) if c.ndim else c for c in (gain, spread)
        )
        shrink = (scale * self.std**2 / spread)[..., None]
        posterior = self.other.posterior(gains, spreads, rows)
        logits = self.log_weights.to(x.device) + posterior.log_density.reshape(-1, count)
        share = torch.softmax(logits, dim=1)[..., None]  # (B, K, 1)
        data = posterior.data.reshape(-1, count, 2)
        score = (-posterior.noise / spreads).reshape(-1, count, 2)  # of p_t(x | k)
        mean, total = (share * data).sum(dim=1), (share * score).sum(dim=1)
        slope = (gains / spreads**2).squeeze(-1) * posterior.variance  # div E[other | x, k]
        covariance = (data * (score - total[:, None])).sum(dim=-1)
        between = (data - mean[:, None]).square().sum(dim=-1)
        spread = posterior.variance.reshape(-1, count) + between
        weight = share[..., 0]
        return Inferred(
            torch.logsumexp(logits, dim=1),
            (share * (means + shrink * posterior.noise.reshape(-1, count, 2))).sum(dim=1),
            mean,
            total,
            (weight * (slope.reshape(-1, count) + covariance)).sum(dim=1),
            (weight * spread).sum(dim=1),
        )

    def density_grid(
        self, gain: Tensor, scale: Tensor, xs: Tensor, ys: Tensor, blur: Tensor | None = None
    ) -> Tensor:
        """The density of the state of `infer` on a grid, shape (ny, nx)."""
        spread = scale * self.std
        if blur is not None:
            spread = torch.sqrt(spread.square() + blur.square())
        total = xs.new_zeros(len(ys), len(xs))
        for weight, mean in zip(self.log_weights.exp().tolist(), scale * self.means, strict=True):
            shifted = xs - mean[0].to(xs), ys - mean[1].to(ys)
            total += weight * self.other.density_grid(gain, spread, *shifted)
        return total


@dataclass(frozen=True, eq=False)
class Pairing:
    """Independent pairs of a source and a data set, as the `Target` of an exact field.

    Attributes:
        sides: the enumerated side with the other one.
        swapped: whether the data at t = 1 are enumerated and not the source.
    """

    sides: Enumerated
    swapped: bool

    def infer(
        self, alpha: Tensor, sigma: Tensor, x: Tensor, blur: Tensor | None = None
    ) -> Inferred:
        """What follows from x, (B, 2) float64; the other arguments have shape () or (B, 1)."""
        gain, scale = (sigma, alpha) if self.swapped else (alpha, sigma)
        return self.sides.infer(gain, scale.clamp(min=SMALLEST), x, blur)

    def posterior(self, alpha: Tensor, sigma: Tensor, x: Tensor) -> Posterior:
        """See `Target.posterior`; the noise is x_0."""
        inferred = self.infer(alpha, sigma, x)
        if not self.swapped:
            return Posterior(
                inferred.log_density, inferred.other, inferred.enumerated, inferred.variance
            )
        # x = alpha x_1 + sigma x_0, so that given x both have the same covariance up to a factor.
        ratio = (sigma / alpha.clamp(min=SMALLEST)).square()
        variance = (ratio.squeeze(-1) if ratio.ndim else ratio) * inferred.variance
        return Posterior(inferred.log_density, inferred.enumerated, inferred.other, variance)

    def means(self, alpha: Tensor, sigma: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """E[x_1 | x] and E[x_0 | x], each (B, 2)."""
        posterior = self.posterior(alpha, sigma, x)
        return posterior.data, posterior.noise

    def density_grid(self, alpha: Tensor, sigma: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
        """See `Target.density_grid`."""
        gain, scale = (sigma, alpha) if self.swapped else (alpha, sigma)
        return self.sides.density_grid(gain, scale.clamp(min=SMALLEST), xs, ys)


@dataclass(frozen=True, eq=False)
class BoxPairs:
    """Independent pairs of two sets of boxes, as the `Target` of an exact field.

    Given x and the two boxes, x_1 is uniform. On each axis it lies in the intersection of its
    interval [a, b] with [(x - sigma d) / alpha, (x - sigma c) / alpha], where [c, d] is that of
    x_0. So p_t(x) and the moments of x_1 are sums over pairs of boxes of products of moments of
    intersections. Where no pair reaches x, which solvers can leave by their error, the nearest
    pairs count (OFF), each with the ends of the intervals nearest to x.
    """

    source: Boxes
    data: Boxes
    swapped: ClassVar[bool] = False

    @property
    def work(self) -> int:
        """Number of products per point."""
        (i, j), (k, m) = self.data.weights.shape, self.source.weights.shape
        return i * j * k + j * k * m

    def infer(self, alpha: Tensor, sigma: Tensor, x: Tensor) -> Inferred:
        """What follows from x, (B, 2) float64; the other arguments have shape () or (B, 1)."""
        return Inferred(*self._by_parts(self._part, alpha, sigma, x))

    def posterior(self, alpha: Tensor, sigma: Tensor, x: Tensor) -> Posterior:
        """See `Target.posterior`; the noise is x_0."""
        inferred = self.infer(alpha, sigma, x)
        return Posterior(
            inferred.log_density, inferred.other, inferred.enumerated, inferred.variance
        )

    def means(self, alpha: Tensor, sigma: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """E[x_1 | x] and E[x_0 | x], each (B, 2)."""
        data, start = self._by_parts(self._means, alpha, sigma, x)
        return data, start

    def density_grid(self, alpha: Tensor, sigma: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
        """See `Target.density_grid`."""
        alpha, sigma = (c.clamp(min=SMALLEST).reshape(1, 1) for c in (alpha, sigma))
        x_moments = self._summed(alpha, sigma, xs[:, None])[5]
        y_moments = self._moments(1, alpha, sigma, ys[:, None])[5]
        return y_moments.mT.flatten(1) @ x_moments.flatten(1).T / sigma**2

    def _by_parts(
        self,
        compute: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, ...]],
        alpha: Tensor,
        sigma: Tensor,
        x: Tensor,
    ) -> Iterator[Tensor]:
        """The results of `compute` for few x at a time; its coefficients are (B, 1) or (1, 1)."""
        alpha, sigma = alpha.clamp(min=SMALLEST), sigma.clamp(min=SMALLEST)
        cells = self.data.weights.numel() + self.source.weights.numel()
        parts = []
        for rows in torch.arange(len(x)).split(max(1, CHUNK // cells)):
            a, s = (c[rows] if c.ndim else c.expand(1, 1) for c in (alpha, sigma))
            parts.append(compute(a, s, x[rows]))
        return (torch.cat(values) for values in zip(*parts, strict=True))

    def _means(self, alpha: Tensor, sigma: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        x_moments = self._summed(alpha, sigma, x[:, :1], moments=2)
        y_moments = self._moments(1, alpha, sigma, x[:, 1:], moments=2).mT
        mass = (x_moments[0] * y_moments[0]).sum(dim=(-2, -1))
        sums = (
            (x_moments[1] * y_moments[0]).sum(dim=(-2, -1)),
            (x_moments[0] * y_moments[1]).sum(dim=(-2, -1)),
        )
        mean = torch.stack(sums, dim=1) / mass[:, None]
        return mean, self._start(alpha, sigma, x, mean)

    def _start(self, alpha: Tensor, sigma: Tensor, x: Tensor, mean: Tensor) -> Tensor:
        """E[x_0 | x] from E[x_1 | x], within the frame of the source where no pair reaches x."""
        edges = self.source.edges_x, self.source.edges_y
        low, high = (torch.stack([each[k] for each in edges]).to(x) for k in (0, -1))
        return ((x - alpha * mean) / sigma).clamp(low, high)

    def _part(self, alpha: Tensor, sigma: Tensor, x: Tensor) -> Inferred:
        x_moments = self._summed(alpha, sigma, x[:, :1])
        y_moments = self._moments(1, alpha, sigma, x[:, 1:]).mT

        def total(first: int, second: int) -> Tensor:
            return (x_moments[first] * y_moments[second]).sum(dim=(-2, -1))

        mass = total(0, 0)
        mean, slope = (
            torch.stack([total(k, 0), total(0, k)], dim=1) / mass[:, None] for k in (1, 3)
        )
        square = (total(2, 0) + total(0, 2)) / mass
        growth = (total(4, 0) + total(0, 4)) / mass
        return Inferred(
            total(5, 5).log() - 2 * sigma.log().squeeze(-1),
            self._start(alpha, sigma, x, mean),
            mean,
            slope,
            growth - (mean * slope).sum(dim=1),
            (square - mean.square().sum(dim=1)).clamp(min=0),
        )

    def _moments(
        self, axis: int, alpha: Tensor, sigma: Tensor, x: Tensor, moments: int = 6
    ) -> Tensor:
        """Of the intersections of K intervals of x_0 and I of x_1 on an axis, (moments, B, K, I).

        Length, first and second moment of x_1, the derivatives of the first two by x, and the
        length that is 0 where x is not reached; alpha and sigma (B, 1) or (1, 1), x (B, 1).
        """
        ends, starts = (
            (each.edges_y if axis else each.edges_x).to(x) for each in (self.data, self.source)
        )
        x, alpha, sigma = (each[..., None] for each in (x, alpha, sigma))
        low_1, high_1 = ends[:-1], ends[1:]
        low_0, high_0 = ((x - sigma * each[:, None]) / alpha for each in (starts[1:], starts[:-1]))
        low, high = torch.maximum(low_1, low_0), torch.minimum(high_1, high_0)
        length = high - low
        inside = length > 0
        proximity = (
            (1 - alpha * length.clamp(max=0) / REACH).reciprocal().square().square().square()
        )
        far = OFF * sigma * proximity
        nearest = torch.where(low_0 > high_1, high_1, low_1)
        rows = [
            torch.where(inside, length, far),
            torch.where(inside, length * (low + high) / 2, far * nearest),
        ]
        if moments > len(rows):
            low_slope, high_slope = (low_0 > low_1) / alpha, (high_0 < high_1) / alpha
            rows += [
                torch.where(inside, (high**3 - low**3) / 3, far * nearest.square()),
                torch.where(inside, high_slope - low_slope, 0.0),
                torch.where(inside, high * high_slope - low * low_slope, 0.0),
                torch.where(inside, length, 0.0),
            ]
        return torch.stack(rows)

    def _summed(self, alpha: Tensor, sigma: Tensor, x: Tensor, moments: int = 6) -> Tensor:
        """`_moments` of the first axis, summed with the densities of the boxes.

        Shape (moments, B, J, L) for J and L intervals of x_1 and x_0 on the second axis.
        """
        ends, starts = ((each.weights / each.areas).to(x) for each in (self.data, self.source))
        summed = self._moments(0, alpha, sigma, x, moments) @ ends
        return summed.mT.contiguous() @ starts
