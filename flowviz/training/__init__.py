"""Training: generators of states, for fields of the plane and, beside them, of images."""

from flowviz.training.plane import (
    BOUNDS,
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
    "TrainConfig",
    "TrainState",
    "build_field",
    "irreducible_loss",
    "reflow_pairs",
    "steps_within",
    "train",
]
