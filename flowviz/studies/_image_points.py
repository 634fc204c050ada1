"""What measurements of image quality say: the best, who leads at few evaluations, failures."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from flowviz.experiments.image_quality import QualityPoint, weight_label
from flowviz.paths import AffinePath
from flowviz.schedulers import scheduler
from flowviz.solvers import METHODS
from flowviz.studies import Finding
from flowviz.studies._images import ImageSide
from flowviz.studies._numbers import joined

LOW = (4, 5, 9, 10)
"""What counts as few evaluations."""
SPOILED = 2.0
"""Ratio to midpoint's distance from which on a solver fails at the end of the path."""


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgedSide:
    """Measurements of one side.

    Attributes:
        side: its checkpoint.
        points: stored and new ones.
        training: stored points over training, by images seen.
        steps: stored steps of an adaptive solver, see `adaptive_steps`; empty without any.
        left_out: why stored points are left out; "" if they are not.
    """

    side: ImageSide
    points: tuple[QualityPoint, ...]
    training: tuple[Mapping[str, Any], ...] = ()
    steps: Mapping[str, Any] = field(default_factory=dict)
    left_out: str = ""


class Kind(NamedTuple):
    """What the points of one curve share; see `QualityPoint`."""

    solver: str
    guidance: float | None
    interval: tuple[float, float]
    guide: str
    classes: tuple[int, ...]
    n: int
    grid: str
    seed: int

    @property
    def weight(self) -> str:
        """See `QualityPoint.weight`."""
        return weight_label(self.guidance, self.interval, self.guide)


def value_of(point: QualityPoint, name: str) -> float | None:
    """A measure of a point; None if it was not taken."""
    return point.measures.get(name)


def distance(point: QualityPoint) -> float:
    """The Fréchet distance of a point; NaN if it was not taken."""
    value = value_of(point, "frechet")
    return math.nan if value is None else value


def kind_of(point: QualityPoint) -> Kind:
    """What a point shares with the others of its curve."""
    return Kind(*(getattr(point, name) for name in Kind._fields))


def smallest(sides: Sequence[JudgedSide]) -> Finding:
    """The smallest distance of each side, at the same number of images if there is one."""
    candidates = [[p for p in side.points if not p.classes] or list(side.points) for side in sides]
    # The distance decreases with the number of images, so that it must be the same.
    shared = set.intersection(*({p.n for p in points} for points in candidates if points))
    texts, numbers = [], {}
    for side, points in zip(sides, candidates, strict=True):
        if not points:
            continue
        n = max(shared or {p.n for p in points})
        best = min((p for p in points if p.n == n), key=distance)
        accuracy = value_of(best, "accuracy")
        notes = [
            best.weight,
            "" if shared else f"{n:,} images",
            "" if accuracy is None else f"{100 * accuracy:.0f}% in the right class",
            "" if best.floor is None else f"floor {best.floor:.2f}",
        ]
        notes_text = ", ".join(filter(None, notes))
        value = numbers[side.side.name] = distance(best)
        texts.append(
            f"{side.side.label} {value:.2f} at NFE "
            f"{best.nfe:.0f}{f' ({notes_text})' if notes_text else ''}"
        )
    image_count = f" of {max(shared):,} images per point" if shared else ""
    text = f"the smallest Fréchet distances{image_count} are {'; '.join(texts)}."
    return Finding(lead="Best quality", text=text, numbers=numbers)


def leaders(sides: Sequence[JudgedSide]) -> list[Finding]:
    """Which side is better at few evaluations, by solver and NFE."""
    if len(sides) < 2:
        return []
    left, right = (
        {(round(p.nfe), kind_of(p)): distance(p) for p in side.points} for side in sides
    )
    shared = sorted((key for key in left.keys() & right.keys() if key[0] in LOW), key=str)
    several_weights = len({kind.weight for _, kind in shared}) > 1
    solvers_of_outcome: dict[str, dict[str, None]] = {}
    for nfe, kind in sorted(shared, key=lambda key: key[0]):
        pair = ((left[nfe, kind], sides[0]), (right[nfe, kind], sides[1]))
        (a, ahead), (b, _) = sorted(pair, key=lambda each: each[0])
        equal = f"{a:.2f}" == f"{b:.2f}"
        outcome = "both sides are equal" if equal else f"{ahead.side.label} is ahead"
        values = f"{a:.2f}" if equal else f"{a:.2f} against {b:.2f}"
        weight = f", {kind.weight}" if several_weights and kind.guidance else ""
        solvers = solvers_of_outcome.setdefault(f"at NFE {nfe} {outcome} with", {})
        solvers[f"{METHODS[kind.solver].label} ({values}{weight})"] = None
    text = "; ".join(
        f"{outcome} {joined([*solvers])}" for outcome, solvers in solvers_of_outcome.items()
    )
    return [Finding(lead="With few evaluations", text=f"{text}.")] if solvers_of_outcome else []


def jumping(sides: Sequence[JudgedSide]) -> list[Finding]:
    """What the jumps of flow maps reach, and how many evaluations other fields need for that."""
    texts, numbers = [], {}
    for side in sides:
        jumps = {
            _protocol(p): p
            for p in sorted(side.points, key=lambda p: -p.nfe)
            if METHODS[p.solver].jumps and value_of(p, "frechet") is not None
        }
        for jump in jumps.values():
            value = distance(jump)
            needs = filter(None, (_needed(other, jump) for other in sides))
            weight = f" ({jump.weight})" if jump.weight else ""
            numbers[f"{side.side.name}{weight} of {jump.n} images"] = value
            text = f"{side.side.label} has {value:.2f} at NFE {jump.nfe:.0f}{weight}"
            texts.append(", ".join([text, *needs]))
    return [Finding(lead="Jumps", text=f"{'; '.join(texts)}.", numbers=numbers)] if texts else []


def _needed(side: JudgedSide, jump: QualityPoint) -> str:
    """The evaluations that velocities of a side need for the distance of a jump; "" if unknown."""
    comparable = [
        p for p in side.points if _protocol(p) == _protocol(jump) and not METHODS[p.solver].jumps
    ]
    reached = [p for p in comparable if distance(p) <= distance(jump)]
    if reached:
        best = min(reached, key=lambda p: p.nfe)
        first = best.nfe == min(p.nfe for p in comparable if p.solver == best.solver)
        needed = f"{'at most ' * first}NFE {best.nfe:.0f} ({METHODS[best.solver].label})"
        return f"for which {side.side.label} needs {needed}"
    return f"which {side.side.label} reaches at no measured NFE" if comparable else ""


def _protocol(point: QualityPoint) -> tuple[int, str, tuple[int, ...]]:
    """What two points must share for their distances to be compared, whatever their solver."""
    return point.n, point.weight, point.classes


def failures(side: JudgedSide) -> list[Finding]:
    """The solvers that evaluate the end of the path and fail there, with the reason."""

    def key(p: QualityPoint) -> tuple[Kind, float]:
        return kind_of(p)._replace(solver=""), p.nfe

    midpoint_distance = {key(p): distance(p) for p in side.points if p.solver == "midpoint"}
    findings = []
    for solver in dict.fromkeys(p.solver for p in side.points):
        method = METHODS[solver]
        if method.adaptive or not method.evaluates_end:
            continue
        ratios = {
            p.nfe: distance(p) / midpoint_distance[key(p)]
            for p in side.points
            if p.solver == solver and key(p) in midpoint_distance
        }
        nfe = max(ratios, default=0)
        if ratios and ratios[nfe] > SPOILED:
            path = AffinePath(scheduler(side.side.path))
            end = path.scheduler(torch.tensor(path.t_max, dtype=torch.float64))
            text = (
                f"at NFE {nfe:.0f} its distance is {ratios[nfe]:.0f} times that of midpoint. Its "
                "last evaluation is at the end of the path, where σ falls too steeply for such a "
                f"step (dσ/dt is −{-end.d_sigma:.0f})."
            )
            lead = f"{method.label} on {side.side.label}"
            findings.append(Finding(lead=lead, text=text, numbers={"ratio": ratios[nfe]}))
    return findings
