"""Each sentence of the page on the three claims, in each of the ways that numbers can turn out."""

import re
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from flowviz.experiments.endpoints import EndpointsResult
from flowviz.experiments.evolution import EXACT
from flowviz.experiments.race import ENTRANTS, RaceResult, SweepResult, Targets
from flowviz.experiments.straightening import NFES, Outcome, StraighteningResult
from flowviz.experiments.unlimited import (
    LearnedStraightness,
    Left,
    LeftResult,
    StraightnessResult,
)
from flowviz.schedulers import scheduler
from flowviz.straightness import Straightness
from flowviz.ui.straighter import verdicts

NAMES = tuple(ENTRANTS)


def assert_plain(text):
    """A sentence with its end, and without what computers call a missing number."""
    assert text.endswith(".") and not re.search(r"\b(nan|inf)\b", text), text


def raced(ot, vp, *, others=0.4, looks=1, seeds=3):
    """A race whose runs scatter by 1 % about these qualities."""
    shape = (len(NAMES), seeds, looks)
    quality = np.full(shape, others)
    for name, value in (("ot", ot), ("vp", vp)):
        quality[NAMES.index(name)] = value
    quality = quality * (1 + 0.01 * np.arange(seeds)[:, None] / seeds)
    rest = {k: np.ones(shape) for k in ("seconds", "excess", "loss", "gradient")}
    error = np.full(shape, 0.5)
    return RaceResult(
        entrants=NAMES,
        steps=np.array([100, 400, 1600][:looks]),
        quality=quality,
        error=error,
        broken=np.zeros(shape[:2], dtype=np.int64),
        floor=0.1,
        step=1600,
        **rest,
    )


def swept(diverged):
    """A sweep over three rates; `diverged` says how many of the highest ones broke each."""
    marks = np.array([[k >= 3 - count for k in range(3)] for count in diverged])
    values = np.where(marks, np.nan, 0.5)
    return SweepResult(
        entrants=NAMES,
        lrs=np.array([0.01, 0.1, 1.0]),
        quality=values,
        error=values,
        diverged=marks,
        floor=0.1,
        share=1.0,
    )


class TestTraining:
    def test_targets_name_the_clearer_one_first(self):
        ones = np.ones((4, 5))
        found = Targets(
            entrants=NAMES,
            times=ones,
            size=ones * np.array([[2.0], [4.0], [12.0], [1.0]]),
            share=ones * np.array([[0.2], [0.6], [0.5], [0.5]]),
        )
        text = verdicts.targets(found)
        assert "60% of the velocity that a pair asks for on VP diffusion" in text
        assert "20% on conditional OT" in text and "12 for the score" in text

    @pytest.mark.parametrize(
        ("ot", "vp", "said", "claim"),
        [
            (0.2, 0.3, "conditional OT is ahead", "held"),
            (0.3, 0.2, "conditional OT is behind", "failed"),
            (0.3, 0.3, "cannot be told apart", "did not show"),
        ],
    )
    def test_race_says_who_is_ahead(self, ot, vp, said, claim):
        assert said in verdicts.race(raced(ot, vp))
        assert f"**{claim}**" in verdicts.training(raced(ot, vp), None)

    def test_race_says_how_much_sooner(self):
        found = raced(np.array([0.3, 0.2, 0.1]), np.array([0.9, 0.5, 0.25]), looks=3)
        assert "after 400 (4.0× sooner)" in verdicts.race(found)

    def test_race_of_one_seed_needs_five_percent(self):
        assert "cannot be told apart" in verdicts.race(raced(0.3, 0.31, seeds=1))
        assert "is ahead" in verdicts.race(raced(0.2, 0.31, seeds=1))

    def test_two_seeds_that_scatter_settle_nothing(self):
        found = raced(0.3, 0.33, seeds=2)
        found.quality[0, :, 0] = 0.27, 0.32
        assert "cannot be told apart" in verdicts.race(found)

    def test_race_that_has_not_begun_or_was_lost(self):
        nothing = raced(0.2, 0.3)
        unseen = replace(nothing, seconds=np.full_like(nothing.seconds, np.nan))
        assert verdicts.race(unseen) == "No run has been measured yet."
        assert "Not tried yet" in verdicts.training(unseen, None)
        lost = raced(np.nan, 0.3)
        assert "cannot be measured" in verdicts.race(lost)
        assert "cannot be measured" in verdicts.training(lost, None)

    @pytest.mark.parametrize(
        ("diverged", "said", "claim"),
        [
            ([0, 0, 0, 0], "None diverged at any learning rate", "none diverged at any of the 3"),
            ([1, 1, 1, 1], "All bear learning rates up to 0.1", "diverged at 1 of the 3"),
            ([3, 3, 3, 3], "All diverged at every learning rate", "diverged at 3 of the 3"),
            ([1, 2, 2, 2], "conditional OT bears the most", "broke flow matching, cond"),
            ([3, 2, 0, 2], "flow matching, conditional OT none", "broke score matching"),
        ],
    )
    def test_rates_say_which_are_borne(self, diverged, said, claim):
        assert said in verdicts.rates(swept(diverged))
        assert claim in verdicts.training(raced(0.2, 0.3), swept(diverged))

    @pytest.mark.parametrize("marks", list(product((False, True), repeat=6)))
    def test_rates_rank_by_the_first_that_broke(self, marks):
        """Of two entrants at three rates, whatever breaks: gaps and ties among them."""
        broke = np.array(marks).reshape(2, 3)
        found = replace(
            swept([0, 0, 0, 0]),
            entrants=NAMES[:2],
            diverged=broke,
            error=np.full((2, 3), np.nan),
            quality=np.where(broke, np.nan, 0.5),
        )
        text = verdicts.rates(found)
        borne = [next((k for k, b in enumerate(row) if b), 3) for row in broke]
        assert ("All diverged at every learning rate" in text) == broke.all()
        assert ("None diverged at any" in text) == (not broke.any())
        assert ("All diverged at the lowest" in text) == (borne == [0, 0] and not broke.all())
        for entrant, ours, theirs in zip(NAMES, borne, reversed(borne), strict=False):
            assert (f"**{ENTRANTS[entrant].label} bears the most" in text) == (ours > theirs)
        assert_plain(text)

    @pytest.mark.parametrize(
        ("standing", "said"),
        [
            ("", "Not tried yet"),
            ("waiting", "waits for its turn"),
            ("starting", "is running"),
            ("running", "is running"),
            ("cancelled", "was stopped before"),
            ("failed", "failed before"),
        ],
    )
    def test_training_says_how_the_race_stands(self, standing, said):
        assert said in verdicts.training(None, None, standing)
        begun = raced(0.2, 0.3, looks=3)
        nothing = replace(begun, seconds=np.full_like(begun.seconds, np.nan))
        assert said in verdicts.training(nothing, None, standing)
        half = begun.seconds.copy()
        half[:, :, 2] = np.nan
        text = verdicts.training(replace(begun, seconds=half), None, standing)
        assert "Not tried" not in text and "after 400 steps of 1,600 (" in text
        assert ("stopped there" in text) == (standing == "cancelled")

    @pytest.mark.parametrize("ot", [0.2, np.nan])
    @pytest.mark.parametrize("vp", [0.2, 0.3, np.nan])
    @pytest.mark.parametrize("others", [0.2, np.nan])
    @pytest.mark.parametrize("seeds", [1, 3])
    def test_what_was_lost_is_named(self, ot, vp, others, seeds):
        found = raced(ot, vp, others=others, seeds=seeds)
        found.error[0] = ot
        for text in (verdicts.race(found), verdicts.training(found)):
            assert ("cannot be measured" in text) >= np.isnan([ot, vp]).any()
            assert_plain(text)

    def test_rates_that_are_not_through(self):
        found = swept([1, 1, 1, 1])
        unseen = np.full_like(found.error, np.nan)
        found = replace(found, error=unseen, quality=unseen)
        assert verdicts.rates(found) == "4 of 12 trainings are through."


def measured(deviation, arc=1.1, displacement=1.0):
    return Straightness(
        deviation=deviation,
        displacement=displacement,
        energy=deviation + displacement,
        arc_over_chord=arc,
        acceleration=1.0,
        times=np.array([0.0, 1.0]),
        deviations=np.array([deviation, deviation]),
    )


def outcome(name, s, first, last):
    return Outcome(
        entrant=name,
        straightness=measured(s),
        nfe=np.array(NFES),
        quality=np.full(len(NFES), first),
        limit=last,
        limit_nfe=100,
        seconds=1.0,
    )


def straight(ot, vp, trig):
    """Marginal flows by (S, arc over chord); conditional OT is straight, the others are not."""
    return StraightnessResult(
        paths=("ot", "vp", "trig", "ve"),
        conditional=tuple(measured(s) for s in (0.0, 0.5, 0.4, 4.0)),
        marginal=tuple(measured(*each) for each in (ot, vp, trig, (9.0, 1.01))),
    )


def ended(vp, ve=0.001):
    paths = ("ot", "vp", "trig", "ve")
    floor = np.array([0.0, vp, 1e-8, ve])
    return EndpointsResult(
        paths=paths,
        start=np.zeros((2, 2)),
        ends=np.zeros((4, 2, 2)),
        converged_nfe=np.ones(4, dtype=int),
        floor=floor,
        first_ratio=np.array([0, 0.0066, 0, 0.04]),
        nfe=np.array([1]),
        distance=floor[:, None],
    )


class TestUnlimited:
    def test_endpoints_that_agree_and_that_do_not(self):
        assert "**all paths carry the same noise to the same data**" in verdicts.endpoints(
            ended(4e-4)
        )
        text = verdicts.endpoints(ended(4e-4, ve=0.08))
        assert "conditional OT, VP diffusion and trigonometric carry" in text
        assert "VE diffusion does not (it starts where there is data in the noise" in text
        assert "(λ = 0.04)" in text and "4·10⁻⁴" in text and "10⁻⁸" in text

    @pytest.mark.parametrize("matched", [False, True])
    @pytest.mark.parametrize("far", list(product((1e-6, 0.5, np.nan), repeat=3)))
    def test_endpoints_name_each_path_that_is_apart_and_a_cause_that_is_there(self, far, matched):
        found = replace(ended(0.0), floor=np.array([0.0, *far]))
        text = verdicts.endpoints(found, matched=matched)
        labels = [scheduler(spec).label for spec in found.paths[1:]]
        for label, d, first in zip(labels, far, found.first_ratio[1:], strict=True):
            assert (f"{label} could not be followed" in text) == bool(np.isnan(d))
            assert (f"{label} does not (" in text) == (d > 0.02)
            blamed = f"{label} does not (it starts where there is data in the noise already"
            assert (blamed in text) == (d > 0.02 and first > 0 and not matched)
        assert ("all paths carry" in text) == all(d < 0.02 for d in far)
        assert ("no other path ends where" in text) == (not any(d < 0.02 for d in far))
        assert_plain(text)

    def test_descriptions_for_who_cannot_see_follow_the_numbers(self):
        found = ended(0.5, ve=np.nan)
        found.distance[0, 0] = np.nan
        assert "VP diffusion 0.5, trigonometric 1·10⁻⁸, VE diffusion (lost)" in verdicts.distances(
            found
        )
        text = verdicts.falls(found)
        assert "conditional OT failed at every budget" in text
        assert "VP diffusion 0.5 at NFE 1 and 0.5 at NFE 1" in text

    @pytest.mark.parametrize(
        ("ot", "vp", "trig", "said"),
        [
            ((0.1, 1.0), (1, 1.1), (1, 1.1), "conditional OT is the straightest, pair by pair"),
            (
                (0.1, 1.2),
                (1, 1.1),
                (1, 1.15),
                "conditional OT is the straightest by S, and VP",
            ),
            (
                (2, 1.0),
                (1, 1.1),
                (3, 1.15),
                "VP diffusion is the straightest by S, and cond",
            ),
            (
                (2, 1.2),
                (3, 1.1),
                (1, 1.1),
                "by S, and VP diffusion and trigonometric are equally",
            ),
            ((2, 1.2), (3, 1.1), (1, 1.05), "as a whole trigonometric is the straightest**"),
            ((2, 1.1), (2, 1.1), (2, 1.1), "trigonometric are equally straight**"),
            ((np.nan, 1.1), (2, 1.1), (2, 1.1), "not all could be measured"),
        ],
    )
    def test_straightness_pair_by_pair_and_as_a_whole(self, ot, vp, trig, said):
        assert said in verdicts.straightness(straight(ot, vp, trig))

    def test_couplings_that_are_not_through(self):
        none = StraighteningResult(outcomes=(), floor=0.1, share=0.0, doing="")
        assert "0 of 5 trainings" in verdicts.couplings(none)
        only = replace(none, outcomes=(outcome("reflow-1", 1.0, 1.0, 1.0),))
        assert "1 of 5 trainings" in verdicts.couplings(only)

    @pytest.mark.parametrize("s", [0.02, 0.5, 2.0, 2.01, 6.0, 0.0, np.nan])
    @pytest.mark.parametrize("first", [0.5, 2.5, 3.5, np.nan])
    @pytest.mark.parametrize("limit", [0.1, 0.2, 0.3, np.nan])
    def test_couplings_say_what_is_bought(self, s, first, limit):
        base = outcome("independent", 2.0, 2.5, 0.2)
        found = StraighteningResult(
            outcomes=(base, outcome("minibatch-ot", s, first, limit)),
            floor=0.1,
            share=0.4,
            doing="",
        )
        text = verdicts.couplings(found)
        size = {0.02: "100× smaller", 0.5: "4.0× smaller", 6.0: "3.0× larger"}
        size |= {2.0: "the same", 2.01: "the same"}
        assert f"S is minibatch OT {size.get(s, 'not comparable')}" in text
        moves = {0.5: "falls from 2.50 to 0.50", 3.5: "rises from 2.50 to 3.50"}
        moves |= {2.5: "stays, rounded, from 2.50 to 2.50"}
        assert moves.get(first, "S is") in text and ("evaluation" in text) == (first in moves)
        ends = {0.1: "minibatch OT is better", 0.3: "independent pairs are better"}
        ends |= {0.2: "differs by less than a tenth"}
        assert ends.get(limit, "S is") in text and ("in the limit" in text) == (limit in ends)
        assert_plain(text)

    def test_learned_paths_are_told_beside_the_exact_flows(self):
        found = straight((2, 1.1), (4, 1.1), (1, 1.1))
        assert "learned" not in verdicts.straightness(found)
        bent = LearnedStraightness(
            name="a", method="bound alone", conditional=measured(1.0), marginal=measured(0.5)
        )
        told = verdicts.straightness(replace(found, learned=(bent,)))
        assert "bound alone 0.5 (4.0× smaller)" in told
        assert_plain(told)
        assert verdicts.learned_name(bent, [bent]) == "learned path, bound alone"
        alike = replace(bent, name="b")
        assert verdicts.learned_name(bent, [bent, alike]) == "learned path, bound alone (a)"
        assert "bound alone (b) 0.5" in verdicts.straightness(
            replace(found, learned=(bent, alike))
        )

    def test_left_over_says_whose_samples_are_worse(self):
        def field(name, path, distance, quality):
            objective = "" if name == EXACT else "flow matching"
            scatter = 1 + 0.01 * np.arange(3)
            return Left(
                name=name,
                path=path,
                objective=objective,
                distance=distance * scatter,
                quality=quality * scatter,
            )

        exact = field(EXACT, "ot", 0.0, 0.4)
        ot, vp = field("a-ot", "ot", 0.05, 0.4), field("a-vp", "vp", 0.1, 0.6)
        found = LeftResult(fields=(exact,), floor=0.4, share=0.0)
        assert "No learned field" in verdicts.left_over(found)
        fine = verdicts.left_over(replace(found, fields=(exact, ot)))
        assert "none gives samples that can be told to be worse" in fine
        whole = replace(found, fields=(exact, ot, vp))
        assert "**VP diffusion, flow matching gives worse" in verdicts.left_over(whole)
        lost = field("a-vp", "vp", np.nan, np.nan)
        for fields in ((exact, lost), (exact, ot, lost), (lost,), (exact, vp, vp)):
            assert_plain(verdicts.left_over(replace(found, fields=fields)))
        part = verdicts.left_over(replace(found, fields=(exact, ot, lost)))
        assert "those of VP diffusion, flow matching could not be judged" in part
        assert "none of their samples could be judged" in verdicts.left_over(
            replace(found, fields=(exact, lost))
        )
        assert "flow matching give worse" in verdicts.left_over(
            replace(found, fields=(exact, vp, vp))
        )
        bent = replace(field("a-learned", "learned", np.nan, 0.6), objective="bound alone")
        told = verdicts.left_over(replace(found, fields=(exact, ot, bent)))
        assert "(lost)" not in told, "a learned path's distance is not lost but not known"
        assert "learned path, bound alone gives worse" in told
        assert_plain(verdicts.left_over(replace(found, fields=(exact, bent))))
        run = ended(4e-4), straight((2, 1.1), (4, 1.1), (1, 1.1))
        assert "conditional OT nearer" in verdicts.unlimited(*run, whole)
        assert "training leaves" not in verdicts.unlimited(
            *run, replace(found, fields=(exact, ot, lost))
        )
        assert "neither told nearer" in verdicts.unlimited(
            *run, replace(found, fields=(exact, ot, replace(vp, distance=ot.distance)))
        )

    @pytest.mark.parametrize(
        ("vp", "s", "said"),
        [
            (4e-4, 4, "**no**: VP diffusion ends 4·10⁻⁴ from"),
            (4e-4, 4, "VP diffusion's is 2× as far from straight"),
            (4e-4, 1, "conditional OT's is 2× as far from straight"),
            (4e-4, 2, "neither is straighter"),
            (4e-4, 0, "only conditional OT's is not straight"),
            (4e-4, np.nan, "not both are measured"),
            (np.nan, 4, "**not settled by this run**: VP diffusion ends (lost)"),
            (0.3, 4, "**not settled by this run**"),
        ],
    )
    def test_unlimited_answers(self, vp, s, said):
        text = verdicts.unlimited(ended(vp), straight((2, 1.1), (s, 1.1), (1, 1.1)), None)
        assert said in text
