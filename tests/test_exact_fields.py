"""Exact fields against closed forms, quadrature, autograd and the continuity equation."""

import itertools
import math

import mpmath
import numpy as np
import pytest
import torch
from torch import Tensor

from flowviz.distributions import Boxes, Distribution, GaussianMixture, PointMasses
from flowviz.fields import exact_field
from flowviz.paths import AffinePath
from flowviz.schedulers import SCHEDULERS, scheduler

EDGES = torch.linspace(-40 / 9, 40 / 9, 5, dtype=torch.float64)
FILLED = torch.tensor([[float(i % 2 == j % 2) for j in range(4)] for i in range(4)])
MEANS = torch.tensor([[-2.0, 0.5], [1.0, 1.5], [0.5, -2.0], [3.0, 3.0]])
COVARIANCES = torch.tensor(
    [
        [[0.3, 0.1], [0.1, 0.2]],
        [[0.5, -0.4], [-0.4, 0.6]],
        [[0.2, 0], [0, 0.9]],
        [[0.02, 0.01], [0.01, 0.03]],
    ]
)
WEIGHTS = torch.tensor([1.0, 2, 3, 0.5])
KINDS: dict[str, Distribution] = {
    "board": Boxes(EDGES, EDGES, FILLED),
    "boxes": Boxes(
        torch.tensor([-3.0, -1, 0.5, 4]),
        torch.tensor([-2.0, 0.25, 3]),
        torch.tensor([[1.0, 2], [0, 3], [0.5, 0]]),
    ),
    "isotropic": GaussianMixture(MEANS, 0.4, WEIGHTS),
    "shared": GaussianMixture(MEANS, COVARIANCES[1], WEIGHTS),
    "own": GaussianMixture(MEANS, COVARIANCES, WEIGHTS),
    "points": PointMasses(MEANS, WEIGHTS),
}
TIMES = [0.0, 0.1, 0.5, 0.9, 0.99]
FAR = torch.tensor([[-40.0, 25.0], [-40.0, 0.3], [7.0, -6.5]], dtype=torch.float64)
QUADRATURE = [(spec, t) for spec in SCHEDULERS for t in (0.0, 0.2, 0.4, 0.6)]
EVERY = pytest.mark.parametrize(
    ("spec", "name"), [*itertools.product([*SCHEDULERS, "ot:sigma_min=0.1"], KINDS)]
)


def path(spec: str) -> AffinePath:
    return AffinePath(scheduler(spec))


def draw(spec: str, name: str, t: Tensor, n: int = 24) -> Tensor:
    """Points (n, 2) of p_t and a few far from it, float64."""
    g = torch.Generator().manual_seed(3)
    x_1 = KINDS[name].sample(n, g).double()
    x_0 = torch.randn(n, 2, generator=g, dtype=torch.float64)
    return torch.cat([path(spec).flow(t, x_0, x_1), FAR[1:]])


def board_velocity(spec: str, t: float, point: list[float]) -> list[float]:
    """The velocity towards the checkerboard in 60 digits, by Bayes' rule on each box.

    Given x and a box, x_1 is N(x / alpha, (sigma / alpha)^2) truncated to the box, axis by axis;
    the moments are the textbook's, and the coefficients of the path are written out again.
    """
    mp = mpmath.mp
    with mp.workdps(60):
        t = mp.mpf(t)
        if spec == "ot":
            alpha, sigma, d_alpha, d_sigma = t, 1 - t, mp.mpf(1), mp.mpf(-1)
        else:
            T = mp.mpf("0.1") * (1 - t) + mp.mpf("19.9") * (1 - t) ** 2 / 2
            alpha, sigma = mp.exp(-T / 2), mp.sqrt(1 - mp.exp(-T))
            d_alpha = (mp.mpf("0.1") + mp.mpf("19.9") * (1 - t)) * alpha / 2
            d_sigma = -alpha * d_alpha / sigma
        if alpha == 0:  # x is pure noise, and the mean of the board is 0
            return [float(d_sigma * mp.mpf(v) / sigma) for v in point]

        def upper(z: mpmath.mpf) -> mpmath.mpf:
            return mp.erfc(z / mp.sqrt(2)) / 2

        masses, means = [], []
        for value in point:
            mean, spread = mp.mpf(value) / alpha, sigma / alpha
            edges = [(mp.mpf(40) / 9) * mp.mpf(k) / 2 for k in range(-2, 3)]
            mass, inside = [], []
            for low, high in itertools.pairwise([(edge - mean) / spread for edge in edges]):
                # Above the mean both probabilities are near 1; mirrored, they do not cancel.
                chance = upper(low) - upper(high) if low > 0 else upper(-high) - upper(-low)
                slope = mp.npdf(low) - mp.npdf(high)
                mass.append(chance)
                inside.append(mean + spread * slope / chance)
            masses.append(mass)
            means.append(inside)
        boxes = [(i, j) for i in range(4) for j in range(4) if i % 2 == j % 2]
        chances = [masses[0][i] * masses[1][j] for i, j in boxes]
        data = [
            sum(
                chance * means[axis][box[axis]] for chance, box in zip(chances, boxes, strict=True)
            )
            / sum(chances)
            for axis in (0, 1)
        ]
        return [
            float(d_alpha * m + d_sigma * (mp.mpf(v) - alpha * m) / sigma)
            for m, v in zip(data, point, strict=True)
        ]


@pytest.mark.parametrize(("spec", "t"), [*itertools.product(["ot", "vp"], TIMES)])
def test_board_agrees_with_60_digits(spec: str, t: float) -> None:
    near = torch.tensor([[0.0, 0.0], [1.3, -2.2], [-3.1, 3.9], [4.4, 4.6], [-4.5, 1.0]])
    x = torch.cat([near.double(), FAR])
    found = [board_velocity(spec, t, point) for point in x.tolist()]
    expected = torch.tensor(found, dtype=torch.float64)
    time = torch.tensor(t, dtype=torch.float64)
    velocity = exact_field(path(spec), KINDS["board"])(time, x)
    error = (velocity - expected).norm(dim=1) / expected.norm(dim=1).clamp(min=1)
    assert error.max() < 1e-10


@pytest.mark.parametrize(("spec", "t"), QUADRATURE)
@pytest.mark.parametrize("name", ["board", "boxes"])
def test_boxes_agree_with_gauss_legendre(spec: str, t: float, name: str) -> None:
    own, time = KINDS[name], torch.tensor(t, dtype=torch.float64)
    x = draw(spec, name, time)[:-2]
    field, c = exact_field(path(spec), own), path(spec).coefficients(time, x)
    nodes, weights = (torch.as_tensor(v) for v in np.polynomial.legendre.leggauss(100))

    def axis(edges: Tensor) -> tuple[Tensor, Tensor]:
        low, width = edges[:-1, None], edges.diff()[:, None]
        return (low + width * (1 + nodes) / 2), (weights / 2).expand(len(low), -1)

    (u, a), (v, b) = axis(own.edges_x), axis(own.edges_y)  # nodes and shares, (cells, 100)
    kernel = [
        torch.exp(-((p[..., None] * c.alpha - x[:, d]) / c.sigma).square() / 2) * q[..., None]
        for d, p, q in ((0, u, a), (1, v, b))
    ]
    plain = [k.sum(1) for k in kernel]  # (cells, B)
    first = [(k * p[..., None]).sum(1) for k, p in zip(kernel, (u, v), strict=True)]
    density = torch.einsum("ij,ib,jb->b", own.weights, *plain)
    data = torch.stack(
        [
            torch.einsum("ij,ib,jb->b", own.weights, first[0], plain[1]) / density,
            torch.einsum("ij,ib,jb->b", own.weights, plain[0], first[1]) / density,
        ],
        dim=1,
    )
    log_density = density.log() - math.log(2 * math.pi) - 2 * c.sigma.log()
    torch.testing.assert_close(field.log_density(time, x), log_density, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(field.data_mean(time, x), data, rtol=1e-8, atol=1e-8)
    noise = (x - c.alpha * data) / c.sigma
    torch.testing.assert_close(field.noise_mean(time, x), noise, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(("spec", "t"), [*itertools.product(SCHEDULERS, TIMES)])
@pytest.mark.parametrize("name", ["isotropic", "shared", "own"])
def test_mixture_agrees_with_its_formula(spec: str, t: float, name: str) -> None:
    own, time = KINDS[name], torch.tensor(t, dtype=torch.float64)
    x = torch.cat([draw(spec, name, time), FAR])
    c = path(spec).coefficients(time, x)
    V = c.alpha**2 * own.covariances + c.sigma**2 * torch.eye(2).double()
    peer = torch.distributions.MultivariateNormal(c.alpha * own.means, V)
    joint = own.weights.log() + peer.log_prob(x[:, None])
    chance = torch.softmax(joint, dim=1)
    whitened = torch.einsum("kij,bkj->bki", torch.linalg.inv(V), x[:, None] - c.alpha * own.means)
    means = own.means + c.alpha * torch.einsum("kij,bkj->bki", own.covariances, whitened)
    data = torch.einsum("bk,bki->bi", chance, means)
    noise = c.sigma * torch.einsum("bk,bki->bi", chance, whitened)
    field = exact_field(path(spec), own)
    torch.testing.assert_close(field.log_density(time, x), torch.logsumexp(joint, dim=1))
    torch.testing.assert_close(field.data_mean(time, x), data)
    torch.testing.assert_close(field.noise_mean(time, x), noise)
    torch.testing.assert_close(field(time, x), c.d_alpha * data + c.d_sigma * noise)


@pytest.mark.parametrize(("spec", "t"), [*itertools.product(SCHEDULERS, TIMES)])
def test_points_agree_with_their_formula(spec: str, t: float) -> None:
    own, time = KINDS["points"], torch.tensor(t, dtype=torch.float64)
    x = torch.cat([draw(spec, "points", time), FAR])
    c = path(spec).coefficients(time, x)
    distance = (x[:, None] - c.alpha * own.points).square().sum(-1)
    chance = torch.softmax(own.weights.log() - distance / (2 * c.sigma**2), dim=1)
    torch.testing.assert_close(
        exact_field(path(spec), own)(time, x),
        path(spec).velocity_from_data(time, x, chance @ own.points),
    )


@EVERY
@pytest.mark.parametrize("t", [0.02, 0.9])
def test_score_and_divergence_are_derivatives(spec: str, name: str, t: float) -> None:
    field, time = exact_field(path(spec), KINDS[name]), torch.tensor(t, dtype=torch.float64)
    x = draw(spec, name, time).requires_grad_()
    (score,) = torch.autograd.grad(field.log_density(time, x).sum(), x)
    torch.testing.assert_close(field.score(time, x), score, rtol=1e-6, atol=1e-6)
    velocity = field(time, x)
    columns = [torch.autograd.grad(velocity[:, d].sum(), x, retain_graph=True)[0] for d in (0, 1)]
    divergence = columns[0][:, 0] + columns[1][:, 1]
    torch.testing.assert_close(field.divergence(time, x), divergence, rtol=1e-5, atol=1e-5)


@EVERY
@pytest.mark.parametrize("t", [0.0, 0.5, 0.98])
def test_density_and_velocity_obey_the_continuity_equation(spec: str, name: str, t: float) -> None:
    # d log p / dt + u . grad log p + div u = 0.
    field, time = exact_field(path(spec), KINDS[name]), torch.tensor(t, dtype=torch.float64)
    x = draw(spec, name, time)
    _, rate = torch.func.jvp(lambda s: field.log_density(s, x), (time,), (torch.ones_like(time),))
    drift = (field(time, x) * field.score(time, x)).sum(-1)
    divergence = field.divergence(time, x)
    scale = 1 + rate.abs() + drift.abs() + divergence.abs()
    assert ((rate + drift + divergence).abs() / scale).max() < 1e-6


@EVERY
def test_quantities_agree_with_the_path_s_conversions(spec: str, name: str) -> None:
    affine, field = path(spec), exact_field(path(spec), KINDS[name])
    t = torch.tensor(0.6, dtype=torch.float64)
    x = draw(spec, name, t)
    velocity = field(t, x)
    torch.testing.assert_close(affine.noise_from_velocity(t, x, velocity), field.noise_mean(t, x))
    torch.testing.assert_close(affine.data_from_velocity(t, x, velocity), field.data_mean(t, x))
    torch.testing.assert_close(affine.score_from_velocity(t, x, velocity), field.score(t, x))


@EVERY
def test_means_are_those_of_the_posterior(spec: str, name: str) -> None:
    # Their direct formula, from the first time where it is used to the last, also far away.
    field = exact_field(path(spec), KINDS[name])
    for t in torch.tensor([0.002, 0.01, 0.1, 0.5, 0.9, 0.99, 1]).double() * path(spec).t_max:
        x = torch.cat([draw(spec, name, t), FAR])
        c = path(spec).coefficients(t, x)
        posterior = field.target.posterior(c.alpha, c.sigma, x)
        torch.testing.assert_close(field.data_mean(t, x), posterior.data, rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(field.noise_mean(t, x), posterior.noise, rtol=1e-8, atol=1e-8)


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_field_is_finite_at_all_times_and_far_away(
    spec: str, name: str, dtype: torch.dtype
) -> None:
    affine, field = path(spec), exact_field(path(spec), KINDS[name])
    # Edges, corners and centres of boxes, data points, and distant points.
    axis = torch.tensor([-40.0, -5, -20 / 9, -1, 0, 0.25, 10 / 9, 4, 25])
    x = torch.cat([torch.cartesian_prod(axis, axis), MEANS]).to(dtype)
    for t in torch.tensor([0.0, 1e-6, 1e-3, 0.5, 0.999, 1]) * affine.t_max:
        for value in (field(t, x), field.score(t, x), field.data_mean(t, x)):
            assert value.shape == x.shape
            assert value.dtype == dtype
            assert value.isfinite().all()
        for value in (field.log_density(t, x), field.divergence(t, x)):
            assert value.shape == x.shape[:1]
            assert value.dtype == dtype
            assert value.isfinite().all()


@EVERY
def test_one_time_each_agrees_with_one_for_all(spec: str, name: str) -> None:
    field = exact_field(path(spec), KINDS[name])
    t = torch.linspace(0, 0.97, 6, dtype=torch.float64)
    x = draw(spec, name, t[3])[-6:]
    for call in (field, field.log_density, field.divergence):
        alone = torch.cat([call(s, p[None]) for s, p in zip(t, x, strict=True)])
        torch.testing.assert_close(call(t, x), alone)


@EVERY
def test_float32_in_float32_out(spec: str, name: str) -> None:
    field, t = exact_field(path(spec), KINDS[name]), torch.tensor(0.7)
    x = draw(spec, name, t).float()
    single, double = field(t, x), field(t.double(), x.double())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_many_points_agree_with_few(name: str) -> None:
    # More points than one chunk takes, and B = 0.
    field, t = exact_field(path("ot"), KINDS[name]), torch.tensor(0.7, dtype=torch.float64)
    x = 3 * torch.randn(40_000, 2, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(field(t, x)[-9:], field(t, x[-9:]))
    torch.testing.assert_close(field(t.expand(len(x)), x)[-9:], field(t, x[-9:]))
    assert field(t, x[:0]).shape == (0, 2)


@EVERY
@pytest.mark.parametrize("t", [0.0, 0.6])
def test_density_grid_is_the_density_and_integrates_to_1(spec: str, name: str, t: float) -> None:
    field, time = exact_field(path(spec), KINDS[name]), torch.tensor(t, dtype=torch.float64)
    reach = 6 + 6 * path(spec).coefficients(time, FAR).sigma.item()
    xs = torch.linspace(-reach, reach, 301, dtype=torch.float64)
    ys = torch.linspace(-reach, reach, 351, dtype=torch.float64)
    grid = field.density_grid(time, xs, ys)
    assert grid.shape == (351, 301)
    assert field.density_grid(time, xs.float(), ys.float()).dtype == torch.float32
    points = torch.stack([xs[[20, 150, 200]], ys[[40, 180, 260]]], dim=1)
    expected = field.log_density(time, points).exp()
    torch.testing.assert_close(grid[[40, 180, 260], [20, 150, 200]], expected)
    mass = grid.sum() * (xs[1] - xs[0]) * (ys[1] - ys[0])
    assert mass.item() == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize(("spec", "t"), [*itertools.product(SCHEDULERS, [0.0, 0.4, 0.9])])
@pytest.mark.parametrize("isotropic", [True, False])
def test_gaussian_has_an_affine_field(spec: str, t: float, isotropic: bool) -> None:
    # Target N(m, S): u = d_alpha m + V' V^-1 (x - alpha m) / 2 with V = alpha^2 S + sigma^2 I.
    mean = torch.tensor([1.0, -2.0], dtype=torch.float64)
    S = 0.25 * torch.eye(2).double() if isotropic else COVARIANCES[1].double()
    own = GaussianMixture(mean[None], 0.5 if isotropic else S)
    time = torch.tensor(t, dtype=torch.float64)
    x = torch.cat([draw(spec, "own", time), FAR])
    c = path(spec).coefficients(time, x)
    V = c.alpha**2 * S + c.sigma**2 * torch.eye(2).double()
    rate = (
        c.alpha * c.d_alpha * S + c.sigma * c.d_sigma * torch.eye(2).double()
    ) @ torch.linalg.inv(V)
    field = exact_field(path(spec), own)
    expected = c.d_alpha * mean + (x - c.alpha * mean) @ rate.T
    torch.testing.assert_close(field(time, x), expected)
    torch.testing.assert_close(field.divergence(time, x), rate.trace().expand(len(x)))


@pytest.mark.parametrize("spec", SCHEDULERS)
def test_narrow_mixture_tends_to_points(spec: str) -> None:
    t = torch.tensor(0.7, dtype=torch.float64)
    x = draw(spec, "points", t)
    narrow = exact_field(path(spec), GaussianMixture(MEANS, 1e-7, WEIGHTS))
    points = exact_field(path(spec), KINDS["points"])
    torch.testing.assert_close(narrow(t, x), points(t, x), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        narrow.divergence(t, x), points.divergence(t, x), rtol=1e-5, atol=1e-5
    )


def test_small_boxes_tend_to_points() -> None:
    t = torch.tensor(0.5, dtype=torch.float64)
    edges = torch.tensor([-1e-5, 1e-5])
    x = draw("ot", "board", t)
    box = exact_field(path("ot"), Boxes(edges, edges, torch.ones(1, 1)))
    point = exact_field(path("ot"), PointMasses(torch.zeros(1, 2)))
    torch.testing.assert_close(box(t, x), point(t, x), rtol=1e-6, atol=1e-6)


def test_boxes_whose_x_edges_end_where_their_y_edges_begin_have_gradients() -> None:
    edges = torch.tensor([-1.0, 0.0])
    field = exact_field(path("ot"), Boxes(edges, edges + 1, torch.ones(1, 1)))
    t, x = torch.tensor(0.5).double(), draw("ot", "board", torch.tensor(0.5)).requires_grad_()
    (gradient,) = torch.autograd.grad(field(t, x).sum(), x)
    assert gradient.isfinite().all()


def test_first_step_on_conditional_ot_goes_to_the_mean() -> None:
    # u_0(x) = E[x_1] - x.
    x, t = draw("ot", "boxes", torch.tensor(0.0)), torch.tensor(0.0)
    own = KINDS["boxes"]
    middles = [(e[1:] + e[:-1]) / 2 for e in (own.edges_x, own.edges_y)]
    mean = torch.stack([own.weights.sum(1) @ middles[0], own.weights.sum(0) @ middles[1]])
    torch.testing.assert_close(exact_field(path("ot"), own)(t, x), mean - x)


def test_marginal_at_the_end_is_the_data() -> None:
    t = torch.tensor(path("vp").t_max, dtype=torch.float64)
    x = torch.tensor([[-3.0, -3.0], [1.0, 1.0]], dtype=torch.float64)  # well inside filled cells
    field = exact_field(path("vp"), KINDS["board"])
    expected = KINDS["board"].log_prob(x)
    torch.testing.assert_close(field.log_density(t, x), expected, rtol=1e-5, atol=1e-5)


def test_invalid_input_is_refused_with_a_message() -> None:
    class Uniform:
        pass

    field, t = exact_field(path("ot"), KINDS["board"]), torch.tensor(0.5)
    with pytest.raises(ValueError, match="needs a GaussianMixture, PointMasses or Boxes; got Uni"):
        exact_field(path("ot"), Uniform())
    with pytest.raises(ValueError, match=r"x must have shape \(B, 2\); got \(2,\)"):
        field(t, torch.zeros(2))
    with pytest.raises(ValueError, match=r"t must have shape \(\) or \(5,\); got \(3,\)"):
        field(torch.zeros(3), torch.zeros(5, 2))
    with pytest.raises(ValueError, match="t, xs and ys must have shapes"):
        field.density_grid(t, torch.zeros(3, 2), torch.zeros(3))
