"""Checkpoints of other projects by documented names, and files that must be refused."""

import argparse
import copy
import io
import json
import os
import pickle
import warnings
import zipfile
from dataclasses import replace

import pytest
import safetensors.torch
import torch

from flowviz.checkpoints import CheckpointError, foreign
from flowviz.checkpoints.foreign import (
    FORMATS,
    Assumptions,
    diffusers,
    foreign_files,
    is_foreign,
    load_any,
    load_foreign,
    load_foreign_bytes,
)
from flowviz.checkpoints.foreign.schedules import SCHEDULER
from flowviz.networks import DiscreteTime, UNet, UNetShape
from flowviz.schedulers import scheduler

SMALL = {"model_channels": 32, "num_res_blocks": 1, "channel_mult": (1, 2)}
SHAPES = {
    "torchcfm": UNetShape(**SMALL, attention_resolutions=(16,)),
    "flow_matching": UNetShape(
        **SMALL,
        attention_resolutions=(16,),
        use_scale_shift_norm=True,
        conv_resample=False,
        heads_first=False,
    ),
}


def network(shape, seed=0, **sizes):
    made = UNet(shape, generator=torch.Generator().manual_seed(seed), **sizes)
    generator = torch.Generator().manual_seed(seed + 1)
    for parameter in made.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1, generator=generator)
    return made.eval()


@pytest.fixture(scope="module")
def averages():
    return {name: network(shape) for name, shape in SHAPES.items()}


X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))


def assert_field_of(loaded, expected, *y):
    field = loaded.checkpoint.field
    assert not field.training and not any(p.requires_grad for p in field.parameters())
    field, expected = (copy.deepcopy(network).double() for network in (field, expected))
    t, x = torch.tensor([0.25, 0.75], dtype=torch.float64), X.double()
    with torch.no_grad():
        torch.testing.assert_close(field(t, x, *y), expected(t, x, *y), rtol=1e-9, atol=1e-9)


def saved_as(path, content):
    torch.save(content, path)
    return path


@pytest.mark.parametrize("wrapping", ["", "module.", "module._orig_mod."])
def test_torchcfm_file_gives_its_moving_average(tmp_path, averages, wrapping):
    average = averages["torchcfm"]
    weights = {wrapping + key: value for key, value in average.state_dict().items()}
    others = {key: value + 1 for key, value in weights.items()}
    content = {"net_model": others, "ema_model": weights, "sched": {}, "optim": {}, "step": 3}
    loaded = load_foreign(saved_as(tmp_path / "otcfm.pt", content))
    assert loaded.origin == "torchcfm" and loaded.checkpoint.card.path == "ot"
    assert loaded.checkpoint.field.std == pytest.approx(0.4993, abs=0.01), "of CIFAR-10's pixels"
    assert_field_of(loaded, average)


def test_flow_matching_file_gives_the_averages_in_the_order_of_the_parameters(tmp_path, averages):
    average = averages["flow_matching"]
    raw = network(SHAPES["flow_matching"], seed=7)
    # The order of names in a file must not change the weights.
    names = sorted(raw.state_dict(), reverse=True)
    weights = {f"model.{key}": raw.state_dict()[key] for key in names}
    weights |= {f"shadow_params.{i}": p for i, p in enumerate(average.parameters())}
    weights["num_updates"] = torch.tensor(9)
    options = argparse.Namespace(dataset="cifar10", use_ema=True)
    file = saved_as(tmp_path / "checkpoint.pth", {"model": weights, "epoch": 1, "args": options})
    loaded = load_foreign(file)
    assert loaded.origin == "flow_matching" and "shadow_params" in loaded.notes
    assert_field_of(loaded, average)
    bare = saved_as(tmp_path / "bare.pth", {"model": raw.state_dict(), "args": options})
    assert_field_of(load_foreign(bare), raw)


@pytest.mark.parametrize("changes", [{}, {"resblock_updown": True}])
def test_classes_with_a_null_class_are_kept(tmp_path, changes):
    shape = UNetShape(
        model_channels=64,
        num_res_blocks=1,
        channel_mult=(1, 2),
        attention_resolutions=(16,),
        num_head_channels=64 if changes else 0,
        use_scale_shift_norm=True,
        conv_resample=False,
        heads_first=False,
        **changes,
    )
    made = network(shape, num_classes=4)
    loaded = load_foreign(saved_as(tmp_path / "m.pth", {"model": made.state_dict()}))
    assert loaded.checkpoint.conditional and loaded.checkpoint.card.classes == tuple("0123")
    assert_field_of(loaded, made)
    assert_field_of(loaded, made, torch.tensor([1, 3]))


def test_bare_weights_are_read_from_both_formats_and_from_an_upload(tmp_path, averages):
    average = averages["torchcfm"]
    loaded = load_foreign(saved_as(tmp_path / "bare.pt", average.state_dict()))
    assert loaded.origin == "torchcfm"
    assert_field_of(loaded, average)
    file = tmp_path / "bare.safetensors"
    safetensors.torch.save_file(average.state_dict(), file)
    assert_field_of(load_any(file), average)
    assert_field_of(load_foreign_bytes(file.read_bytes(), file.name), average)
    content = (tmp_path / "bare.pt").read_bytes()
    assert_field_of(load_foreign_bytes(content, "bare.pt"), average)


def test_half_precision_is_read_as_float32(tmp_path, averages):
    average = averages["torchcfm"]
    half = {key: value.bfloat16() for key, value in average.state_dict().items()}
    loaded = load_foreign(saved_as(tmp_path / "half.pt", half))
    assert {p.dtype for p in loaded.checkpoint.field.parameters()} == {torch.float32}


def diffusers_names(shape):
    """The names that diffusers documents for a network of two levels with attention at level 2."""
    resnet = {
        "in_layers.0": "norm1",
        "in_layers.2": "conv1",
        "emb_layers.1": "time_emb_proj",
        "out_layers.0": "norm2",
        "out_layers.3": "conv2",
        "skip_connection": "conv_shortcut",
    }
    blocks = {
        "input_blocks.1.0": "down_blocks.0.resnets.0",
        "input_blocks.3.0": "down_blocks.1.resnets.0",
        "middle_block.0": "mid_block.resnets.0",
        "middle_block.2": "mid_block.resnets.1",
        **{f"output_blocks.{i}.0": f"up_blocks.{i // 2}.resnets.{i % 2}" for i in range(4)},
    }
    attentions = {
        "input_blocks.3.1": "down_blocks.1.attentions.0",
        "middle_block.1": "mid_block.attentions.0",
        "output_blocks.0.1": "up_blocks.0.attentions.0",
        "output_blocks.1.1": "up_blocks.0.attentions.1",
    }
    names = {
        "time_embed.0": "time_embedding.linear_1",
        "time_embed.2": "time_embedding.linear_2",
        "input_blocks.0.0": "conv_in",
        "input_blocks.2.0.op": "down_blocks.0.downsamplers.0.conv",
        "output_blocks.1.2.conv": "up_blocks.0.upsamplers.0.conv",
        "out.0": "conv_norm_out",
        "out.2": "conv_out",
    }
    for own, documented in blocks.items():
        names |= {f"{own}.{a}": f"{documented}.{b}" for a, b in resnet.items()}
    for own, documented in attentions.items():
        names |= {f"{own}.norm": f"{documented}.group_norm"}
    return names, attentions


DDPM = UNetShape(
    **SMALL,
    attention_resolutions=(16,),
    heads_first=False,
    pad_after=True,
    frequency_shift=1,
    eps=1e-6,
)
CONFIG = {
    "_class_name": "UNet2DModel",
    "sample_size": 32,
    "attention_head_dim": None,
    "block_out_channels": [32, 64],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "layers_per_block": 1,
    "norm_eps": 1e-6,
}


def ddpm_folder(folder, made, *, old=False, config=CONFIG, levels=None):
    """The network as a folder of diffusers, with its current names or those of old versions."""
    names, attentions = diffusers_names(DDPM)
    weights = {}
    projections = ("query", "key", "value") if old else ("to_q", "to_k", "to_v")
    for key, value in made.state_dict().items():
        module, _, end = key.rpartition(".")
        owner, _, last = module.rpartition(".")
        if owner in attentions and last == "qkv":
            for name, part in zip(projections, value.squeeze(-1).chunk(3), strict=True):
                weights[f"{attentions[owner]}.{name}.{end}"] = part.contiguous()
        elif owner in attentions and last == "proj_out":
            last = "proj_attn" if old else "to_out.0"
            weights[f"{attentions[owner]}.{last}.{end}"] = value.squeeze(-1)
        else:
            weights[f"{names[module]}.{end}"] = value
    cosines, sines = weights["time_embedding.linear_1.weight"].chunk(2, dim=1)
    weights["time_embedding.linear_1.weight"] = torch.cat([sines, cosines], dim=1)
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    safetensors.torch.save_file(weights, folder / "diffusion_pytorch_model.safetensors")
    if levels is not None:
        (folder / "scheduler_config.json").write_text(json.dumps(levels))
    return folder


@pytest.fixture(scope="module")
def ddpm():
    return network(DDPM)


@pytest.mark.parametrize("old", [False, True])
def test_diffusers_folder_gives_the_velocity_of_its_noise(tmp_path, ddpm, old):
    loaded = load_foreign(ddpm_folder(tmp_path / "ddpm", ddpm, old=old))
    field, path = loaded.checkpoint.field, scheduler("vp")
    assert loaded.origin == "diffusers" and loaded.checkpoint.card.path == "vp"
    assert "between the integers" in loaded.notes
    t = torch.tensor([0.3, 0.8], dtype=torch.float64)
    c = path(t)
    n = field.network.number(t)
    with torch.no_grad():
        noise = ddpm(n.float(), X)
        # u = (beta / 2) (x - noise / sigma), by the chain rule on the VP path.
        beta = 0.1 + (1 - t) * 19.9
        rate, sigma = (v.float()[:, None, None, None] for v in (beta / 2, c.sigma))
        torch.testing.assert_close(field(t, X), rate * (X - noise / sigma), rtol=1e-3, atol=1e-3)


def test_weights_have_exactly_one_format(tmp_path, ddpm, averages):
    files = [ddpm_folder(tmp_path / f"{old}", ddpm, old=old) for old in (False, True)]
    known = [("diffusers", safetensors.torch.load_file(*file.glob("*.safe*"))) for file in files]
    known += [(name, made.state_dict()) for name, made in averages.items()]
    for name, shape in SHAPES.items():
        bare = replace(shape, channel_mult=(1,), attention_resolutions=())
        known.append((name, network(bare).state_dict()))
        known.append((name, network(shape, num_classes=4).state_dict()))
    for name, weights in known:
        assert [key for key, each in FORMATS.items() if each.recognises(weights)] == [name]


def test_time_becomes_the_level_with_the_same_noise():
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    bar_alphas = torch.cumprod(1 - betas, 0)
    levels = DiscreteTime(torch.nn.Identity(), scheduler("vp"), bar_alphas)
    t = torch.linspace(0, levels.scheduler.t_max, 200, dtype=torch.float64)
    n = levels.number(t)
    assert n.max() <= 999 and n.min() == 0 and (n.diff() <= 0).all()
    inside = (n > 0) & (n < 999)
    low = n[inside].floor().long()
    share = n[inside] - low
    between = torch.lerp(bar_alphas.log()[low], bar_alphas.log()[low + 1], share)
    torch.testing.assert_close(torch.exp(between / 2), levels.scheduler(t[inside]).alpha)
    # The continuous path is the limit of the discrete one: n is nearly 1000 (1 - t) - 1.
    assert (n - (1000 * (1 - t) - 1)).abs().max() < 5
    with pytest.raises(ValueError, match="noise levels must be"):
        DiscreteTime(torch.nn.Identity(), scheduler("vp"), bar_alphas.flip(0))


@pytest.mark.parametrize(
    ("config", "levels", "sentence"),
    [
        ({"_class_name": "UNet2DConditionModel"}, None, "UNet2DModel alone"),
        ({"act_fn": "gelu"}, None, "act_fn = 'gelu'"),
        ({"block_out_channels": [32, 48]}, None, "no multiples of the first"),
        ({"block_out_channels": "wide"}, None, "config that flowviz cannot follow"),
        ({"up_block_types": ["UpBlock2D", "AttnUpBlock2D"]}, None, "down and up do not match"),
        ({"num_class_embeds": 10}, None, "num_class_embeds = 10"),
        ({"sample_size": [32, 16]}, None, "square images"),
        ({"sample_size": float("inf")}, None, "cannot follow"),
        ({"block_out_channels": [64, 128]}, None, "of shape"),
        ({}, {"prediction_type": "v_prediction"}, "predict the noise"),
        ({}, {"beta_schedule": "laplace"}, "beta_schedule is 'laplace'"),
        ({}, {"beta_end": 2.0}, "between 0 and 1"),
    ],
)
def test_diffusers_folder_with_unknown_entries_is_refused(
    tmp_path, ddpm, config, levels, sentence
):
    folder = ddpm_folder(tmp_path / "ddpm", ddpm, config=CONFIG | config, levels=levels)
    with pytest.raises(CheckpointError, match=sentence) as caught:
        load_foreign(folder)
    assert_one_sentence(caught)


def test_diffusers_folder_with_missing_or_damaged_parts_is_refused(tmp_path, ddpm):
    folder = ddpm_folder(tmp_path / "ddpm", ddpm)
    weights = folder / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    with pytest.raises(CheckpointError, match="truncated"):
        load_foreign(folder)
    weights.write_bytes(whole)
    (folder / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="not JSON"):
        load_foreign(folder)
    weights.unlink()
    with pytest.raises(CheckpointError, match="is not a folder of diffusers"):
        load_foreign(folder)
    with pytest.raises(CheckpointError, match="preserves the variance"):
        load_foreign(ddpm_folder(tmp_path / "again", ddpm), Assumptions(path="ot"))


WRONG = [None, "x", -1, 0, 3, 1000, 0.5, 1e300, float("inf"), True, [], [0.5, "x"], {}, {"x": 1}]


def is_loaded(load):
    """Whether a field loads and evaluates; otherwise one sentence with its name refuses it."""
    try:
        field = load().checkpoint.field
    except CheckpointError as error:
        text = str(error)
        assert "bad" in text and "\n" not in text and text.endswith(".") and len(text) < 400, text
        return False
    with torch.no_grad():
        assert field(torch.tensor(0.5), X[:1, :, :16, :16]).shape == (1, 3, 16, 16)
    return True


@pytest.mark.parametrize("entry", ["_class_name", *diffusers.MODEL])
def test_wrong_entry_of_a_diffusers_config_is_used_or_refused(tmp_path, ddpm, entry):
    folder = ddpm_folder(tmp_path / "bad", ddpm)
    for value in [*WRONG, "two\nlines", 10**400]:
        (folder / "config.json").write_text(json.dumps(CONFIG | {entry: value}))
        is_loaded(lambda: load_foreign(folder))


@pytest.mark.parametrize("entry", SCHEDULER)
def test_wrong_entry_of_a_diffusers_scheduler_is_used_or_refused(tmp_path, ddpm, entry):
    folder = ddpm_folder(tmp_path / "bad", ddpm)
    wrong = [*WRONG, "two\nlines", 10**400, "squaredcos_cap_v2", "scaled_linear", 0.9, 1e-20]
    wrong += [[0.1, 0.2], [0.1, 1e-20], [1e-20, 0.1], [0.9] * 1000, [[0.1, 0.2]], [0.1, True]]
    for value in wrong:
        (folder / "scheduler_config.json").write_text(json.dumps({entry: value}))
        is_loaded(lambda: load_foreign(folder))
    for text in ("", "{", "[]", "5", "[" * 10_000):
        (folder / "scheduler_config.json").write_text(text)
        assert not is_loaded(lambda: load_foreign(folder))


def test_wrong_weights_of_a_diffusers_folder_are_refused(tmp_path, ddpm):
    folder = ddpm_folder(tmp_path / "bad", ddpm)
    file = folder / "diffusion_pytorch_model.safetensors"
    weights = safetensors.torch.load_file(file)
    attention = "mid_block.attentions.0"
    names = ["conv_in.weight", "time_embedding.linear_1.weight", f"{attention}.to_q.weight"]
    for name in [*names, f"{attention}.to_out.0.weight"]:
        for wrong in invalid_tensors(weights[name]):
            changed = weights | {name: wrong} if wrong is not None else dict(weights)
            if wrong is None:
                del changed[name]
            safetensors.torch.save_file(changed, file)
            assert not is_loaded(lambda: load_foreign(folder))


def invalid_tensors(good):
    """Invalid tensors to replace a tensor of weights; None omits it."""
    wrong = torch.full_like(good, float("nan"))
    empty = [torch.zeros(0), torch.zeros(0, 5), torch.zeros(1, 0), torch.tensor(1.0)]
    bits = [good.to(kind) for kind in (torch.float8_e4m3fn, torch.int8, torch.bool)]
    return [None, wrong, good[None], good[:1].contiguous(), torch.zeros(3), *empty, *bits]


@pytest.mark.parametrize(
    "name",
    [
        *("time_embed.0.weight", "input_blocks.0.0.weight", "out.2.weight"),
        *("input_blocks.1.0.emb_layers.1.weight", "input_blocks.2.0.op.weight"),
        *("middle_block.0.out_layers.3.weight", "input_blocks.3.1.qkv.weight"),
    ],
)
@pytest.mark.parametrize("safe", [True, False])
def test_wrong_tensor_of_a_foreign_file_is_refused(tmp_path, averages, name, safe):
    weights = averages["torchcfm"].state_dict()
    file = tmp_path / ("bad.safetensors" if safe else "bad.pt")
    for wrong in invalid_tensors(weights[name]):
        changed = {key: value for key, value in weights.items() if key != name}
        if wrong is not None:
            changed[name] = wrong
        if safe:
            safetensors.torch.save_file(changed, file)
        else:
            torch.save({"ema_model": changed}, file)
        assert not is_loaded(lambda: load_foreign(file))
        is_foreign(file)


def test_unknown_names_and_kinds_are_refused(tmp_path, averages):
    weights = dict(averages["torchcfm"].state_dict())
    zero = torch.zeros(3)
    stage = {f"input_blocks.{i}.0.x": zero for i in ("x", "-1", "999999", "", "9" * 5000)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nested = torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])
    contents = [
        *({key: {0: zero}} for key in ("model", "ema_model")),
        *({key: {zero: zero}} for key in ("model", "ema_model")),
        *({key: {("module.", 1): zero, "module.a": zero}} for key in ("model", "ema_model")),
        *({key: value} for key in ("model", "ema_model") for value in ({}, [], None, 5, zero)),
        *({"ema_model": weights | {key: value}} for key, value in stage.items()),
        *({"ema_model": weights | {"x": value}} for value in (nested, torch.eye(3).to_sparse())),
        {"ema_model": weights | {"x\ny" * 1000: zero}},
        {
            "model": {f"model.{key}": value for key, value in weights.items()}
            | {"shadow_params.x": zero}
        },
        {"model": {"shadow_params.0": zero, 5: zero}},
        {"model": {"model.x": 5, "shadow_params.0": zero}},
        {"label_emb.weight": torch.zeros(10**6, 0)} | weights,
        {},
    ]
    for content in contents:
        file = saved_as(tmp_path / "bad.pt", content)
        assert not is_loaded(lambda file=file: load_foreign(file))
    file = saved_as(tmp_path / "bad.pt", {"ema_model": weights})
    for size in (0, -2, 1, 31):
        assert not is_loaded(lambda size=size: load_foreign(file, Assumptions(size=size)))


def test_large_file_is_refused_before_it_is_read(tmp_path, monkeypatch, ddpm):
    """Sparse files of a terabyte, which cannot be read."""
    folder = ddpm_folder(tmp_path / "bad", ddpm)
    for place in (
        folder / "diffusion_pytorch_model.safetensors",
        tmp_path / "bad.pt",
        tmp_path / "bad.safetensors",
    ):
        with place.open("wb") as file:
            file.truncate(2**40)
        with pytest.raises(
            CheckpointError, match=r"bad.* has 1024 GB; it must have at most 8"
        ) as caught:
            load_foreign(folder if place.parent == folder else place)
        assert_one_sentence(caught)


def assert_one_sentence(caught):
    text = str(caught.value)
    assert "\n" not in text and text.endswith(".") and len(text) < 400


class Attack:
    """Creates a file when it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (os.system, (f"touch {self.target}",))


def attacks(target, weights):
    """Files, by name, that run code when they are unpickled."""
    zipped, nested, script = io.BytesIO(), io.BytesIO(), io.BytesIO()
    torch.save({"ema_model": Attack(target)}, zipped)
    torch.save({"ema_model": weights, "optim": {"state": [Attack(target)]}}, nested)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), script)
    return {
        "zipped.pt": zipped.getvalue(),
        "nested.pt": nested.getvalue(),
        "bare.pkl": pickle.dumps({"ema_model": Attack(target)}),
        "legacy.pt": pickle.dumps(Attack(target), protocol=2),
        "script.pt": script.getvalue(),
    }


def test_attack_runs_when_it_is_unpickled(tmp_path):
    """The tests below would notice this file."""
    pickle.loads(pickle.dumps(Attack(tmp_path / "made")))
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize("name", ["zipped.pt", "nested.pt", "bare.pkl", "legacy.pt", "script.pt"])
def test_file_that_would_run_code_is_refused_and_nothing_is_executed(tmp_path, averages, name):
    target = tmp_path / "made"
    content = attacks(target, averages["torchcfm"].state_dict())[name]
    file = tmp_path / name
    file.write_bytes(content)
    for load in (
        lambda: load_foreign(file),
        lambda: load_any(file),
        lambda: load_foreign_bytes(content, name),
    ):
        with pytest.raises(CheckpointError, match=r"code|unpickles") as caught:
            load()
        assert_one_sentence(caught)
    assert not target.exists()
    assert file.read_bytes() == content


def test_corrupt_and_truncated_files_are_refused(tmp_path, averages):
    file = saved_as(tmp_path / "whole.pt", {"ema_model": averages["torchcfm"].state_dict()})
    whole = file.read_bytes()
    names = zipfile.ZipFile(file).namelist()
    inside = whole.index(b"ema_model")
    damaged = {
        "empty": b"",
        "text": b"no weights at all",
        "cut at the end": whole[:-1000],
        "cut at the start": whole[1000:],
        "half": whole[: len(whole) // 2],
        "no keys": whole[:inside] + bytes(200) + whole[inside + 200 :],
    }
    assert any(name.endswith("data.pkl") for name in names)
    for what, content in damaged.items():
        file.write_bytes(content)
        for load in (load_foreign, lambda f: load_foreign_bytes(f.read_bytes(), f.name)):
            with pytest.raises(CheckpointError) as caught:
                load(file)
            assert_one_sentence(caught), what
    packed = tmp_path / "packed.pt"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10**6))
    with pytest.raises(CheckpointError, match="is compressed"):
        load_foreign(packed)


@pytest.mark.parametrize("seed", range(16))
def test_flipped_bytes_give_a_field_or_one_sentence(tmp_path, averages, seed):
    """Flips bytes in the names and numbers of the archive."""
    buffer = io.BytesIO()
    torch.save({"ema_model": averages["torchcfm"].state_dict()}, buffer)
    content = bytearray(buffer.getvalue())
    end = content.index(b"data/0") if b"data/0" in content else 20_000
    generator = torch.Generator().manual_seed(seed)
    for place in torch.randint(60, min(end, 20_000), (3,), generator=generator).tolist():
        content[place] ^= 1 << (seed % 8)
    try:
        load_foreign_bytes(bytes(content), "flipped.pt")
    except CheckpointError as error:
        assert "\n" not in str(error)


def tampered(weights, **changes):
    return {"ema_model": weights | changes}


def test_weights_that_do_not_fit_are_refused(tmp_path, averages):
    weights = dict(averages["torchcfm"].state_dict())
    less = dict(weights)
    del less["middle_block.0.in_layers.2.bias"]
    narrow = weights["out.2.weight"][:, :7].contiguous()
    cases = [
        (tampered(weights, extra=torch.zeros(3)), "unknown tensor 'extra'"),
        ({"ema_model": less}, r"lacks 'middle_block\.0\.in_layers\.2\.bias'"),
        (tampered(weights, **{"out.2.weight": narrow}), "of shape"),
        (tampered(weights, **{"out.2.bias": torch.tensor([0.0, float("nan"), 0.0])}), "finite"),
        (tampered(weights, **{"out.2.bias": torch.zeros(3).long()}), "not real numbers"),
        (tampered(weights, **{"out.2.bias": [0.0, 0.0, 0.0]}), r"lacks 'out\.2\.bias'"),
        (tampered(weights, **{"out.2.bias": torch.eye(3).to_sparse()}), "not a plain tensor"),
        (tampered(weights, **{"label_emb.weight": torch.zeros(10, 128)}), "no null class"),
        ({"ema_model": {"layer.weight": torch.zeros(3)}}, "of no known format"),
        ({"model": {"shadow_params.0": torch.zeros(3)}}, "by number alone"),
        ({"step": 3}, r"of no known format.*it has 'step'.*state_dict"),
        ([1, 2, 3], "holds no weights by name"),
        # A tensor with one number in the file and a shape of terabytes.
        (
            tampered(weights, **{"time_embed.0.weight": torch.zeros(1).expand(10**6, 10**6)}),
            "claims more weights than it holds",
        ),
    ]
    for content, sentence in cases:
        with pytest.raises(CheckpointError, match=sentence) as caught:
            load_foreign(saved_as(tmp_path / "bad.pt", content))
        assert_one_sentence(caught)


def test_upload_has_a_limit(monkeypatch):
    monkeypatch.setattr(foreign, "MAX_UPLOAD", 2**20)
    with pytest.raises(
        CheckpointError, match=r"more than the 1 MB of an upload.*FLOWVIZ_CHECKPOINTS"
    ):
        load_foreign_bytes(bytes(2**20 + 1), "large.pt")


def test_files_are_found_by_name_in_the_checkpoint_folders(tmp_path, monkeypatch, averages, ddpm):
    monkeypatch.setenv("FLOWVIZ_CHECKPOINTS", str(tmp_path))
    average = averages["torchcfm"]
    saved_as(tmp_path / "otcfm.pt", {"ema_model": average.state_dict()})
    safetensors.torch.save_file(average.state_dict(), tmp_path / "bare.safetensors")
    ddpm_folder(tmp_path / "ddpm", ddpm)
    (tmp_path / "readme.txt").write_text("")
    (tmp_path / "other.safetensors").write_bytes(safetensors.torch.save({"a": torch.zeros(1)}))
    assert set(foreign_files()) == {"otcfm.pt", "bare.safetensors", "ddpm"}
    assert is_foreign("ddpm") and is_foreign(tmp_path / "bare.safetensors")
    assert not is_foreign("checkerboard-ot") and not is_foreign(tmp_path / "other.safetensors")
    assert_field_of(load_any("otcfm.pt"), average)
    with pytest.raises(CheckpointError, match=r"Did you mean 'otcfm\.pt'"):
        load_foreign("otcfn.pt")


def test_a_long_name_of_a_file_keeps_both_its_ends():
    """Names of files of one training differ in the number of steps."""
    name = f"{'training-of-a-network-' * 4}step-10000.pt"
    with pytest.raises(CheckpointError) as caught:
        load_foreign_bytes(b"nothing", name)
    shown = str(caught.value).split()[0]
    assert shown.startswith("training") and shown.endswith("step-10000.pt") and len(shown) <= 60
