"""Densities whose steps are checked: error estimates, refinement, mass."""

import numpy as np
import pytest
import torch

from flowviz.densities import WITHIN, log_prob, refined_log_prob
from flowviz.experiments.fields import FieldRef
from flowviz.experiments.likelihood import DensityConfig, compute_density


def shells(t, x):
    """Steep off the middle: long steps leap over its shells."""
    radius = x.norm(dim=1, keepdim=True)
    return x * (0.3 + 4 * torch.sin(8 * radius) * (radius > 2))


def test_what_has_not_converged_is_refined_and_the_error_is_estimated():
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


def test_an_adaptive_method_checks_itself():
    x = torch.ones(3, 2)
    found = refined_log_prob(lambda t, x: -x, x, t_max=1.0, method="dopri5", tol=1e-4)
    assert found.numerical is None and not found.unconverged.any()


def test_density_off_the_data_is_not_made_up():
    """Issue 12, 2.1: midpoint with 100 evaluations gave +66.8; the log-density is -31.8."""
    origin = FieldRef.of("checkerboard-vp")
    x = torch.tensor([[-2.85, 4.45]])
    how = {"t_max": origin.path.t_max, "method": "midpoint", "steps": 50}
    plain = log_prob(origin.field, x, **how).log_prob.item()
    found = refined_log_prob(origin.field, x, **how)
    assert plain > 0 and found.refined == 1
    assert found.log_prob.item() < -20 or found.unconverged.all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["25gaussians-vp", "8gaussians-learned", "exact:moons/vp"])
def test_density_integrates_to_one(name):
    """Fewer steps for the fields with the largest errors; test_likelihood has all, with 160."""
    origin = FieldRef.of(name)
    field = "exact" if origin.exact else name
    size = {"cells": 72 if origin.data == "8gaussians" else 48, "nfe": 100}  # see test_likelihood
    found = compute_density(
        DensityConfig(data=origin.data, path=origin.path_spec, field=field, **size)
    )
    assert found.mass == pytest.approx(1, abs=0.03)
    assert np.isfinite(found.log_density).all()
