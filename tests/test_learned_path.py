"""A learned path: end points, derivatives, its bound against closed forms, shipped checkpoints."""

import dataclasses
import math
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from apps import settled
from streamlit.testing.v1 import AppTest
from torch import Generator

from flowviz import checkpoints
from flowviz.__main__ import main
from flowviz.checkpoints import CheckpointError
from flowviz.datasets import dataset
from flowviz.draws import noise
from flowviz.experiments import unlimited
from flowviz.experiments.fields import exact_name
from flowviz.experiments.learned_path import (
    FlowStraightness,
    StraightnessConfig,
    TrajectoriesConfig,
    compute_straightness,
    compute_trajectories,
    train_learned_path,
)
from flowviz.fields import exact_field, learned_path
from flowviz.fields.learned_path import ForwardProcess, LearnedPathField, build_learned_path
from flowviz.figures import theme
from flowviz.networks import MLP, Bend
from flowviz.paths import AffinePath
from flowviz.progress import Progress
from flowviz.schedulers import LEARNED, LearnedReference, scheduler, spec_of
from flowviz.straightness import conditional_straightness, marginal_straightness
from flowviz.studies import STUDIES, learned_straightness
from flowviz.studies._learned_path import ComparedFlow, compared
from flowviz.studies.learned_cost import LearnedCostConfig, LearnedCostResult
from flowviz.studies.learned_straightness import (
    SEEDS,
    SEEDS_ERROR,
    FlowLikelihood,
    LearnedStraightnessConfig,
    LearnedStraightnessResult,
)
from flowviz.studies.learned_training import LearnedTrainingConfig
from flowviz.studies.learned_trajectories import LearnedTrajectoriesConfig
from flowviz.studies.study import to_json
from flowviz.training import NfdmConfig, TrainConfig, start, steps_within, train
from flowviz.training.nfdm import bound_of
from flowviz.training.times import weighted_times

DIM, DELTA = 2, 0.01
SIZES = {"width": 16, "depth": 1, "octaves": 2, "sines": 3, "bend_width": 16, "bend_depth": 1}
SHIPPED = ("8gaussians", "checkerboard")


def random_field(path=LEARNED, seed=0):
    """A field whose networks are not zero, in float64."""
    generator = Generator().manual_seed(seed)
    bend = Bend(sines=3, width=16, depth=1, generator=generator)
    process = ForwardProcess(bend, AffinePath(scheduler(path)), mean=torch.zeros(2), std=1.5)
    field = LearnedPathField(process, MLP(width=16, depth=1, octaves=2, generator=generator))
    for head in (bend.head, field.reverse.network.head):
        torch.nn.init.normal_(head.weight, std=0.3, generator=generator)
    torch.nn.init.normal_(field.strength, std=0.3, generator=generator)
    return field.double().requires_grad_(False)


def pairs(n=64):
    generator = Generator().manual_seed(1)
    x_0, x_1 = torch.randn(2, n, DIM, generator=generator, dtype=torch.float64)
    return torch.rand(n, generator=generator, dtype=torch.float64), x_0, 2 * x_1


def test_process_is_noise_at_0_and_data_at_1_for_any_network():
    process = random_field().forward_process
    _, x_0, x_1 = pairs()
    start, middle, end = (
        process.flow(torch.tensor(t, dtype=torch.float64), x_0, x_1) for t in (0.0, 0.5, 1.0)
    )
    torch.testing.assert_close(start, x_0, rtol=0, atol=1e-12)
    torch.testing.assert_close(end, x_1 + DELTA * x_0, rtol=0, atol=1e-12)
    reference = AffinePath(LearnedReference()).flow(torch.tensor(0.5).double(), x_0, x_1)
    assert (middle - reference).abs().max() > 0.1, "the network must change the path"


def test_velocity_is_the_time_derivative_of_the_process():
    process = random_field().forward_process
    t, x_0, x_1 = pairs()
    x_t, dx_t = torch.func.jvp(lambda t: process.flow(t, x_0, x_1), (t,), (torch.ones_like(t),))
    torch.testing.assert_close(process.target(t, x_0, x_1), dx_t)
    torch.testing.assert_close(process.velocity(t, x_t, x_1), dx_t)
    torch.testing.assert_close(process.noise(t, x_t, x_1), x_0)


def test_score_is_the_gradient_of_the_conditional_log_density():
    process = random_field().forward_process
    t, x_0, x_1 = pairs()
    x = process.flow(t, x_0, x_1).requires_grad_()
    given = process.conditional(t, x_1)
    log_density = torch.distributions.Normal(given.mean, given.scale).log_prob(x).sum()
    (gradient,) = torch.autograd.grad(log_density, x)
    torch.testing.assert_close(process.score(t, x.detach(), x_1), gradient)


def test_untrained_path_is_its_reference_path():
    field = build_learned_path(SIZES, torch.tensor([0.3, -0.2]), 1.5).double()
    t, x_0, x_1 = pairs()
    path = AffinePath(LearnedReference())
    x = path.flow(t, x_0, x_1)
    torch.testing.assert_close(field.forward_process.flow(t, x_0, x_1), x)
    expected = path.velocity_from_data(t, x, field.predict(t, x))
    torch.testing.assert_close(field(t, x), expected)


def times_to_the_ends():
    """Times in float64 from 0 to 1; a third of them is within a step of an end."""
    inner, near = torch.linspace(0, 1, 44, dtype=torch.float64).split([22, 22])
    step = learned_path.STEP
    edge = torch.linspace(0, 1.5 * step, 11, dtype=torch.float64)
    return torch.cat([edge, inner, near, 1 - edge])


def test_acceleration_is_the_velocitys_total_derivative_to_second_order_up_to_the_ends(
    monkeypatch,
):
    field, t = random_field(), times_to_the_ends()
    _, x_0, x_1 = pairs(len(t))
    x = field.forward_process.flow(t, x_0, x_1)
    velocity, expected = torch.func.jvp(field, (t, x), (torch.ones_like(t), field(t, x)))
    step, off = learned_path.STEP, []
    for part in (1, 2):
        monkeypatch.setattr(learned_path, "STEP", step / part)
        off.append((field.acceleration(t, x, velocity) - expected).norm(dim=1))
    ends = (t < step / 2) | (t > 1 - step / 2)  # at both ends the differences are one-sided
    for part in (ends, (t > step) & (t < 1 - step)):
        assert off[0][part].norm() < 0.02 * expected[part].norm()
        assert off[1][part].norm() < 0.3 * off[0][part].norm()


def test_acceleration_to_a_gaussian_is_the_closed_form_up_to_the_end():
    """The flow to N(0, std^2 I) is x_t = (r_t / r_0) x_0 with r^2 = alpha^2 std^2 + sigma^2."""
    std = 0.5
    field, t = gaussian_field(LEARNED, std), times_to_the_ends().requires_grad_()
    _, x, _ = pairs(len(t))
    c = field.path.scheduler(t)
    r = torch.sqrt((c.alpha * std) ** 2 + c.sigma**2)
    (d_r,) = torch.autograd.grad(r.sum(), t, create_graph=True)
    (dd_r,) = torch.autograd.grad(d_r.sum(), t)
    t, r, d_r = (value.detach() for value in (t, r, d_r))
    velocity = field(t, x)
    torch.testing.assert_close(velocity, (d_r / r)[:, None] * x)
    found = field.acceleration(t, x, velocity)
    torch.testing.assert_close(found, (dd_r / r)[:, None] * x, rtol=1e-4, atol=1e-4)


def gaussian_field(path, std, *, best=True):
    """A fixed path to N(0, std^2 I) with the best prediction and, if `best`, the best strength."""
    affine = AffinePath(scheduler(path))
    process = ForwardProcess(None, affine, mean=torch.zeros(2), std=std)
    field = LearnedPathField(process, MLP(width=8, depth=1)).double().requires_grad_(False)

    def predict(t, x):
        c = affine.coefficients(t, x)
        return c.alpha * std**2 / (c.alpha**2 * std**2 + c.sigma**2) * x

    def variance(t, x):
        c = affine.coefficients(t, x)
        return 2 * c.sigma * (c.d_alpha * c.sigma - c.alpha * c.d_sigma) / c.alpha

    field.predict = predict
    if best:
        field.variance = variance
    return field


def best_bound(path, std):
    """The minimum of the bound for a fixed path to N(0, std^2 I), derived here.

    With nu^2 = 2 sigma D / alpha the integrand is d(alpha^2 / sigma^2)/dt / 2 times the mean
    square error of the prediction, std^2 / (1 + ratio std^2) a dimension, whose integral is a
    logarithm.
    """
    affine = AffinePath(scheduler(path))
    first, last = (
        [float(v) for v in affine.scheduler(torch.tensor(t, dtype=torch.float64))[:2]]
        for t in (0.0, affine.t_max)
    )
    diffusion = math.log1p((last[0] / last[1] * std) ** 2)
    diffusion -= math.log1p((first[0] / first[1] * std) ** 2)
    prior = (first[0] * std) ** 2 + first[1] ** 2 - 1 - math.log(first[1] ** 2)
    missed = ((1 - last[0]) * std / last[1]) ** 2
    reconstruction = math.log(2 * math.pi * math.e * last[1] ** 2) + missed
    return DIM / 2 * (diffusion + prior + reconstruction)


def mean_and_error(field, std, n=200_000):
    generator = Generator().manual_seed(2)
    x_1 = std * torch.randn(n, DIM, generator=generator, dtype=torch.float64)
    values = bound_of(field, x_1, generator)
    return values.mean().item(), values.std().item() / math.sqrt(n)


@pytest.mark.parametrize("path", [LEARNED, "ot:sigma_min=0.1", "vp"])
@pytest.mark.parametrize("std", [0.5, 2.0])
def test_bound_of_a_fixed_path_to_a_gaussian_is_the_closed_form(path, std):
    mean, error = mean_and_error(gaussian_field(path, std), std)
    assert error < 0.15
    assert mean == pytest.approx(best_bound(path, std), abs=4 * error)
    entropy = DIM / 2 * math.log(2 * math.pi * math.e * std**2)
    assert entropy < best_bound(path, std) < entropy + 0.05


def test_bound_is_above_the_entropy_and_minimal_at_the_best_prediction_and_diffusion():
    std = 1.5
    best, _ = mean_and_error(gaussian_field("ot:sigma_min=0.1", std), std)
    other, _ = mean_and_error(gaussian_field("ot:sigma_min=0.1", std, best=False), std)
    worse = gaussian_field("ot:sigma_min=0.1", std)
    worse.predict = partial(lambda inner, t, x: 0.9 * inner(t, x), worse.predict)
    assert best < other, "the same draws, so that the difference has no error"
    assert best < mean_and_error(worse, std)[0]
    mean, error = mean_and_error(random_field(), std, n=20_000)
    assert mean > math.log(2 * math.pi * math.e * std**2) + 3 * error


@pytest.mark.parametrize("path", [LEARNED, "vp"])
def test_times_are_drawn_with_the_stated_density(path):
    affine = AffinePath(scheduler(path))
    t, weight = weighted_times(20_000, affine, Generator().manual_seed(0))
    assert t.min() >= 0 and t.max() <= affine.t_max
    for power in (0, 1, 3):
        expected = affine.t_max ** (power + 1) / (power + 1)
        assert (weight * t**power).mean().item() == pytest.approx(expected, rel=2e-3)


def test_density_of_the_process_has_mass_one_and_begins_as_noise():
    process = random_field().forward_process
    _, _, x_1 = pairs(200)
    axis = torch.linspace(-8, 8, 161, dtype=torch.float64)
    for t in (0.0, 0.5, 0.9):
        density = process.density_grid(torch.tensor(t).double(), x_1, axis, axis, blur=0.1 * t)
        assert density.sum().item() * 0.01 == pytest.approx(1, abs=0.02)
        if t == 0:
            normal = torch.exp(-axis.square() / 2) / math.sqrt(2 * math.pi)
            torch.testing.assert_close(density, normal[:, None] * normal)


def test_log_density_of_the_process_is_the_closed_form_to_a_gaussian_within_its_error():
    std, generator = 1.5, Generator().manual_seed(3)
    process = gaussian_field("ot:sigma_min=0.01", std).forward_process
    x_1 = std * torch.randn(20_000, DIM, generator=generator, dtype=torch.float64)
    x = std * torch.randn(300, DIM, generator=generator, dtype=torch.float64)
    errors = []
    for t in (0.0, 0.5, 0.85, 1.0):
        c = process.path.scheduler(torch.tensor(t, dtype=torch.float64))
        spread = torch.sqrt((c.alpha * std) ** 2 + c.sigma**2)
        expected = torch.distributions.Normal(0, spread).log_prob(x).sum(dim=1)
        found, error = process.log_density(torch.tensor(t, dtype=torch.float64), x, x_1)
        sure = error < 0.3
        assert ((found - expected).abs() < 5 * error + 1e-9)[sure].all()
        errors.append(error.square().mean().sqrt().item())
    assert errors[0] < 1e-9 and errors == sorted(errors) and errors[-1] > 0.2


def test_spec_of_a_learned_path_is_known_but_no_exact_field_and_no_other_training():
    assert spec_of(scheduler(LEARNED)) == LEARNED
    with pytest.raises(ValueError, match="no field in closed form"):
        exact_field(AffinePath(scheduler(LEARNED)), dataset("moons").distribution)
    with pytest.raises(ValueError, match="together with its field"):
        TrainConfig(path=LEARNED)
    with pytest.raises(ValueError, match="learned"):
        scheduler(f"{LEARNED}:sigma_min=0.1")
    with pytest.raises(ValueError, match="penalty must be in"):
        NfdmConfig(penalty=-1.0)
    with pytest.raises(ValueError, match="objective"):
        NfdmConfig(objective="flow")


TINY = NfdmConfig(width=16, depth=1, octaves=2, batch=32, steps=6, bend_width=16)


@pytest.mark.parametrize("penalty", [0.0, 0.01])
def test_resumed_training_is_bitwise_equal(penalty):
    config = NfdmConfig(**{**vars(TINY), "penalty": penalty})
    target = dataset(config.data)
    saved = None
    for state in train(config, target):
        if state.step == 3:
            saved = state.saved_state()
    *_, again = train(config, target, saved_state=saved)
    for name, tensor in state.saved_state().items():
        torch.testing.assert_close(again.saved_state()[name], tensor, rtol=0, atol=0)
    assert math.isfinite(state.bound.item())
    assert math.isfinite(state.curvature.item()) == bool(penalty)


@pytest.mark.slow
def test_training_lowers_the_bound_and_the_penalty_straightens():
    target = dataset("8gaussians")
    fields = {}
    for penalty in (0.0, 0.1):
        config = NfdmConfig(penalty=penalty, width=48, steps=600, seed=1)
        bounds = []
        for state in train(config, target):
            bounds.append(state.bound)
        fields[penalty] = state.ema
        assert torch.stack(bounds[-50:]).mean() < torch.stack(bounds[:20]).mean() - 2
    plain, straight = (
        marginal_straightness(field, noise(200, 0), tol=1e-3).deviation
        for field in fields.values()
    )
    assert straight < plain / 3


def test_live_training_reports_its_last_step_and_returns_a_field():
    progress = Progress()
    *_, last = train_learned_path(TINY, progress)
    assert progress.share == 1 and last.step == last.steps[-1] == TINY.steps
    assert len(last.steps) == len(last.bound) == len(last.curvature)
    assert last.trajectories is None or last.trajectories.flow.shape[2] == 2
    assert not last.learned.training


def test_seconds_are_reported_for_any_kind_of_training():
    target = dataset(TINY.data)
    assert steps_within(60, start(TINY, target)) > 1


def test_checkpoint_of_a_learned_path_is_loaded_unchanged(tmp_path, capsys):
    out = tmp_path / "bendy"
    command = [
        "train",
        "--data",
        "moons",
        "--path",
        "learned",
        "--penalty",
        "0.1",
        "--width",
        "16",
    ]
    assert (
        main([*command, "--depth", "1", "--steps", "3", "--quality", "0", "--out", str(out)]) == 0
    )
    loaded = checkpoints.load(out)
    card = loaded.card
    assert (card.path, card.objective, card.network["kind"]) == (
        "learned",
        "bound",
        "learned-path",
    )
    assert card.method == "curvature penalty"
    x = torch.randn(20, 2, generator=Generator().manual_seed(0))
    again = checkpoints.load(
        checkpoints.save(tmp_path / "again", loaded.field, card, precision="float32")
    )
    torch.testing.assert_close(
        again.field(torch.tensor(0.4), x), loaded.field(torch.tensor(0.4), x)
    )
    for other in (["--objective", "score"], ["--no-preconditioned"]):
        assert main([*command, "--steps", "3", "--out", str(out), *other]) == 2
    assert (
        main(["train", "--path", "ot", "--penalty", "1", "--steps", "3", "--out", str(out)]) == 2
    )
    assert "--penalty is not an option of the path ot" in capsys.readouterr().err
    card = tmp_path / "bendy.json"
    card.write_text(card.read_text().replace('"learned-path"', '"mlp"'))
    with pytest.raises(CheckpointError, match="bad entry 'network'"):
        checkpoints.load(out)


@pytest.mark.parametrize("data", SHIPPED)
def test_shipped_learned_paths_are_straighter_than_ot_with_the_penalty(data):
    measured = {}
    for name in ("ot", "learned", "learned-straight"):
        field = checkpoints.load(f"{data}-{name}").field
        measured[name] = marginal_straightness(field, noise(300, 0), tol=1e-3).deviation
    assert measured["learned-straight"] < measured["ot"] / 2, measured
    assert measured["learned-straight"] < measured["learned"] / 2, measured


@pytest.mark.parametrize("data", SEEDS)
def test_numbers_of_several_trainings_begin_with_those_of_the_shipped_path(data):
    """S within the standard errors of both samples of noise, which are large for 500 particles."""
    found = compute_straightness(
        StraightnessConfig(data=data, field=f"{data}-learned-straight", draws=200)
    )
    s, kl = SEEDS[data]
    error = math.hypot(found.error, SEEDS_ERROR)
    assert SEEDS_ERROR < found.error < 0.1
    assert found.deviation == pytest.approx(s[0], abs=3 * error)
    stored = checkpoints.read_card(f"{data}-learned-straight").quality["likelihood"]
    assert stored["kl"] == pytest.approx(kl[0], abs=4 * math.sqrt(2) * stored["error"])
    text = learned_straightness._seeds(data).text
    assert f"S {sum(s) / len(s):.3f} ± " in text and f"error of {SEEDS_ERROR:g}" in text


@pytest.mark.parametrize("data", SHIPPED)
def test_cards_of_shipped_learned_paths_have_the_likelihood_and_that_of_ot(data):
    cards = {name: checkpoints.read_card(f"{data}-{name}") for name in ("ot", "learned")}
    cards["straight"] = checkpoints.read_card(f"{data}-learned-straight")
    assert cards["learned"].training["penalty"] == 0 < cards["straight"].training["penalty"]
    for card in cards.values():
        judged = card.quality["likelihood"]
        assert judged["n"] >= 4_000 and judged["kl"] < 0.3
    assert (checkpoints.FOLDER / f"{data}-learned.safetensors").stat().st_size < 200_000


def test_measures_of_a_learned_path_have_a_bound_and_those_of_others_none():
    settings = {"data": "8gaussians", "n": 20, "draws": 200}
    learned = compute_straightness(
        StraightnessConfig(**settings, field="8gaussians-learned-straight")
    )
    other = compute_straightness(StraightnessConfig(**settings, field="8gaussians-ot"))
    assert learned.bound is not None and learned.bound_error > 0
    assert other.bound is None
    with pytest.raises(ValueError, match="leads to '8gaussians'; got the data 'moons'"):
        compute_straightness(StraightnessConfig(data="moons"))
    moved = compute_trajectories(TrajectoriesConfig(field="8gaussians-learned-straight", n=7))
    fixed = compute_trajectories(TrajectoriesConfig(field="8gaussians-ot", n=7))
    assert moved.flow.shape[1:] == (7, 2)
    # The same noise and the same data points on every path.
    torch.testing.assert_close(moved.conditional[0], fixed.conditional[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(moved.flow[0], fixed.flow[0])


def test_third_claim_measures_learned_paths_without_comparing_their_end_points():
    name, n = "8gaussians-learned-straight", 60
    learned = unlimited.compute_straightness(unlimited.FlowConfig(name=name, n=n))
    field = checkpoints.load(name).field
    assert learned.method == "curvature penalty"
    expected = marginal_straightness(field, noise(n, 0), tol=1e-4).deviation
    assert learned.marginal.deviation == expected
    # For its conditional trajectories: S = kinetic energy minus the squared chord.
    alone = learned.conditional
    assert alone.deviation == pytest.approx(alone.energy - alone.displacement, rel=1e-2, abs=0.02)
    reference = LearnedPathField(ForwardProcess(None, field.path, mean=None, std=1.0), MLP())
    x_0, x_1 = torch.randn(2, 9, DIM, generator=Generator().manual_seed(0))
    fixed = conditional_straightness(field.path, x_0, x_1, process=reference.forward_process)
    assert fixed.deviation == pytest.approx(0, abs=1e-6), "the reference is straight"

    size = {"nfe": 8, "n": 50}
    config = unlimited.ResidualConfig(name="exact:8gaussians/ot", **size)
    exact = unlimited.compute_residual(config, unlimited.compute_converged(config))
    own = unlimited.compute_residual(unlimited.ResidualConfig(name=name, **size))
    assert exact.distance == 0
    assert np.isnan(own.distance) and np.isfinite(own.quality)


def test_an_exact_field_has_trajectories_and_a_straightness():
    """Data of a user, without networks: S = d s (2 - pi / 2), paper-facts D4."""
    data = "mixture:0,0@0.4"
    settings = {"data": data, "field": exact_name(data, "ot")}
    found = compute_trajectories(TrajectoriesConfig(**settings, n=7))
    assert found.flow.shape[1:] == (7, 2)
    found = compute_straightness(StraightnessConfig(**settings, n=2_000))
    assert found.bound is None
    assert found.deviation == pytest.approx(2 * 0.4 * (2 - math.pi / 2), rel=0.05)


def test_training_is_exported_without_its_network():
    config = LearnedTrainingConfig(data="mixture:1,0@0.8", steps=2, units=8, batch=16)
    stored = to_json(STUDIES["learned-training"].result(config))["training"]
    assert stored["steps"][-1] == 2 and "learned" not in stored and stored["bound"][-1] is not None
    assert stored["config"]["width"] == 8


def flow(path=LEARNED, label="it"):
    return ComparedFlow(name=f"{label}-file", label=label, short=label, path=path)


OT = flow("ot", "OT")
LIKELY = FlowLikelihood(nll=2.1, kl=0.1, error=0.01)


def curve(of, few, limit):
    """A curve of two budgets and two seeds; the tests read the first budget and the limit."""
    rows = np.array([[few, few], [0.3, 0.3]])
    return SimpleNamespace(
        config=SimpleNamespace(source=of.name),
        cost=np.array([2.0, 4.0]),
        values={"sliced-w2": rows},
        limit={"sliced-w2": np.array(limit)},
        floor={"sliced-w2": np.array([0.1])},
        mse=rows,
    )


@pytest.mark.parametrize(
    ("few", "limit", "words", "verdict"),
    [
        (0.5, (0.3, 0.4), "made samples worse", "supported"),
        (0.5, (0.1, 0.4), "no measurable effect", "supported"),
        (0.5, (0.1, 0.2), "with few evaluations and with unlimited ones", "not supported"),
        (1.5, (0.1, 0.2), "better only in the limit", "not supported"),
        (1.5, (0.3, 0.4), "did not help", "undecided"),
        (np.nan, (0.3, 0.4), "did not help", "undecided"),
    ],
)
def test_claim_follows_the_numbers(few, limit, words, verdict):
    study, it = STUDIES["learned-cost"], flow()
    curves = (curve(OT, 1.0, (0.2, 0.3)), curve(it, few, limit))
    result = LearnedCostResult(flows=(OT, it), deviations=(2.0, 0.5), curves=curves)
    finding, _ = study.say(LearnedCostConfig(), result)
    assert words in finding.text and finding.verdict == verdict
    bends = dataclasses.replace(result, deviations=(2.0, 3.0))
    finding, _ = study.say(LearnedCostConfig(), bends)
    assert "does not test it" in finding.text and finding.verdict == "undecided"
    partial_result = dataclasses.replace(result, curves=curves[:1])
    assert len(study.say(LearnedCostConfig(), partial_result)) == 1
    _, quality = study.draw(LearnedCostConfig(), result)
    assert [trace.name for trace in quality.figure.data if trace.name in ("OT", "it")]


def findings(deviations, likelihood, flows=None):
    result = LearnedStraightnessResult(
        flows=flows or (OT, flow()),
        straightness=tuple(
            FlowStraightness(deviation=s, error=0.05, relative=1.0, arc_over_chord=1.0)
            for s in deviations
        ),
        likelihood=likelihood,
    )
    config = LearnedStraightnessConfig(data="moons")
    table = STUDIES["learned-straightness"].table(config, result)
    assert list(table["S"]) == list(deviations)
    return STUDIES["learned-straightness"].say(config, result)


def test_sentences_follow_the_numbers():
    worse = FlowLikelihood(nll=2.0, kl=0.3, error=0.01)
    straight, price, _ = findings((2.0, 0.5), (LIKELY, worse))
    assert "4.0 times as straight" in straight.text and straight.verdict == "supported"
    assert "worse than that of OT by 0.200" in price.text, "by the KL, whatever was drawn"
    _, price, _ = findings((2.0, 0.5), (LIKELY, dataclasses.replace(LIKELY, kl=0.11)))
    assert "cannot be distinguished" in price.text and price.verdict == "undecided"
    _, price, _ = findings((2.0, 0.5), (LIKELY, FlowLikelihood(nll=9.9, kl=0.0, error=0.01)))
    assert "better" in price.text
    straight, _ = findings((2.0, 3.0), (None, None))
    assert "no learned path is straighter" in straight.text
    assert straight.verdict == "not supported"
    straight, _ = findings((2.0, 1.9), (None, None))
    assert "as straight as" in straight.text and straight.verdict == "undecided"
    missing, _ = findings((2.0,), (LIKELY,), flows=(OT,))
    assert "no learned path for this data set" in missing.text


def test_compared_flows_are_named_by_path_and_kind():
    config = LearnedTrajectoriesConfig(data="8gaussians", own="shaped:a1=0.2")
    flows = compared(config, None)
    assert [each.label for each in flows] == [
        "conditional OT",
        "VP diffusion",
        "your own schedule, exact",
        "learned path, bound alone",
        "learned path, penalty 0.01",
    ]
    assert [each.dash for each in flows[-2:]] == [theme.dash(0), theme.dash(1)]
    trained = SimpleNamespace(path=AffinePath(LearnedReference()))
    chosen = dataclasses.replace(config, fields=(flows[0].name, "live:0123"))
    _, live = compared(chosen, {"live:0123": trained})
    assert (live.label, live.learned) == ("learned path, trained here", True)
    with pytest.raises(ValueError, match="nothing-here"):
        compared(dataclasses.replace(config, fields=("nothing-here",)), None)


@pytest.mark.slow
@pytest.mark.usefixtures("small_studies")
def test_page_shows_the_shipped_paths_next_to_fixed_ones(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWVIZ_HOME", str(tmp_path))
    app = AppTest.from_file(str(Path(__file__).parents[1] / "app.py"), default_timeout=60)
    app.query_params["data"] = "8gaussians"
    app.query_params["steps"] = "2"
    settled(app.switch_page("pages/learned_path.py").run())
    assert not app.exception and not app.error
    text = " ".join(each.value for each in app.markdown)
    assert "times as straight" in text and "| learned path, penalty 0.01 |" in text
    app.button(key="learned-training-start").click()
    settled(app.run())
    assert "learned path, trained here" in " ".join(each.value for each in app.markdown)


def test_likelihood_lists_learned_paths_and_states_their_reference(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWVIZ_HOME", str(tmp_path))
    app = AppTest.from_file(str(Path(__file__).parents[1] / "app.py"), default_timeout=60)
    for name, value in (("data", "8gaussians"), ("model", "8gaussians-learned-straight")):
        app.query_params[name] = value
    app.query_params["view"] = "beside"
    app.query_params["t"] = "0.5"
    app.query_params["cells"] = "54"
    settled(app.switch_page("pages/likelihood.py").run())
    assert not app.exception and not app.error
    (menu,) = (each for each in app.selectbox if each.label == "Field")
    assert {"learned path, bound alone", "learned path, curvature penalty"} <= set(menu.options)
    assert menu.value == "8gaussians-learned-straight"
    assert any("20,000 data points, blurred by 0.1" in each.value for each in app.caption)
