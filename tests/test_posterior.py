"""The posterior over the parts of the data: its mean velocity is the exact field on every path."""

import pytest
import torch
from posterior_parts import part_posterior

from flowviz.distributions import Boxes, GaussianMixture, PointMasses
from flowviz.fields import exact_field
from flowviz.paths import AffinePath
from flowviz.schedulers import SCHEDULERS, scheduler

MEANS = torch.tensor([[-2.0, 0.5], [1.0, 1.5], [0.5, -2.0], [3.0, 3.0], [0.0, 0.0]])
COVARIANCES = torch.tensor(
    [
        [[0.3, 0.1], [0.1, 0.2]],
        [[0.5, -0.4], [-0.4, 0.6]],
        [[0.2, 0], [0, 0.9]],
        [[0.02, 0.01], [0.01, 0.03]],
        [[1.0, 0], [0, 1]],
    ]
)
WEIGHTS = torch.tensor([1.0, 2, 3, 0.5, 0])
EDGES = torch.linspace(-4.0, 4, 5)
KINDS = {
    "points": PointMasses(MEANS, WEIGHTS),
    "many points": PointMasses(torch.randn(300, 2, generator=torch.Generator().manual_seed(1))),
    "mixture": GaussianMixture(MEANS, COVARIANCES, WEIGHTS),
    "shared": GaussianMixture(MEANS, 0.4, WEIGHTS),
    "board": Boxes(EDGES, EDGES, torch.arange(16.0).reshape(4, 4) % 3),
    "boxes": Boxes(
        torch.tensor([-3.0, -1, 0.5, 4]),
        torch.tensor([-2.0, 0.25, 3]),
        torch.tensor([[1.0, 2], [0, 3], [0.5, 0]]),
    ),
}
FAR = torch.tensor([[-40.0, 25.0], [7.0, -6.5], [0.31, 0.17]], dtype=torch.float64)


def points(path, kind, t):
    """Points of p_t, distant points and one near the centre, (19, 2) float64."""
    g = torch.Generator().manual_seed(3)
    x_1 = KINDS[kind].sample(16, g).double()
    x_0 = torch.randn(16, 2, generator=g, dtype=torch.float64)
    return torch.cat([path.flow(t, x_0, x_1), FAR])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SCHEDULERS)
def test_weighted_mean_of_the_conditional_velocities_is_the_exact_field(name, kind):
    path = AffinePath(scheduler(name))
    for share in (0, 0.02, 0.3, 0.7, 0.95, 0.999, 1):
        t = torch.tensor(share * path.t_max, dtype=torch.float64)
        x = points(path, kind, t)
        found = part_posterior(path, KINDS[kind], t, x)
        exact = exact_field(path, KINDS[kind])(t, x)
        torch.testing.assert_close(found.velocity, exact, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(found.weights.sum(1), torch.ones(len(x)).double())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SCHEDULERS)
def test_means_are_those_of_the_exact_field_and_each_part_is_on_a_path_through_x(name, kind):
    path = AffinePath(scheduler(name))
    t = torch.linspace(0, 0.99, 19, dtype=torch.float64) * path.t_max
    x = points(path, kind, torch.tensor(0.5, dtype=torch.float64))
    found, field = part_posterior(path, KINDS[kind], t, x), exact_field(path, KINDS[kind])
    mean = torch.einsum("bk,bkd->bd", found.weights, found.data)
    torch.testing.assert_close(mean, field.data_mean(t, x), rtol=1e-9, atol=1e-9)
    c = path.coefficients(t, x)
    through = c.alpha[..., None] * found.data + c.sigma[..., None] * found.noise
    torch.testing.assert_close(through, x[:, None].expand_as(through), rtol=1e-8, atol=1e-8)


def test_points_have_the_conditional_velocity_of_the_path():
    path, t = AffinePath(scheduler("vp")), torch.tensor(0.6, dtype=torch.float64)
    found = part_posterior(path, KINDS["points"], t, FAR)
    for k, x_1 in enumerate(KINDS["points"].points[:4]):
        known = path.velocity(t, FAR, x_1.expand(3, 2))
        torch.testing.assert_close(found.velocities[:, k], known)
    assert found.weights.shape == (3, 4), "the part without weight is left out"


def test_effective_number_and_spread_are_within_their_bounds():
    path, x = AffinePath(scheduler("ot")), torch.zeros(1, 2, dtype=torch.float64)
    start = part_posterior(path, KINDS["many points"], torch.tensor(0.0), x)
    assert start.effective.item() == pytest.approx(300)
    end = part_posterior(path, KINDS["many points"], torch.tensor(0.999), x)
    assert 1 <= end.effective.item() < 1.5 and end.spread.item() < start.spread.item()
    # At t = 0 on OT the conditional velocities are x_1 - x, so that their spread is the data's.
    data = KINDS["many points"].points
    off = (data - data.mean(0)).square().sum(1).mean().sqrt()
    torch.testing.assert_close(start.spread[0], off)


def test_distributions_without_parts_are_refused():
    with pytest.raises(ValueError, match="needs a GaussianMixture"):
        part_posterior(AffinePath(scheduler("ot")), object(), torch.tensor(0.5), FAR)
    with pytest.raises(ValueError, match=r"x must have shape \(B, 2\)"):
        part_posterior(AffinePath(scheduler("ot")), KINDS["points"], torch.tensor(0.5), FAR[0])
