"""Which trajectories does a learned path choose, and which do its samples follow?"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowviz.datasets import dataset
from flowviz.draws import stream
from flowviz.experiments.learned_path import Trajectories, TrajectoriesConfig, compute_trajectories
from flowviz.figures.learned_path import Column, trajectories
from flowviz.progress import Progress
from flowviz.settings import part, setting
from flowviz.studies import Figures, Finding, Findings, Live, NamedFigure, Study, Tables
from flowviz.studies import _settings as declare
from flowviz.studies._learned_path import ComparedFlow, FlowsConfig, compared
from flowviz.studies._tables import tracks

DATA_POINTS = 600
"""Number of data points behind the trajectories."""


@dataclass(frozen=True, kw_only=True)
class LearnedTrajectoriesConfig(FlowsConfig):
    """Flows, and the noise at which their trajectories start."""

    seed: int = declare.seed(help="Of noise and data, the same on every path.")
    n: int = setting(
        TrajectoriesConfig.n,
        "Particles",
        bounds=(1, 1_000),
        advanced=True,
        help="Number of trajectories of each flow.",
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class LearnedTrajectoriesResult:
    """The trajectories computed so far, and data points (m, 2)."""

    data: NDArray[np.float32]
    flows: tuple[ComparedFlow, ...]
    trajectories: tuple[Trajectories, ...]


def data_points(data: str) -> NDArray[np.float32]:
    """The data points behind the trajectories, (DATA_POINTS, 2)."""
    return dataset(data).sample(DATA_POINTS, stream(0, "data")).numpy()


def compute(
    config: LearnedTrajectoriesConfig, live: Live, progress: Progress
) -> Iterator[LearnedTrajectoriesResult]:
    """Solves one flow after the other; yields after each.

    Raises:
        ValueError: a field is unknown or leads to another data set.
    """
    flows = compared(config, live)
    data, solved = data_points(config.data), []
    for flow in flows:
        progress.report(len(solved) / len(flows), flow.label)
        piece = config.part(TrajectoriesConfig, field=flow.name)
        solved.append(progress.cached(compute_trajectories, piece, field=live.get(flow.name)))
        yield LearnedTrajectoriesResult(
            data=data, flows=tuple(flows[: len(solved)]), trajectories=tuple(solved)
        )


def draw(config: LearnedTrajectoriesConfig, result: LearnedTrajectoriesResult) -> Figures:
    """Conditional trajectories above those of the flow, one column for each path."""
    columns = [
        part(Column, each, label=flow.short, colour=flow.colour())
        for flow, each in zip(result.flows, result.trajectories, strict=True)
    ]
    yield NamedFigure(
        name="trajectories",
        title="conditional trajectories and trajectories of the flow",
        alt="Above, trajectories from noise to three data points on each path; below, those "
        f"of the flow from the same noise: {', '.join(each.label for each in result.flows)}.",
        figure=trajectories(columns, result.data),
        squares=2 if len(columns) > 3 else 1,  # two rows of panels
    )


def table(config: LearnedTrajectoriesConfig, result: LearnedTrajectoriesResult) -> Tables:
    """One row for each flow, kind, trajectory and time."""
    return [
        {"path": flow.label, "kind": kind}
        | tracks(np.linspace(0, 1, len(states)), states, "trajectory")
        for flow, each in zip(result.flows, result.trajectories, strict=True)
        for kind, states in (("conditional", each.conditional), ("flow", each.flow))
    ]


def say(config: LearnedTrajectoriesConfig, result: LearnedTrajectoriesResult) -> Findings:
    """What to look for in the two rows."""
    text = (
        "Conditional OT is straight given the data point (top row), but its flow bends (bottom "
        "row). A learned path bends given the data point, so that its flow can be straighter."
    )
    yield Finding(lead="What to notice", text=text)


STUDY = Study(
    __name__,
    "Trajectories of learned and fixed paths",
    LearnedTrajectoriesConfig,
    (compute, draw, table, say),
    page="learned_path",
    seconds=3.0,
    smallest={"n": 5},
)
