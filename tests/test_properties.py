"""Any file, link, lecture or command line gives a result or one short sentence in short time.

hypothesis generates the inputs, most of them by damaging valid ones. The suite tries the same
few of each kind in each run. To search for new failures:

    FLOWVIZ_EXAMPLES=2000 pytest -n 0 tests/test_properties.py
"""

import io
import json
import os
import pickle
import struct
import time
import tomllib
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from streamlit.testing.v1 import AppTest

from flowviz import checkpoints, lectures
from flowviz.bounds import MAX_MESSAGE
from flowviz.checkpoints.cards import Card
from flowviz.checkpoints.foreign import load_foreign_bytes
from flowviz.checkpoints.weights import load_bytes
from flowviz.cli import main
from flowviz.datasets import dataset, is_linkable
from flowviz.datasets.uploads import Reading, parse
from flowviz.schedulers import scheduler
from flowviz.studies import STUDIES, Study

EXAMPLES = int(os.environ.get("FLOWVIZ_EXAMPLES", "0"))
"""Number of inputs of each property; 0 for the fixed inputs of the suite."""

SECONDS = 10
"""Limit of processor time for one input; the files have a few kilobytes."""


def examples(count):
    """Settings of a property: `count` inputs in the suite, always the same ones."""
    return settings(
        max_examples=EXAMPLES or count,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def answer(call):
    """The result of a call, or None after an error in one sentence; both within SECONDS."""
    start = time.process_time()
    try:
        return call()
    except ValueError as error:
        assert_is_sentence(str(error))
    finally:
        assert time.process_time() - start < SECONDS


def assert_is_sentence(message):
    assert 0 < len(message) <= MAX_MESSAGE, message
    assert "\n" not in message and message.rstrip()[-1] in ".!?…)", message
    assert "Traceback" not in message and "object at 0x" not in message


@st.composite
def damaged(draw, contents):
    """One of the contents with some bytes replaced, inserted, left out or repeated."""
    content = bytearray(draw(st.sampled_from(contents)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        kind = draw(st.sampled_from(["replace", "insert", "cut", "repeat", "end"]))
        if kind == "replace":
            some = draw(st.binary(min_size=1, max_size=8))
            content[at : at + len(some)] = some
        elif kind == "insert":
            content[at:at] = draw(st.binary(min_size=1, max_size=8))
        elif kind == "cut":
            del content[at : at + draw(st.integers(1, 64))]
        elif kind == "repeat":
            content[at:at] = content[at : at + 32] * draw(st.integers(1, 40))
        else:
            del content[at:]
    return bytes(content)


NUMBERS = st.sampled_from(
    [
        "",
        " ",
        "1 2",
        "9" * 30,
        *[
            "0",
            "1",
            "-1",
            "2",
            "0.5",
            "nan",
            "inf",
            "-inf",
            "1e999",
            "1_000",
            "١",
            "0x10",
            "1e-320",
        ],
    ]
)
TEXTS = st.one_of(NUMBERS, st.text(max_size=40), st.sampled_from(["../../etc/passwd", "a" * 400]))

# ---- Files

POINTS = np.random.default_rng(0).normal(size=(25, 2)).round(3)


def written(save, *arrays, **options):
    file = io.BytesIO()
    save(file, *arrays, **options)
    return file.getvalue()


CELLS = st.one_of(
    st.floats(width=32).map(str),
    st.integers().map(str),
    st.sampled_from(["", "NA", '"', '"a', "1,5", "a;b", "#", "%", "\x00", "sep=;", "x", "\x1c"]),
    st.text(max_size=5),
)
TABLES = st.builds(
    lambda rows, separator, times: "\n".join([separator.join(row) for row in rows] * times),
    st.lists(st.lists(CELLS, max_size=5), max_size=30),
    st.sampled_from([",", ";", "\t", " ", "|", ", "]),
    st.sampled_from([1, 25]),
).map(lambda text: text.encode("utf-8", "replace"))
NESTED = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=25) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=60,
)
VALID_TABLES = {
    "t.csv": ["x,y\n" + "\n".join(f"{u},{v}" for u, v in POINTS)],
    "t.arff": [
        "@relation a\n@attribute x real\n@attribute y real\n@data\n"
        + "\n".join(f"{u},{v}" for u, v in POINTS)
    ],
    "t.json": [json.dumps(POINTS.tolist()), json.dumps({"x": [*POINTS[:, 0]]})],
}
VALID_ARRAYS = {
    "t.npy": [written(np.save, POINTS), written(np.save, POINTS.view("f8,f8")[:, 0])],
    "t.npz": [written(np.savez, POINTS), written(np.savez_compressed, x=POINTS[:, 0], y=POINTS)],
}
FILES = VALID_ARRAYS | {k: [text.encode() for text in v] for k, v in VALID_TABLES.items()}
READINGS = st.builds(
    Reading,
    x=st.none() | TEXTS,
    y=st.none() | TEXTS,
    header=st.none() | st.booleans(),
    light=st.booleans(),
)


@examples(150)
@given(data=st.data(), name=st.sampled_from([*FILES]), reading=READINGS)
def test_any_table_is_read_or_refused(data, name, reading):
    invented = TABLES if name != "t.json" else NESTED.map(lambda v: json.dumps(v).encode())
    content = data.draw(damaged(FILES[name]) | invented | st.binary(max_size=200))
    for choice in (Reading(), reading):
        found = answer(lambda choice=choice: parse(name, content, choice))
        if found is not None:
            assert found.array.shape[1:] == (2,) and 20 <= len(found.array) <= 20_000
            assert np.isfinite(found.array).all() and len(found.note) <= MAX_MESSAGE


def picture(mode, kind):
    image = Image.new(mode, (12, 9), "white" if mode in ("L", "RGB", "P") else 1)
    image.paste(0 if mode != "RGB" else (0, 0, 0), (2, 2, 6, 5))
    return written(image.save, kind)


MODES = "L PNG,P GIF,RGB JPEG,RGB BMP,RGB WEBP,F TIFF,I;16 TIFF,1 TIFF,L TIFF"
PICTURES = [picture(*each.split()) for each in MODES.split(",")]


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow warns of what it ignores
@examples(200)
@given(content=damaged(PICTURES) | st.binary(max_size=100), light=st.booleans())
def test_any_picture_is_read_or_refused(content, light):
    found = answer(lambda: parse("p.png", content, Reading(light=light)))
    if found is not None:
        assert found.array.max() > 0 and max(found.array.shape) <= 64


# ---- Checkpoints


SMALL = (checkpoints.FOLDER / "8gaussians-ot.safetensors").read_bytes()
SIZE = struct.unpack("<Q", SMALL[:8])[0]
HEADER = json.loads(SMALL[8 : 8 + SIZE])


def with_header(header):
    """The bytes of a file of safetensors with these entries, and the weights of SMALL."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + SMALL[8 + SIZE :]


CHECKPOINTS = st.one_of(
    damaged([SMALL]),
    st.binary(max_size=100),
    st.builds(
        lambda key, value: with_header(HEADER | {key: value}), st.sampled_from([*HEADER]), NESTED
    ),
)


def torch_file(value):
    return written(lambda file: torch.save(value, file))


TORCH = [
    torch_file({"model": {"a.weight": torch.zeros(2, 2)}, "step": 3}),
    torch_file({"ema_model": {"input_blocks.0.0.weight": torch.zeros(4, 3, 3, 3)}}),
]
OPCODES = [bytes([code]) for code in range(128)] + [
    pickle.dumps(v)[2:-1] for v in (1, "a", (), {})
]


@st.composite
def archives(draw):
    """A file of torch.save with a pickle of any opcodes."""
    content = b"\x80\x02" + b"".join(draw(st.lists(st.sampled_from(OPCODES), max_size=40))) + b"."
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/data.pkl", content)
    return file.getvalue()


@examples(100)
@given(content=CHECKPOINTS)
def test_any_checkpoint_is_read_or_refused(content):
    answer(lambda: load_bytes(content, name="small"))


@examples(150)
@given(content=damaged(TORCH) | archives())
def test_any_file_of_torch_is_read_or_refused(content):
    answer(lambda: load_foreign_bytes(content, "x.pt"))


CARD = json.loads(next(checkpoints.FOLDER.glob("*.json")).read_text())


@examples(60)
@given(data=st.data())
def test_any_card_is_read_or_refused(data):
    card = dict(CARD)
    for _ in range(data.draw(st.integers(1, 2))):
        key = data.draw(st.sampled_from([*card, "training", "unknown"]))
        if isinstance(card.get(key), dict) and card[key] and data.draw(st.booleans()):
            inner = data.draw(st.sampled_from([*card[key]]))
            card[key] = card[key] | {inner: data.draw(NESTED)}
        else:
            card[key] = data.draw(NESTED)
    answer(lambda: Card.from_json(json.dumps(card), "x.json"))


# ---- Lectures


LECTURES = [
    path.read_bytes()[:3_000]
    for path in (checkpoints.FOLDER.parent / "flowviz" / "lectures").glob("*.toml")
]


@examples(150)
@given(
    content=damaged(LECTURES) | st.text(max_size=200).map(lambda t: t.encode("utf-8", "replace"))
)
def test_any_lecture_is_read_or_refused(content):
    found = answer(lambda: lectures.parse(content))
    if found is not None:
        assert tomllib.loads(content.decode("utf-8-sig"))["title"] == found.title


# ---- Links and command lines

SPECS = st.one_of(
    TEXTS,
    st.builds("{}:{}".format, st.sampled_from(["word", "mixture", "points", "vp", "no"]), TEXTS),
    st.builds("mixture:{},{};0,0@{}".format, NUMBERS, NUMBERS, NUMBERS),
    st.builds("shaped:a1={},b1={}".format, NUMBERS, NUMBERS),
    st.sampled_from(["moons", "ot", "checkerboard-ot", "exact:moons/vp", "euler", "shift:2"]),
)


@examples(200)
@given(spec=SPECS)
def test_any_spec_of_a_link_is_a_choice_or_one_sentence(spec):
    answer(lambda: dataset(spec) if is_linkable(spec) else None)
    answer(lambda: scheduler(spec))


def controls_of_a_study():
    import streamlit as st

    from flowviz.studies import STUDIES
    from flowviz.ui import controls, state

    name = st.session_state["study"]
    state.visit(name)
    config = STUDIES[name].config
    st.session_state["config"] = controls.pick(config)


@examples(12)
@given(data=st.data(), name=st.sampled_from([*STUDIES]))
def test_any_link_opens_a_page(data, name):
    app = AppTest.from_function(controls_of_a_study, default_timeout=60)
    app.session_state["study"] = name
    from flowviz.settings import settings as declared

    slugs = [each.slug for each in declared(STUDIES[name].config).values()]
    link = st.dictionaries(st.sampled_from([*slugs, "unknown"]), SPECS, min_size=1, max_size=4)
    for slug, value in data.draw(link).items():
        app.query_params[slug] = value
    app.run()
    assert not app.exception, app.exception[0].message
    for toast in app.toast:
        assert len(toast.value) <= 2 * MAX_MESSAGE


class NotComputed(ValueError):
    """Raised instead of computing a study, which takes time."""


COMMANDS = st.sampled_from(
    ["names", "checkpoints", "data moons --out {} -n 3", "sample checkerboard-ot --out {} -n 2"]
    + ["field --data moons --path ot {} --t 0.5 --out {}", "logprob exact:moons/ot {} --out {}"]
    + [f"experiment {name}" for name in STUDIES]
    + ["evaluate checkerboard-ot -n 0", "train --data moons --out {} --steps 0", "data", "x"]
)
FLAGS = st.sampled_from(
    [
        "-n",
        "--seed",
        "--nfe",
        "--tol",
        "--solver",
        "--grid",
        "--t",
        "--data",
        "--path",
        "--field",
        "--width",
        "--json",
        "--help-me",
        "--device",
        "--guidance",
        "--method",
        "--nfes",
    ]
)


@examples(50)
@given(
    command=COMMANDS,
    more=st.lists(st.tuples(FLAGS, SPECS.filter(lambda text: text != "cifar10")), max_size=3),
)
def test_any_command_line_has_a_result_or_one_sentence(command, more, tmp_path_factory):
    place = tmp_path_factory.getbasetemp()
    np.save(place / "in.npy", POINTS[:3])
    words = command.replace("{}", str(place / "in.npy"), command.count("{}") - 1).replace(
        "{}", str(place / "out.npy")
    )
    arguments = [*words.split(), *(word for pair in more for word in pair)]
    result, error = Study.result, io.StringIO()

    def stop(*_, **__):
        raise NotComputed("The study is not computed.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Study, "result", stop)
        patch.setattr("sys.stdout", io.StringIO())
        patch.setattr("sys.stderr", error)
        start = time.process_time()
        code = main(arguments)
        assert time.process_time() - start < SECONDS
    assert Study.result is result
    assert code in (0, 1, 2)
    if code == 2:
        printed = error.getvalue().strip().splitlines()[-1]
        assert printed.startswith("flowviz: ") and len(printed) <= MAX_MESSAGE + 10
