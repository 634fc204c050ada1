"""Densities with a check of the step size: error estimates, refinement, mass."""

import math

import numpy as np
import pytest
import torch

from flowviz.datasets import dataset
from flowviz.densities import WITHIN, LogProb, log_prob, normal_log_prob, refined_log_prob
from flowviz.experiments.fields import FieldRef
from flowviz.experiments.likelihood import DensityConfig, compute_density
from flowviz.experiments.mass import integrate


def shells(t, x):
    """A field that is steep far from the centre, where long steps skip its shells."""
    radius = x.norm(dim=1, keepdim=True)
    return x * (0.3 + 4 * torch.sin(8 * radius) * (radius > 2))


def test_unconverged_points_are_refined_and_the_error_is_estimated():
    axis = torch.linspace(-4, 4, 11)
    x = torch.cartesian_prod(axis, axis)
    how = {"t_max": 1.0, "method": "midpoint"}
    coarse, fine = (log_prob(shells, x, steps=n, **how).log_prob for n in (10, 1_280))
    found = refined_log_prob(shells, x, steps=10, **how)
    assert found.nfe == 20 and 0.05 < found.refined < 1
    wrong = (found.log_prob - fine).abs()
    converged = ~found.unconverged
    assert wrong[converged].max() < WITHIN < (coarse - fine).abs().max()
    assert (found.numerical[converged] <= WITHIN).all()
    # Where the flow contracts onto a shell, no forward solution returns to the point.
    assert 0.2 < converged.double().mean() < 1


@pytest.mark.parametrize("steps", [1, 2, 3, 8])
def test_any_number_of_steps_can_be_checked(steps):
    x = torch.randn(9, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = refined_log_prob(lambda t, x: -x, x, t_max=1.0, method="midpoint", steps=steps)
    expected = log_prob(lambda t, x: -x, x, t_max=1.0, method="dopri5", tol=1e-8).log_prob
    assert not found.unconverged.any()
    assert (found.log_prob - expected).abs().max() < 0.2


def test_an_adaptive_method_needs_no_check():
    x = torch.ones(3, 2)
    found = refined_log_prob(lambda t, x: -x, x, t_max=1.0, method="dopri5", tol=1e-4)
    assert found.numerical is None and not found.unconverged.any()


@pytest.mark.slow
def test_density_off_the_data_is_that_of_an_adaptive_method():
    """Midpoint with 100 evaluations gives 3.5 to 9.3; by dopri5 it is -13.4 to -18.7."""
    origin = FieldRef.of("checkerboard-vp")
    x = torch.tensor([[-0.75, 0.15], [-0.75, 1.95], [-1.65, -2.7]])
    how = {"t_max": origin.path.t_max, "method": "midpoint", "steps": 50}
    plain = log_prob(origin.field, x, **how).log_prob
    found = refined_log_prob(origin.field, x, **how)
    exact = log_prob(origin.field, x, t_max=how["t_max"], method="dopri5", tol=1e-7).log_prob
    assert plain.min() > 0 and found.refined == 1
    assert (found.log_prob - exact).abs().max() < 0.1


def test_step_sizes_that_agree_are_refined_if_the_forward_solve_does_not_return():
    """Off the data, two step sizes give a log-density of -4; the correct one is below -15."""
    origin = FieldRef.of("spirals-vp")
    x = torch.tensor([[3.9, 3.75], [4.05, 3.9], [4.35, 3.45]])
    how = {"t_max": origin.path.t_max, "method": "midpoint"}
    coarse, plain = (log_prob(origin.field, x, steps=n, **how).log_prob for n in (6, 12))
    found = refined_log_prob(origin.field, x, steps=12, **how)
    assert (plain - coarse).abs().max() < 0.1 and plain.min() > -5
    assert found.refined == 1 and found.log_prob.max() < -15


@pytest.mark.slow
@pytest.mark.parametrize("name", ["25gaussians-vp", "8gaussians-learned", "exact:moons/vp"])
def test_density_integrates_to_one(name):
    """With fewer evaluations the estimated error is larger; test_likelihood uses 160.

    At NFE 20, 40 and 80 and on 54 cells the errors of 25gaussians-vp, checkerboard-ot and -vp and
    moons-vp were 0.1 to 0.9 times the estimate.
    """
    origin = FieldRef.of(name)
    field = "exact" if origin.exact else name
    size = {"cells": 48, "nfe": 80}
    found = compute_density(
        DensityConfig(data=origin.data, path=origin.path_spec, field=field, **size)
    )
    assert abs(found.mass - 1) < found.mass_error < 0.04 and abs(found.mass - 1) < 0.03
    assert np.isfinite(found.log_density).all()


@pytest.mark.parametrize("steps", [16, 32])
def test_the_steps_are_extrapolated(steps):
    """Midpoint, order 2: the remaining error falls by a factor of about 8 when steps halve."""
    field = FieldRef.of("exact:mixture:1,-0.5@0.8/ot").field
    x = torch.tensor([[1.0, -0.5], [2.0, 0.0], [0.0, 1.5]], dtype=torch.float64)
    how = {"t_max": 0.9, "method": "midpoint"}
    right = log_prob(field, x, t_max=0.9, method="dopri8", tol=1e-11).log_prob
    plain = (log_prob(field, x, steps=steps, **how).log_prob - right).abs()
    found, finer = (refined_log_prob(field, x, steps=n, **how) for n in (steps, 2 * steps))
    wrong = (found.log_prob - right).abs()
    assert wrong.max() < plain.max() / 2 and wrong.max() < found.numerical.max()
    assert wrong.max() > 6 * (finer.log_prob - right).abs().max()
    torch.testing.assert_close(found.numerical, found.correction.abs())


@pytest.mark.parametrize(("cells", "shrunk"), [(90, 1.0), (54, 0.97)])
def test_an_integral_does_not_depend_on_the_position_of_edges_in_the_cells(cells, shrunk):
    exact = dataset("checkerboard").distribution

    def density(x):
        return LogProb(exact.log_prob(x / shrunk) - 2 * math.log(shrunk), x, 0)

    axis = (torch.arange(cells, dtype=torch.float64) + 0.5) * (10 / cells) - 5
    centers = torch.cartesian_prod(axis, axis).flip(1)
    found = density(centers)
    total = found.log_prob.exp().sum().item() * (10 / cells) ** 2
    assert abs(total - 1) < 1e-3 if shrunk == 1 else abs(total - 1) > 0.02
    assert integrate(found, centers, density).value == pytest.approx(1, abs=0.006)


@pytest.mark.parametrize("cells", [54, 90])
@pytest.mark.parametrize("data", ["checkerboard", "moons", "8gaussians", "25gaussians"])
def test_the_error_of_an_integral_is_that_of_the_lattice(data, cells):
    """For densities of many sizes and positions with integral 1, the estimate fits the error."""
    exact = dataset(data).distribution
    axis = (torch.arange(cells, dtype=torch.float64) + 0.5) * (10 / cells) - 5
    centers, ratios = torch.cartesian_prod(axis, axis).flip(1), []
    for k in range(12):
        size, shift = 0.8 + 0.01 * k, torch.tensor([0.037, -0.023]).double() * k

        def density(x, size=size, shift=shift):
            at = exact.log_prob((x - shift) / size) - 2 * math.log(size)
            none = torch.zeros_like(at)
            return LogProb(at, x, 0, numerical=none, correction=none)

        found = integrate(density(centers), centers, density)
        assert abs(found.value - 1) < 3 * found.error < 0.06
        ratios.append((found.value - 1) / found.error)
    assert 0.05 < np.sqrt(np.mean(np.square(ratios))) < 1.5


def test_the_error_of_an_integral_includes_the_correction_of_the_steps():
    axis = (torch.arange(40, dtype=torch.float64) + 0.5) / 4 - 5
    centers = torch.cartesian_prod(axis, axis).flip(1)

    def density(x):
        shift = torch.full_like(x[:, 0], 0.02)
        return LogProb(normal_log_prob(x), x, 0, numerical=shift, correction=shift)

    found = integrate(density(centers), centers, density)
    assert found.value == pytest.approx(1, abs=0.002)
    assert found.error == pytest.approx(0.02, abs=0.002)
