"""Densities: divergence by autograd, likelihood against closed forms."""

import math
import time
from functools import partial

import pytest
import torch

from flowviz.densities import CHUNK, log_prob, normal_log_prob, velocity_and_divergence
from flowviz.fields import LearnedField
from flowviz.methods import density_methods
from flowviz.networks import MLP
from flowviz.objectives import OBJECTIVES
from flowviz.paths import AffinePath
from flowviz.progress import Stopped, stopping
from flowviz.schedulers import SCHEDULERS
from flowviz.solvers import METHODS, solve

MEAN = torch.tensor([1.0, -2.0], dtype=torch.float64)
COVARIANCE = torch.tensor([[0.6, 0.3], [0.3, 0.4]], dtype=torch.float64)
EYE = torch.eye(2, dtype=torch.float64)


def gaussian_field(path):
    """The marginal velocity towards N(MEAN, COVARIANCE): paper-facts D4."""

    def field(t, x):
        alpha, sigma, d_alpha, d_sigma = path.scheduler(t)
        V = alpha**2 * COVARIANCE + sigma**2 * EYE
        dV = 2 * (alpha * d_alpha * COVARIANCE + sigma * d_sigma * EYE)
        return d_alpha * MEAN + 0.5 * (x - alpha * MEAN) @ torch.linalg.solve(V, dV)

    return field


class Swirl(torch.nn.Module):
    """A small field with parameters, not linear in x."""

    def __init__(self, dim=2):
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.outer = torch.nn.Linear(dim, 16), torch.nn.Linear(16, dim)
        self.double()

    def forward(self, t, x):
        flat = x.flatten(1)
        return (self.outer(torch.tanh(self.inner(flat) + t)) * (1 + t)).reshape(x.shape)


@pytest.mark.parametrize("name", ["ot", "vp", "trig"])
def test_log_likelihood_of_a_gaussian_is_exact(name):
    path = AffinePath(SCHEDULERS[name]())
    generator = torch.Generator().manual_seed(0)
    x = MEAN + 3 * torch.randn(64, 2, generator=generator, dtype=torch.float64)
    alpha, sigma, *_ = path.scheduler(torch.tensor([0.0, path.t_max], dtype=torch.float64))
    start, end = (
        torch.distributions.MultivariateNormal(a * MEAN, a**2 * COVARIANCE + s**2 * EYE)
        for a, s in zip(alpha, sigma, strict=True)
    )
    result = log_prob(
        gaussian_field(path),
        x,
        t_max=path.t_max,
        method="dopri8",
        tol=1e-9,
        log_prior=start.log_prob,
    )
    torch.testing.assert_close(result.log_prob, end.log_prob(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", density_methods())
def test_log_likelihood_converges_with_every_method_and_any_chunk(method):
    field = Swirl()
    x = torch.randn(33, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    reference = log_prob(field, x, t_max=0.9, method="dopri8", tol=1e-10)
    how = {"tol": 1e-5} if METHODS[method].adaptive else {"steps": 40}
    result = log_prob(field, x, t_max=0.9, method=method, chunk=17, **how)
    atol = 5e-2 if METHODS[method].order == 1 else 1e-2
    torch.testing.assert_close(result.log_prob, reference.log_prob, rtol=0, atol=atol)
    torch.testing.assert_close(result.x_0, reference.x_0, rtol=0, atol=atol)
    if not METHODS[method].adaptive:
        assert result.nfe == METHODS[method].nfe(40)


@pytest.mark.parametrize("method", [m for m in density_methods() if not METHODS[m].adaptive])
def test_stages_of_weight_zero_do_not_change_the_result(method):
    """Omitting the divergence at stages of weight 0 gives the solution of the complete system."""
    field = Swirl()
    x = torch.randn(7, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def joint(t, rows):
        velocity, trace = velocity_and_divergence(field, t, rows[:, :2])
        return torch.cat([velocity, trace[:, None]], dim=1)

    times = torch.tensor([1.0, 0.0], dtype=torch.float64)
    rows = torch.cat([x, torch.zeros(7, 1, dtype=torch.float64)], dim=1)
    end = solve(joint, rows, times, method, steps=5).states[-1]
    result = log_prob(field, x, t_max=1.0, method=method, steps=5)
    expected = normal_log_prob(end[:, :2]) + end[:, 2]
    torch.testing.assert_close(result.log_prob, expected, rtol=0, atol=1e-12)


def test_slogdet_of_the_flow_map_is_the_integrated_divergence():
    field, times = Swirl(), torch.tensor([1.0, 0.0], dtype=torch.float64)
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def back(point):
        with torch.enable_grad():  # solve itself records no graph
            h, y = 1 / 100, point[None]
            for k in range(100):
                t = torch.tensor(1 - k * h, dtype=torch.float64)
                y = y - h * field(t - h / 2, y - h / 2 * field(t, y))
            return y[0]

    jacobian = torch.stack([torch.autograd.functional.jacobian(back, p) for p in x])
    result = log_prob(field, x, t_max=1.0, method="midpoint", steps=100)
    change = result.log_prob - normal_log_prob(result.x_0)
    torch.testing.assert_close(change, torch.linalg.slogdet(jacobian)[1], rtol=0, atol=1e-4)
    ends = solve(field, x, times, "midpoint", steps=100).states[-1]
    torch.testing.assert_close(result.x_0, ends, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(2,), (5,), (2, 2, 2)])
def test_divergence_is_the_trace_of_the_jacobian(shape):
    dim = math.prod(shape)
    field, t = Swirl(dim), torch.tensor(0.3, dtype=torch.float64)
    x = torch.randn(4, *shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda p: field(t, p[None])[0]))(x)
    expected = torch.einsum("bii->b", jacobian.reshape(4, dim, dim))
    torch.testing.assert_close(velocity_and_divergence(field, t, x)[1], expected)
    times = torch.full((4,), 0.3, dtype=torch.float64)[:, None]
    torch.testing.assert_close(velocity_and_divergence(field, times, x)[1], expected)


def test_divergence_of_a_constant_field_is_zero():
    x = torch.zeros(3, 2)
    found = velocity_and_divergence(lambda t, x: torch.ones(3, 2), torch.tensor(0.0), x)
    assert torch.equal(found[1], x[:, 0])


def test_hutchinson_is_unbiased():
    """With signs as the probe, the mean over all 2^D probes is exact."""
    field, t = Swirl(), torch.tensor(0.5, dtype=torch.float64)
    x = torch.randn(4, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 2)
    estimates = [velocity_and_divergence(field, t, x, probe=s.expand(4, 2))[1] for s in signs]
    exact = velocity_and_divergence(field, t, x)[1]
    torch.testing.assert_close(torch.stack(estimates).mean(0), exact)
    result = log_prob(
        field, x, t_max=1.0, method="rk4", steps=5, probe=torch.ones_like(x), chunk=3
    )
    assert result.log_prob.shape == (4,) and result.log_prob.isfinite().all()


def test_a_fields_own_divergence_is_used():
    class Own:
        def __call__(self, t, x):
            return x

        def divergence(self, t, x):
            return torch.full_like(x[:, 0], 7.0)

    x = torch.zeros(2, 2)
    assert velocity_and_divergence(Own(), torch.tensor(0.0), x)[1].tolist() == [7.0, 7.0]
    result = log_prob(Own(), x, t_max=1.0, method="euler", steps=4)
    torch.testing.assert_close(result.log_prob, normal_log_prob(x) - 7.0)


def test_prior_of_another_width_and_cancelling():
    x = torch.zeros(2, 3)
    expected = torch.distributions.Normal(0.0, 25.0).log_prob(x).sum(1)
    torch.testing.assert_close(normal_log_prob(x, 25.0), expected)
    wide = partial(normal_log_prob, std=25.0)
    still = log_prob(lambda t, x: 0 * x, x, t_max=1.0, method="euler", steps=1, log_prior=wide)
    torch.testing.assert_close(still.log_prob, expected)
    with pytest.raises(Stopped), stopping(lambda: True):
        log_prob(lambda t, x: x, x, t_max=1.0)


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("preconditioned", [True, False])
@pytest.mark.parametrize(("objective", "path"), [("flow", "ot"), ("noise", "vp"), ("score", "vp")])
def test_closed_divergence_of_a_network_equals_autograd(objective, path, preconditioned, depth):
    """More states than one part takes, with one time for all and with a time for each."""
    generator = torch.Generator().manual_seed(0)
    network = MLP(width=16, depth=depth, octaves=3, generator=generator)
    torch.nn.init.normal_(network.head.weight, generator=generator)
    field = LearnedField(
        network,
        AffinePath(SCHEDULERS[path]()),
        OBJECTIVES[objective],
        mean=torch.tensor([0.3, -0.2]),
        std=1.7,
        preconditioned=preconditioned,
    ).double()
    x = 2 * torch.randn(600, 2, generator=generator, dtype=torch.float64)
    for t in (torch.tensor(0.4).double(), 0.9 * torch.rand(600, generator=generator).double()):
        found = velocity_and_divergence(field, t, x)
        plain = velocity_and_divergence(lambda t, x: field(t, x), t, x)
        torch.testing.assert_close(found, plain, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_log_density_on_a_grid_costs_little_more_than_its_evaluations():
    """Midpoint, NFE 40, a network as shipped, 128 x 128 points: 20 velocities and 20 velocities
    with their divergences. Processor time, as a ratio: machines differ by more than a factor of
    two (2.1 s on one, 5.4 s on another, with the same code)."""
    field = LearnedField(
        MLP(), AffinePath(SCHEDULERS["ot"]()), OBJECTIVES["flow"], mean=torch.zeros(2), std=2.5
    )
    axis = torch.linspace(-5, 5, 128)
    x, t = torch.cartesian_prod(axis, axis), torch.tensor(0.5, dtype=torch.float64)
    follow = partial(log_prob, field, t_max=0.999, method="midpoint")
    follow(x[:64], steps=2)
    start = time.process_time()
    with torch.no_grad():
        for part in x.split(CHUNK) * 20:
            field(t, part)
            field.velocity_and_divergence(t, part)
    evaluations = time.process_time() - start
    start = time.process_time()
    found = follow(x, steps=20)
    assert time.process_time() - start < 1.4 * evaluations
    assert found.nfe == 40 and found.log_prob.isfinite().all()
