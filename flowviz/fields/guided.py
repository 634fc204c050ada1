"""A class-conditional field with fixed classes, called as field(t, x)."""

from collections.abc import Callable

import torch
from torch import Tensor

from flowviz.fields.flow_map import FlowMap
from flowviz.fields.learned import LearnedField
from flowviz.paths import AffinePath

EVER = (0.0, 1.0)
"""The interval of all times."""


class GuidedField:
    """The velocity field of given classes, with classifier-free guidance.

    With guidance w the velocity is v(t, x) + w (v(t, x | y) - v(t, x)): w = 0 ignores the classes,
    1 is the class-conditional field, larger values amplify the effect of the class. Since a
    velocity is affine in the score, this is the guidance of Ho and Salimans 2022
    (https://arxiv.org/abs/2207.12598). It can act in an interval of time alone (Kynkaanniemi et
    al. 2024, https://arxiv.org/abs/2404.07724): at other times w is 1.

    Args:
        field: a class-conditional field.
        y: the class of each state, (B,) int64.
        guidance: w; values other than 0 and 1 double the cost of an evaluation.
        interval: first and last time at which w holds, as shares of the path's time.
    """

    def __init__(
        self,
        field: LearnedField,
        y: Tensor,
        guidance: float = 1.0,
        interval: tuple[float, float] = EVER,
    ) -> None:
        self.field = field
        self.y = y
        self.null = torch.full_like(y, field.num_classes)
        self.guidance = guidance
        self.first, self.last = map(field.path.time, interval)

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
        inside = (times[0] >= self.first) & (times[0] <= self.last)
        if self.guidance == 1.0 or not inside.any():
            return call(*times, x, self.y)
        if self.guidance == 0.0 and inside.all():
            return call(*times, x, self.null)
        both = call(
            *(torch.cat([t, t]) if t.ndim else t for t in times),
            torch.cat([x, x]),
            torch.cat([self.y, self.null]),
        )
        given, free = both.chunk(2)
        weight = torch.where(inside, self.guidance, 1.0).to(x.dtype)
        return free + weight.reshape(weight.shape + (1,) * (x.ndim - weight.ndim)) * (given - free)
