"""A class-conditional field with fixed classes, called as field(t, x)."""

import torch
from torch import Tensor

from flowviz.fields.learned import LearnedField


class GuidedField:
    """The velocity field of given classes, with classifier-free guidance.

    With guidance w the velocity is v(t, x) + w (v(t, x | y) - v(t, x)): w = 0 ignores the classes,
    1 is the class-conditional field, larger values amplify the effect of the class. Since a
    velocity is affine in the score, this is the guidance of Ho and Salimans 2022
    (https://arxiv.org/abs/2207.12598).

    Args:
        field: a class-conditional field.
        y: the class of each state, (B,) int64.
        guidance: w; values other than 0 and 1 double the cost of an evaluation.
    """

    def __init__(self, field: LearnedField, y: Tensor, guidance: float = 1.0) -> None:
        self.field = field
        self.y = y
        self.null = torch.full_like(y, field.network.num_classes)
        self.guidance = guidance

    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        """The velocity at t of shape () or (B,) and x of shape (B, *), shape (B, *)."""
        if self.guidance in (0.0, 1.0):
            return self.field(t, x, self.y if self.guidance else self.null)
        both = self.field(
            torch.cat([t, t]) if t.ndim else t,
            torch.cat([x, x]),
            torch.cat([self.y, self.null]),
        )
        given, free = both.chunk(2)
        return free + self.guidance * (given - free)
