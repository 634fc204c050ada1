"""Schedulers: derivatives by autograd, end points, and the specs that name them."""

import math

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicHermiteSpline

from flowviz.schedulers import (
    SCHEDULERS,
    SIGMA_STOP,
    CondOT,
    Shaped,
    VPDiffusion,
    scheduler,
    spec_of,
)

SHAPES = [
    "shaped:a1=0.2,a2=0.4,a3=0.6,a4=0.8,s1=0.8,s2=0.6,s3=0.4",  # conditional OT
    "shaped:a1=0.01,a2=0.02,a3=0.03,a4=0.97,s1=0.99,s2=0.98,s3=0.97,s4=0.96",
    "shaped:a1=0.96,a2=0.97,a3=0.98,a4=0.99,s1=0.5,s2=0.49,s3=0.48,s4=0.47",
]
SPECS = [
    *SCHEDULERS,
    "ot:sigma_min=0.1",
    "vp:beta_min=0.5,beta_max=30.0",
    "ve:sigma_max=9.0",
    *SHAPES,
]


@pytest.mark.parametrize("spec", SPECS)
def test_derivatives_are_those_of_the_coefficients(spec: str) -> None:
    own = scheduler(spec)
    t = torch.linspace(0, own.t_max, 101, dtype=torch.float64)
    (_, _, d_alpha, d_sigma), (alpha_t, sigma_t, _, _) = torch.func.jvp(
        lambda t: own(t), (t,), (torch.ones_like(t),)
    )
    torch.testing.assert_close(d_alpha, alpha_t)
    torch.testing.assert_close(d_sigma, sigma_t)


@pytest.mark.parametrize("spec", SPECS)
def test_path_runs_from_noise_to_data(spec: str) -> None:
    own = scheduler(spec)
    t = torch.linspace(0, own.t_max, 101, dtype=torch.float64)
    alpha, sigma, d_alpha, d_sigma = own(t)
    assert all(c.isfinite().all() and c.shape == t.shape for c in own(t))
    assert ((alpha / sigma).diff() > 0).all(), "the signal-to-noise ratio grows"
    assert (d_alpha * sigma - alpha * d_sigma > 0).all(), "so that conversions exist"
    assert sigma[0].item() == pytest.approx(own.sigma_0, rel=1e-4)
    assert alpha[-1].item() == pytest.approx(1, abs=2e-3)
    assert own.t_max <= 1
    assert sigma[-1].item() >= SIGMA_STOP * (1 - 1e-9)


@pytest.mark.parametrize("spec", SPECS)
def test_coefficients_keep_shape_and_dtype(spec: str) -> None:
    for t in (torch.tensor(0.25), torch.full((3, 2), 0.5, dtype=torch.float64)):
        for c in scheduler(spec)(t):
            assert c.shape == t.shape
            assert c.dtype == t.dtype


def test_variance_preserving_paths_preserve_variance() -> None:
    t = torch.linspace(0, 0.999, 50, dtype=torch.float64)
    for spec in ("vp", "trig"):
        alpha, sigma, *_ = scheduler(spec)(t)
        torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(t))


def test_vp_has_the_values_of_the_paper() -> None:
    # From Lipman et al. 2022, eq. 18-19, with beta in [0.1, 20] and 1 - t >= 1e-5.
    alpha, sigma, *_ = scheduler("vp")(torch.tensor([0.0, 1 - 1e-5], dtype=torch.float64))
    assert alpha[0].item() == pytest.approx(math.exp(-10.05 / 2), rel=1e-12)
    assert sigma[0].item() == pytest.approx(0.99997841, abs=1e-8)
    assert sigma[1].item() == pytest.approx(1.0e-3, rel=1e-3)


def test_spec_names_a_scheduler_and_its_parameters() -> None:
    assert scheduler("ot") == CondOT()
    assert scheduler("ot:sigma_min=0.01") == CondOT(sigma_min=0.01)
    assert scheduler("vp:beta_max=10,beta_min=1e-1") == VPDiffusion(beta_min=0.1, beta_max=10)


@pytest.mark.parametrize("spec", SPECS)
def test_spec_round_trips(spec: str) -> None:
    assert spec_of(scheduler(spec)) == spec


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("pv", "Unknown path 'pv'. There are: ot, vp"),
        ("", "Unknown path ''"),
        ("trigg", "Unknown path 'trigg'. Did you mean 'trig'"),
        (
            "ot:sigma_mim=0.1",
            "Unknown parameter 'sigma_mim' of path 'ot'. Did you mean 'sigma_min'",
        ),
        ("trig:sigma=1", "Unknown parameter 'sigma' of path 'trig'. It has none."),
        ("ot:sigma_min", "must read name=number; got 'sigma_min'"),
        ("ot:", None),
        ("ot:sigma_min=0.1,sigma_min=0.2", "given once"),
        ("ot:sigma_min=small", "sigma_min must be a finite number; got 'small'"),
        ("vp:beta_max=inf", "beta_max must be a finite number; got 'inf'"),
        ("vp:beta_max=nan", "beta_max must be a finite number; got 'nan'"),
        ("ot:sigma_min=1", r"sigma_min must be in \[0, 1\); got 1.0"),
        ("vp:beta_min=30", "beta_min must be positive and at most beta_max"),
        ("ve:sigma_min=0", "sigma_min must be positive and below sigma_max"),
        ("shaped:a2=0.05", "alpha must rise by 0.01 or more .* got 0, 0.1, 0.05, 0.65, 0.9, 1"),
        ("shaped:a4=1", "alpha must rise"),
        ("shaped:a1=0", "alpha must rise"),
        ("shaped:s1=1", "sigma must fall by 0.01 or more"),
        ("shaped:s3=0.1", "sigma must fall .* got 1, 0.95, 0.8, 0.1, 0.2, 0"),
        (
            "shaped:a2=0.2,a3=0.3,a4=0.4,s4=0.01",
            "alpha must have reached 0.99 where sigma falls to 0.001; got 0.793 at t = 0.949",
        ),
        ("shaped:a1=nan", "a1 must be a finite number"),
    ],
)
def test_invalid_spec_is_refused_with_a_message(spec: str, message: str | None) -> None:
    if message is None:
        assert scheduler(spec) == CondOT()
        return
    with pytest.raises(ValueError, match=message):
        scheduler(spec)


@pytest.mark.parametrize("spec", ["shaped", *SHAPES])
def test_a_shape_goes_through_its_points_and_is_monotone(spec: str) -> None:
    own = scheduler(spec)
    assert isinstance(own, Shaped)
    knots = own(torch.tensor(own.KNOTS, dtype=torch.float64))
    assert knots.alpha.tolist() == pytest.approx(own.values[0], abs=1e-14)
    assert knots.sigma.tolist() == pytest.approx(own.values[1], abs=1e-14)
    fine = own(torch.linspace(0, own.t_max, 20_001, dtype=torch.float64))
    assert (fine.d_alpha > 0).all() and (fine.d_sigma < 0).all()
    # Continuous: the change of a derivative over 5e-5 is bounded by the second derivative.
    assert fine.d_alpha.diff().abs().max() < 0.02 and fine.d_sigma.diff().abs().max() < 0.02
    assert fine.sigma[-1].item() == pytest.approx(SIGMA_STOP, rel=1e-9)


def test_a_shape_is_the_hermite_cubic_of_its_mean_slopes() -> None:
    own = Shaped()
    knots = np.array([0.0, *own.KNOTS, 1.0])
    t = torch.linspace(0.2, 0.8, 301, dtype=torch.float64)
    for own_values, ends, values in (
        (own(t).alpha, (0, 1), own.values[0]),
        (own(t).sigma, (1, 0), own.values[1]),
    ):
        points = np.array([ends[0], *values, ends[1]])
        # No chord is more than three times as steep as the next, so that no slope is limited.
        slopes = (points[2:] - points[:-2]) / 0.4
        expected = CubicHermiteSpline(knots[1:-1], points[1:-1], slopes)(t.numpy())
        torch.testing.assert_close(own_values, torch.from_numpy(expected), atol=1e-12, rtol=0)


def test_a_shape_through_the_points_of_ot_is_ot() -> None:
    t = torch.linspace(0, 0.999, 101, dtype=torch.float64)
    for own_values, expected in zip(scheduler(SHAPES[0])(t), CondOT()(t), strict=True):
        torch.testing.assert_close(own_values, expected, atol=1e-12, rtol=0)


def test_a_shape_is_built_where_tensors_have_no_values() -> None:
    with torch.device("meta"):  # as in reading checkpoints
        own = scheduler("shaped:a1=0.123")
        assert own.t_max == scheduler("shaped:a1=0.123").t_max


@pytest.mark.parametrize("spec", SPECS)
def test_wronskian_is_positive_and_that_of_the_coefficients(spec: str) -> None:
    path = scheduler(spec)
    c = path(torch.linspace(0.001, path.t_max, 50, dtype=torch.float64))
    assert (c.wronskian > 0).all()
    # It is alpha sigma times the rate at which log(alpha / sigma) rises.
    rate = c.d_alpha / c.alpha - c.d_sigma / c.sigma
    torch.testing.assert_close(c.wronskian, c.alpha * c.sigma * rate)
