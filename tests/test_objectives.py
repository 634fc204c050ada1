"""Objectives: the mean of their targets is the exact field."""

import pytest
import torch
from torch import Tensor

from flowviz.cli import main
from flowviz.datasets import dataset
from flowviz.distributions import PointMasses
from flowviz.fields import LearnedField, exact_field
from flowviz.networks import MLP
from flowviz.objectives import MIN_SIGMA, OBJECTIVES, WEIGHTINGS, Weighting, weighted
from flowviz.paths import AffinePath
from flowviz.schedulers import SCHEDULERS, scheduler
from flowviz.training import TrainConfig, start

CASES = [(path, objective) for path in SCHEDULERS for objective in OBJECTIVES]


def draw(path: AffinePath) -> tuple[Tensor, Tensor, Tensor]:
    """Times (B,), points x (B, 2) that are typical then, and data (K, 2), in float64."""
    g = torch.Generator().manual_seed(1)
    points = 2 * torch.randn(7, 2, generator=g, dtype=torch.float64)
    t = 0.05 + 0.85 * torch.rand(40, generator=g, dtype=torch.float64)
    x_0 = torch.randn(40, 2, generator=g, dtype=torch.float64)
    return t, path.flow(t, x_0, points[torch.arange(40) % 7]), points


@pytest.mark.parametrize(("path", "objective"), CASES)
def test_mean_target_becomes_the_exact_velocity(path: str, objective: str) -> None:
    own, affine = OBJECTIVES[objective], AffinePath(scheduler(path))
    t, x, points = draw(affine)
    c = affine.coefficients(t, x)
    x_0 = (x[:, None] - c.alpha[..., None] * points) / c.sigma[..., None]  # (B, K, 2)
    chance = torch.softmax(-x_0.square().sum(-1) / 2, dim=1)  # posterior of each point given x
    q_1, q_0 = own.target(c)
    target = q_1[..., None] * points + q_0[..., None] * x_0
    mean = torch.einsum("bk,bkd->bd", chance, target)
    velocity = own.velocity(affine, t, x, mean)
    torch.testing.assert_close(velocity, exact_field(affine, PointMasses(points))(t, x))


@pytest.mark.parametrize(("path", "objective"), CASES)
def test_weight_and_target_are_those_of_the_paper(path: str, objective: str) -> None:
    # Lipman et al. 2022: eq. 14 (flow), eq. 45 (noise), eq. 42 with weight sigma^2 (score).
    affine, own = AffinePath(scheduler(path)), OBJECTIVES[objective]
    t, x, _ = draw(affine)
    c = affine.coefficients(t, x)
    g = torch.Generator().manual_seed(2)
    x_0, x_1 = torch.randn(2, 40, 2, generator=g, dtype=torch.float64)
    q_1, q_0 = own.target(c)
    expected = {
        "flow": affine.target(t, x_0, x_1),
        "noise": x_0,
        "score": affine.score(t, affine.flow(t, x_0, x_1), x_1),
        "data": x_1,
    }["flow" if own.two_times else objective]
    torch.testing.assert_close(q_1 * x_1 + q_0 * x_0, expected)
    weight = own.weight(c)
    if objective == "data":  # arXiv 2511.13720, with a minimum of sigma
        slope = c.d_alpha - c.alpha * c.d_sigma / c.sigma
        clipped = c.sigma < MIN_SIGMA
        assert (weight[clipped] < slope[clipped] ** 2).all()
        weight, expected_weight = weight[~clipped], slope[~clipped] ** 2
    else:
        expected_weight = c.sigma**2 if objective == "score" else torch.ones_like(weight)
    torch.testing.assert_close(weight, expected_weight)


@pytest.mark.parametrize("path", SCHEDULERS)
def test_weightings_give_all_predictions_one_loss(path: str) -> None:
    """An error of the data implies those of the other quantities; weighted squares are equal."""
    affine = AffinePath(scheduler(path))
    t, x, _ = draw(affine)
    c = affine.coefficients(t, x)
    x_1 = torch.ones_like(x)
    off = x_1 + 0.1
    names = [name for name, each in OBJECTIVES.items() if not each.two_times]
    for weighting in WEIGHTINGS:
        losses = []
        for name in names:
            own = weighted(name, weighting)
            q_1, q_0 = own.target(c)
            right, wrong = (q_1 * d + q_0 * (x - c.alpha * d) / c.sigma for d in (x_1, off))
            losses.append(own.weight(c) * (wrong - right).square())
        if weighting == "objective":
            assert weighted("flow") is OBJECTIVES["flow"]
            continue
        for name, loss in zip(names, losses, strict=True):
            torch.testing.assert_close(loss, losses[0], msg=f"{weighting}, {name}")
    flow = weighted("flow", "velocity").weight(c)
    torch.testing.assert_close(flow, torch.ones_like(flow))
    score = weighted("score", "noise").weight(c)
    torch.testing.assert_close(score, OBJECTIVES["score"].weight(c))
    with pytest.raises(ValueError, match="must be objective for a flow map"):
        weighted("meanflow", "noise")


def test_a_new_weighting_is_one_row(capsys: pytest.CaptureFixture[str]) -> None:
    WEIGHTINGS["newcomer"] = Weighting("twice", "Twice.", lambda c: 2 * torch.ones_like(c.alpha))
    try:
        config = TrainConfig(
            data="moons", objective="data", weighting="newcomer", width=8, depth=1
        )
        run = start(config, dataset("moons"))
        assert run.model.objective.weight(run.model.path.scheduler(torch.tensor(0.5))) == 2
        run.advance()
        assert run.loss.isfinite()
        assert main(["names"]) == 0 and "newcomer" in capsys.readouterr().out
    finally:
        del WEIGHTINGS["newcomer"]
    with pytest.raises(ValueError, match="Unknown weighting"):
        TrainConfig(weighting="newcomer")


@pytest.mark.parametrize("path", SCHEDULERS)
def test_only_conversions_that_divide_by_alpha_fail_where_it_is_0(path: str) -> None:
    affine = AffinePath(scheduler(path))
    x, start = torch.ones(1, 2, dtype=torch.float64), torch.tensor(0.0)
    vanishes = affine.coefficients(start, x).alpha == 0
    for own in OBJECTIVES.values():
        finite = own.velocity(affine, start, x, x).isfinite().all()
        assert finite == (not own.needs_alpha or not vanishes)


@pytest.mark.parametrize("preconditioned", [True, False])
def test_times_shared_by_pairs_do_not_change_loss_or_gradients(preconditioned: bool) -> None:
    g = torch.Generator().manual_seed(3)
    network = MLP(width=16, depth=2, generator=g)
    torch.nn.init.normal_(network.head.weight, generator=g)
    field = LearnedField(
        network,
        AffinePath(scheduler("vp")),
        OBJECTIVES["flow"],
        mean=torch.zeros(2),
        std=1.5,
        preconditioned=preconditioned,
    ).double()
    x_0, x_1 = torch.randn(2, 24, 2, generator=g, dtype=torch.float64)
    t = (0.9 * torch.rand(6, generator=g, dtype=torch.float64)).repeat_interleave(4)
    results = []
    for share in (1, 4):
        loss = field.loss(t, x_0, x_1, share=share)
        gradients = torch.autograd.grad(loss.sum(), list(network.parameters()))
        results.append((loss, *gradients))
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12)
