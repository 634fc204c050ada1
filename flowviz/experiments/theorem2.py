r"""Theorem 2 of Lipman et al. 2022: the parts that its measurements share.

The conditional and the marginal loss of a field v,

    L_CFM = E |v(t, x_t) - x'_t|^2,    L_FM = E |v(t, x_t) - u_t(x_t)|^2,

differ by E tr Cov[x'_t | x_t], which does not depend on v: their gradients are equal. Measured in
`gradients`, `losses` and `target_variance`, all in squares averaged over the two dimensions, as
training losses are.

References:
    Lipman et al. 2022, theorem 2, https://arxiv.org/abs/2210.02747
"""

import math

import numpy as np
import torch
from torch import Generator, Tensor, nn

from flowviz.datasets import Dataset
from flowviz.draws import stream
from flowviz.experiments.fields import data_and_path, resolve
from flowviz.fields import ExactField, LearnedField
from flowviz.paths import AffinePath
from flowviz.training import TrainConfig, build_field

NEW = "new"
"""The name of a small network with random weights, before any training."""

WIDTH, DEPTH = 64, 3
"""Hidden units and layers of the new network."""

HEAD = 5.0
"""Scale of the last layer's weights at which the outputs are about 1; hidden units are about
0.2."""


def draw_pairs(target: Dataset, n: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Independent noise and data, each (n, 2) float32."""
    x_1 = target.sample(n, generator)
    return torch.randn(x_1.shape, generator=generator), x_1


def targets(
    exact: ExactField, t: Tensor, x_0: Tensor, x_1: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """x_t, the velocity of its pair and the marginal velocity there, each (n, 2) float32."""
    x = exact.path.flow(t, x_0.double(), x_1.double())
    velocity = exact.path.target(t, x_0.double(), x_1.double())
    return x.float(), velocity.float(), exact(t, x).float()


def network(
    data: str, path: str, name: str, field: LearnedField | None
) -> tuple[Dataset, AffinePath, LearnedField]:
    """The data set, the path and the network of a name, NEW or that of a checkpoint."""
    target, affine = data_and_path(data, path)
    if field is None and name == NEW:
        field = new_network(path, target, stream(0, "weights"))
    elif field is None:
        target, _, loaded = resolve(data, path, name)
        assert isinstance(loaded, LearnedField)
        field = loaded
    return target, affine, field


def new_network(
    path: str, target: Dataset, generator: Generator, size: float = 1.0
) -> LearnedField:
    """A small plain network with random weights and velocities of about `size`.

    The last layer, which training starts at 0, is random too: otherwise the gradient of all other
    layers would be 0.
    """
    config = TrainConfig(path=path, width=WIDTH, depth=DEPTH, preconditioned=False)
    field = build_field(config, target, generator)
    std = size * HEAD * WIDTH**-0.5
    nn.init.normal_(field.network.get_parameter("head.weight"), std=std, generator=generator)
    return field


def late_times(path: AffinePath, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Times at shares in [0, 1] of a clock that slows down near the end, and dt / dshare.

    Half of the shares are even in t, half in log(1 - t + e), where e is about 1 - t_max: the
    variance of some targets grows like 1 / (1 - t).
    """
    end = path.t_max
    e = max(1 - end, 1e-5)
    span = math.log((1 + e) / (1 - end + e))
    uniform = path.clock(2_049)
    late = 1 + e - (1 + e) * torch.exp(-torch.linspace(0, span, 2_049, dtype=torch.float64))
    t = torch.cat([uniform, late]).sort().values.clamp(0, end)
    share = t / (2 * end) + torch.log((1 + e) / (1 - t + e)) / (2 * span)
    times = torch.from_numpy(np.interp(shares.numpy(), share.numpy(), t.numpy()))
    return times, 1 / (1 / (2 * end) + 1 / (2 * span * (1 - times + e)))
