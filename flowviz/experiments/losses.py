"""The conditional and the marginal loss of fields that differ as much as possible.

The gap L_CFM - L_FM is the same for all fields, see `theorem2`.
"""

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from flowviz.datasets import Dataset
from flowviz.draws import stream
from flowviz.experiments.configs import OnPath
from flowviz.experiments.theorem2 import NEW, draw_pairs, late_times, network, new_network, targets
from flowviz.fields import LearnedField, exact_field
from flowviz.training import TrainConfig, build_field

CHUNK = 2_048
"""Number of states that a network evaluates at once."""

NOISE_LEVELS = (0.2, 0.1)
"""Standard deviation of the noise added to the weights of a trained network, relative to them."""


@dataclass(frozen=True, kw_only=True)
class GapConfig(OnPath):
    """Both losses of several networks on the same pairs.

    Attributes:
        field: NEW or the name of a checkpoint.
        pairs: number of pairs.
        seed: of the pairs and of the networks.
    """

    BOUNDS = {"pairs": (16, 10_000_000)}

    field: str = NEW
    pairs: int = 131_072
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Both losses of one field.

    Attributes:
        label: what the field is, in a few words.
        marginal: L_FM.
        conditional: L_CFM.
        error: upper bound of the standard error of their difference; times are stratified.
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
    """The losses of unrelated fields, the largest marginal loss first."""

    gaps: tuple[Gap, ...]

    @property
    def mean(self) -> float:
        """The mean gap."""
        return float(np.mean([each.gap for each in self.gaps]))


@torch.no_grad()
def compute_gaps(config: GapConfig, *, field: LearnedField | None = None) -> GapResult:
    """Both losses of v = 0, of the best linear field, of new networks and of trained ones.

    Times are sampled more often near the end, where the target varies most, and weighted
    accordingly: the means are those of uniform times, with less variance.
    """
    target, path, field = network(config.data, config.path, config.field, field)
    generator = stream(config.seed, "losses")
    x_0, x_1 = draw_pairs(target, config.pairs, generator)
    shares = torch.rand(config.pairs, generator=generator, dtype=torch.float64)
    shares = (torch.arange(config.pairs) + shares) / config.pairs
    t, width = late_times(path, shares)
    weight = width / path.t_max
    x, velocity, marginal = targets(exact_field(path, target.distribution), t, x_0, x_1)
    gaps = []
    for label, candidate in _family(config, target, field, generator):
        guess = torch.zeros_like(x) if candidate is None else _in_chunks(candidate, t, x)
        to_pair, to_field = (
            weight * (guess - regression_target).double().square().mean(dim=1)
            for regression_target in (velocity, marginal)
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


def _family(
    config: GapConfig, target: Dataset, field: LearnedField, generator: Generator
) -> list[tuple[str, LearnedField | None]]:
    """Unrelated fields with their labels; None means v = 0."""
    # A preconditioned network before training is the best linear field.
    linear = build_field(TrainConfig(path=config.path, width=8, depth=1), target, generator)
    family: list[tuple[str, LearnedField | None]] = [
        ("v = 0", None),
        ("best linear field", linear),
    ]
    family += [
        (f"new network, outputs about {size:g}", new_network(config.path, target, generator, size))
        for size in (1.0, 3.0)
    ]
    if config.field == NEW:
        return family
    for level in NOISE_LEVELS:
        perturbed = copy.deepcopy(field)
        for weight in perturbed.parameters():
            size = weight.square().mean().sqrt()
            weight.add_(level * size * torch.randn(weight.shape, generator=generator))
        family.append((f"trained, weights moved by {level:.0%}", perturbed))
    return [*family, ("trained", field)]


def _in_chunks(field: LearnedField, t: Tensor, x: Tensor) -> Tensor:
    """field(t, x), (n, 2); the layers of one chunk fit into a core's cache."""
    parts = zip(t.split(CHUNK), x.split(CHUNK), strict=True)
    return torch.cat([field(*part) for part in parts])
