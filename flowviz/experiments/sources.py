"""What a field is called by: a checkpoint's name or file, or exact:DATA/PATH."""

from dataclasses import dataclass

import torch
from torch import Tensor

from flowviz import checkpoints
from flowviz.datasets import Dataset, dataset
from flowviz.experiments.evaluate import FlowField
from flowviz.fields import exact_field
from flowviz.paths import AffinePath
from flowviz.schedulers import scheduler, spec_of

__all__ = ["PREFIX", "Source", "exact_name", "source"]

PREFIX = "exact:"
"""How the names of exact fields begin."""


@dataclass(frozen=True)
class Source:
    """A field of the frame, where it comes from, and the user's coordinates of it.

    Attributes:
        name: what it was called by.
        field: the velocity.
        path: its path.
        data: spec of the data that it leads to.
        center: of the frame in the user's coordinates.
        scale: of the frame's unit in the user's.
    """

    name: str
    field: FlowField
    path: AffinePath
    data: str
    center: tuple[float, float]
    scale: float

    @property
    def path_spec(self) -> str:
        """The spec of the path, such as "ot"."""
        return spec_of(self.path.scheduler)

    @property
    def exact(self) -> bool:
        """Whether the field is the closed form."""
        return self.name.startswith(PREFIX)

    def dataset(self) -> Dataset:
        """The data that the field leads to."""
        return dataset(self.data)

    def to_user(self, x: Tensor) -> Tensor:
        """Points x of the frame in the user's coordinates, (B, 2)."""
        return x.new_tensor(self.center) + self.scale * x

    def from_user(self, x: Tensor) -> Tensor:
        """Points x in the user's coordinates in the frame, (B, 2)."""
        return (x - x.new_tensor(self.center)) / self.scale

    def double(self) -> FlowField:
        """The same field in float64: exact fields are in any precision, networks are copied."""
        if not isinstance(self.field, torch.nn.Module):
            return self.field
        return checkpoints.load(self.name).field.double()


def source(name: str) -> Source:
    """The field called `name`.

    Raises:
        ValueError: there is no such data set, path or checkpoint, or its file is damaged.
    """
    if name.startswith(PREFIX):
        data, _, path = name.removeprefix(PREFIX).rpartition("/")
        if not data:
            raise ValueError(
                "An exact field must be written exact:DATA/PATH, such as exact:checkerboard/ot; "
                f"got {name!r}."
            )
        chosen, affine = dataset(data), AffinePath(scheduler(path))
        field = exact_field(affine, chosen.distribution)
        return Source(name, field, affine, data, chosen.center, chosen.scale)
    loaded = checkpoints.load(name)
    card = loaded.card
    return Source(name, loaded.field, loaded.field.path, card.data, card.center, card.scale)


def exact_name(data: str, path: str) -> str:
    """What the exact field of a data set on a path is called by."""
    return f"{PREFIX}{data}/{path}"
