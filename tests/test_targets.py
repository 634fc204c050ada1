"""Batch means as the targets of a training."""

import pytest
import torch

from flowviz.checkpoints import load, load_run, run_file, save_run
from flowviz.cli import main
from flowviz.datasets import dataset
from flowviz.experiments.benchmark_training import off_board
from flowviz.paths import AffinePath
from flowviz.schedulers import scheduler
from flowviz.training import PlaneRun, TrainConfig
from flowviz.training.targets import BLOCK, batch_means
from flowviz.training.times import stratified

GAUSSIANS = dataset("8gaussians")


def batch(path: AffinePath, n: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Times, noise, data and states of a batch."""
    generator = torch.Generator().manual_seed(seed)
    x_1, x_0 = GAUSSIANS.sample(n, generator), torch.randn(n, 2, generator=generator)
    t = stratified(n, generator) * path.t_max
    t[0], t[-1] = 0, path.t_max
    return t, x_0, x_1, path.flow(t, x_0, x_1)


@pytest.mark.parametrize("name", ["ot", "vp", "trig", "ve"])
def test_batch_means_are_the_weighted_means_of_their_definition(name: str) -> None:
    path = AffinePath(scheduler(name))
    t, _, x_1, x_t = batch(path, BLOCK + 40)
    mean_0, mean_1 = batch_means(path, t, x_t, x_1)
    needed = torch.arange(len(t)) % 3 == 0
    for every, some in zip((mean_0, mean_1), batch_means(path, t, x_t, x_1, needed), strict=True):
        torch.testing.assert_close(some[needed], every[needed], atol=1e-5, rtol=1e-5)
        assert not some[~needed].any()
    for rows in (slice(BLOCK), slice(BLOCK, None)):  # each block has its own data
        x, points = x_t[rows].double(), x_1[rows].double()
        c = path.coefficients(t[rows], x)
        offsets = (x[:, None] - c.alpha[:, None] * points) / c.sigma[:, None]
        weights = torch.softmax(-0.5 * offsets.square().sum(-1), dim=1)
        torch.testing.assert_close(mean_1[rows].double(), weights @ points, atol=1e-5, rtol=1e-5)
        expected = (weights[:, None] @ offsets)[:, 0]
        torch.testing.assert_close(mean_0[rows].double(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("name", "objective"), [("ot", "flow"), ("vp", "noise")])
def test_gradients_have_the_same_mean_and_less_noise(name: str, objective: str) -> None:
    sums, squares, losses = {}, {}, {}
    for targets in ("pair", "batch"):
        config = TrainConfig(
            data="8gaussians", path=name, objective=objective, width=16, targets=targets
        )
        run = PlaneRun(config, GAUSSIANS)
        torch.nn.init.normal_(run.model.network.head.weight, generator=run.generator, std=0.1)
        weights = list(run.model.parameters())
        gradients, losses[targets] = [], []
        for _ in range(40):
            (loss,) = run.losses()
            losses[targets].append(loss.detach())
            gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)]))
        drawn = torch.stack(gradients)
        sums[targets], squares[targets] = drawn.mean(0), drawn.var(0).sum()
    error = ((squares["pair"] + squares["batch"]) / 40).sqrt()
    assert (sums["pair"] - sums["batch"]).norm() < 1.5 * error
    assert squares["batch"] < 0.7 * squares["pair"]
    pair, means = torch.stack(losses["pair"]), torch.stack(losses["batch"])
    assert abs(pair.mean() - means.mean()) < 0.02 * pair.mean()  # the same draws


def test_means_are_the_default_where_they_exist() -> None:
    assert TrainConfig().targets == TrainConfig(objective="meanflow").targets == "batch"
    for options in (
        {"coupling": "minibatch-ot"},
        {"data": "from:8gaussians>moons"},
        {"objective": "distillation"},
    ):
        assert TrainConfig(**options).targets == "pair"
        with pytest.raises(ValueError, match="Means of the batch need independent pairs"):
            TrainConfig(**options, targets="batch")
    with pytest.raises(ValueError, match=r"Unknown kind of targets .*batch, pair"):
        TrainConfig(targets="mean")


def test_a_run_of_an_earlier_version_continues_with_pairs(tmp_path) -> None:
    out = tmp_path / "old.safetensors"
    options = ["--steps", "2", "--width", "8", "--depth", "1", "--quality", "0", "--out", str(out)]
    assert main(["train", "--targets", "pair", *options]) == 0
    run = load_run(run_file(out))
    training = {key: value for key, value in run.training.items() if key != "targets"}
    save_run(run_file(out), training, run.tensors, seconds=run.seconds, plans=run.plans)
    assert main(["train", "--resume", "--steps", "4", "--quality", "0", "--out", str(out)]) == 0
    card = load(out).card
    assert card.steps == 4 and card.training["targets"] == "pair"


def test_means_train_the_checkerboard_faster() -> None:
    left = {}
    board = dataset("checkerboard")
    for targets in ("pair", "batch"):
        run = PlaneRun(TrainConfig(steps=100, batch=256, width=64, targets=targets), board)
        while not run.done:
            run.advance()
        left[targets] = off_board(run.ema, run.ema.path.t_max, board, 2_000)
    assert left["batch"] < 0.9 * left["pair"]


def test_the_default_learning_rate_falls_with_the_depth() -> None:
    assert TrainConfig().lr == TrainConfig(depth=1).lr == 0.02
    assert TrainConfig(depth=8).lr == pytest.approx(0.0075)
    assert TrainConfig(depth=8, lr=0.1).lr == 0.1
