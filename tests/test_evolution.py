"""Flows and scenes: counted evaluations, the same noise, and closed forms where they exist."""

import dataclasses

import numpy as np
import pytest
import torch

from flowviz.datasets import DATASETS, dataset
from flowviz.experiments import evolution
from flowviz.experiments.evolution import (
    MAX_STEP_STATES,
    FlowConfig,
    SceneConfig,
    at_time,
    budgets,
    compute_flow,
    compute_scene,
    last_step,
)
from flowviz.fields import exact_field
from flowviz.methods import velocity_methods
from flowviz.metrics import projections, sliced_w2
from flowviz.paths import AffinePath
from flowviz.progress import Stopped, stopping
from flowviz.schedulers import SCHEDULERS, scheduler

SMALL = {"n": 300, "frames": 9}


def flow(**changes):
    return compute_flow(FlowConfig(**(SMALL | changes)))


def test_defaults_are_those_of_the_page():
    config = FlowConfig()
    assert (config.data, config.path, config.method) == ("checkerboard", "ot", "midpoint")
    assert (config.nfe, config.seed) == (20, 0)


@pytest.mark.parametrize("config", [FlowConfig(), SceneConfig()])
def test_configs_are_flat_and_can_be_cache_keys(config):
    assert all(type(v) in (str, int, float) for v in dataclasses.asdict(config).values())
    assert hash(config) == hash(dataclasses.replace(config))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"path": "otter"}, "otter"),
        ({"method": "midpiont"}, "Did you mean 'midpoint'"),
        ({"nfe": 21}, "20.*22"),
        ({"n": 1}, "n must be in"),
        ({"seed": -1}, "seed must be in"),
        ({"method": "dopri5", "tol": 0.0}, "tol must lie"),
    ],
)
def test_invalid_configs_are_refused_in_one_sentence(changes, match):
    with pytest.raises(ValueError, match=match):
        FlowConfig(**changes)


def test_adaptive_methods_ignore_nfe():
    assert FlowConfig(method="dopri5", nfe=21).nfe == 21


@pytest.mark.parametrize("method", velocity_methods(fixed_only=True))
def test_offered_budgets_are_spent_exactly(method):
    offered = budgets(method)
    assert offered == sorted(set(offered)) and len(offered) >= 8
    assert set(offered) <= set(evolution.affordable(method))
    assert min(abs(nfe - 20) for nfe in offered) <= 2
    for nfe in (offered[0], offered[len(offered) // 2]):
        assert flow(method=method, nfe=nfe, data="8gaussians").nfe == nfe


@pytest.mark.parametrize("path", SCHEDULERS)
def test_every_path_starts_from_the_same_noise(path):
    noise = flow().states[0]
    start = AffinePath(scheduler(path)).start(torch.from_numpy(noise))
    np.testing.assert_allclose(flow(path=path, nfe=2).states[0], start.numpy(), rtol=1e-6)


def test_flow_depends_on_its_config_only():
    first, again, other = flow(seed=3), flow(seed=3), flow(seed=4)
    assert np.array_equal(first.states, again.states)
    assert not np.array_equal(first.states, other.states)
    assert first.states.shape == (9, 300, 2) and first.states.dtype == np.float32
    assert first.times.shape == first.quality.shape == (9,)
    assert first.step_states.shape == (11, 300, 2)
    assert len(first.step_times) == 11 and first.rejected == 0
    for value in dataclasses.asdict(first).values():
        assert not isinstance(value, torch.Tensor)


@pytest.mark.parametrize("data", DATASETS)
def test_particles_reach_every_data_set(data):
    result = flow(data=data, n=500)
    assert result.quality[0] > 3 * result.quality_floor
    assert result.end_quality < 2 * result.quality_floor
    assert result.detour >= 1
    assert result.off_support is None or result.off_support < 0.02


def test_an_adaptive_flow_stores_a_bounded_number_of_states():
    tight = flow(method="adaptive-heun", tol=1e-5, n=20)
    assert tight.accepted > MAX_STEP_STATES >= len(tight.step_states) == len(tight.step_times)
    ends = tight.step_states[0], tight.step_states[-1]
    assert np.array_equal(ends, (tight.states[0], tight.states[-1]))
    assert tight.detour == pytest.approx(flow(method="rk4", nfe=400, n=20).detour, rel=1e-3)


def test_a_flow_ends_on_request():
    requests = iter([False] * 5)
    with pytest.raises(Stopped), stopping(lambda: next(requests, True)):
        compute_flow(FlowConfig(**SMALL))


def test_straight_trajectories_have_detour_one():
    # A field that does not depend on x or t moves everything on straight lines.
    result = compute_flow(
        FlowConfig(field="live:test", **SMALL), field=lambda t, x: torch.full_like(x, 2.0)
    )
    assert result.detour == pytest.approx(1.0, abs=1e-6)
    assert result.displacement == pytest.approx(np.sqrt(8) * result.times[-1], rel=1e-5)


def test_detour_of_a_rotating_field_is_that_of_its_arc():
    # A half circle about the origin: the arc length is pi r, the displacement 2 r.
    rate = np.pi / scheduler("ot").t_max
    result = compute_flow(
        FlowConfig(field="live:turn", method="rk4", nfe=100, **SMALL),
        field=lambda t, x: rate * torch.stack([-x[:, 1], x[:, 0]], dim=1),
    )
    assert result.detour == pytest.approx(np.pi / 2, rel=2e-3)


def test_off_support_counts_the_particles_that_missed():
    # A zero field does not move the noise; some of it lies on the board.
    result = compute_flow(
        FlowConfig(field="live:still", n=4_000, frames=3), field=lambda t, x: torch.zeros_like(x)
    )
    inside = dataset("checkerboard").distribution.contains(torch.from_numpy(result.states[-1]))
    assert result.off_support == pytest.approx(1 - inside.double().mean().item())
    assert 0.3 < result.off_support < 0.7


def test_sliced_distance_of_a_shifted_set_is_the_shift_over_root_two():
    # Along a direction at angle a the shift is |v| cos(a - b): mean square |v|^2 / 2.
    points = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    quantiles = projections(points)
    moved = np.stack([points, points + np.float32([3.0, 4.0])])
    np.testing.assert_allclose(sliced_w2(moved, quantiles), [0, 5 / np.sqrt(2)], atol=1e-5)


def test_sliced_distance_of_a_frame_does_not_depend_on_the_order_of_its_points():
    points = np.random.default_rng(1).normal(size=(1, 100, 2)).astype(np.float32)
    quantiles = projections(points[0, ::-1])
    assert sliced_w2(points, quantiles)[0] < 1e-6


def test_values_between_frames_are_interpolated_linearly():
    times, values = np.array([0.0, 0.5, 0.9]), np.array([[0.0], [1.0], [5.0]])
    assert at_time(times, values, 0.25) == pytest.approx(0.5)
    assert at_time(times, values, 0.5) == pytest.approx(1.0)
    assert at_time(times, values, 1.0) == pytest.approx(5.0), "the last value after the end"
    assert [at_time(times, values, t, held=True).item() for t in (0.49, 0.5, 1)] == [0, 1, 5]


def test_the_last_step_is_found_in_spite_of_rounding():
    times = np.linspace(0, 1, 11)  # the value of index 3 is 0.30000000000000004
    assert last_step(times, [0.0, 0.3, 0.35, 1.0]).tolist() == [0, 3, 3, 10]
    assert last_step(times, 0.3) == 3


@pytest.mark.parametrize("path", ["ot", "vp", "trig"])
def test_scene_is_the_exact_density_and_field(path):
    scene = compute_scene(SceneConfig(path=path, frames=4, cells=24, arrows=6))
    assert scene.density.shape == (4, 24, 24) and scene.velocity.shape == (4, 6, 6, 2)
    assert scene.difference is None and scene.rms_difference is None
    field = exact_field(AffinePath(scheduler(path)), dataset("checkerboard").distribution)
    t = torch.tensor(scene.times[2])
    row, column = 5, 17  # rows run along y
    x = torch.tensor([[scene.axis[column], scene.axis[row]]])
    assert scene.density[2, row, column] == pytest.approx(
        field.log_density(t, x).exp().item(), rel=1e-4
    )
    x = torch.tensor([[scene.arrow_axis[4], scene.arrow_axis[1]]])
    np.testing.assert_allclose(scene.velocity[2, 1, 4], field(t, x)[0], rtol=1e-3, atol=1e-4)


def test_difference_of_a_field_that_is_off_by_a_constant():
    path = AffinePath(scheduler("ot"))
    exact = exact_field(path, dataset("8gaussians").distribution)
    scene = compute_scene(
        SceneConfig(data="8gaussians", field="live:off", frames=3, difference_cells=8),
        field=lambda t, x: exact(t, x) + torch.tensor([0.3, 0.4]),
    )
    np.testing.assert_allclose(scene.difference, 0.5, rtol=1e-3)
    np.testing.assert_allclose(scene.rms_difference, 0.5, rtol=1e-3)
    # p_0 is a Gaussian: at 1% of its value next to the origin, r^2 has grown by 2 ln 100.
    square = np.square(scene.difference_axis)
    radii = square[:, None] + square
    assert np.array_equal(scene.reached[0], radii <= radii.min() + 2 * np.log(100))


def test_scenes_do_not_depend_on_solver_budget_or_seed():
    names = {f.name for f in dataclasses.fields(SceneConfig)}
    assert not names & {"method", "nfe", "tol", "seed", "n"}


def test_jumps_of_a_velocity_field_are_integrated():
    jumps = compute_flow(FlowConfig(data="moons", method="jumps", nfe=2, n=64, frames=3))
    plain = compute_flow(FlowConfig(data="moons", method="dopri5", tol=1e-6, n=64, frames=3))
    assert jumps.integrated and not plain.integrated
    assert jumps.accepted == 2 and jumps.nfe > 20, "the cost of the integration is stated"
    np.testing.assert_allclose(jumps.step_states, plain.states, atol=0.02)
    few = compute_flow(FlowConfig(data="moons", method="jumps", nfe=2, n=64, frames=9))
    assert np.array_equal(few.times, jumps.step_times), "there are no states between jumps"
    assert np.array_equal(few.states, jumps.step_states) and len(few.quality) == 3
