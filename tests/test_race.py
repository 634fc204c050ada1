"""The race of the first claim: shared settings, measurements and divergence."""

import numpy as np
import pytest
import torch

from flowviz.datasets import dataset
from flowviz.experiments.evaluate import EvaluateConfig, floors
from flowviz.experiments.race import (
    ENTRANTS,
    METRIC,
    OWN,
    SAMPLES,
    RunConfig,
    TargetConfig,
    compute_floor,
    compute_run,
    compute_target,
)
from flowviz.progress import Progress, Stopped
from flowviz.studies.learning_rates import STUDY as RATES
from flowviz.studies.learning_rates import RatesConfig
from flowviz.studies.race import STUDY as RACE
from flowviz.studies.race import RaceConfig
from flowviz.studies.targets import STUDY as TARGETS
from flowviz.studies.targets import TargetsConfig
from flowviz.training import TrainConfig, build_field, irreducible_loss

SMALL = {"data": "8gaussians", "units": 8, "depth": 1, "batch": 32}
SHORT = RaceConfig(**SMALL, steps=60, seeds=2, lr=1e-2, looks=3)


class StoredResults(Progress):
    """Caches pieces and records what was computed and reported."""

    def __init__(self):
        super().__init__()
        self.known, self.shares = {}, []

    def report(self, share, doing=""):
        self.shares.append(share)
        super().report(share, doing)

    def cached(self, compute, config, **given):
        key = compute, config
        if key not in self.known:
            self.known[key] = compute(config, **given)
        return self.known[key]


@pytest.fixture(scope="module")
def seen():
    progress = StoredResults()
    return list(RACE.compute(SHORT, progress=progress)), progress


@pytest.fixture(scope="module")
def run(seen):
    return seen[0]


def test_yields_after_each_run_and_ends_with_every_number(run):
    assert [each.done.sum() for each in run] == list(range(1, 2 * len(ENTRANTS) + 1))
    end = run[-1]
    shape = (len(ENTRANTS), 2, len(end.steps))
    for name in ("seconds", "error", "excess", "loss", "gradient", "quality"):
        values = getattr(end, name)
        assert values.shape == shape and np.isfinite(values).all(), name
    assert (np.diff(end.seconds) >= 0).all() and end.done.all()
    assert np.isnan(run[0].quality[~run[0].done]).all(), "later runs do not change a result"


def test_reports_steps_until_all_are_done(seen):
    shares = seen[1].shares
    assert max(shares) == 1 and len(shares) >= 2 * len(ENTRANTS) * 60 / 20


def test_training_lowers_the_error(run):
    assert (run[-1].error[..., -1] < run[-1].error[..., 0]).all()
    assert (run[-1].excess[..., -1] < run[-1].excess[..., 0]).all()


def test_is_reproducible(run):
    name = next(iter(ENTRANTS))
    again = compute_run(SHORT.run(name, 1))
    assert np.array_equal(again.quality, run[-1].quality[run[-1].entrants.index(name), 1])


def test_finished_runs_are_not_repeated(seen):
    results, progress = seen
    before = set(progress.known)
    more = RaceConfig(**SMALL, steps=60, seeds=3, lr=1e-2, looks=3)
    end = RACE.result(more, progress=progress)
    assert len(set(progress.known) - before) == len(ENTRANTS), "only those of the new seed"
    assert np.array_equal(end.quality[:, :2], results[-1].quality)


def test_stops_within_a_run():
    class Stopping(Progress):
        def should_stop(self):
            return self.share > 0

    config = RaceConfig(**SMALL, steps=20_000, seeds=1)
    with pytest.raises(Stopped):
        list(RACE.compute(config, progress=Stopping()))


def test_entrants_share_weights_and_differ_in_path_and_objective():
    trainings = [SHORT.run(name, 1).training for name in ENTRANTS]
    assert {each.seed for each in trainings} == {1}
    assert len({(each.path, each.objective) for each in trainings}) == len(ENTRANTS)
    target = dataset(SHORT.data)
    first, *others = (
        build_field(each, target, torch.Generator().manual_seed(each.seed)).state_dict()
        for each in trainings
    )
    assert all(torch.equal(first[key], other[key]) for other in others for key in first)


def test_networks_are_plain_by_default():
    assert not RaceConfig().run("vp-score", 0).training.preconditioned
    assert RaceConfig(preconditioned=True).run("vp-score", 0).training.preconditioned


def test_preconditioned_score_and_noise_matching_are_one_regression():
    """For this reason the race uses plain networks."""
    config = RaceConfig(**SMALL, steps=20, seeds=1, preconditioned=True)
    score, noise = (compute_run(config.run(name, 0)) for name in ("vp-score", "vp-noise"))
    np.testing.assert_allclose(score.error, noise.error, rtol=1e-3)


def test_measurements_of_runs_are_denser_at_the_start():
    steps = RunConfig(training=TrainConfig(steps=1_500)).steps
    assert len(steps) == 12 and steps[0] == 25 and steps[-1] == 1_500
    assert (np.diff(steps, 2) >= -1).all()
    assert RunConfig(training=TrainConfig(steps=1_500), looks=1).steps.tolist() == [1_500]


def test_sweep_finds_what_diverges():
    end = RATES.result(RatesConfig(**SMALL, steps=60, lrs=(1e-3, 1.0)))
    assert not end.diverged[:, 0].any()
    assert end.diverged[[end.entrants.index(name) for name in ("ot", "vp-noise")], 1].any()
    assert end.done.all() and end.quality.shape == (len(ENTRANTS), 2)


def test_learning_rates_ascend():
    with pytest.raises(ValueError, match="lrs must be in ascending order"):
        RatesConfig(lrs=(1e-2, 1e-3))
    assert list(RatesConfig().lrs) == sorted(RatesConfig().lrs)


def target_of(name, path="vp", **more):
    objective = ENTRANTS[name].objective
    return compute_target(
        TargetConfig(data="8gaussians", path=path, objective=objective, n_times=33, **more)
    )


def test_targets_are_those_of_the_exact_field():
    rows = {name: target_of(name, ENTRANTS[name].path, n=4_000) for name in ENTRANTS}
    assert all(((row.share >= 0) & (row.share <= 1)).all() for row in rows.values())
    # Noise and score are equal up to a factor of t: x_t determines the same share of both.
    np.testing.assert_allclose(rows["vp-noise"].share, rows["vp-score"].share, atol=1e-9)
    # The score is the noise divided by sigma, so it is unbounded.
    assert rows["vp-score"].size[-1] > 100 * rows["vp-noise"].size[-1]
    # The part of the velocity that x_t does not determine is the irreducible loss.
    config = RaceConfig(data="8gaussians").run("ot", 0).training
    floor = irreducible_loss(config, dataset("8gaussians"), n=20_000)
    size, share = rows["ot"].size, rows["ot"].share
    wrong = (size**2 / np.where(share > 0, share, np.nan)) * (1 - share)
    assert np.nanmean(wrong[1:]) == pytest.approx(floor, rel=0.1)


def test_a_schedule_of_the_user_is_added_to_race_sweep_and_targets():
    own = "shaped:a1=0.2"
    config = RaceConfig(**SMALL, steps=20, seeds=1, own=own, looks=2)
    assert config.run(OWN, 0).training.path == own
    assert RatesConfig(**SMALL, own=own).run(OWN, 1e-3).training.path == own
    end = RACE.result(config)
    assert end.entrants == (*ENTRANTS, OWN) and np.isfinite(end.quality[-1, 0, -1])
    assert not np.array_equal(end.quality[-1], end.quality[0]), "another path, another network"
    small = TargetsConfig(data="8gaussians", own=own, n=10, n_times=3)
    assert tuple(TARGETS.result(small).targets) == end.entrants
    # The part of the velocity that x_t does not determine is the irreducible loss on every path.
    floor = irreducible_loss(config.run(OWN, 0).training, dataset("8gaussians"), n=20_000)
    found = target_of("ot", own, n=4_000)
    size, share = found.size, found.share
    wrong = (size**2 / np.where(share > 0, share, np.nan)) * (1 - share)
    assert np.nanmean(wrong[1:]) == pytest.approx(floor, rel=0.15)


@pytest.mark.parametrize("config", [RaceConfig, RatesConfig, TargetsConfig])
def test_only_a_schedule_of_the_user_can_be_added(config):
    with pytest.raises(ValueError, match="own must be a spec of a shaped schedule"):
        config(own="trig")


@pytest.mark.parametrize("seeds", [0, 11])
def test_number_of_seeds_is_bounded(seeds):
    with pytest.raises(ValueError, match="seeds must be in"):
        RaceConfig(seeds=seeds)


def test_floor_of_the_race_is_that_of_evaluate():
    """The floor of the distance on the page is that of the command."""
    judged = EvaluateConfig(n=SAMPLES, seed=0, metrics=(METRIC,))
    assert compute_floor(("8gaussians", 0)) == floors(dataset("8gaussians"), judged)[METRIC]
