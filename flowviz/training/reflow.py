"""Reflow: training on the pairs of an existing flow.

A flow maps each noise x_0 to one x_1. Training a new field on these pairs instead of independent
ones is one round of reflow (Liu et al. 2022, https://arxiv.org/abs/2209.03003, algorithm 1): the
trajectories of the pairs do not cross, so that the new flow is straighter, and its transport cost
is no higher (theorem 3.5). Its samples are at best as good as the pairs.
"""

import torch
from torch import Generator

from flowviz.couplings import Pairs
from flowviz.datasets import dataset
from flowviz.fields import ExactField, LearnedField
from flowviz.solvers import solve

CHUNK = 2_048
"""Number of states per solve; the layers of so many fit a core's cache."""


def reflow_pairs(
    field: LearnedField | ExactField,
    n: int,
    generator: Generator,
    *,
    steps: int = 40,
) -> Pairs:
    """n samples of noise, or of the field's source, with their images under the field's flow.

    They are solved by `steps` midpoint steps and divided by alpha, since a path ends before 1.

    Raises:
        SolveError: as `flowviz.solvers.solve`.
    """
    path = field.path
    times = path.clock(2)
    if path.source:
        x_0 = start = dataset(path.source).sample(n, generator)
    else:
        x_0 = torch.randn(n, 2, generator=generator)
        start = path.start(x_0)
    ends = [
        solve(field, part, times, "midpoint", steps=steps).states[-1]
        for part in start.split(CHUNK)
    ]
    alpha = path.coefficients(times[-1], x_0).alpha
    return Pairs(x_0, torch.cat(ends) / alpha)
