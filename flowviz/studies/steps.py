"""Where does an adaptive solver take short steps? On conditional OT and on VP diffusion."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from flowviz.experiments.adaptive_steps import AdaptiveConfig, AdaptiveSolve, compute_adaptive
from flowviz.experiments.fields import FieldRef, preferred
from flowviz.figures import cost, theme
from flowviz.progress import Progress
from flowviz.settings import Config, part, setting
from flowviz.studies import Figures, Finding, Findings, Live, NamedFigure, Study, Tables
from flowviz.studies import _settings as declare


@dataclass(frozen=True, kw_only=True)
class StepsConfig(Config):
    """Two fields and an adaptive solver."""

    data: str = declare.data()
    fields: tuple[str, ...] = declare.fields(
        help="The first field on conditional OT and the first on VP diffusion are shown."
    )
    method: str = setting(
        "dopri5",
        "Adaptive solver",
        slug="adaptive",
        choices=declare.adaptive_methods,
        help="It chooses its steps, the same for all particles. In each step the estimated error "
        "of every particle stays below the tolerance.",
    )
    tol: float = setting(
        1e-3,
        "Tolerance of a step",
        bounds=(1e-10, 0.5),
        offered=(1e-1, 1e-2, 1e-3, 1e-4, 1e-5),
        help="A smaller tolerance gives shorter steps.",
    )
    n: int = declare.count()
    seed: int = declare.seed("First seed")

    def chosen(self) -> Self:
        """This config with two fields: one on conditional OT, one on VP diffusion."""
        paths = {name: FieldRef.of(name).path_spec for name in self.fields}
        names = [
            next((name for name, spec in paths.items() if spec == path), default)
            for path, default in zip(("ot", "vp"), preferred(self.data)[0], strict=True)
        ]
        return replace(self, fields=tuple(names))


@dataclass(frozen=True, kw_only=True, eq=False)
class StepsResult:
    """The solves so far: conditional OT, then VP diffusion."""

    names: tuple[str, ...]
    solves: tuple[AdaptiveSolve, ...]


def compute(config: StepsConfig, live: Live, progress: Progress) -> Iterator[StepsResult]:
    """Solves the flow of each field; yields after each."""
    solves: list[AdaptiveSolve] = []
    for k, name in enumerate(config.fields, start=1):
        solve = config.part(AdaptiveConfig, source=name)
        solves.append(progress.cached(compute_adaptive, solve))
        progress.report(k / len(config.fields), solves[-1].label)
        yield StepsResult(names=config.fields[:k], solves=tuple(solves))


def draw(config: StepsConfig, result: StepsResult) -> Figures:
    """Trajectories with the starts of the steps, and below them the step sizes."""
    records = [
        part(cost.StepRecord, each, colour=theme.path_colour(each.path)) for each in result.solves
    ]
    yield NamedFigure(
        name="steps",
        title="the steps of an adaptive solver",
        alt="Trajectories over time with a tick for each step, and below them the sizes of "
        "the accepted and rejected steps.",
        figure=cost.steps(records),
    )


def table(config: StepsConfig, result: StepsResult) -> Tables:
    """One row per step."""
    return [
        {"field": name, "path": each.path, "step": kind, "t": begin, "dt": size}
        for name, each in zip(result.names, result.solves, strict=True)
        for kind, begin, size in (
            ("accepted", each.begin, each.size),
            ("rejected", each.rejected[:, 0], each.rejected[:, 1]),
        )
    ]


def say(config: StepsConfig, result: StepsResult) -> Findings:
    """Number and place of the steps on each path."""
    middle = [float(np.median(each.begin)) for each in result.solves]
    yield from (
        Finding(
            lead=each.label,
            text=f"{each.nfe} evaluations, {len(each.size)} steps accepted and "
            f"{len(each.rejected)} rejected; the shortest step is {each.size.min():.2g}, and half "
            f"of all steps begin after t = {half:.2f}.",
            numbers={"nfe": each.nfe, "steps": len(each.size), "median_t": half},
        )
        for each, half in zip(result.solves, middle, strict=True)
    )
    if len(middle) == 2 and middle[1] > middle[0]:
        yield Finding(
            lead="What to notice",
            text="the solver needs short steps where the velocity changes quickly; on VP "
            "diffusion this is later, because the noise is removed near t = 1.",
            numbers={"median_t_ot": middle[0], "median_t_vp": middle[1]},
        )


STUDY = Study(
    __name__,
    "The steps of an adaptive solver",
    StepsConfig,
    (compute, draw, table, say),
    page="nfe_quality",
    seconds=3.0,
    smallest={"data": "mixture:1,0@0.8", "tol": 0.1, "n": 50},
)
