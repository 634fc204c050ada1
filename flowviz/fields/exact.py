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

from dataclasses import dataclass
from functools import singledispatch

import torch
from torch import Tensor

from flowviz.distributions import Boxes, Distribution, GaussianMixture, PointMasses
from flowviz.fields.gaussians import OwnCovariances, SharedCovariance
from flowviz.fields.inference import Posterior, Target
from flowviz.fields.lattice import Lattice
from flowviz.paths import AffinePath
from flowviz.schedulers import Coefficients, LearnedReference

__all__ = ["ExactField", "exact_field"]


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
        xs64, ys64 = _float64(xs), _float64(ys)
        c = self.path.coefficients(t, xs64)
        return self.target.density_grid(c.alpha, c.sigma, xs64, ys64).to(xs)

    def _posterior(self, t: Tensor, x: Tensor) -> tuple[Coefficients, Posterior]:
        c, x64 = self.coefficients(t, x)
        return c, self.target.posterior(c.alpha, c.sigma, x64)

    def _means(self, t: Tensor, x: Tensor) -> tuple[Coefficients, Tensor, Tensor]:
        c, x64 = self.coefficients(t, x)
        return c, *self.target.means(c.alpha, c.sigma, x64)

    def coefficients(self, t: Tensor, x: Tensor) -> tuple[Coefficients, Tensor]:
        """The coefficients of the path at t, and x (B, 2) in float64 where the device has it."""
        if x.ndim != 2 or x.shape[1] != 2:
            raise ValueError(f"x must have shape (B, 2); got {tuple(x.shape)}.")
        x64 = _float64(x)
        return self.path.coefficients(t.to(x64.device), x64), x64


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
    positive = distribution.weights > 0
    means, log_weights = distribution.means[positive], distribution.weights[positive].log()
    variances, axes = distribution.variances[positive], distribution.axes[positive]
    if distribution.shared:
        return SharedCovariance(means, log_weights, variances[0], axes[0])
    return OwnCovariances(means, log_weights, variances, axes)


@target_of.register
def _(distribution: PointMasses) -> Target:
    positive = distribution.weights > 0
    log_weights = distribution.weights[positive].log()
    zero, identity = torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    return SharedCovariance(distribution.points[positive], log_weights, zero, identity)


@target_of.register
def _(distribution: Boxes) -> Target:
    return Lattice(distribution.edges_x, distribution.edges_y, distribution.weights)


def _float64(x: Tensor) -> Tensor:
    return (x.cpu() if x.device.type == "mps" else x).double()  # MPS has no float64
