"""Conditional flows and conversions of the page "Vector field"."""

import numpy as np
import pytest
import torch

from flowviz.distributions import PointMasses
from flowviz.experiments.posterior import (
    FACTORS,
    ConditionalConfig,
    ConversionConfig,
    TouchConfig,
    compute_conditional,
    compute_conversions,
    compute_touch,
)
from flowviz.figures import posterior as figures
from flowviz.figures import theme
from flowviz.paths import AffinePath
from flowviz.schedulers import SCHEDULERS, scheduler
from flowviz.site import parameters
from flowviz.ui.why.touch import TouchView


def test_ot_trajectories_are_straight_and_overshoot_of_vp_is_the_closed_form():
    start, end = np.array([1.2, 0.6]), np.array([1.6, 0.8])
    result = compute_conditional(ConditionalConfig(paths="vp ot trig", n=60))
    vp, ot, trig = result.trajectories
    assert ot.overshoot.max() < 1e-9 and ot.detour.max() == pytest.approx(1)
    assert (vp.overshoot > 0.01).any() and vp.detour.max() > 1.1
    # If alpha^2 + sigma^2 = 1, the trajectory is an arc of an ellipse; for noise in the direction
    # of the data it reaches sqrt(|x_1|^2 + |x_0|^2) before it returns to |x_1|.
    for flow in (vp, trig):
        path = AffinePath(scheduler(flow.path))
        t = torch.tensor(flow.clock)
        alpha, sigma, *_ = path.scheduler(t)
        along = (alpha * np.linalg.norm(end) + sigma * np.linalg.norm(start)).max().item()
        assert along == pytest.approx(
            np.hypot(np.linalg.norm(end), np.linalg.norm(start)), rel=1e-3
        )
    np.testing.assert_allclose(vp.states[-1], np.tile(end, (60, 1)), atol=5e-3)
    assert np.all(vp.progress[0] == 0) and vp.progress[-1] == pytest.approx(1)


def test_ot_field_keeps_its_direction_and_vp_field_does_not():
    vp, ot = compute_conditional(ConditionalConfig()).trajectories
    assert ot.field_turn < 1e-3 and vp.field_turn > 30 and vp.score_turn > 5
    ratio = ot.field[1] / ot.field[0]  # u = g(t) h(x | x_1)
    np.testing.assert_allclose(ratio, ratio[0, 0])


@pytest.mark.parametrize("path", SCHEDULERS)
def test_factors_are_the_conversions_of_the_path(path):
    affine, t = AffinePath(scheduler(path)), torch.tensor(0.37, dtype=torch.float64)
    x, q = torch.randn(2, 5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    c = affine.coefficients(t, x)
    known = {
        ("score", "velocity"): affine.velocity_from_score,
        ("noise", "velocity"): affine.velocity_from_noise,
        ("data", "velocity"): affine.velocity_from_data,
        ("velocity", "score"): affine.score_from_velocity,
        ("velocity", "noise"): affine.noise_from_velocity,
        ("velocity", "data"): affine.data_from_velocity,
        ("noise", "score"): lambda t, x, e: -e / c.sigma,
        ("noise", "data"): lambda t, x, e: (x - c.sigma * e) / c.alpha,
    }
    assert {(f.source, f.target) for f in FACTORS} == set(known)
    for factor in FACTORS:
        convert = known[factor.source, factor.target]
        change = convert(t, x, q) - convert(t, x, torch.zeros_like(q))
        torch.testing.assert_close(factor.value(c) * q, change)


@pytest.mark.parametrize("path", SCHEDULERS)
@pytest.mark.parametrize("t", [0.0, 0.6, 1.0])
def test_four_predictions_of_the_exact_field_are_the_exact_ones(path, t):
    result = compute_conversions(ConversionConfig(data="8gaussians", path=path, t=t, arrows=7))
    scale = {name: np.abs(v).max() for name, v in result.predictions.items()}
    for name, error in result.error.items():
        assert error <= 1e-6 * scale[name] + 1e-9, name
    assert np.isfinite(result.factors[:, 1:]).all()


def test_factors_diverge_where_alpha_or_sigma_vanish():
    ot = compute_conversions(ConversionConfig(path="ot", arrows=3))
    first = dict(zip([(f.source, f.target) for f in FACTORS], ot.factors[:, 0], strict=True))
    assert np.isinf(first["noise", "velocity"]) and np.isinf(first["score", "velocity"])
    assert first["data", "velocity"] == 1
    last = dict(zip([(f.source, f.target) for f in FACTORS], ot.factors[:, -1], strict=True))
    assert last["data", "velocity"] == pytest.approx(1000)
    vp = compute_conversions(ConversionConfig(path="vp", arrows=3))
    # D / alpha = beta / (2 sigma) on VP: at t = 0 it is 10.
    assert abs(vp.factors[1, 0]) == pytest.approx(10, rel=1e-3)


def test_touch_sends_the_points_and_the_path():
    result = compute_touch(TouchConfig(n=50, seed=3))
    assert result.points.shape == (50, 2) and result.coefficients.shape == (4, len(result.times))
    assert result.times[0] == 0 and result.times[-1] == scheduler("ot").t_max
    lone = PointMasses(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([1.0, 0]))
    sent = parameters.distribution(lone)
    assert sent["means"].tolist() == [[1, 2]] and not sent["covariances"].any()


@pytest.mark.parametrize("dark", [False, True])
def test_figures_draw_the_arrays(dark):
    result = compute_conditional(ConditionalConfig(n=5, arrows=4))
    rows = [
        figures.FieldRow(label=w.label, colour="#0072B2", times=w.times, vectors=w.field)
        for w in result.trajectories
    ]
    with theme.using(dark=dark):
        fields = figures.conditional_fields(rows, result.positions, result.end)
    heat = [trace for trace in fields.data if trace.type == "heatmap"]
    assert len(heat) == 8
    sizes = np.linalg.norm(result.trajectories[0].field[0], axis=1)
    np.testing.assert_allclose(heat[0].customdata.ravel(), sizes)
    trajectories = [
        figures.Trajectories(
            label=w.label,
            colour="#0072B2",
            clock=w.clock,
            states=w.states,
            progress=w.progress,
            overshoot=w.overshoot,
        )
        for w in result.trajectories
    ]
    with theme.using(dark=dark):
        drawn = figures.conditional_trajectories(trajectories, result.end)
    assert drawn.layout.template.layout.paper_bgcolor == theme.PAPER[dark]
    assert [a.text for a in drawn.layout.annotations] == [
        f"<b>{w.label}</b>" for w in trajectories
    ]
    with theme.using(dark=dark):
        lines = figures.progress(trajectories).data
    assert np.nanmax(lines[0].y) == pytest.approx(result.trajectories[0].progress.max())
    found = compute_conversions(ConversionConfig(arrows=4))
    with theme.using(dark=dark):
        panels = figures.predictions(
            found.positions, found.predictions, ["#0072B2"] * 4, data=result.end[None]
        )
    titles = " ".join(a.text for a in panels.layout.annotations)
    assert all(name in titles for name in ("velocity", "score", "noise", "data"))
    with pytest.raises(ValueError, match="every row's vectors"):
        figures.conditional_fields(rows, result.positions[1:], result.end)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TouchConfig(n=1), r"n must be in 2..2000"),
        (lambda: ConditionalConfig(paths=" "), "at least one path"),
        (lambda: ConditionalConfig(x=9), "must lie in"),
        (lambda: ConversionConfig(t=2), r"t must be in \[0, 1\]"),
        (lambda: TouchView(x=6), "x must lie between -5 and 5; got 6"),
        (lambda: TouchView(t=-1), r"t must be in \[0, 1\]"),
        (lambda: TouchView(layers=("sky",)), "A layer must be one of"),
    ],
)
def test_invalid_configs_are_refused_with_a_message(make, message):
    with pytest.raises(ValueError, match=message):
        make()
