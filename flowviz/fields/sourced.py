r"""Exact marginal fields from one data set to another, of independent pairs.

The state is x_t = alpha_t x_1 + sigma_t x_0 with x_0 from a data set in the place of noise. If one
of the two is a mixture of round Gaussians of one width, say x_0 ~ sum_k w_k N(m_k, s^2 I), then
given its component k

    x_t - sigma_t m_k = alpha_t x_1 + (sigma_t s) z,    z ~ N(0, I),

is a state on a path from noise to the other data set, whose density and posterior means are
known (`flowviz.fields.exact`). The posterior over the components adds them up:

    p_t(x) = sum_k w_k p_t(x | k),    E[x_1 | x] = sum_k w_k p_t(x | k) E[x_1 | x, k] / p_t(x),

and likewise for E[x_0 | x], with E[x_0 | x, k] = m_k + s E[z | x, k]. The marginal velocity is
d_alpha E[x_1 | x] + d_sigma E[x_0 | x] (Lipman et al. 2022, eq. 8, with pairs in the place of
data; Tong et al. 2023, https://arxiv.org/abs/2302.00482, theorem 3.1). The two data sets have the
same roles, so that the components can also be those of x_1. Two sets of boxes have a closed form,
too (`BoxPairs`).
"""

from dataclasses import dataclass, field

from torch import Tensor

from flowviz.datasets import Dataset
from flowviz.distributions import Boxes, Distribution, GaussianMixture, PointMasses
from flowviz.fields.bridges import BridgeFlow
from flowviz.fields.exact import ExactField, exact_field, target_of
from flowviz.fields.pairings import (
    MAX_BOX_WORK,
    SMALLEST,
    BoxPairs,
    Enumerated,
    Inferred,
    Pairing,
)
from flowviz.paths import AffinePath
from flowviz.schedulers import Coefficients

__all__ = ["BridgeField", "SourcedField", "exact_field_of", "sourced_field"]


class SourcedField(ExactField):
    """The exact marginal velocity from a source to a data set, called as field(t, x).

    `noise_mean` is E[x_0 | x_t = x], the mean of the source. See `ExactField` for shapes.
    """

    target: Pairing | BoxPairs

    def score(self, t: Tensor, x: Tensor) -> Tensor:
        """The gradient of log p_t at x, shape (B, 2)."""
        c, x64 = self.coefficients(t, x)
        return self.target.infer(c.alpha, c.sigma, x64).score.to(x)

    def divergence(self, t: Tensor, x: Tensor) -> Tensor:
        """The divergence of the marginal velocity at x, shape (B,).

        x = a y + b z, where z is the mean of the enumerated side and y that of the other side, so
        that u = (d_b / b) x + (d_a - d_b a / b) y.
        """
        c, x64 = self.coefficients(t, x)
        slope = self.target.infer(c.alpha, c.sigma, x64).divergence
        rows = [value.squeeze(-1) if value.ndim else value for value in c]
        alpha, sigma, d_alpha, d_sigma = rows
        b, d_b, a, d_a = sigma, d_sigma, alpha, d_alpha
        if self.target.swapped:
            b, d_b, a, d_a = a, d_a, b, d_b
        b = b.clamp(min=SMALLEST)
        return (2 * d_b / b + (d_a - d_b * a / b) * slope).to(x)


@dataclass(frozen=True, eq=False)
class BridgeField(BridgeFlow):
    """The exact field of the bridges between independent pairs of two data sets.

    E[w | x] is d_alpha E[x_1 | x] + d_sigma E[x_0 | x], see `flowviz.fields.bridges`.

    Attributes:
        sourced: the field of the same pairs without noise.
        noise: the diffusion, 0 or more.

    Raises:
        ValueError: the noise is negative, or both data sets are boxes.
    """

    sourced: SourcedField
    noise: float
    path: AffinePath = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", self.sourced.path)
        if not self.noise >= 0:
            raise ValueError(f"The noise of a bridge must be 0 or more; got {self.noise}.")
        if not isinstance(self.sourced.target, Pairing):
            raise ValueError(
                "The exact field of bridges is known where one of the two data sets is a mixture "
                "of round Gaussians of one width, such as 8gaussians; got boxes on both sides."
            )

    @property
    def _pairing(self) -> Pairing:
        pairing = self.sourced.target
        assert isinstance(pairing, Pairing)  # see __post_init__
        return pairing

    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        """The velocity u of the flow at t () or (B,) and x (B, 2), (B, 2) in x's dtype."""
        return self.velocity_and_score(t, x)[0].to(x)

    def velocity_and_score(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """See `BridgeFlow.velocity_and_score`; in float64."""
        c, inferred = self._inferred(t, x)
        data, start = inferred.other, inferred.enumerated
        if self._pairing.swapped:
            data, start = start, data
        _, slope = c.bridge(self.noise)
        return c.d_alpha * data + c.d_sigma * start - slope * inferred.score, inferred.score

    def score(self, t: Tensor, x: Tensor) -> Tensor:
        """The gradient of log p_t at x, (B, 2)."""
        return self._inferred(t, x)[1].score.to(x)

    def log_density(self, t: Tensor, x: Tensor) -> Tensor:
        """log p_t(x) in nats, (B,)."""
        return self._inferred(t, x)[1].log_density.to(x)

    def density_grid(self, t: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
        """p_t on the grid xs (nx,) by ys (ny,) at one time t (), (ny, nx)."""
        xs64, ys64 = xs.double(), ys.double()
        c, pairing = self.path.coefficients(t, xs64), self._pairing
        gain, scale = (c.sigma, c.alpha) if pairing.swapped else (c.alpha, c.sigma)
        grid = gain, scale.clamp(min=SMALLEST), xs64, ys64, self.blur(c)
        return pairing.sides.density_grid(*grid).to(xs)

    def _inferred(self, t: Tensor, x: Tensor) -> tuple[Coefficients, Inferred]:
        c, x64 = self.sourced.coefficients(t, x)
        return c, self._pairing.infer(c.alpha, c.sigma, x64, self.blur(c))


def sourced_field(
    path: AffinePath, source: Distribution, distribution: Distribution
) -> SourcedField:
    """The exact field of a path from a source to a distribution, of independent pairs.

    Raises:
        ValueError: the source is a set of points, or there is no closed form: neither of the two
            is a mixture of round Gaussians of one width, and they are not two sets of few boxes.
    """
    if isinstance(source, PointMasses):
        raise ValueError(
            "A source must have a density, because no flow spreads a single point; got points."
        )
    if isinstance(source, Boxes) and isinstance(distribution, Boxes):
        pairs = BoxPairs(source, distribution)
        if pairs.work <= MAX_BOX_WORK:
            return SourcedField(path, distribution, pairs)
    both = (False, source, distribution), (True, distribution, source)
    sides = [
        (len(mixture.means), swapped, mixture, other)
        for swapped, mixture, other in both
        if isinstance(mixture, GaussianMixture) and _is_round(mixture)
    ]
    if not sides:
        raise ValueError(
            "No exact field is known between these data sets: one of the two must be a mixture of "
            "round Gaussians of one width, such as 8gaussians, moons or points, or both must be "
            "of few boxes; train a network."
        )
    _, swapped, mixture, other = min(sides, key=lambda side: side[:2])
    pairing = Pairing(Enumerated(mixture, target_of(other)), swapped)
    return SourcedField(path, distribution, pairing)


def exact_field_of(path: AffinePath, data: Dataset) -> ExactField:
    """The exact field of a path to a data set, from its source if it has one, else from noise.

    Raises:
        ValueError: as `exact_field` and `sourced_field`.
    """
    if data.source is None:
        return exact_field(path, data.distribution)
    return sourced_field(path, data.source.distribution, data.distribution)


def _is_round(mixture: GaussianMixture) -> bool:
    first, second = mixture.variances[0].tolist()
    return mixture.shared and first == second
