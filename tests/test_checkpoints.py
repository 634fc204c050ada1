"""Checkpoints: saved fields are loaded unchanged, damaged files are refused in one sentence."""

import json
import os
import pickle
import zipfile
from dataclasses import asdict, replace

import pytest
import safetensors.torch
import torch

from flowviz import checkpoints
from flowviz.checkpoints import Card, CheckpointError
from flowviz.checkpoints.container import digest
from flowviz.datasets import dataset
from flowviz.objectives import OBJECTIVES
from flowviz.schedulers import SCHEDULERS
from flowviz.training import TrainConfig, build_field, config_class, train

TINY = {"width": 16, "depth": 2, "octaves": 2, "batch": 32, "steps": 20}
PAIRS = [
    (path, objective)
    for path in SCHEDULERS
    for objective in OBJECTIVES
    if not OBJECTIVES[objective].needs_alpha or path in ("vp", "ve")
]


@pytest.fixture(scope="module")
def board():
    return dataset("checkerboard")


@pytest.fixture(scope="module")
def trained(board):
    config = TrainConfig(**TINY)
    *_, state = train(config, board)
    card = checkpoints.describe("tiny", asdict(config), board, steps=20, seconds=0.5)
    return state.ema, card


@pytest.fixture
def saved(trained, tmp_path):
    return checkpoints.save(tmp_path / "tiny", *trained)


def at_points(field, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    x = 3 * torch.randn(64, 2, generator=generator, dtype=dtype)
    return torch.stack([field(torch.tensor(t), x) for t in (0.0, 0.3, 0.9)]).detach()


@pytest.mark.parametrize(("path", "objective"), PAIRS)
@pytest.mark.parametrize("preconditioned", [True, False])
def test_loaded_field_is_bitwise_equal(board, tmp_path, path, objective, preconditioned):
    preconditioned = preconditioned or OBJECTIVES[objective].two_times
    config = TrainConfig(
        path=path, objective=objective, preconditioned=preconditioned, **TINY | {"octaves": 3}
    )
    field = build_field(config, board, torch.Generator().manual_seed(3))
    torch.nn.init.normal_(field.network.head.weight, generator=torch.Generator().manual_seed(4))
    card = checkpoints.describe("any", asdict(config), board, steps=7, seconds=1.25)
    file = checkpoints.save(tmp_path / "any", field, card, precision="float32")
    loaded = checkpoints.load(file)
    torch.testing.assert_close(at_points(loaded.field), at_points(field), rtol=0, atol=0)
    assert loaded.card == replace(card, sha256=loaded.card.sha256)
    assert TrainConfig.from_dict(loaded.card.training) == config
    assert not loaded.field.training
    assert not any(p.requires_grad for p in loaded.field.parameters())


def test_path_parameters_are_kept(board, tmp_path):
    config = TrainConfig(path="vp:beta_max=10", **TINY)
    card = checkpoints.describe("vp", asdict(config), board, steps=0, seconds=0.0)
    file = checkpoints.save(tmp_path / "vp", build_field(config, board), card)
    assert checkpoints.load(file).field.path.scheduler.beta_max == 10


def test_float16_halves_the_file_and_moves_the_field_little(trained, tmp_path):
    field, card = trained
    full = checkpoints.save(tmp_path / "full", field, card, precision="float32")
    half = checkpoints.save(tmp_path / "half", field, card)
    assert half.stat().st_size < 0.75 * full.stat().st_size  # the header is not halved
    loaded = checkpoints.load(half).field
    assert all(p.dtype == torch.float32 for p in loaded.parameters())
    difference = at_points(loaded) - at_points(field)
    assert 0 < difference.abs().max() < 0.01 * at_points(field).abs().max()


def test_float16_refuses_weights_that_it_cannot_represent(trained, tmp_path):
    _, card = trained
    config = TrainConfig(**TINY)
    large = build_field(config, dataset("checkerboard"))
    large.network.head.bias.data.fill_(1e6)
    with pytest.raises(CheckpointError, match=r"head\.bias are not finite in float16"):
        checkpoints.save(tmp_path / "large", large, card)
    assert not list(tmp_path.iterdir())


def test_json_card_is_a_copy_of_the_one_in_the_checkpoint(saved):
    card_file = json.loads(saved.with_suffix(".json").read_text())
    with safetensors.safe_open(saved, "pt") as file:
        assert json.loads(file.metadata()["flowviz"]) == card_file
    assert card_file["format"] == "flowviz-2d"
    assert set(card_file["training"]) == set(asdict(TrainConfig()))


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
def test_loads_by_path_to_either_file(saved, suffix):
    assert checkpoints.load(saved.with_suffix(suffix)).card.name == "tiny"
    assert checkpoints.load(str(saved.with_suffix(suffix))).card.name == "tiny"


def test_suffix_may_be_left_out(saved, trained, monkeypatch):
    assert checkpoints.load(str(saved.with_suffix(""))).card.name == "tiny"
    monkeypatch.chdir(saved.parent)
    assert checkpoints.load("tiny").card.name == "tiny"
    assert checkpoints.save("a.b", *trained).name == "a.b.safetensors"
    assert checkpoints.load("a.b").card.name == "a.b"


def test_one_file_alone_is_a_whole_checkpoint(trained, saved, tmp_path):
    expected = at_points(checkpoints.load(saved).field)
    saved.with_suffix(".json").unlink()
    renamed = saved.rename(tmp_path / "mine.safetensors")
    loaded = checkpoints.load(renamed)
    assert loaded.card.name == "mine"
    torch.testing.assert_close(at_points(loaded.field), expected, rtol=0, atol=0)
    content, _ = checkpoints.dumps(*trained)
    (tmp_path / "sent.safetensors").write_bytes(content)
    uploaded = checkpoints.load(tmp_path / "sent.safetensors")
    assert uploaded.card.name == "sent"
    torch.testing.assert_close(at_points(uploaded.field), expected, rtol=0, atol=0)


def test_bare_weights_load_with_their_card(saved):
    saved.write_bytes(safetensors.torch.save(safetensors.torch.load(saved.read_bytes())))
    assert checkpoints.load(saved).card.data == "checkerboard"
    saved.with_suffix(".json").unlink()
    with pytest.raises(CheckpointError, match=r"no \.json file beside it"):
        checkpoints.load(saved)


def test_writing_leaves_no_other_file_and_replaces_the_old(trained, saved, tmp_path):
    first = saved.read_bytes()
    field, card = trained
    checkpoints.save(saved, field, replace(card, quality={"w2": 1.0}))
    assert saved.read_bytes() != first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tiny.json", "tiny.safetensors"]


def test_failed_write_keeps_the_old_file(saved, trained, monkeypatch):
    first = saved.read_bytes()

    def fail(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        checkpoints.save(saved, *trained, precision="float32")
    assert saved.read_bytes() == first
    assert not [p for p in saved.parent.iterdir() if p.name.startswith(".")]
    assert checkpoints.load(saved).card.name == "tiny"  # the new card was removed


def test_quality_is_rewritten_in_both_cards_and_weights_stay(saved):
    before = checkpoints.load(saved)
    checkpoints.rewrite_quality(saved, {"w2": 1.5})
    after = checkpoints.load(saved)
    assert after.card == replace(before.card, quality={"w2": 1.5})
    assert json.loads(saved.with_suffix(".json").read_text())["quality"] == {"w2": 1.5}


# Names


def test_names_are_looked_up_in_the_folders_of_the_environment_first(saved, tmp_path, monkeypatch):
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    monkeypatch.setattr("flowviz.checkpoints.lookup.FOLDER", shipped)
    monkeypatch.delenv("FLOWVIZ_CHECKPOINTS", raising=False)
    with pytest.raises(CheckpointError, match=f"none in {shipped}"):
        checkpoints.load("tiny")
    monkeypatch.setenv("FLOWVIZ_CHECKPOINTS", f"{tmp_path}/missing{os.pathsep}{tmp_path}")
    assert checkpoints.find("tiny") == saved
    assert [card.name for card in checkpoints.listing()] == ["tiny"]
    assert checkpoints.load("tiny").card.steps == 20
    with pytest.raises(
        CheckpointError,
        match=r"Unknown checkpoint 'tinny'\. Did you mean 'tiny'\? There are: tiny\.",
    ):
        checkpoints.load("tinny")
    with pytest.raises(CheckpointError, match="Unknown checkpoint"):
        checkpoints.find("../tiny")


def test_listing_reads_no_weights_and_reports_what_is_damaged(saved, tmp_path, monkeypatch):
    monkeypatch.setattr("flowviz.checkpoints.lookup.FOLDER", tmp_path)
    monkeypatch.delenv("FLOWVIZ_CHECKPOINTS", raising=False)
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    errors = []
    assert [card.name for card in checkpoints.listing(errors.append)] == ["tiny"]
    assert ["bad.safetensors" in str(error) for error in errors] == [True]
    with pytest.raises(CheckpointError, match=r"bad\.safetensors"):
        checkpoints.listing()


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/b", "..", "", "a/../../b"])
def test_a_name_cannot_leave_its_folder(tmp_path, name):
    with pytest.raises(CheckpointError, match="name"):
        checkpoints.file_in(tmp_path, name)
    assert checkpoints.file_in(tmp_path, "mine") == tmp_path / "mine.safetensors"


@pytest.mark.parametrize("card", checkpoints.listing(), ids=lambda card: card.name)
def test_shipped_checkpoint_agrees_with_its_card(card):
    loaded = checkpoints.load(card.name)
    assert loaded.card == card
    config = config_class(card.path).from_dict(card.training)
    assert (card.data, card.path, card.objective) == (config.data, config.path, config.objective)
    assert card.steps == config.steps, "training was not finished"
    assert card.quality
    chosen = dataset(card.data)
    assert (*chosen.mean.tolist(), chosen.std) == pytest.approx((*card.mean, card.std))
    suffix = "" if card.objective in ("flow", "bound") else f"-{card.objective}"
    suffix = "-straight" if card.training.get("penalty") else suffix
    assert card.name == f"{card.data}-{card.path.split(':')[0]}{suffix}"
    assert at_points(loaded.field).isfinite().all()


def test_shipped_checkpoints_are_small():
    assert sum(path.stat().st_size for path in checkpoints.FOLDER.glob("*.*")) < 10e6


# Damage


def rewrite(file, tensors, card=None):
    """The checkpoint with other tensors and their correct hash, as a forger would write it."""
    card = card or checkpoints.load(file).card
    card = replace(card, sha256=digest(tensors))
    file.with_suffix(".json").unlink(missing_ok=True)
    file.write_bytes(safetensors.torch.save(tensors, {"flowviz": card.to_json()}))


def edit_card(file, **entries):
    card_file = file.with_suffix(".json")
    card_file.write_text(json.dumps(json.loads(card_file.read_text()) | entries))


def embed_only(file, **entries):
    """Changes the card in the checkpoint and deletes its JSON copy."""
    tensors = safetensors.torch.load(file.read_bytes())
    values = json.loads(file.with_suffix(".json").read_text()) | entries
    file.with_suffix(".json").unlink()
    file.write_bytes(safetensors.torch.save(tensors, {"flowviz": json.dumps(values)}))


def truncate(file, keep):
    file.write_bytes(file.read_bytes()[:keep])


def flip_last_bit(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))


def change(file, edit):
    tensors = safetensors.torch.load(file.read_bytes())
    edit(tensors)
    rewrite(file, tensors)


DAMAGES = {
    "empty": (lambda f: f.write_bytes(b""), "is not a safetensors file"),
    "text": (lambda f: f.write_text("hello, this is no checkpoint"), "is not a safetensors file"),
    "cut in the header": (lambda f: truncate(f, 100), "is truncated: it ends within its header"),
    "cut in the weights": (lambda f: truncate(f, -7), "is truncated: it has"),
    "longer": (lambda f: f.write_bytes(f.read_bytes() + b"\0" * 8), "is damaged"),
    "header no JSON": (
        lambda f: f.write_bytes((20).to_bytes(8, "little") + b"{" + b"?" * 40),
        "its header is not valid JSON",
    ),
    "bit flipped": (flip_last_bit, "do not have the sha256"),
    "card no JSON": (lambda f: f.with_suffix(".json").write_text("{"), "is not valid JSON"),
    "card a list": (lambda f: f.with_suffix(".json").write_text("[]"), "is not a flowviz card"),
    "card binary": (
        lambda f: f.with_suffix(".json").write_bytes(b"\xff\xfe{}"),
        "is not valid JSON",
    ),
    "card deep": (lambda f: f.with_suffix(".json").write_text("[" * 100_000), "is not valid JSON"),
    "card with NaN": (
        lambda f: f.with_suffix(".json").write_text('{"std": NaN}'),
        "NaN is not a number",
    ),
    "card huge": (lambda f: f.with_suffix(".json").write_text(" " * 2**21), "larger than 1 MB"),
    "other format": (lambda f: edit_card(f, format="other"), "is not a flowviz card"),
    "other version": (lambda f: edit_card(f, version=2), "has version 2; this flowviz reads"),
    "other card": (lambda f: edit_card(f, steps=21), "differs from the one inside it in steps"),
    "bad std": (lambda f: embed_only(f, std=0), "bad entry 'std': 0"),
    "huge std": (lambda f: embed_only(f, std=1e308), "bad entry 'std': 1e+308"),
    "tiny std": (lambda f: embed_only(f, std=1e-300), "bad entry 'std': 1e-300"),
    "huge mean": (lambda f: embed_only(f, mean=[1e308, 0]), "bad entry 'mean'"),
    "bad mean": (lambda f: embed_only(f, mean=[0]), "bad entry 'mean'"),
    "bad network": (lambda f: embed_only(f, network={"kind": "unet"}), "bad entry 'network'"),
    "lying network": (
        lambda f: embed_only(
            f,
            network={
                "kind": "mlp",
                "width": 4096,
                "depth": 64,
                "octaves": 2,
                "preconditioned": True,
            },
        ),
        "its weights are not of the card's network",
    ),
    "wider network": (
        lambda f: embed_only(
            f,
            network={
                "kind": "mlp",
                "width": 17,
                "depth": 2,
                "octaves": 2,
                "preconditioned": True,
            },
        ),
        "where the card's network has",
    ),
    "unknown path": (lambda f: embed_only(f, path="otter"), "cannot be followed: Unknown path"),
    "unknown objective": (
        lambda f: embed_only(f, objective="flaw"),
        "cannot be followed: Unknown objective 'flaw'. Did you mean 'flow'",
    ),
    "tensor missing": (
        lambda f: change(f, lambda tensors: tensors.pop("head.bias")),
        "lacks 'head.bias'",
    ),
    "tensor extra": (
        lambda f: change(f, lambda tensors: tensors.update(extra=torch.zeros(2))),
        "has an unknown tensor 'extra'",
    ),
    "tensor of another type": (
        lambda f: change(f, lambda t: t.update({"head.bias": t["head.bias"].to(torch.int32)})),
        "of type int32; weights must be float16 or float32",
    ),
    "not finite": (
        lambda f: change(f, lambda t: t["head.bias"].fill_(float("nan"))),
        "'head.bias' that are not finite",
    ),
    "gone": (lambda f: f.unlink(), "There is no file"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_refused_in_one_sentence(saved, damage):
    spoil, sentence = DAMAGES[damage]
    spoil(saved)
    with pytest.raises(CheckpointError) as caught:
        checkpoints.load(saved)
    message = str(caught.value)
    assert sentence in message
    assert "\n" not in message
    assert message.endswith(".")
    assert len(message) < 300


def test_card_that_lacks_an_entry_is_refused(saved):
    values = json.loads(saved.with_suffix(".json").read_text())
    for name in values:
        text = json.dumps({key: value for key, value in values.items() if key != name})
        with pytest.raises(CheckpointError, match=rf"lacks {name}|has version None|not a flowviz"):
            Card.from_json(text, "here")


class Bomb:
    """Raises an unexpected error when it is unpickled."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('unpickled')",))


@pytest.mark.parametrize("kind", ["pickle", "torch zip"])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".safetensors"])
def test_pickles_are_refused_without_unpickling(tmp_path, kind, suffix):
    file = tmp_path / f"evil{suffix}"
    if kind == "pickle":
        file.write_bytes(pickle.dumps(Bomb()))
    else:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError, match="flowviz never unpickles"):
        checkpoints.load(file)


def test_too_large_a_file_is_refused_before_it_is_read(tmp_path):
    file = tmp_path / "large.safetensors"
    with file.open("wb") as sparse:
        sparse.truncate(65 * 2**20)
    with pytest.raises(CheckpointError, match="has 65 MB"):
        checkpoints.load(file)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("folder", "is a folder"),
        ("folder/file.csv", r"does not end in \.safetensors or \.json"),
        ("no-such.safetensors", "There is no file"),
    ],
)
def test_files_that_are_no_checkpoints_are_refused(tmp_path, name, sentence):
    (tmp_path / "folder").mkdir()
    with pytest.raises(CheckpointError, match=sentence):
        checkpoints.load(tmp_path / name)


@pytest.mark.parametrize("name", ["a.pt", "a.json", ".hidden", "a b"])
def test_invalid_names_are_not_written(trained, tmp_path, name):
    with pytest.raises(ValueError, match=r"must end in|must be letters"):
        checkpoints.save(tmp_path / name, *trained)


# Runs


def test_resumed_run_is_bitwise_equal(board, tmp_path):
    config = TrainConfig(**TINY)
    *_, straight = train(config, board)
    for state in train(config, board):
        if state.step == 8:
            break
    file = checkpoints.run_file(tmp_path / "tiny.safetensors")
    checkpoints.save_run(file, asdict(config), state.saved_state(), seconds=1.5, plans=((3, 20),))
    run = checkpoints.load_run(file)
    assert (TrainConfig.from_dict(run.training), run.seconds, run.plans) == (
        config,
        1.5,
        ((3, 20),),
    )
    *_, resumed = train(config, board, saved_state=run.tensors)
    for name, tensor in straight.saved_state().items():
        torch.testing.assert_close(resumed.saved_state()[name], tensor, rtol=0, atol=0)


def test_invalid_runs_are_refused(saved, board, tmp_path):
    with pytest.raises(CheckpointError, match="no run to resume"):
        checkpoints.load_run(tmp_path / "none.run")
    with pytest.raises(CheckpointError, match="is not a saved training run"):
        checkpoints.load_run(saved)
    file = tmp_path / "tiny.run"
    state = next(train(TrainConfig(**TINY), board))
    checkpoints.save_run(file, asdict(state.config), state.saved_state(), seconds=0.0)
    flip_last_bit(file)
    with pytest.raises(CheckpointError, match="do not have the stated sha256"):
        checkpoints.load_run(file)
    truncate(file, -100)
    with pytest.raises(CheckpointError, match="is truncated"):
        checkpoints.load_run(file)
