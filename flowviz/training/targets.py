"""What a network of the plane is compared with: a pair, or the mean of a batch.

Every data point of a batch could have led to a state x_t. With independent Gaussian noise the
posterior weight of x_1 is the density N(x_t; alpha_t x_1, sigma_t^2), so that the weighted means
over the batch estimate those of the marginal field (Lipman et al. 2022, eq. 8). They have far less
variance than the pair of the state, and a bias of order 1 / B.

References:
    Xu et al. 2023, Stable target field for reduced variance score estimation,
        https://arxiv.org/abs/2302.00670, eq. 7
    Ryzhakov et al. 2024, Explicit flow matching, https://arxiv.org/abs/2402.03232
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from flowviz.datasets import parted
from flowviz.distributions import PointMasses
from flowviz.fields import exact_field
from flowviz.paths import AffinePath
from flowviz.registry import Registry


@dataclass(frozen=True)
class Targets:
    """A kind of targets."""

    label: str
    """Name in menus."""
    sentence: str
    """What it is, in one or two sentences."""


TARGETS: Registry[Targets] = Registry("kind of targets")
TARGETS["batch"] = Targets(
    "means of the batch",
    "At each state the network learns the mean over all data points of the batch, weighted by the "
    "probability that they led to the state. The best field is that of single pairs, but the "
    "gradient has less noise, so that fewer steps are needed.",
)
TARGETS["pair"] = Targets(
    "single pairs",
    "At each state the network learns the velocity, noise or data of the pair that made the "
    "state, as in Lipman et al. 2022.",
)

BLOCK = 1_024
"""Largest number of data points in a mean: time and memory grow with its square."""


def has_means(data: str, coupling: str, objective: str) -> bool:
    """Whether a training has `batch_means`: its pairs are independent and start from noise.

    Args:
        data: spec of the data set; one with a source does not start from noise.
        coupling: name in COUPLINGS.
        objective: name in OBJECTIVES; a distillation has the targets of its teacher.
    """
    source, _ = parted(data)
    return not source and coupling == "independent" and objective != "distillation"


def batch_means(
    path: AffinePath, t: Tensor, x_t: Tensor, x_1: Tensor, needed: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Posterior means of x_0 and x_1 given the states, within their batch, each (B, 2).

    Args:
        path: from Gaussian noise.
        t: times of the states, (B,).
        x_t: states, (B, 2); the i-th comes from the i-th data point.
        x_1: data points, (B, 2), in random order.
        needed: the states whose means are computed, (B,) bool, all by default; others have 0.
    """
    if needed is None:
        needed = torch.ones_like(t, dtype=torch.bool)
    means = torch.zeros_like(x_t), torch.zeros_like(x_t)
    for start in range(0, len(t), BLOCK):
        block = slice(start, start + BLOCK)
        rows = start + needed[block].nonzero()[:, 0]
        posterior_means = exact_field(path, PointMasses(x_1[block])).means(t[rows], x_t[rows])
        for mean, part in zip(means, posterior_means, strict=True):
            mean[rows] = part.to(mean)
    return means
