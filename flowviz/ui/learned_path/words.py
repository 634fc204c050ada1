"""What the page on a learned path says, computed from what was measured."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["SEEDS", "Told", "ability", "claim", "seeds", "straightness"]

SEEDS = {
    "8gaussians": ((0.467, 0.461, 0.436), (0.161, 0.141, 0.145)),
    "checkerboard": ((0.550, 0.534, 0.535), (0.110, 0.108, 0.114)),
}
"""S and KL(data || flow) in nats of the path with penalty 0.01, trained from the seeds 0 (which is
shipped), 1 and 2: `flowviz train --data NAME --path learned --penalty 0.01 --steps 8000 --seed K`;
S of 500 particles, KL of 2,000 fresh data, its standard error 0.014 and 0.009 for each."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What was measured of one flow; what was not is None.

    Attributes:
        label: its name.
        learned: whether its path is.
        deviation: S.
        nll: negative log-likelihood of fresh data by the converged flow in nats, less that by the
            data's own density where this is known.
        error: its standard error.
        few: quality of samples with few evaluations, lower is better.
        limit: quality of samples of the converged flow, a value a seed.
    """

    label: str
    learned: bool
    deviation: float
    nll: float | None = None
    error: float = 0.0
    few: float | None = None
    limit: tuple[float, ...] = ()


def straightness(rows: Sequence[Told]) -> str:
    """Whether the learned path made the flow straighter than the first row's, and what it cost.

    `rows` begins with conditional OT.
    """
    base, learned = rows[0], [row for row in rows if row.learned]
    if not learned:
        return (
            "**No learned path is here for this data set yet:** train one below; a minute of "
            "computing is enough to see it straighten."
        )
    best = min(learned, key=lambda row: row.deviation)
    against = f"S = {best.deviation:.2f} against {base.deviation:.2f} on {base.label}"
    if best.deviation < base.deviation:
        times = base.deviation / best.deviation
        text = f"**The flow of the {best.label} is {times:.1f} times as straight** ({against})."
    else:
        text = f"**No learned path is straighter than {base.label} here** ({against})."
    return (
        f"{text} {ability(base, best)} Conditional OT is straight given the data point (above) "
        "and bent in its flow (below)."
    )


def seeds(data: str) -> str:
    """How much of a shipped path's numbers hangs on the seed of its training; "" if not known."""
    if data not in SEEDS:
        return ""
    s, kl = (
        f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}" for values in SEEDS[data]
    )
    return (
        f"Trained from three seeds, the path with penalty 0.01 has S {s} and KL {kl} nats: mean "
        "± standard deviation between trainings. The one that is shown is one of the three."
    )


def ability(base: Told, other: Told) -> str:
    """Whether `other` finds the data likelier than `base`, beyond twice the standard error."""
    if base.nll is None or other.nll is None:
        return ""
    gap = other.nll - base.nll
    error = math.hypot(base.error, other.error)
    size = f"{abs(gap):.3f} ± {error:.3f} nats"
    if abs(gap) <= 2 * error:
        return f"Its likelihood cannot be told from that of {base.label} (apart by {size})."
    way = "worse" if gap > 0 else "better"
    return (
        f"Its likelihood, by a converged solver, is {way} than that of {base.label} by {size} "
        "a data point."
    )


def claim(rows: Sequence[Told], nfe: int, measure: str, solver: str) -> str:
    """What this run shows of the doubt whether straightness helps when compute is unlimited.

    `rows` begins with conditional OT; the straightest learned path is held against it, with `nfe`
    evaluations and converged.
    """
    base = rows[0]
    learned = [row for row in rows if row.learned and row.few is not None and row.limit]
    if not learned or base.few is None or not base.limit:
        return ""
    best = min(learned, key=lambda row: row.deviation)
    numbers = (
        f"{measure} with NFE {nfe} ({solver}) {best.few:.3f} against {base.few:.3f}, in the limit "
        f"{_mean(best.limit):.3f} against {_mean(base.limit):.3f}"
    )
    # With few evaluations there is one seed, of which a gain below 5 % is not told.
    pays, holds = best.few < 0.95 * base.few, _compared(best.limit, base.limit)
    straighter = best.deviation < base.deviation
    if not straighter:
        head = "This run says nothing of it: the learned path is not the straighter one"
    elif pays and holds >= 0:
        with_all = "it made samples worse" if holds > 0 else "it gained nothing that can be told"
        head = (
            "In this run straightness helped where evaluations are few, and with as many as one "
            f"likes {with_all}, which is what the study's third claim suspects"
        )
    elif pays:
        head = (
            "In this run straightness helped with few evaluations and with unlimited ones, "
            "against the study's doubt"
        )
    elif holds < 0:
        head = "In this run the straighter flow was better only in the limit"
    else:
        head = "In this run straightness did not help, with few evaluations or with many"
    return (
        f"**{head}** ({numbers}; lower is better). It is one network a path on one data set of "
        "the plane, each with an error of its own: the claim was made of images."
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _compared(first: Sequence[float], second: Sequence[float]) -> int:
    """1 if every seed's first value is the larger, -1 if every one is the smaller, else 0."""
    signs = {math.copysign(1, a - b) for a, b in zip(first, second, strict=True) if a != b}
    return int(signs.pop()) if len(signs) == 1 else 0
