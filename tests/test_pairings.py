"""Which OT: crossings of segments, optimal pairings by brute force, fields of given pairs."""

import math
from dataclasses import fields
from itertools import permutations

import numpy as np
import pytest
import torch

from flowviz.couplings import REGULARISATION, Pairs, bridge_noise
from flowviz.experiments.pairings import (
    ALL,
    BRIDGE,
    PAIRS,
    REFLOW,
    SIZES,
    CostConfig,
    CostResult,
    MarginalConfig,
    MarginalResult,
    _pairs,
    compute_cost,
    compute_marginal,
    cost_bound,
    crossings,
    gaussian_bound,
    pair_samples,
)
from flowviz.fields.paired import PairedField
from flowviz.paths import AffinePath
from flowviz.progress import Progress
from flowviz.schedulers import SCHEDULERS, scheduler
from flowviz.straightness import Straightness
from flowviz.studies import STUDIES
from flowviz.studies.coupled_flow import CoupledFlowConfig, CoupledFlowResult
from flowviz.studies.pairings import PairingsConfig
from flowviz.studies.transport_cost import TransportConfig, TransportResult

GAUSSIAN = "mixture:1,-2@0.5"


def noise(n, seed=0):
    return torch.randn(n, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class TestCrossings:
    def test_a_cross_has_its_middle_at_one_time(self):
        found = crossings(np.array([[0.0, 0], [1, 0]]), np.array([[1.0, 1], [0, 1]]))
        np.testing.assert_allclose(found.places, [[0.5, 0.5]])
        assert found.apart == pytest.approx([0]) and found.at_once.all()

    def test_has_the_times_at_which_both_pass(self):
        """The first segment passes at 0.25, the second at 0.75."""
        found = crossings(np.array([[0.0, 0], [1, -3]]), np.array([[4.0, 0], [1, 1]]))
        np.testing.assert_allclose(found.places, [[1, 0]])
        assert found.apart == pytest.approx([0.5]) and not found.at_once.any()

    def test_both_segments_must_reach_the_crossing(self):
        found = crossings(np.array([[0.0, 0], [1, -3]]), np.array([[4.0, 0], [1, -1]]))
        assert len(found.places) == len(found.apart) == 0

    def test_parallel_and_equal_segments_have_no_crossing(self):
        start = np.array([[0.0, 0], [0, 1], [0, 0]])
        assert len(crossings(start, start + np.array([2, 1])).places) == 0


def test_optimal_pairings_are_those_of_brute_force():
    found = pair_samples("checkerboard", n=6, batch=3, seed=0)
    alone, batch, optimal, _ = found.pairings
    sums = (np.square(found.data[list(p)] - found.noise).sum() / 6 for p in permutations(range(6)))
    assert optimal.cost == pytest.approx(min(sums))
    halves = sum(
        min(
            np.square(found.data[part][list(p)] - found.noise[part]).sum()
            for p in permutations(range(3))
        )
        for part in (slice(0, 3), slice(3, 6))
    )
    assert batch.cost == pytest.approx(halves / 6)
    assert optimal.cost <= batch.cost <= alone.cost


def test_optimal_pairing_is_monotone_so_that_trajectories_do_not_cross():
    """(x - x') . (y - y') >= 0 for all pairs, so that no two are equal at any time."""
    found = pair_samples("checkerboard", n=128, batch=8, seed=0)
    alone, batch, optimal, reflow = found.pairings
    ends, start = optimal.ends, found.noise
    products = ((start[:, None] - start) * (ends[:, None] - ends)).sum(-1)
    assert products.min() >= -1e-9
    near = [each.crossings.at_once.sum() for each in (alone, batch, optimal, reflow)]
    assert near[0] > 2 * near[1] > 4 * max(near[2:])
    assert np.array_equal(alone.ends, found.data)
    assert np.array_equal(np.sort(ends, axis=0), np.sort(found.data, axis=0))


def test_cost_falls_with_the_minibatch_and_never_below_the_bound():
    costs = [compute_cost(CostConfig(batch=batch)) for batch in SIZES if batch < ALL]
    values = [each.cost for each in costs]
    assert values == sorted(values, reverse=True)
    bound = cost_bound("checkerboard")
    assert all(each.cost > bound and each.error > 0 for each in costs)
    reflow = compute_cost(CostConfig(batch=REFLOW))
    assert bound < reflow.cost < costs[0].cost / 2


def test_error_of_the_largest_batch_is_that_of_its_potentials():
    """sqrt((Var f + Var g) / n) with the Kantorovich potentials f = (1 - s) |x|^2 of N(0, I) and
    g = (1 - 1 / s) |y|^2 of N(0, s^2 I), since the pairs of one batch depend on each other."""
    s = 0.5
    found = compute_cost(CostConfig(data=f"mixture:0,0@{s}", batch=ALL))
    assert found.error == pytest.approx(2 * (1 - s) * math.sqrt((1 + s**2) / PAIRS), rel=0.4)


def test_bound_is_the_cost_between_gaussians():
    """W_2^2 = |m|^2 + d (s - 1)^2; the exact flow towards a Gaussian is that very map."""
    assert gaussian_bound(torch.tensor([1.0, -2.0]), torch.eye(2) / 4) == pytest.approx(5.5)
    found = compute_cost(CostConfig(data=GAUSSIAN, batch=REFLOW))
    assert found.cost == pytest.approx(5.5, rel=0.02)
    assert cost_bound(GAUSSIAN) == pytest.approx(5.5, rel=0.02)


def test_entropic_pairs_have_the_covariance_that_belongs_to_their_diffusion():
    """Between N(0, I) and N(0, s^2 I) it is sqrt(s^2 + g^4 / 4) - g^2 / 2 on each axis (Janati et
    al. 2020, https://arxiv.org/abs/2006.02572, theorem 1, with 2 sigma^2 = 2 g^2); OT has s."""
    s = 0.5
    pairs = _pairs(f"mixture:0,0@{s}", BRIDGE, ALL, 0)
    diffusion = bridge_noise(pairs.x_0, pairs.x_1)
    assert diffusion == pytest.approx(math.sqrt(REGULARISATION * 2 * (1 + s**2) / 2), rel=0.05)
    g = 2 * diffusion**2  # entropic regularisation
    found = (pairs.x_0 * pairs.x_1).mean().item()
    assert found == pytest.approx(math.sqrt(s**2 + (g / 4) ** 2) - g / 4, abs=0.02)


@pytest.mark.parametrize("bridges", [0.0, 0.8])
@pytest.mark.parametrize("spec", [name for name in SCHEDULERS if name != "ve"])
def test_field_of_pairs_carries_their_density(spec, bridges):
    """The continuity equation, d_t p + div (p u) = 0, by autograd in float64."""
    pairs, std = Pairs(noise(7), 3 * noise(7, 1)), 0.6
    field = PairedField(AffinePath(scheduler(spec)), pairs, std, bridges)

    def density(t, x):
        places, c = field.path.flow(t, pairs.x_0, pairs.x_1), field.path.scheduler(t)
        variance = std**2 + bridges**2 * c.alpha * c.sigma
        return (torch.exp(-(x - places).square().sum(dim=1) / (2 * variance)) / variance).mean()

    def flux(t, x):
        return density(t, x) * field(t, x[None])[0]

    t = torch.tensor(0.4, dtype=torch.float64)
    for x in 2 * noise(5, 2):
        rate = torch.func.grad(density)(t, x)
        divergence = torch.func.jacrev(flux, argnums=1)(t, x).trace()
        assert (rate + divergence).abs() < 1e-12


def test_field_of_pairs_needs_a_cloud():
    with pytest.raises(ValueError, match="std must be positive"):
        PairedField(AffinePath(scheduler("ot")), Pairs(noise(2), noise(2)), 0.0)


@pytest.mark.slow
def test_couplings_straighten_the_marginal_flow():
    """Independent pairs have S = 2.34 on this board (paper-facts D3)."""
    found = [compute_marginal(MarginalConfig(batch=batch)) for batch in (1, 64)]
    alone, many = (each.straightness for each in found)
    assert alone.deviation == pytest.approx(2.34, rel=0.06)
    assert alone.deviation > 30 * many.deviation
    assert 1 <= many.arc_over_chord < 1.01 < alone.arc_over_chord
    assert np.array_equal(found[0].states[0], found[1].states[0]), "the same noise"
    # On another path S is that of the conditional flows, except for smoothing and remaining
    # crossings.
    own = compute_marginal(MarginalConfig(batch=64, path="shaped"))
    assert found[1].alone < 1e-9 and own.alone > 1
    assert own.straightness.deviation == pytest.approx(own.alone, rel=0.15)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PairingsConfig(n=64, batch=9), "batch must divide n = 64; got 9"),
        (lambda: PairingsConfig(n=1, batch=1), "n must be in 2..512"),
        (lambda: CoupledFlowConfig(batch=3), "Unknown batch 3"),
        (lambda: CostConfig(batch=3), "batch must be a power of 2 up to 2048"),
        (lambda: MarginalConfig(batch=4_096), "batch must be a power of 2 up to 2048"),
    ],
)
def test_invalid_pairings_are_refused_in_one_sentence(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("dark", [False, True])
def test_panels_have_the_segments_and_the_crossings(dark):
    study, config = STUDIES["pairings"], PairingsConfig(n=32)
    found = study.result(config)
    figure = study.draw(config, found, dark=dark)[0].figure
    last = [trace for trace in figure.data if trace.xaxis == "x4"]
    assert len(figure.data) == 5 * len(found.pairings) and len(last) == 5
    first = [trace for trace in figure.data if trace.xaxis == "x"]
    assert len(first[0].x) == 3 * 32, "a segment, then a gap"
    crossed = sum(len(trace.x) for trace in first[3:])
    assert crossed == len(found.pairings[0].crossings.apart)
    notes = [note.text for note in figure.layout.annotations]
    assert notes[1].startswith("<b>minibatch OT, 8</b><br>E|x₁ − x₀|² = ")


def test_pairings_count_crossings_at_the_same_time():
    config = PairingsConfig()
    found = STUDIES["pairings"].result(config)
    counts = [int(each.crossings.at_once.sum()) for each in found.pairings]
    assert counts[0] > 2 * counts[1] > 4 * max(counts[2:])
    finding, _ = STUDIES["pairings"].say(config, found)
    assert list(finding.numbers.values()) == counts
    assert f"{counts[0]} with independent pairs, {counts[1]} with minibatches" in finding.text


@pytest.mark.parametrize(("costs", "verdict"), [((9, 5), "supported"), ((5, 9), "not supported")])
def test_finding_states_a_falling_cost_only_if_it_falls(costs, verdict):
    config = TransportConfig(sizes=(1, 16))
    sized = tuple(CostResult(cost=float(cost), error=0.1) for cost in costs)
    reflow = CostResult(cost=6.0, error=0.2)
    result = TransportResult(bound=2.0, reflow=reflow, sized=sized)
    falls, between = STUDIES["transport-cost"].say(config, result)
    assert falls.verdict == verdict
    upper = min(6.0, costs[1])
    assert f"between 2.00 (Gelbrich's bound) and about {upper:.2f}." in between.text
    (figure,) = STUDIES["transport-cost"].draw(config, result)
    assert [trace.y[0] for trace in figure.figure.data[1:]] == [costs[0], 6.0, 2.0]


class TestCoupledFlowStudy:
    study = STUDIES["coupled-flow"]

    def flow(self, deviation, alone=0.0):
        straight = Straightness(
            deviation=deviation, arc_over_chord=1.0, **dict.fromkeys(OTHERS, 1.0)
        )
        states = np.zeros((3, 9, 2), dtype=np.float32) + np.arange(3)[:, None, None]
        return MarginalResult(straightness=straight, alone=alone, states=states)

    @pytest.mark.parametrize(("small", "verdict"), [(0.1, "supported"), (1.9, "not supported")])
    def test_the_verdict_is_about_small_minibatches(self, small, verdict):
        flows = {1: self.flow(2.0), 8: self.flow(1.0), 64: self.flow(small)}
        partial = CoupledFlowResult(flows=flows)
        config = CoupledFlowConfig(n=4)
        first, judged, _ = self.study.say(config, partial)
        assert judged.verdict == verdict and judged.numbers["minibatch"] == small
        assert first.numbers == {"independent": 2.0, "minibatch OT": 1.0}
        assert len(self.study.draw(config, partial)) == 1, "no curve before reflow"
        optimal = flows | {ALL: self.flow(0.01), REFLOW: self.flow(0.02)}
        _, curve = self.study.draw(config, CoupledFlowResult(flows=optimal))
        assert list(curve.figure.data[0].y) == [2.0, small, 0.01]
        assert list(curve.figure.data[1].y) == [0.02, 0.02]

    def test_a_schedule_of_the_user_has_its_own_limit(self):
        config = CoupledFlowConfig(path="shaped:a1=0.2")
        flows = {
            1: self.flow(2.0),
            8: self.flow(1.5),
            ALL: self.flow(1.1, alone=1.0),
            REFLOW: self.flow(0.9, alone=0.8),
        }
        texts = self.study.say(config, CoupledFlowResult(flows=flows))
        assert [each.lead for each in texts] == ["Same path, different flows", "Limit", ""]
        assert "have S 1.00 and 0.80 on this schedule" in texts[1].text

    def test_panels_come_first_and_share_pieces_with_the_curve(self):
        batches = []

        class Recorded(Progress):
            def cached(self, compute, config, **given):
                batches.append(config.batch)
                return TestCoupledFlowStudy().flow(1.0)

        list(self.study.compute(CoupledFlowConfig(batch=16), progress=Recorded()))
        assert batches == [1, 16, ALL, REFLOW, BRIDGE, 4, 64, 256]


OTHERS = [each.name for each in fields(Straightness)]
OTHERS = [name for name in OTHERS if name not in ("deviation", "arc_over_chord")]
