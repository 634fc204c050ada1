"""Brownian bridges between random pairs of two data sets, and their exact or learned field."""

from functools import lru_cache

import torch
from torch import Generator, Tensor

from flowviz.couplings import COUPLINGS, minibatch_ot
from flowviz.datasets import Dataset
from flowviz.experiments.fields import FieldRef, exact_name
from flowviz.fields.bridges import Bridges
from flowviz.fields.sourced import BridgeField, SourcedField


@lru_cache(maxsize=16)
def bridge_of(data: str, path: str, noise: float) -> tuple[Dataset, BridgeField]:
    """The data set of a spec with a source, and the field of its bridges.

    Args:
        data: spec of the data set, with a source.
        path: spec of the path.
        noise: diffusion of the bridges, 0 or more.

    Raises:
        ValueError: the data set has no source, or no exact field is known.
    """
    ref = FieldRef.of(exact_name(data, path))
    if not isinstance(ref.field, SourcedField):
        raise ValueError(f"Bridges need a data set with a source; got {data!r}.")
    return ref.dataset, BridgeField(ref.field, noise)


def paired(coupling: str, x_0: Tensor, x_1: Tensor, generator: Generator) -> Tensor:
    """The data of `bridges` that a coupling pairs with the starts x_0, both (n, 2).

    Optimal transport with a whole data set is that of these samples.
    """
    return COUPLINGS.get(coupling, minibatch_ot)(x_0, x_1, generator)


def bridges(
    field: Bridges, x_0: Tensor, x_1: Tensor, grid: Tensor, generator: Generator
) -> Tensor:
    """Random bridges between pairs (n, 2) at increasing times (T,) from 0, (T, n, 2).

    A bridge is the conditional path plus noise * sigma_t W(alpha_t / sigma_t) with a Brownian
    motion W, which is a Brownian bridge on the path ot.
    """
    states = torch.stack([field.path.flow(t, x_0, x_1) for t in grid])
    c = field.path.scheduler(grid)
    clock = c.alpha / c.sigma
    steps = clock.diff(prepend=clock[:1]).clamp(min=0).sqrt().to(x_0)
    z = torch.randn(len(grid), *x_0.shape, generator=generator)
    motion = (steps[:, None, None] * z).cumsum(dim=0)
    return states + field.noise * c.sigma.to(x_0)[:, None, None] * motion
