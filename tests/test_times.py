"""Distributions of training times: their quantiles, their ends and their uses."""

import pytest
import torch

from flowviz.datasets import dataset
from flowviz.draws import stream
from flowviz.paths import AffinePath
from flowviz.schedulers import SCHEDULERS
from flowviz.studies.race import RaceConfig
from flowviz.training import TrainConfig, irreducible_loss
from flowviz.training.times import TIMES, stratified


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("name", [*TIMES, "logit-normal:-1,0.5", "shift:0.2"])
def test_times_lie_on_the_path_and_do_not_change_the_draws(name, scheduler):
    path = AffinePath(SCHEDULERS[scheduler]())
    t = TIMES[name](stratified(500, stream(0, "times")), path, 0.5)
    assert t.shape == (500,) and t.dtype == torch.float64
    assert t.min() >= 0 and t.max() <= path.t_max and len(t.unique()) > 490


def test_logit_normal_and_shifted_times_have_the_quantiles_of_their_formulas():
    path = AffinePath(SCHEDULERS["ot"]())
    u = torch.tensor([0.1586552539, 0.5, 0.8413447461], dtype=torch.float64)  # of -1, 0, 1
    found = torch.logit(TIMES["logit-normal:-0.5,2"](u, path, 0.5) / path.t_max)
    torch.testing.assert_close(found, found.new_tensor([-2.5, -0.5, 1.5]), rtol=0, atol=1e-8)
    level = 1 - u
    shifted = 1 - TIMES["shift:4"](u, path, 0.5) / path.t_max
    torch.testing.assert_close(shifted, 4 * level / (1 + 3 * level))


@pytest.mark.parametrize("name", ["logit-normal:1", "logit-normal:0,0", "shift:", "shift:nan"])
def test_invalid_parameters_are_refused_in_one_sentence(name):
    with pytest.raises(ValueError, match="Times must read logit-normal:MEAN,SPREAD"):
        TrainConfig(times=name)
    with pytest.raises(ValueError, match="Did you mean 'level'"):
        TrainConfig(times="levle")


def test_the_floor_of_a_training_is_that_of_its_times():
    floors = {
        name: irreducible_loss(TrainConfig(data="moons", times=name), dataset("moons"), 10_000)
        for name in ("uniform", "shift:1", "shift:5")
    }
    assert floors["shift:1"] == pytest.approx(floors["uniform"], rel=1e-6)
    assert abs(floors["shift:5"] / floors["uniform"] - 1) > 0.05


def test_the_race_trains_with_the_chosen_times():
    config = RaceConfig(times="level")
    assert config.training("vp", seed=0, lr=0.01, steps=10).times == "level"
