"""Where flows start: the noise of a seed, or samples of the source of a path."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from flowviz.datasets import dataset
from flowviz.densities import normal_log_prob
from flowviz.draws import noise, stream
from flowviz.paths import AffinePath


def starts(path: AffinePath, n: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """n states at t = 0 of a path, (n, 2): noise of a seed, or samples of the source.

    Equal seeds give equal states on all pages.
    """
    if path.source:
        return dataset(path.source).sample(n, stream(seed, "source")).to(dtype)
    return path.start(noise(n, seed).to(dtype))


def log_prior(path: AffinePath) -> Callable[[Tensor], Tensor]:
    """The log-density in nats of the states at t = 0, a function of states (B, 2).

    Outside the support of a source it is -inf.
    """
    if path.source:
        return dataset(path.source).distribution.log_prob
    return partial(normal_log_prob, std=path.scheduler.sigma_0)
