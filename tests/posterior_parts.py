r"""The posterior over the parts of the data at one point, whose mean velocity is the marginal one.

A known distribution consists of parts: points, components of a mixture, or boxes. Given
x_t = x, each part k has a posterior probability w_k, and within it x_1 and x_0 have the means m_k
and e_k, so that its conditional velocity is v_k = d_alpha m_k + d_sigma e_k and

    u_t(x) = E[u_t(x | x_1) | x_t = x] = sum_k w_k v_k    (Lipman et al. 2022, eq. 8).

For points v_k is u_t(x | x_1) itself; for other parts it is its mean over the part. All is
computed in float64 without a division by alpha, so that it holds at t = 0 too.
"""

from dataclasses import dataclass
from functools import singledispatch

import torch
from torch import Tensor

from flowviz.distributions import Boxes, Distribution, GaussianMixture, PointMasses
from flowviz.fields.lattice import truncated
from flowviz.paths import AffinePath
from flowviz.schedulers import Coefficients


@dataclass(frozen=True)
class PartPosterior:
    """The posterior of the parts of the data given x_t = x, float64."""

    weights: Tensor
    """p(part k | x_t = x), shape (B, K); each row sums to 1."""
    data: Tensor
    """E[x_1 | x_t = x, part k], shape (B, K, 2)."""
    noise: Tensor
    """E[x_0 | x_t = x, part k], shape (B, K, 2)."""
    velocities: Tensor
    """E[u_t(x | x_1) | x_t = x, part k], shape (B, K, 2)."""

    @property
    def velocity(self) -> Tensor:
        """The weighted mean of the velocities: the marginal u_t(x), shape (B, 2). Eq. 8."""
        return torch.einsum("bk,bkd->bd", self.weights, self.velocities)

    @property
    def effective(self) -> Tensor:
        """The effective number of parts, 1 / sum_k w_k^2, in [1, K], shape (B,)."""
        return 1 / self.weights.square().sum(dim=1)

    @property
    def spread(self) -> Tensor:
        """The standard deviation of the velocities, sqrt(sum_k w_k |v_k - u|^2), shape (B,).

        For points its square is the minimum of the conditional loss at (t, x).
        """
        off = self.velocities - self.velocity[:, None]
        return (self.weights * off.square().sum(dim=-1)).sum(dim=1).sqrt()


def part_posterior(
    path: AffinePath, distribution: Distribution, t: Tensor, x: Tensor
) -> PartPosterior:
    """The posterior over the parts of a distribution at x (B, 2) and t, () or (B,).

    Parts of weight 0 are omitted; the others keep their order, boxes row by row.

    Raises:
        ValueError: the distribution is not one of the three kinds, or a shape is wrong.
    """
    if x.ndim != 2 or x.shape[1] != 2:
        raise ValueError(f"x must have shape (B, 2); got {tuple(x.shape)}.")
    fine = x.double()
    c = path.coefficients(t, fine)
    logits, data, noise = _parts(distribution, c, fine)
    rise, fall = (v[..., None] if v.ndim else v for v in (c.d_alpha, c.d_sigma))
    weights = torch.softmax(logits, dim=1)
    return PartPosterior(weights, data, noise, rise * data + fall * noise)


@singledispatch
def _parts(distribution: Distribution, c: Coefficients, x: Tensor) -> tuple[Tensor, ...]:
    """Unnormalised log weights (B, K), data means and noise means, each (B, K, 2)."""
    raise ValueError(
        "A posterior over parts needs a GaussianMixture, PointMasses or Boxes; "
        f"got {type(distribution).__name__}."
    )


@_parts.register
def _(distribution: PointMasses, c: Coefficients, x: Tensor) -> tuple[Tensor, ...]:
    kept = distribution.weights > 0
    points = distribution.points[kept].expand(len(x), -1, -1)
    alpha, sigma = _wide(c)
    noise = (x[:, None] - alpha * points) / sigma
    return distribution.weights[kept].log() - noise.square().sum(-1) / 2, points, noise


@_parts.register
def _(distribution: GaussianMixture, c: Coefficients, x: Tensor) -> tuple[Tensor, ...]:
    kept = distribution.weights > 0
    means, axes = distribution.means[kept], distribution.axes[kept]
    variances = distribution.variances[kept]
    alpha, sigma = _wide(c)
    offset = torch.einsum("bkd,kde->bke", x[:, None] - alpha * means, axes)  # in each's eigenbasis
    spread = alpha**2 * variances + sigma**2
    logits = distribution.weights[kept].log()
    logits = logits - (offset.square() / spread + spread.log()).sum(-1) / 2
    back = axes.mT
    data = means + torch.einsum("bke,ked->bkd", alpha * variances / spread * offset, back)
    return logits, data, torch.einsum("bke,ked->bkd", sigma * offset / spread, back)


@_parts.register
def _(distribution: Boxes, c: Coefficients, x: Tensor) -> tuple[Tensor, ...]:
    cells = distribution.weights.nonzero().T  # (2, K)
    logits = distribution.weights[*cells].log()
    alpha, sigma = (v.squeeze(-1) for v in (c.alpha, c.sigma))
    data, noise = [], []
    for cell, edges, along in zip(
        cells, (distribution.edges_x, distribution.edges_y), x.T, strict=True
    ):
        z = truncated(alpha, sigma, edges[:, None], along, cell)  # z = -x_0, (K, B)
        middle, width = (edges[cell] + edges[cell + 1]) / 2, edges.diff()[cell]
        logits = logits + z.log_ratio.T
        data.append(middle + width * z.relative_mean.T)
        noise.append(-z.mean.T)
    return logits, torch.stack(data, dim=-1), torch.stack(noise, dim=-1)


def _wide(c: Coefficients) -> tuple[Tensor, Tensor]:
    """alpha and sigma to multiply (B, K, 2): shape () or (B, 1, 1)."""
    return tuple(v[..., None] if v.ndim else v for v in (c.alpha, c.sigma))
