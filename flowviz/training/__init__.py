"""Training: generators of states, for fields of the plane and, beside them, of images."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from flowviz.schedulers import LEARNED
from flowviz.training.nfdm import NfdmConfig, NfdmState, train_path
from flowviz.training.plane import (
    BOUNDS,
    Descent,
    TrainConfig,
    TrainState,
    build_field,
    irreducible_loss,
    steps_within,
    train,
)
from flowviz.training.reflow import reflow_pairs

__all__ = [
    "BOUNDS",
    "Descent",
    "Kind",
    "NfdmConfig",
    "NfdmState",
    "TrainConfig",
    "TrainState",
    "build_field",
    "irreducible_loss",
    "kind_of",
    "reflow_pairs",
    "steps_within",
    "train",
    "train_path",
]


class Kind(NamedTuple):
    """A kind of training in the plane: its config, its fresh state, its generator of states."""

    config: type[TrainConfig] | type[NfdmConfig]
    state: type[TrainState] | type[NfdmState]
    train: Callable[..., Iterator[Descent]]


def kind_of(path: str) -> Kind:
    """How a field on the path of a spec is trained: a learned path has a way of its own."""
    if path == LEARNED:
        return Kind(NfdmConfig, NfdmState, train_path)
    return Kind(TrainConfig, TrainState, train)
