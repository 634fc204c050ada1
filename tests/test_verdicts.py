"""Each sentence of the page on the three claims, in each of the ways that numbers can turn out."""

from dataclasses import replace

import numpy as np
import pytest

from flowviz.experiments.endpoints import EndpointsResult
from flowviz.experiments.evolution import EXACT
from flowviz.experiments.race import ENTRANTS, RaceResult, SweepResult, Targets
from flowviz.experiments.straightening import NFES, Outcome, StraighteningResult
from flowviz.experiments.unlimited import Left, LeftResult, StraightnessResult
from flowviz.straightness import Straightness
from flowviz.ui.straighter import verdicts

NAMES = tuple(ENTRANTS)


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
            (0.3, 0.3, "less than the seeds do", "did not show"),
        ],
    )
    def test_race_says_who_is_ahead(self, ot, vp, said, claim):
        assert said in verdicts.race(raced(ot, vp))
        assert f"**{claim}**" in verdicts.training(raced(ot, vp), None)

    def test_race_says_how_much_sooner(self):
        found = raced(np.array([0.3, 0.2, 0.1]), np.array([0.9, 0.5, 0.25]), looks=3)
        assert "after 400 (4.0× sooner)" in verdicts.race(found)

    def test_race_of_one_seed_needs_five_percent(self):
        assert "less than the seeds" in verdicts.race(raced(0.3, 0.31, seeds=1))
        assert "is ahead" in verdicts.race(raced(0.2, 0.31, seeds=1))

    def test_two_seeds_that_scatter_settle_nothing(self):
        found = raced(0.3, 0.33, seeds=2)
        found.quality[0, :, 0] = 0.27, 0.32
        assert "less than the seeds" in verdicts.race(found)

    def test_race_that_has_not_begun_or_was_lost(self):
        nothing = raced(0.2, 0.3)
        unseen = replace(nothing, seconds=np.full_like(nothing.seconds, np.nan))
        assert verdicts.race(unseen) == "No run has been measured yet."
        assert "Not tried yet" in verdicts.training(unseen, None)
        lost = raced(np.nan, 0.3)
        assert "cannot be measured" in verdicts.race(lost)
        assert "left the plane" in verdicts.training(lost, None)

    @pytest.mark.parametrize(
        ("diverged", "said", "claim"),
        [
            ([0, 0, 0, 0], "None of the four diverged up to a learning rate of 1", "as many"),
            ([1, 1, 1, 1], "All four bear a learning rate of 0.1", "as many"),
            ([3, 3, 3, 3], "All four diverged at every learning rate", "as many"),
            ([1, 2, 2, 2], "most has flow matching, conditional OT", "broke flow matching, cond"),
            ([3, 2, 0, 2], "flow matching, conditional OT none", "broke score matching"),
        ],
    )
    def test_rates_say_which_are_borne(self, diverged, said, claim):
        assert said in verdicts.rates(swept(diverged))
        assert claim in verdicts.training(raced(0.2, 0.3), swept(diverged))

    def test_rates_that_are_not_through(self):
        found = swept([1, 1, 1, 1])
        found = replace(found, error=np.full_like(found.error, np.nan))
        assert verdicts.rates(found) == "4 of 12 trainings are through."


class TestSampling:
    @pytest.mark.parametrize(
        ("rows", "said"),
        [
            ([("a", 6.0, 10.0), ("b", 5.0, 10.0)], "**holds** here"),
            ([("a", 6.0, 10.0), ("b", 20.0, 10.0)], "**holds on some** here"),
            ([("a", 20.0, 10.0)], "**fails** here"),
            ([("a", 6.0, None)], "only conditional OT arrives at less than 1 (a)"),
            ([("a", None, 6.0), ("b", None, None)], "no data set had both"),
            ([("a", 6.0, 10.0)], "about the paper's 60%"),
            ([("a", 2.0, 10.0)], "less than the paper's 60%"),
            ([("a", 9.0, 10.0)], "more than the paper's 60%"),
        ],
    )
    def test_says_on_how_many_data_sets(self, rows, said):
        assert said in verdicts.sampling(rows, "less than 1", "midpoint")


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
        assert "VE diffusion starts where there is data in the noise already (λ = 0.04)" in text
        assert "4·10⁻⁴" in text and "10⁻⁸" in text

    @pytest.mark.parametrize(
        ("ot", "vp", "trig", "said"),
        [
            ((0.1, 1.0), (1, 1.1), (1, 1.1), "conditional OT is the straightest, pair by pair"),
            ((0.1, 1.2), (1, 1.1), (1, 1.15), "as a whole only by S**; by the bends it is VP"),
            ((2, 1.0), (1, 1.1), (3, 1.15), "as a whole only by the bends**; by S it is VP"),
            ((2, 1.2), (3, 1.1), (1, 1.1), "as a whole it is not: trigonometric is** (by the"),
            ((2, 1.2), (3, 1.1), (1, 1.05), "as a whole it is not: trigonometric is**."),
        ],
    )
    def test_straightness_pair_by_pair_and_as_a_whole(self, ot, vp, trig, said):
        assert said in verdicts.straightness(straight(ot, vp, trig))

    @pytest.mark.parametrize(
        ("limit", "said"),
        [(0.1, "is better, too"), (0.3, "all of them are worse"), (0.2, "next to nothing")],
    )
    def test_couplings_say_what_is_bought(self, limit, said):
        def outcome(name, s, first, last):
            quality = np.linspace(first, last, len(NFES))
            return Outcome(
                entrant=name,
                straightness=measured(s),
                nfe=np.array(NFES),
                quality=quality,
                limit=last,
                limit_nfe=100,
                seconds=1.0,
            )

        none = StraighteningResult(outcomes=(), floor=0.1, share=0.0, doing="")
        assert "0 of 5 trainings" in verdicts.couplings(none)
        found = replace(
            none,
            outcomes=(
                outcome("independent", 2.0, 2.5, 0.2),
                outcome("minibatch-ot", 0.02, 0.5, limit),
            ),
        )
        text = verdicts.couplings(found)
        assert "minibatch OT 100×" in text and "from 2.50 to 0.50" in text and said in text

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
        run = ended(4e-4), straight((2, 1.1), (4, 1.1), (1, 1.1))
        assert "conditional OT nearer" in verdicts.unlimited(*run, whole)
        assert "neither nearer" in verdicts.unlimited(
            *run, replace(found, fields=(exact, ot, replace(vp, distance=ot.distance)))
        )

    @pytest.mark.parametrize(
        ("vp", "s", "said"),
        [
            (4e-4, 4, "**no**: VP diffusion ends 4·10⁻⁴ from"),
            (4e-4, 4, "VP diffusion's flow is 2.0× as far from straight"),
            (4e-4, 1, "conditional OT's flow is 2.0× as far from straight"),
            (0.3, 4, "**not settled by this run**"),
        ],
    )
    def test_unlimited_answers(self, vp, s, said):
        text = verdicts.unlimited(ended(vp), straight((2, 1.1), (s, 1.1), (1, 1.1)), None)
        assert said in text
