"""The page on images: findings of its views, data for the browser, and files that are refused."""

import io
import json
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import streamlit as st
import torch
from apps import settled
from PIL import Image
from streamlit.testing.v1 import AppTest

from flowviz.canvases.images import FilmView
from flowviz.checkpoints import CheckpointError
from flowviz.checkpoints.images import describe_classifier, load_images, write_quality
from flowviz.datasets.images import image_set
from flowviz.experiments.image_judge import Judge, measure_reference
from flowviz.experiments.image_quality import QualityPoint
from flowviz.experiments.image_views import Film
from flowviz.experiments.images import ImageConfig, sample_all
from flowviz.figures.images import Mosaic, Steps, mosaics, step_sizes
from flowviz.metrics.image_pairs import (
    between_classes_and_noises,
    clipped,
    same_noise,
)
from flowviz.metrics.image_pairs import (
    step_sizes as neighbour_distances,
)
from flowviz.networks import UNet, UNetShape
from flowviz.studies import STUDIES, _images, image_film, image_grid, image_quality
from flowviz.studies._canvases import films_of, sheets_of
from flowviz.studies._image_points import JudgedSide, failures, jumping, leaders, smallest
from flowviz.studies._image_sheets import ImageGridConfig
from flowviz.studies._images import ImageSide, Sides
from flowviz.studies.image_film import ImageFilmConfig, half_noise, last_tenth
from flowviz.training.classifier import ClassifierConfig, ClassifierRun
from flowviz.ui import figure, results
from flowviz.ui.images import downloads, gallery, sources
from flowviz.ui.images.controls import VIEWS
from flowviz.ui.notices import escaped

ROOT = Path(__file__).parents[1]
COLOURS = ("#000000", "#ffffff")


@pytest.fixture
def tiny(tiny_images, monkeypatch):
    """Sets the folder of checkpoints of the page to that of the tiny ones."""
    monkeypatch.setenv("FLOWVIZ_CHECKPOINTS", str(tiny_images))
    st.cache_data.clear()
    yield tiny_images
    st.cache_data.clear()


def opened(**link):
    """The page after its images have been computed."""
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    for name, value in link.items():
        app.query_params[name] = value
    app.switch_page("pages/images.py")
    app = settled(app.run())
    assert not app.exception, app.exception
    return app


def opened_with(folder, quality):
    """The page's view of quality while these numbers are stored with the only checkpoint."""
    quality_file = write_quality(folder / "images" / "tiny-ot.safetensors", quality)
    try:
        return opened(view="quality", left="tiny-ot", right="none")
    finally:
        quality_file.unlink()


def text_of(app):
    return " ".join(element.value for element in [*app.markdown, *app.caption, *app.info])


def test_page_without_a_checkpoint_says_what_to_do(monkeypatch):
    monkeypatch.setattr(sources, "_listing", lambda: ({}, [], []))
    app = opened(view="nfe")
    assert len(app.info) == 1 and "python -m flowviz train" in app.info[0].value
    assert not app.error and not app.toast


LESSONS = {
    "samples": "16 images per side from the same noise",
    "nfe": "difference of the pixels (0..255) from the row NFE 100",
    "film": "Changes in the last tenth of t",
    "noises": "along a great arc",
    "classes": "What the noise keeps",
    "guidance": "Pixel values at 0 or 255",
    "ways": "longer than the straight lines from start to end",
    "quality": "No measurements are stored",
}


@pytest.mark.parametrize(
    "view",
    [
        pytest.param(view, marks=pytest.mark.slow if view in ("nfe", "ways") else ())
        for view in VIEWS
    ],
)
def test_view_states_what_to_notice_with_numbers(tiny, view):
    app = opened(view=view, nfe="4", left="tiny-ot", right="tiny-vp")
    assert not app.error and not app.toast
    assert LESSONS[view] in text_of(app)
    assert "were not trained equally long" in text_of(app)


@pytest.mark.parametrize(
    ("link", "text"),
    [
        ({"right": "cifar10-ot"}, "Left: jumps, one per evaluation"),
        (
            {"right": "cifar10-ot"},
            "Right: no flow map, so as many Euler steps.",
        ),
        ({"right": "cifar10-vp-distillation"}, "Jumps, one per evaluation"),
        (
            {"left": "cifar10-ot", "right": "none"},
            "No flow map is chosen, and only flow maps",
        ),
        ({"right": "cifar10-vp", "solver": "euler"}, "images of VP diffusion lose quality first"),
        ({"right": "cifar10-ot", "solver": "euler"}, "images lose quality."),
        ({"right": "cifar10-ot", "view": "ways"}, "longer than straight lines"),
    ],
)
def test_what_to_notice_is_true_for_jumps_and_for_steps(monkeypatch, link, text):
    for module in (_images, image_grid):
        monkeypatch.setattr(module, "compute_pieces", lambda *_, **__: iter(()))
    app = opened(**{"left": "cifar10-ot-distillation", "solver": "jumps", "nfe": "3"} | link)
    (notice,) = [each.value for each in app.markdown if "What to notice" in each.value]
    assert text in notice


def test_guidance_can_lead_away_from_another_checkpoint_of_the_path(tiny):
    app = opened(view="guidance", nfe="4", left="tiny-ot", right="none", guide="tiny-vp")
    assert "must have the path" in app.error[0].value
    app = opened(view="guidance", nfe="4", left="tiny-ot", guide="tiny-ot", right="tiny-vp")
    assert "guidance leads away from tiny-ot" in text_of(app)
    assert "At w = 0 the images are those of tiny-ot" in text_of(app)


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
        ({"view": "ways"}, {"solver"}),
        ({"view": "ways", "solver": "jumps", "nfe": "2"}, {"solver"}),
        ({"view": "quality"}, {"nfe"}),
    ],
)
def test_controls_that_a_view_does_not_use_are_disabled(tiny, monkeypatch, link, fixed):
    for module in (_images, image_grid, image_quality):
        monkeypatch.setattr(module, "compute_pieces", lambda *_, **__: iter(()))
    app = opened(**link, left="tiny-ot", right="none")
    controls = [*app.selectbox, *app.number_input, *app.select_slider]
    assert {box.key.rpartition(":")[2] for box in controls if box.disabled} == fixed
    drawn = {box.key.rpartition(":")[2] for box in controls}
    assert ("tol" in drawn) == (link["view"] == "ways" or link.get("solver") == "dopri5")
    assert not app.error and not app.toast


def test_stored_quality_is_drawn_and_described(tiny):
    def point(nfe, value):
        passes = 2.0 * nfe
        measures = {"frechet": value, "accuracy": 0.5}
        drawn = ("midpoint", nfe, "uniform", 2.0, 500, 0, nfe, passes)
        return QualityPoint(*drawn, measures, 0.4).as_dict()

    walked = {"tol": 1e-3, "nfe": 14, "times": [0, 0.4, 1], "rejected": [[0.4, 0.6]]}
    app = opened_with(tiny, {"points": [point(4, 9.0), point(20, 5.0)], "steps": walked})
    assert "5.00 at NFE 20 (w = 2, 50% in the right class" in text_of(app)
    assert "New points cannot be measured" in text_of(app), "digits are not CIFAR-10"
    assert not app.error


@pytest.fixture
def figures(monkeypatch):
    """The figures that the page draws, by key."""
    shown = {}
    monkeypatch.setattr(figure, "show", lambda plot, key, **_: shown.__setitem__(key, plot))
    return shown


@pytest.fixture
def own_store():
    """An empty store of results, before and after."""
    results.store().clear()
    yield
    results.store().clear()


def test_measuring_draws_the_chosen_class_as_a_separate_curve(
    tiny, figures, own_store, monkeypatch
):
    config = ClassifierConfig(data="digits", stem=8, widths=(16, 24))
    train, test = image_set("digits"), image_set("digits", "test")
    card = describe_classifier("digits-classifier", asdict(config), train, images=1)
    judge = measure_reference(card, ClassifierRun(config, train).ema, train, test)
    monkeypatch.setattr(image_quality, "classifier_judge", lambda _: judge)
    monkeypatch.setattr(image_quality, "NFES", (2, 4))
    app = opened(view="quality", left="tiny-ot", right="none", **{"class": "3"})
    assert "images-quality-frechet" not in figures
    (button,) = [each for each in app.button if each.key == "images-start"]
    assert "Measure 200 images per point" in text_of(app)
    button.click()
    settled(app.run())
    assert "the smallest Fréchet distances" in text_of(app) and not app.error
    (curve,) = figures["images-frechet"].data
    assert curve.name.endswith("midpoint, 3, w = 2, 200 images") and list(curve.x) == [2, 4]
    assert not [each for each in app.button if each.key == "images-start"], "all is measured"


def test_fids_of_two_protocols_are_two_labelled_curves(tiny, figures):
    def point(nfe, fid, protocol):
        settings = ("midpoint", nfe, "uniform", 2.0, 500, 0, nfe, 2.0 * nfe)
        measures = {"frechet": 5.0, "accuracy": 0.5, "fid": fid}
        return QualityPoint(*settings, measures, 0.4, protocol).as_dict()

    both = ["500 samples against A; bilinear", "500 samples against B; bicubic"]
    for protocols, labels in ((both[:1], ["500 images"]), (both, ["protocol 1", "protocol 2"])):
        points = [point(4 + i, 30.0 + i, each) for i, each in enumerate(protocols)]
        app = opened_with(tiny, {"points": points})
        assert not app.error
        plot = figures["images-quality-fid"]
        assert [trace.name.rpartition(", ")[2] for trace in plot.data] == labels
        assert all(each in plot.layout.annotations[0].text for each in protocols)


def judged(*sides):
    """Sides named OT and VP with their points."""
    return [
        JudgedSide(
            side=ImageSide(
                name=path,
                label=path.upper(),
                path=path,
                jumps=False,
                counted="images",
                classes=(),
                shape=(1, 8, 8),
                images=0,
                planned=0,
                about="",
            ),
            points=tuple(points),
        )
        for path, points in zip(("ot", "vp"), sides, strict=False)
    ]


def test_the_label_of_a_side_does_not_depend_on_the_other_side():
    labels = {
        "cifar10-ot": "conditional OT",
        "cifar10-ot-distillation": "conditional OT flow map",
        "cifar10-ot-early": "conditional OT (cifar10-ot-early)",
        "cifar10-vp": "VP diffusion",
    }
    for left, right in pairwise([*labels, "cifar10-ot"]):
        sides = _images.load_sides(_images.ImagesConfig(left=left, right=right))
        assert [each.side.label for each in sides] == [labels[left], labels[right]]
    text = " ".join(each.text for each in _images.origin([each.side for each in sides]))
    assert "VP diffusion was trained on" in text and "cifar10" not in text


def test_a_film_with_jumps_states_its_times():
    times, still = np.linspace(0, 1, 5), np.zeros((5, 5, 1, 8, 8), np.uint8)
    shared = {"states": still, "predictions": still, "noise": 1 - times, "nfe": 2}
    jumps = Film(times, np.repeat([0, 0.45, 1], [2, 2, 1]), remaining=np.ones((5, 5)), **shared)
    euler = Film(times, times, remaining=np.ones((5, 5)), **shared)
    first, second = (each.side for each in judged((), ()))
    result = Sides(results=((replace(first, jumps=True), jumps), (second, euler)))
    config = ImageFilmConfig(method="jumps", nfe=2)
    strip, decided = (each.figure for each in image_film.STUDY.draw(config, result))
    for k, drawn in enumerate(decided.data):
        assert drawn.x.tolist() == ([0, 0.45, 1] if k < 2 else times.tolist())
        assert drawn.mode == ("markers" if k < 2 else "lines")
    titles = [note.text for note in strip.layout.annotations]
    assert ["after the last jump" in title for title in titles] == [True, False]
    assert [side.title for side in films_of(config, result)[0]] == [
        "OT, state after the last jump",
        "VP",
    ]
    (jump,) = [each for each in image_film.STUDY.say(config, result) if each.lead == "Jumps"]
    assert jump.text.startswith("OT has states at t = 0.00, 0.45, 1.00 and none between them")
    shown = image_film.STUDY.say(replace(config, method="euler"), result)
    assert not [each for each in shown if each.lead == "Jumps"]


def test_the_straightness_of_a_flow_map_is_that_of_its_velocity():
    times = np.linspace(0, 1, 3)
    straight = SimpleNamespace(
        times=times, deviations=np.ones(3), relative=0.1, arc_over_chord=1.1
    )
    side, _ = (each.side for each in judged((), ()))
    study = STUDIES["image-straightness"]
    texts = [
        " ".join(map(str, study.say(study.config(), result)))
        for result in (
            Sides(results=((replace(side, jumps=jumps), ({"nfe": 8}, straight)),))
            for jumps in (True, False)
        )
    ]
    assert ["follows its velocity" in each for each in texts] == [True, False]


def test_all_curves_of_quality_differ_also_for_two_sides_of_one_path():
    def point(solver, nfe, guidance):
        settings = (solver, nfe, "uniform", guidance, 500, 0, nfe, 2.0 * nfe)
        return QualityPoint(*settings, {"frechet": 5.0, "accuracy": 0.5}, 0.4)

    kinds = [("euler", 1.0), ("midpoint", 1.0), ("midpoint", 2.0), ("heun", 1.0), ("jumps", 1.0)]
    sides = judged(*[[point(s, nfe, w) for s, w in kinds for nfe in (2, 4)] for _ in range(2)])
    for paths in (("ot", "vp"), ("ot", "ot")):
        result = image_quality.ImageQuality(
            sides=tuple(
                replace(each, side=replace(each.side, path=path))
                for each, path in zip(sides, paths, strict=True)
            ),
            unmeasurable="",
        )
        figure = next(
            iter(image_quality.STUDY.draw(image_quality.ImageQualityConfig(), result))
        ).figure
        lines = [trace for trace in figure.data if trace.line.dash != "dot"]
        assert len(lines) == 2 * len(kinds)
        looks = [(each.line.color, each.line.dash, each.marker.symbol) for each in lines]
        assert len(set(looks)) == len(looks)
        shapes = [look[1:] for look in looks]
        assert (shapes[:5] == shapes[5:]) == (paths == ("ot", "vp")), "one marker, one solver"


def leading(*sides):
    found = judged(*sides)
    return " ".join(str(each) for each in [smallest(found), *leaders(found)])


def test_the_better_side_at_a_low_nfe_is_named():
    def point(nfe, value):
        measures = {"frechet": value}
        return QualityPoint("midpoint", nfe, "uniform", None, 200, 0, nfe, nfe, measures)

    better, worse = [point(10, 3.0), point(50, 9.0)], [point(10, 4.0), point(50, 2.0)]
    text = leading(better, worse)
    assert (
        "at NFE 10 OT is ahead with midpoint (3.00 against 4.00)." in text
        and "VP 2.00 at NFE 50" in text
    )
    assert "at NFE 10 VP is ahead" in leading(worse, better)
    assert "at NFE 10 both sides are equal with midpoint (3.00)" in leading(better, better)
    by_euler = [[*side, *(replace(p, solver="euler") for p in side)] for side in (better, worse)]
    pair = "(3.00 against 4.00)"
    assert f"at NFE 10 OT is ahead with Euler {pair} and midpoint {pair}." in leading(*by_euler)
    other_seed = [replace(each, seed=5) for each in worse]
    assert "few evaluations" not in leading(better, other_seed)
    many = [replace(point(10, 1.0), n=1_000), *better]
    text = leading(many, worse)
    assert "of 200 images per point" in text and "OT 3.00" in text
    text = leading(many[:1], worse)
    assert "OT 1.00 at NFE 10 (1,000 images)" in text and "VP 2.00 at NFE 50 (200 images)" in text


def test_quality_of_one_jump_and_the_nfe_of_another_field_for_the_same():
    def point(solver, nfe, value, guidance=1.0):
        measures = {"frechet": value}
        return QualityPoint(solver, nfe, "uniform", guidance, 200, 0, nfe, nfe, measures)

    jumps = [point("jumps", 2, 3.0), point("jumps", 1, 4.0)]
    slow = [
        point("euler", 5, 7.0),
        point("euler", 20, 3.5),
        point("midpoint", 5, 6.0),
        point("midpoint", 10, 3.9),
    ]
    (finding,) = jumping(judged(jumps, slow))
    assert finding.text == "OT has 4.00 at NFE 1 (w = 1), for which VP needs NFE 10 (midpoint)."
    (least,) = jumping(judged(jumps, slow[-1:]))
    assert least.text.endswith("for which VP needs at most NFE 10 (midpoint).")
    (finding,) = jumping(judged(jumps, slow[:1]))
    assert finding.text == "OT has 4.00 at NFE 1 (w = 1), which VP reaches at no measured NFE."
    (finding,) = jumping(judged(jumps, [point("midpoint", 2, 1.0, guidance=2.0)]))
    assert finding.text == "OT has 4.00 at NFE 1 (w = 1)."
    assert not jumping(judged(slow, slow))


def test_with_jumps_a_velocity_field_takes_euler_steps_and_the_text_says_so():
    config = ImageGridConfig(
        left="cifar10-ot-distillation",
        right="cifar10-ot",
        view="nfe",
        method="jumps",
        guidance=1.0,
    )
    *_, found = STUDIES["image-grid"].compute(config)
    assert list(found.row_labels) == ["1", "2", "4", "20"]
    left, right = found.panels
    assert left.nfe.tolist() == right.nfe.tolist() == [1] * 5 + [2] * 5 + [4] * 5 + [20] * 5
    texts = " ".join(each.text for each in STUDIES["image-grid"].say(config, found))
    assert "(jumps for conditional OT flow map, Euler for conditional OT;" in texts
    assert [sheet.note for sheet in sheets_of(config, found)] == [
        "cifar10-ot-distillation",
        "cifar10-ot · Euler",
    ]
    euler = ImageConfig(
        solver="euler", nfe=2, classes=tuple(range(10)), guidance=1.0, n=5, seed=config.seed
    )
    expected = sample_all(load_images("cifar10-ot"), euler).images
    assert np.abs(right.images[5:10].astype(int) - expected).max() <= 1


def test_a_solver_that_fails_at_the_end_of_the_path_is_named_with_the_reason():
    def point(solver, value):
        measures = {"frechet": value, "accuracy": 0.5}
        return QualityPoint(solver, 20, "uniform", 1.0, 1_000, 0, 20, 20, measures, 0.2)

    far, near = ([point("midpoint", 4.0), point("rk4", rk4)] for rk4 in (32.0, 5.0))
    ot, vp = judged(near, far)
    assert not failures(ot)
    (finding,) = failures(vp)
    assert finding.lead == "Runge-Kutta 4 on VP"
    assert (
        "at NFE 20 its distance is 8 times that of midpoint." in finding.text
        and "dσ/dt is −50" in finding.text
    )
    _, euler = judged([], [point("midpoint", 4.0), point("euler", 32.0)])
    assert not failures(euler)


def test_points_of_two_seeds_are_two_curves(tiny, figures, own_store):
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
    names = [trace.name for trace in figures["images-quality-accuracy"].data]
    assert len(names) == 2 and "seed 0" in names[0] and "seed 5" in names[1]


def test_numbers_of_another_classifier_are_left_out(tiny, monkeypatch):
    walked = {"tol": 1e-3, "nfe": 14, "times": [0, 0.4, 1], "rejected": [[0.4, 0.6]]}
    measures = {"frechet": 5.0, "accuracy": 0.5}
    point = QualityPoint("midpoint", 4, "uniform", 2.0, 50, 0, 4, 8.0, measures, 0.4)
    quality = {
        "points": [point.as_dict()],
        "steps": walked,
        "protocol": {"classifier_sha256": "b", "classifier": "mine"},
    }
    quality_file = write_quality(tiny / "images" / "tiny-ot.safetensors", quality)
    (loaded,) = image_quality.load_sides(
        image_quality.ImageQualityConfig(left="tiny-ot", right="none")
    )
    try:
        for sha256, points in (("a", 0), ("b", 1)):
            judge = Judge(SimpleNamespace(sha256=sha256), None, None, {})
            found = image_quality.stored(loaded, judge)
            assert len(found.points) == points and found.steps == walked
            assert ("another classifier" in found.left_out) == (not points)
    finally:
        quality_file.unlink()


def test_different_sizes_are_refused_in_one_sentence(tiny, monkeypatch):
    load = sources.load

    def wide(name):
        source = load(name)
        if name == "tiny-vp":
            object.__setattr__(source.loaded.checkpoint.card, "size", 16)
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


def test_newest_uploads_are_kept_and_have_different_names(tiny, monkeypatch):
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


def test_file_that_exceeds_the_memory_is_refused_without_another_attempt(tiny, monkeypatch):
    def full(name, content, assume):
        raise MemoryError

    monkeypatch.setattr(sources, "_opened", full)
    monkeypatch.setattr(st, "file_uploader", lambda *_, **__: Upload("big.pt", b"x"))
    app = opened(nfe="4", right="none")
    for _ in range(2):
        assert ["larger than this server can hold" in error.value for error in app.error] == [True]
        assert not app.exception
        app.run()


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x10" + bytes(7) + b'{"a": 1}'])
def test_uploads_of_unknown_kinds_are_refused_in_one_sentence(content):
    with pytest.raises(CheckpointError) as error:
        sources._opened("../x/file.safetensors", content)
    assert "\n" not in str(error.value) and "../" not in str(error.value)


def test_a_damaged_upload_of_flowviz_is_named_by_its_file_name(tiny):
    content = (tiny / "images" / "tiny-ot.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match=r"mine\.safetensors"):
        sources._opened("mine.safetensors", content[:-10])


def images(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    "report", [None, 3, {}, {"t": 2, "image": 0}, {"t": "x", "image": 0}, {"t": 0.1, "image": 9}]
)
def test_an_invalid_report_is_ignored(report, monkeypatch):
    monkeypatch.setattr(gallery, "_gallery", lambda **_: {"view": report})
    assert gallery.film([], ["a", "b"], key="f", opened=FilmView(0.3, 1)) == FilmView(0.3, 1)


def test_png_enlarges_every_pixel_to_a_square():
    left, right = images(1, 3, 3, 5), images(1, 3, 3, 5, seed=1)
    drawn = np.asarray(Image.open(io.BytesIO(downloads.png({"a": left, "b": right}, 1))))
    assert drawn.shape == (4 * 5, 4 * (7 + 8 + 7), 3)
    small = drawn[2::4, 1::4]
    np.testing.assert_array_equal(small[1:4, 1:6], left[0].transpose(1, 2, 0))
    np.testing.assert_array_equal(small[1:4, 16:21], right[0].transpose(1, 2, 0))


def test_npz_has_the_arrays_and_the_command():
    values = images(2, 3, 4, 4)
    with np.load(io.BytesIO(downloads.npz({"images": values}, {"seed": 7}))) as file:
        np.testing.assert_array_equal(file["images"], values)
        assert json.loads(str(file["settings"])) == {"seed": 7}


def test_the_npz_of_the_page_names_the_class_of_each_image(tiny, monkeypatch):
    given = {}
    monkeypatch.setattr(downloads, "row", lambda key, **files: given.update(files))
    opened(left="tiny-ot", right="tiny-vp")
    images, arrays = given["images"], given["arrays"]
    assert [f"classes_{side}" for side in images] == list(arrays)
    assert all(len(arrays[f"classes_{side}"]) == len(images[side]) == 16 for side in images)


def test_a_prediction_of_constant_speed_has_a_tenth_left():
    times = np.linspace(0, 0.999, 41)
    even = np.repeat((1 - times / 0.999)[:, None], 3, axis=1)
    assert last_tenth(times, even) == pytest.approx(0.1)
    assert last_tenth(times, even**2) == pytest.approx(0.01, abs=1e-3)
    there_and_back = even * (1 - even)  # with one Euler step the first prediction is the last
    assert last_tenth(times, there_and_back) == pytest.approx(4 * 0.1 * 0.9, abs=1e-3)


def test_half_of_the_variance_is_noise_where_signal_and_noise_are_equal():
    t = np.linspace(0, 1, 2001)
    share = (1 - t) / np.hypot(0.5 * t, 1 - t)  # conditional OT to data of std 0.5
    assert half_noise(t, share) == pytest.approx(2 / 3, abs=1e-3)
    assert half_noise(np.array([0, 0.5, 1]), np.array([1, 0.9, 0]), held=True) == 1


def test_images_of_one_noise_are_distinguished_from_others():
    left = images(6, 3, 4, 4)
    own, others = same_noise(left, left, ["cat"] * 3 + ["dog"] * 3)
    assert own == 0
    assert others == pytest.approx(255 / np.sqrt(6), rel=0.15), "of independent uniform values"
    assert same_noise(left, left, list("abcdef"))[1] > 0, "no class twice: over all"


def test_rows_are_compared_by_neighbours_classes_and_noises():
    row = np.full((1, 3, 1, 2, 2), 10, np.uint8)
    row[0, 2] = 40
    assert neighbour_distances(row) == (15, 30)
    sheet = np.zeros((2, 2, 1, 2, 2), np.uint8)
    sheet[:, 1] = 8  # only the class differs
    assert between_classes_and_noises(sheet) == (8, 0)
    assert [clipped(each) for each in (sheet, row)] == [0.5, 0]


def test_labels_of_a_sheet_are_at_the_height_of_the_middle_of_its_images():
    sheet = Mosaic(
        label="OT", colour="#000000", pixels=np.zeros((3 * 9 + 1, 2 * 9 + 1, 1), np.uint8)
    )
    plot = mosaics([sheet], rows=["2", "5", "10"], columns=["cat", "dog"])
    assert plot.data[0].z.shape == (28, 19, 3), "grey is drawn as RGB"
    assert list(plot.layout.xaxis.tickvals) == pytest.approx([4.25, 13.75])
    assert list(plot.layout.yaxis.ticktext) == ["2", "5", "10"]


def test_steps_of_an_adaptive_solver_are_drawn_with_rejected_steps():
    steps = Steps(
        label="OT", colour="#0072B2", times=np.array([0, 0.1, 1]), rejected=np.array([[0.1, 0.5]])
    )
    taken, refused = step_sizes([steps]).data
    assert list(taken.y) == pytest.approx([0.1, 0.9, 0.9]) and list(refused.y) == [0.5]
    with pytest.raises(ValueError, match="times must increase"):
        Steps(label="", colour="#000000", times=np.array([0.0, 0.0]), rejected=np.empty((0, 2)))


@pytest.fixture(scope="module")
def foreign():
    """Weights of torchcfm's network, raw and averaged, without path or time convention."""
    shape = UNetShape(
        model_channels=32, num_res_blocks=1, channel_mult=(1, 2), attention_resolutions=(16,)
    )
    weights = UNet(shape, generator=torch.Generator().manual_seed(0)).state_dict()
    file = io.BytesIO()
    torch.save({"net_model": weights, "ema_model": weights}, file)
    return file.getvalue()


def test_assumptions_about_an_upload_are_shown_and_can_be_corrected(tiny, foreign, monkeypatch):
    monkeypatch.setattr(st, "file_uploader", lambda *_, **__: Upload("theirs.pt", foreign))
    app = opened(nfe="4", right="none")
    assert "theirs.pt** is in the menus now" in text_of(app)
    first = app.session_state[sources.HELD]["theirs.pt"]
    assert first.loaded.checkpoint.card.path == "ot"
    next(box for box in app.selectbox if box.label == "Path").select("vp")
    next(box for box in app.text_input if box.label == "Set of weights").set_value("net_model")
    next(box for box in app.checkbox if "Data at t = 0" in box.label).check()
    next(each for each in app.button if each.label == "Read again").click()
    app.run()
    second = app.session_state[sources.HELD]["theirs.pt"]
    assert second.loaded.checkpoint.card.path == "vp" and second.key != first.key
    assert escaped("weights = net_model, path = vp, time_reversed = True") in text_of(app)
    next(box for box in app.text_input if box.label == "Set of weights").set_value("nothing")
    next(each for each in app.button if each.label == "Read again").click()
    app.run()
    assert len(app.error) == 1 and "nothing" in app.error[0].value and not app.exception
    assert app.session_state[sources.HELD]["theirs.pt"].key == second.key, "the last one stays"


def test_files_of_flowviz_have_no_controls_for_assumptions(tiny, monkeypatch):
    content = (tiny / "images" / "tiny-ot.safetensors").read_bytes()
    monkeypatch.setattr(st, "file_uploader", lambda *_, **__: Upload("mine.safetensors", content))
    app = opened(nfe="4", right="none")
    assert not [each for each in app.button if each.label == "Read again"]
