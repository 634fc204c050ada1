"""Every data set against its own distribution and its description."""

import math

import pytest
import torch
from torch import Generator

from flowviz.datasets import DATASETS, FRAME, dataset
from flowviz.distributions import Boxes

OWN = ["mixture:-2,1;2,-1;0.5,3@0.3", "word:FLOW", "word:conditional OT"]
"""One data set of each kind that a text describes."""

CURVES = {
    # Separate formulas of the noise-free curves, for parameters uniform in [0, 1].
    "moons": (
        lambda s: [
            (2.5 * (torch.cos(math.pi * s) - 0.5), 2.5 * (torch.sin(math.pi * s) - 0.25)),
            (2.5 * (0.5 - torch.cos(math.pi * s)), 2.5 * (0.25 - torch.sin(math.pi * s))),
        ],
        0.15,
    ),
    "circles": (
        lambda s: [
            (r * torch.cos(2 * math.pi * s), r * torch.sin(2 * math.pi * s)) for r in (3.8, 1.9)
        ],
        0.12,
    ),
    "swissroll": (
        lambda s: [
            (
                sign * (1 + 2 * s) / 3 * 4 * torch.cos(1.5 * math.pi * (1 + 2 * s)),
                sign * (1 + 2 * s) / 3 * 4 * torch.sin(1.5 * math.pi * (1 + 2 * s)),
            )
            for sign in (1, -1)
        ],
        0.125,
    ),
    "scurve": (
        lambda s: [
            (
                2 * torch.sin(3 * math.pi * (s - 0.5)),
                2 * torch.sign(s - 0.5) * (torch.cos(3 * math.pi * (s - 0.5)) - 1),
            )
        ],
        0.15,
    ),
    "spirals": (
        lambda s: [
            (
                sign * 4 * s.sqrt() * torch.cos(3 * math.pi * s.sqrt()),
                sign * 4 * s.sqrt() * torch.sin(3 * math.pi * s.sqrt()),
            )
            for sign in (1, -1)
        ],
        0.15,
    ),
}


def seeded(seed):
    return Generator().manual_seed(seed)


def within_errors(sample, expected):
    """Whether a sample's mean is within 5 standard errors of the expected value."""
    return (sample.mean() - expected).abs() <= 5 * sample.std() / math.sqrt(len(sample)) + 1e-6


@pytest.fixture(params=[*DATASETS, *OWN])
def data(request):
    return dataset(request.param)


def test_sampler_has_the_requested_shape_type_and_seed(data):
    x = data.sample(257, seeded(0))
    assert x.shape == (257, 2)
    assert x.dtype == torch.float32
    assert torch.equal(x, data.sample(257, seeded(0)))
    assert not torch.equal(x, data.sample(257, seeded(1)))
    assert data.sample(1, seeded(0)).shape == (1, 2)


def test_sampler_leaves_the_global_random_state_alone(data):
    before = torch.get_rng_state()
    data.sample(10, seeded(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_sampler_refuses_no_samples(data):
    with pytest.raises(ValueError, match="number of samples must be at least 1; got 0"):
        data.sample(0, seeded(0))


def test_samples_lie_in_the_frame(data):
    x = data.sample(20_000, seeded(2))
    assert (x.abs() <= FRAME).all(dim=1).double().mean() >= 0.999
    assert x.abs().max() > 3  # and extend to its border


@pytest.mark.parametrize("name", DATASETS)
def test_mean_is_the_origin(name):
    x = DATASETS[name].sample(20_000, seeded(3))
    assert within_errors(x[:, 0], 0)
    assert within_errors(x[:, 1], 0)


def test_moments_are_those_of_samples_and_the_same_each_time(data):
    x = data.sample(40_000, seeded(4))
    torch.testing.assert_close(data.mean, x.mean(dim=0), rtol=0, atol=0.1)
    assert data.std == pytest.approx(x.std(dim=0).square().mean().sqrt().item(), rel=0.02)
    again = dataset(data.name)
    assert torch.equal(data.mean, again.mean)
    assert data.std == again.std


def test_distribution_has_mass_one(data):
    # 450 cells divide the checkerboard's; they cut a word's pixels, which needs the tolerance.
    cells = 450 if isinstance(data.distribution, Boxes) else 100
    half = FRAME / cells
    axis = torch.linspace(-FRAME + half, FRAME - half, cells, dtype=torch.float64)
    density = data.distribution.log_prob(torch.cartesian_prod(axis, axis)).exp()
    exact = data.name in DATASETS and data.name != "8gaussians"  # its tails leave the frame
    assert density.sum() * (2 * half) ** 2 == pytest.approx(1, abs=1e-3 if exact else 0.02)


def test_samples_lie_in_the_support(data):
    assert data.distribution.contains(data.sample(5_000, seeded(5))).all()


def test_sampler_has_the_log_density_of_its_distribution(data):
    n = 6_000
    own = data.distribution.log_prob(data.sample(n, seeded(6)).double())
    reference = data.distribution.log_prob(data.distribution.sample(n, seeded(7)).double())
    error = math.sqrt((own.var() + reference.var()) / n)
    assert abs(own.mean() - reference.mean()) <= 5 * error + 1e-6  # constant on a board


def test_sampler_has_the_histogram_of_its_distribution(data):
    n, bins, ends = 40_000, [24, 24], [-FRAME, FRAME, -FRAME, FRAME]
    own, reference = (
        torch.histogramdd(draw(n, seeded(seed)), bins, range=ends).hist
        for draw, seed in ((data.sample, 8), (data.distribution.sample, 9))
    )
    total = own + reference
    used = total >= 20
    chi_square = ((own - reference)[used].square() / total[used]).sum().item()
    degrees = int(used.sum())
    assert chi_square <= degrees + 5 * math.sqrt(2 * degrees)


@pytest.mark.parametrize("name", ["checkerboard", "word:FLOW", "mixture:1,2@0.5"])
def test_entropy_is_the_mean_negative_log_density(name):
    data = dataset(name)
    log_prob = data.distribution.log_prob(data.sample(20_000, seeded(10)))
    assert within_errors(-log_prob.double(), data.distribution.entropy)


def test_name_gives_the_same_data_set(data):
    again = dataset(data.name)
    assert again.name == data.name
    assert torch.equal(again.sample(50, seeded(11)), data.sample(50, seeded(11)))


def test_label_and_sentence_can_be_shown(data):
    assert data.label
    assert data.sentence.endswith(".")
    assert "\n" not in data.sentence


def test_exact_field_is_fast(data):
    size = data.distribution
    terms = sum(size.weights.shape) if isinstance(size, Boxes) else len(size.weights)
    assert terms <= 400


@pytest.mark.parametrize("name", CURVES)
def test_quadrature_along_a_curve_is_exact(name):
    # Against a sum over 10,000 equally spaced parameters, near the curve, on it and at its ends.
    curve, std = CURVES[name]
    s = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000
    means = torch.cat([torch.stack(arm, dim=-1) for arm in curve(s)])
    x = torch.cat(
        [
            DATASETS[name].sample(50, seeded(12)).double(),
            means[:: len(means) // 50],
            means[[0, -1]] + 0.5 * std,
        ]
    )
    kernel = torch.exp(-torch.cdist(x, means).square() / (2 * std**2)) / (2 * math.pi * std**2)
    expected = kernel.mean(dim=1)
    density = DATASETS[name].distribution.log_prob(x).exp()
    assert (density - expected).abs().max() <= 1e-3 * expected.max()
    torch.testing.assert_close(density, expected, rtol=3e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["moons", "circles"])
def test_draws_are_independent(name):
    # scikit-learn spaces the angles of one call evenly: two points would be the ends of a curve.
    generator = seeded(13)
    pairs = torch.stack([DATASETS[name].sample(2, generator) for _ in range(4_000)])
    product = (pairs[:, 0] * pairs[:, 1]).sum(dim=1)
    assert within_errors(product, 0)


def test_checkerboard_has_the_papers_board():
    board = DATASETS["checkerboard"]
    cell = 20 / 9
    centers = cell * (torch.arange(4, dtype=torch.float64) - 1.5)
    x, y = torch.meshgrid(centers, centers.flip(0), indexing="xy")  # rows from the top
    filled = board.distribution.contains(torch.stack([x, y], dim=-1).reshape(-1, 2)).reshape(4, 4)
    assert filled.int().tolist() == [[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]]
    assert board.distribution.entropy == pytest.approx(math.log(8 * cell**2))
    assert board.distribution.entropy == pytest.approx(3.6765, abs=1e-4)
    density = board.distribution.log_prob(torch.tensor([[-3.0, 1.0]])).exp().item()
    assert density == pytest.approx(0.45**2 / 8)


def test_user_coordinates_are_inverted():
    x = torch.randn(50, 2, generator=seeded(14), dtype=torch.float64)
    for name in [*DATASETS, *OWN]:
        data = dataset(name)
        torch.testing.assert_close(data.from_user(data.to_user(x)), x)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("chequerboard", "Unknown data set 'chequerboard'. Did you mean 'checkerboard'?"),
        ("", "Unknown data set ''. There are: checkerboard"),
        ("wrod:FLOW", "before the colon, must be one of mixture, word"),
    ],
)
def test_unknown_names_are_refused_in_one_sentence(spec, message):
    with pytest.raises(ValueError) as error:
        dataset(spec)
    assert message in str(error.value)
