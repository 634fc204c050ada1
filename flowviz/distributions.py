r"""Distributions in the plane whose exact flows are known in closed form.

A data set is a Gaussian mixture, weighted points, or boxes of uniform density on a rectangular
lattice (a checkerboard, a picture's pixels). For each, the distribution of alpha x_1 + sigma x_0
with Gaussian x_0 has a closed form, from which `flowviz.fields.exact` computes the marginal field.
All numbers are kept in float64; samples are float32.
"""

import math
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Generator, Tensor

CHUNK = 2**16
"""Largest number of elements (points x components) of a batch; fits the cache of a core."""


class Distribution(Protocol):
    """The interface of a distribution of data."""

    def sample(self, n: int, generator: Generator) -> Tensor:
        """n independent samples, shape (n, 2), float32."""
        ...

    def log_prob(self, x: Tensor) -> Tensor:
        """The log density at x of shape (B, 2) in nats, shape (B,), in x's dtype."""
        ...

    def contains(self, x: Tensor) -> Tensor:
        """Whether each x of shape (B, 2) lies in the support, shape (B,), bool."""
        ...

    @property
    def entropy(self) -> float | None:
        """The differential entropy in nats, or None where no closed form is known."""
        ...


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """The mixture of K Gaussians N(means[k], covariances[k]) with probabilities weights[k].

    Args:
        means: shape (K, 2).
        covariances: shape (K, 2, 2), or (2, 2) for a common one, or one standard deviation.
        weights: shape (K,), nonnegative, normalised to sum to 1; None for equal ones.
    """

    means: Tensor
    covariances: Tensor
    weights: Tensor
    variances: Tensor = field(init=False)
    """Eigenvalues of the covariances, shape (K, 2)."""
    axes: Tensor = field(init=False)
    """Their eigenvectors as columns, shape (K, 2, 2)."""
    shared: bool = field(init=False)
    """Whether all components have one covariance."""

    def __init__(
        self, means: Tensor, covariances: Tensor | float, weights: Tensor | None = None
    ) -> None:
        means = _points("means", means)
        matrices = torch.as_tensor(covariances, dtype=torch.float64)
        if matrices.ndim == 0:
            if not 0 < matrices.item() < math.inf:
                raise ValueError(
                    f"std must be positive and finite; got {matrices.item()}; "
                    "for a std of 0 use PointMasses."
                )
            matrices = matrices.square() * torch.eye(2, dtype=torch.float64)
        count = len(means)
        if matrices.shape not in ((2, 2), (count, 2, 2)):
            raise ValueError(
                f"covariances must be a number or have shape (2, 2) or ({count}, 2, 2); "
                f"got {tuple(matrices.shape)}."
            )
        matrices = matrices.expand(count, 2, 2)
        if not (matrices.isfinite().all() and torch.equal(matrices, matrices.mT)):
            raise ValueError("covariances must be finite and symmetric.")
        variances, axes = torch.linalg.eigh(matrices)
        diagonal = matrices[:, 0, 1] == 0  # where eigh may permute the axes
        variances = torch.where(diagonal[:, None], matrices.diagonal(dim1=1, dim2=2), variances)
        axes = torch.where(diagonal[:, None, None], torch.eye(2, dtype=torch.float64), axes)
        if not (variances > 0).all():
            raise ValueError(
                "covariances must be positive definite; "
                f"got the eigenvalue {variances.min().item():.3g}."
            )
        _set(
            self,
            means=means,
            covariances=matrices,
            weights=_weights(weights, (count,)),
            variances=variances,
            axes=axes,
            shared=bool((matrices == matrices[0]).all()),
        )

    def __repr__(self) -> str:
        return f"<GaussianMixture of {len(self.means):,} components>"

    def components(self, n: int, generator: Generator) -> Tensor:
        """The components of the samples that `sample` draws, shape (n,), int64.

        The generator must have the same state.
        """
        return _choose(self.weights, n, generator)

    def sample(self, n: int, generator: Generator) -> Tensor:
        """n independent samples, shape (n, 2), float32."""
        k = self.components(n, generator)
        noise = torch.randn(n, 2, dtype=torch.float64, generator=generator)
        stretched = self.variances[k].sqrt() * noise
        return (self.means[k] + (self.axes[k] @ stretched[..., None])[..., 0]).float()

    def log_prob(self, x: Tensor) -> Tensor:
        """The log density at x of shape (B, 2) in nats, shape (B,), in x's dtype."""
        fine = x.double()
        variances = self.variances.to(fine)
        constant = (
            self.weights.to(fine).log() - math.log(2 * math.pi) - variances.log().sum(-1) / 2
        )
        chunks = []
        for part in fine.split(max(1, CHUNK // len(variances))):
            logits = constant
            for axis, variance in zip(self.axes.to(fine).unbind(-1), variances.T, strict=True):
                offset = part @ axis.T - (self.means.to(fine) * axis).sum(-1)  # (b, K)
                logits = logits - offset.square() / (2 * variance)
            chunks.append(torch.logsumexp(logits, dim=-1))
        return torch.cat(chunks).to(x.dtype)

    def contains(self, x: Tensor) -> Tensor:
        """All True: the support is the plane; shape (B,), bool."""
        return torch.ones(len(x), dtype=torch.bool, device=x.device)

    @property
    def entropy(self) -> float | None:
        """The differential entropy in nats of a single Gaussian, None for more components."""
        if len(self.means) > 1:
            return None
        return 1 + math.log(2 * math.pi) + self.variances.log().sum().item() / 2


@dataclass(frozen=True, eq=False)
class PointMasses:
    """Points with probabilities; without density, but with an exact flow.

    Args:
        points: shape (K, 2).
        weights: shape (K,), nonnegative, normalised to sum to 1; None for equal ones.
    """

    points: Tensor
    weights: Tensor

    def __init__(self, points: Tensor, weights: Tensor | None = None) -> None:
        points = _points("points", points)
        _set(self, points=points, weights=_weights(weights, (len(points),)))

    def __repr__(self) -> str:
        return f"<PointMasses of {len(self.points):,} points>"

    def sample(self, n: int, generator: Generator) -> Tensor:
        """n independent draws of the points, shape (n, 2), float32."""
        return self.points[_choose(self.weights, n, generator)].float()

    def log_prob(self, x: Tensor) -> Tensor:
        """Raises ValueError, since points have no density."""
        raise ValueError("Points have no density; a GaussianMixture of small std about them has.")

    def contains(self, x: Tensor) -> Tensor:
        """Whether each x of shape (B, 2) is one of the points in x's dtype, shape (B,), bool."""
        points = self.points[self.weights > 0].to(x)
        parts = x.split(max(1, CHUNK // (2 * len(points))))
        return torch.cat([(p[:, None] == points).all(-1).any(-1) for p in parts])

    @property
    def entropy(self) -> float | None:
        """None: points have no differential entropy."""
        return None


@dataclass(frozen=True, eq=False)
class Boxes:
    """Uniform density in each cell of a rectangular lattice, with probabilities weights[i, j].

    Any union of disjoint boxes has this form, with weight 0 in the other cells. Cell (i, j) spans
    edges_x[i] to edges_x[i + 1] by edges_y[j] to edges_y[j + 1].

    Args:
        edges_x: increasing, shape (nx + 1,).
        edges_y: increasing, shape (ny + 1,).
        weights: shape (nx, ny), nonnegative, normalised to sum to 1.
    """

    edges_x: Tensor
    edges_y: Tensor
    weights: Tensor

    def __init__(self, edges_x: Tensor, edges_y: Tensor, weights: Tensor) -> None:
        edges_x, edges_y = _edges("edges_x", edges_x), _edges("edges_y", edges_y)
        shape = (len(edges_x) - 1, len(edges_y) - 1)
        _set(self, edges_x=edges_x, edges_y=edges_y, weights=_weights(weights, shape))

    def __repr__(self) -> str:
        rows, columns = self.weights.shape
        return f"<Boxes: {int((self.weights > 0).sum()):,} of {rows} x {columns} cells>"

    @property
    def areas(self) -> Tensor:
        """The areas of the cells, shape (nx, ny)."""
        return self.edges_x.diff()[:, None] * self.edges_y.diff()

    def sample(self, n: int, generator: Generator) -> Tensor:
        """n independent samples, shape (n, 2), float32."""
        cell = _choose(self.weights.flatten(), n, generator)
        i, j = cell // self.weights.shape[1], cell % self.weights.shape[1]
        low = torch.stack([self.edges_x[i], self.edges_y[j]], dim=-1)
        high = torch.stack([self.edges_x[i + 1], self.edges_y[j + 1]], dim=-1)
        uniform = torch.rand(n, 2, dtype=torch.float64, generator=generator)
        return torch.lerp(low, high, uniform).float()

    def log_prob(self, x: Tensor) -> Tensor:
        """The log density at x of shape (B, 2) in nats, shape (B,), in x's dtype.

        -inf outside; on an edge the largest density of the adjacent cells.
        """
        return self._density(x).log().to(x.dtype)

    def contains(self, x: Tensor) -> Tensor:
        """Whether each x of shape (B, 2) lies in a closed cell of positive weight, (B,), bool."""
        return self._density(x) > 0

    @property
    def entropy(self) -> float:
        """The differential entropy in nats."""
        filled = self.weights > 0
        mass, area = self.weights[filled], self.areas[filled]
        return -(mass * (mass / area).log()).sum().item()

    def _density(self, x: Tensor) -> Tensor:
        ringed = torch.nn.functional.pad(self.weights / self.areas, (1, 1, 1, 1)).to(x.device)
        columns, rows = (
            # Edges rounded to x's dtype keep rounded samples in their closed cell.
            [torch.searchsorted(e.to(x), v.contiguous(), right=right) for right in (False, True)]
            for e, v in ((self.edges_x, x[:, 0]), (self.edges_y, x[:, 1]))
        )
        around = [ringed[i, j] for i in columns for j in rows]
        return torch.stack(around).amax(dim=0)


def _set(target: object, **values: object) -> None:
    for name, value in values.items():
        object.__setattr__(target, name, value)


def _points(name: str, value: Tensor) -> Tensor:
    value = torch.as_tensor(value, dtype=torch.float64)
    if value.ndim != 2 or value.shape[1] != 2 or len(value) == 0:
        raise ValueError(f"{name} must have shape (K, 2) with K >= 1; got {tuple(value.shape)}.")
    if not value.isfinite().all():
        raise ValueError(f"{name} must be finite.")
    return value


def _edges(name: str, value: Tensor) -> Tensor:
    value = torch.as_tensor(value, dtype=torch.float64)
    if value.ndim != 1 or len(value) < 2:
        raise ValueError(f"{name} must have shape (n + 1,), n >= 1; got {tuple(value.shape)}.")
    if not (value.isfinite().all() and (value.diff() > 0).all()):
        raise ValueError(f"{name} must be finite and strictly increasing.")
    return value


def _weights(value: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    if value is None:
        value = torch.ones(shape)
    value = torch.as_tensor(value, dtype=torch.float64)
    if value.shape != shape:
        raise ValueError(f"weights must have shape {shape}; got {tuple(value.shape)}.")
    if not (value.isfinite().all() and (value >= 0).all() and value.sum() > 0):
        raise ValueError("weights must be finite and nonnegative with a positive sum.")
    return value / value.sum()


def _choose(weights: Tensor, n: int, generator: Generator) -> Tensor:
    if n < 1:
        raise ValueError(f"n must be at least 1; got {n}.")
    # torch.multinomial takes at most 2^24 entries and is slow with replacement; this is neither.
    cumulative = weights.cumsum(0)
    draws = torch.rand(n, dtype=torch.float64, generator=generator) * cumulative[-1]
    last = int(weights.nonzero()[-1])
    return torch.searchsorted(cumulative, draws, right=True).clamp(max=last)
