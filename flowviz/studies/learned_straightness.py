"""Is the flow of a learned path straighter, and what does that cost in likelihood?"""

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from flowviz.datasets import dataset
from flowviz.distributions import PointMasses
from flowviz.experiments.fields import EXACT, card_of
from flowviz.experiments.learned_path import (
    FlowStraightness,
    StraightnessConfig,
    compute_straightness,
)
from flowviz.experiments.likelihood import LikelihoodConfig, compute_likelihood
from flowviz.figures.learned_path import Spot, trade
from flowviz.progress import Progress
from flowviz.settings import part, setting
from flowviz.studies import Figures, Finding, Findings, Live, NamedFigure, Study, Summary, Tables
from flowviz.studies._learned_path import ComparedFlow, FlowsConfig, compared, straightest

EXACT_SHARE = 8
"""Factor by which exact fields are measured on fewer points, since each costs more."""

SEEDS = {
    "8gaussians": ((0.432, 0.434, 0.417), (0.143, 0.132, 0.140)),
    "checkerboard": ((0.551, 0.533), (0.097, 0.089)),
}
"""S and KL(data || flow) in nats of the path with penalty 0.01, trained from the seeds 0 (the
shipped one), 1 and so on: `flowviz train --data NAME --path learned --penalty 0.01 --steps 8000
--seed K`; KL of 4,000 fresh data points with a standard error of 0.010 and
0.006."""

SEEDS_ERROR = 0.006
"""Standard error of each S in SEEDS, of 4,000 particles from the same noise."""


@dataclass(frozen=True, kw_only=True)
class LearnedStraightnessConfig(FlowsConfig):
    """Flows whose straightness and likelihood are compared."""

    particles: int = setting(
        StraightnessConfig.n,
        "Particles",
        bounds=(2, 10_000),
        advanced=True,
        help="Number of particles for S.",
    )
    draws: int = setting(
        StraightnessConfig.draws,
        "Data points of the bound",
        bounds=(2, 1_000_000),
        advanced=True,
        help="Number of data points for the bound of a learned path.",
    )
    points: int = setting(
        2_000,
        "Data points of the likelihood",
        bounds=(16, 100_000),
        advanced=True,
        help="Number of fresh data points by which the likelihood of a network is measured where "
        "its card does not state it; an eighth of them for an exact field.",
    )


@dataclass(frozen=True, kw_only=True)
class FlowLikelihood:
    """Negative log-likelihood and KL(data || flow) in nats; `kl` is None if not known."""

    nll: float
    kl: float | None
    error: float

    @property
    def excess(self) -> float:
        """KL if it is known, else the negative log-likelihood.

        Flows may be measured on different data points; the KL does not contain their entropy.
        """
        return self.nll if self.kl is None else self.kl


@dataclass(frozen=True, kw_only=True, eq=False)
class LearnedStraightnessResult:
    """The flows measured so far; the likelihood is None for a finite set of points."""

    flows: tuple[ComparedFlow, ...]
    straightness: tuple[FlowStraightness, ...]
    likelihood: tuple[FlowLikelihood | None, ...]


def compute(
    config: LearnedStraightnessConfig, live: Live, progress: Progress
) -> Iterator[LearnedStraightnessResult]:
    """Measures one flow after the other; yields after each.

    Raises:
        ValueError: a field is unknown or leads to another data set.
    """
    flows = compared(config, live)
    straightness: list[FlowStraightness] = []
    likelihood: list[FlowLikelihood | None] = []
    for k, flow in enumerate(flows, start=1):
        progress.report((k - 1) / len(flows), flow.label)
        piece = StraightnessConfig(
            data=config.data, field=flow.name, n=config.particles, draws=config.draws
        )
        straightness.append(
            progress.cached(compute_straightness, piece, field=live.get(flow.name))
        )
        likelihood.append(_likelihood(config, flow, live, progress))
        yield LearnedStraightnessResult(
            flows=tuple(flows[:k]), straightness=tuple(straightness), likelihood=tuple(likelihood)
        )


def _likelihood(
    config: LearnedStraightnessConfig, flow: ComparedFlow, live: Live, progress: Progress
) -> FlowLikelihood | None:
    """The likelihood of new data, from the card if it has one; None for a set of points."""
    if isinstance(dataset(config.data).distribution, PointMasses):
        return None
    name = flow.name
    if not flow.exact and name not in live:
        known = card_of(name).quality.get("likelihood") or {}
        if known.get("n", 0) >= config.points:
            return FlowLikelihood(nll=known["nll"], kl=known["kl"], error=known["error"])
    piece = LikelihoodConfig(
        data=config.data,
        path=flow.path,
        field=EXACT if flow.exact else name,
        n=config.points // EXACT_SHARE if flow.exact else config.points,
    )
    result = progress.cached(compute_likelihood, piece, field=live.get(flow.name))
    return part(FlowLikelihood, result)


def draw(config: LearnedStraightnessConfig, result: LearnedStraightnessResult) -> Figures:
    """Likelihood over straightness; nothing for a finite set of points."""
    spots = [
        Spot(
            label=flow.label,
            colour=flow.colour(),
            straightness=each.deviation,
            excess=known.excess,
            error=known.error,
            symbol=flow.symbol,
        )
        for flow, each, known in zip(
            result.flows, result.straightness, result.likelihood, strict=True
        )
        if known is not None and each.deviation > 0
    ]
    if not spots:
        return
    listed = "; ".join(f"{s.label}: S {s.straightness:.3g}, {s.excess:.3g} nats" for s in spots)
    yield NamedFigure(
        name="trade",
        title="straightness against likelihood",
        alt=f"{listed}.",
        figure=trade(spots, y_title="KL(data ‖ flow), nats (± 2 s.e.)"),
    )


def table(config: LearnedStraightnessConfig, result: LearnedStraightnessResult) -> Tables:
    """One row for each flow; what is not known is NaN."""
    unknown = FlowLikelihood(nll=math.nan, kl=None, error=math.nan)
    known = [each or unknown for each in result.likelihood]
    straightness = result.straightness
    return {
        "flow": np.array([flow.label for flow in result.flows]),
        "S": np.array([each.deviation for each in straightness]),
        "S_error": np.array([each.error for each in straightness]),
        "arc_over_chord": np.array([each.arc_over_chord for each in straightness]),
        "nll": np.array([each.nll for each in known]),
        "kl": np.array([each.kl for each in known], dtype=float),
        "standard_error": np.array([each.error for each in known]),
        "bound": np.array([each.bound for each in straightness], dtype=float),
        "bound_error": np.array([each.bound_error for each in straightness], dtype=float),
    }


def summarise(config: LearnedStraightnessConfig, result: LearnedStraightnessResult) -> Summary:
    """Straightness, likelihood and bound of each flow."""
    rows = [
        [
            flow.label,
            f"{each.deviation:.3f} ± {each.error:.3f}",
            f"{each.arc_over_chord:.3f}",
            "–" if known is None else f"{known.nll:.3f}",
            "–" if known is None or known.kl is None else f"{known.kl:z.3f} ± {known.error:.3f}",
            "–" if each.bound is None else f"{each.bound:.2f} ± {each.bound_error:.2f}",
        ]
        for flow, each, known in zip(
            result.flows, result.straightness, result.likelihood, strict=True
        )
    ]
    likely = ("−log p, nats", "KL(data ‖ flow), nats", "bound, nats")
    heads = ("flow", "S", "length ÷ displacement", *likely)
    return Summary(title="Straightness and likelihood", heads=heads, rows=rows)


def say(config: LearnedStraightnessConfig, result: LearnedStraightnessResult) -> Findings:
    """Whether the flow of a learned path is straighter than that of conditional OT."""
    base, straightness = result.flows[0], result.straightness
    best = straightest(result.flows, [each.deviation for each in straightness])
    if best is None:
        text = "there is no learned path for this data set yet; train one on this page."
        yield Finding(lead="No learned path", text=text)
    else:
        yield _straighter(
            base.label, result.flows[best].label, straightness[0], straightness[best]
        )
        yield from _price(base.label, result.likelihood[0], result.likelihood[best])
    if config.data in SEEDS and best is not None:
        yield _seeds(config.data)
    yield Finding.note(
        f"S: mean square difference between velocity and chord, of {config.particles:,} "
        "particles, summed over dimensions; ± is the standard error from these particles. "
        "−log p: of fresh data, by the change of variables along the converged flow. The bound "
        "holds for the diffusion with the flow's velocity and the predicted score, so −log p of "
        "the flow may be above or below it: where they disagree, velocity and score belong to "
        "different densities."
    )


def _straighter(
    base: str, label: str, first: FlowStraightness, other: FlowStraightness
) -> Finding:
    """Whether a learned path is straighter than the base by more than twice the error."""
    gap, error = first.deviation - other.deviation, math.hypot(first.error, other.error)
    known = " against ".join(f"{s.deviation:.2f} ± {s.error:.2f}" for s in (other, first))
    verdict = "supported"
    if abs(gap) <= 2 * error:
        text, verdict = f"the flow of the {label} is as straight as that of {base}", "undecided"
    elif gap > 0:
        times = first.deviation / other.deviation
        text = f"the flow of the {label} is {times:.1f} times as straight as that of {base}"
    else:
        text, verdict = f"no learned path is straighter than {base} here", "not supported"
    numbers = {"learned": other.deviation, "base": first.deviation, "error": error}
    text = f"{text} (S = {known})."
    return Finding(lead="Straightness", text=text, numbers=numbers, verdict=verdict)


def _price(base: str, first: FlowLikelihood | None, other: FlowLikelihood | None) -> Findings:
    """Whether the likelihood differs by more than twice the standard error."""
    if first is None or other is None:
        return
    gap, error = other.excess - first.excess, math.hypot(first.error, other.error)
    size = f"{abs(gap):.3f} ± {error:.3f} nats"
    indistinguishable = abs(gap) <= 2 * error
    text = f"is {'worse' if gap > 0 else 'better'} than that of {base} by {size} per data point."
    if indistinguishable:
        text = f"cannot be distinguished from that of {base} (difference {size})."
    yield Finding(
        lead="Likelihood",
        text=f"its likelihood, with a converged solver, {text}",
        numbers={"difference": gap, "error": error},
        verdict="undecided" if indistinguishable else "",
    )


def _seeds(data: str) -> Finding:
    """How much the numbers of a shipped path vary with the seed of its training."""
    s, kl = (
        f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}" for values in SEEDS[data]
    )
    return Finding.note(
        f"Trained from {len(SEEDS[data][0])} seeds, the path with penalty 0.01 has S {s} and KL "
        f"{kl} nats (mean ± standard deviation between trainings). Each of these S has a standard "
        f"error of {SEEDS_ERROR:g} from the choice of its particles, which the trainings share. "
        "The shipped path is one of them."
    )


STUDY = Study(
    __name__,
    "Straightness and likelihood of learned and fixed paths",
    LearnedStraightnessConfig,
    (compute, draw, table, say),
    summary=summarise,
    page="learned_path",
    seconds=5.0,
    smallest={"particles": 20, "draws": 200, "points": 128},
)
