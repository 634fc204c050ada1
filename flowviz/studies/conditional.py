"""What does one conditional path ask of a network? Scores, fields and trajectories to one point.

Figures 2, 3 and 8 of Lipman et al. 2022, computed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from flowviz.experiments.posterior import (
    ConditionalConfig,
    ConditionalResult,
    ConditionalTrajectories,
    compute_conditional,
)
from flowviz.figures import posterior as figures
from flowviz.figures import theme
from flowviz.progress import Progress
from flowviz.settings import Config, part, setting
from flowviz.studies import Figures, Finding, Findings, Live, NamedFigure, Study, Tables
from flowviz.studies import _settings as declare
from flowviz.studies._tables import tracks, xy

DEFAULT = ConditionalConfig()
CONSTANT = 0.05
"""Degrees below which a direction counts as constant."""


@dataclass(frozen=True, kw_only=True)
class ConditionalStudyConfig(Config):
    """Conditional paths to one data point."""

    path: str = declare.path(help="Shown next to VP diffusion and conditional OT.")
    x: float = setting(
        DEFAULT.x, "Data point ★, x₁", bounds=(-4.0, 4.0), slug="end-x", help="First coordinate."
    )
    y: float = setting(
        DEFAULT.y, "Data point ★, x₂", bounds=(-4.0, 4.0), slug="end-y", help="Second coordinate."
    )
    n: int = setting(
        24,
        "Trajectories",
        bounds=(2, 200),
        work=1,
        offered=(12, 24, 60),
        slug="ways",
        help="Number of trajectories on each path.",
    )
    seed: int = declare.seed("Seed of the noise")

    @property
    def paths(self) -> list[str]:
        """The paths of the figures, VP diffusion first."""
        return list(dict.fromkeys(["vp", "ot", self.path]))


def compute(
    config: ConditionalStudyConfig, live: Live, progress: Progress
) -> Iterator[ConditionalResult]:
    """Evaluates the conditional paths in closed form."""
    piece = ConditionalConfig(
        paths=" ".join(config.paths), x=config.x, y=config.y, n=config.n, seed=config.seed
    )
    yield progress.cached(compute_conditional, piece)


def draw(config: ConditionalStudyConfig, result: ConditionalResult) -> Figures:
    """The trajectories, their progress, and the scores and fields at four times."""
    trajectories = [
        part(figures.Trajectories, each, colour=theme.path_colour(each.path))
        for each in result.trajectories
    ]
    diffusion, *others = result.trajectories
    rows = [(diffusion, "score", diffusion.score)]
    rows += [(each, "field", each.field) for each in (others[0], diffusion, *others[1:])]
    fields = [
        figures.FieldRow(
            label=f"{each.label}, {name}",
            colour=theme.path_colour(each.path),
            times=each.times,
            vectors=vectors,
        )
        for each, name, vectors in rows
    ]
    tables = [
        {"quantity": row.label.replace(",", ""), "t": t}
        | xy(result.positions)
        | {"v1": vectors[:, 0], "v2": vectors[:, 1]}
        for row in fields
        for t, vectors in zip(row.times, row.vectors, strict=True)
    ]
    yield NamedFigure(
        name="trajectories",
        title="conditional trajectories (Fig. 3)",
        alt="Conditional trajectories from noise to one data point, one panel for each path.",
        figure=figures.conditional_trajectories(trajectories, result.end),
        half=True,
    )
    yield NamedFigure(
        name="progress",
        title="progress of conditional trajectories",
        alt="Distance along the straight line over time, one line for each trajectory; above "
        "the dashed line a trajectory has passed its end and must come back.",
        figure=figures.progress(trajectories),
        half=True,
    )
    yield NamedFigure(
        name="fields",
        title="conditional scores and fields (Figs. 2 and 8)",
        alt="Directions and sizes of conditional scores and fields at four times, one row each.",
        figure=figures.conditional_fields(fields, result.positions, result.end),
        tables=tables,
    )


def table(config: ConditionalStudyConfig, result: ConditionalResult) -> Tables:
    """One row for each path, time and trajectory."""
    return [
        {"path": each.path}
        | tracks(each.clock, each.states, "trajectory")
        | {"progress": each.progress.ravel()}
        for each in result.trajectories
    ]


def say(config: ConditionalStudyConfig, result: ConditionalResult) -> Findings:
    """Which trajectories are straight or overshoot, and how far the fields turn."""
    yield from (_overshoot(each) for each in result.trajectories)
    diffusion = result.trajectories[0]
    turns = {f"the {diffusion.label} score": diffusion.score_turn}
    turns |= {f"the {each.label} field": each.field_turn for each in result.trajectories}
    text = ", ".join(f"{name} by {_degrees(angle)}" for name, angle in turns.items())
    yield Finding(
        lead="From t = 0 to the end the arrows turn",
        text=f"{text} on average. A field that only changes its size is simpler to learn than "
        "one that also turns.",
        numbers=turns,
    )
    yield Finding.note(
        "These are conditional flows, to a single data point. That their lines are "
        "straight does not make the marginal flow an optimal transport map. Arrows show "
        "directions only; shades show sizes on a log scale of each panel. The last column "
        "ends at t_max, where σ is 0.001, since neither exists at t = 1."
    )


def _overshoot(trajectories: ConditionalTrajectories) -> Finding:
    overshoots, mean = trajectories.overshoot > 1e-3, float(trajectories.detour.mean())
    numbers = {"overshooting": int(overshoots.sum()), "length_over_straight": mean}
    if not overshoots.any():
        straight = trajectories.detour.max() < 1 + 1e-6
        shape = "straight lines" if straight else f"{mean:.2f} times as long as a straight line"
        is_even = np.abs(trajectories.progress - trajectories.clock[:, None]).max() < 0.01
        pace = " at constant speed" if is_even else ", but not at constant speed"
        text = f"{shape}{pace if straight else ''}; none overshoots."
        return Finding(lead=trajectories.label, text=text, numbers=numbers)
    worst = int(trajectories.overshoot.argmax())
    top = trajectories.progress[:, worst].argmax()
    return Finding(
        lead=trajectories.label,
        text=f"{overshoots.sum()} of {len(overshoots)} trajectories overshoot and come back, the "
        "worst by "
        f"{trajectories.overshoot[worst]:.2f} at t = {trajectories.clock[top]:.2f}; on average "
        f"they are {mean:.2f} times as long as a straight line.",
        numbers=numbers,
    )


def _degrees(angle: float) -> str:
    return "0°" if angle < CONSTANT else f"{angle:.0f}°"


STUDY = Study(
    __name__,
    "Conditional paths to one data point (Figs. 2, 3 and 8)",
    ConditionalStudyConfig,
    (compute, draw, table, say),
    page="why",
    seconds=0.3,
    smallest={"n": 4},
)
