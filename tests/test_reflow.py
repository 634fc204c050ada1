"""Reflow and couplings: training on given pairs makes flows straighter."""

import numpy as np
import pytest
import torch
from torch import Generator

from flowviz.couplings import Pairs
from flowviz.datasets import dataset
from flowviz.distributions import GaussianMixture
from flowviz.experiments.straightening import ENTRANTS, INDEPENDENT
from flowviz.fields import exact_field
from flowviz.paths import AffinePath
from flowviz.progress import Progress
from flowviz.schedulers import SCHEDULERS, scheduler
from flowviz.studies.couplings import STUDY, CouplingsConfig
from flowviz.training import TrainConfig, reflow_pairs, train

SMALL = {"data": "8gaussians", "width": 16, "depth": 2, "batch": 64, "steps": 50}


def generator(seed=0):
    return Generator().manual_seed(seed)


def last(iterator):
    *_, end = iterator
    return end


class TestPairs:
    def test_pairs_are_drawn_together_and_by_the_seed(self):
        x_0 = torch.randn(50, 2, generator=generator())
        pairs = Pairs(x_0, 3 * x_0)
        first, second = pairs.draw(200, generator(1))
        assert first.shape == (200, 2) and torch.equal(second, 3 * first)
        assert torch.equal(pairs.draw(200, generator(1))[0], first)
        assert not torch.equal(pairs.draw(200, generator(2))[0], first)

    @pytest.mark.parametrize("shape", [(3, 2), (0, 2)])
    def test_pairs_of_different_shapes_are_refused(self, shape):
        with pytest.raises(ValueError, match="same shape"):
            Pairs(torch.zeros(0, 2), torch.zeros(shape))


@pytest.mark.parametrize("spec", SCHEDULERS)
def test_pairs_of_an_exact_flow_are_its_map(spec):
    """Towards N(m, s^2 I) every path maps x_0 to m + s x_0; VE differs by its start."""
    mean, std = torch.tensor([1.0, -2.0]), 0.5
    field = exact_field(AffinePath(scheduler(spec)), GaussianMixture(mean[None], std))
    pairs = reflow_pairs(field, 300, generator(), steps=200)
    off = (pairs.x_1 - (mean + std * pairs.x_0)).square().sum(dim=1).mean().sqrt()
    assert off < (0.2 if spec == "ve" else 0.02)


def test_training_on_pairs_uses_the_pairs_only():
    """With one point on each side the target is constant: the displacement between the points."""
    ends = torch.tensor([[0.5, -0.5], [2.0, 1.0]])
    pairs = Pairs(ends[:1].expand(8, 2), ends[1:].expand(8, 2))
    config = TrainConfig(**{**SMALL, "steps": 400, "lr": 1e-2})
    state = last(train(config, dataset("8gaussians"), pairs=pairs))
    t = torch.tensor(0.5, dtype=torch.float64)
    learned = state.ema(t, ends.mean(dim=0, keepdim=True))[0]
    torch.testing.assert_close(learned, ends[1] - ends[0], rtol=0, atol=0.15)


def test_resumed_training_on_pairs_is_bitwise_equal():
    target, config = dataset("8gaussians"), TrainConfig(**SMALL)
    x_0 = torch.randn(100, 2, generator=generator())
    pairs = Pairs(x_0, x_0 + 1)
    whole = last(train(config, target, pairs=pairs)).ema.state_dict()
    for state in train(config, target, pairs=pairs):
        if state.step == 7:
            break
    again = last(
        train(config, target, pairs=pairs, saved_state=state.saved_state())
    ).ema.state_dict()
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_couplings_yield_after_each_training_in_order():
    class Recorded(Progress):
        shares = ()

        def report(self, share, doing=""):
            self.shares += (share,)
            super().report(share, doing)

    progress = Recorded()
    small = {"data": "8gaussians", "units": 16, "depth": 2, "batch": 64, "steps": 50}
    config = CouplingsConfig(**small, n=200, pairs=256)
    seen = list(STUDY.compute(config, progress=progress))
    assert list(progress.shares) == sorted(progress.shares) and progress.doing
    assert len(progress.shares) >= 2 * len(ENTRANTS)
    assert [len(each.outcomes) for each in seen] == list(range(1, len(ENTRANTS) + 1))
    assert [each.entrant for each in seen[-1].outcomes] == list(ENTRANTS)
    found = seen[-1].outcome("reflow-1")
    assert found.nfe[0] == 1 and found.quality.shape == found.nfe.shape
    assert found.seconds > 0 and found.limit_nfe > 1
    assert seen[-1].gain(INDEPENDENT) == 1 and seen[0].gain("reflow-1") is None


@pytest.mark.slow
def test_couplings_start_from_a_source_without_diffusion():
    small = {"units": 16, "depth": 2, "batch": 64, "steps": 60, "n": 100, "pairs": 256}
    config = CouplingsConfig(data="from:8gaussians>moons", **small)
    result = STUDY.result(config)
    assert [each.entrant for each in result.outcomes] == [k for k in ENTRANTS if k != "vp"]
    assert result.outcome("reflow-1").field.path.source == "8gaussians"
    assert all(np.isfinite(each.straightness.deviation) for each in result.outcomes)
    assert not any(each.lead == "So far" for each in STUDY.say(config, result))


def test_every_entrant_comes_after_its_source():
    names = list(ENTRANTS)
    for name, entrant in ENTRANTS.items():
        assert not entrant.follows or names.index(entrant.follows) < names.index(name)


@pytest.mark.slow
@pytest.mark.parametrize("data", ["checkerboard", "8gaussians"])
def test_reflow_and_minibatch_ot_straighten_at_least_four_times(data):
    """Measured with 2,000 steps: 75 to 120 times (minibatch OT), 190 to 350 (reflow once)."""
    config = CouplingsConfig(data=data, steps=600, units=32, batch=128, n=1_000)
    compared = STUDY.compute(config)
    found = next(each for each in compared if each.outcome("reflow-1") is not None)
    for name in ("minibatch-ot", "reflow-1"):
        assert found.gain(name) > 4, name
        assert found.outcome(name).quality[0] < found.outcome(INDEPENDENT).quality[0] / 3
