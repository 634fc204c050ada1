"""A field with fixed classes and guidance, called as field(t, x)."""

from collections.abc import Callable

import torch
from torch import Tensor

from flowviz.fields.flow_map import FlowMap
from flowviz.fields.learned import LearnedField
from flowviz.paths import AffinePath

EVER = (0.0, 1.0)
"""The interval of all times."""


class GuidedField:
    """The velocity field of given classes, guided away from a worse field.

    With guidance w the velocity is v_bad + w (v - v_bad) = v + (w - 1) (v - v_bad): 0 is the worse
    field, 1 the field itself, larger values amplify what the field has and the worse one has not.
    Without a `guide` the worse field is that of the same network without a class, so that w
    amplifies the class; since a velocity is affine in the score, this is the classifier-free
    guidance of Ho and Salimans 2022 (https://arxiv.org/abs/2207.12598). A `guide`, such as an
    earlier snapshot, gets the same class, so that w amplifies quality: the autoguidance of Karras
    et al. 2024 (https://arxiv.org/abs/2406.02507). Either can act in an interval of time alone
    (Kynkaanniemi et al. 2024, https://arxiv.org/abs/2404.07724): at other times w is 1.

    Args:
        field: the field; class-conditional, if there are classes.
        y: the class of each state, (B,) int64; None for no class, which needs a guide.
        guidance: w; values other than 0 and 1 double the cost of an evaluation.
        interval: first and last time at which w holds, as shares of the path's time.
        guide: the guiding network's field, on the same path; None for classifier-free guidance.
    """

    def __init__(
        self,
        field: LearnedField,
        y: Tensor | None,
        guidance: float = 1.0,
        interval: tuple[float, float] = EVER,
        guide: LearnedField | None = None,
    ) -> None:
        self.field = field
        self.y = y
        self.guide = guide
        self.guidance = guidance
        self.first, self.last = map(field.path.time, interval)

    @property
    def path(self) -> AffinePath:
        """The path of the field."""
        return self.field.path

    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        """The velocity at t of shape () or (B,) and x of shape (B, *), shape (B, *)."""
        return self._guided("forward", x, t)

    def __getattr__(self, name: str) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """The guided `jump` of flow maps: (t, s, x) to states at s; other fields have none."""
        fields = [self.__dict__.get(each) for each in ("field", "guide")]
        if name != "jump" or not all(isinstance(each, FlowMap) for each in fields if each):
            raise AttributeError(name)
        return lambda t, s, x: self._guided("jump", x, t, s)

    def _guided(self, name: str, x: Tensor, *times: Tensor) -> Tensor:
        """What the method of the fields returns for the times, x and the classes, guided."""
        call: Callable[..., Tensor] = getattr(self.field, name)
        inside = (times[0] >= self.first) & (times[0] <= self.last)
        if self.guidance == 1.0 or not inside.any():
            return call(*times, x, self.y)
        only_weak = self.guidance == 0.0 and bool(inside.all())
        if self.guide is not None:
            weak = getattr(self.guide, name)(*times, x, self.y)
            if only_weak:
                return weak
            strong = call(*times, x, self.y)
        else:
            assert self.y is not None
            null_class = torch.full_like(self.y, self.field.num_classes)
            if only_weak:
                return call(*times, x, null_class)
            # one evaluation of both
            pairs = (torch.cat([t, t]) if t.ndim else t for t in times)
            outputs = call(*pairs, torch.cat([x, x]), torch.cat([self.y, null_class]))
            strong, weak = outputs.chunk(2)
        weight = torch.where(inside, self.guidance, 1.0).to(x.dtype)
        return weak + weight.reshape(weight.shape + (1,) * (x.ndim - weight.ndim)) * (
            strong - weak
        )
