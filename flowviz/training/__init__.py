"""Training of fields: one loop (`run`), and the loss of each kind of model.

Fields of the plane are here; those of images are in `training.images`, the classifier in
`training.classifier`, and runs that keep themselves in a folder in `training.folder`.
"""

from flowviz.schedulers import LEARNED
from flowviz.training.nfdm import NfdmConfig, NfdmRun
from flowviz.training.plane import (
    BOUNDS,
    PlaneRun,
    TrainConfig,
    build_field,
    default_rate,
    irreducible_loss,
    steps_within,
)
from flowviz.training.reflow import reflow_pairs
from flowviz.training.run import TrainingConfig, TrainingRun, start, train

__all__ = [
    "BOUNDS",
    "NfdmConfig",
    "NfdmRun",
    "PlaneRun",
    "TrainConfig",
    "TrainingConfig",
    "TrainingRun",
    "build_field",
    "config_class",
    "default_rate",
    "irreducible_loss",
    "reflow_pairs",
    "start",
    "steps_within",
    "train",
]


def config_class(path: str) -> type[TrainConfig] | type[NfdmConfig]:
    """The training config of fields of the plane on the path of a spec."""
    return NfdmConfig if path == LEARNED else TrainConfig
