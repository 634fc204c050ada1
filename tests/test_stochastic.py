"""Stochastic samplers: marginals equal to those of the flow, orders and variances."""

import itertools
import math
from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Generator, Tensor

from flowviz.datasets import dataset
from flowviz.distributions import GaussianMixture
from flowviz.fields import exact_field
from flowviz.metrics import METRICS
from flowviz.paths import AffinePath
from flowviz.progress import Stopped, stopping
from flowviz.schedulers import SCHEDULERS, scheduler
from flowviz.solvers import SolveError, solve
from flowviz.stochastic import SAMPLERS, rate, sample

TIMES = (0.2, 0.4, 0.6, 0.8, 1.0)
N = 1_000
STEPS = 100
RUNS = 4
PAIRS = 20
STD = 0.7
BALLS = dataset("8gaussians").distribution
DOUBLE = torch.float64


def path_of(spec: str) -> AffinePath:
    return AffinePath(scheduler(spec))


def even(path: AffinePath, steps: int, end: float = 1.0) -> Tensor:
    return torch.linspace(0, end * path.t_max, steps + 1, dtype=DOUBLE)


def seeded(seed: int) -> Generator:
    return Generator().manual_seed(seed)


def gaussian(path: AffinePath):
    """The exact field to N(0, STD^2 I), a linear one: u = slope(t) x."""
    return exact_field(path, GaussianMixture(torch.zeros(1, 2), STD))


def slopes(path: AffinePath, t: Tensor) -> tuple[Tensor, Tensor]:
    """u / x and s / x towards N(0, STD^2 I), from p_t = N(0, alpha^2 STD^2 + sigma^2)."""
    c = path.scheduler(t)
    variance = (c.alpha * STD) ** 2 + c.sigma**2
    return (c.alpha * c.d_alpha * STD**2 + c.sigma * c.d_sigma) / variance, -1 / variance


def variance_at(path: AffinePath, t: float) -> float:
    """The variance of p_t towards N(0, STD^2 I)."""
    c = path.scheduler(torch.tensor(t, dtype=DOUBLE))
    return ((c.alpha * STD) ** 2 + c.sigma**2).item()


def recursion(path: AffinePath, grid: Tensor, noise: float) -> float:
    """The variance at the end of Euler-Maruyama's steps towards N(0, STD^2 I), in closed form."""
    u, s = slopes(path, grid)
    half = noise**2 * rate(path, grid) * path.scheduler(grid).sigma ** 2
    dt = grid.diff()
    kept, added = (1 + dt * (u + half * s)[:-1]) ** 2, 2 * half[:-1] * dt
    variance = variance_at(path, 0.0)
    for each, more in zip(kept.tolist(), added.tolist(), strict=True):
        variance = each * variance + more
    return variance


@pytest.mark.parametrize("spec", SCHEDULERS)
def test_the_reverse_diffusion_undoes_the_forward_one(spec: str) -> None:
    # x_t' = (alpha' / alpha) x_t backwards plus variance: the second moment of the kernel per dt.
    path = path_of(spec)
    t = torch.linspace(0.2, 0.95 * path.t_max, 40, dtype=DOUBLE)
    dt = 1e-6
    now, before = path.scheduler(t), path.scheduler(t - dt)
    added = before.sigma**2 - (before.alpha / now.alpha * now.sigma) ** 2
    g_squared = 2 * now.sigma**2 * rate(path, t)
    torch.testing.assert_close(added / dt, g_squared, rtol=2e-4, atol=1e-6)


def test_on_vp_and_ve_it_is_that_of_song() -> None:
    t = torch.linspace(0, 0.999, 50, dtype=DOUBLE)
    vp, ve = path_of("vp"), path_of("ve")
    beta = 0.1 + (1 - t) * 19.9
    torch.testing.assert_close(2 * vp.scheduler(t).sigma ** 2 * rate(vp, t), beta)
    growth = 2 * math.log(25 / 1e-3)
    torch.testing.assert_close(rate(ve, t), torch.full_like(t, growth / 2))


@pytest.mark.parametrize("spec", SCHEDULERS)
def test_the_rate_is_finite_from_the_start(spec: str) -> None:
    path = path_of(spec)
    found = rate(path, torch.linspace(0, path.t_max, 101, dtype=DOUBLE))
    assert found.isfinite().all() and (found > 0).all()


@pytest.mark.parametrize("spec", ["ot", "vp"])
@pytest.mark.parametrize("noise", [0.5, 1.0])
def test_euler_maruyama_has_the_variance_of_its_recursion(spec: str, noise: float) -> None:
    path = path_of(spec)
    grid = even(path, 20, end=0.8)
    x_0 = variance_at(path, 0.0) ** 0.5 * torch.randn(
        100_000, 2, generator=seeded(1), dtype=DOUBLE
    )
    end = sample(
        gaussian(path), path, x_0, grid, "euler-maruyama", noise=noise, generator=seeded(2)
    ).states[-1]
    expected = recursion(path, grid, noise)
    # The mean of 2 x 10^5 squares has a relative standard error of sqrt(2 / 2e5) = 0.32%.
    assert end.square().mean().item() == pytest.approx(expected, rel=4 * 0.0032)


@pytest.mark.parametrize("spec", ["ot", "vp", "trig", "shaped"])
@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0, 2.0])
def test_euler_maruyama_converges_to_the_gaussian_with_order_1(spec: str, noise: float) -> None:
    path = path_of(spec)
    errors = [
        abs(
            recursion(path, even(path, steps, end=0.8), noise)
            - variance_at(path, 0.8 * path.t_max)
        )
        for steps in (800, 1_600)
    ]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(1, abs=0.12)


@pytest.mark.parametrize("spec", SCHEDULERS)
@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0])
def test_ancestral_steps_are_exact_where_the_data_is_one_point(spec: str, noise: float) -> None:
    # Then E[x_1 | x] is x_1, and a step of any length keeps N(alpha x_1, sigma^2).
    path = path_of(spec)
    point = torch.tensor([1.0, -2.0], dtype=DOUBLE)
    c = path.scheduler(torch.zeros((), dtype=DOUBLE))
    x_0 = c.alpha * point + c.sigma * torch.randn(40_000, 2, generator=seeded(3), dtype=DOUBLE)

    def field(t: Tensor, x: Tensor) -> Tensor:
        return path.velocity(t, x, point.expand_as(x))

    grid = torch.tensor([0.0, 0.3, 0.7, 0.9], dtype=DOUBLE)
    solved = sample(field, path, x_0, grid, "ancestral", noise=noise, generator=seeded(4))
    assert solved.nfe == 3
    for t, x in zip(grid, solved.states, strict=True):
        c = path.scheduler(t)
        z = (x - c.alpha * point) / c.sigma
        # Standard errors of mean and variance of 8 x 10^4 normal numbers: 0.0035 and 0.005.
        assert z.mean().item() == pytest.approx(0, abs=4.5 * 0.0035)
        assert z.var().item() == pytest.approx(1, abs=4.5 * 0.005)


def test_ancestral_draws_from_the_posterior_of_the_diffusion() -> None:
    # x_t = r x_s + w with x_s ~ N(alpha_s x_1, sigma_s^2): the textbook posterior of x_s.
    path = path_of("vp")
    t, s = (torch.tensor(v, dtype=DOUBLE) for v in (0.4, 0.6))
    now, after = path.scheduler(t), path.scheduler(s)
    x_1, x = torch.tensor([0.8, -1.1], dtype=DOUBLE), torch.tensor([0.3, 0.9], dtype=DOUBLE)
    r = now.alpha / after.alpha
    spread = now.sigma**2 - r**2 * after.sigma**2
    variance = 1 / (1 / after.sigma**2 + r**2 / spread)
    mean = variance * (after.alpha * x_1 / after.sigma**2 + r * x / spread)
    drawn = sample(
        lambda t, x: path.velocity(t, x, x_1.expand_as(x)),
        path,
        x.expand(50_000, 2),
        torch.stack([t, s]),
        "ancestral",
        noise=1.0,
        generator=seeded(5),
    ).states[-1]
    std = variance.sqrt().item()
    assert (drawn.mean(0) - mean).abs().max().item() < 4.5 * std / math.sqrt(50_000)
    torch.testing.assert_close(drawn.var(0), variance.expand(2), rtol=0.03, atol=0)


@pytest.mark.parametrize("spec", SCHEDULERS)
def test_without_noise_they_are_euler_and_ddim(spec: str) -> None:
    path = path_of(spec)
    field = exact_field(path, BALLS)
    x_0 = path.start(torch.randn(50, 2, generator=seeded(6), dtype=DOUBLE))
    grid = even(path, 8)
    flow = solve(field, x_0, grid[[0, -1]], "euler", grid=grid)
    euler = sample(field, path, x_0, grid, "euler-maruyama", noise=0, generator=seeded(0))
    torch.testing.assert_close(euler.states, flow.step_states)
    assert euler.nfe == flow.nfe == 8
    # DDIM is Euler's step of x / sigma in the clock lambda (DDIM, eq. 14).
    x, c = x_0, [path.scheduler(t) for t in grid]
    for k, t in enumerate(grid[:-1]):
        lead = c[k + 1].alpha / c[k + 1].sigma - c[k].alpha / c[k].sigma
        x = c[k + 1].sigma * (x / c[k].sigma + lead * field.data_mean(t, x))
    ddim = sample(field, path, x_0, grid, "ancestral", noise=0, generator=seeded(0)).states[-1]
    torch.testing.assert_close(ddim, x, rtol=1e-7, atol=1e-7)


def energies(first: Iterable[Tensor], second: Iterable[Tensor]) -> list[float]:
    energy = METRICS["energy"].compute
    return [energy(x, y, None) for x, y in zip(first, second, strict=True)]


def drawn(path: AffinePath, seed: int) -> Tensor:
    """N draws of p_t at TIMES, each from a pair of noise and data, (5, N, 2)."""
    generator = seeded(seed)
    x_1 = BALLS.sample(N, generator).double()
    x_0 = torch.randn(N, 2, generator=generator, dtype=DOUBLE)
    return torch.stack([path.flow(t * path.t_max, x_0, x_1) for t in torch.tensor(TIMES)])


@pytest.fixture(scope="module")
def ceilings() -> dict[str, Tensor]:
    """Bounds of a mean energy distance over RUNS pairs of sets of N draws of the same p_t.

    By path, (5,) at TIMES: the floor, a mean of PAIRS such distances, plus twice the standard
    deviation of its difference from a mean of RUNS. This is 1.5 to 1.75 times the floor.
    """
    found = {}
    for spec in ("ot", "vp"):
        path = path_of(spec)
        floor = torch.tensor(
            [energies(drawn(path, 2 * i), drawn(path, 2 * i + 1)) for i in range(PAIRS)]
        )
        found[spec] = floor.mean(0) + 2 * math.sqrt(1 / RUNS + 1 / PAIRS) * floor.std(0)
    return found


def mean_energy(path: AffinePath, solver: Callable[[Tensor, Tensor, Generator], Tensor]) -> Tensor:
    """The energy distances of a sampler's states from p_t at TIMES, mean over RUNS, (5,)."""
    grid, found = even(path, STEPS), []
    for run in range(RUNS):
        generator = seeded(700 + run)
        x_0 = torch.randn(N, 2, generator=generator, dtype=DOUBLE)
        states = solver(x_0, grid, generator)[[round(STEPS * t) for t in TIMES]]
        found.append(energies(states, drawn(path, 500 + run)))
    return torch.tensor(found).mean(0)


@pytest.mark.parametrize("spec", ["ot", "vp"])
@pytest.mark.parametrize(
    ("sampler", "noise"), [("euler-maruyama", 0.0), *itertools.product(SAMPLERS, (0.5, 1.0))]
)
def test_marginals_are_as_close_to_the_path_as_its_own_samples_at_five_times(
    ceilings: dict[str, Tensor], spec: str, sampler: str, noise: float
) -> None:
    """For the flow and both noise levels; the steps are so small that their bias is negligible."""
    path = path_of(spec)
    field = exact_field(path, BALLS)

    def solver(x_0: Tensor, grid: Tensor, generator: Generator) -> Tensor:
        return sample(field, path, x_0, grid, sampler, noise=noise, generator=generator).states

    assert (mean_energy(path, solver) < ceilings[spec]).all()


@pytest.mark.parametrize(
    ("spec", "drift", "noise"), [("ot", 1, 1.1), ("vp", 1, 1.1), ("ot", 0, 1)]
)
def test_noise_that_the_drift_does_not_compensate_changes_the_marginals(
    ceilings: dict[str, Tensor], spec: str, drift: float, noise: float
) -> None:
    """The test above fails with a tenth more noise or without the score in the drift."""
    path = path_of(spec)
    field = exact_field(path, BALLS)

    def solver(x: Tensor, grid: Tensor, generator: Generator) -> Tensor:
        states = [x]
        for t, dt in zip(grid, grid.diff(), strict=False):
            u, half = field(t, x), rate(path, t) * path.scheduler(t).sigma ** 2
            z = torch.randn(x.shape, generator=generator, dtype=DOUBLE)
            x = x + dt * (u + drift * half * path.score_from_velocity(t, x, u))
            x = x + noise * (2 * half * dt).sqrt() * z
            states.append(x)
        return torch.stack(states)

    assert (mean_energy(path, solver) > ceilings[spec]).any()


def test_invalid_arguments_are_refused_with_a_message() -> None:
    path = path_of("ot")
    x, grid = torch.zeros(3, 2), even(path, 4)

    def run(grid: Tensor = grid, sampler: str = "ancestral", noise: float = 1.0, **more) -> None:
        field = more.pop("field", lambda t, x: x)
        sample(field, path, x, grid, sampler, noise=noise, generator=seeded(0), **more)

    with pytest.raises(ValueError, match=r"ancestral .* must be in 0..1; got 1.2"):
        run(noise=1.2)
    with pytest.raises(ValueError, match=r"Unknown stochastic sampler 'ancestrol'. Did you mean"):
        run(sampler="ancestrol")
    with pytest.raises(ValueError, match="increasing times"):
        run(grid=grid.flip(0))
    with pytest.raises(ValueError, match=r"\[0, 0.999\], .*; got 0 to 1"):
        run(grid=torch.tensor([0.0, 1.0]))
    with pytest.raises(SolveError, match="diverged in step 0 of 4, at t = 0"):
        run(field=lambda t, x: torch.full_like(x, math.inf))
    with pytest.raises(Stopped), stopping(lambda: True):
        run()
