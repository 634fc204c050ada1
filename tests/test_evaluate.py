"""Evaluation: an exact field reaches the floor, a bad one does not, and results are JSON."""

import json
import math
from dataclasses import asdict

import pytest
import torch

from flowviz.datasets import DATASETS, Dataset
from flowviz.distributions import GaussianMixture, PointMasses
from flowviz.draws import stream
from flowviz.experiments.evaluate import (
    PAIRS,
    EvaluateConfig,
    evaluate,
    evaluations,
    floors,
    floors_of_pairs,
    likelihood,
)
from flowviz.fields import exact_field
from flowviz.metrics import METRICS
from flowviz.paths import AffinePath
from flowviz.progress import Stopped, stopping
from flowviz.schedulers import SCHEDULERS
from flowviz.solvers import SolveError

BOARD = DATASETS["checkerboard"]


def small(**given):
    return EvaluateConfig(**{"n": 1000, "draws": 3} | given)


def made(distribution):
    return Dataset("made", "made", "Made for a test.", distribution.sample, distribution)


@pytest.fixture(scope="module")
def field():
    return exact_field(AffinePath(SCHEDULERS["ot"]()), BOARD.distribution)


@pytest.fixture(scope="module")
def found(field):
    return list(evaluations(field, BOARD, [small(nfe=4), small(nfe=20)]))


def test_exact_field_reaches_the_floor_with_many_evaluations(found):
    few, many = found
    assert few.nfe == 4 and many.nfe == 20 and many.steps == 10 and many.rejected == 0
    assert set(many.measures) == set(METRICS)
    for name in ("w2", "sliced-w2", "energy", "histogram-tv"):
        assert many.measures[name].floor == few.measures[name].floor > 0
        assert 0 < many.measures[name].floor_error < many.measures[name].floor
    # One draw of 1,000 points; with the default of 4 of 4,000 the ratio is 1.07.
    assert many.measures["w2"].ratio < 1.5
    assert few.measures["off-support"].value > 0.03 > many.measures["off-support"].value
    assert few.measures["off-support"].floor == 0 and few.measures["off-support"].ratio is None


def test_exact_field_has_no_divergence_from_the_data(field):
    """At t_max the board is 0.1% smaller, where 1 point in 500 costs a few nats."""
    judged = likelihood(field, BOARD, n=400)
    assert judged.n == 400 and judged.nfe > 20
    assert abs(judged.kl) < 0.02 + 5 * judged.error < 0.2
    # Uniform data: -log q is the entropy at every point.
    assert judged.nll - judged.entropy == pytest.approx(judged.kl, abs=1e-6)


def test_likelihood_is_that_of_the_exact_density(field):
    judged = likelihood(field, BOARD, n=200, seed=4, tol=1e-6)
    x = BOARD.sample(200, stream(4, "likelihood")).double()
    t = torch.tensor(field.path.t_max, dtype=torch.float64)
    assert judged.nll == pytest.approx(-field.log_density(t, x).mean().item(), abs=1e-3)


def test_evaluation_is_json_and_repeats(field, found):
    text = json.dumps(asdict(found[1]), allow_nan=False)
    assert json.loads(text)["measures"]["w2"]["value"] > 0
    cheap = ("sliced-w2", "energy", "off-support")
    again = evaluate(field, BOARD, small(nfe=20, metrics=cheap))
    first = found[1].measures
    assert {k: m.value for k, m in again.measures.items()} == {k: first[k].value for k in cheap}
    other = evaluate(field, BOARD, small(nfe=20, seed=1, metrics=cheap))
    assert other.measures["energy"].value != again.measures["energy"].value


def test_floors_are_measured_once_for_one_seed(field, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "flowviz.experiments.evaluate.floors_of_pairs",
        lambda dataset, config: calls.append(config.seed) or floors_of_pairs(dataset, config),
    )
    cheap = ("sliced-w2", "energy")
    configs = [
        small(n=200, nfe=nfe, seed=seed, metrics=cheap) for seed in (0, 1) for nfe in (4, 8)
    ]
    found = list(evaluations(field, BOARD, configs))
    assert len(found) == 4 and all(tuple(each.measures) == cheap for each in found)
    assert calls == [0, 1]


def test_floor_of_several_pairs_begins_with_the_pair_of_one():
    config = small(n=300, metrics=("sliced-w2",))
    one, (mean, error) = floors(BOARD, config), floors_of_pairs(BOARD, config)["sliced-w2"]
    assert abs(one["sliced-w2"] - mean) < 5 * error * math.sqrt(PAIRS)
    alone = floors_of_pairs(BOARD, small(n=300 * PAIRS, metrics=("off-support",)))
    assert alone["off-support"] == (0.0, 0.0)


def test_one_point_has_no_error(field):
    assert likelihood(field, BOARD, n=1).error is None


def test_adaptive_methods_are_evaluated_at_their_counted_nfe(field):
    result = evaluate(field, BOARD, small(n=200, method="bosh3", nfe=None, tol=1e-3))
    assert result.nfe == 2 + 3 * (result.steps + result.rejected)


def test_gaussian_data_has_a_likelihood_but_no_bounded_support():
    gaussian = made(GaussianMixture(torch.tensor([[1.0, -1.0]]), 0.5))
    flow = exact_field(AffinePath(SCHEDULERS["vp"]()), gaussian.distribution)
    result = evaluate(flow, gaussian, small(n=300))
    assert "off-support" not in result.measures and result.measures["w2"].value > 0
    assert abs(likelihood(flow, gaussian, n=200).kl) < 5e-3


def test_points_have_no_density_to_compare_with():
    points = made(PointMasses(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])))
    flow = exact_field(AffinePath(SCHEDULERS["ot"]()), points.distribution)
    judged = likelihood(flow, points, n=50)
    assert judged.kl is None and judged.error >= 0


class Still:
    """A field that does not move."""

    path = AffinePath(SCHEDULERS["ve"]())

    def __call__(self, t, x):
        return torch.zeros_like(x)


def test_samples_start_from_the_noise_of_the_path():
    """VE starts at sigma_max: without motion its samples are far wider than the board."""
    result = evaluate(Still(), BOARD, small(n=500, method="euler", nfe=1))
    assert result.measures["off-support"].value > 0.9
    judged = likelihood(Still(), BOARD, n=100)
    x = torch.tensor(0.0)
    expected = -2 * torch.distributions.Normal(0.0, 25.0).log_prob(x).item()
    assert judged.nll == pytest.approx(expected, abs=0.05)


class Wall(Still):
    """A field without finite values before t = 0.5."""

    path = AffinePath(SCHEDULERS["ot"]())

    def __call__(self, t, x):
        return torch.where(t < 0.5, torch.nan, 0.0).to(x) * x


def test_failed_likelihood_states_the_reason():
    with pytest.raises(SolveError, match=r"got stuck at t = 0\."):
        likelihood(Wall(), BOARD, n=10)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"method": "dopri5"}, "chooses its own NFE"),
        ({"method": "dopri5", "nfe": None, "tol": 0.0}, "tol must be between"),
        ({"method": "rk4", "nfe": 10}, "nearest that it can: 8 and 12"),
        ({"nfe": None}, "give it nfe"),
        ({"n": 0}, r"n must be in 1\.\."),
        ({"method": "eulr"}, "Did you mean 'euler'"),
        ({"metrics": ("energie",)}, "Did you mean 'energy'"),
    ],
)
def test_invalid_configs_are_refused(given, match):
    with pytest.raises(ValueError, match=match):
        EvaluateConfig(**given)


def test_evaluation_can_be_cancelled(field):
    with pytest.raises(Stopped), stopping(lambda: True):
        evaluate(field, BOARD, small(n=50), floor={})
