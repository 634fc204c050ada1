"""Schedulers: derivatives by autograd, end points, and the specs that name them."""

import math

import pytest
import torch

from flowviz.schedulers import SCHEDULERS, SIGMA_STOP, CondOT, VPDiffusion, scheduler, spec_of

SPECS = [*SCHEDULERS, "ot:sigma_min=0.1", "vp:beta_min=0.5,beta_max=30.0", "ve:sigma_max=9.0"]


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
    # Computed from Lipman et al. 2022, eq. 18-19, with beta in [0.1, 20] and 1 - t >= 1e-5.
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
    ],
)
def test_bad_spec_is_refused_in_words(spec: str, message: str | None) -> None:
    if message is None:
        assert scheduler(spec) == CondOT()
        return
    with pytest.raises(ValueError, match=message):
        scheduler(spec)
