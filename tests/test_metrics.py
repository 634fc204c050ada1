"""Metrics: one contract for all, and values known in closed form."""

import math

import pytest
import torch

from flowviz.distributions import Boxes, GaussianMixture
from flowviz.metrics import METRICS, projections, sliced_w2, unbounded

BOARD = Boxes(
    torch.tensor([-4.0, 0.0, 4.0]),
    torch.tensor([-4.0, 0.0, 4.0]),
    torch.tensor([[1.0, 0], [0, 1]]),
)


def normal(n, seed, mean=(0.0, 0.0), std=1.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.tensor(mean) + std * torch.randn(n, 2, generator=generator)


@pytest.mark.parametrize("name", METRICS)
def test_metric_is_zero_on_itself_and_repeats(name):
    metric, x = METRICS[name], BOARD.sample(600, torch.Generator().manual_seed(0))
    assert metric(x, x, BOARD) == pytest.approx(0, abs=1e-6)
    assert metric(x, x.flip(0), BOARD) == pytest.approx(0, abs=1e-6)
    y = normal(600, 1)
    assert metric(x, y, BOARD) == metric(x.clone(), y.clone(), BOARD)


@pytest.mark.parametrize("name", METRICS)
def test_metric_is_not_negative_grows_with_the_distance_and_has_a_description(name):
    metric, x = METRICS[name], BOARD.sample(500, torch.Generator().manual_seed(2))
    y = BOARD.sample(500, torch.Generator().manual_seed(3))
    near, far = metric(x, y, BOARD), metric(x + 3.0, y, BOARD)
    assert isinstance(near, float) and 0 <= near < far and math.isfinite(far)
    assert metric.needs in ("samples", "distribution")
    assert metric.label and metric.sentence.endswith(".") and name == name.lower()


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.limit])
def test_metric_uses_the_first_rows_up_to_its_limit(name):
    metric = METRICS[name]
    small = type(metric)(metric.label, "", "", metric.compute, metric.needs, limit=50)
    x, y = normal(60, 4), normal(60, 5)
    assert small(x, y, BOARD) == small(x[:50], y[:50], BOARD)


@pytest.mark.parametrize("name", METRICS)
def test_invalid_samples_are_refused(name):
    x = normal(10, 0)
    with pytest.raises(ValueError, match=r"must have shape \(n, 2\)"):
        METRICS[name](x[:, 0], x, BOARD)
    with pytest.raises(ValueError, match="reference must be finite"):
        METRICS[name](x, x * math.nan, BOARD)


@pytest.mark.parametrize("name", ["w2", "sliced-w2"])
def test_wasserstein_of_a_shift_and_of_a_scaling_is_exact(name):
    x, shift = normal(400, 6), torch.tensor([3.0, -4.0])
    whole = 5.0 if name == "w2" else 5.0 / math.sqrt(2)  # E (theta . v)^2 = |v|^2 / 2
    assert METRICS[name](x + shift, x) == pytest.approx(whole, rel=1e-5)
    spread = 1.5 * x.double().square().sum(1).mean().sqrt().item()  # monotone, so optimal
    expected = spread if name == "w2" else spread / math.sqrt(2)
    tolerance = 1e-5 if name == "w2" else 0.05
    assert METRICS[name](2.5 * x, x) == pytest.approx(expected, rel=tolerance)


def test_w2_of_two_gaussians():
    """W2^2 = |mean|^2 + d (s - 1)^2; the estimate with 1,500 samples is about 0.1 larger."""
    x, y = normal(1500, 7, mean=(2.0, 1.0), std=3.0), normal(1500, 8)
    assert METRICS["w2"](x, y) == pytest.approx(math.sqrt(5 + 2 * 4), rel=0.04)


def test_energy_of_two_gaussians():
    """In the plane E|N(m, 2 I)| is a Rice mean; for m = 0 it is sqrt(pi)."""
    n, m = 4000, 1.0
    x, y = normal(n, 9, mean=(m, 0.0)), normal(n, 10)
    z = m**2 / 4  # |m|^2 / (2 * variance) with variance 2
    bessel = [torch.special.i0e(torch.tensor(z / 2)), torch.special.i1e(torch.tensor(z / 2))]
    rice = math.sqrt(math.pi) * ((1 + z) * bessel[0] + z * bessel[1]).item()
    expected = 2 * rice - 2 * math.sqrt(math.pi)
    assert METRICS["energy"](x, y) == pytest.approx(expected, abs=0.04)


def test_mmd_of_two_points():
    """One point each at distance r: the square is 2 - 2 mean_w exp(-r^2 / 2 w^2)."""
    x, y = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.6, 0.8]])
    kernel = sum(math.exp(-1 / (2 * w**2)) for w in (0.25, 0.5, 1, 2)) / 4
    assert METRICS["mmd"](x, y) == pytest.approx(math.sqrt(2 - 2 * kernel), rel=1e-6)


def test_off_support_of_a_shifted_board():
    """Two squares of side 4 that touch at a corner: a shift by 1 along x puts 1/4 outside."""
    x = BOARD.sample(20_000, torch.Generator().manual_seed(11))
    shifted = x + torch.tensor([1.0, 0.0])
    error = math.sqrt(0.25 * 0.75 / 20_000)
    assert METRICS["off-support"](shifted, x, BOARD) == pytest.approx(0.25, abs=5 * error)
    assert METRICS["off-support"](x, x, BOARD) == 0
    with pytest.raises(ValueError, match="needs the distribution"):
        METRICS["off-support"](x, x)


def test_histogram_counts_points_outside():
    x = torch.zeros(4, 2)
    y = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [99.0, 0.0]])
    assert METRICS["histogram-tv"](y, x) == pytest.approx(0.25)
    assert METRICS["histogram-tv"](x + 1, x) == 1


def test_unbounded_supports_are_known():
    assert unbounded(GaussianMixture(torch.zeros(1, 2), 1.0)) and not unbounded(BOARD)


def test_sliced_distance_is_one_number_for_tables_and_pictures():
    """The metric and the distance over time of the page Compare are one function."""
    x, y = (BOARD.sample(500, torch.Generator().manual_seed(k)) for k in (5, 6))
    shown = sliced_w2(torch.stack([x, y]).numpy(), projections(y.numpy()))
    assert shown.tolist() == pytest.approx([METRICS["sliced-w2"](x, y), 0], rel=1e-5, abs=1e-12)
