"""Weights that are taken from a foreign file or folder, the message, and options."""

import argparse
import collections
import datetime
import enum
import io
import json
import pathlib
from dataclasses import fields

import numpy as np
import pytest
import safetensors.torch
import torch
from test_foreign import CONFIG, DDPM, SMALL, ddpm_folder, network

from flowviz.checkpoints import CheckpointError
from flowviz.checkpoints.foreign import FORMATS, Assumptions, Format, Model, load_any, load_foreign
from flowviz.checkpoints.foreign.format import fill
from flowviz.cli.images import ASSUMPTIONS
from flowviz.networks import UNet, UNetShape
from flowviz.schedulers import scheduler

SHAPE = UNetShape(model_channels=32, num_res_blocks=1, channel_mult=(1,), attention_resolutions=())
X = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
T = torch.tensor(0.3)


@pytest.fixture(scope="module")
def raw():
    return network(SHAPE, seed=1)


@pytest.fixture(scope="module")
def average():
    return network(SHAPE, seed=5)


def state(made, prefix=""):
    return {prefix + key: value for key, value in made.state_dict().items()}


def read(tmp_path, content, **options):
    file = tmp_path / "file.pt"
    torch.save(content, file)
    return load_foreign(file, Assumptions(**options))


def is_of(loaded, expected):
    with torch.no_grad():
        return torch.allclose(loaded.checkpoint.field(T, X), expected(T, X), rtol=1e-4, atol=1e-4)


def averaged_model(made):
    copy = torch.optim.swa_utils.AveragedModel(made)
    return copy.state_dict()


LAYOUTS = {
    "ema": lambda r, a: {"model": state(r), "ema": state(a)},
    "model_ema": lambda r, a: {"model": state(r), "model_ema": state(a)},
    "ema.ema_model": lambda r, a: {
        "model": state(r),
        "ema": {"initted": torch.tensor(True), "step": torch.tensor(5)}
        | state(r, "online_model.")
        | state(a, "ema_model."),
    },
    "ema.module": lambda r, a: {"state_dict": state(r), "ema": {"module": state(a)}},
    "state_dict.ema_net": lambda r, a: {"state_dict": state(r, "net.") | state(a, "ema_net.")},
    "ema_model": lambda r, a: {"net_model": state(r), "ema_model": state(a, "module.")},
    "ema.shadow_params": lambda r, a: {
        "model": state(r),
        "ema": {"decay": 0.999, "shadow_params": list(a.parameters())},
    },
    "averaged.module": lambda r, a: {"raw": state(r), "averaged": averaged_model(a)},
    "swa": lambda r, a: {"other": state(r), "swa": state(a, "_orig_mod.")},
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_moving_average_is_taken_and_stated(tmp_path, raw, average, name):
    loaded = read(tmp_path, LAYOUTS[name](raw, average))
    assert is_of(loaded, average) and not is_of(loaded, raw)
    assert f"the moving average {name}" in loaded.notes and "left out" in loaded.notes


@pytest.mark.parametrize(
    "wrap",
    [
        lambda r: state(r),
        lambda r: {"model_state_dict": state(r), "epoch": 3},
        lambda r: {"state_dict": state(r, "model."), "hyper_parameters": {}},
        lambda r: state(r, "net."),
        lambda r: state(r, "module._orig_mod."),
        lambda r: averaged_model(r),
        lambda r: {"trainer": {"model": state(r)}},
    ],
)
def test_only_set_is_taken_under_any_prefix(tmp_path, raw, wrap):
    loaded = read(tmp_path, wrap(raw))
    assert is_of(loaded, raw)
    assert ("not known" in loaded.notes) == ("moving average module" not in loaded.notes)


def test_two_sets_without_a_known_average_are_refused_with_both_names(tmp_path, raw, average):
    content = {"model": state(raw), "best": state(average)}
    with pytest.raises(CheckpointError, match=r"--weights NAME: best, model") as caught:
        read(tmp_path, content)
    assert len(str(caught.value)) < 300
    assert is_of(read(tmp_path, content, weights="best"), average)
    chosen = read(tmp_path, content, weights="model")
    assert is_of(chosen, raw) and "model, as chosen" in chosen.notes
    with pytest.raises(CheckpointError, match=r"no weights 'modle'\. Did you mean 'model'"):
        read(tmp_path, content, weights="modle")
    both = {"ema_0.999": state(raw), "ema_0.9999": state(average)}
    with pytest.raises(CheckpointError, match=r"ema_0\.999, ema_0\.9999"):
        read(tmp_path, both)


def test_average_whose_weights_do_not_match_is_an_error(tmp_path, raw):
    for shadow in ([torch.zeros(3)], [5], list(raw.parameters())[1:]):
        with pytest.raises(CheckpointError, match=r"average|shadow_params"):
            read(tmp_path, {"model": state(raw), "ema": {"shadow_params": shadow}})


class Colour(enum.Enum):
    RED = 1


class Config:
    """A class of a project that is not installed."""

    def __init__(self):
        self.lr = 1e-4


HARMLESS = {
    "path": pathlib.Path("/data/x"),
    "numpy scalar": np.float64(3.5),
    "numpy array": np.arange(10),
    "defaultdict": collections.defaultdict(list, {"a": [1]}),
    "OrderedDict": collections.OrderedDict(a=1),
    "Counter": collections.Counter("abc"),
    "Namespace": argparse.Namespace(output_dir=pathlib.PurePosixPath("x"), lr=1e-4),
    "enum": Colour.RED,
    "datetime": datetime.datetime(2024, 1, 1),
    "timedelta": datetime.timedelta(1),
    "Size": torch.Size([1, 2]),
    "dtype": torch.float16,
    "device": torch.device("cpu"),
    "set": {1, 2},
    "frozenset": frozenset({1}),
    "complex": 1 + 2j,
    "bytes": b"abc",
    "large": 10**300,
    "config": Config(),
    "keys": {1: 2, (1, 2): 3, None: 4, b"x": 5},
    "generator": torch.Generator().get_state(),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_object_is_skipped_in_every_container(tmp_path, raw, name):
    value = HARMLESS[name]
    content = {
        "model": state(raw) | {"_extra": value} if not torch.is_tensor(value) else state(raw),
        "args": value,
        "list": [value, {"deeper": (value, [value])}],
        "optimizer": {"state": {0: {"x": value}}, "param_groups": [value]},
    }
    assert is_of(read(tmp_path, content), raw)
    torch.save(content, tmp_path / "old.pt", pickle_protocol=4)
    assert is_of(load_foreign(tmp_path / "old.pt"), raw)


def test_attributes_and_kinds_of_tensors_are_read(tmp_path, raw):
    """Parameters, views, half precision, channels-last and shared storage."""
    weights = state(raw)
    special = {
        "input_blocks.0.0.weight": weights["input_blocks.0.0.weight"].contiguous(
            memory_format=torch.channels_last
        ),
        "out.2.bias": torch.nn.Parameter(torch.cat([torch.ones(5), weights["out.2.bias"]])[5:]),
        "out.0.weight": torch.stack([weights["out.0.weight"]] * 2, dim=1)[:, 1],
    }
    assert is_of(read(tmp_path, {"model": weights | special}), raw)


# Folders


def accelerate(folder, **files):
    folder.mkdir()
    for name, content in files.items():
        path = folder / name.replace("__", ".")
        if path.suffix == ".safetensors":
            safetensors.torch.save_file(content, path)
        else:
            torch.save(content, path)
    return folder


def test_folders_of_accelerate_are_read(tmp_path, raw, average):
    whole = accelerate(tmp_path / "a", model__safetensors=state(raw), optimizer__bin={"x": 1})
    assert is_of(load_any(whole), raw)
    assert is_of(load_any(accelerate(tmp_path / "b", pytorch_model__bin=state(raw))), raw)
    half = {key: value.half() for key, value in state(average).items()}
    variants = {"model__fp16__safetensors": half, "model__safetensors": state(raw)}
    assert is_of(load_any(accelerate(tmp_path / "c", **variants)), raw)
    emas = accelerate(
        tmp_path / "d", model__ema__safetensors=state(average), model__safetensors=state(raw)
    )
    assert is_of(load_any(emas), average)
    two = accelerate(
        tmp_path / "e", model__safetensors=state(raw), model_1__safetensors=state(average)
    )
    with pytest.raises(CheckpointError, match="--weights NAME: model, model_1"):
        load_any(two)
    assert is_of(load_any(two, Assumptions(weights="model_1")), average)


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_shards_are_read_and_a_missing_or_foreign_one_is_refused(tmp_path, raw, kind):
    folder = tmp_path / "sharded"
    names = list(state(raw))
    parts = {f"model-0000{i + 1}-of-00002.{kind}": names[i::2] for i in range(2)}
    folder.mkdir()
    for file, keys in parts.items():
        content = {key: state(raw)[key] for key in keys}
        if kind == "bin":
            torch.save(content, folder / file)
        else:
            safetensors.torch.save_file(content, folder / file)
    listed = {key: file for file, keys in parts.items() for key in keys}
    index = folder / f"model.{kind}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": listed}))
    assert is_of(load_foreign(folder), raw)
    (folder / next(iter(parts))).unlink()
    with pytest.raises(CheckpointError, match="lacks its shard"):
        load_foreign(folder)
    index.write_text(json.dumps({"weight_map": {"x": "../../secret.bin"}}))
    with pytest.raises(CheckpointError, match="no file name"):
        load_foreign(folder)


def test_average_of_a_diffusers_folder_is_taken(tmp_path):
    raw, average = network(DDPM), network(DDPM, seed=9)
    pipeline = tmp_path / "pipeline"
    pipeline.mkdir()
    ddpm_folder(pipeline / "unet", raw)
    ddpm_folder(pipeline / "unet_ema", average, config=CONFIG | {"decay": 0.9999, "power": 0.75})
    loaded = load_foreign(pipeline)
    assert "the moving average unet_ema (left out: unet)" in loaded.notes
    expected = load_foreign(ddpm_folder(tmp_path / "alone", average))
    assert is_of(loaded, expected.checkpoint.field)
    chosen = load_foreign(pipeline, Assumptions(weights="unet"))
    assert is_of(chosen, load_foreign(ddpm_folder(tmp_path / "other", raw)).checkpoint.field)


# Schedulers


@pytest.fixture(scope="module")
def ddpm():
    return network(DDPM)


def with_scheduler(folder, made, **entries):
    return ddpm_folder(folder, made, levels=entries)


Y = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_matching_scheduler_gives_the_velocity_on_ot(tmp_path, ddpm, shift):
    """diffusers: x = (1 - s) data + s noise, timestep 1000 s, prediction noise - data."""
    kind = "FlowMatchEulerDiscreteScheduler"
    loaded = load_foreign(with_scheduler(tmp_path / "a", ddpm, _class_name=kind, shift=shift))
    assert loaded.checkpoint.card.path == "ot" and loaded.checkpoint.card.objective == "flow"
    assert ("shift of 3" in loaded.notes) == (shift == 3)
    with torch.no_grad():
        expected = -ddpm(torch.tensor(700.0), Y)
        torch.testing.assert_close(loaded.checkpoint.field(T, Y), expected, rtol=1e-4, atol=1e-4)


def test_exploding_scheduler_gives_the_velocity_of_its_score(tmp_path, ddpm):
    folder = with_scheduler(
        tmp_path / "a", ddpm, _class_name="ScoreSdeVeScheduler", sigma_min=0.01, sigma_max=50.0
    )
    loaded = load_foreign(folder)
    assert loaded.checkpoint.card.path == "ve:sigma_min=0.01,sigma_max=50"
    c = scheduler(loaded.checkpoint.card.path)(T.double())
    with torch.no_grad():
        # dx = -sigma sigma' score, as the probability flow of Song et al. 2021, eq. 13.
        score = ddpm(c.sigma.float(), Y)
        expected = -(c.sigma * c.d_sigma).float() * score
        torch.testing.assert_close(loaded.checkpoint.field(T, Y), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "kind", ["EDMEulerScheduler", "CosineDPMSolverMultistepScheduler", "MyScheduler", 5, None]
)
def test_unknown_scheduler_is_refused_by_its_name(tmp_path, ddpm, kind):
    folder = with_scheduler(tmp_path / "a", ddpm, _class_name=kind)
    with pytest.raises(CheckpointError, match=f"scheduler {kind!r}, which .* not support"):
        load_foreign(folder)
    flow = load_foreign(folder, Assumptions(predicts="flow"))
    assert flow.checkpoint.card.path == "ot" and "predicts = flow" in flow.notes


def test_scheduler_class_of_the_pipeline_is_used(tmp_path, ddpm):
    pipeline = tmp_path / "pipeline"
    pipeline.mkdir()
    ddpm_folder(pipeline / "unet", ddpm)
    index = {"_class_name": "P", "unet": ["diffusers", "UNet2DModel"], "safe": [None, None]}
    place = pipeline / "model_index.json"
    place.write_text(json.dumps(index | {"scheduler": ["diffusers", "FlowMatchLCMScheduler"]}))
    assert load_foreign(pipeline).checkpoint.card.path == "ot"
    place.write_text(json.dumps(index | {"scheduler": ["diffusers", "Other"]}))
    with pytest.raises(CheckpointError, match="scheduler 'Other'"):
        load_foreign(pipeline)
    place.write_text(json.dumps(index | {"text_encoder": ["transformers", "CLIP"]}))
    with pytest.raises(CheckpointError, match="part 'text_encoder' of class 'CLIP'"):
        load_foreign(pipeline)


@pytest.mark.parametrize("part", ["vae", "vqvae"])
@pytest.mark.parametrize("inside", [True, False])
def test_latent_models_are_refused(tmp_path, ddpm, part, inside):
    pipeline = tmp_path / "pipeline"
    pipeline.mkdir()
    ddpm_folder(pipeline / "unet", ddpm)
    if inside:
        (pipeline / part).mkdir()
    else:
        entries = {part: ["diffusers", "VQModel"]}
        (pipeline / "model_index.json").write_text(json.dumps(entries))
    for place in (pipeline, pipeline / "unet"):
        with pytest.raises(CheckpointError, match=f"latent model.*{part} decodes"):
            load_foreign(place)


def test_size_is_a_number_a_pair_or_missing(tmp_path, ddpm):
    for given, expected in ((16, 16), ([16, 16], 16), (None, 32)):
        folder = ddpm_folder(tmp_path / "a", ddpm, config=CONFIG | {"sample_size": given})
        loaded = load_foreign(folder)
        assert loaded.checkpoint.card.size == expected
        assert ("Size assumed: 32 x 32" in loaded.notes) == (given is None)
        assert load_foreign(folder, Assumptions(size=64)).checkpoint.card.size == 64


def test_unknown_entry_of_a_config_is_refused(tmp_path, ddpm):
    folder = ddpm_folder(tmp_path / "a", ddpm, config=CONFIG | {"num_heads_new": 3})
    with pytest.raises(CheckpointError, match="entry 'num_heads_new'"):
        load_foreign(folder)
    safetensors.torch.save_file(
        safetensors.torch.load_file(folder / "diffusion_pytorch_model.safetensors"),
        tmp_path / "alone.safetensors",
    )
    with pytest.raises(CheckpointError, match="without their config"):
        load_foreign(tmp_path / "alone.safetensors")


# Options


def test_images_of_one_channel_keep_their_size(tmp_path):
    """torchcfm's MNIST example: 1 x 28 x 28, three levels."""
    shape = UNetShape(**SMALL | {"channel_mult": (1, 2, 2)}, attention_resolutions=(28,))
    made = network(shape, channels=1, size=28)
    loaded = read(tmp_path, {"ema_model": state(made)})
    assert loaded.checkpoint.shape == (1, 28, 28)
    assert loaded.checkpoint.field.network.shape == shape
    assert read(tmp_path, {"ema_model": state(made)}, size=32).checkpoint.shape == (1, 32, 32)


def test_options_correct_assumptions(tmp_path, raw):
    content = {"model": state(raw)}
    x = X.double()
    with torch.no_grad():
        reversed_ = read(tmp_path, content, time_reversed=True).checkpoint.field.double()
        raw64 = network(SHAPE, seed=1).double()
        torch.testing.assert_close(reversed_(T.double(), x), -raw64(1 - T.double(), x))
        vp = read(tmp_path, content, path="vp", predicts="noise").checkpoint
        c = scheduler("vp")(T.double())
        noise = raw(T, X)
        expected = (0.1 + 0.7 * 19.9) / 2 * (X - noise / c.sigma)
        torch.testing.assert_close(vp.field(T, X), expected.float(), rtol=1e-3, atol=1e-3)
    assert vp.card.objective == "noise"
    with pytest.raises(CheckpointError, match="needs a path that does not start at alpha = 0"):
        read(tmp_path, content, predicts="noise")
    with pytest.raises(ValueError, match="Unknown objective 'speed'"):
        Assumptions(predicts="speed")
    with pytest.raises(ValueError, match="Unknown path 'oat'"):
        Assumptions(path="oat")
    with pytest.raises(CheckpointError, match=r"leave out --weights"):
        load_any("cifar10-ot", Assumptions(weights="x"))


def test_command_line_has_an_option_for_each_assumption():
    assert list(ASSUMPTIONS) == [each.name for each in fields(Assumptions)]


def test_a_format_is_one_entry(tmp_path, monkeypatch):
    """A fourth format that the loader and messages include without another edit."""

    def read_other(found, assume):
        weights = {key.removeprefix("other_"): value for key, value in found.weights.items()}
        made = fill(SHAPE, weights, found.source, channels=3, size=8)
        return Model(made, SHAPE, 3, 8, "ot", "flow", "Read by the fourth format.")

    recognises = lambda weights: "other_out.2.weight" in weights  # noqa: E731
    made = UNet(SHAPE, size=8)
    with pytest.raises(CheckpointError, match="no known format"):
        read(tmp_path, {"model": state(made, "other_")})
    monkeypatch.setitem(FORMATS, "other", Format("the fourth format", recognises, read_other))
    loaded = read(tmp_path, {"model": state(made, "other_")})
    assert loaded.origin == "other" and "fourth format" in loaded.notes


def test_error_names_the_content_and_the_remedy(tmp_path):
    buffer = io.BytesIO()
    torch.save(Config(), buffer)
    file = tmp_path / "model.pt"
    file.write_bytes(buffer.getvalue())
    with pytest.raises(CheckpointError, match=r"Config.*Save model\.state_dict\(\) alone"):
        load_foreign(file)
    with pytest.raises(CheckpointError, match=r"has 'encoder'.*Save model\.state_dict\(\) alone"):
        read(tmp_path, {"encoder": {"w": torch.zeros(2)}})
