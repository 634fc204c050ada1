"""Flows from one data set to another: exact fields, training, checkpoints and their checks."""

import math
import subprocess
import sys
from dataclasses import asdict, replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

import flowviz
from flowviz import checkpoints
from flowviz.checkpoints import read_card
from flowviz.datasets import dataset
from flowviz.distributions import Boxes, Distribution, GaussianMixture
from flowviz.draws import stream
from flowviz.experiments.bridges import bridge_of
from flowviz.experiments.evolution import SceneConfig, compute_scene
from flowviz.experiments.fields import FieldRef
from flowviz.experiments.live import LiveTraining
from flowviz.experiments.particles import compute_particles
from flowviz.experiments.starts import starts
from flowviz.fields.sourced import BridgeField, SourcedField, exact_field_of, sourced_field
from flowviz.metrics import METRICS
from flowviz.paths import AffinePath
from flowviz.schedulers import scheduler
from flowviz.studies._canvases import panels_of, plane_of, scene_config_of
from flowviz.training import TrainConfig, config_class, irreducible_loss, train
from flowviz.training.reflow import reflow_pairs

PLACES = torch.tensor([[-2.0, 0.5], [1.0, 1.5], [0.5, -2.0]])
SIDES: dict[str, Distribution] = {
    "round": GaussianMixture(PLACES, 0.4, torch.tensor([1.0, 2, 3])),
    "tilted": GaussianMixture(
        PLACES.flip(0),
        torch.tensor([[[0.3, 0.1], [0.1, 0.2]], [[0.5, -0.4], [-0.4, 0.6]], [[0.2, 0], [0, 0.9]]]),
    ),
    "boxes": Boxes(
        torch.tensor([-3.0, -1, 0.5, 4]),
        torch.tensor([-2.0, 0.25, 3]),
        torch.tensor([[1.0, 2], [0, 3], [0.5, 0]]),
    ),
    "others": Boxes(
        torch.tensor([-3.5, 0, 2]),
        torch.tensor([-4.0, -1.25, 1, 2]),
        torch.tensor([[0.0, 1, 2], [3, 0, 1]]),
    ),
}
JOINED = [("round", "round"), ("round", "tilted"), ("tilted", "round"), ("round", "boxes")]
JOINED += [("boxes", "round"), ("boxes", "others")]
BOTH = pytest.mark.parametrize(("source", "data"), JOINED)


def path(spec: str = "ot") -> AffinePath:
    return AffinePath(scheduler(spec), "8gaussians")


def between(source: str, data: str, spec: str = "ot") -> SourcedField:
    return sourced_field(path(spec), SIDES[source], SIDES[data])


def states(source: str, data: str, t: float, n: int = 12) -> tuple[Tensor, Tensor]:
    """A time and n states of p_t, float64."""
    g = torch.Generator().manual_seed(5)
    ends = [SIDES[name].sample(n, g).double() for name in (source, data)]
    time = torch.tensor(t, dtype=torch.float64)
    return time, path().flow(time, *ends)


@pytest.mark.parametrize("spec", ["ot", "trig", "shaped"])
def test_between_gaussians_the_field_is_affine(spec):
    m_0, m_1 = torch.tensor([[1.0, -2.0], [-0.5, 3.0]], dtype=torch.float64).split(1)
    s_0, s_1 = 0.7, 0.2
    field = sourced_field(path(spec), GaussianMixture(m_0, s_0), GaussianMixture(m_1, s_1))
    x = 3 * torch.randn(16, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for t in (0.0, 0.3, 0.8, 0.99):
        time = torch.tensor(t, dtype=torch.float64)
        alpha, sigma, d_alpha, d_sigma = field.path.scheduler(time)
        variance = (alpha * s_1) ** 2 + (sigma * s_0) ** 2
        rate = (alpha * d_alpha * s_1**2 + sigma * d_sigma * s_0**2) / variance
        offset = x - alpha * m_1 - sigma * m_0
        expected = d_alpha * m_1 + d_sigma * m_0 + rate * offset
        torch.testing.assert_close(field(time, x), expected, rtol=0, atol=1e-9)
        torch.testing.assert_close(field.score(time, x), -offset / variance, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(
            field.divergence(time, x), (2 * rate).expand(16), rtol=0, atol=1e-8
        )


def quadrature(distribution: Distribution, step: float = 0.05) -> tuple[Tensor, Tensor]:
    """Midpoints of squares, which the edges of the boxes do not cut, and their masses."""
    axis = torch.arange(-8 + step / 2, 8, step, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    mass = distribution.log_prob(points).exp()
    kept = mass > 1e-14 * mass.max()
    return points[kept], mass[kept]


@BOTH
def test_field_is_the_posterior_mean_over_pairs(source, data):
    # Given x, x_1 determines x_0: p(x_1 | x) ~ q_1(x_1) q_0((x - alpha x_1) / sigma).
    time, x = states(source, data, 0.45)
    near, far, gain, rest = data, source, time, 1 - time
    if source == "boxes":
        near, far, gain, rest = source, data, 1 - time, time
    sharp = {source, data} == {"boxes", "others"}  # edges of one cut squares of the other
    points, mass = quadrature(SIDES[near], 0.02 if sharp else 0.05)
    expected = []
    for each in x:
        weight = mass * SIDES[far].log_prob((each - gain * points) / rest).exp()
        mean = (weight[:, None] * points).sum(0) / weight.sum()
        opposite = (each - gain * mean) / rest
        expected.append(opposite - mean if source == "boxes" else mean - opposite)
    smooth = "boxes" not in (source, data)  # fast convergence; else with step^2
    torch.testing.assert_close(
        between(source, data)(time, x),
        torch.stack(expected),
        rtol=0,
        atol=1e-9 if smooth else 0.05 if sharp else 5e-3,
    )


@BOTH
def test_density_follows_the_continuity_equation(source, data):
    field = between(source, data)
    for t in (0.2, 0.7):
        time, x = states(source, data, t)
        time = time.repeat(len(x))
        with torch.enable_grad():
            moved = partial(field.log_density, x=x)
            _, rate = torch.func.jvp(moved, (time,), (torch.ones_like(time),))
        velocity, score = field(time, x), field.score(time, x)
        change = field.divergence(time, x) + (velocity * score).sum(dim=1)
        torch.testing.assert_close(rate, -change, rtol=1e-6, atol=1e-6)


@BOTH
def test_divergence_and_score_are_derivatives(source, data):
    field = between(source, data)
    for t in (0.05, 0.6, 0.95):
        time, x = states(source, data, t)
        x = x.requires_grad_()
        velocity, log_density = field(time, x), field.log_density(time, x)
        (slope,) = torch.autograd.grad(log_density.sum(), x, retain_graph=True)
        torch.testing.assert_close(field.score(time, x), slope, rtol=1e-6, atol=1e-6)
        trace = sum(
            torch.autograd.grad(velocity[:, k].sum(), x, retain_graph=True)[0][:, k]
            for k in (0, 1)
        )
        torch.testing.assert_close(field.divergence(time, x), trace, rtol=1e-6, atol=1e-5)


@BOTH
def test_grid_has_the_density_and_the_ends_are_the_data_sets(source, data):
    field = between(source, data)
    xs, ys = torch.linspace(-3, 3, 7).double(), torch.linspace(-2, 2, 5).double() + 0.1
    points = torch.cartesian_prod(ys, xs).flip(1)
    for t in (0.0, 0.5, 0.9):
        time = torch.tensor(t, dtype=torch.float64)
        expected = field.log_density(time, points).exp().reshape(5, 7)
        torch.testing.assert_close(
            field.density_grid(time, xs, ys), expected, rtol=1e-6, atol=1e-12
        )
    start = torch.tensor(0.0, dtype=torch.float64)
    x = SIDES[source].sample(12, torch.Generator().manual_seed(1)).double()
    expected = SIDES[source].log_prob(x)
    torch.testing.assert_close(field.log_density(start, x), expected, rtol=0, atol=1e-3)
    torch.testing.assert_close(field.noise_mean(start, x), x, rtol=0, atol=1e-4)


def test_sources_without_isotropic_gaussians_and_paths_with_noise_are_refused():
    for pair in [("tilted", "tilted"), ("tilted", "boxes"), ("boxes", "tilted")]:
        with pytest.raises(ValueError, match="one of the two must be a mixture"):
            between(*pair)
    with pytest.raises(ValueError, match="boxes on both sides"):
        BridgeField(between("boxes", "others"), 0.5)
    lattice = torch.linspace(-4, 4, 300), torch.linspace(-4, 4, 300), torch.ones(299, 299)
    with pytest.raises(ValueError, match="of few boxes"):
        sourced_field(path(), Boxes(*lattice), Boxes(*lattice))
    for spec in ("vp", "ve", "learned"):
        with pytest.raises(ValueError, match="start exactly there"):
            path(spec)
    with pytest.raises(ValueError, match="starts from Gaussian noise"):
        dataset("from:8gaussians>moons")
    for spec in ("from:8gaussians", "from:>moons", "from:a>from:b>c"):
        with pytest.raises(ValueError, match="from:SOURCE>DATA"):
            dataset(spec, sources=True)
    pair = dataset("from:8gaussians>word:A>B", sources=True)
    assert (pair.source.name, pair.name) == ("8gaussians", "from:8gaussians>word:A>B")
    field = exact_field_of(path(), pair)
    assert isinstance(field, SourcedField) and not field.target.swapped
    assert math.isfinite(field(torch.tensor(0.999), torch.zeros(1, 2)).sum())


def test_between_boxes_unreachable_states_have_the_nearest_ends():
    field, far = between("boxes", "others"), torch.tensor([[9.0, 0.5], [-7.0, 6.0], [3.2, 0.3]])
    low, high = torch.tensor([-3.5, -4.0]), torch.tensor([2.0, 2.0])
    for t in (0.0, 0.5, 0.9, 1.0):
        time = torch.tensor(t, dtype=torch.float64)
        assert (field.log_density(time, far[:2]) == -math.inf).all()
        data, start = field.data_mean(time, far), field.noise_mean(time, far)
        assert ((data >= low) & (data <= high)).all() and (start.abs() <= 4).all()
        assert field(time, far).isfinite().all()
    half, outside = torch.tensor(0.5, dtype=torch.float64), far[2:]  # the support ends at x = 3
    assert field.data_mean(half, outside)[0, 0] == pytest.approx(2, abs=1e-3)
    assert field.noise_mean(half, outside)[0, 0] == pytest.approx(4, abs=1e-3)
    last = torch.tensor(field.path.t_max, dtype=torch.float64)
    x = SIDES["others"].sample(50, torch.Generator().manual_seed(3)).double()
    torch.testing.assert_close(field.data_mean(last, x), x, rtol=0, atol=0.01)


SMALL = "from:mixture:-3,0;3,1@0.5>mixture:0,-2;1,2@0.4"


def test_samples_and_densities_start_from_the_source():
    field = flowviz.exact_field(SMALL)
    samples = flowviz.sample(field, 400, nfe=40)
    data, fresh = (field.dataset.sample(400, stream(0, name)) for name in ("a", "b"))
    energy = METRICS["energy"]
    assert energy(samples.float(), data, None) < 3 * energy(fresh, data, None)
    start = starts(field.path, 400, 0)
    assert (start[:, 0].abs() > 1).float().mean() > 0.95  # two clusters at -3 and 3
    found = flowviz.log_prob(field, samples[:4], tol=1e-6).log_prob
    end = torch.tensor(field.path.t_max, dtype=torch.float64)
    exact = field.field.log_density(end, samples[:4])
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-3)


def test_compare_names_the_source_of_the_particles():
    study = flowviz.study("flow")
    with pytest.raises(ValueError, match="start exactly there"):
        study.result(study.config(data=SMALL, field="exact", nfe=2))
    config = study.config(
        data=SMALL, paths=("ot", "trig"), field="exact", nfe=20, picture="origin", t=1.0
    )
    result = study.result(config)
    left, right = result.sides
    (distances,) = [each for each in study.say(config, result) if each.lead.startswith("From")]
    assert distances.numbers["left"] < distances.numbers["pairs"]
    mass = left.scene.density.sum(axis=(1, 2)) * np.diff(left.scene.axis)[0] ** 2
    assert np.abs(mass - 1).max() < 0.01
    # Both paths have the same flow map, as from noise.
    assert np.linalg.norm(left.flow.states[-1] - right.flow.states[-1], axis=1).mean() < 0.05
    (figure,) = study.draw(config, result)
    first, _ = [trace for trace in figure.figure.data if trace.type.startswith("scatter")]
    assert len(first.marker.color) == len(first.x) == 2_000


@pytest.mark.parametrize(
    ("study", "settings"),
    [
        ("losses", {"data": SMALL}),
        ("density-evolution", {"data": SMALL, "paths": ("ot",)}),
        ("endpoints", {"data": SMALL}),
    ],
)
def test_a_study_that_needs_noise_says_so(study, settings):
    one = flowviz.study(study)
    with pytest.raises(ValueError, match=r"noise|no network"):
        one.result(one.config(**settings))


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> FieldRef:
    """A saved network from one data set to another, trained with minibatch OT."""
    out = str(tmp_path_factory.mktemp("sources") / "pair")
    options = {"steps": 200, "width": 32, "depth": 2, "octaves": 2, "batch": 128}
    return flowviz.train(SMALL, out=out, coupling="minibatch-ot", **options)


def test_a_trained_source_is_on_the_card_and_samples_start_there(trained):
    card = read_card(trained.name)
    source = dataset(SMALL, sources=True).source
    assert card.data == SMALL and card.training["data"] == SMALL
    assert card.network["source"]["std"] == pytest.approx(source.std)
    assert trained.path.source == source.name
    samples = flowviz.sample(trained, 400).float()
    data = trained.dataset.sample(400, stream(0, "a"))
    assert METRICS["energy"](samples, data, None) < 0.1
    start = starts(trained.path, 400, 0)
    moved = (samples - start).norm(dim=1).mean()
    # Minibatch OT has shorter trajectories than independent pairs, with the same end points.
    exact = flowviz.sample(flowviz.exact_field(SMALL), 400).float()
    assert moved < (exact - start).norm(dim=1).mean()
    found = flowviz.log_prob(trained, samples[:50], method="midpoint", nfe=40).log_prob
    true = trained.dataset.distribution.log_prob(samples[:50])
    assert (found - true).abs().median() < 0.5


def test_reflow_pairs_start_from_the_source_and_train_a_field():
    exact = flowviz.exact_field(SMALL)
    pairs = reflow_pairs(exact.field, 300, stream(0, "reflow"), steps=20)
    assert (pairs.x_0[:, 0].abs() > 1).float().mean() > 0.95  # the source has two clusters
    again = flowviz.solve(exact, pairs.x_0, exact.path.clock(2), nfe=40).states[-1]
    torch.testing.assert_close(again, exact.path.t_max * pairs.x_1)
    config = TrainConfig(data=SMALL, steps=1, width=8, depth=1, batch=16)
    run = next(train(config, exact.dataset, pairs=pairs))
    assert run.loss.isfinite() and run.ema.path == exact.path


def test_standard_coordinates_of_a_source_have_unit_scale(trained):
    field = trained.field
    g = torch.Generator().manual_seed(0)
    pair = trained.dataset
    x_0, x_1 = pair.source.sample(20_000, g), pair.sample(20_000, g)
    for t in (0.0, 0.3, 0.8):
        time = torch.tensor(t)
        x = field.path.flow(time, x_0, x_1)
        c = field.path.coefficients(time, x)
        slope, scale, spread, offset = field.linear(c, x)
        remainder = (field.path.target(time, x_0, x_1) - slope * offset - field.centre(c)) / scale
        for value in (offset / spread, remainder):
            assert value.mean(dim=0).abs().max() < 0.05
            assert value.square().mean() == pytest.approx(1, abs=0.05)
        assert (remainder * offset / spread).mean().abs() < 0.05  # no linear part is left


@pytest.mark.parametrize(
    "settings",
    [{"path": "vp"}, {"path": "learned"}, {"objective": "meanflow"}, {"objective": "noise"}],
)
def test_trainings_that_need_noise_are_refused(settings):
    with pytest.raises(ValueError, match=r"Gaussian noise|start exactly there"):
        config_class(settings.get("path", "ot"))(data=SMALL, **settings)


def test_a_live_training_has_the_floor_of_the_exact_field():
    config = TrainConfig(data=SMALL, steps=2, width=8, depth=1, batch=64)
    run = LiveTraining([config], dataset(SMALL, sources=True), particles=50, measured=50)
    run.advance()
    run.measure()
    (trace,) = run.snapshot.traces
    assert 0 < trace.floor < trace.loss[0] and trace.excess[-1] > 0
    boxes = replace(config, data="from:checkerboard>pinwheel")
    assert irreducible_loss(boxes, dataset(boxes.data, sources=True)) is None


@pytest.mark.parametrize("spec", ["ot", "trig"])
def test_bridges_between_gaussians_have_the_affine_field(spec):
    m_0, m_1 = torch.tensor([[1.0, -2.0], [-0.5, 3.0]], dtype=torch.float64).split(1)
    s_0, s_1, noise = 0.7, 0.2, 0.9
    field = BridgeField(
        sourced_field(path(spec), GaussianMixture(m_0, s_0), GaussianMixture(m_1, s_1)), noise
    )
    x = 3 * torch.randn(16, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for t in (0.05, 0.4, 0.9):
        time = torch.tensor(t, dtype=torch.float64)
        alpha, sigma, d_alpha, d_sigma = field.path.scheduler(time)
        variance = (alpha * s_1) ** 2 + (sigma * s_0) ** 2 + noise**2 * alpha * sigma
        slope = 2 * alpha * d_alpha * s_1**2 + 2 * sigma * d_sigma * s_0**2
        slope += noise**2 * (d_alpha * sigma + alpha * d_sigma)
        offset = x - alpha * m_1 - sigma * m_0
        expected = d_alpha * m_1 + d_sigma * m_0 + slope / (2 * variance) * offset
        torch.testing.assert_close(field(time, x), expected, rtol=0, atol=1e-9)
        drift = expected - field.diffusion(time) ** 2 / 2 * offset / variance
        torch.testing.assert_close(field.drift(time, x), drift, rtol=0, atol=1e-9)
        density = -offset.square().sum(dim=1) / (2 * variance) - torch.log(2 * math.pi * variance)
        torch.testing.assert_close(field.log_density(time, x), density, rtol=0, atol=1e-9)
    assert torch.allclose(BridgeField(field.sourced, 0.0)(time, x), field.sourced(time, x))


def test_bridges_their_flow_and_their_diffusion_have_the_same_densities():
    study = flowviz.study("particles")
    config = study.config(data=SMALL, noise=80, nfe=100)
    result = study.result(config)
    assert [panel.config.bridge for panel in result.panels] == [0.8] * 3
    assert all(panel.result.agrees for panel in result.panels)
    _, flow, noisy = (panel.result for panel in result.panels)
    assert noisy.length.mean() > 2 * flow.length.mean()
    scene = compute_scene(scene_config_of(config, result))
    half = scene.density[20]  # bridges are wider than the path of the pairs
    assert half.max() < 0.8 * compute_scene(SceneConfig(data=SMALL)).density[20].max()
    assert half.sum() * np.diff(scene.axis)[0] ** 2 == pytest.approx(1, abs=0.01)
    for settings in ({"sampler": "ancestral"}, {"field": "learned", "network": "moons-ot"}):
        with pytest.raises(ValueError, match=r"euler-maruyama|starts from"):
            study.result(replace(config, **settings))


def test_a_network_between_data_sets_without_exact_field_is_shown_over_a_mean_of_pairs():
    boxes = "from:checkerboard>pinwheel"
    field = flowviz.train(boxes, steps=2, width=8, depth=1, batch=16)
    config = SceneConfig(data=boxes, field="live:boxes", frames=3)
    scene = compute_scene(config, field=field.field)
    assert scene.estimated and scene.difference is None
    mass = scene.density.sum(axis=(1, 2)) * np.diff(scene.axis)[0] ** 2
    assert np.abs(mass - 1).max() < 0.01
    with pytest.raises(ValueError, match="No exact field is known"):
        compute_scene(replace(config, field="exact"))


BRIDGED = {"data": "from:8gaussians>moons", "bridge": 1.0, "width": 48, "steps": 250, "batch": 256}


@pytest.fixture(scope="module")
def bridged(tmp_path_factory):
    """A trained field of bridges, and its checkpoint."""
    config, data = TrainConfig(**BRIDGED), dataset(BRIDGED["data"], sources=True)
    *_, run = train(config, data)
    card = checkpoints.describe("bridge", asdict(config), data, steps=250, seconds=1.0)
    file = tmp_path_factory.mktemp("bridge") / "bridge"
    return run.ema.eval(), checkpoints.save(file, run.ema, card, precision="float32")


def test_learned_bridges_have_the_velocity_and_the_score_of_the_exact_ones(bridged):
    field, file = bridged
    data, exact = bridge_of(BRIDGED["data"], "ot", 1.0)
    g, t = torch.Generator().manual_seed(0), torch.rand(500, dtype=torch.float64) * 0.9
    ends = (each.sample(500, g) for each in (data.source, data))
    x = exact.state(t, *ends, torch.randn(500, 2, generator=g))
    pairs = zip(field.velocity_and_score(t, x), exact.velocity_and_score(t, x), strict=True)
    for (learned, true), share in zip(pairs, (0.35, 0.5), strict=True):
        assert (learned - true).square().mean() < share**2 * true.square().mean()
    torch.testing.assert_close(checkpoints.load(file).field(t, x), field(t, x), rtol=0, atol=0)


def test_learned_bridges_move_particles_as_a_flow_and_as_a_diffusion(bridged):
    _, file = bridged
    study = flowviz.study("particles")
    settings = {"data": BRIDGED["data"], "field": "learned", "network": str(file)}
    result = study.result(study.config(**settings, nfe=60))
    _, flow, diffusion = result.panels
    assert [panel.config.bridge for panel in result.panels] == [1.0] * 3
    for panel in (flow, diffusion):
        assert panel.note.startswith("learned")
        assert (panel.result.energy < 0.1 * panel.result.displacement.mean()).all()
    assert diffusion.result.length.mean() > 2 * flow.result.length.mean()
    assert {panel.start for panel in panels_of(result, 6)} == {"8 Gaussians"}
    with pytest.raises(ValueError, match=r"trained with bridges of diffusion 0\.5"):
        compute_particles(replace(flow.config, bridge=0.5))


def test_bridges_of_entropic_pairs_show_the_density_of_those_pairs():
    shown = SceneConfig(data=BRIDGED["data"], bridge=0.3, frames=3, cells=16, arrows=4)
    independent = compute_scene(shown)
    coupled = compute_scene(replace(shown, coupling="sinkhorn"))
    assert coupled.estimated and not independent.estimated
    assert plane_of(coupled).density_label == "p_t, a mean over pairs"
    apart = np.abs(coupled.density - independent.density).sum((1, 2)) / coupled.density.sum((1, 2))
    assert apart[1] > 2 * apart[2], "other pairs, but the same data"


def test_bridges_need_a_source():
    with pytest.raises(ValueError, match="Bridges need a data set with a source"):
        TrainConfig(data="moons", bridge=1.0)


def test_field_between_two_uploads_takes_little_memory():
    """Measured as the peak memory of a separate process."""
    script = """
import resource, torch
from flowviz.distributions import GaussianMixture
from flowviz.fields.sourced import sourced_field
from flowviz.paths import AffinePath
from flowviz.schedulers import scheduler
means = torch.randn(2_000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
field = sourced_field(
    AffinePath(scheduler("ot")), GaussianMixture(means, 0.1), GaussianMixture(-means, 0.1)
)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with torch.no_grad():
    field(torch.tensor(0.4), means[:132].float())
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert float(ended.stdout) < 500, ended.stderr  # MB
