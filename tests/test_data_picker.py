"""The choice of a data set, driven as a script without a browser."""

import io

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from flowviz import datasets
from flowviz.datasets import DATASETS
from flowviz.datasets.uploads import parse, store
from flowviz.ui.data_picker import _CUSTOM
from flowviz.ui.notices import escaped

CSV = "\n".join(f"{i},{i * i}" for i in range(30))


@pytest.fixture
def app(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWVIZ_HOME", str(tmp_path))

    def script():
        import streamlit as st

        from flowviz.ui import data_picker, state

        state.visit("test")
        st.session_state["chosen"] = data_picker.pick()

    return AppTest.from_function(script, default_timeout=30)


def chosen(app):
    assert not app.exception
    return app.session_state["chosen"]


def menu(app):
    return app.selectbox[0]


def test_begins_with_the_default(app):
    app.run()
    assert chosen(app) == "checkerboard"
    assert list(menu(app).options)[: len(DATASETS)] == [d.label for d in DATASETS.values()]
    assert DATASETS["checkerboard"].sentence in app.caption[0].value


def test_every_built_in_can_be_chosen(app):
    app.run()
    for name in reversed(DATASETS):
        menu(app).select(name).run()
        assert chosen(app) == name
        assert name == "checkerboard" or app.query_params["data"] == name


def test_choice_is_kept_over_reruns(app):
    app.run()
    menu(app).select("moons").run()
    app.run()
    assert chosen(app) == "moons" and menu(app).value == "moons"


def test_word(app):
    app.run()
    menu(app).select("word").run()
    assert chosen(app) == "word:FLOW"
    app.text_input[0].set_value("Ho  la").run()
    assert chosen(app) == "word:Ho la"


@pytest.mark.parametrize(
    "word", ["![](//host/x)", "[a](//host)", "$x$", ":material/home:", "www.h.org", "<b>x</b>"]
)
def test_word_of_a_link_is_not_markup(app, word):
    app.query_params["data"] = f"word:{word}"
    app.run()
    assert chosen(app) == f"word:{word}"
    shown = [each.value for each in (*app.markdown, *app.caption)]
    assert any(escaped(word) in text for text in map(str, shown))
    assert not any(word in text for text in map(str, shown))


def test_word_that_cannot_be_drawn_is_refused_and_the_last_one_is_kept(app):
    app.run()
    menu(app).select("word").run()
    app.text_input[0].set_value("   ").run()
    assert chosen(app) == "word:FLOW"
    assert "must have at least one letter" in app.error[0].value


def test_gaussians(app):
    app.run()
    menu(app).select("mixture").run()
    assert chosen(app).startswith("mixture:") and datasets.dataset(chosen(app))
    app.slider[0].set_value(0.6).run()
    assert chosen(app).endswith("@0.6")


@pytest.mark.parametrize("kind", ["upload", "draw"])
def test_the_last_choice_is_kept_until_there_is_an_upload_or_a_drawing(app, kind):
    app.run()
    menu(app).select("moons").run()
    menu(app).select(kind).run()
    assert chosen(app) == "moons"
    assert "Current data set" in app.caption[-1].value


def test_upload(app):
    app.run()
    menu(app).select("upload").run()
    app.file_uploader[0].set_value(("x.csv", CSV.encode(), "text/csv")).run()
    assert chosen(app) == store(parse("x.csv", CSV.encode()))
    assert "30 points" in app.caption[-1].value


def test_columns_and_header_of_an_upload_can_be_corrected(app):
    rows = "\n".join(f"{i / 7:.3f},{i % 4},{i * i / 9:.3f}" for i in range(1, 31))
    app.run()
    menu(app).select("upload").run()
    app.file_uploader[0].set_value(("x.csv", f"0,1,2\n{rows}".encode(), "text/csv")).run()
    first = chosen(app)
    assert "header: 0, 1, 2; 30 points; columns 1 (0) and 3 (2)" in app.caption[0].value
    assert "label column 2 (1), 4 values" in app.caption[0].value
    app.selectbox[3].select("none").run()
    assert "label" not in app.caption[0].value and not datasets.dataset(chosen(app)).classes
    app.selectbox[3].select("2").run()
    assert chosen(app) == first and datasets.dataset(first).classes == tuple("0123")
    app.selectbox[2].select("2").run()
    assert chosen(app) != first and "columns 1 (0) and 2 (1)" in app.caption[0].value
    app.toggle[0].set_value(False).run()
    assert "no header; 31 points; columns 1 and 2" in app.caption[0].value
    app.selectbox[1].select("2").run()
    assert "must be different" in app.error[0].value, "and the controls stay"
    app.selectbox[2].select("3").run()
    assert not app.error and "31 points; columns 2 and 3" in app.caption[0].value


def test_sampled_pixels_are_shown_and_can_be_inverted(app):
    picture = Image.new("L", (40, 20), 255)
    picture.paste(0, (5, 5, 15, 10))
    content = io.BytesIO()
    picture.save(content, "PNG")
    app.run()
    menu(app).select("upload").run()
    app.file_uploader[0].set_value(("x.png", content.getvalue(), "image/png")).run()
    assert "10 × 5 pixels; dark ones" in app.caption[0].value
    app.toggle[0].set_value(True).run()
    assert "40 × 20 pixels; light ones" in app.caption[0].value


def test_invalid_upload_is_one_sentence_and_the_last_choice_is_kept(app):
    app.run()
    menu(app).select("upload").run()
    app.file_uploader[0].set_value(("x.csv", CSV.encode(), "text/csv")).run()
    good = chosen(app)
    app.file_uploader[0].set_value(("y.csv", b"1,2\n3,nan\n", "text/csv")).run()
    assert chosen(app) == good and len(app.error) == 1
    app.run()
    assert chosen(app) == good and len(app.error) == 1, "the sentence stays with its file"


@pytest.mark.parametrize(
    ("spec", "entry"),
    [("word:HI", "word"), ("mixture:0,0;1,1@0.5", "mixture"), ("spirals", "spirals")],
)
def test_link_opens_its_choice(app, spec, entry):
    app.query_params["data"] = spec
    app.run()
    assert chosen(app) == spec and menu(app).value == entry


def test_link_opens_what_was_uploaded(app):
    spec = store(parse("x.csv", CSV.encode()))
    app.query_params["data"] = spec
    app.run()
    assert chosen(app) == spec and menu(app).value == "upload"


@pytest.mark.parametrize("spec", ["chess", "points:../../etc", "/etc/passwd.csv", "word:", "no:x"])
def test_invalid_link_falls_back_with_a_notice(app, spec):
    app.query_params["data"] = spec
    app.run()
    assert chosen(app) == "checkerboard"
    assert "data" in app.toast[0].value


def test_every_kind_has_a_name():
    assert all(label and callable(controls) for label, controls in _CUSTOM.values())


def test_a_source_is_chosen_named_in_the_link_and_swapped(monkeypatch, tmp_path):
    monkeypatch.setenv("FLOWVIZ_HOME", str(tmp_path))

    def script():
        import streamlit as st

        from flowviz.ui import data_picker, state

        state.visit("test")
        st.session_state["chosen"] = data_picker.pick(sources=True)

    app = AppTest.from_function(script, default_timeout=30).run()
    source, data = app.selectbox
    assert source.label == "From" and chosen(app) == "checkerboard"
    data.select("moons").run()
    app.selectbox[0].select("8gaussians").run()
    assert chosen(app) == app.query_params["data"] == "from:8gaussians>moons"
    app.button[0].click().run()
    assert chosen(app) == "from:moons>8gaussians"
    assert [box.value for box in app.selectbox] == ["moons", "8gaussians"]
    app.selectbox[0].select("word").run()
    assert chosen(app) == "from:word:FLOW>8gaussians"
    app.selectbox[0].select("upload").run()
    assert chosen(app) == "from:word:FLOW>8gaussians"  # until there is a file
    assert "Current start: “FLOW”" in app.caption[0].value
    app.file_uploader[0].set_value(("x.csv", CSV.encode(), "text/csv")).run()
    uploaded = store(parse("x.csv", CSV.encode()))
    assert chosen(app) == f"from:{uploaded}>8gaussians"
    next(each for each in app.selectbox if each.label == "Data set").select("upload").run()
    assert chosen(app) == f"from:{uploaded}>8gaussians" and len(app.file_uploader) == 2
    app.selectbox[0].select("").run()
    assert chosen(app) == "8gaussians"


def test_a_page_from_noise_refuses_the_link_of_a_pair(app):
    app.query_params["data"] = "from:8gaussians>moons"
    app.run()
    assert chosen(app) == "checkerboard" and "starts from Gaussian noise" in app.toast[0].value
