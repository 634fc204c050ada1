"""Bisection of a monotone condition."""

from collections.abc import Callable

import torch
from torch import Tensor

HALVINGS = 60
"""Number of bisections that resolve an interval of length 1 in float64."""


def bisect(before: Callable[[Tensor], Tensor], low: Tensor, high: Tensor) -> Tensor:
    """The points in [low, high] up to which `before` holds, elementwise, of low's shape.

    Args:
        before: maps points to bool, of the same shape; true below some point and false above it.
        low: lower ends, float64.
        high: upper ends, likewise.
    """
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        below = before(middle)
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2
