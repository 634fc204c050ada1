"""What a run shows, in one sentence each, computed from its numbers; Markdown."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from flowviz.experiments.endpoints import EndpointsResult
from flowviz.experiments.evolution import EXACT
from flowviz.experiments.race import OWN, RaceResult, SweepResult, Targets, entrant
from flowviz.experiments.straightening import ENTRANTS as COUPLED
from flowviz.experiments.straightening import INDEPENDENT, NFES, StraighteningResult
from flowviz.experiments.unlimited import (
    LearnedStraightness,
    Left,
    LeftResult,
    StraightnessResult,
)
from flowviz.schedulers import LEARNED, scheduler

__all__ = [
    "couplings",
    "distances",
    "endpoints",
    "falls",
    "learned_name",
    "left_over",
    "race",
    "rates",
    "straightness",
    "targets",
    "training",
    "unlimited",
]

AGREE = 0.02
"""A distance, in the units of the plane, that no picture of it shows: ends that differ by less are
the same."""

APART = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}
"""Two things differ over so many seeds if the mean difference is this many standard errors of it:
Student's t at 95 %, since seeds are few and both saw the same draws."""


def targets(found: Targets) -> str:
    """What the regression targets of the entrants say, without training."""
    share = dict(zip(found.entrants, found.share.mean(axis=1), strict=True))
    size = dict(zip(found.entrants, found.size.max(axis=1), strict=True))
    flows = {"ot": _path("ot"), "vp": _path("vp")}
    flows |= {OWN: _path("shaped")} if OWN in share else {}
    clear, *others = sorted(flows, key=lambda name: -share[name])
    rest = _listed([f"{share[name]:.0%} on {flows[name]}" for name in others])
    rest = f"{',' if len(others) > 1 else ' and'} {rest}"
    return (
        f"Over time, $x_t$ determines **{share[clear]:.0%} of the velocity that a pair asks for "
        f"on {flows[clear]}{rest}**: the rest is noise in every "
        f"gradient; the network must reach a size of {size['ot']:.2g} for the velocity on "
        f"conditional OT, {size['vp']:.2g} on VP diffusion, {size['vp-noise']:.2g} for the noise "
        f"and {size['vp-score']:.2g} for the score."
    )


def race(found: RaceResult) -> str:
    """Who learned faster, by the last look that all runs have come to."""
    look = _last(found)
    if look is None:
        return "No run has been measured yet."
    last = _measured(found, look)
    lost = [_racer(name) for name in found.entrants if name not in last]
    if not {"ot", "vp"} <= set(last):
        return (
            f"After {found.steps[look]:,} steps the samples of {_listed(lost)} cannot be measured."
        )
    ranked = ", ".join(f"{_racer(name)} {_mean(last[name])}" for name in last)
    if lost:
        ranked += f" (those of {_listed(lost)} cannot be measured)"
    told = {
        -1: f"conditional OT is ahead of VP diffusion under flow matching{_reached(found, look)}",
        0: "conditional OT and VP diffusion under flow matching cannot be told apart",
        1: "conditional OT is behind VP diffusion under flow matching",
    }[_compared(last["ot"], last["vp"])]
    off = {
        name: float(found.error[found.entrants.index(name), :, look].mean())
        for name in ("ot", "vp")
    }
    errors = (
        f"; the learned field is off the exact one by {off['ot']:.0%} of the velocity on "
        f"conditional OT and {off['vp']:.0%} on VP diffusion"
        if np.isfinite(list(off.values())).all()
        else ""
    )
    own = ""
    if OWN in last:
        beside = {-1: "is ahead of", 0: "cannot be told apart from", 1: "is behind"}
        own = (
            f"; flow matching on your own schedule {beside[_compared(last[OWN], last['ot'])]} "
            "that on conditional OT"
        )
    return (
        f"After {found.steps[look]:,} steps the distance to data is {ranked}, with "
        f"{found.floor:.3f} between two sets of data: **{told}**{own}{errors}."
    )


def rates(found: SweepResult) -> str:
    """Which learning rates each entrant bears, up to the lowest at which it diverged."""
    through = _through(found)
    if not through.all():
        return f"{through.sum()} of {through.size} trainings are through."
    low, high = f"{found.lrs[0]:g}", f"{found.lrs[-1]:g}"
    if found.diverged.all():
        return f"All diverged at every learning rate that was tried, from {low} to {high}."
    if not found.diverged.any():
        return f"None diverged at any learning rate that was tried, from {low} to {high}."
    # How many rates from the lowest on each bears.
    borne = {
        name: int(row.argmax()) if row.any() else len(row)
        for name, row in zip(found.entrants, found.diverged, strict=True)
    }
    if len(set(borne.values())) == 1:
        (count,) = set(borne.values())
        if not count:
            return f"All diverged at the lowest learning rate that was tried, {low}."
        return (
            f"All bear learning rates up to {found.lrs[count - 1]:g} and diverge at the next that "
            "was tried: **here the straighter path is neither more stable nor less**."
        )
    told = "; ".join(f"{_racer(name)} {_borne(count, found.lrs)}" for name, count in borne.items())
    most = [_racer(name) for name, count in borne.items() if count == max(borne.values())]
    return (
        "Which learning rates they bear, before the first at which they diverge, differs "
        f"({told}): **{_listed(most)} {'bears' if len(most) == 1 else 'bear'} the most**."
    )


def training(
    found: RaceResult | None, swept: SweepResult | None = None, standing: str = ""
) -> str:
    """The first claim, from what has been run.

    Args:
        found: the race so far.
        swept: the sweep of learning rates so far.
        standing: of the race: "" where it was never begun, else a state of `jobs.State`.
    """
    look = None if found is None else _last(found)
    if found is None or look is None:
        return {
            "": "Not tried yet: start the race above.",
            "waiting": "The race waits for its turn; nothing is measured yet.",
            "cancelled": "The race was stopped before anything was measured.",
            "failed": "The race failed before anything was measured.",
        }.get(standing, "The race is running; nothing is measured yet.")
    steps, of = int(found.steps[look]), int(found.steps[-1])
    after = f"after {steps:,} steps"
    if steps < of:
        ended = {"cancelled": "stopped there", "failed": "failed there"}
        after += f" of {of:,} ({ended.get(standing, 'it goes on')})"
    last = _measured(found, look)
    lost = [name for name in ("ot", "vp") if name not in last]
    if lost:
        return (
            f"{after.capitalize()} the samples of {_listed([_racer(name) for name in lost])} "
            "cannot be measured, so that this run says nothing of speed."
        )
    faster = {-1: "held", 0: "did not show", 1: "failed"}[_compared(last["ot"], last["vp"])]
    stable = ""
    if swept is not None and _through(swept).all():
        count = dict(zip(swept.entrants, swept.diverged.sum(axis=1).tolist(), strict=True))
        least = [_racer(name) for name in count if count[name] == min(count.values())]
        tried = f"of the {len(swept.lrs)} learning rates of the sweep"
        if len(set(count.values())) > 1:
            stable = f", and the fewest {tried} broke {_listed(least)}"
        elif min(count.values()):
            stable = f", and each of the entrants diverged at {min(count.values())} {tried}"
        else:
            stable = f", and none diverged at any {tried}"
    return (
        f"“Trains faster” **{faster}** in this run: {after} conditional OT stands "
        f"{_mean(last['ot'])} from the data and VP diffusion {_mean(last['vp'])} under the same "
        f"objective{stable}."
    )


def distances(found: EndpointsResult) -> str:
    """How far each path's ends are from those of the first, a path after the other."""
    told = zip(found.paths[1:], found.floor[1:], strict=True)
    return ", ".join(f"{_path(spec)} {_small(d)}" for spec, d in told)


def falls(found: EndpointsResult) -> str:
    """Each path's first and last distance that could be had over the evaluations, in words."""
    told = []
    for spec, row in zip(found.paths, found.distance, strict=True):
        had = np.flatnonzero(np.isfinite(row))
        if not len(had):
            told.append(f"{_path(spec)} failed at every budget")
            continue
        first, last = had[0], had[-1]
        told.append(
            f"{_path(spec)} {_small(row[first])} at NFE {found.nfe[first]} and "
            f"{_small(row[last])} at NFE {found.nfe[last]}"
        )
    return "; ".join(told)


def endpoints(found: EndpointsResult, *, matched: bool = False) -> str:
    """Where the exact flows of all paths end; `matched` as in `EndpointsConfig`."""
    first, *others = found.paths
    if not others:
        return f"Only {_path(first)} was followed."
    off = dict(zip(found.paths, found.floor, strict=True))
    same = [first, *(spec for spec in others if off[spec] < AGREE)]
    apart = [spec for spec in others if not off[spec] < AGREE]
    if not apart:
        end = "**all paths carry the same noise to the same data**"
    else:
        end = (
            f"**{_listed([_path(s) for s in same])} carry the same noise to the same data**, "
            if len(same) > 1
            else f"**no other path ends where {_path(first)} does**: "
        ) + "; ".join(_apart(found, spec, matched) for spec in apart)
    return (
        f"Solved to the end, the ends are off those of {_path(first)} by {distances(found)} (root "
        f"mean square), so that {end}."
    )


def straightness(found: StraightnessResult) -> str:
    """Whether the path of the straightest conditional flows has the straightest marginal one."""
    pick = [p for p in found.paths if p != "ve"]
    alone = {p: found.conditional[found.paths.index(p)].relative for p in pick}
    whole = {p: found.marginal[found.paths.index(p)] for p in pick}
    pairs = _least(alone, ".3g")
    by_s = _least({p: whole[p].deviation for p in pick}, ".3g")
    by_arc = _least({p: whole[p].arc_over_chord for p in pick}, ".3f")
    numbers = ", ".join(
        f"{_path(p)} S = {whole[p].deviation:.3g} ({whole[p].relative:.2g} of the squared chord), "
        f"arc/chord {whole[p].arc_over_chord:.3f}"
        for p in pick
    )
    if not (pairs and by_s and by_arc):
        return f"Of the exact marginal flows, {numbers}: not all could be measured."
    if pairs == by_s == by_arc:
        end = f"**{_straightest(pairs)}, pair by pair and as a whole**"
    elif by_s == by_arc:
        end = f"**pair by pair {_straightest(pairs)}, as a whole {_straightest(by_s)}**"
    else:
        end = (
            f"**pair by pair {_straightest(pairs)}; as a whole {_straightest(by_s)} by S, and "
            f"{_straightest(by_arc)} by the bends**"
        )
    return f"Of the exact marginal flows, {numbers}: {end}.{_straightened(found)}"


def learned_name(each: LearnedStraightness, among: Sequence[LearnedStraightness]) -> str:
    """The name of a learned path in legends, beside others that may be trained alike."""
    return f"{_path(LEARNED)}, {_told_apart(each, among)}"


def _told_apart(each: LearnedStraightness, among: Sequence[LearnedStraightness]) -> str:
    """How a learned path was trained; by which checkpoint, if others were trained so too."""
    alike = [other.method for other in among].count(each.method) > 1
    return f"{each.method} ({each.name.partition('@')[0]})" if alike else each.method


def _straightened(found: StraightnessResult) -> str:
    """What learning the path made of S, against conditional OT's exact flow."""
    if not found.learned:
        return ""
    base = found.marginal[found.paths.index("ot")].deviation
    told = ", ".join(
        f"{_told_apart(each, found.learned)} {each.marginal.deviation:.3g} "
        f"({_times_smaller(each.marginal.deviation, base)})"
        for each in found.learned
    )
    return f" Of learned paths, S against conditional OT's: {told}."


def couplings(found: StraighteningResult) -> str:
    """What straightened the flow, and what that bought with few and with many evaluations."""
    base = found.outcome(INDEPENDENT)
    done = [each for each in found.outcomes if each.entrant not in (INDEPENDENT, "vp")]
    if base is None or not done:
        return f"{len(found.outcomes)} of {len(COUPLED)} trainings are through."
    s = base.straightness.deviation
    gains = ", ".join(
        f"{_coupled(each.entrant)} {_times_smaller(each.straightness.deviation, s)}"
        for each in done
    )
    text = f"Against independent pairs S is {gains}"
    cheap = [each for each in done if np.isfinite(each.quality[0])]
    if cheap and np.isfinite(base.quality[0]):
        one = min(cheap, key=lambda each: each.quality[0])
        moved = _moved(base.quality[0], one.quality[0])
        text += (
            f"; with {NFES[0]} evaluation the distance to data {moved} from {base.quality[0]:.2f} "
            f"to {one.quality[0]:.2f} with the best of them ({_coupled(one.entrant)})"
        )
    ends = [each for each in done if np.isfinite(each.limit)]
    if ends and np.isfinite(base.limit):
        best, slack = min(ends, key=lambda each: each.limit), 0.1 * base.limit
        if best.limit < base.limit - slack:
            end = f"in the limit {_coupled(best.entrant)} is better by more than a tenth"
        elif best.limit > base.limit + slack:
            end = "in the limit independent pairs are better by more than a tenth"
        else:
            end = "in the limit the best of them differs by less than a tenth"
        text += f"; **{end}** ({best.limit:.3f} against {base.limit:.3f})"
    return text + "."


def left_over(found: LeftResult) -> str:
    """What learned fields err by when the solver has all the evaluations it likes."""
    learned = [each for each in found.fields if each.name != EXACT]
    perfect = next((each for each in found.fields if each.name == EXACT), None)
    if not learned or perfect is None:
        return "No learned field is through yet."
    known = [each for each in learned if each.path != LEARNED]
    far = ", ".join(f"{_field(each)} {_mean(each.distance)}" for each in known)
    judged = [each for each in learned if np.isfinite(each.quality - perfect.quality).any()]
    worse = [_field(e) for e in judged if _compared(e.quality, perfect.quality) > 0]
    if worse:
        give = "gives" if len(worse) == 1 else "give"
        end = f"**{_listed(worse)} {give} worse samples than the exact flow from the same noise**"
    elif judged:
        end = "**none gives samples that can be told to be worse than the exact flow's**"
    else:
        end = "none of their samples could be judged"
    lost = [_field(e) for e in learned if not np.isfinite(e.quality - perfect.quality).any()]
    if judged and lost:
        end += f"; those of {_listed(lost)} could not be judged"
    off = f"Off the exact flow's ends by {far}: what" if known else "What"
    return f"{off} is left is learning, and {end}."


def unlimited(
    ends: EndpointsResult, straight: StraightnessResult, learned: LeftResult | None
) -> str:
    """The third claim, from exact fields and, if measured, from learned ones."""
    far = float(ends.floor[ends.paths.index("vp")])
    answer = "no" if far < AGREE else "not settled by this run"
    bent = _bent(
        *(straight.marginal[straight.paths.index(path)].deviation for path in ("ot", "vp"))
    )
    text = (
        f"Better with unlimited compute? For exact fields **{answer}**: VP diffusion ends "
        f"{_small(far)} from conditional OT; of the two marginal flows {bent}"
    )
    rows = [] if learned is None else [each for each in learned.fields if each.name != EXACT]
    by = {
        each.path: each
        for each in reversed(rows)
        if each.objective == "flow matching" and np.isfinite(each.distance).any()
    }
    if {"ot", "vp"} <= set(by):
        order = _compared(by["ot"].distance, by["vp"].distance)
        near = {-1: "conditional OT nearer", 0: "neither told nearer", 1: "VP diffusion nearer"}
        text += (
            f"; what training leaves is {_mean(by['ot'].distance)} on OT and "
            f"{_mean(by['vp'].distance)} on VP, {near[order]} to the truth"
        )
    return text + "."


def _apart(found: EndpointsResult, spec: str, matched: bool) -> str:
    """That a path ends elsewhere, and what is known of the reason."""
    if not np.isfinite(found.floor[found.paths.index(spec)]):
        return f"{_path(spec)} could not be followed"
    first = found.first_ratio[found.paths.index(spec)]
    if matched:
        why = "though it starts on the same way, so that the solve is left to explain it"
    elif first > found.first_ratio[0]:
        why = (
            f"it starts where there is data in the noise already (λ = {first:.2g}) as if there "
            "were none; the switch “Start every path on the way” shows what that makes"
        )
    else:
        why = "though it starts there, too, so that the solve is left to explain it"
    return f"{_path(spec)} does not ({why})"


def _least(values: Mapping[str, float], digits: str) -> list[str]:
    """The names of the smallest values; equal are those that print the same."""
    known = {name: value for name, value in values.items() if np.isfinite(value)}
    if len(known) < len(values) or not known:
        return []
    least = format(min(known.values()), digits)
    return [name for name, value in known.items() if format(value, digits) == least]


def _straightest(specs: Sequence[str]) -> str:
    is_, straight = ("is", "the straightest") if len(specs) == 1 else ("are", "equally straight")
    return f"{_listed([_path(spec) for spec in specs])} {is_} {straight}"


def _times_smaller(value: float, base: float) -> str:
    """How many times a number is smaller or larger than another, in words."""
    if not (np.isfinite([value, base]).all() and value > 0 and base > 0):
        return "not comparable"
    ratio = max(base / value, value / base)
    text = f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}"
    if text == "1.0":
        return "the same"
    return f"{text}× {'smaller' if value < base else 'larger'}"


def _moved(before: float, after: float) -> str:
    """The verb of a change, as far as two digits show it."""
    gap = round(float(after), 2) - round(float(before), 2)
    return "falls" if gap < 0 else "rises" if gap > 0 else "stays, rounded,"


def _bent(ot: float, vp: float) -> str:
    """Which of two marginal flows is further from straight, and how much."""
    if not np.isfinite([ot, vp]).all():
        return "not both are measured"
    if f"{ot:.3g}" == f"{vp:.3g}":
        return "neither is straighter"
    name = "VP diffusion's" if vp > ot else "conditional OT's"
    low, high = sorted((ot, vp))
    if low <= 0:
        return f"only {name} is not straight"
    return f"{name} is {high / low:.3g}× as far from straight"


def _measured(found: RaceResult, look: int) -> dict[str, NDArray]:
    """The quality (R,) at a look of each entrant of which all seeds have one."""
    rows = zip(found.entrants, found.quality[:, :, look], strict=True)
    return {name: row for name, row in rows if np.isfinite(row).all()}


def _through(found: SweepResult) -> NDArray:
    """Which trainings of a sweep have ended, (E, F)."""
    return np.isfinite(found.error) | np.isfinite(found.quality) | found.diverged


def _last(found: RaceResult) -> int | None:
    """The last look that all runs have come to, whether or not their samples could be had."""
    through = np.flatnonzero((np.isfinite(found.seconds)).all(axis=(0, 1)))
    return int(through[-1]) if len(through) else None


def _reached(found: RaceResult, look: int) -> str:
    """How much sooner OT was where VP flow matching is at this look."""
    ot, vp = (
        found.quality[found.entrants.index(name), :, : look + 1].mean(axis=0)
        for name in ("ot", "vp")
    )
    there = np.flatnonzero(ot <= vp[-1])
    if not len(there) or there[0] == look:
        return ""
    steps = found.steps[there[0]]
    return f" and was where that is now after {steps:,} ({found.steps[look] / steps:.1f}× sooner)"


def _compared(first: NDArray, second: NDArray) -> int:
    """-1 where the first is lower than the second, 1 where higher, 0 where that is not to be told.

    Both are of the same seeds, (R,). Of a single seed, 5 % of the second stand for the error.
    """
    gap = first - second
    gap = gap[np.isfinite(gap)]
    if not len(gap):
        return 0
    if len(gap) == 1:
        error = 0.05 * abs(float(np.nanmean(second)))
    else:
        error = APART[min(len(gap), max(APART))] * gap.std(ddof=1) / np.sqrt(len(gap))
    return 0 if abs(gap.mean()) <= error else int(np.sign(gap.mean()))


def _mean(values: NDArray) -> str:
    """The mean with its standard error, where there are several."""
    values = values[np.isfinite(values)]
    if not len(values):
        return "(lost)"
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{values.mean():.3f} ± {values.std(ddof=1) / np.sqrt(len(values)):.3f}"


def _borne(count: int, lrs: NDArray) -> str:
    if not count:
        return "none"
    return "all" if count == len(lrs) else f"up to {lrs[count - 1]:g}"


def _small(value: float) -> str:
    """A small number in words of powers of ten."""
    if not np.isfinite(value):
        return "(lost)"
    if value == 0 or value >= 1e-2:
        return f"{value:.2g}"
    digits, power = f"{value:.0e}".split("e")
    raised = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{digits}·10{raised}"


def _path(spec: str) -> str:
    return scheduler(spec).label


def _racer(name: str) -> str:
    return entrant(name).label


def _coupled(name: str) -> str:
    return COUPLED[name].label.split(", ")[1]


def _field(each: Left) -> str:
    return f"{_path(each.path)}, {each.objective}"


def _listed(names: Sequence[str]) -> str:
    *others, last = list(names)
    return f"{', '.join(others)} and {last}" if others else last
