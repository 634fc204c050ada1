"""What the configs of experiments share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from flowviz.bounds import check_bounds
from flowviz.experiments.fields import EXACT
from flowviz.schedulers import scheduler
from flowviz.solvers import METHODS, steps_for


@dataclass(frozen=True, kw_only=True)
class OnPath:
    """A data set and a path: names and numbers only, so that a config can be a key of a cache.

    Attributes:
        data: spec of the data set.
        path: spec of the path.

    Raises:
        ValueError: the path is unknown, or a number is not within its bounds.
    """

    BOUNDS: ClassVar[Mapping[str, tuple[float, float]]] = {}
    """The smallest and the largest valid number by name."""

    data: str = "checkerboard"
    path: str = "ot"

    def __post_init__(self) -> None:
        scheduler(self.path)
        check_bounds(self, **self.BOUNDS)


@dataclass(frozen=True, kw_only=True)
class OfField(OnPath):
    """A field on a path.

    Attributes:
        field: EXACT, the name of a checkpoint, or of a live field: "live:" and a hash.
    """

    field: str = EXACT


@dataclass(frozen=True, kw_only=True)
class Solved(OfField):
    """A field and how its flow is solved.

    Attributes:
        method: name in METHODS.
        nfe: number of function evaluations of a fixed-step method; adaptive ones ignore it.
        tol: tolerance of an adaptive method; fixed-step ones ignore it.
    """

    method: str = "midpoint"
    nfe: int = 20
    tol: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not METHODS[self.method].adaptive:
            steps_for(self.method, self.nfe)
        if not 0 < self.tol < 1:
            raise ValueError(f"tol must lie between 0 and 1; got {self.tol}.")
