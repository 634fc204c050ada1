import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor, nn

from flowviz.checkpoints.images import (
    ImageCheckpoint,
    describe_classifier,
    describe_field,
    load_classifier,
    load_images,
    locate_images,
    read_quality,
    save_images,
    write_quality,
)
from flowviz.cli import main
from flowviz.datasets.images import IMAGE_SETS, ImageSetEntry, image_set
from flowviz.experiments.image_copies import nearest_training
from flowviz.experiments.image_judge import (
    Judge,
    classifier_judge,
    classifier_name,
    load_reference,
    measure_reference,
    save_reference,
)
from flowviz.experiments.image_likelihood import bits_per_dimension
from flowviz.experiments.image_quality import (
    Fid,
    QualityPoint,
    judge_samples,
    merged,
    nfe_configs,
    points_from,
    quality_sweep,
    training_quality,
)
from flowviz.experiments.image_views import adaptive_steps, pixel_straightness
from flowviz.experiments.images import ImageConfig, sample_all
from flowviz.fields import LearnedField
from flowviz.metrics.images import (
    IMAGE_METRICS,
    ImageMetric,
    Inception,
    Moments,
    features_of,
    frechet,
    frechet_error,
    load_moments,
    moments,
    nearest,
)
from flowviz.networks.classifier import Classifier
from flowviz.objectives import OBJECTIVES
from flowviz.paths import AffinePath
from flowviz.schedulers import scheduler
from flowviz.training import classifier, train
from flowviz.training.classifier import (
    ClassifierConfig,
    accuracy,
)
from flowviz.training.folder import read_config, saved_run, train_in_folder
from flowviz.training.images import ImageTrainConfig, build_image_field

TRAIN, TEST = image_set("digits"), image_set("digits", "test")
SMALL = ClassifierConfig(data="digits", stem=8, widths=(16, 24), epochs=2, batch=64, shift=1)
RANDOM = np.random.default_rng(0)


def gaussian_field(path="ot"):
    """The untrained preconditioned field, which is exact for normal data of the set's moments."""
    training = ImageTrainConfig(data="digits", network="tiny", path=path, images=64)
    field = build_image_field(training, TRAIN, torch.Generator().manual_seed(0))
    card = describe_field(f"normal-{path}", vars(training), TRAIN, images=64)
    return ImageCheckpoint(card, field.eval().requires_grad_(False))


NORMAL = gaussian_field()
TEN = tuple(range(10))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A classifier of digits in a folder of checkpoints, with its reference."""
    home = tmp_path_factory.mktemp("home")
    (home / "images").mkdir()
    states = train_in_folder(replace(SMALL, epochs=5), home / "run", TRAIN, test=TEST)
    *_, state = states
    path = home / "images" / "digits-classifier"
    card = describe_classifier(path.name, asdict(state.config), TRAIN, images=1)
    save_images(path, state.ema, card)
    file = path.with_suffix(".safetensors")
    card, network = load_classifier(file)
    save_reference(file, measure_reference(card, network, TRAIN, TEST))
    save_images(home / "images" / "normal-ot", NORMAL.field.network, NORMAL.card)
    return home


@pytest.fixture
def judge(trained, monkeypatch):
    monkeypatch.setenv("FLOWVIZ_CHECKPOINTS", str(trained))
    return classifier_judge("digits-classifier")


def spd(size, rank=None):
    root = RANDOM.normal(size=(size, rank or size))
    return root @ root.T / size


def test_distance_of_normal_distributions_is_that_of_the_formula():
    a, b = Moments(np.zeros(2), np.diag([1.0, 4.0]), 9), Moments(np.ones(2), np.eye(2), 9)
    assert frechet(a, b) == pytest.approx(2 + 0 + (2 - 1) ** 2)
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)
    for rank in (6, 2):  # of full rank, and of less
        a, b = (Moments(RANDOM.normal(size=6), spd(6, rank), 9) for _ in range(2))
        root = sqrtm(a.covariance @ b.covariance).real
        expected = np.square(a.mean - b.mean).sum()
        expected += np.trace(a.covariance + b.covariance - 2 * root)
        assert frechet(a, b) == pytest.approx(expected, abs=1e-5)
        assert frechet(a, b) == pytest.approx(frechet(b, a))
    with pytest.raises(ValueError, match="as many features"):
        frechet(a, Moments(np.zeros(2), np.eye(2), 9))


def test_error_of_the_distance_is_its_spread_between_sets_of_images():
    r = np.random.default_rng(0)
    reference = Moments(np.array([0.5, 0.0, 0.0]), np.eye(3), 0)
    sets = r.normal(size=(60, 200, 3))
    spread = np.std([frechet(moments(rows), reference) for rows in sets])
    errors = [frechet_error(rows, reference) for rows in sets]
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(spread, rel=0.3)
    assert frechet_error(sets[0, :19], reference) is None


def test_moments_equal_numpy_and_are_loaded_unchanged(tmp_path):
    x = RANDOM.normal(size=(50, 3)) + 100
    found = moments(x)
    assert np.allclose(found.mean, x.mean(axis=0))
    assert np.allclose(found.covariance, np.cov(x.T))
    np.savez(tmp_path / "m.npz", mu=found.mean, sigma=found.covariance)
    assert frechet(load_moments(tmp_path / "m.npz"), found) == pytest.approx(0, abs=1e-9)
    np.savez(tmp_path / "m.npz", mu=found.mean, sigma=found.covariance[:2])
    with pytest.raises(ValueError, match="sigma"):
        load_moments(tmp_path / "m.npz")
    (tmp_path / "m.npz").write_bytes(b"no")
    with pytest.raises(ValueError, match="cannot be read"):
        load_moments(tmp_path / "m.npz")
    with pytest.raises(ValueError, match="n > 1"):
        moments(x[:1])
    with pytest.raises(ValueError, match="finite"):
        moments(x * np.nan)


def test_nearest_is_that_of_all_pairs(monkeypatch):
    monkeypatch.setattr("flowviz.metrics.images.BLOCK", 7)
    samples, reference = RANDOM.normal(size=(5, 4)), RANDOM.normal(size=(30, 4))
    distance, place = nearest(samples, reference)
    pairs = np.linalg.norm(samples[:, None] - reference, axis=2)
    assert (place == pairs.argmin(axis=1)).all()
    assert np.allclose(distance, pairs.min(axis=1))


class Layers(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.mean(dim=(2, 3)), x.flatten(1)[:, :2]], dim=1)[:, :, None, None]


class StandIn(nn.Module):
    """A network with the interface of NVIDIA's Inception file."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = Layers()

    def forward(self, img: Tensor, return_features: bool = False) -> Tensor:
        x = (img.to(torch.float32) - 128) / 128
        features = self.layers(x).flatten(1)
        return features if return_features else features[:, :1]


@pytest.fixture
def script(tmp_path):
    torch.jit.script(StandIn()).save(str(tmp_path / "inception.pt"))
    return tmp_path / "inception.pt"


IGNORED = "ignore:.torch.jit:DeprecationWarning"


@pytest.mark.filterwarnings(IGNORED)
def test_inception_takes_images_by_both_interfaces(script):
    images = torch.full((3, 3, 32, 32), 192, dtype=torch.uint8)
    for resize in ("inception", "clean"):
        network = Inception(script, resize=resize)
        assert torch.allclose(network(images), torch.full((3, 5), 0.5))
        assert network.protocol
    seen = features_of(Inception(script), images, batch=2)
    assert seen.shape == (3, 5) and seen.dtype == np.float32
    with pytest.raises(ValueError, match="takes uint8 images"):
        Inception(script)(images.float())


@pytest.mark.filterwarnings(IGNORED)
def test_inception_of_another_kind_is_refused(tmp_path, script):
    images = torch.zeros((1, 3, 8, 8), dtype=torch.uint8)
    torch.jit.script(nn.Conv2d(3, 1, 3)).save(str(tmp_path / "other.pt"))
    for resize in ("inception", "clean"):
        with pytest.raises(ValueError, match="this one does not"):
            Inception(tmp_path / "other.pt", resize=resize)(images)
    (tmp_path / "text.pt").write_text("no network")
    with pytest.raises(ValueError, match="not a TorchScript"):
        Inception(tmp_path / "text.pt")
    with pytest.raises(ValueError, match="no file"):
        Inception(tmp_path / "absent.pt")
    with pytest.raises(ValueError, match="inception or clean"):
        Inception(script, resize="bicubic")


@pytest.mark.parametrize("path", ["ot", pytest.param("vp", marks=pytest.mark.slow)])
def test_bits_of_normal_data_are_known_in_closed_form(path):
    checkpoint = gaussian_field(path)
    found = bits_per_dimension(checkpoint, TEST.images[:4], probes=2, tol=1e-6, seed=3)
    generator = torch.Generator().manual_seed(3)
    spread = TEST.images[:4].double()
    spread += torch.rand(spread.shape, generator=generator).double() - 0.5
    field = checkpoint.field
    c = field.path.scheduler(torch.tensor(field.path.t_max, dtype=torch.float64))
    std = torch.hypot(c.alpha * field.std, c.sigma)
    z = (spread / 127.5 - 1 - c.alpha * field.mean) / std
    nats = (z.square() / 2 + torch.log(std * math.sqrt(2 * math.pi))).flatten(1).mean(dim=1)
    expected = nats / math.log(2) + math.log2(127.5)
    assert np.allclose(found.bits, expected.numpy(), atol=2e-3)
    # The Jacobian is a multiple of the identity, for which probes of signs are exact.
    assert np.abs(found.probe_error).max() < 1e-5
    assert found.error == pytest.approx(found.bits.std(ddof=1) / 2)


class Mixing(nn.Module):
    """The linear velocity A x over all pixels, channel by channel, laid out as a U-Net's."""

    num_classes = 0

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = nn.Parameter(matrix, requires_grad=False)

    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        mixed = (x.flatten(1) @ self.matrix.T).reshape(x.shape)
        return mixed.contiguous(memory_format=torch.channels_last)


def test_bits_of_a_flow_that_mixes_all_pixels_are_known_in_closed_form():
    generator = torch.Generator().manual_seed(0)
    size = 3 * 2 * 2
    matrix = 0.5 * torch.eye(size) + 0.2 * torch.randn(size, size, generator=generator)
    matrix = matrix + 0.15 * torch.ones(size, size).triu(1)
    field = LearnedField(
        Mixing(matrix),
        AffinePath(scheduler("ot")),
        OBJECTIVES["flow"],
        mean=torch.zeros(()),
        std=1.0,
        preconditioned=False,
        clocked=False,
    )
    card = replace(NORMAL.card, channels=3, size=2, mean=())
    images = torch.randint(256, (3, 3, 2, 2), generator=generator, dtype=torch.uint8)
    count = 256
    found = bits_per_dimension(ImageCheckpoint(card, field), images, probes=count, seed=3)

    generator = torch.Generator().manual_seed(3)
    spread = images + torch.rand(images.shape, generator=generator) - 0.5
    x = (spread / 127.5 - 1).double().flatten(1)
    rate, t_max = matrix.double(), field.path.t_max
    x_0 = x @ torch.linalg.matrix_exp(-t_max * rate).T
    nats = x_0.square().sum(dim=1) / 2 + size * math.log(2 * math.pi) / 2 + t_max * rate.trace()
    unit = size * math.log(2)
    expected = (nats / unit + math.log2(127.5)).numpy()
    # The variance of z^T A z over signs z is twice that of the symmetric part off the diagonal.
    mixed = (rate + rate.T) / 2
    variance = 2 * (mixed.square().sum() - mixed.diagonal().square().sum())
    error = t_max * math.sqrt(variance / count) / unit
    assert found.probe_error == pytest.approx(np.full(3, error), rel=0.25)
    assert np.abs(found.bits - expected).max() < 4 * error  # for three images
    assert rate.trace() / unit > 20 * error  # a wrong divergence is far outside


@pytest.mark.slow
def test_bits_of_several_draws_are_below_their_mean():
    image = TEST.images[:2]
    several = bits_per_dimension(NORMAL, image, draws=4, tol=1e-2, batch=8)
    generator = torch.Generator().manual_seed(0)
    assert several.probe_error is None and several.bits.shape == (2,)
    singles = [
        bits_per_dimension(NORMAL, image, tol=1e-2, seed=int(s)).bits
        for s in torch.randint(100, (4,), generator=generator)
    ]
    assert (several.bits < np.mean(singles, axis=0) + np.std(singles, axis=0)).all()


def test_bits_refuse_other_images():
    with pytest.raises(ValueError, match="uint8 of shape"):
        bits_per_dimension(NORMAL, TEST.images.float())
    with pytest.raises(ValueError, match="probes and draws"):
        bits_per_dimension(NORMAL, TEST.images[:1], probes=0)


def test_draws_of_a_classifier_follow_its_seed():
    runs = [next(train(replace(SMALL, seed=seed), TRAIN)) for seed in (0, 1, 0)]
    first, other, again = (run.saved_state()["network.head.weight"] for run in runs)
    assert torch.equal(first, again) and not torch.equal(first, other)
    epochs = [classifier._batch(replace(SMALL, seed=seed), TRAIN, 0)[1] for seed in (0, 1)]
    assert not torch.equal(*epochs)


def test_resumed_classifier_is_bitwise_equal(tmp_path):
    *_, complete = train(SMALL, TRAIN)
    states = train_in_folder(SMALL, tmp_path / "run", TRAIN, test=TEST)
    for _ in range(9):
        state = next(states)
    states.close()
    with pytest.raises(ValueError, match="resume it or name another"):
        next(train_in_folder(SMALL, tmp_path / "run", TRAIN, test=TEST))
    assert read_config(tmp_path / "run", ClassifierConfig) == SMALL
    *_, state = train_in_folder(SMALL, tmp_path / "run", TRAIN, test=TEST, resume=True)
    for name, value in complete.saved_state().items():
        assert torch.equal(value, state.saved_state()[name]), name
    again, seconds = saved_run(SMALL, tmp_path / "run", TRAIN)
    assert again.done and seconds > 0
    log = (tmp_path / "run" / "log.jsonl").read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["step"] for line in lines if "test_accuracy" in line] == [23, 46]
    with pytest.raises(ValueError, match="another config"):
        next(
            train_in_folder(
                replace(SMALL, seed=1), tmp_path / "run", TRAIN, test=TEST, resume=True
            )
        )
    for path in (tmp_path / "run").glob("state-*"):
        path.write_bytes(b"half")
    with pytest.raises(ValueError, match="can be read"):
        saved_run(SMALL, tmp_path / "run", TRAIN)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"epochs": 0}, "epochs must be in 1.."),
        ({"smoothing": 1.0}, "smoothing must be in"),
        ({"widths": ()}, "widths must be positive"),
        ({"data": "mnist"}, "Unknown image set"),
    ],
)
def test_invalid_classifier_config_is_refused(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        ClassifierConfig(**changes)


def test_classifier_learns_digits_and_its_features_are_the_input_of_the_head(judge):
    assert accuracy(judge.network, TEST) > 0.8
    features = judge.features(TEST.images.numpy())
    assert features.shape == (len(TEST), 24)
    assert (judge.classes(features) == TEST.labels.numpy()).mean() == accuracy(judge.network, TEST)


def test_untrained_classifier_has_logits_of_both_shapes():
    network = Classifier(channels=1, stem=4, widths=(8,), num_classes=3)
    assert network(torch.zeros((2, 1, 8, 8))).shape == (2, 3)
    assert network.features(torch.zeros((2, 1, 8, 8))).shape == (2, 8)


def test_reference_is_kept_with_floors_that_fall(judge, trained, tmp_path):
    floors = judge.floors
    assert list(floors) == sorted(floors) and floors[50] > floors[100] > floors[len(TEST)] > 0
    assert floors[100] > judge.floor(150) > floors[200]
    assert judge.floor(100) == floors[100]
    assert judge.floor(49) is None and judge.floor(10**6) is None
    kept = trained / "images" / "digits-classifier.reference.npz"
    with pytest.raises(ValueError, match="another classifier"):
        load_reference(kept, "")
    real = moments(judge.features(TRAIN.images.numpy()))
    assert frechet(real, judge.reference) == pytest.approx(0, abs=1e-3)


def test_real_images_are_near_and_noise_is_far(judge):
    held = moments(judge.features(TEST.images.numpy()))
    noise = RANDOM.integers(0, 256, TEST.images.shape, dtype=np.uint8)
    far = frechet(moments(judge.features(noise)), judge.reference)
    assert far > 5 * frechet(held, judge.reference)


def test_samples_are_evaluated_with_their_floor_and_class(judge):
    config = ImageConfig(nfe=4, classes=(3, 5), n=60)
    point = judge_samples(NORMAL, config, judge)
    drawn = sample_all(NORMAL, config)
    features = judge.features(drawn.images)
    assert point.measures["frechet"] == pytest.approx(
        frechet(moments(features), judge.reference), rel=1e-3
    )
    assert point.measures["accuracy"] == pytest.approx(
        (judge.classes(features) == drawn.labels).mean()
    )
    assert (point.nfe, point.passes, point.classes, point.floor) == (4, 8, (3, 5), None)
    complete = judge_samples(NORMAL, replace(config, classes=TEN), judge)
    assert complete.classes == () and complete.floor == judge.floor(60)
    assert judge_samples(NORMAL, replace(config, classes=()), judge).measures["accuracy"] is None
    other = Judge(replace(judge.card, size=32), judge.network, judge.reference, {})
    with pytest.raises(ValueError, match="judges images of"):
        judge_samples(NORMAL, config, other)


def marked_as_known(point, **measures):
    return replace(point, measures=point.measures | {"frechet": -1.0} | measures)


def test_sweep_reuses_known_points(judge):
    config = ImageConfig(solver="midpoint", classes=(1,), n=20)
    configs = nfe_configs(config, (1, 2, 3, 4))
    assert [c.nfe for c in configs] == [2, 4]
    points = list(quality_sweep(NORMAL, configs, judge))
    marked = marked_as_known(points[0])
    again = list(quality_sweep(NORMAL, configs, judge, known=[marked]))
    assert again == [marked, points[1]]
    kept = merged({"points": [marked.as_dict()], "other": 1}, points)
    assert points_from(kept) == points and kept["other"] == 1
    assert points_from({"points": [{"solver": "euler"}]}) == []
    assert points_from({"points": [kept["points"][0] | {"solver": "unheard-of"}]}) == []
    assert points_from(json.loads(json.dumps(kept))) == points


def test_points_of_some_classes_and_of_all_are_different(judge):
    some = ImageConfig(nfe=2, classes=(3,), n=20)
    complete = replace(some, classes=TEN)
    known = [marked_as_known(p) for p in quality_sweep(NORMAL, [complete], judge)]
    found = list(quality_sweep(NORMAL, [some], judge, known=known))
    assert found[0].measures["frechet"] > 0 and found[0].classes == (3,)
    kept = merged({"points": [known[0].as_dict()]}, found)
    assert set(points_from(kept)) == {*known, *found}


def test_new_metric_is_one_entry(judge, trained, monkeypatch, capsys):
    brightness = ImageMetric("brightness", "Mean pixel.", lambda judged: judged.images.mean())
    monkeypatch.setitem(IMAGE_METRICS, "brightness", brightness)
    config = ImageConfig(nfe=2, n=60, classes=TEN)
    mean = sample_all(NORMAL, config).images.mean()
    assert judge_samples(NORMAL, config, judge).measures["brightness"] == pytest.approx(mean)
    (old,) = quality_sweep(NORMAL, [config], judge, metrics=["frechet"])
    (point,) = quality_sweep(NORMAL, [config], judge, known=[old])
    assert {*point.measures} == {"frechet", "accuracy", "fid", "brightness"}
    words = ("evaluate", "normal-ot", "--classifier", "digits-classifier", "-n", 60, "--nfe", 2)
    code, printed, _ = run(capsys, *words, "--metrics", "brightness", "--guidance", 2)
    assert code == 0 and "brightness" in printed.splitlines()[0] and f"{mean:.4g}" in printed
    code, printed, _ = run(capsys, *words, "--metrics", "brightnes")
    assert code == 2
    assert "brightness" in run(capsys, "names")[1]
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    assert "brightness" in capsys.readouterr().out


@pytest.mark.filterwarnings(IGNORED)
def test_fid_states_its_protocol(judge, script):
    class Grey:
        protocol = Inception(script).protocol

        def __call__(self, images):
            return Inception(script)(images.expand(-1, 3, -1, -1))

    real = moments(features_of(Grey(), TRAIN.images))
    config = ImageConfig(nfe=2, n=60)
    fid = Fid.of_images(Grey(), TRAIN)
    point = judge_samples(NORMAL, config, judge, fid=fid)
    drawn = sample_all(NORMAL, config)
    seen = moments(features_of(Grey(), torch.from_numpy(drawn.images)))
    assert point.measures["fid"] == pytest.approx(frechet(seen, real), rel=1e-3)
    assert "60 samples against digits train (1498)" in point.fid_protocol
    assert "bilinear" in point.fid_protocol
    marked = marked_as_known(point)
    assert list(quality_sweep(NORMAL, [config], judge, known=[marked], fid=fid)) == [marked]
    plain = replace(marked_as_known(point, fid=None), fid_protocol="")
    for known, name in ((plain, "digits train"), (marked, "other numbers")):
        other = replace(fid, name=name)
        (new,) = quality_sweep(NORMAL, [config], judge, known=[known], fid=other)
        assert new.measures["frechet"] == point.measures["frechet"] and name in new.fid_protocol


def test_copies_of_training_images_are_found(judge):
    images = TRAIN.images[[5, 77]].numpy()
    found = nearest_training(images, TRAIN, TEST, judge=judge, floor=50)
    assert found.pixel_index.tolist() == [5, 77] and (found.pixel_distance == 0).all()
    assert found.feature_index.tolist() == [5, 77]
    assert len(found.floor) == 50 and found.floor.min() > 0
    plain = nearest_training(TEST.images[:3].numpy(), TRAIN, TEST, floor=3)
    assert plain.feature_index is None and np.array_equal(plain.pixel_distance, plain.floor)


def test_adaptive_steps_and_straightness():
    config = ImageConfig(n=3, classes=(2,), guidance=1.0)
    steps = adaptive_steps(NORMAL, config, tol=1e-2)
    straight = pixel_straightness(NORMAL, config, tol=1e-2)
    assert steps["nfe"] > 6 and steps["times"][0] == 0 and steps["n"] == 3
    assert straight.arc_over_chord >= 1


def test_training_is_evaluated_snapshot_by_snapshot(judge, tmp_path):
    config = ImageTrainConfig(data="digits", network="tiny", images=64 * 2, batch=64)
    for _ in train_in_folder(config, tmp_path / "run", TRAIN, grid_every=0):
        pass
    files = sorted((tmp_path / "run").glob("snapshot-*"))
    draw = ImageConfig(nfe=2, n=20, classes=(1,))
    history = list(training_quality(files, draw, judge, data=TRAIN))
    assert [images for images, _ in history] == [64, 128]  # of two steps
    assert all(isinstance(point, QualityPoint) for _, point in history)


def run(capsys, *options):
    code = main([str(option) for option in options])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_commands_evaluate_and_store(judge, trained, tmp_path, capsys):
    words = ("evaluate", "normal-ot", "--classifier", "digits-classifier", "-n", 50)
    code, printed, _ = run(
        capsys, *words, "--nfe", 2, 4, "--guidance", 1, "--save", "--straightness", 2
    )
    assert code == 0 and "It is not FID" in printed and "S " in printed
    kept = read_quality("normal-ot")
    assert [point["nfe"] for point in kept["points"]] == [2, 4] and "straightness" in kept
    code, printed, _ = run(capsys, *words, "--nfe", 2, "--guidance", 1, "--json")
    answer = json.loads(printed)
    assert answer["points"][0]["frechet"] == pytest.approx(kept["points"][0]["frechet"], rel=1e-4)
    protocol = kept["protocol"] | {"classifier_sha256": "0" * 64}
    quality_file = write_quality("normal-ot", kept | {"protocol": protocol})
    code, _, printed = run(capsys, *words, "--nfe", 2, "--guidance", 1, "--save")
    assert code == 2 and "the numbers of another classifier" in printed
    assert len(json.loads(quality_file.read_text())["points"]) == 2, "nothing is lost"
    write_quality("normal-ot", kept)
    code, printed, _ = run(
        capsys, "bpd", "normal-ot", "-n", 4, "--probes", 2, "--tol", 1e-2, "--json"
    )
    answer = json.loads(printed)
    assert 3 < answer["bits_per_dimension"] < 12 and answer["standard_error"] > 0
    np.save(tmp_path / "s.npy", TRAIN.images[:2].numpy())
    code, printed, _ = run(capsys, "nearest", tmp_path / "s.npy", "--data", "digits", "--json")
    assert json.loads(printed)["least"] == 0
    np.save(tmp_path / "s.npy", np.zeros((2, 3, 4)))
    assert run(capsys, "nearest", tmp_path / "s.npy", "--data", "digits")[0] == 2
    code, _, printed = run(capsys, *words, "--metrics", "w2")
    assert code == 2 and "Unknown image metric 'w2'" in printed
    code, _, printed = run(capsys, *words, "--likelihood", 10)
    assert code == 2 and "for checkpoints of the plane" in printed
    code, _, printed = run(capsys, *words, "--fid-stats", "x.npz")
    assert code == 2 and "goes with --fid" in printed


CIFAR10 = ("--classifier", "cifar10-classifier")


@pytest.fixture
def coloured(tmp_path, monkeypatch):
    """The name of an untrained field of a small set of coloured images of CIFAR-10's shape."""

    def drawn(split, folder):
        generator = torch.Generator().manual_seed(len(split))
        images = torch.randint(256, (24, 3, 32, 32), generator=generator, dtype=torch.uint8)
        return images.numpy(), np.arange(24) % 10

    classes = IMAGE_SETS["cifar10"].classes
    monkeypatch.setitem(IMAGE_SETS, "coloured", ImageSetEntry("Coloured", classes, drawn))
    monkeypatch.setenv("FLOWVIZ_CHECKPOINTS", str(tmp_path))
    data = image_set("coloured")
    training = ImageTrainConfig(data="coloured", network="tiny", images=128, batch=64)
    field = build_image_field(training, data, torch.Generator().manual_seed(2))
    (tmp_path / "images").mkdir()
    card = describe_field("colour", vars(training), data, images=128)
    save_images(tmp_path / "images" / "colour", field.network, card)
    return "colour"


@pytest.mark.slow
@pytest.mark.filterwarnings(IGNORED)
def test_command_measures_fid_by_each_protocol(coloured, script, tmp_path, capsys):
    words = ("evaluate", coloured, "-n", 12, "--nfe", 2, "--guidance", 1, "--save", *CIFAR10)
    words = (*words, "--fid", script)
    code, printed, error = run(capsys, *words)
    assert code == 0, error
    assert "FID: 12 samples against Coloured train (24)" in printed and "bilinear" in printed
    (first,) = read_quality(coloured)["points"]
    real = moments(features_of(Inception(script), image_set("coloured").images))
    seen = sample_all(load_images(coloured), ImageConfig(nfe=2, n=12, guidance=1.0, classes=TEN))
    own = moments(features_of(Inception(script), torch.from_numpy(seen.images)))
    assert first["fid"] == pytest.approx(frechet(own, real), rel=1e-3)
    code, printed, error = run(capsys, *words, "--resize", "clean")
    assert code == 0 and "bicubic" in printed and "bilinear" not in printed, error
    (second,) = read_quality(coloured)["points"]
    assert second["fid_protocol"] != first["fid_protocol"]
    np.savez(tmp_path / "real.npz", mu=real.mean + 1, sigma=real.covariance)
    code, printed, error = run(capsys, *words, "--fid-stats", tmp_path / "real.npz")
    assert code == 0 and "against real.npz;" in printed, error
    (third,) = read_quality(coloured)["points"]
    assert third["fid"] > first["fid"] + 1 and third["frechet"] == first["frechet"]


@pytest.mark.slow
def test_command_evaluates_snapshots(coloured, tmp_path, capsys):
    config = ImageTrainConfig(data="coloured", network="tiny", images=128, batch=64)
    for _ in train_in_folder(config, tmp_path / "run", image_set("coloured"), grid_every=0):
        pass
    words = ("evaluate", coloured, "-n", 10, "--nfe", 2, "--guidance", 1, "--save", *CIFAR10)
    code, printed, error = run(capsys, *words, "--snapshots", tmp_path / "run")
    assert code == 0, error
    assert "after 64 images" in printed and "after 128 images" in printed
    history = read_quality(coloured)["training"]
    assert [entry["images"] for entry in history] == [64, 128]
    assert all(entry["nfe"] == 2 and entry["frechet"] > 0 for entry in history)
    code, printed, error = run(
        capsys, words[0], tmp_path / "run/snapshot-100.safetensors", *words[2:]
    )
    assert (code, printed) == (2, "") and "has no card" in error and "drawing" not in error
    (tmp_path / "empty").mkdir()
    code, _, error = run(capsys, *words, "--snapshots", tmp_path / "empty")
    assert code == 2 and "no snapshots" in error
    other = tmp_path / "other"
    for _ in train_in_folder(
        replace(config, path="vp"), other, image_set("coloured"), grid_every=0
    ):
        pass
    code, _, error = run(capsys, *words, "--snapshots", other)
    assert code == 2 and "must be of the run that made colour" in error
    assert read_quality(coloured)["training"] == history


def test_command_trains_and_resumes_a_classifier(tmp_path, capsys):
    out = tmp_path / "digits-classifier"
    words = ("train-classifier", "--data", "digits", "--epochs", 1, "--out", out)
    code, printed, _ = run(capsys, *words, "--seconds", 1e-9)
    assert code == 0 and "step 1 of 11" in printed and not out.with_suffix(".safetensors").exists()
    code, printed, _ = run(capsys, *words, "--resume")
    assert code == 0 and "of 299 test images" in printed
    card, _ = load_classifier(out.with_suffix(".safetensors"))
    assert card.images == 11 * 128 and 0 <= card.quality["test_accuracy"] <= 1
    assert classifier_judge(out.with_suffix(".safetensors")).reference.n == len(TRAIN)
    assert run(capsys, *words, "--resume")[0] == 0  # a finished run is only written again


def test_shipped_classifier_is_small_good_and_has_its_reference(monkeypatch):
    monkeypatch.delenv("FLOWVIZ_CHECKPOINTS", raising=False)
    card, _ = load_classifier(classifier_name("cifar10"))
    assert card.quality["test_accuracy"] >= 0.88 and card.quality["test_images"] == 10_000
    assert locate_images(classifier_name("cifar10")).stat().st_size <= 3_000_000
    judge = classifier_judge(classifier_name("cifar10"))
    assert judge.reference.n == 50_000 and judge.reference.mean.shape == (192,)
    assert 0 < judge.floor(10_000) < judge.floor(2_000) < judge.floor(500)
