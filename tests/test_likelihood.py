"""Likelihoods and densities of a flow: closed forms, mass, probes, points, agreement."""

import math
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

from flowviz import checkpoints
from flowviz.datasets import dataset
from flowviz.densities import draw_probes, log_prob, log_prob_along
from flowviz.distributions import GaussianMixture
from flowviz.experiments.evaluate import Likelihood, likelihood
from flowviz.experiments.fields import EXACT
from flowviz.experiments.likelihood import (
    DensityConfig,
    GapConfig,
    LikelihoodConfig,
    PointConfig,
    bits_per_dim,
    compute_density,
    compute_gap,
    compute_likelihood,
    compute_point,
)
from flowviz.experiments.posterior import ConversionConfig, compute_conversions
from flowviz.fields import exact_field
from flowviz.paths import AffinePath
from flowviz.schedulers import SCHEDULERS, CondOT, scheduler
from flowviz.solvers import solve
from flowviz.studies import STUDIES
from flowviz.studies.likelihood import LikelihoodsResult

GAUSSIAN = "mixture:1,-0.5@0.8"
"""One Gaussian, N((1, -0.5), 0.8^2 I)."""

EARLY = "shaped:s4=0.02"
"""A path that stops early, at t = 0.9698."""

CARDS = [card.name for card in checkpoints.listing() if card.steps > 0]

SAMPLE = ("checkerboard-ot", "circles-vp")
"""Checkpoints with fast integrals."""

CELLS = {"spirals": 72, "swissroll": 72}
"""Cells a side that resolve the learned densities of a data set; 54 do for others."""


def mixture():
    means = torch.tensor([[1.0, -0.5], [-1.0, 1.5]])
    covariances = torch.tensor([[[0.7, 0.2], [0.2, 0.3]], [[0.4, -0.1], [-0.1, 0.5]]])
    return GaussianMixture(means, covariances)


@pytest.mark.parametrize("path", ["ot", "vp", "trig"])
def test_gaussian_oracle_to_a_millionth(path):
    """The flow's log-density is the path's own, to which alpha_0 != 0 adds at most 1e-6 on VP."""
    affine = AffinePath(scheduler(path))
    target = GaussianMixture(torch.tensor([[1.0, -0.5]]), 0.8)
    exact = exact_field(affine, target)
    x = torch.tensor([[1.0, -0.5], [2.0, 0.0], [0.0, 1.5], [-1.0, -2.0]], dtype=torch.float64)
    start = torch.tensor(0.0, dtype=torch.float64)
    found = log_prob(
        exact,
        x,
        t_max=affine.t_max,
        method="dopri8",
        tol=1e-10,
        log_prior=lambda x_0: exact.log_density(start, x_0),
    )
    expected = exact.log_density(torch.tensor(affine.t_max, dtype=torch.float64), x)
    torch.testing.assert_close(found.log_prob, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("path", ["ot", "vp", "trig"])
@pytest.mark.parametrize("t", [0.0, 0.4, 1.0])
def test_density_by_change_of_variables_is_the_exact_one(path, t):
    config = DensityConfig(
        data=GAUSSIAN, path=path, field=EXACT, t=t, method="dopri5", tol=1e-6, cells=24
    )
    result = compute_density(config)
    assert result.log_density.shape == result.exact.shape == (24, 24)
    # VP's noise lacks alpha_0 x_1.
    np.testing.assert_allclose(result.density, result.exact, atol=2e-3 if path == "vp" else 2e-4)
    assert abs(result.kl) < 1e-3
    assert (result.nfe > 0) == (t > 0)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 1.0])
def test_what_is_computed_at_t_is_shown_at_t(share):
    """Times of a config are shares of t_max in [0, 1]; here t_max is 0.97."""
    path = AffinePath(scheduler(EARLY))
    assert path.t_max < 0.975
    exact = exact_field(path, dataset(GAUSSIAN).distribution)
    density = compute_density(
        DensityConfig(data=GAUSSIAN, path=EARLY, t=share, cells=8, method="dopri5")
    )
    axis = torch.from_numpy(density.axis)
    at_shown = exact.density_grid(torch.tensor(density.t, dtype=torch.float64), axis, axis)
    assert density.t == path.time(share)
    np.testing.assert_allclose(density.exact, at_shown.float())
    np.testing.assert_allclose(density.density, at_shown, atol=1e-3)
    gap = compute_gap(GapConfig(data=GAUSSIAN, path=EARLY, t=share, n=10, method="dopri5"))
    assert gap.t == path.time(share) and abs(gap.kl) < 1e-3
    found = compute_conversions(ConversionConfig(data=GAUSSIAN, path=EARLY, t=share, arrows=4))
    assert found.t == path.time(share)


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_do_not_change_the_result(workers):
    field = exact_field(AffinePath(scheduler("ot")), mixture())
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    alone, together = (
        log_prob(field, x, t_max=0.9, method="midpoint", steps=4, chunk=9, workers=n)
        for n in (1, workers)
    )
    assert torch.equal(alone.log_prob, together.log_prob)
    assert torch.equal(alone.x_0, together.x_0)


def test_memory_of_the_steps_is_released_after_each_chunk(monkeypatch):
    alive, most = [], []

    def watched(*arguments, **options):
        solution = solve(*arguments, **options)
        alive.append(weakref.ref(solution.step_states))
        most.append(sum(each() is not None for each in alive))
        return solution

    monkeypatch.setattr("flowviz.densities.solve", watched)
    log_prob(lambda t, x: -x, torch.zeros(60, 2), t_max=0.9, method="euler", steps=3, chunk=10)
    assert most == [1] * 6


def test_hutchinson_is_unbiased_and_estimates_its_error():
    """With 4,000 probes the estimate is within 5 standard errors of the exact value."""
    field = exact_field(AffinePath(scheduler("ot")), mixture())
    x = torch.tensor([[0.3, 0.2], [1.4, -0.9], [-1.5, 2.0]], dtype=torch.float64)
    how = {"t_max": 0.8, "method": "midpoint", "steps": 4}
    exact = log_prob(field, x, **how)
    probes = draw_probes(x, 4_000, torch.Generator().manual_seed(0))
    assert set(probes.unique().tolist()) == {-1.0, 1.0}
    found = log_prob(field, x, probe=probes, **how)
    assert (found.error > 0).all()
    assert ((found.log_prob - exact.log_prob).abs() < 5 * found.error).all()
    torch.testing.assert_close(found.x_0, exact.x_0)
    # The error falls with the root of the number of probes.
    few = log_prob(field, x, probe=probes[:1_000], **how)
    torch.testing.assert_close(
        few.error / found.error, torch.full_like(x[:, 0], 2.0), rtol=0.2, atol=0
    )
    assert log_prob(field, x, probe=probes[:1], **how).error is None


def test_hutchinson_on_a_grid_has_an_error_everywhere():
    shared = {"data": GAUSSIAN, "field": EXACT, "cells": 8, "method": "midpoint", "nfe": 8}
    exact = compute_density(DensityConfig(**shared))
    assert exact.error is None
    found = compute_density(DensityConfig(**shared, probes=4))
    assert found.error.shape == (8, 8)
    again = compute_density(DensityConfig(**shared, probes=4))
    assert np.array_equal(found.log_density, again.log_density)
    other = compute_density(DensityConfig(**shared, probes=4, seed=1))
    assert other.log_density.shape == (8, 8)


def test_at_least_one_probe_is_required():
    with pytest.raises(ValueError, match="one probe or more"):
        draw_probes(torch.zeros(3, 2), 0)


def test_log_prob_along_a_trajectory_is_that_of_its_times():
    field = exact_field(AffinePath(scheduler("ot")), mixture())
    x = torch.tensor([[0.3, 0.2], [1.4, -0.9]], dtype=torch.float64)
    trail = log_prob_along(field, x, t_max=0.9, method="rk4", steps=60)
    assert trail.times[0] == 0 and trail.times[-1] == 0.9
    torch.testing.assert_close(trail.states[-1], x)
    whole = log_prob(field, x, t_max=0.9, method="rk4", steps=60)
    torch.testing.assert_close(trail.log_prob[-1], whole.log_prob)
    for k in (0, 20, 60):
        exact = field.log_density(trail.times[k], trail.states[k])
        torch.testing.assert_close(trail.log_prob[k], exact, rtol=0, atol=1e-5)


@pytest.mark.parametrize("path", SCHEDULERS)
def test_exact_field_has_no_gap(path):
    """Except for alpha_0 x_1, which the noise lacks: 0 on OT, 1e-5 on VP, little on VE."""
    config = GapConfig(
        data=GAUSSIAN, path=path, field=EXACT, t=0.7, n=200, method="dopri5", tol=1e-6
    )
    gap = compute_gap(config)
    assert abs(gap.kl) < 5 * gap.error + 5e-3
    assert gap.error < 0.05


def test_gap_detects_the_field_of_another_data_set():
    class Still:
        def __call__(self, t, x):
            return 0 * x

    config = GapConfig(
        data=GAUSSIAN, path="ot", field="live:still", n=4_000, method="euler", nfe=1
    )
    gap = compute_gap(config, field=Still())
    # KL(N(m, s^2 I) || N(0, I)) in the plane
    s2, m2 = 0.64, 1.25
    expected = (2 * s2 + m2 - 2 - 2 * math.log(s2)) / 2
    assert abs(gap.kl - expected) < 5 * gap.error


def test_learned_path_is_compared_with_its_own_densities():
    """Noise at t = 0, data at t = 1 with the KL of the card, and a mean over data between them."""
    name = "8gaussians-learned-straight"
    learned = {"data": "8gaussians", "path": "learned", "field": name}
    solver = {"method": "dopri5", "tol": 1e-4}
    start, middle, end = (
        compute_gap(GapConfig(**learned, **solver, t=t, n=200)) for t in (0.0, 0.6, 1.0)
    )
    assert start.kl == pytest.approx(0, abs=1e-5)
    stored = checkpoints.read_card(name).quality["likelihood"]
    assert abs(end.kl - stored["kl"]) < 4 * math.hypot(end.error, stored["error"])
    assert -4 * middle.error < middle.kl < end.kl + 4 * middle.error
    with pytest.raises(ValueError, match="mean over 20,000 data points"):
        compute_gap(GapConfig(**learned, **solver, t=0.995, n=20))

    point = compute_point(PointConfig(**learned, x=4.0, y=0.0))
    known = np.isfinite(point.exact)
    assert known[0] and known[-1] and known[: len(known) // 2].all()
    assert point.exact[0] == pytest.approx(point.log_prior, abs=1e-5)
    reference = AffinePath(CondOT(sigma_min=0.01))
    exact = exact_field(reference, dataset("8gaussians").distribution)
    one = torch.tensor([1.0], dtype=torch.float64)
    at = torch.tensor([[4.0, 0.0]], dtype=torch.float64)
    assert point.exact[-1] == pytest.approx(exact.log_density(one, at).item(), abs=1e-9)


def test_likelihood_is_that_of_evaluate():
    config = LikelihoodConfig(data=GAUSSIAN, path="ot", field=EXACT, n=100, seed=3)
    found = compute_likelihood(config)
    target, affine = dataset(GAUSSIAN), AffinePath(scheduler("ot"))
    assert found == likelihood(exact_field(affine, target.distribution), target, n=100, seed=3)
    assert bits_per_dim(math.log(32)) == pytest.approx(2.5)


@pytest.mark.parametrize("path", SCHEDULERS)
def test_point_is_moved_to_noise_and_back(path):
    config = PointConfig(
        data=GAUSSIAN, path=path, field=EXACT, x=1.2, y=-0.4, method="dopri5", tol=1e-7
    )
    point = compute_point(config)
    assert np.allclose(point.backward[-1], [1.2, -0.4])
    assert np.array_equal(point.forward[0], point.backward[0])
    assert point.miss < 1e-3
    assert point.times[0] == 0 and (np.diff(point.times) > 0).all()
    assert point.log_prob == pytest.approx(point.exact[-1], abs=2e-2 if path == "ve" else 3e-3)
    assert point.log_density[0] == pytest.approx(point.log_prior)


def test_points_that_do_not_return_are_solved_with_smaller_steps():
    """Far from the centre this field is steep: long steps skip shells and give wrong densities."""

    def shells(t, x):
        radius = x.norm(dim=1, keepdim=True)
        return x * (0.3 + 4 * torch.sin(8 * radius) * (radius > 2))

    config = DensityConfig(data=GAUSSIAN, path="ot", field="live:shells", cells=36, nfe=20)
    found = compute_density(config, field=shells)
    assert found.refined > 0.05 and found.nfe == 20
    path = AffinePath(scheduler("ot"))
    axis = torch.from_numpy(found.axis).float()
    points = torch.cartesian_prod(axis, axis).flip(1)
    coarse, fine = (
        log_prob(
            shells,
            points,
            t_max=path.t_max,
            method="midpoint",
            **replace(config, nfe=nfe).budget(path, path.t_max),
        ).log_prob.reshape(36, 36)
        for nfe in (20, 5_120)
    )
    assert (torch.from_numpy(found.density) - fine.exp()).abs().max() < 2e-3
    assert (coarse.exp() - fine.exp()).abs().max() > 1e-2


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in SAMPLE else pytest.mark.slow) for name in CARDS],
)
def test_shipped_checkpoints_have_mass_one_in_the_frame(name):
    """Within 1%: with 160 evaluations the extrapolated steps leave less than 0.1%."""
    card = next(card for card in checkpoints.listing() if card.name == name)
    size = {"cells": CELLS.get(card.data, 54), "nfe": 160}
    result = compute_density(DensityConfig(data=card.data, path=card.path, field=name, **size))
    assert result.exact_mass == pytest.approx(1, abs=0.005), "the grid resolves the data"
    assert result.mass == pytest.approx(1, abs=0.01)
    assert abs(result.mass - 1) < result.mass_error + 0.001
    assert np.isfinite(result.kl) and result.kl > -1e-3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DensityConfig(t=1.5), "t must lie between 0 and 1"),
        (lambda: DensityConfig(cells=1), r"cells must be in 2\.\.512"),
        (lambda: DensityConfig(probes=-1), "probes must be in"),
        (lambda: DensityConfig(method="rk4", nfe=41), "cannot take exactly 41"),
        (lambda: GapConfig(n=1), "n must be in"),
        (lambda: PointConfig(x=math.nan), "must be finite"),
        (lambda: PointConfig(tol=0.0), "tol must lie"),
        (lambda: LikelihoodConfig(n=1), "n must be in"),
    ],
)
def test_invalid_configs_are_refused_in_one_sentence(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_likeliest_field_is_named_within_the_errors():
    study = STUDIES["likelihood"]

    def finding(**nlls):
        found = [Likelihood(n, n - 1, 0.01, 1.0, 100, "dopri5", 1e-5, 50) for n in nlls.values()]
        names, paths = tuple(nlls), ("ot",) * len(nlls)
        result = LikelihoodsResult(
            names=names, labels=names, paths=paths, found=tuple(found), entropy=1.0
        )
        return str(study.say(study.config(), result)[0])

    assert finding(A=1.2).startswith("Likeliest: A, with an NLL of 1.2000 nats")
    assert finding(A=1.5, B=1.2).startswith("Likeliest: B, with an NLL of 1.2000 nats")
    assert finding(A=1.21, B=1.2, C=1.5).startswith("Likeliest, within the errors: A and B, with")
