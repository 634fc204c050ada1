import json
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from flowviz.checkpoints import CheckpointError
from flowviz.checkpoints.images import (
    ImageCheckpoint,
    describe_field,
    find_images,
    image_checkpoints,
    is_images,
    load_classifier,
    load_images,
    read_quality,
    run_checkpoint,
    save_images,
    snapshot_checkpoint,
    write_quality,
)
from flowviz.cli import main
from flowviz.datasets.images import ImageSet, image_set, montage
from flowviz.device import DEVICE_BATCH, batch_on
from flowviz.draws import noise
from flowviz.experiments import images
from flowviz.experiments.image_views import (
    all_classes,
    film,
    interpolation,
    pixel_straightness,
    spherical,
)
from flowviz.experiments.images import (
    ClassField,
    ImageConfig,
    nearest_nfe,
    sample,
    sample_all,
    to_pixels,
)
from flowviz.fields.guided import GuidedField
from flowviz.methods import velocity_methods
from flowviz.progress import Stopped, stopping
from flowviz.training.folder import train_in_folder
from flowviz.training.images import ImageTrainConfig, build_image_field

DIGITS = image_set("digits")


def config(path="ot", images=64, **changes):
    return ImageTrainConfig(data="digits", network="tiny", path=path, images=images, **changes)


def checkpoint(path="ot", *, classes=True, gaussian=False, seed=2, **changes):
    """An untrained field; with `gaussian` it is the best linear prediction."""
    training = config(path, classes=classes, **changes)
    field = build_image_field(training, DIGITS, torch.Generator().manual_seed(1))
    if not gaussian:
        generator = torch.Generator().manual_seed(seed)
        for weight in field.network.parameters():
            if not weight.any():  # the last layers are zero before training
                weight.data = 0.2 * torch.randn(weight.shape, generator=generator)
    field.eval().requires_grad_(False)
    return ImageCheckpoint(describe_field(path, vars(training), DIGITS, images=64), field)


OT, VP = checkpoint("ot"), checkpoint("vp")
FEW = ImageConfig(nfe=4, classes=(3, 7), n=4)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of checkpoints of images, with one checkpoint and without the shipped ones."""
    monkeypatch.setattr("flowviz.checkpoints.lookup.FOLDER", tmp_path / "shipped")
    monkeypatch.setenv("FLOWVIZ_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FLOWVIZ_CHECKPOINTS", str(tmp_path))
    place = tmp_path / "images"
    place.mkdir()
    save_images(place / "tiny-ot", OT.field.network, OT.card)
    return place


def test_noise_of_an_image_does_not_depend_on_how_many_are_drawn():
    few, many = (noise(n, 5, OT.shape) for n in (3, 40))
    assert torch.equal(few, many[:3])
    assert not torch.equal(few, noise(3, 6, OT.shape))


def test_a_batch_is_larger_off_the_cpu():
    sizes = [batch_on(torch.device(kind), 16) for kind in ("cpu", "cuda", "mps")]
    assert sizes == [16, DEVICE_BATCH, DEVICE_BATCH]
    assert batch_on(torch.device("cuda"), 2 * DEVICE_BATCH) == 2 * DEVICE_BATCH


@pytest.mark.parametrize("solver", ["euler", "dopri5"])
def test_images_of_fixed_steps_are_drawn_in_the_batches_of_their_device(monkeypatch, solver):
    sizes, solve_batch = [], images.solve_images

    def recorded(field, noise, config):
        sizes.append(len(noise))
        return solve_batch(field, noise, config)

    monkeypatch.setattr(images, "solve_images", recorded)
    monkeypatch.setattr(images, "batch_on", lambda device, batch: 25)
    settings = replace(FEW, solver=solver, nfe=1, tol=0.5, n=3)
    all_classes(OT, settings)  # 3 noises for 10 classes
    interpolation(OT, replace(settings, n=4), to_seed=1, steps=7)
    sample_all(OT, replace(settings, n=28))
    wide, own = [25, 5, 25, 3, 25, 3], [16, 14, 16, 12, 16, 12]
    assert sizes == (wide if solver == "euler" else own)  # steps of dopri5 depend on the batch


def test_batches_are_parts_of_the_whole():
    complete = sample_all(OT, FEW, batch=4)
    parts = list(sample(OT, FEW, batch=3))
    assert [part.start for part in parts] == [0, 3]
    joined = np.concatenate([part.images for part in parts]).astype(int)
    assert np.abs(joined - complete.images).max() <= 1  # the last digits depend on the batch
    assert complete.images.dtype == np.uint8 and complete.images.shape == (4, 1, 8, 8)
    assert complete.labels.tolist() == [3, 7, 3, 7]


@pytest.mark.parametrize(
    ("changes", "passes"),
    [
        ({}, 8),
        ({"guidance": 1.0}, 4),
        ({"guidance": 0.0}, 4),
        ({"classes": ()}, 4),
        ({"solver": "euler"}, 8),
        ({"solver": "edm", "nfe": 5}, 10),
    ],
)
def test_evaluations_and_network_passes_are_counted(changes, passes):
    drawn = sample_all(OT, replace(FEW, **changes))
    assert drawn.nfe == changes.get("nfe", 4)
    assert drawn.passes == passes


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_jumps_of_a_flow_map_are_counted_and_a_large_batch_is_divided(guidance, monkeypatch):
    found = checkpoint(objective="distillation", start="teacher")
    drawn = ImageConfig(solver="jumps", nfe=3, classes=(3, 7), guidance=guidance, n=5)
    (complete,) = sample(found, drawn)
    assert (complete.nfe, complete.passes) == (3, 3 * guidance)
    x = noise(5, 0, (1, 8, 8))
    field = GuidedField(found.field, torch.tensor([3, 7, 3, 7, 3]), guidance)
    for t, s in pairwise(found.field.path.clock(4)):
        with torch.no_grad():
            x = field.jump(t, s, x)
    assert np.abs(complete.images.astype(int) - to_pixels(x)).max() <= 1
    monkeypatch.setattr("flowviz.experiments.images.max_batch", lambda *shape: 2)
    (divided,) = sample(found, drawn)
    assert np.abs(complete.images.astype(int) - divided.images).max() <= 1
    assert divided.passes == complete.passes and not hasattr(ClassField(checkpoint()), "jump")
    guided = replace(found, guide=checkpoint())  # a velocity field cannot guide jumps
    with pytest.raises(ValueError, match="jumps needs a flow map"):
        list(sample(guided, replace(drawn, guidance=2.0)))


def test_adaptive_solver_reports_its_steps():
    (part,) = sample(OT, replace(FEW, solver="dopri5", tol=1e-2))
    assert part.nfe > 6 and part.passes == 2 * part.nfe
    assert part.step_times[0] == 0 and part.step_times[-1] == OT.field.path.t_max
    assert (np.diff(part.step_times) > 0).all()


def test_class_and_guidance_change_images_and_guidance_zero_ignores_the_class():
    plain = sample_all(OT, replace(FEW, classes=()))
    assert plain.labels.tolist() == [-1] * 4
    ignored = sample_all(OT, replace(FEW, guidance=0.0))
    assert np.array_equal(plain.images, ignored.images)
    strong = sample_all(OT, replace(FEW, guidance=4.0))
    assert not np.array_equal(sample_all(OT, FEW).images, strong.images)
    limited = sample_all(OT, replace(FEW, guidance=4.0, interval=(0.4, 1.0)))
    assert limited.passes == 6 and strong.passes == 8  # NFE 4 at t = 0, 0.25, 0.5 and 0.75
    assert not np.array_equal(limited.images, strong.images)


@pytest.mark.parametrize("classes", [(3, 7), ()])
def test_autoguidance_leads_away_from_another_checkpoint_of_the_same_class(classes):
    guide = checkpoint(seed=3)
    guided = replace(OT, guide=guide)
    at = {w: replace(FEW, guidance=w, classes=classes) for w in (0.0, 1.0, 2.5)}
    assert np.array_equal(sample_all(guided, at[1.0]).images, sample_all(OT, at[1.0]).images)
    assert np.array_equal(sample_all(guided, at[0.0]).images, sample_all(guide, at[1.0]).images)
    drawn = sample_all(guided, at[2.5])
    assert drawn.passes == 8 and sample_all(guided, at[1.0]).passes == 4
    alone = sample_all(replace(OT, guide=OT), at[2.5])  # v + 1.5 (v - v)
    same = sample_all(OT, at[1.0])
    assert np.abs(alone.images.astype(int) - same.images).max() <= 1
    assert not np.array_equal(drawn.images, same.images)
    y, x = torch.tensor([3, 7]) if classes else None, torch.randn(2, *OT.shape)
    t = torch.tensor(0.4, dtype=torch.float64)
    good, bad = (each.field(t, x, y) for each in (OT, guide))
    expected = good + 1.5 * (good - bad)
    torch.testing.assert_close(ClassField(guided, y, 2.5)(t, x), expected)
    torch.testing.assert_close(ClassField(guided, y, 2.5, (0.5, 1.0))(t, x), good)


def test_a_guiding_checkpoint_of_another_kind_is_refused():
    with pytest.raises(ValueError, match=r"must have the path.*got .*vp.* for .*ot"):
        replace(OT, guide=VP)
    with pytest.raises(ValueError, match=r"0 classes.*10 classes"):
        replace(OT, guide=checkpoint(classes=False))


@pytest.mark.parametrize("method", velocity_methods(fixed_only=True))
def test_nearest_nfe_is_valid_and_the_nearest_below(method):
    for expected in range(1, 30):
        nfe = nearest_nfe(method, expected)
        drawn = sample_all(OT, ImageConfig(solver=method, nfe=nfe, n=1)) if expected < 6 else None
        assert drawn is None or drawn.nfe == nfe
        assert nfe <= expected or nfe == nearest_nfe(method, 1)
        assert nearest_nfe(method, nfe) == nfe


@pytest.mark.parametrize("path", ["ot", "vp"])
def test_film_of_normal_data_has_the_predictions_of_the_closed_form(path):
    normal = checkpoint(path, gaussian=True)
    shown = film(normal, ImageConfig(nfe=40, n=2), frames=5)
    field = normal.field
    c = field.path.scheduler(torch.from_numpy(shown.times))
    gain = (c.alpha * field.std**2 / (c.alpha**2 * field.std**2 + c.sigma**2)).numpy()
    expected = ImageSet.to_unit(torch.from_numpy(shown.states)).numpy()
    mean = field.mean.numpy()
    alpha = c.alpha.numpy()[:, None, None, None, None]
    predicted = mean + gain[:, None, None, None, None] * (expected - alpha * mean)
    got = ImageSet.to_unit(torch.from_numpy(shown.predictions)).numpy()
    inside = (np.abs(expected) < 0.98) & (np.abs(predicted) < 0.98)  # not clipped
    assert inside.mean() > 0.3
    assert np.abs(got - predicted)[inside].max() < 0.02
    assert shown.noise[0] > 0.99 and shown.noise[-1] < 0.02
    assert (np.diff(shown.noise) < 0).all()
    assert shown.remaining[-1].max() < 0.02 < shown.remaining[0].min()
    assert shown.nfe == 40


def test_film_ends_in_the_sample():
    shown = film(OT, FEW, frames=3)
    assert np.array_equal(shown.states[-1], sample_all(OT, FEW, batch=4).images)
    with pytest.raises(ValueError, match="two frames"):
        film(OT, FEW, frames=1)


def test_film_of_a_flow_map_has_no_states_between_its_jumps():
    found = checkpoint(objective="distillation", start="teacher")
    settings = ImageConfig(solver="jumps", nfe=2, classes=(3,), guidance=1.0, n=2)
    shown = film(found, settings, frames=9)
    times = found.field.path.clock(3)
    assert np.allclose(shown.reached, np.repeat(times.numpy(), [4, 4, 1]), atol=1e-6)
    field, states = GuidedField(found.field, torch.tensor([3, 3]), 1.0), [noise(2, 0, (1, 8, 8))]
    for t, s in pairwise(times):
        with torch.no_grad():
            states.append(field.jump(t, s, states[-1]))
    expected = np.stack([to_pixels(each) for each in states]).repeat([4, 4, 1], axis=0)
    assert np.abs(shown.states.astype(int) - expected).max() <= 1
    assert len(np.unique(shown.noise)) == 3, "that of the state that is shown"
    assert (shown.remaining[4:8] == shown.remaining[4]).all()
    finer = film(found, settings, frames=31)  # one of its times is 1e-16 below that of the jump
    assert np.allclose(finer.reached, np.repeat(times.numpy(), [15, 15, 1]), atol=1e-6)
    euler = film(found, replace(settings, solver="euler"), frames=9)
    assert np.array_equal(euler.reached, euler.times)


def test_arc_keeps_length_and_ends():
    a, b = torch.eye(2, dtype=torch.float64)[:, None]
    (arc,) = spherical(a, b, torch.tensor([0.0, 1 / 3, 0.5, 1.0]))
    assert torch.allclose(arc[0], a[0]) and torch.allclose(arc[-1], b[0])
    assert torch.allclose(arc.norm(dim=1), torch.ones(4, dtype=torch.float64))
    assert arc[1, 0] == pytest.approx(math.cos(math.pi / 6))
    assert torch.allclose(spherical(a, a, torch.tensor([0.3]))[0, 0], a[0])


def test_interpolation_joins_the_samples_of_its_seeds():
    strip = interpolation(OT, FEW, to_seed=9, steps=3)
    assert strip.shape == (4, 3, 1, 8, 8)
    for column, seed in ((0, FEW.seed), (-1, 9)):
        ends = sample_all(OT, replace(FEW, seed=seed)).images.astype(int)
        assert np.abs(strip[:, column] - ends).max() <= 1


def test_all_classes_share_a_noise():
    table = all_classes(OT, replace(FEW, n=2))
    assert table.shape == (2, 10, 1, 8, 8)
    third = sample_all(OT, replace(FEW, n=2, classes=(3,))).images.astype(int)
    assert np.abs(table[:, 3] - third).max() <= 1


def test_straightness_of_normal_data_is_known_in_closed_form():
    normal = checkpoint("ot", gaussian=True)
    found = pixel_straightness(normal, ImageConfig(n=50), tol=1e-3)
    dims = math.prod(normal.shape)
    assert found.deviation == pytest.approx(dims * normal.field.std * (2 - math.pi / 2), rel=0.05)


def test_solve_can_be_cancelled():
    requests = iter([False, False, True])
    with pytest.raises(Stopped), stopping(lambda: next(requests)):
        sample_all(OT, FEW)


def test_counting_does_not_change_the_checkpoint():
    field = ClassField(OT, torch.tensor([1]), 2.0)
    x = torch.zeros((1, *OT.shape))
    with torch.no_grad():
        field(torch.tensor(0.5, dtype=torch.float64), x)
    assert (field.nfe, field.rows) == (1, 2)
    assert not any("Counted" in type(module).__name__ for module in OT.field.modules())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"nfe": 0}, "nfe must be in"),
        ({"n": 0}, "n must be in"),
        ({"guidance": -1.0}, "guidance must be in"),
        ({"interval": (0.6, 0.4)}, "must be two increasing times"),
        ({"tol": 2.0}, "tol must be in"),
        ({"solver": "dopri"}, "Unknown solver"),
        ({"grid": "even"}, "Unknown time grid"),
        ({"classes": (-1,)}, "class must be 0"),
    ],
)
def test_invalid_config_is_refused(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        ImageConfig(**changes)


def test_class_outside_the_network_is_refused():
    with pytest.raises(ValueError, match="0 to 9; got 10"):
        sample_all(OT, replace(FEW, classes=(10,)))
    plain = checkpoint(classes=False)
    with pytest.raises(ValueError, match="without classes"):
        sample_all(plain, FEW)
    with pytest.raises(ValueError, match="without classes"):
        all_classes(plain, FEW)
    assert sample_all(plain, replace(FEW, classes=())).passes == 4


def test_montage_frames_every_image():
    images = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 2, 2), np.uint8)
    sheet = montage(images, 2)
    assert sheet.shape == (7, 7, 3)
    assert sheet[1, 1, 0] == 0 and sheet[1, 4, 0] == 1 and sheet[4, 1, 0] == 2
    assert (sheet[0] == 255).all() and (sheet[4:6, 4:6] == 255).all()


def test_checkpoint_is_saved_and_loaded_in_half_precision(folder):
    assert set(find_images("field")) == {"tiny-ot"} and is_images("tiny-ot")
    found = load_images("tiny-ot")
    assert found.card.name == "tiny-ot" and found.card.classes == tuple("0123456789")
    for key, value in found.field.network.state_dict().items():
        assert torch.equal(value, OT.field.network.state_dict()[key].half().float())
    assert torch.equal(found.field.mean, OT.field.mean) and found.field.std == OT.field.std
    assert (folder / "tiny-ot.json").read_text() == replace(found.card, name="tiny-ot").to_json()
    assert [card.name for card in image_checkpoints()] == ["tiny-ot"]


def damage(content, card):
    """Files that must be refused, with the messages."""
    middle = len(content) // 2
    other = json.loads(card)
    yield content[:middle], "truncated"
    yield content[:-8] + bytes(8), "sha256"
    yield b"\x80\x04" + content, "never unpickles"
    yield b"", "not a safetensors file"
    for entry, value in (
        ("kind", "field?"),
        ("channels", -1),
        ("std", 0.0),
        ("path", "nowhere"),
        ("network", other["network"] | {"model_channels": 10**9}),
        ("network", other["network"] | {"model_channels": 8}),
        ("network", other["network"] | {"surprise": 1}),
        ("network", {}),
        ("mean", [0.0, 0.0]),
        ("format", "flowviz-2d"),
        ("version", 99),
    ):
        text = json.dumps(other | {entry: value})
        yield content, text, entry


def test_damaged_checkpoints_are_one_sentence(folder):
    path = folder / "tiny-ot.safetensors"
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    for case in damage(content, header["__metadata__"]["flowviz"]):
        if len(case) == 2:
            bad, sentence = case
        else:
            sentence = "inside tiny-ot|tiny-ot.safetensors"
            changed = header | {"__metadata__": {"flowviz": case[1]}}
            text = json.dumps(changed).encode()
            bad = len(text).to_bytes(8, "little") + text + content[8 + length :]
        path.write_bytes(bad)
        with pytest.raises(CheckpointError, match=sentence) as error:
            load_images("tiny-ot")
        assert "\n" not in str(error.value)
    errors = []
    assert image_checkpoints(errors.append) == [] and len(errors) == 1


def test_unknown_names_and_other_kinds_are_refused(folder):
    with pytest.raises(CheckpointError, match="Did you mean 'tiny-ot'"):
        load_images("tiny-o")
    with pytest.raises(CheckpointError, match="no file"):
        load_images(folder / "absent.safetensors")
    with pytest.raises(CheckpointError, match="not a classifier"):
        load_classifier("tiny-ot")
    assert not is_images("checkerboard-ot") and not is_images("nowhere")


def test_quality_belongs_to_its_weights(folder):
    assert read_quality("tiny-ot") == {}
    write_quality("tiny-ot", {"points": []})
    assert read_quality("tiny-ot")["points"] == []
    measured = read_quality("tiny-ot")["sha256"]
    other = checkpoint("ot", gaussian=True)
    save_images(folder / "tiny-ot", other.field.network, other.card)
    with pytest.raises(CheckpointError, match="other weights"):
        read_quality("tiny-ot")
    with pytest.raises(CheckpointError, match="was replaced by other weights"):
        write_quality("tiny-ot", {"points": [], "sha256": measured})


def test_run_and_snapshots_become_checkpoints(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FLOWVIZ_CHECKPOINTS", str(tmp_path))
    run, place = tmp_path / "run", tmp_path / "images"
    place.mkdir()
    *_, state = train_in_folder(config(images=64 * 3), run, DIGITS, grid_every=0)
    packed = run_checkpoint(run, DIGITS)
    for key, value in packed.field.network.state_dict().items():
        assert torch.equal(value, state.ema.network.state_dict()[key])
    assert packed.card.images == packed.card.planned == 192
    early = snapshot_checkpoint(run / "snapshot-050.safetensors", DIGITS)
    assert early.card.images == 128 and early.card.planned == 192
    assert main(["pack", str(run), "--snapshots", "--out", str(place / "d")]) == 0
    assert "0.00 M images" in capsys.readouterr().out
    assert {"d", "d-050", "d-100"} <= set(find_images())
    assert (place / "d.log.jsonl").read_bytes() == (run / "log.jsonl").read_bytes()
    assert main(["pack", str(run), "--out", str(place / "d-1.5M")]) == 0
    assert "d-1.5M" in find_images() and (place / "d-1.5M.log.jsonl").is_file()
    with pytest.raises(CheckpointError, match="no saved training run"):
        run_checkpoint(place)


def draw(capsys, *options):
    code = main(["sample", "tiny-ot", "--nfe", "4", *map(str, options)])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_command_draws_arrays_and_pictures(folder, tmp_path, capsys):
    out = tmp_path / "s.npy"
    code, printed = draw(capsys, "-n", 6, "--class", 3, "--guidance", 2, "--out", out)
    assert code == 0 and "NFE 4: network passes for each image 8" in printed
    images = np.load(out)
    expected = sample_all(load_images("tiny-ot"), ImageConfig(nfe=4, classes=(3,), n=6))
    assert np.array_equal(images, expected.images)
    assert draw(capsys, "-n", 12, "--class", "all", "--out", tmp_path / "s.png")[0] == 0
    with Image.open(tmp_path / "s.png") as picture:
        assert picture.size == (2 * (10 * 9 + 1), 2 * (2 * 9 + 1))
    assert draw(capsys, "-n", 4, "--class", "3", "7", "--out", tmp_path / "s.npz")[0] == 0
    with np.load(tmp_path / "s.npz") as file:
        assert file["labels"].tolist() == [3, 7, 3, 7] and file["images"].shape == (4, 1, 8, 8)
    main(["sample", "tiny-ot", "--nfe", "2", "--out", str(out)])
    assert np.load(out).shape == (64, 1, 8, 8)
    code, printed = draw(capsys, "-n", 2, "--guide", "tiny-ot", "--out", out)
    assert code == 0 and "NFE 4: network passes for each image 8" in printed


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--class", "cat"], "no class 'cat'"),
        (["--class", "11"], "0 to 9"),
        (["--guidance", "2"], "needs --class"),
        (["--solver", "dopri5"], "chooses its own steps"),
        (["--solver", "rk4", "--nfe", "6"], "cannot take exactly 6"),
        (["--out", "x.jpg"], "must end in .npy or .npz or .png"),
    ],
)
def test_command_refuses_in_one_sentence(folder, tmp_path, capsys, options, sentence):
    code, printed = draw(capsys, "-n", 2, "--out", tmp_path / "s.npy", *options)
    assert code == 2 and sentence in printed and printed.count("\n") == 1


def test_command_for_points_names_the_command_for_images(folder, tmp_path, capsys):
    assert main(["logprob", "tiny-ot", "p.npy", "--out", str(tmp_path / "l.npy")]) == 2
    assert "flowviz bpd" in capsys.readouterr().err
