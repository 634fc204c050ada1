"""Solvers: order, cost, solver steps, error messages."""

import math

import numpy as np
import pytest
import torch
from torchdiffeq import odeint

from flowviz.datasets import dataset
from flowviz.densities import log_prob
from flowviz.experiments.evaluate import EvaluateConfig
from flowviz.fields import exact_field
from flowviz.methods import Method, Multistep, Tableau, all_methods, density_methods
from flowviz.paths import AffinePath
from flowviz.progress import Stopped, stopping
from flowviz.schedulers import SCHEDULERS
from flowviz.settings import settings
from flowviz.solvers import METHODS, SolveError, solve, steps_for
from flowviz.studies import STUDIES

SOLVERS = list(density_methods())
FIXED = [name for name in SOLVERS if not METHODS[name].adaptive]
ADAPTIVE = [name for name, method in METHODS.items() if method.adaptive]
ENDS = [1.0, 1 - 1e-5, 0.999, SCHEDULERS["trig"].t_max]


def ends(*times):
    return torch.tensor(times, dtype=torch.float64)


def oscillation(t, x):
    """dx/dt = cos(t) x, with the solution x_0 exp(sin t)."""
    return torch.cos(t) * x


def oscillation_solution(t):
    return math.exp(math.sin(t))


def test_labels_fit_into_sentences_and_menus_state_requirements_of_methods():
    assert not [each.label for each in METHODS.values() if "," in each.label]
    menu = all_methods()
    assert menu["jumps"] == "jumps, flow maps only"
    assert all("adaptive" in menu[name] for name in ADAPTIVE)
    for study, name in (("flow", "method"), ("image-grid", "method"), ("nfe-quality", "methods")):
        offered = settings(STUDIES[study].config)[name].options
        assert offered.items() <= menu.items()


@pytest.mark.parametrize("name", FIXED)
def test_fixed_step_method_has_its_order_and_cost(name):
    x_0, steps = torch.ones(1, 1, dtype=torch.float64), np.array([32, 64, 128])
    if isinstance(METHODS[name].step, Multistep):  # the error of its first step fades slowly
        steps = 4 * steps
    solutions = [solve(oscillation, x_0, ends(0, 1), name, steps=n) for n in steps]
    errors = [abs(s.states[-1].item() - oscillation_solution(1)) for s in solutions]
    slope, _ = np.polyfit(np.log(steps), np.log(errors), deg=1)
    assert slope == pytest.approx(-METHODS[name].order, abs=0.2)
    assert [s.nfe for s in solutions] == [METHODS[name].nfe(n) for n in steps]


@pytest.mark.parametrize("name", [n for n in FIXED if isinstance(METHODS[n].step, Tableau)])
def test_weights_are_those_of_one_step(name):
    """For dx/dt = g(t) a step adds dt times the weighted sum of g at its evaluations."""
    seen = []

    def field(t, x):
        seen.append(t.item())
        return torch.exp(t) * torch.ones_like(x)

    steps = 2 if METHODS[name].final else 1  # a complete first step
    x_0 = torch.zeros(1, 1, dtype=torch.float64)
    solution = solve(field, x_0, ends(0, 0.5 * steps), name, steps=steps)
    step = METHODS[name].step
    stages = seen[: step.evaluations]
    expected = 0.5 * sum(w * math.exp(t) for w, t in zip(step.weights, stages, strict=True))
    assert solution.step_states[1].item() == pytest.approx(expected, abs=1e-12)
    assert METHODS[name].evaluates_end == (0.5 * steps in seen)


def curl(t, x):
    """A nonlinear field of the plane."""
    turned = torch.stack([-x[:, 1], x[:, 0]], dim=1)
    return torch.sin(3 * t) * x - x.square().sum(1, keepdim=True) * turned / 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["euler", "midpoint", "heun2", "heun3", "rk4"])
def test_fixed_steps_are_those_of_torchdiffeq_to_round_off(name, dtype):
    x_0 = torch.randn(50, 2, generator=torch.Generator().manual_seed(4)).to(dtype)
    grid = torch.linspace(0, 0.999, 21, dtype=torch.float64) ** 2
    own = {"heun2": "heun"}.get(name, name)
    found = solve(curl, x_0, grid[[0, -1]], own, grid=grid)
    expected = odeint(curl, x_0, grid, method=name)
    digits = 200 * torch.finfo(dtype).eps  # 20 steps of this field amplify rounding errors
    torch.testing.assert_close(found.step_states, expected, rtol=digits, atol=digits)


def test_edm_is_heun_with_a_last_step_of_euler():
    x_0 = torch.randn(50, 2, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    grid = torch.linspace(0, 1, 6, dtype=torch.float64)
    found = solve(curl, x_0, grid[[0, -1]], "edm", grid=grid)
    before = odeint(curl, x_0, grid[:-1], method="heun2")
    after = odeint(curl, before[-1], grid[-2:], method="euler")
    expected = torch.cat([before, after[1:]])
    torch.testing.assert_close(found.step_states, expected, rtol=1e-14, atol=1e-14)
    assert found.nfe == 9


class Exponential:
    """A step without a tableau: x exp(dt)."""

    evaluations, evaluates_end = 1, False

    def __call__(self, evaluate, t, t_next, x):
        return x + (torch.exp(t_next - t) - 1) * evaluate(t, x, 1.0)


@pytest.mark.parametrize("step", [Tableau((1 / 4, 3 / 4), ((2 / 3,),)), Exponential()])
def test_a_new_method_is_one_row(monkeypatch, step):
    """Ralston's method, which torchdiffeq lacks, and a function."""
    added = Method("new", "Added in a test.", 2, step)
    monkeypatch.setitem(METHODS, "new", added)
    x_0 = torch.ones(3, 2, dtype=torch.float64)
    assert steps_for("new", 8 * step.evaluations) == 8
    solution = solve(lambda t, x: x, x_0, ends(0, 1), "new", steps=8)
    assert solution.nfe == 8 * step.evaluations
    close = {"rtol": 0.01} if isinstance(step, Tableau) else {"rtol": 1e-12}
    torch.testing.assert_close(solution.states[-1], math.e * x_0, atol=0, **close)


def test_step_control_uses_the_worst_state():
    """One of 2,000 states oscillates fast: it keeps the tolerance as in a separate solve."""

    def field(t, x):
        return torch.cos(x[:, 1:] * t) * x[:, 1:] * torch.tensor([1.0, 0.0], dtype=x.dtype)

    rates = torch.full((2_000,), 0.5, dtype=torch.float64)
    rates[7] = 60.0
    x_0 = torch.stack([torch.zeros_like(rates), rates], dim=1)
    tol = 1e-5
    found = solve(field, x_0, ends(0, 1), "dopri5", tol=tol)
    assert (found.states[-1][:, 0] - torch.sin(rates)).abs().max() < 10 * tol
    mean = solve(field, x_0, ends(0, 1), "dopri5", tol=tol, control="mean")
    assert mean.nfe < found.nfe


def test_an_outlier_changes_other_results_by_about_their_own_error():
    """End points and log-densities. With the mean over the batch both would change much more."""
    path = AffinePath(SCHEDULERS["ot"]())
    data = dataset("checkerboard")
    field = exact_field(path, data.distribution)
    generator, tol = torch.Generator().manual_seed(0), 1e-3
    x_0 = torch.randn(300, 2, generator=generator, dtype=torch.float64)
    x_1 = data.sample(300, generator).double()
    moved = {}
    for control in ("worst", "mean"):
        how = {"method": "dopri5", "tol": tol, "control": control}
        states, values = [], []
        for far in (torch.empty(0, 2), torch.tensor([[-2.85, 4.45]])):
            more = [torch.cat([x, far.to(x)]) for x in (x_0, x_1)]
            states.append(solve(field, more[0], path.clock(2), **how).states[-1][:300])
            values.append(log_prob(field, more[1], t_max=path.t_max, **how).log_prob[:300])
        moved[control] = [
            (states[0] - states[1]).norm(dim=1).quantile(0.99) / tol,
            (values[0] - values[1]).abs().quantile(0.99) / tol,
        ]
    assert moved["worst"][0] < 20 and moved["worst"][1] < 50, moved
    assert moved["worst"][1] < moved["mean"][1] / 3, moved


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("name", FIXED)
def test_steps_are_as_many_as_requested_and_those_of_the_solver(name, end):
    x_0 = torch.ones(2, 2)
    for steps in [*range(1, 40), 49, 50, 100, 333]:
        solution = solve(oscillation, x_0, ends(0, end), name, steps=steps)
        assert solution.nfe == METHODS[name].nfe(steps)
        assert steps_for(name, solution.nfe) == steps
        assert len(solution.step_times) == len(solution.step_states) == steps + 1
        assert solution.step_times[0] == 0 and solution.step_times[-1] == end
        torch.testing.assert_close(solution.states[-1], solution.step_states[-1], rtol=0, atol=0)


def test_states_are_interpolated_between_solver_states():
    times = torch.linspace(0, 1, 31, dtype=torch.float64)
    solution = solve(oscillation, torch.ones(3, 2), times, "euler", steps=4)
    x, polygon = torch.ones(3, 2, dtype=torch.float64), []
    for k in range(4):  # Euler's formula
        polygon.append(x)
        x = x + 0.25 * oscillation(torch.tensor(k / 4), x)
    polygon = torch.stack([*polygon, x])
    torch.testing.assert_close(solution.step_states.double(), polygon, rtol=0, atol=1e-6)
    expected = np.interp(times, np.linspace(0, 1, 5), polygon[:, 0, 0])
    np.testing.assert_allclose(solution.states[:, 0, 0], expected, rtol=0, atol=1e-6)


def test_between_jumps_there_are_only_the_states_after_the_last_jump():
    class Doubling:
        def jump(self, t, s, x):
            return 2 * x

    times = torch.tensor([0, 0.3, 0.5, 0.7, 1], dtype=torch.float64)
    found = solve(Doubling(), torch.ones(1, 1), times, "jumps", steps=2).states
    assert found.flatten().tolist() == [1, 1, 2, 2, 4]


@pytest.mark.parametrize("nfe", [7, 1, 10])
def test_budget_that_a_method_cannot_spend_is_refused_with_the_nearest(nfe):
    near = {7: "4 and 8", 1: "4", 10: "8 and 12"}[nfe]
    with pytest.raises(ValueError, match=f"exactly {nfe} evaluations; .*: {near}\\."):
        steps_for("rk4", nfe)
    assert steps_for("edm", 35) == 18  # as counted by Karras et al. 2022
    with pytest.raises(ValueError, match="tolerance"):
        steps_for("dopri5", 20)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ADAPTIVE)
def test_adaptive_method_keeps_its_tolerance_and_stops_at_the_last_time(name, dtype):
    evaluated_times = []

    def field(t, x):
        evaluated_times.append(t.item())
        return 6 * torch.cos(6 * t) * x

    end, x_0 = 1 - 1e-5, torch.ones(4, 2, dtype=dtype)
    errors, lengths = [], []
    for tol in (1e-3, 1e-5):
        times = torch.linspace(0, end, 7, dtype=torch.float64)
        solution = solve(field, x_0, times, name, tol=tol)
        expected = torch.exp(torch.sin(6 * times))[:, None, None]
        errors.append((solution.states - expected).abs().max().item())
        tries = len(solution.step_times) - 1 + len(solution.rejected)
        assert solution.nfe == 2 + METHODS[name].evaluations * tries
        assert solution.step_times[0] == 0 and solution.step_times[-1] == end
        assert (solution.step_times.diff() > 0).all()
        at_steps = torch.exp(torch.sin(6 * solution.step_times))[:, None, None]
        # Fehlberg's estimate is that of the first-order method, with a factor of 1/512.
        bound = 1000 if name == "fehlberg2" else 50
        assert (solution.step_states - at_steps).abs().max() < bound * tol
        if len(solution.rejected):
            t, dt = solution.rejected.T
            assert (dt > 0).all() and torch.isin(t, solution.step_times).all()
        lengths.append(len(solution.step_times))
    assert errors[1] < errors[0] / 8 and errors[1] < 1e-2 and lengths[1] > lengths[0]
    assert max(evaluated_times) <= end


def test_rejected_steps_are_reported_where_the_field_turns():
    def field(t, x):
        return torch.where(t < 0.5, 0.0, 40.0) * torch.cos(40 * t) * torch.ones_like(x)

    solution = solve(field, torch.ones(1, 1), ends(0, 1), "dopri5", tol=1e-6)
    t, dt = solution.rejected.T
    assert len(t) > 0 and (t < 1).all() and ((t < 0.5) & (t + dt > 0.5)).any()


@pytest.mark.parametrize("name", SOLVERS)
def test_backward_undoes_forward(name):
    x_0 = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    there = {"tol": 1e-8} if METHODS[name].adaptive else {"steps": 200}
    if METHODS[name].order == 2 and METHODS[name].adaptive:
        there = {"tol": 1e-6}
    forward = solve(oscillation, x_0, ends(0, 0.9), name, **there)
    backward = solve(oscillation, forward.states[-1], ends(0.9, 0), name, **there)
    assert backward.step_times[0] == 0.9 and backward.step_times[-1] == 0
    assert (backward.step_times.diff() < 0).all() and (backward.rejected[:, 1] <= 0).all()
    torch.testing.assert_close(
        backward.states[-1], x_0, rtol=0, atol=2e-2 if name == "euler" else 1e-4
    )


@pytest.mark.parametrize("name", ["euler", "rk4", "dopri5"])
@pytest.mark.parametrize("backward", [False, True])
def test_the_field_gets_times_in_float64_also_for_states_in_float32(name, backward):
    seen, end = [], 1 - 1e-5

    def field(t, x):
        assert t.dtype == torch.float64 and t.shape == ()
        seen.append(t.item())
        return torch.zeros_like(x) + torch.cos(50 * t)

    times = ends(end, 0) if backward else ends(0, end)
    how = {"tol": 1e-5} if name == "dopri5" else {"steps": 1000}
    solve(field, torch.ones(2, 2), times, name, **how)
    assert seen[0] == times[0] and min(seen) >= 0 and max(seen) <= end
    if name == "rk4":
        left = 1 - np.array(seen[-4:] if not backward else seen[:4])
        stages = np.array([3, 2, 1, 0]) / 3 * end / 1000 + 1e-5
        np.testing.assert_allclose(np.sort(left), np.sort(stages), rtol=1e-6)


def test_grid_sets_the_steps():
    grid = ends(0, 0.1, 0.5, 1)
    solution = solve(oscillation, torch.ones(1, 1), ends(0, 1), "midpoint", grid=grid)
    assert solution.nfe == 6 and torch.equal(solution.step_times, grid)
    with pytest.raises(ValueError, match="from the first of `times` to the last"):
        solve(oscillation, torch.ones(1, 1), ends(0, 1), "midpoint", grid=ends(0, 0.5, 0.9))


def test_exact_field_of_a_point_is_solved_to_the_end_of_vp():
    """One data point: u_t(x | x_1), whose flow is psi_t; at t_max sigma is 1e-3."""
    path = AffinePath(SCHEDULERS["vp"]())
    x_0 = torch.randn(8, 2, generator=torch.Generator().manual_seed(1))
    x_1 = torch.tensor([[2.0, -1.0]])
    start = path.flow(torch.tensor(0.0), x_0, x_1)
    solution = solve(
        lambda t, x: path.velocity(t, x, x_1), start, ends(0, path.t_max), "dopri5", tol=1e-5
    )
    expected = path.flow(torch.tensor(path.t_max, dtype=torch.float64), x_0, x_1)
    torch.testing.assert_close(solution.states[-1], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", FIXED)
def test_error_of_a_diverged_fixed_step_solve_states_time_and_remedy(name):
    """A field that is infinite from t = 1/2 on."""

    def field(t, x):
        return torch.where(t < 0.5 - 1e-9, 1.0, math.inf).to(x) * torch.ones_like(x)

    with pytest.raises(
        SolveError, match=r"step \d+ of 10, at t = 0\.[56]; take more steps"
    ) as caught:
        solve(field, torch.ones(2, 2), ends(0, 1), name, steps=10)
    assert 0.4 < caught.value.t < 0.7
    assert ("(midpoint" in str(caught.value)) == METHODS[name].evaluates_end


@pytest.mark.parametrize("name", ADAPTIVE)
def test_stored_states_of_many_steps_are_bounded_and_even(name):
    def turn(t, x):
        return torch.stack([-x[:, 1], x[:, 0]], dim=1) * (1 + 4 * torch.sin(9 * t) ** 2)

    x_0, times = torch.randn(5, 2, dtype=torch.float64), torch.linspace(0, 1, 4).double()
    tol = 1e-4 if METHODS[name].order < 4 else 1e-9
    whole = solve(turn, x_0, times, name, tol=tol)
    few = solve(turn, x_0, times, name, tol=tol, max_states=6)
    assert whole.accepted == few.accepted == len(whole.step_times) - 1 > 6
    assert 4 <= len(few.step_states) == len(few.step_times) <= 6
    assert torch.equal(few.states, whole.states) and few.nfe == whole.nfe
    kept = torch.searchsorted(whole.step_times, few.step_times)
    assert torch.equal(whole.step_times[kept], few.step_times)
    assert torch.equal(whole.step_states[kept], few.step_states)
    assert len(kept[:-1].diff().unique()) == 1 and kept[0] == 0 and kept[-1] == few.accepted


@pytest.mark.parametrize("name", ADAPTIVE)
def test_error_of_a_diverged_adaptive_solve_states_time_and_remedy(name):
    """dx/dt = x^2 from 1 reaches infinity at t = 1."""
    with pytest.raises(SolveError, match=r"tolerance") as caught:
        solve(
            lambda t, x: x * x, torch.ones(1, 1, dtype=torch.float64), ends(0, 2), name, tol=1e-2
        )
    assert 0.8 < caught.value.t < 1.5


def test_an_endless_solve_is_stopped(monkeypatch):
    monkeypatch.setattr("flowviz.solvers.MAX_NFE", 500)
    with pytest.raises(SolveError, match="after 500 evaluations, at t = 0"):
        solve(lambda t, x: 1e4 * torch.cos(1e4 * t) * x, torch.ones(1, 1), ends(0, 1), "bosh3")


@pytest.mark.parametrize("name", ["midpoint", "dopri5"])
def test_solve_is_cancelled_before_the_next_evaluation(name):
    requests = iter([False, False, False, True])
    calls = []

    def field(t, x):
        calls.append(t)
        return x

    how = {} if name == "dopri5" else {"steps": 10}
    with pytest.raises(Stopped), stopping(lambda: next(requests)):
        solve(field, torch.ones(1, 1), ends(0, 1), name, **how)
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("name", "how", "match"),
    [
        ("eulr", {}, "Did you mean 'euler'"),
        ("euler", {}, "needs `steps`"),
        ("euler", {"steps": 0}, "1 or more; got 0"),
        ("dopri5", {"steps": 3}, "give it `tol`"),
        ("dopri5", {"tol": 0.0}, "tol must be positive"),
    ],
)
def test_invalid_arguments_are_refused(name, how, match):
    with pytest.raises(ValueError, match=match):
        solve(oscillation, torch.ones(1, 1), ends(0, 1), name, **how)


def test_invalid_times_and_states_are_refused():
    for times in (ends(0), ends(0, 0), ends(0, 1, 0.5)):
        with pytest.raises(ValueError, match="rising or falling"):
            solve(oscillation, torch.ones(1, 1), times, "euler", steps=1)
    with pytest.raises(ValueError, match="must be finite"):
        solve(oscillation, torch.full((1, 1), math.nan), ends(0, 1), "euler", steps=1)


@pytest.mark.parametrize("name", SOLVERS)
def test_solve_is_reproducible_bitwise_and_takes_states_of_any_shape(name):
    x_0 = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(3))
    how = {} if METHODS[name].adaptive else {"steps": 5}
    times = torch.linspace(0, 1, 4)
    first, second = (solve(oscillation, x_0, times, name, **how) for _ in range(2))
    assert first.states.shape == (4, 3, 2, 4, 4) and first.states.dtype == torch.float32
    assert torch.equal(first.states, second.states) and not first.states.requires_grad


def test_limits_are_checked_before_the_first_evaluation():
    with pytest.raises(ValueError, match=r"at most 20000 evaluations \(NFE\); got 1000000"):
        steps_for("midpoint", 1_000_000)
    with pytest.raises(ValueError, match=r"at most 1000000 samples.*got 2000000"):
        EvaluateConfig(method="dopri5", nfe=None, n=2_000_000)


def test_more_evaluations_than_the_maximum_are_refused_before_the_first():
    with pytest.raises(ValueError, match="at most 20000 evaluations; 500000 steps of midpoint"):
        solve(
            lambda t, x: x, torch.ones(1, 2), torch.tensor([0.0, 1.0]), "midpoint", steps=500_000
        )
