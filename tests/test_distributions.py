"""Distributions: densities integrate to 1, samples follow them, entropies agree."""

import math

import pytest
import torch

from flowviz.distributions import Boxes, Distribution, GaussianMixture, PointMasses

BOARD = torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1]])
MEANS = torch.tensor([[-2.0, 0.5], [1.0, 1.5], [0.5, -2.0]])
COVARIANCES = torch.tensor(
    [[[0.3, 0.1], [0.1, 0.2]], [[0.5, -0.4], [-0.4, 0.6]], [[0.2, 0], [0, 0.9]]]
)
KINDS: dict[str, Distribution] = {
    "board": Boxes(torch.linspace(-4, 4, 5), torch.linspace(-4, 4, 5), BOARD),
    "boxes": Boxes(
        torch.tensor([-3.0, -1, 0.5, 4]),
        torch.tensor([-2.0, 0.25, 3]),
        torch.tensor([[1.0, 2], [0, 3], [0.5, 0]]),
    ),
    "gaussian": GaussianMixture(MEANS[:1], COVARIANCES[0]),
    "isotropic": GaussianMixture(MEANS, 0.4, torch.tensor([1.0, 2, 3])),
    "mixture": GaussianMixture(MEANS, COVARIANCES, torch.tensor([1.0, 2, 3])),
}
DENSE = pytest.mark.parametrize("name", KINDS)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@DENSE
def test_density_integrates_to_1(name: str) -> None:
    # Midpoints of cells of 1/32; the edges of each box are edges of cells.
    axis = torch.arange(-8, 8, 1 / 32, dtype=torch.float64) + 1 / 64
    x = torch.cartesian_prod(axis, axis)
    density = KINDS[name].log_prob(x).exp()
    assert density.sum().item() / 32**2 == pytest.approx(1, abs=1e-8)


@DENSE
def test_samples_follow_the_density(name: str) -> None:
    n = 20_000
    x = KINDS[name].sample(n, generator()).double()
    own, g = KINDS[name], torch.Generator().manual_seed(1)
    for box in (4 * torch.rand(8, 2, 2, generator=g, dtype=torch.float64) - 2).sort(dim=1).values:
        low, high = box
        inside = ((low < x) & (x < high)).all(-1).double().mean().item()
        uniform = torch.rand(n, 2, generator=g, dtype=torch.float64)
        mass = own.log_prob(low + (high - low) * uniform).exp() * (high - low).prod()
        error = math.sqrt(0.25 / n + mass.var().item() / n)
        assert abs(inside - mass.mean().item()) < 5 * error


@DENSE
def test_entropy_is_the_mean_of_minus_the_log_density(name: str) -> None:
    own = KINDS[name]
    log_prob = own.log_prob(own.sample(20_000, generator()).double())
    if own.entropy is None:
        assert isinstance(own, GaussianMixture)
        assert len(own.means) > 1
        return
    error = log_prob.std().item() / math.sqrt(len(log_prob))
    assert abs(own.entropy + log_prob.mean().item()) <= 5 * error + 1e-12


@pytest.mark.parametrize("name", [*KINDS, "points"])
def test_samples_are_seeded_contained_float32(name: str) -> None:
    own = KINDS.get(name, PointMasses(torch.rand(50, 2, dtype=torch.float64)))
    x = own.sample(20_000, generator())
    assert x.shape == (20_000, 2)
    assert x.dtype == torch.float32
    assert torch.equal(x, own.sample(20_000, generator()))
    assert own.contains(x).dtype == torch.bool
    assert own.contains(x).all()


@DENSE
def test_log_prob_keeps_the_dtype(name: str) -> None:
    x = KINDS[name].sample(100, generator())
    low, high = KINDS[name].log_prob(x), KINDS[name].log_prob(x.double())
    assert (low.dtype, high.dtype) == (torch.float32, torch.float64)
    torch.testing.assert_close(low.double(), high, rtol=1e-5, atol=1e-5)


def test_board_has_its_density_and_entropy() -> None:
    # 8 filled cells of area 4: density 1/32, entropy ln 32.
    board = KINDS["board"]
    x = torch.tensor([[-3.0, -3], [-3, -1], [3, 3], [-5, -3], [0.5, 0.5], [40, 25]])
    filled = torch.tensor([True, False, True, False, True, False])
    assert torch.equal(board.contains(x), filled)
    expected = torch.where(filled, -math.log(32), -math.inf)
    torch.testing.assert_close(board.log_prob(x), expected)
    assert board.entropy == pytest.approx(math.log(32), rel=1e-12)


def test_boxes_are_closed() -> None:
    corners = torch.tensor([[-4.0, -4], [-2, -2], [-4, -2], [4, 4]])
    assert KINDS["board"].contains(corners).all()


def test_mixture_agrees_with_torch() -> None:
    own = KINDS["mixture"]
    peer = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(own.weights),
        torch.distributions.MultivariateNormal(own.means, own.covariances),
    )
    x = 3 * torch.randn(500, 2, generator=generator(), dtype=torch.float64)
    torch.testing.assert_close(own.log_prob(x), peer.log_prob(x))


@pytest.mark.parametrize("name", ["gaussian", "isotropic", "mixture"])
def test_mixture_samples_have_its_moments(name: str) -> None:
    own, n = KINDS[name], 50_000
    x = own.sample(n, generator()).double()
    mean = own.weights @ own.means
    centred = own.means - mean
    total = torch.einsum(
        "k,kij->ij", own.weights, own.covariances + centred[:, :, None] * centred[:, None]
    )
    assert ((x.mean(0) - mean).abs() < 5 * (total.diagonal() / n).sqrt()).all()
    products = (x - mean)[:, :, None] * (x - mean)[:, None]
    assert ((products.mean(0) - total).abs() < 5 * products.std(0) / math.sqrt(n)).all()


def test_points_are_drawn_by_weight_and_have_no_density() -> None:
    points = PointMasses(MEANS, torch.tensor([1.0, 0, 3]))
    x = points.sample(10_000, generator())
    share = (x == MEANS[2]).all(-1).double().mean().item()
    assert abs(share - 0.75) < 5 * math.sqrt(0.75 * 0.25 / 10_000)
    assert not points.contains(MEANS[1:2]).any()
    assert points.entropy is None
    with pytest.raises(ValueError, match="no density"):
        points.log_prob(x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianMixture(MEANS[0], 1.0), r"means must have shape \(K, 2\)"),
        (lambda: GaussianMixture(MEANS / 0, 1.0), "means must be finite"),
        (lambda: GaussianMixture(MEANS, 0.0), "std must be positive and finite; got 0.0"),
        (lambda: GaussianMixture(MEANS, -COVARIANCES), "covariances must be positive definite"),
        (lambda: GaussianMixture(MEANS, COVARIANCES[:2]), r"shape \(2, 2\) or \(3, 2, 2\); got"),
        (lambda: GaussianMixture(MEANS, torch.tensor([[1.0, 0.5], [0, 1]])), "symmetric"),
        (lambda: GaussianMixture(MEANS, 1.0, torch.ones(2)), r"weights must have shape \(3,\)"),
        (lambda: PointMasses(torch.zeros(0, 2)), "K >= 1"),
        (lambda: PointMasses(MEANS, torch.zeros(3)), "nonnegative with a positive sum"),
        (lambda: PointMasses(MEANS, torch.tensor([1.0, -1, 2])), "nonnegative"),
        (lambda: Boxes(MEANS[:, 0], torch.arange(3), torch.ones(2, 2)), "strictly increasing"),
        (lambda: Boxes(torch.arange(3), torch.arange(3), torch.ones(2, 3)), r"shape \(2, 2\)"),
        (lambda: Boxes(torch.zeros(1), torch.arange(3), torch.ones(0, 2)), "edges_x must have"),
        (lambda: KINDS["board"].sample(0, generator()), "n must be at least 1; got 0"),
    ],
)
def test_invalid_input_is_refused_with_a_message(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
