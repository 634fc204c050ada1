"""What the weights of another project do not state, and how a user corrects it."""

from dataclasses import dataclass, fields
from typing import Any

from flowviz.objectives import OBJECTIVES
from flowviz.schedulers import scheduler


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """Corrections of what is assumed about a file of another project; None assumes the usual.

    Attributes:
        weights: name of the set of weights to take.
        path: spec of the path on which the network was trained.
        predicts: name in OBJECTIVES of what the network predicts.
        size: height and width of the images in pixels.
        time_reversed: whether the network was trained with data at t = 0 and noise at t = 1.

    Raises:
        ValueError: the path or objective is unknown.
    """

    weights: str | None = None
    path: str | None = None
    predicts: str | None = None
    size: int | None = None
    time_reversed: bool = False

    def __post_init__(self) -> None:
        if self.path is not None:
            scheduler(self.path)
        if self.predicts is not None:
            _ = OBJECTIVES[self.predicts]

    @property
    def given(self) -> dict[str, Any]:
        """The corrections that differ from the default, by name."""
        values = {each.name: (getattr(self, each.name), each.default) for each in fields(self)}
        return {name: value for name, (value, default) in values.items() if value != default}
