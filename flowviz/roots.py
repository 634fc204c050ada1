"""Bisection of a monotone condition."""

from collections.abc import Callable

import torch
from torch import Tensor

HALVINGS = 60
"""Number of bisections that resolve an interval of length 1 in float64."""


def bisect(is_below: Callable[[Tensor], Tensor], low: Tensor, high: Tensor) -> Tensor:
    """The points in [low, high] up to which `is_below` holds, elementwise, of low's shape.

    Args:
        is_below: maps points to bool, of the same shape; true below some point and false above it.
        low: lower ends, float64.
        high: upper ends, likewise.
    """
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        below = is_below(middle)
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2
