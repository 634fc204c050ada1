"""The affine path: theorem 3, and conversions that undo each other."""

import pytest
import torch
from torch import Tensor

from flowviz.paths import AffinePath
from flowviz.schedulers import SCHEDULERS, scheduler

SPECS = [*SCHEDULERS, "ot:sigma_min=0.1"]


def draw(spec: str, n: int = 32) -> tuple[AffinePath, Tensor, Tensor, Tensor]:
    """A path, times (n,), noise (n, 2) and data (n, 2), in float64."""
    path, g = AffinePath(scheduler(spec)), torch.Generator().manual_seed(0)
    t = 0.01 + (path.t_max - 0.02) * torch.rand(n, generator=g, dtype=torch.float64)
    x_0, x_1 = torch.randn(2, n, 2, generator=g, dtype=torch.float64)
    return path, t, x_0, 3 * x_1


@pytest.mark.parametrize("spec", SPECS)
def test_a_share_of_t_max_is_a_time_of_the_path(spec: str) -> None:
    path = AffinePath(scheduler(spec))
    assert path.time(0.0) == 0 and path.time(1.0) == path.t_max
    shares = torch.linspace(0, 1, 7, dtype=torch.float64)
    torch.testing.assert_close(path.time(shares), path.clock(7), rtol=1e-15, atol=1e-15)
    assert path.clock(2).tolist() == [0.0, path.t_max]


@pytest.mark.parametrize("spec", SPECS)
def test_velocity_is_the_time_derivative_of_the_flow(spec: str) -> None:
    path, t, x_0, x_1 = draw(spec)
    x_t, dx_t = torch.func.jvp(lambda t: path.flow(t, x_0, x_1), (t,), (torch.ones_like(t),))
    torch.testing.assert_close(path.target(t, x_0, x_1), dx_t)
    torch.testing.assert_close(path.velocity(t, x_t, x_1), dx_t)


@pytest.mark.parametrize("spec", SPECS)
def test_conditional_score_is_the_gradient_of_the_log_density(spec: str) -> None:
    path, t, x_0, x_1 = draw(spec)
    x_t = path.flow(t, x_0, x_1).requires_grad_()
    c = path.coefficients(t, x_t)
    log_density = -((x_t - c.alpha * x_1) / c.sigma).square().sum() / 2
    (gradient,) = torch.autograd.grad(log_density, x_t)
    torch.testing.assert_close(path.score(t, x_t, x_1), gradient)
    torch.testing.assert_close(path.score(t, x_t, x_1), -x_0 / c.sigma)


@pytest.mark.parametrize("spec", SPECS)
def test_every_conversion_gives_the_velocity_and_is_inverted(spec: str) -> None:
    # With one x_1 the posterior is that point, so that all quantities have closed forms.
    path, t, x_0, x_1 = draw(spec)
    x = path.flow(t, x_0, x_1)
    c, velocity = path.coefficients(t, x), path.target(t, x_0, x_1)
    torch.testing.assert_close(path.velocity_from_noise(t, x, x_0), velocity)
    torch.testing.assert_close(path.velocity_from_score(t, x, -x_0 / c.sigma), velocity)
    torch.testing.assert_close(path.velocity_from_data(t, x, x_1), velocity)
    torch.testing.assert_close(path.noise_from_velocity(t, x, velocity), x_0)
    torch.testing.assert_close(path.score_from_velocity(t, x, velocity), -x_0 / c.sigma)
    torch.testing.assert_close(path.data_from_velocity(t, x, velocity), x_1)


@pytest.mark.parametrize("spec", SPECS)
def test_start_is_the_flow_at_0_without_data(spec: str) -> None:
    path, _, x_0, _ = draw(spec)
    flow = path.flow(torch.tensor(0.0), x_0, torch.zeros_like(x_0))
    torch.testing.assert_close(path.start(x_0), flow, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("spec", SPECS)
def test_one_time_for_all_agrees_with_one_each(spec: str) -> None:
    path, t, x_0, x_1 = draw(spec)
    one = path.flow(t[0], x_0, x_1)
    torch.testing.assert_close(one, path.flow(t[0].expand(len(x_0)), x_0, x_1))


def test_a_wrong_shape_of_t_is_refused_with_a_message() -> None:
    path, _, x_0, x_1 = draw("ot")
    with pytest.raises(ValueError, match=r"t must have shape \(\) or \(32,\); got \(3,\)"):
        path.flow(torch.rand(3), x_0, x_1)


def test_theorem_3_on_conditional_ot_is_the_paper_s_formula() -> None:
    # Lipman et al. 2022, eq. 21: u = (x_1 - (1 - s) x) / (1 - (1 - s) t).
    path, t, x_0, x_1 = draw("ot:sigma_min=0.1")
    x = path.flow(t, x_0, x_1)
    expected = (x_1 - 0.9 * x) / (1 - 0.9 * t[:, None])
    torch.testing.assert_close(path.velocity(t, x, x_1), expected)
    torch.testing.assert_close(expected, x_1 - 0.9 * x_0)


def test_theorem_3_on_vp_is_the_paper_s_formula() -> None:
    # Lipman et al. 2022, eq. 19, the prime in T' being the derivative by 1 - t.
    path, t, x_0, x_1 = draw("vp")
    x, s = path.flow(t, x_0, x_1), 1 - t[:, None]
    beta, T = 0.1 + 19.9 * s, 0.1 * s + 19.9 * s**2 / 2
    expected = -beta / 2 * (torch.exp(-T) * x - torch.exp(-T / 2) * x_1) / (1 - torch.exp(-T))
    torch.testing.assert_close(path.velocity(t, x, x_1), expected, rtol=1e-7, atol=1e-7)
