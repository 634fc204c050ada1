"""The race of the first claim: what is shared, what is measured, what diverges."""

import numpy as np
import pytest
import torch

from flowviz.datasets import dataset
from flowviz.experiments import race as races
from flowviz.experiments.race import (
    ENTRANTS,
    LRS,
    OWN,
    RaceConfig,
    SweepConfig,
    TargetsConfig,
    compute_targets,
    race,
    sweep_rates,
)
from flowviz.training import build_field, irreducible_loss

SMALL = {"data": "8gaussians", "width": 8, "depth": 1, "batch": 32}


def last(iterator):
    *_, end = iterator
    return end


@pytest.fixture(scope="module", autouse=True)
def few_looks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(races, "LOOKS", 4)
        yield


@pytest.fixture(scope="module")
def run(few_looks):
    return list(race(RaceConfig(**SMALL, steps=60, seeds=2, lr=1e-2)))


def test_reports_often_and_ends_with_every_number(run):
    assert [each.step for each in run] == sorted(each.step for each in run)
    end = run[-1]
    assert end.share == 1 and run[0].share == 0
    shape = (len(ENTRANTS), 2, len(end.steps))
    for name in ("seconds", "error", "excess", "loss", "gradient", "quality"):
        values = getattr(end, name)
        assert values.shape == shape and np.isfinite(values).all(), name
    assert (np.diff(end.seconds) >= 0).all() and not end.broken.any()
    assert np.isnan(run[0].quality).all(), "an earlier report is not changed by later ones"


def test_training_lowers_the_error(run):
    assert (run[-1].error[..., -1] < run[-1].error[..., 0]).all()
    assert (run[-1].excess[..., -1] < run[-1].excess[..., 0]).all()


def test_is_reproducible(run):
    again = last(race(RaceConfig(**SMALL, steps=60, seeds=2, lr=1e-2)))
    assert np.array_equal(again.quality, run[-1].quality)


def test_entrants_share_weights_and_differ_in_path_and_objective():
    config = RaceConfig(**SMALL)
    trainings = [config.training(name, 1) for name in ENTRANTS]
    assert {each.seed for each in trainings} == {1}
    assert len({(each.path, each.objective) for each in trainings}) == len(ENTRANTS)
    target = dataset(config.data)
    first, *others = (
        build_field(each, target, torch.Generator().manual_seed(each.seed)).state_dict()
        for each in trainings
    )
    assert all(torch.equal(first[key], other[key]) for other in others for key in first)


def test_networks_are_plain_unless_asked():
    assert not RaceConfig().training("vp-score", 0).preconditioned
    assert RaceConfig(preconditioned=True).training("vp-score", 0).preconditioned


def test_preconditioned_score_and_noise_matching_are_one_regression():
    """Which is why the race is run with plain networks."""
    config = RaceConfig(**SMALL, steps=20, seeds=1, preconditioned=True)
    end = last(race(config, ("vp-score", "vp-noise")))
    np.testing.assert_allclose(end.error[0], end.error[1], rtol=1e-3)


def test_sweep_tells_what_diverges():
    config = SweepConfig(**SMALL, steps=60)
    end = last(sweep_rates(config, lrs=(1e-3, 1.0), entrants=("ot", "vp-noise")))
    assert not end.diverged[:, 0].any() and end.diverged[:, 1].any()
    assert end.share == 1 and end.quality.shape == (2, 2)
    assert list(LRS) == sorted(LRS)


def test_targets_are_those_of_the_exact_field():
    found = compute_targets(TargetsConfig(data="8gaussians", n=4_000, times=33))
    rows = dict(zip(found.entrants, zip(found.size, found.share, strict=True), strict=True))
    assert ((found.share >= 0) & (found.share <= 1)).all()
    # Noise and score are one quantity up to a factor of t: x_t tells as much of both.
    np.testing.assert_allclose(rows["vp-noise"][1], rows["vp-score"][1], atol=1e-9)
    # The score's size is the noise's over sigma, hence without bound.
    assert rows["vp-score"][0][-1] > 100 * rows["vp-noise"][0][-1]
    # What x_t does not tell of the velocity is the irreducible loss.
    config = RaceConfig(data="8gaussians").training("ot", 0)
    floor = irreducible_loss(config, dataset("8gaussians"), n=20_000)
    size, share = rows["ot"]
    wrong = (size**2 / np.where(share > 0, share, np.nan)) * (1 - share)
    assert np.nanmean(wrong[1:]) == pytest.approx(floor, rel=0.1)


def test_a_schedule_of_ones_own_joins_race_sweep_and_targets():
    own = "shaped:a1=0.2"
    config = RaceConfig(**SMALL, steps=20, seeds=1, own=own)
    assert config.training(OWN, 0).path == own
    assert SweepConfig(**SMALL, own=own).race(1e-3).own == own
    end = last(race(config))
    assert end.entrants == (*ENTRANTS, OWN) and np.isfinite(end.quality[-1, 0, -1])
    assert not np.array_equal(end.quality[-1], end.quality[0]), "another path, another network"
    found = compute_targets(TargetsConfig(data="8gaussians", own=own, n=4_000, times=33))
    assert found.entrants == end.entrants
    # What x_t does not tell of the velocity is the irreducible loss, as on every path.
    floor = irreducible_loss(config.training(OWN, 0), dataset("8gaussians"), n=20_000)
    size, share = found.size[-1], found.share[-1]
    wrong = (size**2 / np.where(share > 0, share, np.nan)) * (1 - share)
    assert np.nanmean(wrong[1:]) == pytest.approx(floor, rel=0.15)


def test_only_a_schedule_of_ones_own_may_join():
    with pytest.raises(ValueError, match="own must be a schedule of one's own"):
        RaceConfig(own="trig")


@pytest.mark.parametrize("seeds", [0, 11])
def test_number_of_seeds_is_bounded(seeds):
    with pytest.raises(ValueError, match="seeds must be in"):
        RaceConfig(seeds=seeds)
