r"""Theorem 2 of Lipman et al. 2022, measured: one may regress on the velocity of a single pair.

The conditional loss and the marginal one,

    L_CFM = E |v(t, x_t) - x'_t|^2,    L_FM = E |v(t, x_t) - u_t(x_t)|^2,

differ by E tr Cov[x'_t | x_t], which knows nothing of the network v: their gradients are the same.
Four questions, each with a config of its own, all in squares averaged over the two dimensions, as
training losses are:

- gradients: on one batch of n pairs both losses have a gradient; these differ, by something of
  mean 0 that falls as 1 / sqrt(n).
- losses: the gap L_CFM - L_FM of networks that have nothing in common.
- target: tr Cov[x'_t | x_t] over time, whose mean is that gap: in closed form given x_t, averaged
  over draws of x_t.
- couplings: the same variance where pairs are chosen by optimal transport within a minibatch, for
  which there is no closed form: from nearest neighbours (Devroye et al. 2018, "A nearest neighbor
  estimate of the residual variance", Electronic Journal of Statistics 12).

References:
    Lipman et al. 2022, theorem 2, https://arxiv.org/abs/2210.02747
    Pooladian et al. 2023, Multisample flow matching, https://arxiv.org/abs/2304.14772
"""

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.func import functional_call, vjp, vmap

from flowviz.bounds import check_bounds
from flowviz.couplings import COUPLINGS
from flowviz.datasets import Dataset
from flowviz.draws import stream
from flowviz.experiments.evolution import resolve
from flowviz.fields import ExactField, LearnedField, exact_field
from flowviz.paths import AffinePath
from flowviz.schedulers import refuse_learned, scheduler
from flowviz.training import TrainConfig, build_field

__all__ = [
    "BATCHES",
    "NEW",
    "SIZES",
    "CouplingConfig",
    "CouplingResult",
    "Gap",
    "GapConfig",
    "GapResult",
    "GradientConfig",
    "GradientResult",
    "Slope",
    "SlopeConfig",
    "SlopeResult",
    "TargetConfig",
    "TargetResult",
    "compute_coupling",
    "compute_gaps",
    "compute_gradients",
    "compute_slope",
    "compute_target",
    "coupled_pairs",
    "pooled",
    "signal",
    "slope",
]

NEW = "new"
"""The name of a small network with random weights that has learned nothing."""

SIZES = tuple(2**k for k in range(4, 12))
"""Batch sizes whose gradients are compared."""

BATCHES = (1, 4, 16, 64, 256)
"""Minibatches within which pairs are chosen; 1 leaves them as drawn."""

WIDTH, DEPTH = 64, 3
"""Hidden units and layers of the new network."""

HEAD = 5.0
"""What makes the new network's outputs about 1, its hidden units being about 0.2."""

TOGETHER = 32
"""Batches of the least size whose gradients are made at once: what memory bears."""

CHUNK = 2_048
"""States that a network is asked for at once."""

DISTURBED = (0.2, 0.1)
"""Parts of themselves by which a trained network's weights are moved at random."""


@dataclass(frozen=True, kw_only=True)
class GradientConfig:
    """The gradients of one pool of pairs: only names and numbers.

    Attributes:
        data: spec of the data set.
        path: spec of the path.
        field: NEW or the name of a checkpoint.
        pairs: in the pool, a multiple of the largest of SIZES.
        seed: of the pairs; the new network's weights are always the same.
    """

    VERSION: ClassVar[int] = 1

    data: str = "checkerboard"
    path: str = "ot"
    field: str = NEW
    pairs: int = 16_384
    seed: int = 0

    def __post_init__(self) -> None:
        scheduler(self.path)
        if self.pairs < SIZES[-1] or self.pairs % SIZES[-1]:
            raise ValueError(f"pairs must be a multiple of {SIZES[-1]}; got {self.pairs}.")


@dataclass(frozen=True, kw_only=True, eq=False)
class GradientResult:
    """Mean squares over the pool's batches of each of SIZES, (K,).

    Attributes:
        apart: |g_CFM - g_FM|^2, both gradients on the same batch.
        scatter: |g_FM - G|^2, G being the marginal loss's gradient on the whole pool.
        whole: |G|^2.
        pairs: in the pool.
        parameters: of the network.
    """

    apart: NDArray[np.float64]
    scatter: NDArray[np.float64]
    whole: float
    pairs: int
    parameters: int


def compute_gradients(
    config: GradientConfig, *, field: LearnedField | None = None
) -> GradientResult:
    """Gradients with respect to all weights, of both losses on the same batches of each size.

    Args:
        config: what to compute.
        field: the field that `config.field` names, if it is at hand.
    """
    target, path, field = _network(config.data, config.path, config.field, field)
    generator = stream(config.seed, "gradients")
    x_0, x_1 = _pairs(target, config.pairs, generator)
    t = path.time(torch.rand(config.pairs, generator=generator, dtype=torch.float64))
    x, velocity, marginal = _targets(exact_field(path, target.distribution), t, x_0, x_1)
    weights = {name: value.detach() for name, value in field.named_parameters()}

    def gradients(t: Tensor, x: Tensor, velocity: Tensor, marginal: Tensor) -> Tensor:
        """g_FM and g_CFM - g_FM on one batch, (2, P)."""
        predicted, back = vjp(lambda values: functional_call(field, values, (t, x)), weights)
        errors = (predicted - marginal, marginal - velocity)
        found = [back(2 * error / error.numel())[0] for error in errors]
        return torch.stack([torch.cat([g.flatten() for g in each.values()]) for each in found])

    sums = np.zeros((2, len(SIZES)))
    ends = []
    for start in range(0, config.pairs, SIZES[-1]):
        parts = [
            v[start : start + SIZES[-1]].unflatten(0, (-1, SIZES[0]))
            for v in (t, x, velocity, marginal)
        ]
        each = zip(*(part.split(TOGETHER) for part in parts), strict=True)
        found = torch.cat([vmap(gradients)(*part) for part in each])  # (batches, 2, P)
        for k in range(len(SIZES)):
            if k:
                found = found.unflatten(0, (-1, 2)).mean(dim=1)
            sums[:, k] += found.square().sum(dim=2).mean(dim=0).double().numpy()
        ends.append(found[0, 0].double())
    whole = torch.stack(ends).mean(dim=0).square().sum().item()
    scatter, apart = sums / len(ends)
    return GradientResult(
        apart=apart,
        scatter=np.maximum(scatter - whole, 0),  # rounding, where the pool is one batch
        whole=whole,
        pairs=config.pairs,
        parameters=sum(value.numel() for value in weights.values()),
    )


@dataclass(frozen=True)
class Slope:
    """The power of n by which a root mean square changes, and its standard error."""

    value: float
    error: float


def pooled(found: Sequence[GradientResult], name: str = "apart") -> NDArray[np.float64]:
    """Root mean square of "apart" or "scatter" over the batches of all pools, (K,)."""
    return np.sqrt(np.mean([getattr(each, name) for each in found], axis=0))


def signal(found: Sequence[GradientResult]) -> float:
    """|grad L_FM|, from |G|^2 less what the pools' finite size adds to it; 0 where lost in it."""
    excess = [each.whole - each.scatter[0] * SIZES[0] / (each.pairs - SIZES[0]) for each in found]
    return math.sqrt(max(0.0, float(np.mean(excess))))


def slope(found: Sequence[GradientResult]) -> Slope:
    """The slope of log `pooled` over log n, its error by the jackknife over pools.

    Raises:
        ValueError: there are fewer than two pools.
    """
    if len(found) < 2:
        raise ValueError(f"An error needs at least two pools; got {len(found)}. Take more seeds.")
    logs = np.log(SIZES)
    without = [
        np.polyfit(logs, np.log(pooled([*found[:k], *found[k + 1 :]])), 1)[0]
        for k in range(len(found))
    ]
    value = float(np.polyfit(logs, np.log(pooled(found)), 1)[0])
    spread = float(np.sqrt((len(found) - 1) * np.var(without)))
    return Slope(value, spread)


@dataclass(frozen=True, kw_only=True)
class SlopeConfig:
    """The gradients of several pools of pairs: only names and numbers.

    Attributes:
        data: spec of the data set.
        path: spec of the path.
        field: NEW or the name of a checkpoint.
        seeds: pools, with seeds from `seed` on; at least 2.
        seed: the first one.
    """

    VERSION: ClassVar[int] = 1

    data: str = "checkerboard"
    path: str = "ot"
    field: str = NEW
    seeds: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        check_bounds(self, seeds=(2, 64))
        _ = self.pools

    @property
    def pools(self) -> list[GradientConfig]:
        """The config of each pool."""
        shared = {"data": self.data, "path": self.path, "field": self.field}
        return [GradientConfig(**shared, seed=self.seed + k) for k in range(self.seeds)]


@dataclass(frozen=True, kw_only=True, eq=False)
class SlopeResult:
    """How far the gradients are apart over the batch size, by all pools.

    Attributes:
        sizes: (K,), the batch sizes.
        apart: (K,), root mean square of |g_CFM - g_FM|.
        lowest: (K,), that of the pool where it is least.
        highest: (K,), that of the pool where it is most.
        scatter: (K,), root mean square of |g_FM - G|.
        signal: |G|, see `signal`.
        slope: of log `apart` over log n.
        slope_error: its standard error.
        parameters: of the network.
        share: of the pools that are through, in [0, 1].
    """

    sizes: NDArray[np.int64]
    apart: NDArray[np.float64]
    lowest: NDArray[np.float64]
    highest: NDArray[np.float64]
    scatter: NDArray[np.float64]
    signal: float
    slope: float
    slope_error: float
    parameters: int
    share: float


def compute_slope(config: SlopeConfig) -> Iterator[SlopeResult]:
    """Measures a pool after the other; yields after each from the second on."""
    found: list[GradientResult] = []
    for each in config.pools:
        found.append(compute_gradients(each))
        if len(found) < 2:
            continue
        runs, fitted = np.sqrt([pool.apart for pool in found]), slope(found)
        yield SlopeResult(
            sizes=np.array(SIZES),
            apart=pooled(found),
            lowest=runs.min(axis=0),
            highest=runs.max(axis=0),
            scatter=pooled(found, "scatter"),
            signal=signal(found),
            slope=fitted.value,
            slope_error=fitted.error,
            parameters=found[0].parameters,
            share=len(found) / config.seeds,
        )


@dataclass(frozen=True, kw_only=True)
class TargetConfig:
    """The variance of the regression target on one path: only names and numbers.

    Attributes:
        data: spec of the data set.
        path: spec of the path.
        nodes: times, denser near the end.
        n: draws of x_t at each.
        seed: of the draws.
    """

    VERSION: ClassVar[int] = 1

    data: str = "checkerboard"
    path: str = "ot"
    nodes: int = 65
    n: int = 4_096
    seed: int = 0

    def __post_init__(self) -> None:
        scheduler(self.path)
        check_bounds(self, nodes=(3, 1_000), n=(2, 1_000_000))


@dataclass(frozen=True, kw_only=True, eq=False)
class TargetResult:
    """E tr Cov[x'_t | x_t] / 2 on one path.

    Attributes:
        times: (K,), from 0 to the path's t_max.
        variance: (K,), at these times.
        floor: the mean over time: what the conditional loss cannot get below.
        error: its standard error.
    """

    times: NDArray[np.float64]
    variance: NDArray[np.float64]
    floor: float
    error: float


@torch.no_grad()
def compute_target(config: TargetConfig) -> TargetResult:
    """The target's variance over time, from tr Cov[x_1 | x_t] in closed form.

    Cov[x'_t | x_t] = (D / sigma)^2 Cov[x_1 | x_t] with D = d_alpha sigma - alpha d_sigma.
    """
    target, path, _ = resolve(config.data, config.path, None)
    exact = exact_field(path, target.distribution)
    shares = torch.linspace(0, 1, config.nodes, dtype=torch.float64)
    times, widths = _clock(path, shares)
    generator = stream(config.seed, "variance")
    means, errors = [], []
    for t in times:
        x_0, x_1 = (v.double() for v in _pairs(target, config.n, generator))
        x = path.flow(t, x_0, x_1)
        c = path.coefficients(t, x)
        factor = ((c.d_alpha * c.sigma - c.alpha * c.d_sigma) / c.sigma) ** 2 / 2
        values = factor * exact.target.posterior(c.alpha, c.sigma, x).variance
        means.append(values.mean().item())
        errors.append(values.std().item() / math.sqrt(config.n))
    variance = np.array(means)
    parts = _trapezoid(widths.numpy()) / path.t_max
    return TargetResult(
        times=times.numpy(),
        variance=variance,
        floor=float(parts @ variance),
        error=float(np.sqrt(np.square(parts * np.array(errors)).sum())),
    )


@dataclass(frozen=True, kw_only=True)
class GapConfig:
    """Both losses of several networks on the same pairs: only names and numbers.

    Attributes:
        data: spec of the data set.
        path: spec of the path.
        field: NEW or the name of a checkpoint.
        pairs: how many.
        seed: of the pairs and of the networks.
    """

    VERSION: ClassVar[int] = 1

    data: str = "checkerboard"
    path: str = "ot"
    field: str = NEW
    pairs: int = 131_072
    seed: int = 0

    def __post_init__(self) -> None:
        scheduler(self.path)
        check_bounds(self, pairs=(16, 10_000_000))


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Both losses of one field.

    Attributes:
        label: what it is, in a few words.
        marginal: L_FM.
        conditional: L_CFM.
        error: the standard error of their difference, at most: times are stratified.
    """

    label: str
    marginal: float
    conditional: float
    error: float

    @property
    def gap(self) -> float:
        """L_CFM - L_FM."""
        return self.conditional - self.marginal


@dataclass(frozen=True, kw_only=True)
class GapResult:
    """The losses of fields that have nothing in common, the farthest from u first."""

    gaps: tuple[Gap, ...]

    @property
    def mean(self) -> float:
        """The mean gap."""
        return float(np.mean([each.gap for each in self.gaps]))


@torch.no_grad()
def compute_gaps(config: GapConfig, *, field: LearnedField | None = None) -> GapResult:
    """Both losses of a field that is 0, of the best linear one, of new networks and of trained.

    Times are drawn more often near the end, where the target varies most, and weighted for it: the
    means are those of evenly drawn times, with less chance in them.
    """
    target, path, field = _network(config.data, config.path, config.field, field)
    generator = stream(config.seed, "losses")
    x_0, x_1 = _pairs(target, config.pairs, generator)
    shares = torch.rand(config.pairs, generator=generator, dtype=torch.float64)
    shares = (torch.arange(config.pairs) + shares) / config.pairs
    t, width = _clock(path, shares)
    weight = width / path.t_max
    x, velocity, marginal = _targets(exact_field(path, target.distribution), t, x_0, x_1)
    gaps = []
    for label, other in _family(config, target, field, generator):
        guess = torch.zeros_like(x) if other is None else _in_parts(other, t, x)
        to_pair, to_field = (
            weight * (guess - wanted).double().square().mean(dim=1)
            for wanted in (velocity, marginal)
        )
        gaps.append(
            Gap(
                label=label,
                marginal=to_field.mean().item(),
                conditional=to_pair.mean().item(),
                error=(to_pair - to_field).std().item() / math.sqrt(config.pairs),
            )
        )
    return GapResult(gaps=tuple(sorted(gaps, key=lambda each: -each.marginal)))


@dataclass(frozen=True, kw_only=True)
class CouplingConfig:
    """The target's variance where pairs are chosen within minibatches: only names and numbers.

    Attributes:
        data: spec of the data set.
        path: spec of the path.
        batch: pairs among which optimal transport chooses; 1 leaves them as drawn.
        pairs: how many, a multiple of `batch`.
        nodes: times.
        seed: of the pairs.
    """

    VERSION: ClassVar[int] = 1

    data: str = "checkerboard"
    path: str = "ot"
    batch: int = 64
    pairs: int = 8_192
    nodes: int = 33
    seed: int = 0

    def __post_init__(self) -> None:
        refuse_learned(self.path)
        if not 1 <= self.batch <= self.pairs or self.pairs % self.batch:
            raise ValueError(
                f"pairs must be a multiple of batch, which is at least 1; got {self.pairs} pairs "
                f"and batches of {self.batch}."
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class CouplingResult:
    """The target's variance under one coupling, estimated.

    Attributes:
        times: (K,), from 0 to the path's t_max.
        variance: (K,), E tr Cov[x'_t | x_t] / 2.
        floor: the mean over time.
        cost: E |x_1 - x_0|^2 of the pairs.
    """

    times: NDArray[np.float64]
    variance: NDArray[np.float64]
    floor: float
    cost: float


@torch.no_grad()
def compute_coupling(config: CouplingConfig) -> CouplingResult:
    """The target's variance over time: half the mean squared difference of nearest neighbours.

    What the best linear prediction from x_t explains is taken off first, so that neighbours differ
    by little else than their pairs.
    """
    from sklearn.neighbors import KDTree  # slow to import, and few pages need it

    target, path, _ = resolve(config.data, config.path, None)
    x_0, x_1 = coupled_pairs(config.data, config.batch, config.pairs, config.seed)
    shares = torch.linspace(0, 1, config.nodes, dtype=torch.float64)
    times, widths = _clock(path, shares)
    variance = []
    for t in times:
        x = path.flow(t, x_0, x_1)
        c = path.coefficients(t, x)
        slope = c.d_alpha * c.alpha * target.std**2 + c.d_sigma * c.sigma
        slope = slope / ((c.alpha * target.std) ** 2 + c.sigma**2)
        rest = (path.target(t, x_0, x_1) - slope * x).numpy()
        _, near = KDTree(x.numpy()).query(x.numpy(), k=2)
        variance.append(np.square(rest - rest[near[:, 1]]).mean() / 2)
    parts = _trapezoid(widths.numpy()) / path.t_max
    return CouplingResult(
        times=times.numpy(),
        variance=np.array(variance),
        floor=float(parts @ np.array(variance)),
        cost=(x_1 - x_0).square().sum(dim=1).mean().item(),
    )


@lru_cache(maxsize=16)
def coupled_pairs(data: str, batch: int, pairs: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noise and data, each (pairs, 2) float64, paired by optimal transport within minibatches.

    Every batch size has the same points, so that only the pairing differs.
    """
    target, _, _ = resolve(data, "ot", None)
    x_0, x_1 = _pairs(target, pairs, stream(seed, "pairs"))
    if batch > 1:
        parts = zip(x_0.split(batch), x_1.split(batch), strict=True)
        x_1 = torch.cat([COUPLINGS["minibatch-ot"](*part) for part in parts])
    return x_0.double(), x_1.double()


def _pairs(target: Dataset, n: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Noise and data that know nothing of each other, each (n, 2) float32."""
    x_1 = target.sample(n, generator)
    return torch.randn(x_1.shape, generator=generator), x_1


def _targets(
    exact: ExactField, t: Tensor, x_0: Tensor, x_1: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """x_t, its pair's velocity and the marginal velocity there, each (n, 2) float32."""
    x = exact.path.flow(t, x_0.double(), x_1.double())
    velocity = exact.path.target(t, x_0.double(), x_1.double())
    return x.float(), velocity.float(), exact(t, x).float()


def _network(
    data: str, path: str, name: str, field: LearnedField | None
) -> tuple[Dataset, AffinePath, LearnedField]:
    """The data set, the path and the network of a config, its weights as they are."""
    target, affine, named = resolve(data, path, None if field or name == NEW else name)
    return target, affine, field or named or _new(path, target, stream(0, "weights"))


def _new(path: str, target: Dataset, generator: Generator, size: float = 1.0) -> LearnedField:
    """A small plain network with random weights, its velocities of about this size.

    Its last layer, which training starts at 0, is drawn too: else no other layer had a gradient.
    """
    config = TrainConfig(path=path, width=WIDTH, depth=DEPTH, preconditioned=False)
    field = build_field(config, target, generator)
    std = size * HEAD * WIDTH**-0.5
    nn.init.normal_(field.network.head.weight, std=std, generator=generator)
    return field


def _family(
    config: GapConfig, target: Dataset, field: LearnedField, generator: Generator
) -> list[tuple[str, LearnedField | None]]:
    """Fields that differ in all that fields can, with their labels; None stands for v = 0."""
    # A preconditioned network that is new is the best linear field.
    linear = build_field(TrainConfig(path=config.path, width=8, depth=1), target, generator)
    found: list[tuple[str, LearnedField | None]] = [("v = 0", None), ("best linear field", linear)]
    found += [
        (f"new network, outputs about {size:g}", _new(config.path, target, generator, size))
        for size in (1.0, 3.0)
    ]
    if config.field == NEW:
        return found
    for part in DISTURBED:
        moved = copy.deepcopy(field)
        for weight in moved.parameters():
            size = weight.square().mean().sqrt()
            weight.add_(part * size * torch.randn(weight.shape, generator=generator))
        found.append((f"trained, weights moved by {part:.0%}", moved))
    return [*found, ("trained", field)]


def _in_parts(field: LearnedField, t: Tensor, x: Tensor) -> Tensor:
    """field(t, x), (n, 2), by states whose layers stay in a core's cache."""
    parts = zip(t.split(CHUNK), x.split(CHUNK), strict=True)
    return torch.cat([field(*part) for part in parts])


def _clock(path: AffinePath, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Times at shares in [0, 1] of a clock that slows down near the end, and dt over dshare.

    Half of the shares lie evenly in t, half evenly in log(1 - t + e), where e is about what the
    path leaves out: near the end the variance of some targets grows like 1 / (1 - t).
    """
    end = path.t_max
    e = max(1 - end, 1e-5)
    span = math.log((1 + e) / (1 - end + e))
    even = path.clock(2_049)
    late = 1 + e - (1 + e) * torch.exp(-torch.linspace(0, span, 2_049, dtype=torch.float64))
    t = torch.cat([even, late]).sort().values.clamp(0, end)
    share = t / (2 * end) + torch.log((1 + e) / (1 - t + e)) / (2 * span)
    found = torch.from_numpy(np.interp(shares.numpy(), share.numpy(), t.numpy()))
    return found, 1 / (1 / (2 * end) + 1 / (2 * span * (1 - found + e)))


def _trapezoid(widths: NDArray) -> NDArray[np.float64]:
    """Weights of values at evenly spaced shares, so that their sum is the integral over time."""
    weights = widths / (len(widths) - 1)
    weights[[0, -1]] /= 2
    return weights
