"""How straight flows are: closed forms of Gaussians, the table of paper-facts D3, the identity."""

import math

import pytest
import torch

from flowviz.datasets import dataset
from flowviz.distributions import Boxes, GaussianMixture
from flowviz.fields import exact_field
from flowviz.paths import AffinePath
from flowviz.schedulers import SCHEDULERS, scheduler
from flowviz.solvers import solve
from flowviz.straightness import (
    LATEST,
    conditional_straightness,
    marginal_straightness,
    quadrature_times,
    straightness_of,
)


def path(spec):
    return AffinePath(scheduler(spec))


def noise(n, seed=0):
    return torch.randn(n, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def whitened(n):
    """Noise with exactly the second moments of N(0, I), so that few points suffice."""
    x = noise(n)
    x = x - x.mean(dim=0)
    return x @ torch.linalg.inv(torch.linalg.cholesky(x.T @ x / n)).T


def gaussian(std):
    return GaussianMixture(torch.zeros(1, 2), std)


def board(half_width):
    """A checkerboard of another size."""
    given = dataset("checkerboard").distribution
    scale = half_width / given.edges_x[-1]
    return Boxes(scale * given.edges_x, scale * given.edges_y, given.weights)


@pytest.mark.parametrize("std", [0.3, 1.0, 2.0])
def test_ot_flow_to_a_gaussian_has_the_closed_form(std):
    """S = d s (2 - pi / 2), W_2^2 = d (s - 1)^2, and the arc length of radial trajectories."""
    found = marginal_straightness(exact_field(path("ot"), gaussian(std)), whitened(512))
    assert found.deviation == pytest.approx(2 * std * (2 - math.pi / 2), rel=0.01)
    assert found.displacement == pytest.approx(2 * (std - 1) ** 2, abs=0.03 * std)
    if std != 1:
        least = std / math.hypot(1, std)  # minimum of the standard deviation over time
        arc = (1 - least) + (std - least)
        assert found.arc_over_chord == pytest.approx(arc / abs(std - 1), rel=0.01)


def test_the_error_of_s_is_its_spread_between_samples_of_noise():
    """The error must be that of the 100 particles of a sample."""
    flow = exact_field(path("ot"), gaussian(2.0))
    times, x_0 = quadrature_times(flow.path), torch.cat([noise(100, seed) for seed in range(40)])
    states = solve(flow, x_0, times, "dopri5", tol=1e-3).states
    found = [straightness_of(flow, times, each) for each in states.split(100, dim=1)]
    spread = torch.tensor([each.deviation for each in found]).std().item()
    stated = sum(each.error for each in found) / len(found)
    assert stated == pytest.approx(spread, rel=0.35)  # its error with 40 values is 11%
    assert math.isnan(marginal_straightness(flow, noise(1), tol=1e-3).error)


@pytest.mark.parametrize("spec", ["vp", "trig"])
def test_paths_of_constant_variance_do_not_move_a_unit_gaussian(spec):
    found = marginal_straightness(exact_field(path(spec), gaussian(1.0)), noise(64))
    assert found.deviation == pytest.approx(0, abs=1e-9)
    assert found.energy < 1e-9 and found.acceleration < 1e-9


def test_acceleration_of_a_gaussian_flow_is_that_of_its_closed_form():
    std, x_0 = 2.0, whitened(256)
    found = marginal_straightness(exact_field(path("ot"), gaussian(std)), x_0)
    t = torch.linspace(0, LATEST, 2001, dtype=torch.float64, requires_grad=True)
    spread = torch.sqrt(t**2 * std**2 + (1 - t) ** 2)  # x_t = spread x_0
    (speed,) = torch.autograd.grad(spread.sum(), t, create_graph=True)
    (turning,) = torch.autograd.grad(speed.sum(), t)
    expected = 2 * torch.trapezoid(turning**2, t.detach()) / LATEST
    assert found.acceleration == pytest.approx(expected.item(), rel=0.02)


@pytest.mark.parametrize("spec", [name for name in SCHEDULERS if name != "ve"])
def test_deviation_is_energy_minus_displacement(spec):
    field = exact_field(path(spec), dataset("8gaussians").distribution)
    x_0 = noise(200)
    x_1 = dataset("8gaussians").sample(200, torch.Generator().manual_seed(1)).double()
    for found in (
        marginal_straightness(field, x_0),
        conditional_straightness(field.path, x_0, x_1),
    ):
        assert found.deviation == pytest.approx(
            found.energy - found.displacement, abs=2e-3 * found.energy
        )
        assert found.arc_over_chord >= 1 - 1e-9
        assert (found.times[0], found.times[-1]) == (0, 1)


@pytest.mark.parametrize("spec", ["vp", "trig"])
def test_no_trajectory_is_shorter_than_its_chord(spec):
    # Towards a narrow Gaussian all trajectories are radial: straight, without constant speed.
    found = marginal_straightness(exact_field(path(spec), gaussian(0.4)), noise(64))
    assert found.arc_over_chord == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("sigma_min", [0.0, 0.1])
def test_conditional_ot_is_straight_at_constant_speed(sigma_min):
    found = conditional_straightness(path(f"ot:sigma_min={sigma_min}"), noise(50), noise(50, 1))
    assert found.deviation < 1e-20 and found.acceleration < 1e-18
    assert found.arc_over_chord == pytest.approx(1)


@pytest.mark.parametrize("spec", ["vp", "trig"])
def test_conditional_flows_of_the_other_paths_are_not(spec):
    found = conditional_straightness(path(spec), noise(50), noise(50, 1))
    assert found.relative > 0.1


TABLE = {  # half-width of the board, path: S, arc over chord; paper-facts D3, n = 1500
    (1.0, "ot"): (0.525, 1.575),
    (1.0, "vp"): (0.680, 1.136),
    (1.0, "trig"): (0.188, 1.136),
    (4.444, "ot"): (2.34, 1.087),
    (4.444, "vp"): (4.98, 1.033),
    (4.444, "trig"): (1.62, 1.033),
}


@pytest.mark.parametrize(
    ("half_width", "spec"),
    [pytest.param(*key, marks=pytest.mark.slow if key[0] > 1 else ()) for key in TABLE],
)
def test_boards_have_the_measures_of_the_table(half_width, spec):
    """OT is not always the straighter marginal flow: on the small board VP has less curvature."""
    found = marginal_straightness(exact_field(path(spec), board(half_width)), whitened(800))
    deviation, ratio = TABLE[half_width, spec]
    assert found.deviation == pytest.approx(deviation, rel=0.05)
    assert found.arc_over_chord == pytest.approx(ratio, rel=0.02)
