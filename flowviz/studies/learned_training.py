"""How do the bound and the curvature of a learned path fall during its training?"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from flowviz.experiments.learned_path import LearnedPathTraining, train_learned_path
from flowviz.figures import curves, theme
from flowviz.figures.learned_path import Column, trajectories
from flowviz.progress import Progress
from flowviz.schedulers import LEARNED
from flowviz.settings import Config, part, setting
from flowviz.studies import Figures, Finding, Findings, Live, NamedFigure, Study, Tables
from flowviz.studies import _settings as declare
from flowviz.studies._lines import line_figure
from flowviz.studies.learned_trajectories import data_points
from flowviz.training import NfdmConfig

RATES = {False: 120, True: 75}
"""Steps per second of one core without and with the penalty."""


@dataclass(frozen=True, kw_only=True)
class LearnedTrainingConfig(Config):
    """A training of a learned path, smaller than that of the shipped checkpoints."""

    data: str = declare.data("8gaussians")
    penalty: float = setting(
        NfdmConfig.penalty,
        "Curvature penalty λ",
        bounds=(0.0, 10.0),
        help="Weight of the mean square acceleration of the flow's trajectories; 0 is the bound "
        "alone. A larger penalty gives a straighter flow with a lower likelihood.",
    )
    steps: int = setting(
        3_000, "Steps", bounds=(1, 50_000), work=1, help="Number of optimiser steps."
    )
    sines: int = setting(
        NfdmConfig.sines,
        "Sines of time",
        bounds=(1, 16),
        work=0,
        help="Number of sines in the mean and in the scale of the forward process: how much it "
        "may bend.",
    )
    seed: int = declare.seed("Seed of the training", slug="train-seed")
    units: int = setting(
        96,
        "Units of a hidden layer",
        bounds=(8, 512),
        advanced=True,
        help="Width of the network that predicts the data.",
    )

    batch: int = setting(
        NfdmConfig.batch, "Batch", bounds=(16, 8_192), advanced=True, help="Data points per step."
    )

    @property
    def training(self) -> NfdmConfig:
        """The config of the training."""
        values = asdict(self)
        return NfdmConfig(width=values.pop("units"), **values)

    @property
    def seconds(self) -> float:
        """Estimated time of the training."""
        return self.steps / RATES[self.penalty > 0]


@dataclass(frozen=True, kw_only=True, eq=False)
class LearnedTrainingResult:
    """The training so far, and data points (m, 2)."""

    data: NDArray[np.float32]
    training: LearnedPathTraining


def compute(
    config: LearnedTrainingConfig, live: Live, progress: Progress
) -> Iterator[LearnedTrainingResult]:
    """Trains; yields about every second and at the last step."""
    data = data_points(config.data)
    for training in train_learned_path(config.training, progress):
        yield LearnedTrainingResult(data=data, training=training)


def draw(config: LearnedTrainingConfig, result: LearnedTrainingResult) -> Figures:
    """The bound over the steps, and trajectories of the averaged weights."""
    training, colour = result.training, theme.path_colour(LEARNED)
    line = curves.Curve(label="bound, nats", colour=colour, x=training.steps, y=training.bound)
    yield line_figure(
        "bound",
        "training of a learned path",
        f"Bound over training steps, {training.bound[-1]:.3g} nats at the end.",
        [line],
        x_title="training step",
        y_title="bound on −log p, nats per data point",
        half=True,
    )
    if training.trajectories is not None:
        label = f"after {training.step:,} steps"
        column = part(Column, training.trajectories, label=label, colour=colour)
        yield NamedFigure(
            name="trajectories",
            title="trajectories of the learned path",
            alt="Above, trajectories from noise to three data points; below, those of the flow.",
            figure=trajectories([column], result.data),
            half=True,
        )


def table(config: LearnedTrainingConfig, result: LearnedTrainingResult) -> Tables:
    """One row for each point of the curves."""
    training = result.training
    return {"step": training.steps, "bound": training.bound, "acceleration": training.curvature}


def say(config: LearnedTrainingConfig, result: LearnedTrainingResult) -> Findings:
    """The bound at the end, and how the acceleration fell."""
    training = result.training
    text = f"the bound is {training.bound[-1]:.2f} nats over the last steps"
    numbers = {"bound": float(training.bound[-1])}
    if np.isfinite(training.curvature).all():
        first, last = float(training.curvature[0]), float(training.curvature[-1])
        text += f"; the mean square acceleration was {first:.0f} at first and is {last:.1f} now"
        numbers |= {"acceleration_first": first, "acceleration": last}
    yield Finding(lead=f"After {training.step:,} steps", text=f"{text}.", numbers=numbers)


STUDY = Study(
    __name__,
    "Training of a learned path",
    LearnedTrainingConfig,
    (compute, draw, table, say),
    page="learned_path",
    seconds=40.0,
    smallest={"steps": 2, "units": 8, "batch": 16},
)
