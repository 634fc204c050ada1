"""The pairs of each coupling, and the crossings of the segments between them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from flowviz.experiments.pairings import AT_ONCE, PAIRS, PairingsResult, pair_samples
from flowviz.figures import theme
from flowviz.figures.pairings import Panel, panels
from flowviz.progress import Progress
from flowviz.settings import Config, setting
from flowviz.studies import Figures, Finding, Findings, Live, NamedFigure, Study, Tables
from flowviz.studies import _settings as declare

COUPLINGS = ("independent", "minibatch OT", "optimal transport", "reflow")
"""The four couplings, in the order of the panels."""


def points_setting() -> Any:
    """The number of points or particles of each panel."""
    return setting(
        64,
        "Points of each sample",
        bounds=(2, 512),
        work=0,
        offered=(32, 64, 128),
        help="Number of noise points, and of data points, in the panels. The curves and S use "
        f"{PAIRS:,} pairs.",
    )


def titles(batch: int) -> tuple[str, ...]:
    """Titles of the panels of COUPLINGS."""
    return tuple(f"{name}, {batch}" if name == "minibatch OT" else name for name in COUPLINGS)


@dataclass(frozen=True, kw_only=True)
class PairingsConfig(Config):
    """Two samples and the size of a minibatch."""

    data: str = declare.data(help="Distribution that the noise is paired with.")
    n: int = points_setting()
    batch: int = setting(
        8,
        "Minibatch",
        bounds=(1, 512),
        work=0,
        offered=(4, 8, 16, 32),
        unit="pairs",
        help="Number of pairs among which optimal transport chooses. In training it is the batch "
        "of a step.",
    )
    seed: int = declare.seed(help="Of both samples.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n % self.batch:
            raise ValueError(f"batch must divide n = {self.n}; got {self.batch}.")


def compute(config: PairingsConfig, live: Live, progress: Progress) -> Iterator[PairingsResult]:
    """The four pairings of two samples."""
    progress.report(0, "pairing the samples")
    yield pair_samples(config.data, config.n, config.batch, config.seed)


def draw(config: PairingsConfig, result: PairingsResult) -> Figures:
    """Segments from noise to data with their crossings, one panel for each coupling."""
    coupling_panels = [
        Panel(
            title=title,
            lines=(
                f"E|x₁ − x₀|² = {pairing.cost:.1f}",
                f"{len(pairing.crossings.apart)} crossings",
                f"{pairing.crossings.at_once.sum()} at the same time",
            ),
            colour=theme.colour("ot"),
            states=np.stack([result.noise, pairing.ends]),
            crossings=pairing.crossings.places,
            at_once=pairing.crossings.at_once,
        )
        for title, pairing in zip(titles(config.batch), result.pairings, strict=True)
    ]
    yield NamedFigure(
        name="pairs",
        title="pairings of the same samples",
        alt="Segments from noise to data for independent pairs, minibatch optimal transport, "
        "optimal transport and reflow, with their crossings marked.",
        figure=panels(coupling_panels, ends="data x<sub>1</sub>"),
        squares=4,
    )


def table(config: PairingsConfig, result: PairingsResult) -> Tables:
    """One row for each coupling and pair."""
    return [
        {
            "coupling": name,
            "noise_x1": result.noise[:, 0],
            "noise_x2": result.noise[:, 1],
            "data_x1": pairing.ends[:, 0],
            "data_x2": pairing.ends[:, 1],
        }
        for name, pairing in zip(COUPLINGS, result.pairings, strict=True)
    ]


def say(config: PairingsConfig, result: PairingsResult) -> Findings:
    """How often two particles are at a crossing at nearly the same time."""
    alone, batch, optimal, reflow = (int(p.crossings.at_once.sum()) for p in result.pairings)
    yield Finding(
        lead="Crossings at the same time",
        text=f"{alone} with independent pairs, {batch} with minibatches of {config.batch}, "
        f"{optimal} with optimal transport of the {config.n} points and {reflow} with reflow. At "
        "a crossing two particles need two velocities, but a velocity field has only one.",
        numbers={"independent": alone, "minibatch": batch, "optimal": optimal, "reflow": reflow},
    )
    yield Finding.note(
        "All four couplings join their pairs by the conditional OT path: “OT” in its name does "
        "not say which points are paired. A crossing counts as at the same time if the two "
        f"particles pass it at times less than {AT_ONCE:g} apart. An optimal pairing has no "
        "crossing at exactly the same time. The data points of reflow are the ends of the exact "
        "flow."
    )


STUDY = Study(
    __name__,
    "Pairs of noise and data",
    PairingsConfig,
    (compute, draw, table, say),
    page="which_ot",
    seconds=1.0,
    smallest={"n": 8, "batch": 4},
)
