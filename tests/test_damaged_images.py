"""Damaged files of images: for any wrong entry, a file works or is refused in one sentence."""

import json
import shutil

import pytest
import safetensors.torch
import torch

from flowviz.checkpoints import CheckpointError
from flowviz.checkpoints.images import (
    RUN_KEY,
    TRAINING,
    describe_classifier,
    image_checkpoints,
    is_images,
    load_classifier,
    load_images,
    run_checkpoint,
    save_images,
    snapshot_checkpoint,
)
from flowviz.datasets.images import image_set
from flowviz.experiments.images import ImageConfig, sample_all
from flowviz.networks import IMAGE_NETWORKS, UNet, UNetShape
from flowviz.networks.classifier import Classifier
from flowviz.training.folder import train_in_folder
from flowviz.training.images import ImageTrainConfig

DIGITS = image_set("digits")
WRONG = [None, "x", "", -1, 0, 3, 1000, 10**400, 0.5, 1e300, 1e-300, True, [], [0], ["x"], {}]
GONE = object()
"""Instead of a wrong value: the entry is omitted."""


def with_wrong_values(entries, place):
    """Copies of nested entries, each with another wrong value at `place`, a path of keys."""
    *above, name = place
    for value in [*WRONG, GONE]:
        copy = json.loads(json.dumps(entries))
        inner = copy
        for key in above:
            inner = inner[key]
        if value is GONE:
            del inner[name]
        else:
            inner[name] = value
        yield copy


def with_header(content, change):
    """A safetensors file whose header `change` has edited in place."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def with_text(content, key, text):
    """A safetensors file with other text in its header, such as another card."""
    return with_header(content, lambda header: header["__metadata__"].update({key: text}))


def metadata(content):
    return json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]


def assert_sentence(error, *names):
    text = str(error)
    assert isinstance(error, CheckpointError)
    assert any(name in text for name in names), text
    assert "\n" not in text and text.endswith(".") and not text.endswith(".."), text
    assert len(text) < 400, text


def draw(checkpoint):
    assert sample_all(checkpoint, ImageConfig(nfe=2, n=1)).images.shape[0] == 1


def works_or_is_refused(load, use, *names):
    """Whether a file loads and works; otherwise one sentence must refuse it before its use."""
    try:
        loaded = load()
    except CheckpointError as error:
        assert_sentence(error, *names)
        return False
    use(loaded)
    return True


@pytest.fixture(scope="module")
def field_file(tiny_images):
    return (tiny_images / "images" / "tiny-ot.safetensors").read_bytes()


CARD = [
    *("format", "version", "name", "kind", "data", "classes", "channels", "size", "network"),
    *("path", "objective", "mean", "std", "training", "images", "planned", "seconds", "quality"),
    *("sha256", "commit"),
]
NETWORK = [*UNetShape.__dataclass_fields__, "conditional", "preconditioned", "clocked"]


@pytest.mark.parametrize(
    "place", [*((name,) for name in CARD), *(("network", name) for name in NETWORK)], ids=".".join
)
def test_card_with_a_wrong_entry_draws_or_is_refused(tmp_path, field_file, place):
    file = tmp_path / "bent.safetensors"
    card = json.loads(metadata(field_file)["flowviz"])
    worked = 0
    for wrong in with_wrong_values(card, place):
        file.write_bytes(with_text(field_file, "flowviz", json.dumps(wrong)))
        worked += works_or_is_refused(lambda: load_images(file), draw, file.name)
        is_images(file)
    assert worked < len(WRONG) / 2


def test_every_entry_of_a_card_is_tested_above(field_file):
    card = json.loads(metadata(field_file)["flowviz"])
    assert set(card) == set(CARD) and set(card["network"]) == set(NETWORK)


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"channel_mult": []}, "channel_mult must be 1 to 10 whole numbers in 1..4096; got ()"),
        ({"clocks": "x"}, "clocks must be a whole number in 0..16; got 'x'"),
        ({"dropout": "x"}, "dropout must be a number in [0, 1]; got 'x'"),
        ({"num_head_channels": 1000}, "num_head_channels must divide the 32 channels"),
        ({"num_heads": 3}, "num_heads must divide the 32 channels of an attention; got 3"),
        ({"eps": "x"}, "eps must be a number in [1e-12, 1]; got 'x'"),
        ({"clocked": False}, "clocks must be 0 where clocked is false; got 2"),
        ({"clocks": 0, "model_channels": 18, "groups": 1, "clocked": False}, "of shape (64, 24)"),
        ({"clocks": 0, "model_channels": 17, "groups": 1}, "model_channels must be even"),
        ({"groups": 5}, "groups must divide the 16 channels of each level; got 5"),
    ],
)
def test_message_says_what_the_network_must_be(tmp_path, field_file, entries, sentence):
    card = json.loads(metadata(field_file)["flowviz"])
    card["network"] |= entries
    file = tmp_path / "bent.safetensors"
    file.write_bytes(with_text(field_file, "flowviz", json.dumps(card)))
    with pytest.raises(CheckpointError) as caught:
        load_images(file)
    assert sentence in str(caught.value)
    assert_sentence(caught.value, file.name)


@pytest.mark.parametrize(
    "entries",
    [
        {"std": 1e300},
        {"mean": [1e300]},
        {"path": "ve:sigma_min=1e-320,sigma_max=1e308"},
        {"objective": "noise"},
        {"path": "vp:beta_max=1e5", "objective": "score"},
    ],
    ids=str,
)
def test_numbers_that_would_overflow_are_refused(tmp_path, field_file, entries):
    card = json.loads(metadata(field_file)["flowviz"]) | entries
    file = tmp_path / "bent.safetensors"
    file.write_bytes(with_text(field_file, "flowviz", json.dumps(card)))
    with pytest.raises(CheckpointError) as caught:
        load_images(file)
    assert_sentence(caught.value, file.name)


def bad_headers(content):
    """Copies of a safetensors file with a wrong value in its header."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    tensor = "time_embed.0.weight"
    places = [(tensor,), (tensor, "dtype"), (tensor, "shape"), (tensor, "data_offsets")]
    wrong = [
        *(other for place in places for other in with_wrong_values(header, place)),
        *with_wrong_values(header, ("__metadata__",)),
        *(
            other
            for key in header["__metadata__"]
            for other in with_wrong_values(header, ("__metadata__", key))
        ),
        *(header | {tensor: header[tensor] | {"dtype": dtype}} for dtype in DTYPES),
        *(header | {tensor: header[tensor] | {"shape": shape}} for shape in SHAPES),
        header | {"new\nline": header[tensor]},
        header | {"x" * 10_000: {"dtype": "F16", "shape": [0], "data_offsets": [0, 0]}},
    ]
    for other in wrong:
        text = json.dumps(other).encode()
        yield len(text).to_bytes(8, "little") + text + content[8 + length :]


DTYPES = ["F16", "BF16", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F4", "F6_E2M3", "I8", "BOOL", "C64"]
SHAPES = [[2**40, 2**40], [0, 2**63], [1, 2**64], [-1, 5], [1536], [64] * 3]


def test_wrong_headers_draw_or_are_refused(tmp_path, field_file):
    file = tmp_path / "bent.safetensors"
    worked = 0
    for content in bad_headers(field_file):
        file.write_bytes(content)
        worked += works_or_is_refused(lambda: load_images(file), draw, file.name)
        is_images(file)
    assert worked == 1  # the correct type, F16


def snapshot(network):
    """A snapshot as a run on digits writes it."""
    weights = {key: value.half() for key, value in network.state_dict().items()}
    training = vars(ImageTrainConfig(data="digits", network="tiny", images=64))
    about = {"step": 3, "config": training}
    return safetensors.torch.save(weights, {RUN_KEY: json.dumps(about)})


@pytest.mark.parametrize(
    "entry",
    ["step", "config", "lr", *(pytest.param(each, marks=pytest.mark.slow) for each in TRAINING)],
)
def test_snapshot_with_a_wrong_entry_draws_or_is_refused(tmp_path, entry):
    content = snapshot(UNet(IMAGE_NETWORKS["tiny"], channels=1, size=8, num_classes=10))
    about = json.loads(metadata(content)[RUN_KEY])
    place = (entry,) if entry in about else ("config", entry)
    file = tmp_path / "snapshot-050.safetensors"
    for wrong in with_wrong_values(about, place):
        file.write_bytes(with_text(content, RUN_KEY, json.dumps(wrong)))
        works_or_is_refused(lambda: snapshot_checkpoint(file, DIGITS), draw, file.name)
    if entry == "data":
        works_or_is_refused(lambda: load_images(file), draw, file.name)


@pytest.mark.parametrize(
    "text", ["{", "", "[]", "null", "5", '"x"', "[" * 10_000, "{}", None, 5, {}]
)
def test_snapshot_with_a_wrong_header_is_refused(tmp_path, text):
    content = snapshot(UNet(IMAGE_NETWORKS["tiny"], channels=1, size=8, num_classes=10))
    file = tmp_path / "snapshot-050.safetensors"
    file.write_bytes(with_text(content, RUN_KEY, text))
    assert not works_or_is_refused(lambda: snapshot_checkpoint(file, DIGITS), draw, file.name)
    assert not works_or_is_refused(lambda: load_images(file), draw, file.name)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    training = ImageTrainConfig(data="digits", network="tiny", images=64)
    *_, _ = train_in_folder(training, folder, DIGITS, grid_every=0)
    return folder


def test_run_with_a_wrong_config_or_state_is_refused(tmp_path, run):
    place = tmp_path / "run"
    shutil.copytree(run, place)
    (state,) = place.glob("state-*.safetensors")
    config, content = place / "config.json", state.read_bytes()
    good = config.read_bytes()

    def check():
        return works_or_is_refused(
            lambda: run_checkpoint(place, DIGITS), draw, str(place), state.name
        )

    assert check()
    for bad in (b"", b"{", b"[]", b"\xff", b"5", b"{}"):
        config.write_bytes(bad)
        assert not check()
    for wrong in with_wrong_values(json.loads(good), ("config", "network")):
        config.write_text(json.dumps(wrong))
        assert not check()
    config.write_bytes(good)
    about = json.loads(metadata(content)[RUN_KEY])
    for wrong in with_wrong_values(about, ("progress", "seconds")):
        state.write_bytes(with_text(content, RUN_KEY, json.dumps(wrong)))
        check()
    for wrong in ("{", "", "[]", "null"):
        state.write_bytes(with_text(content, RUN_KEY, wrong))
        assert not check()
    state.write_bytes(content[:-100])
    assert not check()


@pytest.fixture(scope="module")
def classifier_file(tmp_path_factory):
    training = {"stem": 4, "widths": (4, 8)}
    network = Classifier(channels=1, num_classes=10, **training)
    card = describe_classifier("c", training, DIGITS, images=1)
    return save_images(tmp_path_factory.mktemp("judge") / "c", network, card).read_bytes()


@pytest.mark.parametrize(
    "place",
    [
        ("kind",),
        ("classes",),
        ("channels",),
        ("size",),
        ("network", "stem"),
        ("network", "widths"),
    ],
    ids=".".join,
)
def test_classifier_with_a_wrong_entry_judges_or_is_refused(tmp_path, classifier_file, place):
    def judge(loaded):
        card, network = loaded
        assert network(torch.zeros(1, card.channels, card.size, card.size)).shape[0] == 1

    file = tmp_path / "judge.safetensors"
    for wrong in with_wrong_values(json.loads(metadata(classifier_file)["flowviz"]), place):
        file.write_bytes(with_text(classifier_file, "flowviz", json.dumps(wrong)))
        works_or_is_refused(lambda: load_classifier(file), judge, file.name)


def test_listing_skips_damaged_files_and_folders(tmp_path, monkeypatch, field_file):
    monkeypatch.setattr("flowviz.checkpoints.lookup.FOLDER", tmp_path)
    monkeypatch.delenv("FLOWVIZ_CHECKPOINTS", raising=False)
    place = tmp_path / "images"
    (place / "folder.safetensors").mkdir(parents=True)
    (place / "good.safetensors").write_bytes(field_file)
    card = json.loads(metadata(field_file)["flowviz"])
    card["network"] |= {"channel_mult": None}
    (place / "bad.safetensors").write_bytes(with_text(field_file, "flowviz", json.dumps(card)))
    errors = []
    assert [card.name for card in image_checkpoints(errors.append)] == ["good"]
    (error,) = errors
    assert_sentence(error, "bad.safetensors")
