"""The page on images: what its views say, what the browser is sent, and files that are refused."""

import io
import json
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import streamlit as st
from PIL import Image
from streamlit.testing.v1 import AppTest

from flowviz.canvases.images import FilmView
from flowviz.checkpoints import CheckpointError
from flowviz.checkpoints.images import describe_classifier, write_quality
from flowviz.datasets.images import image_set
from flowviz.experiments.image_judge import Judge, measure_reference
from flowviz.experiments.image_quality import QualityPoint
from flowviz.figures.images import Steps, step_sizes
from flowviz.solvers import SolveCancelled
from flowviz.training.classifier import ClassifierConfig, ClassifierRun
from flowviz.ui import figure
from flowviz.ui.images import downloads, gallery, measures, sources, words, work
from flowviz.ui.images.controls import VIEWS
from flowviz.ui.images.work import RUN, Piece, Store, worked

ROOT = Path(__file__).parents[1]
COLOURS = ("#000000", "#ffffff")


@pytest.fixture
def tiny(tiny_images, monkeypatch):
    """Where the page looks for checkpoints: the folder of the tiny ones."""
    monkeypatch.setenv("FLOWVIZ_CHECKPOINTS", str(tiny_images))
    st.cache_data.clear()
    yield tiny_images
    st.cache_data.clear()


def opened(**link):
    """The page once its images are there."""
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    for name, value in link.items():
        app.query_params[name] = value
    app.switch_page("pages/images.py")
    return finished(app.run())


def opened_with(folder, quality):
    """The page's view of quality, while these numbers are stored beside the one checkpoint."""
    beside = write_quality(folder / "images" / "tiny-ot.safetensors", quality)
    try:
        return opened(view="quality", left="tiny-ot", right="none")
    finally:
        beside.unlink()


def finished(app):
    """The page after its work in the background."""
    for _ in range(20):
        assert not app.exception, app.exception
        run = app.session_state.get(RUN, None)
        if run is None or not run.job.live:
            break
        run.job.wait(30)
        app.run()
    return app.run()


def text_of(app):
    return " ".join(element.value for element in [*app.markdown, *app.caption, *app.info])


def test_page_without_a_checkpoint_says_what_to_do(monkeypatch):
    monkeypatch.setattr(sources, "_listing", lambda: ({}, [], []))
    app = opened(view="nfe")
    assert len(app.info) == 1 and "python -m flowviz train" in app.info[0].value
    assert not app.error and not app.toast


LESSONS = {
    "samples": "16 images a side from the same noise",
    "nfe": "root mean square from the row NFE 100",
    "film": "decided in the last tenth of t",
    "noises": "along the great arc",
    "classes": "What the noise keeps",
    "guidance": "at black or full brightness at w = 0, 1",
    "ways": "How straight are ways",
    "quality": "No measurements are stored",
}


@pytest.mark.parametrize("view", VIEWS)
def test_view_says_what_to_notice_in_numbers(tiny, view):
    app = opened(view=view, nfe="4", left="tiny-ot", right="tiny-vp")
    assert not app.error and not app.toast
    assert LESSONS[view] in text_of(app)
    assert "were not trained equally long" in text_of(app)


@pytest.mark.parametrize(
    ("link", "fixed"),
    [
        ({"view": "samples"}, set()),
        ({"view": "samples", "class": "none"}, {"guidance"}),
        ({"view": "nfe"}, {"nfe"}),
        ({"view": "nfe", "class": "none"}, {"nfe", "guidance"}),
        ({"view": "nfe", "solver": "dopri5"}, {"tol"}),
        ({"view": "classes", "class": "none"}, {"class"}),
        ({"view": "guidance"}, {"guidance"}),
        ({"view": "ways"}, {"nfe"}),
        ({"view": "quality"}, {"nfe"}),
    ],
)
def test_what_a_view_does_not_use_cannot_be_moved(tiny, link, fixed):
    app = opened(**link, left="tiny-ot", right="none")
    controls = [*app.selectbox, *app.number_input, *app.select_slider]
    assert {box.key.rpartition(":")[2] for box in controls if box.disabled} == fixed
    assert not app.error and not app.toast


def test_stored_quality_is_drawn_and_told(tiny):
    def point(nfe, value):
        passes = 2.0 * nfe
        measures = {"frechet": value, "accuracy": 0.5}
        drawn = ("midpoint", nfe, "uniform", 2.0, 500, 0, nfe, passes)
        return QualityPoint(*drawn, measures, 0.4).as_dict()

    walked = {"tol": 1e-3, "nfe": 14, "times": [0, 0.4, 1], "rejected": [[0.4, 0.6]]}
    app = opened_with(tiny, {"points": [point(4, 9.0), point(20, 5.0)], "steps": walked})
    assert "5.00 at NFE 20 (w = 2, 50 % of its images are of their class" in text_of(app)
    assert "New points cannot be measured" in text_of(app), "digits are no CIFAR-10"
    assert not app.error


@pytest.fixture
def figures(monkeypatch):
    """The figures that the page draws, by key."""
    shown = {}
    monkeypatch.setattr(figure, "show", lambda plot, key, **_: shown.__setitem__(key, plot))
    return shown


def test_measuring_draws_the_class_asked_for_as_a_curve_of_its_own(tiny, figures, monkeypatch):
    config = ClassifierConfig(data="digits", stem=8, widths=(16, 24))
    train, test = image_set("digits"), image_set("digits", "test")
    card = describe_classifier("digits-classifier", asdict(config), train, images=1)
    judge = measure_reference(card, ClassifierRun(config, train).ema, train, test)
    monkeypatch.setattr(measures, "_judge", lambda: judge)
    monkeypatch.setattr(measures, "JUDGED", (20,))
    monkeypatch.setattr(measures, "NFES", (2, 4))
    app = opened(view="quality", left="tiny-ot", right="none", **{"class": "3"})
    assert "images-frechet" not in figures
    (button,) = [each for each in app.button if each.key == "images:measure"]
    assert "Measure 20 images a point" in button.label
    button.click()
    app.run()
    finished(app)
    assert "The least distances measured" in text_of(app) and not app.error
    (curve,) = figures["images-frechet"].data
    assert curve.name.endswith("midpoint, 3, w = 2, 20 images") and list(curve.x) == [2, 4]
    assert not [each for each in app.button if each.key == "images:measure"], "all is measured"


def test_fids_of_two_protocols_are_two_curves_that_say_so(tiny, figures):
    def point(nfe, fid, protocol):
        asked = ("midpoint", nfe, "uniform", 2.0, 500, 0, nfe, 2.0 * nfe)
        measures = {"frechet": 5.0, "accuracy": 0.5, "fid": fid}
        return QualityPoint(*asked, measures, 0.4, protocol).as_dict()

    ways = ["500 samples against A; bilinear", "500 samples against B; bicubic"]
    for told, labels in ((ways[:1], ["500 images"]), (ways, ["protocol 1", "protocol 2"])):
        points = [point(4 + i, 30.0 + i, way) for i, way in enumerate(told)]
        app = opened_with(tiny, {"points": points})
        assert not app.error
        plot = figures["images-fid"]
        assert [trace.name.rpartition(", ")[2] for trace in plot.data] == labels
        assert all(way in plot.layout.annotations[0].text for way in told)


def test_who_leads_at_a_low_nfe_is_said_whoever_it_is():
    def point(nfe, value):
        measures = {"frechet": value}
        return QualityPoint("midpoint", nfe, "uniform", None, 200, 0, nfe, nfe, measures)

    better, worse = [point(10, 3.0), point(50, 9.0)], [point(10, 4.0), point(50, 2.0)]
    text = measures.quality_words(["OT", "VP"], [better, worse])
    assert "at NFE 10 OT is ahead, 3.00 against 4.00" in text and "VP 2.00 at NFE 50" in text
    assert "at NFE 10 VP is ahead" in measures.quality_words(["OT", "VP"], [worse, better])
    assert "at NFE 10 both are at 3.00" in measures.quality_words(["OT", "VP"], [better, better])
    other_seed = [replace(each, seed=5) for each in worse]
    assert "few evaluations" not in measures.quality_words(["OT", "VP"], [better, other_seed])
    many = [replace(point(10, 1.0), n=1_000), *better]
    text = measures.quality_words(["OT", "VP"], [many, worse])
    assert "of 200 images a point" in text and "OT 3.00" in text
    text = measures.quality_words(["OT", "VP"], [many[:1], worse])
    assert "OT 1.00 at NFE 10 (1,000 images)" in text and "VP 2.00 at NFE 50 (200 images)" in text


def test_a_solver_that_the_end_of_the_path_spoils_is_named_with_the_reason():
    def point(solver, value):
        measures = {"frechet": value, "accuracy": 0.5}
        return QualityPoint(solver, 20, "uniform", 1.0, 1_000, 0, 20, 20, measures, 0.2)

    far, near = ([point("midpoint", 4.0), point("rk4", rk4)] for rk4 in (32.0, 5.0))
    text = measures.end_words(["OT", "VP"], ["ot", "vp"], [near, far])
    assert "**Runge-Kutta 4 (3/8 rule) on VP** is 8 times as far as midpoint with NFE 20" in text
    assert "dσ/dt is −50" in text and "on OT" not in text
    assert not measures.end_words(["VP"], ["vp"], [[point("midpoint", 4.0), point("euler", 32.0)]])


def test_points_of_two_seeds_are_two_curves(tiny, figures):
    measures = {"frechet": 5.0, "accuracy": 0.5}
    points = [
        QualityPoint(
            *("midpoint", nfe, "uniform", 2.0, 50, seed, nfe, 2 * nfe), measures, 0.4
        ).as_dict()
        for seed in (0, 5)
        for nfe in (4, 10)
    ]
    app = opened_with(tiny, {"points": points})
    assert not app.error
    names = [trace.name for trace in figures["images-accuracy"].data]
    assert len(names) == 2 and "seed 0" in names[0] and "seed 5" in names[1]


def test_numbers_of_another_classifier_are_left_out(tiny, monkeypatch):
    card = SimpleNamespace(sha256="a")
    monkeypatch.setattr(measures, "_judge", lambda: Judge(card, None, None, {}))
    stored = {
        "points": [1],
        "training": [2],
        "steps": 3,
        "protocol": {"classifier_sha256": "b", "classifier": "mine"},
    }
    monkeypatch.setattr(sources, "quality", lambda _: stored)
    told = []
    monkeypatch.setattr(st, "warning", lambda text, **_: told.append(text))
    side = SimpleNamespace(name="tiny-ot")
    kept = measures._stored(side)
    assert kept.keys() == {"steps", "protocol"} and "another classifier" in told[0]
    card.sha256 = "b"
    assert measures._stored(side) == stored and len(told) == 1


def test_sizes_that_differ_are_refused_in_a_sentence(tiny, monkeypatch):
    load = sources.load

    def wide(name):
        source = load(name)
        if name == "tiny-vp":
            object.__setattr__(source.card, "size", 16)
        return source

    monkeypatch.setattr(sources, "load", wide)
    app = opened(left="tiny-ot", right="tiny-vp")
    sources._loaded.clear()
    assert "Both sides must draw images of one size" in app.error[0].value


class Upload:
    """A file as st.file_uploader hands it over."""

    def __init__(self, name, content):
        self.name, self.content, self.file_id = name, content, f"{name}-{len(content)}"

    def getvalue(self):
        return self.content


def test_an_upload_joins_the_menus_or_is_refused_and_changes_nothing(tiny, monkeypatch):
    content = (tiny / "images" / "tiny-ot.safetensors").read_bytes()
    files = [Upload("mine.safetensors", content), Upload("bad.pt", b"\x80\x04cos\nsystem\n.")]
    monkeypatch.setattr(st, "file_uploader", lambda *_, **__: files[0])
    app = opened(nfe="4", right="none")
    menu = next(box for box in app.selectbox if box.key.endswith(":left"))
    assert "mine.safetensors (upload)" in menu.options and not app.error
    files.pop(0)
    app.run()
    assert [error.value.count("bad.pt") for error in app.error] == [1]
    menu = next(box for box in app.selectbox if box.key.endswith(":left"))
    assert "mine.safetensors (upload)" in menu.options and not app.exception


def test_newest_uploads_are_held_and_none_takes_the_name_of_another(tiny, monkeypatch):
    content = (tiny / "images" / "tiny-ot.safetensors").read_bytes()
    names = ["tiny-ot", "b.safetensors", "c.safetensors", "d.safetensors"]
    shown = []
    monkeypatch.setattr(st, "file_uploader", lambda *_, **__: shown[0])
    shown.append(Upload(names[0], content))
    app = opened(nfe="4", right="none")
    for name in names[1:]:
        menu = next(box for box in app.selectbox if box.key.endswith(":left"))
        assert "uploaded tiny-ot (upload)" in menu.options and "tiny-ot" in menu.options
        shown[0] = Upload(name, content)
        app.run()
    assert list(app.session_state[sources.HELD]) == names[1:]
    assert not app.exception and not app.error


def test_file_that_memory_cannot_hold_is_refused_once_and_for_all(tiny, monkeypatch):
    def full(name, content):
        raise MemoryError

    monkeypatch.setattr(sources, "_opened", full)
    monkeypatch.setattr(st, "file_uploader", lambda *_, **__: Upload("big.pt", b"x"))
    app = opened(nfe="4", right="none")
    for _ in range(2):
        assert ["larger than this server can hold" in error.value for error in app.error] == [True]
        assert not app.exception
        app.run()


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x10" + bytes(7) + b'{"a": 1}'])
def test_uploads_of_no_known_kind_are_one_sentence(content):
    with pytest.raises(CheckpointError) as error:
        sources._opened("../x/file.safetensors", content)
    assert "\n" not in str(error.value) and "../" not in str(error.value)


def test_a_damaged_upload_of_ours_is_called_as_the_visitor_calls_it(tiny):
    content = (tiny / "images" / "tiny-ot.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match=r"mine\.safetensors"):
        sources._opened("mine.safetensors", content[:-10])


# ---- work


def test_known_pieces_are_not_done_again_and_their_share_rises():
    known, done = Store(), []
    known["a"] = 1

    def work(should_stop):
        done.append(should_stop())
        return 2

    shares = list(worked([Piece("a", work, 1), Piece("b", work, 1)], known, workers=2))
    assert done == [False] and known["b"] == 2
    assert shares[-1] == pytest.approx(1)


def test_results_that_others_displaced_are_made_again(tiny):
    app = opened(left="tiny-ot", right="none", nfe="2")
    work.store().clear()
    app.run()
    assert not app.info and not app.exception and work.store()


def test_newest_results_are_kept_as_far_as_memory_goes(monkeypatch):
    monkeypatch.setattr(work, "MOST_BYTES", 100)
    known = Store()
    for i in range(3):
        known[i] = (np.zeros(40, np.uint8), "more")
    assert list(known) == [1, 2]
    known[3] = np.zeros(400, np.uint8)
    assert list(known) == [3], "the newest stays, whatever its size"


def test_piece_that_came_meanwhile_is_not_made_again():
    known, done = Store(), []

    def first(should_stop):
        known["b"] = "another visitor's"
        return 1

    pieces = [Piece("a", first, 1), Piece("b", lambda _: done.append(1), 1)]
    list(worked(pieces, known, workers=1))
    assert not done and known["b"] == "another visitor's"


def test_closing_work_stops_it_before_its_next_evaluation():
    known, begun, ended = Store(), threading.Event(), threading.Event()

    def work(should_stop):
        begun.set()
        while not should_stop():
            time.sleep(0.01)
        ended.set()
        raise SolveCancelled

    going = worked([Piece(i, work, 10) for i in range(3)], known, workers=1)
    next(going)
    assert begun.wait(5)
    going.close()
    assert ended.wait(5) and not known


def test_what_a_piece_refuses_is_raised():
    def work(should_stop):
        raise ValueError("A class must be known.")

    with pytest.raises(ValueError, match="A class must be known"):
        list(worked([Piece("a", work, 1)], Store(), workers=1))


def images(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    "report", [None, 3, {}, {"t": 2, "image": 0}, {"t": "x", "image": 0}, {"t": 0.1, "image": 9}]
)
def test_a_report_from_elsewhere_is_not_believed(report):
    assert gallery._reported(report, FilmView(0.3, 1), count=2) == FilmView(0.3, 1)


def test_png_enlarges_every_pixel_to_a_square():
    sheet = images(3, 5, 3)
    drawn = np.asarray(Image.open(io.BytesIO(downloads.png(sheet))))
    np.testing.assert_array_equal(drawn[2::4, 1::4], sheet)
    assert drawn.shape == (12, 20, 3)


def test_npz_has_the_arrays_and_what_made_them():
    values = images(2, 3, 4, 4)
    with np.load(io.BytesIO(downloads.npz({"images": values}, {"seed": 7}))) as file:
        np.testing.assert_array_equal(file["images"], values)
        assert json.loads(str(file["settings"])) == {"seed": 7}


# ---- words


def test_a_prediction_that_moves_evenly_has_a_tenth_left():
    times = np.linspace(0, 0.999, 41)
    even = np.repeat((1 - times / 0.999)[:, None], 3, axis=1)
    assert words.last_tenth(times, even) == pytest.approx(0.1)
    assert words.last_tenth(times, even**2) == pytest.approx(0.01, abs=1e-3)


def test_half_of_the_variance_is_noise_where_signal_and_noise_are_equal():
    t = np.linspace(0, 1, 2001)
    share = (1 - t) / np.hypot(0.5 * t, 1 - t)  # conditional OT to data of deviation 0.5
    assert words.half_noise(t, share) == pytest.approx(2 / 3, abs=1e-3)


def test_images_of_one_noise_are_told_from_others():
    left = images(6, 3, 4, 4)
    labels = np.array([0, 0, 0, 1, 1, 1])
    own, others = words.kinship(left, left, labels)
    assert own == 0
    assert others == pytest.approx(255 / np.sqrt(6), rel=0.15), "of independent uniform values"
    assert words.kinship(left, left, np.arange(6))[1] > 0, "no class twice: over all"


def test_rows_are_compared_by_neighbours_classes_and_noises():
    row = np.full((1, 3, 1, 2, 2), 10, np.uint8)
    row[0, 2] = 40
    assert words.largest_step(row) == (15, 30)
    sheet = np.zeros((2, 2, 1, 2, 2), np.uint8)
    sheet[:, 1] = 8  # the class alone decides
    assert words.between_and_within(sheet) == (8, 0)
    assert words.clipped([sheet, row]) == [0.5, 0]


def test_steps_of_an_adaptive_solver_are_drawn_with_those_refused():
    steps = Steps(
        label="OT", colour="#0072B2", times=np.array([0, 0.1, 1]), rejected=np.array([[0.1, 0.5]])
    )
    taken, refused = step_sizes([steps]).data
    assert list(taken.y) == pytest.approx([0.1, 0.9, 0.9]) and list(refused.y) == [0.5]
    with pytest.raises(ValueError, match="times must increase"):
        Steps(label="", colour="#000000", times=np.array([0.0, 0.0]), rejected=np.empty((0, 2)))
