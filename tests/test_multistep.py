"""Multistep solvers: order, cost, exact cases, ends where alpha or sigma is 0, both directions."""

import math

import numpy as np
import pytest
import torch

from flowviz.datasets import dataset
from flowviz.densities import log_prob
from flowviz.experiments.fields import FieldRef
from flowviz.fields import exact_field
from flowviz.grids import GRIDS, time_of
from flowviz.methods import METHODS, Multistep, density_methods, velocity_methods
from flowviz.paths import AffinePath
from flowviz.schedulers import LEARNED, SCHEDULERS, scheduler
from flowviz.solvers import SolveError, solve

MULTISTEP = [name for name, method in METHODS.items() if isinstance(method.step, Multistep)]
EXPONENTIAL = [name for name in MULTISTEP if METHODS[name].needs_path]
PATHS = [*SCHEDULERS, LEARNED]
MEAN, STD = torch.tensor([[1.0, -2.0]], dtype=torch.float64), 0.5


def path_of(name):
    return AffinePath(scheduler(name))


def noise(n=16):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Normal:
    """The exact field towards N(MEAN, STD^2 I), with its flow in closed form."""

    def __init__(self, path, std=STD):
        self.path, self.std, self.seen = path, std, []

    def __call__(self, t, x):
        self.seen.append((t.item(), x))
        c = self.path.coefficients(t, x)
        spread = c.alpha**2 * self.std**2 + c.sigma**2
        rate = (c.alpha * c.d_alpha * self.std**2 + c.sigma * c.d_sigma) / spread
        return c.d_alpha * MEAN + rate * (x - c.alpha * MEAN)

    def flow(self, t, s, x):
        """The states at s of x at t."""
        (mean, spread), (mean_s, spread_s) = map(self._marginal, (t, s))
        return mean_s + spread_s / spread * (x - mean)

    def _marginal(self, t):
        c = self.path.scheduler(t)
        return c.alpha * MEAN, torch.sqrt((c.alpha * self.std) ** 2 + c.sigma**2)


def ends_of(grid):
    return grid[[0, -1]]


def error(name, field, grid):
    """The largest error at the end of a grid, and the NFE."""
    start = noise()
    solution = solve(field, start, ends_of(grid), name, grid=grid)
    expected = field.flow(grid[0], grid[-1], start)
    return (solution.states[-1] - expected).abs().max().item(), solution.nfe


def even_in_log_snr(path, steps):
    """Times with log(alpha / sigma) even from -2 to 3, both finite."""
    return time_of(path, torch.exp(torch.linspace(-2, 3, steps + 1, dtype=torch.float64)))


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("name", MULTISTEP)
@pytest.mark.parametrize("scheduler", ["ot", "vp", "trig", "ve", "shaped"])
def test_order_is_that_of_the_row_in_log_snr(name, scheduler, backward):
    field, counts = Normal(path_of(scheduler)), (64, 128)
    if scheduler == "ve":  # its log-SNR starts at -3.2
        grids = [field.path.clock(n + 1)[n // 4 :] for n in counts]
    else:
        grids = [even_in_log_snr(field.path, n) for n in counts]
    grids = [grid.flip(0) if backward else grid for grid in grids]
    (first, _), (second, nfe) = (error(name, field, grid) for grid in grids)
    if scheduler == "shaped":  # its second derivative jumps at the knots
        assert first / second > 2 ** (min(METHODS[name].order, 2) - 0.4)
    else:
        assert math.log2(first / second) == pytest.approx(METHODS[name].order, abs=0.25)
    assert nfe == len(grids[1]) - 1 == METHODS[name].nfe(nfe)


@pytest.mark.parametrize("name", MULTISTEP)
def test_order_on_the_whole_path_from_alpha_0(name):
    """The first step is infinitely long in log-SNR, and the others have different lengths."""
    field = Normal(path_of("ot"))
    errors = [error(name, field, GRIDS["uniform"](field.path, n))[0] for n in (64, 256)]
    assert math.log2(errors[0] / errors[1]) / 2 > min(METHODS[name].order, 2) - 0.3


@pytest.mark.parametrize("name", EXPONENTIAL)
@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_exponential_methods_are_exact_for_one_data_point_in_any_number_of_steps(
    name, steps, scheduler
):
    field = Normal(path_of(scheduler), std=0.0)
    grid = GRIDS["uniform"](field.path, steps)
    for times in (grid, grid.flip(0)):
        assert error(name, field, times)[0] < 1e-9


def test_ddim_is_euler_on_conditional_ot_and_the_first_step_of_its_successors():
    field = Normal(path_of("ot"))
    grid = GRIDS["uniform"](field.path, 6)
    found = {
        name: solve(field, noise(), ends_of(grid), name, grid=grid).step_states
        for name in ("euler", "ddim", "dpmpp-2m", "unipc-2", "ab2")
    }
    torch.testing.assert_close(found["ddim"], found["euler"], rtol=0, atol=1e-12)
    for name in ("dpmpp-2m", "ab2"):
        torch.testing.assert_close(found[name][1], found["ddim"][1], rtol=0, atol=1e-12)
        assert not torch.allclose(found[name][-1], found["ddim"][-1], atol=1e-3)
    # The step after lambda = -infinity has first order, and so has one towards sigma = 0.
    torch.testing.assert_close(found["dpmpp-2m"][2], found["ddim"][2], rtol=0, atol=1e-12)
    assert not torch.allclose(found["dpmpp-2m"][3], found["ddim"][3], atol=1e-3)


def test_dpm_solver_is_its_paper_s_algorithm_2():
    """Lu et al. 2022: x_i = sigma_i / sigma_{i-1} x_{i-1} - alpha_i (e^{-h_i} - 1) D_i."""
    path = path_of("vp")
    field, grid = Normal(path), even_in_log_snr(path, 7)
    c = path.scheduler(grid)
    level, x, before = torch.log(c.alpha / c.sigma), noise(), None
    for i in range(1, len(grid)):
        h = level[i] - level[i - 1]
        m = path.data_from_velocity(grid[i - 1], x, field(grid[i - 1], x))
        average = m
        if before is not None:
            r = (level[i - 1] - level[i - 2]) / h
            average = (1 + 1 / (2 * r)) * m - before / (2 * r)
        x = c.sigma[i] / c.sigma[i - 1] * x - c.alpha[i] * torch.expm1(-h) * average
        before = m
    found = solve(field, noise(), ends_of(grid), "dpmpp-2m", grid=grid).states[-1]
    torch.testing.assert_close(found, x, rtol=0, atol=1e-12)


def test_unipc_corrects_a_prediction_that_is_a_parabola_in_log_snr_exactly():
    """The integral of the parabola times e^lambda, by quadrature, from the second step on."""
    path = path_of("vp")
    grid = even_in_log_snr(path, 4)

    class Parabola:
        def __init__(self):
            self.path = path

        def level(self, t):
            c = path.scheduler(t)
            return torch.log(c.alpha / c.sigma)

        def __call__(self, t, x):
            m = 1 + self.level(t) - 0.3 * self.level(t) ** 2
            return path.velocity_from_data(t, x, m.expand_as(x))

    found = solve(Parabola(), noise(), ends_of(grid), "unipc-2", grid=grid).step_states
    c, levels = path.scheduler(grid), Parabola().level(grid)
    nodes, weights = np.polynomial.legendre.leggauss(20)
    for i in (2, 3):  # the last step is not corrected
        low, high = levels[i - 1].item(), levels[i].item()
        s = (high + low) / 2 + (high - low) / 2 * nodes
        gained = (high - low) / 2 * (weights * np.exp(s) * (1 + s - 0.3 * s**2)).sum()
        expected = c.sigma[i] * (found[i - 1] / c.sigma[i - 1] + gained)
        torch.testing.assert_close(found[i], expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", MULTISTEP)
def test_every_path_grid_and_small_nfe_gives_finite_states_in_both_directions(name, dtype):
    target = dataset("mixture:1,0;-1,0.5@0.3")
    for path_name in SCHEDULERS:
        path = path_of(path_name)
        field = exact_field(path, target.distribution)
        for steps in (1, 2, 3):
            for rule in GRIDS.values():
                grid = rule(path, steps)
                start = path.start(noise(8).to(dtype))
                there = solve(field, start, ends_of(grid), name, grid=grid)
                assert there.nfe == steps and there.states.dtype == dtype
                spread = there.states[-1].abs().max()
                # DPM-Solver's extrapolation of the data stays near the data.
                assert spread < 4 or name == "ab2" or path_name == "ve"
                back = solve(field, noise(8).to(dtype), ends_of(grid.flip(0)), name, steps=steps)
                assert back.states.isfinite().all()


@pytest.mark.parametrize("name", MULTISTEP)
def test_sigma_0_at_the_end_is_a_step_onto_the_prediction(name):
    """OT to t = 1, where a ratio with denominator sigma would be infinite."""
    field = Normal(path_of("ot"))
    for steps in (1, 2, 8):
        solution = solve(field, noise(), torch.tensor([0.0, 1.0]), name, steps=steps)
        assert solution.states.isfinite().all() and solution.nfe == steps
        if METHODS[name].needs_path:
            t, x = field.seen[-1]
            t = torch.tensor(t, dtype=torch.float64)
            m = field.path.data_from_velocity(t, x, field(t, x))
            torch.testing.assert_close(solution.states[-1], m, rtol=0, atol=1e-12)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("name", MULTISTEP)
def test_the_field_is_evaluated_at_the_state_of_each_time(name, backward):
    """The field is evaluated once per time, at its state up to the error of a step."""
    field, steps = Normal(path_of("vp")), 64
    grid = GRIDS["log-snr"](field.path, steps)
    grid = grid.flip(0) if backward else grid
    solution = solve(field, noise(), ends_of(grid), name, grid=grid)
    assert [t for t, _ in field.seen] == grid[:-1].tolist()
    for (_, x), state in zip(field.seen, solution.step_states[:-1], strict=True):
        # UniPC evaluates at the predicted state, and then corrects it.
        atol = 5e-3 if name == "unipc-2" else 0
        torch.testing.assert_close(x, state, rtol=0, atol=atol)


@pytest.mark.parametrize("name", MULTISTEP)
@pytest.mark.parametrize(
    "source", ["checkerboard-ot", pytest.param("checkerboard-learned", marks=pytest.mark.slow)]
)
def test_networks_converge_to_their_own_flow(name, source):
    """Also on a learned path, whose predictions are those of its reference path."""
    found = FieldRef.of(source)
    start, times = found.path.start(noise(8).float()), found.path.clock(2)
    expected = solve(found.field, start, times, "midpoint", steps=80).states[-1]
    gaps = []
    for steps in (6, 50):
        grid = GRIDS["edm"](found.path, steps)
        end = solve(found.field, start, times, name, grid=grid).states[-1]
        gaps.append((end - expected).square().mean().sqrt().item())
    assert gaps[1] < gaps[0] / 4


@pytest.mark.parametrize("name", EXPONENTIAL)
def test_fields_without_a_path_and_log_densities_are_refused_in_one_sentence(name):
    with pytest.raises(ValueError, match=f"{name} needs a field with a `path`.*ab2"):
        solve(lambda t, x: x, noise(), torch.tensor([0.0, 1.0]), name, steps=2)
    field = Normal(path_of("ot"))
    with pytest.raises(ValueError, match=f"{name} integrates states, not.*ab2"):
        log_prob(field, noise(), t_max=0.9, method=name, steps=4)
    assert name in velocity_methods() and name not in density_methods()


def test_adams_bashforth_is_exact_for_a_velocity_linear_in_time_on_an_uneven_grid():
    grid = torch.tensor([0.0, 0.1, 0.4, 0.5, 1.0], dtype=torch.float64)
    x = torch.zeros(1, 1, dtype=torch.float64)
    states = solve(lambda t, x: t * torch.ones_like(x), x, ends_of(grid), "ab2", grid=grid)
    found, first = states.step_states[:, 0, 0], 0.1**2 / 2  # the error of Euler's first step
    torch.testing.assert_close(found[1:], grid[1:] ** 2 / 2 - first, rtol=0, atol=1e-12)


def test_error_of_a_diverged_multistep_solve_states_the_time():
    class Blow(Normal):
        def __call__(self, t, x):
            return torch.where(t < 0.5 - 1e-9, 1.0, math.inf) * torch.ones_like(x)

    for name in EXPONENTIAL:
        with pytest.raises(SolveError, match=r"step \d+ of 10, at t = 0\.[456]; take more steps"):
            solve(Blow(path_of("ot")), noise(), torch.tensor([0.0, 1.0]), name, steps=10)
