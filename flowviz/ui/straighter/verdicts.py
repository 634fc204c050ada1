"""What a run shows, in one sentence each, computed from its numbers; Markdown."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from flowviz.experiments.endpoints import EndpointsResult
from flowviz.experiments.evolution import EXACT
from flowviz.experiments.race import ENTRANTS as RACERS
from flowviz.experiments.race import RaceResult, SweepResult, Targets
from flowviz.experiments.straightening import ENTRANTS as COUPLED
from flowviz.experiments.straightening import INDEPENDENT, NFES, StraighteningResult
from flowviz.experiments.unlimited import Left, LeftResult, StraightnessResult
from flowviz.schedulers import scheduler

__all__ = [
    "couplings",
    "endpoints",
    "left_over",
    "race",
    "rates",
    "sampling",
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

CLAIMED = 0.6
"""OT's evaluations against those of diffusion in Lipman et al. 2022, section 6.2."""


def targets(found: Targets) -> str:
    """What the regression targets of the four objectives say, without training."""
    share = dict(zip(found.entrants, found.share.mean(axis=1), strict=True))
    size = dict(zip(found.entrants, found.size.max(axis=1), strict=True))
    clear, dim = sorted(("ot", "vp"), key=lambda name: -share[name])
    return (
        f"Over time, $x_t$ determines **{share[clear]:.0%} of the velocity that a pair asks for "
        f"on {_path(clear)} and {share[dim]:.0%} on {_path(dim)}**: the rest is noise in every "
        f"gradient; the network must reach a size of {size['ot']:.2g} for the velocity on "
        f"conditional OT, {size['vp']:.2g} on VP diffusion, {size['vp-noise']:.2g} for the noise "
        f"and {size['vp-score']:.2g} for the score."
    )


def race(found: RaceResult) -> str:
    """Who learned faster, by the last look that all runs have come to."""
    look = _last(found)
    if look is None:
        return "No run has been measured yet."
    last = {
        name: found.quality[e, :, look]
        for e, name in enumerate(found.entrants)
        if np.isfinite(found.quality[e, :, look]).all()
    }
    if not {"ot", "vp"} <= set(last):
        return (
            f"After {found.steps[look]:,} steps the samples of "
            f"{_listed(_lost(found, last))} cannot be measured."
        )
    ranked = ", ".join(f"{_racer(name)} {_mean(last[name])}" for name in last)
    order = _compared(last["ot"], last["vp"])
    sooner = _reached(found, look)
    told = {
        -1: f"conditional OT is ahead of VP diffusion under flow matching{sooner}",
        0: "conditional OT and VP diffusion under flow matching differ by less than the seeds do",
        1: "conditional OT is behind VP diffusion under flow matching",
    }[order]
    errors = {
        name: found.error[found.entrants.index(name), :, look].mean() for name in ("ot", "vp")
    }
    return (
        f"After {found.steps[look]:,} steps the distance to data is {ranked}, with "
        f"{found.floor:.3f} between two sets of data: **{told}**; the learned field is off the "
        f"exact one by {errors['ot']:.0%} of the velocity on conditional OT and "
        f"{errors['vp']:.0%} on VP diffusion."
    )


def rates(found: SweepResult) -> str:
    """Which learning rates each entrant bears."""
    tried = np.isfinite(found.error) | found.diverged
    if not tried.all():
        return f"{tried.sum()} of {tried.size} trainings are through."
    bears = {}
    for e, name in enumerate(found.entrants):
        broke = np.flatnonzero(found.diverged[e])
        bears[name] = found.lrs[broke[0] - 1] if len(broke) and broke[0] else None
        if not len(broke):
            bears[name] = np.inf
    if all(rate == np.inf for rate in bears.values()):
        return f"None of the four diverged up to a learning rate of {found.lrs[-1]:g}."
    limits = set(bears.values())
    if len(limits) == 1:
        (limit,) = limits
        if limit is None:
            return f"All four diverged at every learning rate from {found.lrs[0]:g} on."
        return (
            f"All four bear a learning rate of {limit:g} and diverge at the next that was tried: "
            "**on this data the straighter path is not the more stable one**, nor the less."
        )
    told = "; ".join(f"{_racer(name)} {_borne(limit)}" for name, limit in bears.items())
    most = max(bears, key=lambda name: bears[name] or 0.0)
    return f"Which learning rates they bear differs ({told}): **most has {_racer(most)}**."


def training(found: RaceResult | None, swept: SweepResult | None) -> str:
    """The first claim, from what has been run."""
    look = None if found is None else _last(found)
    if found is None or look is None:
        return "Not tried yet: start the race above."
    ot, vp = (found.quality[found.entrants.index(name), :, look] for name in ("ot", "vp"))
    if not (np.isfinite(ot).all() and np.isfinite(vp).all()):
        return "Samples of this run left the plane, so that it says nothing of speed."
    order = _compared(ot, vp)
    faster = {-1: "held", 0: "did not show", 1: "failed"}[order]
    stable = ""
    if swept is not None and (np.isfinite(swept.error) | swept.diverged).all():
        count = swept.diverged.sum(axis=1)
        of = dict(zip(swept.entrants, count.tolist(), strict=True))
        least = _listed([_racer(name) for name in of if of[name] == min(of.values())])
        stable = (
            ", and all four diverged at as many learning rates"
            if len(set(of.values())) == 1
            else f", and the fewest learning rates broke {least}"
        )
    return (
        f"“Trains faster” **{faster}** in this run: after {found.steps[look]:,} steps conditional "
        f"OT stands {_mean(ot)} from the data and VP diffusion {_mean(vp)} under the same "
        f"objective{stable}."
    )


def sampling(
    rows: Sequence[tuple[str, float | None, float | None]], goal: str, solver: str
) -> str:
    """The second claim, from the NFE of OT and VP on each data set; None where not reached."""
    both = [(ot, vp) for _, ot, vp in rows if ot is not None and vp is not None]
    only = [name for name, ot, vp in rows if ot is not None and vp is None]
    if not both:
        if only:
            return f"With {solver}, only conditional OT arrives at {goal} ({_listed(only)})."
        return f"With {solver}, no data set had both paths arrive at {goal} yet."
    ratios = np.array([ot / vp for ot, vp in both])
    fewer, median = int((ratios < 1).sum()), float(np.median(ratios))
    holds = "holds" if fewer == len(ratios) else "holds on some" if fewer else "fails"
    beside = "less than" if median < CLAIMED else "more than"
    beside = "about" if abs(median - CLAIMED) < 0.1 else beside
    return (
        f"“Samples faster” **{holds}** here: with {solver}, conditional OT needs fewer "
        f"evaluations than VP diffusion for {goal} on {fewer} of {len(ratios)} data sets, "
        f"{median:.0%} of them at the median, {beside} the paper's {CLAIMED:.0%}."
    )


def endpoints(found: EndpointsResult) -> str:
    """Where the exact flows of all paths end."""
    others = dict(zip(found.paths, found.floor, strict=True))
    first = found.paths[0]
    off = {spec: d for spec, d in others.items() if spec != first}
    told = ", ".join(f"{_path(spec)} {_small(d)}" for spec, d in off.items())
    worst = max(off, key=off.get)
    if off[worst] < AGREE:
        end = "**all paths carry the same noise to the same data**"
    else:
        same = [spec for spec, d in off.items() if d < AGREE]
        end = (
            f"**{_listed([_path(s) for s in (first, *same)])} carry the same noise to the same "
            f"data**; {_path(worst)} starts where there is data in the noise already (λ = "
            f"{found.first_ratio[found.paths.index(worst)]:.2g}) and is started as if there were "
            "none, which is all that it differs by"
        )
    return (
        f"Solved to the end, the ends are off those of {_path(first)} by {told} (root mean "
        f"square), so that {end}."
    )


def straightness(found: StraightnessResult) -> str:
    """Whether the path of the straightest conditional flows has the straightest marginal one."""
    pick = [p for p in found.paths if p != "ve"]
    alone = {p: found.conditional[found.paths.index(p)].relative for p in pick}
    whole = {p: found.marginal[found.paths.index(p)] for p in pick}
    by_s = min(whole, key=lambda p: whole[p].deviation)
    by_arc = min(whole, key=lambda p: whole[p].arc_over_chord)
    straight = min(alone, key=alone.get)
    numbers = ", ".join(
        f"{_path(p)} S = {whole[p].deviation:.3g}, arc/chord {whole[p].arc_over_chord:.3f}"
        for p in pick
    )
    if straight == by_s == by_arc:
        end = f"**{_path(straight)} is the straightest, pair by pair and as a whole**"
    elif straight in (by_s, by_arc):
        other = by_arc if straight == by_s else by_s
        what = "S" if straight == by_s else "the bends"
        end = f"**pair by pair {_path(straight)} is straightest, as a whole only by {what}**"
        end += f"; by {'the bends' if what == 'S' else 'S'} it is {_path(other)}"
    else:
        also = "" if by_s == by_arc else f" (by the bends alone {_path(by_arc)})"
        end = (
            f"**pair by pair {_path(straight)} is straightest, as a whole it is not: "
            f"{_path(by_s)} is**{also}"
        )
    return f"Of the marginal flows, {numbers}: {end}."


def couplings(found: StraighteningResult) -> str:
    """What straightened the flow, and what that bought with few and with many evaluations."""
    base = found.outcome(INDEPENDENT)
    done = [each for each in found.outcomes if each.entrant not in (INDEPENDENT, "vp")]
    if base is None or not done:
        return f"{len(found.outcomes)} of {len(COUPLED)} trainings are through."
    gains = ", ".join(
        f"{COUPLED[each.entrant].label.split(', ')[1]} {found.gain(each.entrant):.0f}×"
        for each in done
    )
    one = min(done, key=lambda each: each.quality[0])
    limit = min((each for each in done), key=lambda each: each.limit)
    slack = 0.1 * base.limit
    if limit.limit < base.limit - slack:
        end = f"in the limit {_coupled(limit.entrant)} is better, too"
    elif limit.limit > base.limit + slack:
        end = "in the limit all of them are worse"
    else:
        end = "in the limit they buy next to nothing"
    return (
        f"S falls against independent pairs by {gains}; with {NFES[0]} evaluation the distance to "
        f"data falls from {base.quality[0]:.2f} to {one.quality[0]:.2f} "
        f"({_coupled(one.entrant)}), and **{end}** ({limit.limit:.3f} against {base.limit:.3f})."
    )


def left_over(found: LeftResult) -> str:
    """What learned fields err by when the solver has all the evaluations it likes."""
    learned = [each for each in found.fields if each.name != EXACT]
    if not learned:
        return "No learned field is through yet."
    perfect = next(each for each in found.fields if each.name == EXACT)
    far = ", ".join(f"{_field(each)} {_mean(each.distance)}" for each in learned)
    worse = [_field(e) for e in learned if _compared(e.quality, perfect.quality) > 0]
    end = (
        f"**{_listed(worse)} gives worse samples than the exact flow from the same noise**"
        if worse
        else "**none gives samples that can be told to be worse than the exact flow's**"
    )
    return f"Off the exact flow's ends by {far}: what is left is learning, and {end}."


def unlimited(
    ends: EndpointsResult, straight: StraightnessResult, learned: LeftResult | None
) -> str:
    """The third claim, from exact fields and, if measured, from learned ones."""
    far = float(ends.floor[ends.paths.index("vp")])
    answer = "no" if far < AGREE else "not settled by this run"
    ratio = straight.marginal[straight.paths.index("vp")].deviation / (
        straight.marginal[straight.paths.index("ot")].deviation or np.inf
    )
    bent = (
        f"VP diffusion's flow is {ratio:.1f}× as far from straight"
        if ratio >= 1
        else f"conditional OT's flow is {1 / ratio:.1f}× as far from straight"
    )
    text = (
        f"Better with unlimited compute? For exact fields **{answer}**: VP diffusion ends "
        f"{_small(far)} from conditional OT, though {bent}"
    )
    rows = [] if learned is None else [each for each in learned.fields if each.name != EXACT]
    by = {each.path: each for each in reversed(rows) if each.objective == "flow matching"}
    if {"ot", "vp"} <= set(by):
        order = _compared(by["ot"].distance, by["vp"].distance)
        near = {-1: "conditional OT nearer", 0: "neither nearer", 1: "VP diffusion nearer"}[order]
        text += (
            f"; what training leaves is {_mean(by['ot'].distance)} on OT and "
            f"{_mean(by['vp'].distance)} on VP, {near} to the truth"
        )
    return text + "."


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


def _lost(found: RaceResult, there: Mapping[str, NDArray]) -> list[str]:
    return [_racer(name) for name in found.entrants if name not in there]


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


def _borne(limit: float | None) -> str:
    if limit is None:
        return "none"
    return "all" if limit == np.inf else f"up to {limit:g}"


def _small(value: float) -> str:
    """A small number in words of powers of ten."""
    if value == 0 or value >= 1e-2:
        return f"{value:.2g}"
    power = int(np.floor(np.log10(value)))
    raised = str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{value / 10**power:.0f}·10{raised}"


def _path(spec: str) -> str:
    return scheduler(spec).label


def _racer(name: str) -> str:
    return RACERS[name].label


def _coupled(name: str) -> str:
    return COUPLED[name].label.split(", ")[1]


def _field(each: Left) -> str:
    return f"{_path(each.path)}, {each.objective}"


def _listed(names: Sequence[str]) -> str:
    *others, last = list(names)
    return f"{', '.join(others)} and {last}" if others else last
