"""Reflow: training on the pairs that an existing flow makes.

A flow carries each noise x_0 to one x_1. To train a new field on these pairs in place of
independent ones is one round of reflow (Liu et al. 2022, https://arxiv.org/abs/2209.03003,
algorithm 1): no pair crosses another any more, so that the new flow is straighter, and its cost of
transport is no higher (theorem 3.5). Its samples can be no better than the pairs.
"""

from collections.abc import Callable

import torch
from torch import Generator

from flowviz.couplings import Pairs
from flowviz.fields import ExactField, LearnedField
from flowviz.solvers import solve

__all__ = ["reflow_pairs"]

CHUNK = 2_048
"""States whose layers stay in a core's cache."""


def reflow_pairs(
    field: LearnedField | ExactField,
    n: int,
    generator: Generator,
    *,
    steps: int = 40,
    should_stop: Callable[[], bool] | None = None,
) -> Pairs:
    """n draws of noise, each with where the field's flow carries it, by `steps` midpoint steps.

    The ends are scaled by 1 / alpha, since a path stops before 1.
    """
    path = field.path
    times = path.clock(2)
    x_0 = torch.randn(n, 2, generator=generator)
    ends = [
        solve(
            field, path.start(part), times, "midpoint", steps=steps, should_stop=should_stop
        ).states[-1]
        for part in x_0.split(CHUNK)
    ]
    alpha = path.coefficients(times[-1], x_0).alpha
    return Pairs(x_0, torch.cat(ends) / alpha)
