"""Inference for Gaussian mixtures and points; see `flowviz.fields.exact` for the formulas."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import linear

from flowviz.fields.inference import CHUNK, FADED, LOG_2PI, Posterior, chunks, floored


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
            floored((v[:, None] - m).square().div(-2 * s).exp() / torch.sqrt(2 * math.pi * s))
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
        parts = [self._part(*part) for part in chunks(alpha, sigma, x, 4 * len(self.log_weights))]
        return Posterior(*(torch.cat(values) for values in zip(*parts, strict=True)))

    def _part(self, alpha: Tensor, sigma: Tensor, x: Tensor) -> Posterior:
        device = x.device
        center, means, axes = (v.to(device) for v in (self.center, self.locations, self.axes))
        variances = self.variances.to(device)
        y = x - alpha * center
        logits, data, noise, inner = self.log_weights.to(device), [], [], 0.0
        for mean, variance, axis in zip(means, variances, axes, strict=True):
            projected = y @ axis  # (b, K)
            spread = alpha**2 * variance + sigma**2  # (K,) or (b, K)
            offset = projected - alpha * mean
            logits = logits - (offset.square() / spread + spread.log()) / 2
            data.append((sigma**2 * mean + alpha * variance * projected) / spread)
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
