"""Lectures: the built-in ones open valid views; an invalid file is refused in one sentence."""

import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from flowviz import lectures as module
from flowviz.bounds import MAX_MESSAGE
from flowviz.lectures import MAX_BYTES, Lecture, formulas, lectures, mathml, own, parse
from flowviz.ui import lecture
from flowviz.ui.lecture import desk

PAGES = {path.stem for path in (Path(__file__).parents[1] / "pages").glob("*.py")}

GOOD = 'title = "A"\nsentence = "B"\n[[step]]\ntitle = "C"\nopen = "compare?nfe=4"\ntext = "D"\n'

BUILT_IN = lectures()


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_lectures_open_pages_that_exist(name):
    assert {step.page for step in BUILT_IN[name].steps} <= PAGES


def test_the_built_in_lectures_are_there():
    assert {name: len(lecture.steps) for name, lecture in BUILT_IN.items()} == {
        "to-one-step": 9,
        "ten-steps": 10,
        "three-claims": 7,
        "tour": 5,
    }


def test_the_built_in_formulas_have_their_mathml():
    assert set(mathml()) == set(formulas())  # else run .github/equations.py
    assert all(
        f'display="{"block" if block else "inline"}"' in mathml()[tex]
        for tex, block in formulas().items()
    )


def test_a_step_is_a_page_and_its_state():
    (step,) = parse(GOOD + 'show = ["nfe"]\nlock = ["seed"]\n').steps
    assert (step.page, step.link) == ("compare", {"nfe": "4"})
    assert (step.show, step.lock) == (("nfe",), ("seed",))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("title = ", "must be valid TOML"),
        ('title = "A"\nsentence = "B"\n', "1 to 60 tables"),
        (GOOD.replace('text = "D"', ""), "Step 1 must have a text"),
        (GOOD.replace('title = "A"', ""), "head of the lecture must have a title"),
        (GOOD.replace("text", "txt"), "must have a text"),
        (GOOD.replace("open", "view"), "must have an open"),
        (GOOD + 'locked = ["nfe"]\n', "Did you mean 'lock'"),
        (GOOD + 'show = "nfe"\n', "must be a list of strings"),
        (GOOD.replace('"compare?nfe=4"', '"../secret?a=1"'), "must be a page and its state"),
        (GOOD.replace('"D"', "7"), "text must be a string; got 7"),
        ("a = '" + "x" * MAX_BYTES + "'", "at most 200,000 bytes"),
        ("x = " + "[" * 100_000, "must not nest"),
        ("x = " + "{a = " * 30_000, "must not nest"),
        ("a" + ".a" * 60_000 + " = 1", "short keys"),
        ("[" + '"a b" . ' * 20_000 + "c]", "short keys"),
        ("x = " + "9" * 100_000, "so many digits"),
        (GOOD + "x" * 100_000 + " = 1", "unknown entry 'xxx"),
        (GOOD.replace('"D"', "[" + "1, " * 60_000 + "]"), "text must be a string"),
        (b"\xff\xfe", "must be text in UTF-8"),
    ],
)
def test_an_invalid_file_is_refused_in_one_sentence(text, sentence):
    start = time.process_time()
    with pytest.raises(ValueError, match=sentence.replace("(", r"\(")) as caught:
        parse(text)
    assert len(str(caught.value)) <= MAX_MESSAGE
    assert time.process_time() - start < 2


def test_a_lecture_may_begin_with_a_byte_order_mark():
    assert parse(b"\xef\xbb\xbf" + GOOD.encode()) == parse(GOOD)


def test_text_is_not_parsed_as_keys():
    prose = "Eq. 9 has u.v.w = 1. " * 500 + "a" * 20_000
    assert parse(GOOD.replace('"D"', f"'{prose}'")).steps[0].text == prose


def test_images_of_other_servers_are_shown_as_text():
    (step,) = parse(GOOD.replace('"D"', "'![x](//host/x) **b**'")).steps
    assert step.text == r"!\[x](//host/x) **b**"


def test_lectures_of_a_folder_are_added_to_the_built_in_ones(tmp_path, monkeypatch):
    (tmp_path / "mine.toml").write_text(GOOD)
    (tmp_path / "broken.toml").write_text("title = ")
    monkeypatch.setenv("FLOWVIZ_LECTURES", str(tmp_path))
    (tmp_path / "deep.toml").write_text("x = " + "[" * 100_000)
    (tmp_path / "dangling.toml").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder.toml").mkdir()
    assert set(lectures()) == {*BUILT_IN, "mine"}


def test_a_named_pipe_in_the_folder_does_not_block_pages(tmp_path, monkeypatch):
    """Reading it would block every page for every user until something writes to it."""
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "mine.toml").write_text(GOOD)
    monkeypatch.setenv("FLOWVIZ_LECTURES", str(tmp_path))
    found = []
    reader = threading.Thread(target=lambda: found.append(lectures()), daemon=True)
    reader.start()
    reader.join(30)
    assert [set(each) for each in found] == [{*BUILT_IN, "mine"}]


def test_a_file_is_parsed_once_until_it_changes(tmp_path, monkeypatch):
    read = []
    whole = module.parse
    monkeypatch.setattr(module, "parse", lambda content: read.append(1) or whole(content))
    monkeypatch.setenv("FLOWVIZ_LECTURES", str(tmp_path))
    (tmp_path / "mine.toml").write_text(GOOD)
    assert lectures()["mine"] is lectures()["mine"]
    (tmp_path / "mine.toml").write_text(GOOD.replace('"A"', '"AA"'))
    assert lectures()["mine"].title == "AA" and len(read) <= 2 + len(BUILT_IN)


def test_a_lecture_that_a_link_opened_without_a_step_can_be_left(monkeypatch):
    def app():
        from flowviz.ui import lecture

        now = lecture.running()
        if now:
            lecture.banner(now)

    monkeypatch.setattr(lecture, "_requested", lambda now: "leave")
    test = AppTest.from_function(app)
    test.query_params["lecture"] = "ten-steps"
    test.run()
    assert not test.exception and "lecture" not in test.query_params


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_text_of_a_lecture_gives_the_same_lecture(name):
    assert parse(own.to_text(BUILT_IN[name])) == BUILT_IN[name]


def test_text_with_signs_of_toml_is_kept():
    (step,) = parse(GOOD).steps
    special = replace(step, text='a "b" \\frac \n\t\x1f\x7f é 🙂 #', show=("nfe", "t"))
    made = Lecture(title="A", sentence="B", steps=(special,))
    assert parse(own.to_text(made)) == made


def test_a_stored_lecture_opens_by_its_link_in_another_visit(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWVIZ_HOME", str(tmp_path))
    name = own.keep(parse(GOOD))
    assert own.keep(parse(GOOD)) == name, "the name is that of the content"

    def app():
        import streamlit as st

        from flowviz.ui import lecture

        now = lecture.running()
        st.text(f"{now.lecture.title} {now.number} {now.interval} {len(lecture.available())}")

    test = AppTest.from_function(app)
    test.query_params |= {"lecture": name, "every": "20"}
    test.run()
    assert test.text[0].value == f"A 1 20 {len(BUILT_IN) + 1}"


@pytest.mark.parametrize("name", ["own-0123456789abcdef", "own-../../x", "tour", ""])
def test_a_name_that_is_not_stored_opens_nothing(name, tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWVIZ_HOME", str(tmp_path))
    assert own.recall(name) is None


def test_a_lecture_that_cannot_be_stored_is_an_error_in_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "lectures").write_text("")  # a file where the folder must be
    monkeypatch.setenv("FLOWVIZ_HOME", str(tmp_path))
    with pytest.raises(ValueError, match="must be stored on this server") as caught:
        own.keep(parse(GOOD))
    assert str(tmp_path) not in str(caught.value)


def test_a_view_becomes_a_step_that_the_editor_stores_under_a_link(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWVIZ_HOME", str(tmp_path))

    def app():
        import streamlit as st

        from flowviz.ui import lecture, state
        from flowviz.ui.lecture import desk

        state.visit("schedules")
        st.button("Add", on_click=lecture.add_step, args=("Two schedules [a](//host)",))
        desk.shelf()
        desk.own_lectures()

    test = AppTest.from_function(app)
    test.query_params["axis"] = "log-snr"
    test.run()
    assert "No view has been added yet." in [each.value for each in test.caption]
    test.button[0].click().run()
    next(each for each in test.button if each.label == "Save").click().run()
    assert not test.exception and not test.error
    (stored,) = (tmp_path / "lectures").glob("own-*.toml")
    (step,) = parse(stored.read_bytes()).steps
    assert (step.title, step.open) == (r"Two schedules \[a\](//host)", "schedules?axis=log-snr")
    assert test.query_params["mine"] == stored.stem

    again = AppTest.from_function(app)  # another visit by the link of the page
    again.query_params["mine"] = stored.stem
    again.run()
    assert any("My lecture" in each.value for each in again.markdown)


def test_the_editor_orders_steps_by_number_and_takes_whole_links():
    rows = [
        {"Step": 2.0, "Title": "b", "View": "compare?nfe=4", "Text": "B", "Equation": None},
        {"Step": 1.5, "Title": "a", "View": "http://host:8501/base/cfm?t=1", "Text": "A"},
        {"Step": None, "Title": "c", "View": "train", "Text": "C", "Controls to change": "nfe, t"},
        {"Step": 3.0, "Title": "without a view"},
    ]
    steps = desk._steps(rows)
    assert [step.title for step in steps] == ["a", "b", "c"]
    assert steps[0].open == "cfm?t=1" and steps[2].show == ("nfe", "t")
