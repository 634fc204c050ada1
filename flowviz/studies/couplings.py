"""What straightens a flow? The coupling: minibatch OT and reflow against independent pairs."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from flowviz.experiments.straightening import (
    ENTRANTS,
    INDEPENDENT,
    METRIC,
    NFES,
    CouplingConfig,
    Outcome,
    compute_outcome,
    entrants,
)
from flowviz.figures import curves, theme
from flowviz.metrics import METRICS
from flowviz.progress import Progress
from flowviz.settings import Config, setting
from flowviz.studies import Figures, Finding, Findings, Live, Study, Summary, Tables
from flowviz.studies import _settings as declare
from flowviz.studies._lines import line_figure, nfe_figure
from flowviz.studies._numbers import factor
from flowviz.training import BOUNDS

SHOWN = (1, 2, 4, 16, 64)
"""Numbers of evaluations in the summary."""

MARGIN = 0.1
"""Relative difference below which two qualities count as equal."""

RANK = dict(zip(ENTRANTS, theme.ranks([each.path for each in ENTRANTS.values()]), strict=True))
"""The number of each entrant among those of its path, see `theme.style`."""


@dataclass(frozen=True, kw_only=True)
class CouplingsConfig(Config):
    """Small networks, one for each coupling."""

    data: str = declare.data(
        help="Data set on which the claims are tested. From another data set than noise, there "
        "is no VP diffusion.",
        sources=True,
    )
    seed: int = declare.seed()
    steps: int = setting(
        2_000,
        "Training steps for each coupling",
        slug="pair-steps",
        bounds=(20, 20_000),
        work=1,
        help="Steps of each training.",
    )
    units: int = setting(
        64, "Width", bounds=BOUNDS["width"], advanced=True, help="Units of each hidden layer."
    )
    depth: int = setting(
        3, "Hidden layers", bounds=BOUNDS["depth"], advanced=True, help="Number of hidden layers."
    )
    batch: int = setting(
        256,
        "Batch size",
        bounds=BOUNDS["batch"],
        advanced=True,
        help="Pairs per step, among which minibatch OT chooses.",
    )
    lr: float = setting(
        3e-3, "Learning rate", bounds=BOUNDS["lr"], advanced=True, help="Peak learning rate."
    )
    pairs: int = setting(
        20_000,
        "Reflow pairs",
        bounds=(2, 1_000_000),
        advanced=True,
        help="Pairs that reflow trains on.",
    )
    n: int = setting(2_000, "Samples", bounds=(2, 50_000), advanced=True, help="Sample size.")

    def piece(self, entrant: str) -> CouplingConfig:
        """The training of one entrant."""
        return self.part(CouplingConfig, entrant=entrant, width=self.units)


@dataclass(frozen=True, kw_only=True, eq=False)
class CouplingsResult:
    """The outcomes so far, in the order of ENTRANTS."""

    outcomes: tuple[Outcome, ...]

    def outcome(self, entrant: str) -> Outcome | None:
        """The outcome of an entrant, or None."""
        return next((each for each in self.outcomes if each.entrant == entrant), None)

    def gain(self, entrant: str) -> float | None:
        """How many times smaller S is than with independent pairs; None if it is not known."""
        outcome, baseline = self.outcome(entrant), self.outcome(INDEPENDENT)
        if outcome is None or baseline is None:
            return None
        return baseline.straightness.deviation / outcome.straightness.deviation


def compute(config: CouplingsConfig, live: Live, progress: Progress) -> Iterator[CouplingsResult]:
    """Trains one entrant after the other; yields after each."""
    outcomes: dict[str, Outcome] = {}
    chosen = entrants(config.data)
    for name, entrant in chosen.items():

        def beat(step: int, done: int = len(outcomes), label: str = entrant.label) -> None:
            share = (done + 0.9 * step / config.steps) / len(chosen)
            progress.report(share, f"training {label}")

        beat(0)
        previous = outcomes[entrant.follows].field if entrant.follows else None
        outcomes[name] = progress.cached(
            compute_outcome, config.piece(name), previous=previous, beat=beat
        )
        yield CouplingsResult(outcomes=tuple(outcomes.values()))


def draw(config: CouplingsConfig, result: CouplingsResult) -> Figures:
    """Quality against the number of evaluations, and where learned flows bend."""
    quality, deviations = [], []
    for outcome in result.outcomes:
        chosen, measured = ENTRANTS[outcome.entrant], outcome.straightness
        style = theme.style(chosen.path, RANK[outcome.entrant])
        line = partial(curves.of_runs, chosen.label, **style)
        quality.append(line(x=outcome.nfe, runs=outcome.quality))
        deviations.append(line(x=measured.times, runs=measured.deviations))
    named = nfe_figure(
        "quality",
        "quality against NFE by coupling",
        "Distance of samples to data against Euler's evaluations for each coupling.",
        quality,
        "Euler",
        y_title=f"{METRICS[METRIC].label} to data",
        x_ticks=NFES,
        half=True,
    )
    dotted = {"color": theme.pick(theme.MUTED), "width": 1.2, "dash": "dot"}
    named.figure.add_hline(y=result.outcomes[0].floor, line=dotted)
    yield named
    yield line_figure(
        "deviations",
        "where learned flows deviate from their chord",
        "Mean squared difference of velocity and chord over time for each coupling.",
        deviations,
        y_title="off the chord (area = S)",
        log_y=True,
        half=True,
    )


def table(config: CouplingsConfig, result: CouplingsResult) -> Tables:
    """One row for each coupling and number of evaluations."""
    return [
        {
            "coupling": outcome.entrant,
            "nfe": outcome.nfe,
            METRIC.replace("-", "_"): outcome.quality,
            "limit": outcome.limit,
            "deviation": outcome.straightness.deviation,
            "arc_over_chord": outcome.straightness.arc_over_chord,
        }
        for outcome in result.outcomes
    ]


def summarise(config: CouplingsConfig, result: CouplingsResult) -> Summary:
    """Straightness and quality of each coupling."""
    rows = [
        [
            ENTRANTS[outcome.entrant].label,
            f"{outcome.straightness.deviation:.3g}",
            "–" if (gain := result.gain(outcome.entrant)) is None else f"{gain:.3g}×",
            f"{outcome.straightness.arc_over_chord:.3f}",
            *(f"{outcome.quality[NFES.index(nfe)]:.3f}" for nfe in SHOWN),
            f"{outcome.limit:.3f}",
            f"{outcome.seconds:.0f}",
        ]
        for outcome in result.outcomes
    ]
    straight, nfes = ["S", "S falls by", "length ÷ displacement"], [f"NFE {nfe}" for nfe in SHOWN]
    return Summary(
        title=f"Straightness, and {METRICS[METRIC].label} to data by Euler's method",
        heads=["Trained with", *straight, *nfes, "in the limit", "seconds of training"],
        rows=rows,
    )


def say(config: CouplingsConfig, result: CouplingsResult) -> Findings:
    """The straightness of each coupling's flow, and its effect on samples."""
    total = len(entrants(config.data))
    if len(result.outcomes) < total:
        yield Finding.so_far(len(result.outcomes), total, "trainings")
    base = result.outcome(INDEPENDENT)
    others = [each for each in result.outcomes if each.entrant not in (INDEPENDENT, "vp")]
    if base is not None and others:
        yield from _gains(base, others)
    if result.outcomes:
        yield Finding.note(
            "Two random samples of the data are "
            f"{result.outcomes[0].floor:.3f} apart, which is the best possible distance. “In "
            "the limit” means with an adaptive solver. Minibatch OT and reflow use the "
            "conditional OT path: the coupling chooses the pairs, the path connects them."
        )


def _gains(base: Outcome, others: list[Outcome]) -> Findings:
    s = base.straightness.deviation
    gains = {each.entrant: each.straightness.deviation for each in others}
    text = ", ".join(f"{factor(value, s)} with {_label(name)}" for name, value in gains.items())
    straighter = "supported" if all(v < s / 2 for v in gains.values()) else "not supported"
    known = np.isfinite([s, *gains.values()]).all()
    yield Finding(
        lead="The coupling straightens the flow",
        text=f"compared with independent pairs, S is {text}.",
        numbers={INDEPENDENT: s, **gains},
        verdict=straighter if known else "undecided",
    )
    cheap = [each for each in others if np.isfinite(each.quality[0])]
    if cheap and np.isfinite(base.quality[0]):
        best = min(cheap, key=lambda each: each.quality[0])
        before, after = float(base.quality[0]), float(best.quality[0])
        yield Finding(
            lead=f"With {NFES[0]} evaluation",
            text=f"the distance to data {_verb_of_change(before, after)} from {before:.2f} to "
            f"{after:.2f} with {_label(best.entrant)}, the best coupling.",
            numbers={INDEPENDENT: before, best.entrant: after},
        )
    ends = [each for each in others if np.isfinite(each.limit)]
    if ends and np.isfinite(base.limit):
        best = min(ends, key=lambda each: each.limit)
        if best.limit < (1 - MARGIN) * base.limit:
            text = f"{_label(best.entrant)} is better by more than a tenth"
        elif best.limit > (1 + MARGIN) * base.limit:
            text = "independent pairs are better by more than a tenth"
        else:
            text = "the best coupling and independent pairs differ by less than a tenth"
        yield Finding(
            lead="In the limit",
            text=f"{text} ({best.limit:.3f} and {base.limit:.3f}).",
            numbers={INDEPENDENT: base.limit, best.entrant: best.limit},
        )


def _verb_of_change(before: float, after: float) -> str:
    """The verb of a change, to two decimals."""
    gap = round(after, 2) - round(before, 2)
    return "falls" if gap < 0 else "rises" if gap > 0 else "stays"


def _label(entrant: str) -> str:
    return ENTRANTS[entrant].label.split(", ")[1]


STUDY = Study(
    __name__,
    "What straightens a flow: the coupling",
    CouplingsConfig,
    (compute, draw, table, say),
    summary=summarise,
    page="straighter",
    seconds=60.0,
    smallest={
        "data": "8gaussians",
        "steps": 20,
        "units": 8,
        "depth": 1,
        "batch": 16,
        "pairs": 200,
        "n": 50,
    },
)
