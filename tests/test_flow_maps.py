"""Flow maps: the exact one, the learned one, its objectives and the solver of jumps."""

import math
from dataclasses import asdict
from itertools import pairwise

import numpy as np
import pytest
import torch

from flowviz.checkpoints import describe, load, save
from flowviz.datasets import dataset
from flowviz.experiments.evolution import SceneConfig, compute_scene
from flowviz.experiments.jump_error import JumpErrorConfig, compute_jump_error
from flowviz.fields import FlowMap, exact_field
from flowviz.fields.flow_map import SAMPLERS, draw_times
from flowviz.fields.guided import GuidedField
from flowviz.objectives import OBJECTIVES
from flowviz.paths import AffinePath
from flowviz.schedulers import scheduler
from flowviz.solvers import solve
from flowviz.studies import STUDIES
from flowviz.training import TrainConfig, build_field, start, train
from flowviz.training.trajectories import follow

MAPS = [name for name, objective in OBJECTIVES.items() if objective.two_times]
TINY = {"width": 32, "depth": 2, "octaves": 2, "batch": 256, "ema": 0.98, "lr": 5e-3}
NORMAL = "mixture:1,0@0.8"


class Exact:
    """The flow map of NORMAL on conditional OT, off by `shift` in its mean velocities."""

    def __init__(self, shift=0.0):
        self.shift = shift

    def mean_velocity(self, t, s, x):
        mean, std = torch.tensor([1.0, 0.0], dtype=torch.float64), 0.8
        path, x = scheduler("ot"), x.double()
        here, there = path(t), path(s)
        if s == t:
            slope = (here.alpha * here.d_alpha * std**2 + here.sigma * here.d_sigma) / (
                (here.alpha * std) ** 2 + here.sigma**2
            )
            found = here.d_alpha * mean + slope * (x - here.alpha * mean)
        else:
            ratio = math.hypot(there.alpha * std, there.sigma) / math.hypot(
                here.alpha * std, here.sigma
            )
            end = there.alpha * mean + ratio * (x - here.alpha * mean)
            found = (end - x) / (s - t)
        return found + torch.tensor([self.shift, 0.0])


def new_map(objective="meanflow", *, moved=True, path="ot", **sizes):
    """An untrained flow map of the moons; `moved` randomizes the layers that start at zero."""
    generator = torch.Generator().manual_seed(0)
    config = TrainConfig(data="moons", path=path, objective=objective, **(TINY | sizes))
    field = build_field(config, dataset("moons"), generator)
    if moved:
        for layer in (field.network.head, field.network.second.leave):
            torch.nn.init.normal_(layer.weight, std=0.3, generator=generator)
    return field.double()


def exact(data="moons", path="ot"):
    return exact_field(AffinePath(scheduler(path)), dataset(data).distribution)


def states(n=64):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def exact_jump(field, t, s, x, *, tol=1e-11):
    """The states at s of x (B, *) at t under an exact field, float64, to about `tol`."""
    if t == s:
        return x.double()
    times = torch.tensor([t, s], dtype=torch.float64)
    return solve(field, x.double(), times, "dopri8", tol=tol).states[-1]


def exact_mean_velocity(field, t, s, x):
    """The mean velocity from t to s at x (B, *) under an exact field, float64."""
    return (exact_jump(field, t, s, x) - x) / (s - t)


@torch.no_grad()
def jump_error(learned, field, t, s, x):
    """The distance of a learned jump from the exact one for each x (B, *) at t, (B,)."""
    times = torch.tensor([t, s], dtype=torch.float64)
    error = learned.jump(*times, x).double() - exact_jump(field, t, s, x, tol=1e-8)
    return error.flatten(1).norm(dim=1)


@pytest.mark.parametrize("path", ["ot", "vp"])
def test_the_exact_mean_velocity_satisfies_the_meanflow_identity(path):
    """u = ubar - (s - t) d ubar / dt, the derivative taken along the trajectory."""
    field, t, s, h = exact(path=path), 0.3, 0.8, 2e-3
    x = states(16)
    around = [k * h for k in (-2, -1, 1, 2)]
    along = [exact_mean_velocity(field, t + d, s, exact_jump(field, t, t + d, x)) for d in around]
    slope = (along[0] - 8 * along[1] + 8 * along[2] - along[3]) / (12 * h)  # error h^4
    u = field(torch.tensor(t, dtype=torch.float64), x)
    mean = exact_mean_velocity(field, t, s, x)
    assert (slope.abs() > 0.01).any()
    torch.testing.assert_close(mean - (s - t) * slope, u, rtol=0, atol=1e-8)


@pytest.mark.parametrize("path", ["ot", "vp"])
def test_a_new_map_is_exact_for_normal_data(path):
    """Its network is 0, and its linear part is the flow map of N(m, s^2 I)."""
    field = new_map(moved=False, path=path)
    x, t, s = states(), torch.tensor(0.2), torch.tensor(0.9)
    here, there = (field.path.scheduler(time.double()) for time in (t, s))
    ratio = math.hypot(there.alpha * field.std, there.sigma) / math.hypot(
        here.alpha * field.std, here.sigma
    )
    expected = there.alpha * field.mean + ratio * (x - here.alpha * field.mean)
    torch.testing.assert_close(field.jump(t.double(), s.double(), x), expected)


@pytest.mark.parametrize("path", ["ot", "vp"])
def test_a_map_with_equal_times_is_its_velocity(path):
    field, x = new_map(path=path), states()
    t = torch.linspace(0, field.path.t_max, len(x), dtype=torch.float64)
    torch.testing.assert_close(field.mean_velocity(t, t, x), field(t, x), rtol=1e-12, atol=1e-12)
    s = (t + 1e-6).clamp(max=field.path.t_max)
    # Difference quotients over 1e-6 have a relative error of 1e-10; the velocity changes by 1e-6.
    near = field.mean_velocity(t[:-8], s[:-8], x[:-8])
    torch.testing.assert_close(near, field(t, x)[:-8], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_k_jumps_take_k_evaluations(steps):
    field, x = new_map(), states()
    calls = []
    field.network.register_forward_hook(lambda *_: calls.append(1))
    solution = solve(field, x, field.path.clock(2), "jumps", steps=steps)
    assert solution.nfe == len(calls) == steps
    times = field.path.clock(steps + 1)
    for t, s in pairwise(times):
        x = field.jump(t, s, x)
    torch.testing.assert_close(solution.states[-1], x)


def test_jumps_need_a_flow_map_and_go_forward():
    with pytest.raises(ValueError, match="needs a flow map"):
        solve(exact(), states(), torch.tensor([0.0, 1.0]), "jumps", steps=2)
    with pytest.raises(ValueError, match="forward in time only"):
        solve(new_map(), states(), torch.tensor([0.9, 0.0]), "jumps", steps=2)
    with pytest.raises(ValueError, match="must be preconditioned"):
        TrainConfig(objective="meanflow", preconditioned=False)
    with pytest.raises(ValueError, match="flow maps only"):
        TrainConfig(start="checkerboard-ot")


def test_the_meanflow_target_is_the_derivative_along_the_velocity():
    """Against central differences of the map's own mean velocity."""
    field, h = new_map(), 1e-6  # third derivatives of the time features are of order 1e5
    x = states(8)
    t, s = torch.full((8,), 0.3).double(), torch.full((8,), 0.7).double()
    x_1 = states(16)[8:]
    seen = []
    field._error = lambda t, s, z, target, y, share: seen.append(target) or target.mean(dim=1)
    field.loss(t, x, x_1, s=s)
    target = seen[0]
    x_t = field.path.flow(t, x, x_1)
    u = field.path.target(t, x, x_1)
    ends = [field._to_standard(t + d, x_t + d * u, u)[1] for d in (-h, h)]
    low, high = (
        field._remainder(t + d, s, end, None) for d, end in zip((-h, h), ends, strict=True)
    )
    turned = (field.angle(s) - field.angle(t)) / (field.angle(t + h) - field.angle(t - h))
    velocity, _ = field._to_standard(t, x_t, u)
    torch.testing.assert_close(
        target, velocity + turned[:, None] * (high - low), atol=1e-7, rtol=0
    )


def test_a_batch_has_equal_times_jumps_of_the_samplers_and_others():
    objective, path = OBJECTIVES["shortcut"], new_map().path
    generator, n, share = torch.Generator().manual_seed(1), 8000, 8
    first = path.t_max * torch.rand(n // share, generator=generator, dtype=torch.float64)
    first = first.repeat_interleave(share)
    t, s = draw_times(first, path, objective, generator, share=share)
    assert bool((t <= s).all()) and float(s.max()) <= path.t_max
    pairs = list(zip(t.tolist(), s.tolist(), strict=True))
    assert all(len(set(pairs[k : k + share])) == 1 for k in range(0, n, share))
    assert (t == s).double().mean() == pytest.approx(objective.equal_share, abs=0.01)
    jumps = [set(pairwise(path.clock(count + 1).tolist())) for count in SAMPLERS]
    counts = [sum(pair in each for pair in pairs) / n for each in jumps]
    assert sum(counts) == pytest.approx(objective.sampler_share, abs=0.01)
    assert min(counts) > 0.8 * objective.sampler_share / len(SAMPLERS)


@pytest.mark.parametrize("objective", ["meanflow", "shortcut", "distillation"])
def test_small_batches_have_the_shares_of_large_ones_on_average(objective):
    """With 16 pairs there are two groups of times, and a share of 0.25 is less than one group."""
    chosen, path = OBJECTIVES[objective], new_map().path
    generator, equal = torch.Generator().manual_seed(3), []
    for _ in range(400):
        t, s = draw_times(torch.full((16,), 0.5).double(), path, chosen, generator, share=8)
        equal.append(float((t == s).double().mean()))
    assert np.mean(equal) == pytest.approx(chosen.equal_share, abs=0.05)


def test_equal_times_learn_the_mean_target_and_jumps_the_most_frequent_one():
    """A loss in proportion to the squared error has its minimum at the mean; the loss of a jump
    is bounded for large errors."""
    field, x_1, t = new_map(), states(), torch.full((64,), 0.3).double()
    field._error = lambda *_: torch.tensor([0.01, 1.0]).repeat(32)
    equal, jumps = (field.loss(t, states(), x_1, s=s) for s in (t, t + 0.2))
    assert float(equal[1] / equal[0]) == pytest.approx(100)
    assert jumps[1] / jumps[0] < 1.2


def test_a_flow_map_is_saved_and_loaded_unchanged(tmp_path):
    field = new_map().float()
    config = TrainConfig(data="moons", objective="meanflow", **TINY)
    card = describe("map", asdict(config), dataset("moons"), steps=1, seconds=1.0)
    assert card.network["kind"] == "flow-map"
    again = load(save(tmp_path / "map", field, card, precision="float32"))
    assert isinstance(again.field, FlowMap)
    t, s, x = torch.tensor(0.1), torch.tensor(0.9), states().float()
    torch.testing.assert_close(again.field.jump(t, s, x), field.jump(t, s, x))


def test_a_distillation_draws_the_jumps_of_samplers_on_exact_trajectories():
    field, teacher = new_map("distillation"), exact()
    found = follow(teacher, field, states(32).float())
    objective = OBJECTIVES["distillation"]
    drawn = found.draw(1600, objective, torch.Generator().manual_seed(2), share=8)
    t, s, x_t, x_s, *_ = drawn
    times = list(zip(t.tolist(), s.tolist(), strict=True))
    for count in SAMPLERS:
        assert set(pairwise(field.path.clock(count + 1).tolist())) <= set(times)
    assert all(len(set(times[k : k + 8])) == 1 for k in range(0, len(times), 8))
    assert 0.08 < (t == s).double().mean() < 0.12
    many = found.draw(8192, objective, torch.Generator().manual_seed(3))
    for jumps in (drawn, many):
        still = jumps.t == jumps.s
        expected = teacher(jumps.t[still], jumps.x_t[still])
        torch.testing.assert_close(jumps.u[still], expected)
        assert not jumps.u[~still].any()
    assert ((many.t == many.s) & (many.t == field.path.t_max)).sum() > 30
    whole = (t == 0) & (s == field.path.t_max)
    exactly = exact_jump(teacher, 0.0, field.path.t_max, x_t[whole], tol=1e-8).float()
    torch.testing.assert_close(x_s[whole], exactly, atol=0.02, rtol=0)  # 32 midpoint steps
    alone = field.float().jump_loss(*drawn)
    torch.testing.assert_close(field.jump_loss(*drawn, share=8), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "objective",
    [pytest.param(each, marks=() if each == "meanflow" else pytest.mark.slow) for each in MAPS],
)
def test_training_brings_the_map_closer_to_the_exact_one(objective, monkeypatch):
    monkeypatch.setattr("flowviz.training.plane.TRAJECTORIES", 2_000)
    data = dataset("moons")
    config = TrainConfig(data="moons", objective=objective, steps=100, **TINY | {"lr": 2e-2})
    *_, run = train(config, data)
    first, x, field = start(config, data).ema, states().float(), exact()
    before, after = (jump_error(each, field, 0.2, 0.8, x).mean() for each in (first, run.ema))
    assert after < 0.9 * before


def test_a_map_that_starts_from_a_field_is_its_velocity():
    origin = load("checkerboard-ot").field
    config = TrainConfig(objective="shortcut", start="checkerboard-ot", octaves=6)
    field = start(config, dataset("checkerboard"), origin=origin).ema
    t, x = torch.tensor(0.4), states().float()
    torch.testing.assert_close(field(t, x), origin(t, x))
    torch.testing.assert_close(
        field._remainder(t, torch.tensor(0.9), x, None), field._remainder(t, t, x, None)
    )


def test_times_of_trajectories_that_differ_by_round_off_are_one():
    field = new_map("distillation")
    field.std = 1.0  # the angle at t = 1/2 is then half of the last
    times = follow(exact(), field, states(2).float()).times
    assert times.diff().min() > 1e-6 and set(field.path.clock(9).tolist()) <= set(times.tolist())


def test_guided_jumps_combine_those_of_the_classes():
    class Shifted(FlowMap):
        def jump(self, t, s, x, y=None):
            return x + y[:, None]

    field = new_map()
    field.__class__, field.network.num_classes = Shifted, 5
    guided = GuidedField(field, torch.ones(64, dtype=torch.int64), 3.0)
    x, times = states(), field.path.clock(2)
    torch.testing.assert_close(guided.jump(*times, x), x + 5 + 3.0 * (1 - 5))


def test_the_error_of_jumps_is_0_for_the_exact_map_and_that_of_a_wrong_one():
    """The map of a new network is exact for one normal distribution: no integration is needed."""
    config = JumpErrorConfig(data=NORMAL, field="live:map", start=1, intervals=3, cells=9)
    field = build_field(TrainConfig(data=NORMAL, objective="meanflow", **TINY), dataset(NORMAL))
    found = compute_jump_error(config, field=field)
    assert found.ends.tolist() == pytest.approx([t * field.path.t_max / 3 for t in (1, 2, 3)])
    # Single precision of the map, and the sample moments that its linear part uses.
    assert found.rms.max() < 0.05 and np.nanmax(found.distance) < 0.05
    exactly = compute_jump_error(config, field=Exact())
    assert exactly.rms.max() < 1e-5 and np.isfinite(exactly.velocity).any()
    wrong = compute_jump_error(config, field=Exact(shift=0.5))
    np.testing.assert_allclose(wrong.rms, 0.5, atol=1e-4)
    np.testing.assert_allclose(wrong.rms_distance, 0.5 * (found.ends - found.t), atol=1e-4)


@pytest.mark.parametrize("name", ["checkerboard-ot", "checkerboard-ot-distillation"])
def test_the_error_of_jumps_of_a_shipped_field(name):
    config = JumpErrorConfig(field=name, start=1, intervals=2, cells=9)
    if not name.endswith("distillation"):
        with pytest.raises(ValueError, match="needs a flow map"):
            compute_jump_error(config)
        return
    study = STUDIES["jump-error"]
    settings = study.config(network=name, **study.smallest | {"data": "checkerboard"})
    shown = study.result(settings)
    (drawn,) = study.draw(settings, shown)
    assert drawn.figure.layout.annotations[0].text.startswith(name)
    for text in (
        drawn.title,
        study.say(settings, shown)[0].lead,
        study.summarise(settings, shown).title,
    ):
        assert f"{name} (conditional OT)" in text
    found = compute_jump_error(config)
    assert found.rms_distance[0] == 0 and 0.001 < found.rms_distance[1] < 0.2 * found.length[1]
    scene = compute_scene(SceneConfig(field=name, frames=3, cells=2, arrows=2, difference_cells=9))
    seen = np.isfinite(found.velocity[0])
    assert (seen == scene.reached[1]).all()
    np.testing.assert_allclose(found.velocity[0][seen], scene.difference[1][seen], atol=1e-3)
