"""A class-conditional field with fixed classes, called as field(t, x)."""

from collections.abc import Callable

import torch
from torch import Tensor

from flowviz.fields.flow_map import FlowMap
from flowviz.fields.learned import LearnedField
from flowviz.paths import AffinePath


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
        self.null = torch.full_like(y, field.num_classes)
        self.guidance = guidance

    @property
    def path(self) -> AffinePath:
        """The path of the field."""
        return self.field.path

    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        """The velocity at t of shape () or (B,) and x of shape (B, *), shape (B, *)."""
        return self._guided(self.field, x, t)

    def __getattr__(self, name: str) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """The guided `jump` of a flow map: (t, s, x) to states at s; other fields have none."""
        field = self.__dict__.get("field")
        if name != "jump" or not isinstance(field, FlowMap):
            raise AttributeError(name)
        return lambda t, s, x: self._guided(field.jump, x, t, s)

    def _guided(self, call: Callable[..., Tensor], x: Tensor, *times: Tensor) -> Tensor:
        """What `call` returns for the times, x and the classes, guided."""
        if self.guidance in (0.0, 1.0):
            return call(*times, x, self.y if self.guidance else self.null)
        both = call(
            *(torch.cat([t, t]) if t.ndim else t for t in times),
            torch.cat([x, x]),
            torch.cat([self.y, self.null]),
        )
        given, free = both.chunk(2)
        return free + self.guidance * (given - free)
