"""Data of users: every valid form is read, every invalid one is refused in one clear sentence."""

import errno
import io
import json
import os
import re
import struct
import time
import warnings

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Generator

import flowviz
from flowviz import datasets, files
from flowviz.canvases.player import pack_scene
from flowviz.canvases.wire import header_of
from flowviz.cli import main
from flowviz.datasets import dataset, draw, is_linkable, uploads
from flowviz.datasets.mixture import MAX_MEANS, mixture_spec
from flowviz.datasets.picture import LATTICE, parse_picture
from flowviz.datasets.points import MAX_NODES
from flowviz.datasets.uploads import Reading, parse, store
from flowviz.datasets.word import MAX_LETTERS
from flowviz.files import STALE, TargetError, write_bytes
from flowviz.studies._player import scene_of

POINTS = np.random.default_rng(0).normal([300, -20], [25, 5], size=(60, 2)).round(3)


def upload(name, content):
    return store(parse(name, content))


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWVIZ_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "points"


def seeded(seed):
    return Generator().manual_seed(seed)


def refuses(call, *parts):
    """Checks that a call raises ValueError with one readable message that has all the parts."""
    with pytest.raises(ValueError) as caught:
        call()
    message = str(caught.value)
    for part in parts:
        assert part in message
    assert message.endswith(".")
    assert "\n" not in message
    assert len(message) < 300


def table(rows=POINTS, separator=",", header=""):
    return (header + "\n".join(separator.join(f"{v}" for v in row) for row in rows)).encode()


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def page(mode="L", size=(200, 100), ground=255, ink=0):
    """A sheet with a bar in its upper left, 60 wide and 20 high."""
    image = Image.new(mode, size, ground)
    ImageDraw.Draw(image).rectangle((10, 10, 69, 29), fill=ink)
    return image


# ---- Tables


@pytest.mark.parametrize(
    "content",
    [
        table(),
        table(separator=", "),
        table(separator=";"),
        table(separator="\t"),
        table(separator="   "),
        table(header="height,weight\n"),
        table(header="# measured on a Monday\n\n"),
        table(header='"Größe",y\n'),
        "größe;höhe\n".encode("latin-1") + table(separator=";"),
        table().replace(b"\n", b"\r\n") + b"\r\n\r\n",
        b"\xef\xbb\xbf" + table(header="x,y\n"),
        table(separator="\t").decode().encode("utf-16"),
        table(separator=";").replace(b".", b","),
        table([[f'"{v}"' for v in row] for row in POINTS]),
    ],
    ids=[
        "comma",
        "comma and blank",
        "semicolon",
        "tab",
        "blanks",
        "header",
        "comment",
        "quoted header",
        "latin-1 header",
        "Windows lines",
        "byte order mark",
        "UTF-16",
        "decimal comma",
        "quoted cells",
    ],
)
def test_table_is_read(content):
    np.testing.assert_array_equal(parse("t.csv", content).array, POINTS)


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", ["two columns of numbers", "this file is empty", "one point per line"]),
        (b"\n# only words\n\n", ["this file is empty"]),
        (table(POINTS[:19]), ["must be 20 to 20,000", "got 19", "Add points"]),
        (b"x,y\n", ["must be 20 to 20,000", "got 0"]),
        (b"1,2\n" * 20_001, ["must be 20 to 20,000", "got 20,001", "Use fewer points"]),
        (b"1,2\n" * 300_000, ["must be 20 to 20,000", "got 300,000"]),
        (b"1\n" * 30, ["two columns of numbers", "its 1 columns", "80% of the rows: 1."]),
        (b"a,1\n" * 30, ["two columns of numbers", "80% of the rows: 2."]),
        (table() + b"\n1,2,3", ["the same columns", "line 61 has 3", "most have 2"]),
        (table() + b"\n1,two", ["must be a number", "line 61 has 'two'"]),
        (table() + b"\n1_000,1", ["must be a number", "line 61 has '1_000'"]),
        (table(header="a,b\nc,d\n"), ["must be a number", "line 2 has 'c'"]),
        (table() + b"\n1,NA\n,1" * 8, ["At most 20%", "16 of 76", "columns 1 and 2"]),
        (table() + b"\n-inf,1", ["must be finite", "line 61 has '-inf'"]),
        (table() + b"\n1e999,1", ["must be finite", "'1e999'"]),
        (table() + b"\n1e200,1", ["at most 1e+12 in size", "got 1e+200"]),
        (b"3,4\n" * 30, ["must be different", "all 30 are (3, 4)"]),
        (b"PK\x03\x04\x00\x00" * 50, ["must be text", "binary", "Save the table as CSV"]),
        (encoded(page()), ["must be text", "binary"]),
        (b"\xff\xfe\xff", ["must be 20 to 20,000", "got 0"]),
        (b"1," + b"2" * 200_000, ["must be a row of a table"]),
    ],
)
def test_invalid_table_is_refused(content, parts):
    refuses(lambda: upload("t.csv", content), *parts)


def numpy_file(*arrays, **named):
    file = io.BytesIO()
    if named or len(arrays) > 1:
        np.savez_compressed(file, *arrays, **named)
    else:
        np.save(file, arrays[0])
    return file.getvalue()


ROWS = POINTS.tolist()
LABELS = ["a, b" if k % 2 else "c" for k in range(len(ROWS))]
MIXED = [
    [k, f'"{label}"', *row, k % 3] for k, (row, label) in enumerate(zip(ROWS, LABELS, strict=True))
]
NAMES, NUMBERS = np.array(LABELS), np.array([str(k % 3) for k in range(len(ROWS))])
ARFF = (
    "% from Weka\n@RELATION people\n@attribute 'the name' {\"a, b\", c}\n@ATTRIBUTE x REAL\n"
    "@attribute y numeric\n@DATA\n"
)


@pytest.mark.parametrize(
    ("name", "content", "note"),
    [
        ("t.csv", table(), "no header; 60 points; columns 1 and 2"),
        ("t.csv", table(header="0,1\n"), "header: 0, 1; 60 points; columns 1 (0) and 2 (1)"),
        ("t.csv", table(header="x,1\n"), "header: x, 1; 60 points; columns 1 (x) and 2 (1)"),
        (
            "t.csv",
            table(MIXED, header=",name,u,v,class\n"),
            "header: name, u, v, class; 60 points; columns 3 (u) and 4 (v); label column "
            "2 (name), 2 values",
        ),
        (
            "t.csv",
            table([[v, 0.5 * k, u] for k, (u, v) in enumerate(ROWS)], header="y,t,x\n"),
            "3",
        ),
        ("t.csv", b"sep=;\n" + table(separator=";"), "no header"),
        ("t.csv", b"% a comment\n" + table(separator=" "), "no header"),
        ("t.csv", table([[*row, ""] for row in ROWS]), "columns 1 and 2"),
        ("t.csv", table([[*row, ""] for row in ROWS], header="u,v\n"), "columns 1 (u) and 2 (v)"),
        ("t.csv", table() + b"\n1,\nNA,2\n1,nan\n?", "; 4 rows without a number left out"),
        (
            "t.txt",
            table([[f'"{k}"', *row] for k, row in enumerate(ROWS)], " ", '"x" "y"\n'),
            "2 (x)",
        ),
        ("t.csv", table([row * 400 for row in ROWS]), "columns 1 and 2"),
        ("t.tsv", table(separator="\t", header="u\tv\n"), "header: u, v"),
        (
            "t.arff",
            ARFF.encode() + table([r[1:4] for r in MIXED]),
            "column 1 (the name), 2 values",
        ),
        ("t.csv", table([r[2:] for r in MIXED]), "label column 3, 3 values"),
        ("t.json", json.dumps(ROWS).encode(), "no header"),
        ("t.json", json.dumps([{"n": None, "u": u, "v": v} for u, v in ROWS]).encode(), "2 (u)"),
        (
            "t.json",
            json.dumps({"u": POINTS[:, 0].tolist(), "v": [*POINTS[:, 1]]}).encode(),
            "1 (u)",
        ),
        ("t.json", json.dumps({"columns": ["u", 7], "data": ROWS}).encode(), "header: u, 7"),
        ("t.npy", numpy_file(POINTS), "no header"),
        ("written_by_data.npz", numpy_file(POINTS), "no header"),
        ("t.npz", numpy_file(labels=np.array(LABELS), x=POINTS), "label column 3 (labels), 2"),
        (
            "t.npz",
            numpy_file(u=POINTS[:, 0], v=POINTS[:, 1], n=np.array(LABELS)),
            "column 3 (n), 2 values",
        ),
        ("t.npy", numpy_file(POINTS.view([("u", float), ("v", float)])[:, 0]), "header: u, v"),
    ],
)
def test_real_tables_are_read_and_their_columns_are_stated(name, content, note):
    found = parse(name, content)
    x = found.array
    if x.dtype.names:
        np.testing.assert_array_equal(x["label"], NUMBERS if "3 values" in note else NAMES)
        x = np.stack([x["x"], x["y"]], axis=1)
    np.testing.assert_array_equal(x, POINTS)
    assert note in found.note and ("label" in found.note) == bool(found.array.dtype.names)


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("t.json", b"{", ["must be a list of rows"]),
        ("t.json", b"[" * 100_000, ["must be a list of rows"]),
        ("t.json", b"[[1, 2], [3]]", ["must be a list of rows"]),
        ("t.json", b"[[1, true]]" * 2, ["must be a list of rows"]),
        ("t.json", json.dumps([[1, [2]]] * 30).encode(), ["80% of the rows: 1."]),
        ("t.arff", ARFF.encode() + b"{0 a, 1 2}", ["sparse"]),
        ("t.npy", numpy_file(POINTS)[:-8], ["must not be damaged"]),
        ("t.npy", numpy_file(POINTS).replace(b"(60, 2)", b"(6**9,)"), ["must not be damaged"]),
        ("t.npy", numpy_file(POINTS.astype(str)), ["table of real numbers"]),
        ("t.npy", numpy_file(POINTS[None]), ["(1, 60, 2)"]),
        ("t.npz", numpy_file(u=POINTS[:, 0], v=POINTS[:9, 1]), ["table of real numbers"]),
        ("t.npz", numpy_file(x=np.zeros((6_000_000, 2)), y=np.zeros(5_000_000)), ["damaged"]),
        ("t.npz", table(), ["must not be damaged"]),
    ],
)
def test_files_that_are_no_tables_are_refused(name, content, parts):
    refuses(lambda: parse(name, content), *parts)


def test_pickled_arrays_are_not_read():
    file = io.BytesIO()
    np.save(file, np.array([[1, "a"]], dtype=object), allow_pickle=True)
    refuses(lambda: parse("t.npy", file.getvalue()), "must not be damaged")


def test_columns_and_the_header_can_be_chosen(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(table([[v, k % 5, u] for k, (u, v) in enumerate(ROWS)], header="0,1,2\n"))
    data = dataset(f"{path}:x=3,y=1")
    assert data.reading == (
        "t.csv: header: 0, 1, 2; 60 points; columns 3 (2) and 1 (0); label column 2 (1), 5 values"
    )
    assert dataset(f"{path}:label=none").classes == ()
    assert dataset(f"{path}:label=2").classes == tuple("01234")
    torch.testing.assert_close(data.center, tuple(POINTS.mean(axis=0).tolist()))
    assert "61 points" in dataset(f"{path}:header=no").reading
    path.write_bytes(table(header="height,weight\n"))
    assert "columns 2 (weight) and 1 (height)" in dataset(f"{path}:y=height").reading
    for choices, part in (
        ("x=3", "must be a number in 1..2 or a name"),
        ("x=width", "1 (height), 2 (weight)"),
        ("label=height", "must have 2 to 12 different values; 1 (height) has 60"),
        ("x=1,y=1", "must be different"),
        ("x", "must read x=COLUMN"),
        ("x=1,x=2", "at most once"),
        ("header=maybe", "header=yes|no"),
    ):
        refuses(lambda choices=choices: dataset(f"{path}:{choices}"), part)


def test_points_fill_the_frame_and_are_mapped_back_to_their_coordinates():
    data = dataset(upload("people.CSV", table()))
    x = data.from_user(torch.from_numpy(POINTS))
    assert x.abs().max().item() == pytest.approx(4)
    torch.testing.assert_close(x.mean(dim=0), torch.zeros(2, dtype=torch.float64))
    torch.testing.assert_close(data.to_user(x), torch.from_numpy(POINTS))
    samples = data.to_user(data.sample(20_000, seeded(0)).double())
    errors = samples.std(dim=0) / 20_000**0.5
    assert ((samples.mean(dim=0) - torch.from_numpy(POINTS.mean(axis=0))).abs() < 5 * errors).all()
    assert data.distribution.log_prob(x).isfinite().all()
    assert f"{0.1 * data.scale:.3g}" in data.sentence
    assert "Your 60 points" in data.sentence


def test_a_label_column_gives_samples_their_classes():
    """Overlapping classes: a sample has the label of its point, a position the likelier class."""
    rng = np.random.default_rng(3)
    labels = np.array(["10", "9"])[np.arange(4_000) % 2]
    x = rng.normal(size=(4_000, 2)) + np.where(labels == "9", 1.0, -1.0)[:, None] * [1, 0]
    rows = [[*row, label] for row, label in zip(x, labels, strict=True)]
    spec = upload("t.csv", table(rows, header="u,v,kind\n"))
    data = dataset(spec)
    assert data.classes == ("9", "10") and len(data.component_classes) == MAX_NODES
    found = data.sampled_classes(20_000, seeded(0))
    at = data.to_user(data.sample(20_000, seeded(0))).numpy()[:, 0]
    for k, mean in enumerate((1, -1)):
        assert at[found == k].mean() == pytest.approx(mean, abs=0.08)
        assert at[found == k].std() == pytest.approx(1, abs=0.1)
    right = data.likeliest_classes(data.from_user(torch.tensor([[2.0, 0], [-2.0, 0]])))
    assert right.tolist() == [0, 1]
    plain = dataset(upload("t.csv", table(x)))
    assert torch.equal(plain.sample(9, seeded(0)), data.sample(9, seeded(0)))


def test_compare_has_the_classes_of_data_and_particles(tmp_path):
    rows = [[x + 0.01 * k, 0.1 * k, "ba"[x > 0]] for k in range(20) for x in (-3, 3)]
    path = tmp_path / "t.csv"
    path.write_bytes(table(rows))
    study = flowviz.study("flow")
    config = study.config(data=str(path), field="exact", nfe=8, picture="class", t=1.0)
    result = study.result(config)
    side = result.sides[0]
    assert ((side.flow.data[:, 0] < 0) == side.flow.classes).all()
    header = header_of(pack_scene(scene_of(side)), "scene")
    assert [name for _, name in header["class_names"]] == ["a", "b"]
    (figure,) = study.draw(config, result)
    drawn = [trace for trace in figure.figure.data if trace.type.startswith("scatter")]
    assert [trace.name for trace in drawn] == ["a", "b"] * 2
    assert drawn[0].x.min() > 0 > drawn[1].x.max()
    assert sum(len(trace.x) for trace in drawn[:2]) == len(side.flow.data)
    assert not study.draw(study.config(picture="class"), result)


def test_the_command_writes_labels_which_are_read_again(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_bytes(table(MIXED))
    main(["data", "t.csv:label=2", "-n", "50", "--labels", "--out", "x.npy"])
    found = dataset("x.npy")
    assert found.classes == ("a, b", "c") and "columns 1 (x) and 2 (y)" in found.reading
    assert main(["data", "t.csv:label=none", "--labels", "--out", "y.npy"]) == 2
    assert "needs a table with a label column" in capsys.readouterr().err


def test_repeated_points_weigh_more():
    rows = [[0, 0]] * 30 + [[1, 0]] * 10
    x = dataset(upload("t.csv", table(rows))).sample(10_000, seeded(0))
    assert (x[:, 0] < 0).double().mean().item() == pytest.approx(0.75, abs=0.03)


def test_many_points_are_subsampled_reproducibly_with_a_note():
    rows = np.random.default_rng(1).normal(size=(20_000, 2))
    spec = upload("t.csv", table(rows))
    data = dataset(spec)
    assert len(data.distribution.weights) == MAX_NODES
    assert "2,000 of your 20,000 points" in data.sentence
    assert torch.equal(data.sample(9, seeded(0)), dataset(spec).sample(9, seeded(0)))


# ---- Drawings


def test_drawn_points_keep_their_coordinates():
    t = np.linspace(0, 3, 50)
    data = dataset(draw(np.stack([t, t**2 / 3], axis=1)))
    assert (data.center, data.scale) == ((0.0, 0.0), 1.0)
    assert data.sample(20_000, seeded(0))[:, 0].mean().item() == pytest.approx(1.5, abs=0.05)


@pytest.mark.parametrize(
    ("x", "parts"),
    [
        (np.zeros((5, 2)), ["must be 20 to 20,000", "got 5"]),
        (np.zeros((30, 2)), ["must be different", "(0, 0)"]),
        (np.zeros((30, 3)), ["shape (n, 2)", "(30, 3)"]),
        (np.zeros(30), ["shape (n, 2)", "(30,)"]),
        (np.vstack([POINTS[:30] / 100, [[6, 0]]]), ["from -5 to 5", "point 31 is (6, 0)"]),
        (np.vstack([POINTS[:30] / 100, [[np.nan, 0]]]), ["finite", "point 31 is (nan, 0)"]),
    ],
)
def test_invalid_drawing_is_refused(x, parts):
    refuses(lambda: draw(x), *parts)


# ---- Pictures


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.png", encoded(page())),
        ("p.PNG", encoded(page("RGB", ground="white", ink="navy"))),
        ("p.jpg", encoded(page("RGB", ground="white", ink="black"), "JPEG", quality=95)),
        ("p.jpeg", encoded(page(), "JPEG", quality=95)),
        ("p.webp", encoded(page("RGB", ground="white", ink="black"), "WEBP", lossless=True)),
        ("p.gif", encoded(page(), "GIF")),
        ("p.bmp", encoded(page("1", ground=1), "BMP")),
        ("p.tif", encoded(page(), "TIFF")),
        ("p.png", encoded(page("RGBA", ground=(0, 0, 0, 0), ink=(0, 0, 0, 255)))),
        ("p.png", encoded(page("LA", ground=(0, 0), ink=(0, 255)))),
        ("p.png", encoded(page("I;16", ground=65_535))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_picture_is_sampled_where_it_is_dark(name, content):
    data = dataset(upload(name, content))
    x = data.sample(4_000, seeded(0))
    # The bar is three times as wide as high, in the middle of the frame.
    assert x[:, 0].abs().max().item() == pytest.approx(4, abs=0.02)
    assert x[:, 1].abs().max().item() == pytest.approx(4 / 3, abs=0.15)
    assert data.distribution.contains(x).all()


def test_picture_stands_upright_and_weighs_by_darkness():
    image = Image.new("L", (10, 20), 255)
    image.paste(0, (0, 0, 10, 10))
    image.paste(128, (0, 10, 10, 20))
    darkness = parse_picture(encoded(image))
    assert darkness.shape == (20, 10)
    x = dataset(upload("p.png", encoded(image))).sample(20_000, seeded(0))
    height = x[:, 1].max() - x[:, 1].min()
    upper = x[:, 1] > x[:, 1].max() - height / 2
    assert upper.double().mean().item() == pytest.approx(255 / (255 + 127), abs=0.02)


def test_photograph_is_rotated_by_its_orientation():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be rotated by 90 degrees clockwise
    darkness = parse_picture(encoded(page(), "PNG", exif=exif))
    assert darkness.shape == (60, 20)


@pytest.mark.parametrize(
    ("levels", "dtype", "options"),
    [
        ((0, 1), np.float32, {}),
        ((-1, 1), np.float32, {}),
        ((0, 200), np.float32, {}),
        ((0, 4095), np.uint16, {}),
        ((0, 255), np.uint8, {}),
        ((65535, 0), np.uint16, {"tiffinfo": {262: 0}}),  # 0 is white
    ],
    ids=str,
)
def test_range_of_a_picture_is_that_of_its_type_and_content(levels, dtype, options):
    black, white = levels
    level = np.full((40, 90), white, dtype)
    level[10:20, 20:50] = black
    content = encoded(Image.fromarray(level), "TIFF", **options)
    assert parse("p.tif", content).array.shape == (10, 30)
    inverted = parse("p.tif", content, Reading(light=True))
    assert inverted.array.shape == (28, 64)  # the page around the bar, shrunk
    assert "light ones are sampled" in inverted.note


def test_lab_picture_is_read_by_its_lightness():
    sheet = page("LAB", ground=(255, 128, 128), ink=(0, 128, 128))
    assert parse_picture(encoded(sheet, "TIFF")).shape == (20, 60)


def strips(kind):
    """A TIFF of 4 x 4 grey pixels whose data offset has this type: 4 integer, 5 rational."""
    rest = 8 + 2 + 8 * 12 + 4
    tags = {256: 4, 257: 4, 258: 8, 259: 1, 262: 1, 273: rest, 278: 4, 279: 16}
    entries = b"".join(
        struct.pack("<HHII", tag, kind if tag == 273 else 4, 1, value)
        for tag, value in tags.items()
    )
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    return head + struct.pack("<II", rest, 1) + bytes(8)


def test_tiff_with_integer_offsets_is_read():
    assert parse_picture(strips(4)).shape == (4, 4)


def test_nan_pixels_are_background():
    level = np.full((20, 20), 255, np.float32)
    level[5:9, 5:9] = 0
    level[0], level[10], level[:, 0] = np.nan, np.inf, -np.inf
    assert parse_picture(encoded(Image.fromarray(level), "TIFF")).max() == 255
    dataset(upload("p.tif", encoded(Image.fromarray(level), "TIFF")))


def test_large_picture_is_shrunk_and_thin_lines_survive():
    image = Image.new("L", (3_000, 1_500), 255)
    ImageDraw.Draw(image).line((0, 0, 2_999, 1_499), fill=0, width=2)
    darkness = parse_picture(encoded(image))
    assert darkness.shape == (LATTICE // 2, LATTICE)
    assert darkness.any(axis=0).all()


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", ["one of the formats PNG, JPEG", "this file is not", "Save it as PNG"]),
        (table(), ["this file is not"]),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", ["this file is not"]),
        (encoded(page())[:150], ["must not be damaged", "damaged", "Save it again"]),
        (encoded(page(), "JPEG")[:700], ["must not be damaged", "damaged"]),
        (encoded(Image.new("L", (50, 50), 255)), ["must have dark pixels", "dark lines"]),
        (encoded(Image.new("L", (50, 50), 240)), ["must have dark pixels"]),
        (encoded(Image.new("RGBA", (50, 50), (0, 0, 0, 0))), ["white or transparent everywhere"]),
        (encoded(Image.new("1", (6_000, 5_000))), ["25,000,000 pixels", "6000 x 5000", "smaller"]),
        (encoded(Image.new("1", (10_000, 9_500))), ["25,000,000 pixels"]),
        (encoded(Image.new("1", (20_000, 10_000))), ["25,000,000 pixels"]),
        (encoded(Image.new("1", (1, 25_000))), ["20,000 per side", "1 x 25000"]),
        (strips(5), ["must not be damaged", "Save it again"]),
        (encoded(Image.fromarray(np.full((9, 9), np.nan, np.float32)), "TIFF"), ["dark pixels"]),
    ],
)
@pytest.mark.parametrize("action", ["error", "ignore"])  # for Pillow's warning of large pictures
def test_invalid_picture_is_refused(content, parts, action):
    with warnings.catch_warnings(action=action, category=Image.DecompressionBombWarning):
        refuses(lambda: upload("p.png", content), *parts)


# ---- Keeping and links


def test_upload_is_stored_by_content_without_pickle(home):
    spec = upload("a.csv", table())
    assert re.fullmatch(r"points:[0-9a-f]{16}", spec)
    assert upload("b.txt", table(separator=";", header="x;y\n")) == spec
    assert upload("c.csv", table(POINTS[::-1])) != spec
    (first, _) = sorted(home.iterdir(), key=os.path.getmtime)
    np.testing.assert_array_equal(np.load(first, allow_pickle=False), POINTS)
    assert is_linkable(spec)
    assert dataset(spec).name == spec


def test_least_recently_used_files_are_deleted(home, monkeypatch):
    old, used = upload("a.csv", table()), upload("b.csv", table(POINTS[::-1]))
    for k, spec in enumerate((used, old)):
        os.utime(home / f"{spec.replace(':', '-')}.npy", (k, k))
    dataset(used)  # now the more recently used one
    monkeypatch.setattr(uploads, "MAX_STORED", 2.5 * (POINTS.nbytes + 128))
    new = upload("c.csv", table(POINTS + 0.5))
    assert len(list(home.iterdir())) == 2
    dataset(used), dataset(new)
    refuses(lambda: dataset(old), "Upload them again")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "/secret"), "read-only"),
        (OSError("262144 requested and 262112 written"), "the disk reports an error"),
        (TargetError("The folder /secret cannot be written to."), "read-only"),
    ],
)
def test_read_only_disk_is_one_sentence_without_a_path(monkeypatch, error, reason):
    def fail(*_):
        raise error

    monkeypatch.setattr(uploads, "write_array", fail)
    refuses(lambda: upload("a.csv", table()), "were not: ", reason, "Ask its operator")
    with pytest.raises(ValueError) as caught:
        draw(np.random.default_rng(0).uniform(-1, 1, (30, 2)))
    assert "secret" not in str(caught.value)


def test_full_disk_is_named_by_its_error(tmp_path, monkeypatch):
    """NumPy's own error states only the number of written bytes."""
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "x")
    monkeypatch.setattr(files.Path, "touch", lambda self, **_: self.symlink_to("/dev/full"))
    with pytest.raises(OSError, match="No space left"):
        files.write_array(tmp_path / "a.npy", np.zeros(10**5))
    assert not list(tmp_path.iterdir())


def test_refused_upload_stores_and_deletes_nothing(home):
    spec = upload("a.csv", table())
    before = sorted(home.iterdir())
    refuses(lambda: upload("a.csv", b"1,2\n"))
    assert sorted(home.iterdir()) == before
    dataset(spec)


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("points:0123456789abcdef", ["must be stored on this server", "Upload them again"]),
        ("points:../../etc/passwd", ["16 hexadecimal digits", "Copy the whole link"]),
        ("picture:", ["16 hexadecimal digits", "got ''"]),
        ("drawing:0123456789ABCDEF", ["16 hexadecimal digits"]),
    ],
)
def test_link_to_nothing_is_refused(spec, parts):
    refuses(lambda: dataset(spec), *parts)


@pytest.mark.parametrize("damage", ["cut", "changed", "pickled", "empty", "archive"])
def test_damaged_file_is_refused_and_replaced_by_a_new_upload(home, damage):
    spec = upload("a.csv", table())
    (file,) = home.iterdir()
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-40])
    elif damage == "changed":
        np.save(file, POINTS + 1)
    elif damage == "pickled":
        np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    elif damage == "empty":
        file.write_bytes(b"")
    else:
        with file.open("wb") as archive:
            np.savez(archive, POINTS)
    refuses(lambda: dataset(spec), "must not be damaged", "Upload them again")
    assert upload("a.csv", table()) == spec
    dataset(spec)


def test_local_files_are_read_but_not_in_links(tmp_path):
    (tmp_path / "t.csv").write_bytes(table())
    (tmp_path / "p.png").write_bytes(encoded(page()))
    for name in ("t.csv", "p.png"):
        path = str(tmp_path / name)
        assert dataset(path).name == path
        assert not is_linkable(path)
    assert is_linkable("checkerboard")
    assert is_linkable("word:FLOW")
    assert not is_linkable("C:\\data.csv")


def test_missing_and_foreign_files_are_refused(tmp_path):
    refuses(lambda: dataset(str(tmp_path / "no.csv")), "No such file", "Correct its path")
    refuses(lambda: upload("t.xlsx", table()), "a table (.csv", "a picture (.png", "'t.xlsx'")


def test_large_files_are_refused_before_they_are_read(tmp_path):
    refuses(lambda: upload("t.csv", b" " * 10_000_001), "at most 10 MB", "got 10.0 MB")
    with (tmp_path / "t.csv").open("wb") as file:
        file.truncate(50_000_000)
    refuses(lambda: dataset(str(tmp_path / "t.csv")), "at most 10 MB", "got 50.0 MB")


# ---- Words


@pytest.mark.parametrize("text", ["FLOW", "I", "-", "x^2+y^2=1", "optimal transport"])
def test_word_is_drawn_in_the_frame(text):
    data = dataset(f"word:{text}")
    x = data.sample(5_000, seeded(0))
    assert x.abs().max() <= 4.001
    assert x.abs().max() > 3.9
    assert max(data.distribution.weights.shape) <= LATTICE
    assert text in data.sentence


def test_word_can_be_read():
    # L has a column on the left and a row at the bottom; the rest is empty.
    weights = dataset("word:L").distribution.weights  # (nx, ny), y upwards
    nx, ny = weights.shape
    assert (weights[1 : nx // 8, 1:-1] > 0).all()  # the corners are round
    assert (weights[1:-1, 1 : ny // 16] > 0).all()
    assert (weights[nx // 2 :, ny // 4 :] == 0).all()


def test_long_words_take_several_lines():
    one, two = (
        dataset(f"word:{text}").distribution.weights.shape for text in ("mm", "mm mmmmmmm")
    )
    assert one[0] / one[1] > 2
    assert two[0] / two[1] < 4


def test_blanks_of_a_word_do_not_count():
    assert dataset("word:  a \n b ").name == "word:a b"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["at least one letter", "got none", "such as FLOW"]),
        (" \t\n", ["at least one letter"]),
        ("a" * (MAX_LETTERS + 1), ["at most 24 letters", "got 25", "Shorten"]),
        ("flow 流", ["the font contains", "'流'", "Latin letters without accents"]),
        ("Ärger", ["the font contains", "'Ä'"]),
        ("🙂", ["the font contains"]),
        ("a\u200bb", ["the font contains"]),
        ("a\x00", ["the font contains"]),
    ],
)
def test_invalid_word_is_refused(text, parts):
    refuses(lambda: dataset(f"word:{text}"), *parts)


# ---- Mixtures


def test_mixture_has_the_given_means():
    data = dataset("mixture: -2, 1 ;3,-1@0.30")
    assert data.name == mixture_spec([(-2, 1), (3, -1)], 0.3) == "mixture:-2,1;3,-1@0.3"
    assert data.distribution.means.tolist() == [[-2, 1], [3, -1]]
    x = data.sample(10_000, seeded(0))
    right = x[x[:, 0] > 0.5]
    assert len(right) == pytest.approx(5_000, abs=250)
    assert right.std(dim=0).tolist() == pytest.approx([0.3, 0.3], abs=0.02)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["must end in @", "Write it as in mixture:"]),
        ("0,0", ["must end in @", "got '0,0'"]),
        ("@0.3", ["two numbers separated by a comma", "got ''"]),
        ("0,0;1@0.3", ["two numbers separated by a comma", "got '1'"]),
        ("0,0;@0.3", ["two numbers separated by a comma", "got ''"]),
        ("0,a@0.3", ["must be a number", "got 'a'"]),
        ("0,nan@0.3", ["must be a number", "got 'nan'"]),
        ("0,9@0.3", ["in the frame, from -5 to 5", "got (0, 9)"]),
        ("0,0@", ["standard deviation", "must be a number", "got ''"]),
        ("0,0@0", ["from 0.02 to 2", "got 0"]),
        ("0,0@inf", ["must be a number", "got 'inf'"]),
        ("0,0@-1", ["from 0.02 to 2", "got -1"]),
        (";".join(["0,0"] * (MAX_MEANS + 1)) + "@1", ["at most 64 means", "got 65"]),
    ],
)
def test_invalid_mixture_is_refused(text, parts):
    refuses(lambda: dataset(f"mixture:{text}"), *parts)


def test_user_data_fulfil_the_contract_of_data_sets():
    for spec in (
        upload("t.csv", table()),
        upload("p.png", encoded(page())),
        draw(POINTS / 100),
        "word:FLOW",
        mixture_spec([(0, 0)], 1),
    ):
        data = dataset(spec)
        x = data.sample(2_000, seeded(0))
        assert x.shape == (2_000, 2)
        assert x.dtype == torch.float32
        assert torch.equal(x, dataset(spec).sample(2_000, seeded(0)))
        assert data.distribution.log_prob(x).isfinite().all()
        assert data.std > 0
        assert (data.mean - x.mean(dim=0)).abs().max() < 0.3
        assert data.name == spec
        assert spec.split(":")[0] in datasets.__doc__


def test_a_write_removes_old_drafts_of_its_file_only(tmp_path):
    names = ".a.txt.0123456789abcdef", ".a.txt.fedcba9876543210", ".b.txt.0123456789abcdef"
    old, new, other = (tmp_path / name for name in names)
    for draft in (old, new, other):
        draft.touch()
    for draft in (old, other):
        os.utime(draft, (time.time() - 2 * STALE,) * 2)
    write_bytes(tmp_path / "a.txt", b"text")
    assert {each.name for each in tmp_path.iterdir()} == {new.name, other.name, "a.txt"}
