"""Each finding on the three claims, for each possible outcome of the numbers."""

import re
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from flowviz.experiments.race import ENTRANTS, Target
from flowviz.experiments.straightening import NFES, Outcome
from flowviz.experiments.unlimited import FlowStraightness
from flowviz.schedulers import scheduler
from flowviz.straightness import Straightness
from flowviz.studies import STUDIES
from flowviz.studies.couplings import CouplingsResult
from flowviz.studies.endpoints import EndpointsResult
from flowviz.studies.learning_rates import RatesResult
from flowviz.studies.left_over import LeftOver, LeftOverResult
from flowviz.studies.race import RaceResult
from flowviz.studies.straightness import StraightnessResult
from flowviz.studies.targets import TargetsResult

NAMES = tuple(ENTRANTS)


def assert_plain(text):
    """The text ends with a full stop and does not contain nan or inf."""
    assert text.endswith(".") and not re.search(r"\b(nan|inf)\b", text), text


def findings(study, result, **config):
    """The findings of a study on a result by lead, each checked by `assert_plain`."""
    study = STUDIES[study]
    found = study.say(study.config(**config), result)
    for each in found:
        assert_plain(each.text)
    return {each.lead: each for each in found}


def raced(ot, vp, *, others=0.4, looks=1, seeds=3):
    """A race whose runs scatter by 1% about these qualities."""
    shape = (len(NAMES), seeds, looks)
    quality = np.full(shape, others)
    for name, value in (("ot", ot), ("vp", vp)):
        quality[NAMES.index(name)] = value
    quality = quality * (1 + 0.01 * np.arange(seeds)[:, None] / seeds)
    rest = {k: np.ones(shape) for k in ("seconds", "excess", "loss", "gradient")}
    return RaceResult(
        entrants=NAMES,
        steps=np.array([100, 400, 1600][:looks]),
        quality=quality,
        error=np.full(shape, 0.5),
        done=np.ones(shape[:2], dtype=bool),
        floor=0.1,
        **rest,
    )


def swept(diverged):
    """A sweep over three rates; each entrant diverges at its `diverged` highest rates."""
    marks = np.array([[k >= 3 - count for k in range(3)] for count in diverged])
    values = np.where(marks, np.nan, 0.5)
    return RatesResult(
        entrants=NAMES,
        lrs=np.array([0.01, 0.1, 1.0]),
        quality=values,
        error=values,
        diverged=marks,
        done=np.ones_like(marks),
        floor=0.1,
    )


class TestTraining:
    def test_targets_name_the_better_determined_one_first(self):
        ones = np.ones(5)
        numbers = zip(NAMES, (0.2, 0.6, 0.5, 0.5), (2.0, 4.0, 12.0, 1.0), strict=True)
        found = TargetsResult(
            targets={
                name: Target(times=ones, share=share * ones, size=size * ones)
                for name, share, size in numbers
            }
        )
        texts = findings("targets", found)
        assert "60% of the velocity on VP diffusion and 20%" in texts["Noise in the target"].text
        assert "12 for the score" in texts["Size"].text

    @pytest.mark.parametrize(
        ("ot", "vp", "words", "verdict"),
        [
            (0.2, 0.3, "confirmed in this run", "supported"),
            (0.3, 0.2, "not confirmed in this short run", "not supported"),
            (0.3, 0.3, "this short run does not decide it", "undecided"),
        ],
    )
    def test_race_names_the_better_entrant(self, ot, vp, words, verdict):
        claim = findings("race", raced(ot, vp))["Trains faster"]
        assert claim.text.startswith(words) and claim.verdict == verdict

    def test_race_states_the_ratio_of_steps(self):
        found = raced(np.array([0.3, 0.2, 0.1]), np.array([0.9, 0.5, 0.25]), looks=3)
        texts = findings("race", found)
        assert "after 400 steps, 4.0× sooner" in texts["Trains faster"].text
        assert "closest to the data" in texts["After 1,600 steps"].text

    def test_race_of_one_seed_needs_five_percent(self):
        claim = findings("race", raced(0.3, 0.31, seeds=1))["Trains faster"]
        assert claim.verdict == "undecided" and "VP diffusion is less than 5%" in claim.text
        assert findings("race", raced(0.2, 0.31, seeds=1))["Trains faster"].verdict == "supported"

    def test_two_seeds_with_a_large_spread_are_undecided(self):
        found = raced(0.3, 0.33, seeds=2)
        found.quality[0, :, 0] = 0.27, 0.32
        claim = findings("race", found)["Trains faster"]
        assert claim.verdict == "undecided" and "paired t test over 2 seeds (±" in claim.text

    def test_part_of_a_race_states_its_progress(self):
        whole = raced(0.2, 0.3)
        done = whole.done.copy()
        done[1:] = False
        part = replace(whole, done=done, quality=np.where(done[..., None], whole.quality, np.nan))
        texts = findings("race", part)
        assert texts["So far"].text == "3 of 12 runs are done."
        assert "Trains faster" not in texts and "Not measured" not in texts

    @pytest.mark.parametrize(
        ("diverged", "words", "verdict"),
        [
            ([0, 0, 0, 0], "no entrant diverges at any learning rate", "undecided"),
            ([1, 1, 1, 1], "all entrants train up to a learning rate of 0.1", "undecided"),
            ([3, 3, 3, 3], "all entrants diverge at every learning rate", "undecided"),
            ([1, 2, 2, 2], "conditional OT has the widest range", "supported"),
            ([3, 2, 0, 2], "flow matching, conditional OT: none", "not supported"),
            ([1, 1, 2, 2], "VP diffusion have the widest range", "undecided"),
        ],
    )
    def test_rates_name_those_without_divergence(self, diverged, words, verdict):
        claim = findings("learning-rates", swept(diverged))["More stable"]
        assert words in claim.text and claim.verdict == verdict

    @pytest.mark.parametrize("marks", list(product((False, True), repeat=6)))
    def test_rates_rank_by_the_first_divergence(self, marks):
        """All cases of divergence of two entrants at three rates, with gaps and ties."""
        failed = np.array(marks).reshape(2, 3)
        found = replace(
            swept([0, 0, 0, 0]),
            entrants=NAMES[:2],
            diverged=failed,
            done=np.ones_like(failed),
            error=np.full((2, 3), np.nan),
            quality=np.where(failed, np.nan, 0.5),
        )
        claim = findings("learning-rates", found)["More stable"]
        usable = [next((k for k, b in enumerate(row) if b), 3) for row in failed]
        assert list(found.usable) == usable
        assert ("diverge at every learning rate" in claim.text) == failed.all()
        assert ("no entrant diverges at any" in claim.text) == (not failed.any())
        lowest = "diverge at the lowest" in claim.text
        assert lowest == (usable == [0, 0] and not failed.all())
        for entrant, own, other in zip(NAMES, usable, reversed(usable), strict=False):
            widest = f"{ENTRANTS[entrant].label} has the widest range" in claim.text
            assert widest == (own > other)
        ranks = {1: "supported", 0: "undecided", -1: "not supported"}
        assert claim.verdict == ranks[np.sign(usable[0] - usable[1])]

    @pytest.mark.parametrize("ot", [0.2, np.nan])
    @pytest.mark.parametrize("vp", [0.2, 0.3, np.nan])
    @pytest.mark.parametrize("others", [0.2, np.nan])
    @pytest.mark.parametrize("seeds", [1, 3])
    def test_runs_without_a_measurement_are_named(self, ot, vp, others, seeds):
        found = raced(ot, vp, others=others, seeds=seeds)
        texts = findings("race", found)
        assert ("Not measured" in texts) == np.isnan([ot, vp, others]).any()
        lost = np.isnan([ot, vp]).any()
        assert ("does not compare the speeds" in texts["Trains faster"].text) == lost
        if lost:
            assert texts["Trains faster"].verdict == "undecided"
        assert "nan" not in str(STUDIES["race"].summarise(STUDIES["race"].config(), found).rows)

    def test_rates_of_an_unfinished_sweep(self):
        found = swept([1, 1, 1, 1])
        found = replace(found, done=found.diverged)
        assert findings("learning-rates", found)["So far"].text == "4 of 12 trainings are done."


def measured(deviation, arc=1.1, displacement=1.0):
    return Straightness(
        deviation=deviation,
        error=0.01,
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
        floor=0.1,
        seconds=1.0,
    )


def straight(ot, vp, trig):
    """Marginal flows by (S, arc over chord); conditional OT is straight, the others are not."""
    rows = zip(
        ("ot", "vp", "trig", "ve"), (0.0, 0.5, 0.4, 4.0), (ot, vp, trig, (9, 1.01)), strict=True
    )
    return StraightnessResult(
        flows=tuple(
            FlowStraightness(
                name=f"exact:moons/{path}",
                path=path,
                method="",
                conditional=measured(pairs),
                marginal=measured(*whole),
            )
            for path, pairs, whole in rows
        )
    )


def ended(vp, ve=0.001):
    floor = np.array([0.0, vp, 1e-8, ve])
    return EndpointsResult(
        paths=("ot", "vp", "trig", "ve"),
        start=np.zeros((2, 2)),
        ends=np.zeros((4, 2, 2)),
        floor=floor,
        first_ratio=np.array([0, 0.0066, 0, 0.04]),
        nfe=np.array([1]),
        distance=floor[:, None],
    )


class TestUnlimited:
    def test_endpoints_that_agree_and_that_do_not(self):
        texts = findings("endpoints", ended(4e-4))
        assert "trigonometric and VE diffusion carry the same noise" in texts["Same ends"].text
        texts = findings("endpoints", ended(4e-4, ve=0.08))
        assert "conditional OT, VP diffusion and trigonometric carry" in texts["Same ends"].text
        assert "4·10⁻⁴" in texts["Same ends"].text and "10⁻⁸" in texts["Same ends"].text
        assert "Its first state has a little data in the noise" in texts["VE diffusion"].text
        assert "(α/σ = 0.04)" in texts["VE diffusion"].text

    @pytest.mark.parametrize("matched", [False, True])
    @pytest.mark.parametrize("far", list(product((1e-6, 0.5, np.nan), repeat=3)))
    def test_endpoints_name_each_path_with_other_ends_and_the_cause(self, far, matched):
        found = replace(ended(0.0), floor=np.array([0.0, *far]))
        texts = findings("endpoints", found, matched=matched)
        for spec, d, first in zip(found.paths[1:], far, found.first_ratio[1:], strict=True):
            label = scheduler(spec).label
            assert (label in texts) == (not d < 0.02)
            if label in texts:
                assert ("solver failed" in texts[label].text) == bool(np.isnan(d))
                blamed = "a little data in the noise" in texts[label].text
                assert blamed == (d > 0.02 and first > 0 and not matched)
        assert ("Same ends" in texts) == any(d < 0.02 for d in far)
        claim = texts["Better with unlimited compute"]
        assert claim.verdict == ("not supported" if far[0] < 0.02 else "undecided")

    def test_text_alternatives_of_figures_follow_the_numbers(self):
        found = ended(0.5, ve=np.nan)
        found.distance[0, 0] = np.nan
        study = STUDIES["endpoints"]
        ends, distance = study.draw(study.config(), found)
        assert "0.5 (VP diffusion), 1·10⁻⁸ (trigonometric), (failed) (VE diffusion)" in ends.alt
        assert "conditional OT failed with every number of evaluations" in distance.alt
        assert "VP diffusion 0.5 at NFE 1 and 0.5 at NFE 1" in distance.alt

    @pytest.mark.parametrize(
        ("ot", "vp", "trig", "by_s", "by_bends", "verdict"),
        [
            ((0.1, 1.0), (1, 1.1), (1, 1.1), "conditional OT", "conditional OT", "supported"),
            ((0.1, 1.2), (1, 1.1), (1, 1.15), "conditional OT", "VP diffusion", "supported"),
            ((2, 1.0), (1, 1.1), (3, 1.15), "VP diffusion", "conditional OT", "not supported"),
            (
                (2, 1.2),
                (3, 1.1),
                (1, 1.1),
                "trigonometric",
                "VP diffusion and trigonometric",
                "not supported",
            ),
            ((2, 1.2), (3, 1.1), (1, 1.05), "trigonometric", "trigonometric", "not supported"),
            (
                (2, 1.1),
                (2, 1.1),
                (2, 1.1),
                "conditional OT, VP diffusion and trigonometric",
                "conditional OT, VP diffusion and trigonometric",
                "undecided",
            ),
        ],
    )
    def test_straightness_pair_by_pair_and_as_a_whole(self, ot, vp, trig, by_s, by_bends, verdict):
        texts = findings("straightness", straight(ot, vp, trig))
        assert texts["Pair by pair"].text.startswith("conditional OT has the straightest")
        assert re.match(f"{by_s} ha(s|ve) ", texts["As a whole, by S"].text)
        assert re.match(f"{by_bends} ha(s|ve) ", texts["As a whole, by bends"].text)
        assert texts["Straightest pairs, straightest flow"].verdict == verdict

    def test_straightness_that_could_not_be_measured(self):
        study = STUDIES["straightness"]
        result = straight((np.nan, 1.1), (2, 1.1), (2, 1.1))
        texts = {each.lead: each.text for each in study.say(study.config(), result)}
        assert "not every path could be measured" in texts["As a whole, by S"]
        assert "Straightest pairs, straightest flow" not in texts

    @pytest.mark.parametrize(
        ("vp", "words"),
        [(4, "2.0× larger than"), (1, "2.0× smaller than"), (2, "the same as"), (0, "comparable")],
    )
    def test_straightness_compares_vp_with_ot(self, vp, words):
        texts = findings("straightness", straight((2, 1.1), (vp, 1.1), (1, 1.1)))
        assert words in texts["Straightest pairs, straightest flow"].text

    def test_unfinished_couplings(self):
        only = CouplingsResult(outcomes=(outcome("reflow-1", 1.0, 1.0, 1.0),))
        texts = findings("couplings", only)
        assert texts["So far"].text == "1 of 7 trainings are done."
        assert "The coupling straightens the flow" not in texts

    @pytest.mark.parametrize("s", [0.02, 0.5, 2.0, 2.01, 6.0, 0.0, np.nan])
    @pytest.mark.parametrize("first", [0.5, 2.5, 3.5, np.nan])
    @pytest.mark.parametrize("limit", [0.1, 0.2, 0.3, np.nan])
    def test_couplings_state_the_gain(self, s, first, limit):
        base = outcome("independent", 2.0, 2.5, 0.2)
        found = CouplingsResult(outcomes=(base, outcome("minibatch-ot", s, first, limit)))
        texts = findings("couplings", found)
        gain = texts["The coupling straightens the flow"]
        size = {0.02: "100× smaller", 0.5: "4.0× smaller", 6.0: "3.0× larger"}
        size |= {2.0: "the same", 2.01: "the same"}
        assert f"S is {size.get(s, 'not comparable')} with minibatch OT" in gain.text
        known = {0.02: "supported", 0.5: "supported", 0.0: "supported"}
        assert gain.verdict == ("undecided" if np.isnan(s) else known.get(s, "not supported"))
        moves = {0.5: "falls from 2.50 to 0.50", 3.5: "rises from 2.50 to 3.50"}
        moves |= {2.5: "stays from 2.50 to 2.50"}
        assert ("With 1 evaluation" in texts) == (first in moves)
        if first in moves:
            assert moves[first] in texts["With 1 evaluation"].text
        ends = {0.1: "minibatch OT is better", 0.3: "independent pairs are better"}
        ends |= {0.2: "differ by less than a tenth"}
        assert ("In the limit" in texts) == (limit in ends)
        if limit in ends:
            assert ends[limit] in texts["In the limit"].text

    def test_learned_paths_are_named_next_to_the_exact_flows(self):
        found = straight((2, 1.1), (4, 1.1), (1, 1.1))
        assert "Learned paths" not in findings("straightness", found)
        learned = FlowStraightness(
            name="a",
            path="learned",
            method="bound alone",
            conditional=measured(1.0),
            marginal=measured(0.5),
        )
        one = replace(found, flows=(*found.flows, learned))
        texts = findings("straightness", one)
        assert "0.5 for bound alone (4.0× smaller)" in texts["Learned paths"].text
        assert one.label(learned) == "learned path, bound alone"
        alike = replace(learned, name="b")
        both = replace(found, flows=(*found.flows, learned, alike))
        assert both.label(learned) == "learned path, bound alone (a)"
        assert "0.5 for bound alone (b)" in findings("straightness", both)["Learned paths"].text

    def test_left_over_names_the_network_with_worse_samples(self):
        def field(name, path, distance, quality, method="flow matching"):
            scatter = 1 + 0.01 * np.arange(3)
            return LeftOver(
                name=name,
                path=path,
                method=method,
                distance=distance * scatter,
                quality=quality * scatter,
            )

        exact = field("exact:a/ot", "ot", 0.0, 0.4, "")
        ot, vp = field("a-ot", "ot", 0.05, 0.4), field("a-vp", "vp", 0.1, 0.6)

        def say(*fields):
            return findings("left-over", LeftOverResult(exact=exact, fields=fields, floor=0.4))

        left = "What is left"
        assert "no network gives measurably worse samples" in say(ot)[left].text
        assert say(ot, vp)[left].text.startswith("VP diffusion with flow matching gives worse")
        lost = field("a-vp", "vp", np.nan, np.nan)
        assert "failed for VP diffusion with flow matching" in say(ot, lost)["Not measured"].text
        assert left not in say(lost)
        assert "flow matching give worse" in say(vp, vp)[left].text
        learned = field("a-learned", "learned", np.nan, 0.6, "bound alone")
        texts = say(ot, learned)
        assert "Not measured" not in texts, "a learned path has no distance to lose"
        assert "learned path with bound alone gives worse" in texts[left].text
        assert "its exact flow is not known" in texts[""].text
        jumping = field("a-vp-meanflow", "vp", 0.1, 0.4, "MeanFlow (flow map)")
        assert "does not jump" in say(ot, jumping)[""].text and "" not in say(ot)
        near = "Learned better"
        assert say(ot, vp)[near].verdict == "supported"
        swapped = replace(vp, path="ot"), replace(ot, path="vp")
        assert say(*swapped)[near].verdict == "not supported"
        assert say(ot, replace(vp, distance=ot.distance))[near].verdict == "undecided"
        assert near not in say(ot, lost) and near not in say(ot)
