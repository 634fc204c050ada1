"""Couplings: the pairs of noise and data of a batch, also within classes."""

import numpy as np
import pytest
import torch

from flowviz.couplings import (
    COUPLINGS,
    minibatch_ot,
    sinkhorn,
    within_classes,
)
from flowviz.datasets import dataset
from flowviz.straightness import marginal_straightness
from flowviz.training import TrainConfig, semidiscrete, train
from flowviz.training.images import ImageTrainConfig, draw_batch


def batch(n=256):
    g = torch.Generator().manual_seed(0)
    return torch.randn(n, 2, generator=g), torch.randn(n, 2, generator=g) + 2.0, g


def cost(x_0, x_1):
    return (x_0 - x_1).square().sum(1).mean().item()


def test_entropic_pairs_cost_between_exact_and_independent_ones_and_keep_the_data():
    x_0, x_1, g = batch()
    found = sinkhorn(x_0, x_1, g)
    assert cost(x_0, minibatch_ot(x_0, x_1)) < cost(x_0, found) < cost(x_0, x_1)
    assert all((x_1 == row).all(1).any() for row in found)
    torch.testing.assert_close(found.mean(0), x_1.mean(0), atol=0.1, rtol=0)
    # One far point, whose row of the plan would underflow to 0.
    x_0[0] = 1e3
    assert sinkhorn(x_0, x_1, g).isfinite().all()
    assert (sinkhorn(x_0[:1], x_0[:1], g) == x_0[:1]).all()


@pytest.fixture
def few_cells(monkeypatch):
    monkeypatch.setattr(semidiscrete, "CELLS", 256)


def test_semidiscrete_pairs_are_as_near_as_exact_ones_and_each_point_has_its_share(few_cells):
    data, g = dataset("8gaussians"), torch.Generator().manual_seed(0)
    cells = semidiscrete.semidiscrete(data, seed=0)
    x_0, x_1 = cells.draw(2_048, g)
    assert cost(x_0, x_1) == pytest.approx(cost(x_0, minibatch_ot(x_0, x_1)), rel=0.1)
    component, expected = (
        torch.cdist(x, data.distribution.means.float()).argmin(1).bincount(minlength=8) / len(x)
        for x in (x_1, cells.points)
    )
    np.testing.assert_allclose(component, expected, atol=0.03)
    # The optimal map of a data set onto itself is the identity: each x_0 has a point nearby.
    x_0, x_1 = semidiscrete.semidiscrete(dataset("from:moons>moons", sources=True), seed=0).draw(
        512, g
    )
    assert cost(x_0, x_1) < 0.05 * x_0.square().sum(1).mean().item()


def test_a_training_with_semidiscrete_pairs_is_straighter_and_repeats(few_cells):
    data, x_0 = dataset("8gaussians"), torch.randn(256, 2)
    config = {"data": "8gaussians", "width": 48, "depth": 2, "steps": 300, "targets": "pair"}
    fields = []
    for coupling in ("independent", "semidiscrete", "semidiscrete"):
        *_, last = train(TrainConfig(coupling=coupling, **config), data)
        fields.append(last.ema.eval())
    curved, straight, again = (marginal_straightness(each, x_0, tol=1e-4) for each in fields)
    assert straight.deviation < 0.3 * curved.deviation
    assert straight.deviation == again.deviation


@pytest.mark.parametrize("name", COUPLINGS)
def test_couplings_within_classes_do_not_mix_classes(name):
    x_0, x_1, g = batch(60)
    y = torch.arange(60) % 3
    x_1 = x_1 + 100.0 * y[:, None]
    found = within_classes(COUPLINGS[name], x_0, x_1, y, g)
    assert torch.equal((found[:, 0] / 100).round().long(), y)
    if name == "minibatch-ot":
        assert cost(x_0, found) < cost(x_0, x_1)
        assert sorted(found[:, 0].tolist()) == sorted(x_1[:, 0].tolist()), "a permutation"
        mixed = COUPLINGS[name](x_0, x_1, g)
        assert not torch.equal((mixed[:, 0] / 100).round().long(), y), "the batch would mix them"


def test_image_batches_are_coupled_within_their_classes():
    class Images:
        images = torch.arange(40)
        labels = torch.arange(40) % 4
        classes, std = ("a", "b", "c", "d"), 1.0

        def __len__(self):
            return 40

        def to_unit(self, images):
            return images.float()[:, None, None, None].expand(-1, 1, 2, 2)

    shared = {"batch": 40, "flips": False, "seed": 1}
    plain, coupled = (
        draw_batch(ImageTrainConfig(**shared, coupling=name), Images(), 0)
        for name in ("independent", "minibatch-ot")
    )
    for name in ("t", "x_0", "y"):
        assert torch.equal(getattr(plain, name), getattr(coupled, name))
    kept = coupled.y < 4  # some classes are dropped for guidance
    assert 0 < kept.sum() < 40
    assert torch.equal(coupled.x_1[kept, 0, 0, 0].long() % 4, coupled.y[kept])
    assert not torch.equal(plain.x_1, coupled.x_1)
    np.testing.assert_array_equal(
        np.sort(plain.x_1[:, 0, 0, 0].numpy()), np.sort(coupled.x_1[:, 0, 0, 0].numpy())
    )
