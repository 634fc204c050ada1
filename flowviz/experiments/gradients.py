"""Gradients of the conditional and the marginal loss on the same batches.

On one batch of n pairs the two gradients differ by a vector of mean 0, whose root mean square
falls as 1 / sqrt(n), see `theorem2`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call, vjp, vmap

from flowviz.draws import stream
from flowviz.experiments.configs import OnPath
from flowviz.experiments.theorem2 import NEW, draw_pairs, network, targets
from flowviz.fields import LearnedField, exact_field

SIZES = tuple(2**k for k in range(4, 12))
"""Batch sizes whose gradients are compared."""

TOGETHER = 32
"""Number of batches of the smallest size that are differentiated at once; limits the memory."""


@dataclass(frozen=True, kw_only=True)
class GradientConfig(OnPath):
    """The gradients of one pool of pairs.

    Attributes:
        field: NEW or the name of a checkpoint.
        pairs: number of pairs in the pool, a multiple of the largest of SIZES.
        seed: of the pairs; the new network's weights are always the same.
    """

    field: str = NEW
    pairs: int = 16_384
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pairs < SIZES[-1] or self.pairs % SIZES[-1]:
            raise ValueError(f"pairs must be a multiple of {SIZES[-1]}; got {self.pairs}.")


@dataclass(frozen=True, kw_only=True, eq=False)
class GradientResult:
    """Mean squares over the pool's batches of each of SIZES, (K,).

    Attributes:
        apart: |g_CFM - g_FM|^2, both gradients on the same batch.
        scatter: |g_FM - G|^2, where G is the gradient of the marginal loss on the whole pool.
        whole: |G|^2.
        pairs: number of pairs in the pool.
        parameters: number of weights of the network.
    """

    apart: NDArray[np.float64]
    scatter: NDArray[np.float64]
    whole: float
    pairs: int
    parameters: int


def compute_gradients(
    config: GradientConfig, *, field: LearnedField | None = None
) -> GradientResult:
    """Gradients with respect to all weights, of both losses on the same batches of each size."""
    target, path, field = network(config.data, config.path, config.field, field)
    generator = stream(config.seed, "gradients")
    x_0, x_1 = draw_pairs(target, config.pairs, generator)
    t = path.time(torch.rand(config.pairs, generator=generator, dtype=torch.float64))
    x, velocity, marginal = targets(exact_field(path, target.distribution), t, x_0, x_1)
    weights = {name: value.detach() for name, value in field.named_parameters()}

    def gradients(t: Tensor, x: Tensor, velocity: Tensor, marginal: Tensor) -> Tensor:
        """g_FM and g_CFM - g_FM on one batch, (2, P)."""
        predicted, pullback, *_ = vjp(
            lambda values: functional_call(field, values, (t, x)), weights
        )
        errors = (predicted - marginal, marginal - velocity)
        pulled = [pullback(2 * error / error.numel())[0] for error in errors]
        return torch.stack([torch.cat([g.flatten() for g in each.values()]) for each in pulled])

    sums = np.zeros((2, len(SIZES)))
    ends = []
    for start in range(0, config.pairs, SIZES[-1]):
        parts = [
            v[start : start + SIZES[-1]].unflatten(0, (-1, SIZES[0]))
            for v in (t, x, velocity, marginal)
        ]
        batches = zip(*(part.split(TOGETHER) for part in parts), strict=True)
        vectors = torch.cat([vmap(gradients)(*part) for part in batches])  # (batches, 2, P)
        for k in range(len(SIZES)):
            if k:
                vectors = vectors.unflatten(0, (-1, 2)).mean(dim=1)
            sums[:, k] += vectors.square().sum(dim=2).mean(dim=0).double().numpy()
        ends.append(vectors[0, 0].double())
    pool_square = torch.stack(ends).mean(dim=0).square().sum().item()
    scatter, differences = sums / len(ends)
    return GradientResult(
        apart=differences,
        scatter=np.maximum(scatter - pool_square, 0),  # rounding, where the pool is one batch
        whole=pool_square,
        pairs=config.pairs,
        parameters=sum(value.numel() for value in weights.values()),
    )


@dataclass(frozen=True)
class Slope:
    """The slope of a root mean square over n, both logarithmic, and its standard error."""

    value: float
    error: float


def pooled(pools: Sequence[GradientResult], name: str = "apart") -> NDArray[np.float64]:
    """Root mean square of "apart" or "scatter" over the batches of all pools, (K,)."""
    return np.sqrt(np.mean([getattr(each, name) for each in pools], axis=0))


def signal(pools: Sequence[GradientResult]) -> float:
    """|grad L_FM|: |G|^2 less its bias from the finite pools; 0 if the bias is the larger."""
    excess = [each.whole - each.scatter[0] * SIZES[0] / (each.pairs - SIZES[0]) for each in pools]
    return math.sqrt(max(0.0, float(np.mean(excess))))


def slope(pools: Sequence[GradientResult]) -> Slope:
    """The slope of log `pooled` over log n, with its error by the jackknife over pools.

    Raises:
        ValueError: there are fewer than two pools.
    """
    if len(pools) < 2:
        raise ValueError(f"An error needs at least two pools; got {len(pools)}. Take more seeds.")
    logs = np.log(SIZES)
    without = [
        np.polyfit(logs, np.log(pooled([*pools[:k], *pools[k + 1 :]])), 1)[0]
        for k in range(len(pools))
    ]
    value = float(np.polyfit(logs, np.log(pooled(pools)), 1)[0])
    spread = float(np.sqrt((len(pools) - 1) * np.var(without)))
    return Slope(value, spread)
