"""Controls in the URL: links set them, they write links, and invalid values give notices."""

import pytest
from streamlit.testing.v1 import AppTest

from flowviz.ui import widgets
from flowviz.ui.notices import escaped


def script():
    import streamlit as st

    from flowviz.ui import state, widgets

    if st.session_state.pop("again", False):
        state.reopen("one")
    if st.session_state.pop("reset", False):
        state.reset()
    state.visit(st.session_state.get("page", "one"), again=st.session_state.pop("back", False))
    state.restrict(*st.session_state.get("restricted", (None,)))
    if "aside" in st.session_state and st.session_state.get("page", "one") == "one":
        state.set_aside(st.session_state["aside"])
    seen = {
        "data": widgets.select("data", "Data set", {"a-b": "The A", "c": "The C"}, "a-b"),
        "field": widgets.segmented("field", "Field", {"x": "Ex", "y": "Why"}, "x"),
        "nfe": widgets.budget("nfe", "Budget", st.session_state.get("budgets", [4, 8, 20]), 20),
        "seed": widgets.integer("seed", "Seed", 0, 99, 0, dice=True),
        "lr": widgets.number("lr", "Rate", 1e-5, 1.0, 1e-3),
        "on": widgets.toggle("on", "On", True),
        "word": widgets.text("word", "Word", "FLOW"),
        "t": state.opened("t", 0.0, float),
    }
    st.session_state["seen"] = seen
    state.publish("t", st.session_state.get("clock", seen["t"]), 0.0)
    if not st.session_state.pop("interrupted", False):
        state.complete()


DEFAULTS = {
    "data": "a-b",
    "field": "x",
    "nfe": 20,
    "seed": 0,
    "lr": 1e-3,
    "on": True,
    "word": "FLOW",
    "t": 0.0,
}
LINK = {
    "data": "c",
    "field": "y",
    "nfe": "8",
    "seed": "7",
    "lr": "0.01",
    "on": "0",
    "word": "NOISE",
    "t": "0.5",
}
PARSED = {
    "data": "c",
    "field": "y",
    "nfe": 8,
    "seed": 7,
    "lr": 0.01,
    "on": False,
    "word": "NOISE",
    "t": 0.5,
}


def opened(**link):
    app = AppTest.from_function(script, default_timeout=20)
    for name, value in link.items():
        app.query_params[name] = value
    return app.run()


def seen(app):
    assert not app.exception
    return app.session_state["seen"]


def url(app):
    values = app.query_params.items()
    return {name: v if isinstance(v, str) else v[-1] for name, v in values}


def test_without_a_link_all_is_at_its_default_and_the_url_is_empty():
    app = opened()
    assert seen(app) == DEFAULTS
    assert url(app) == {}
    assert not app.toast


def test_a_link_sets_every_control_and_is_kept():
    app = opened(**LINK)
    assert seen(app) == PARSED
    assert url(app) == LINK
    assert not app.toast
    assert seen(app.run()) == PARSED


def test_defaults_leave_the_url():
    app = opened(data="a-b", seed="00", nfe="20", lr="1e-3")
    assert seen(app) == DEFAULTS
    assert url(app) == {}


def test_a_moved_control_writes_its_slug_and_not_its_label():
    app = opened()
    app.selectbox[0].select("c").run()
    assert seen(app)["data"] == "c" and url(app) == {"data": "c"}
    app.selectbox[0].select("a-b").run()
    assert url(app) == {}


def test_only_the_first_run_of_a_visit_reads_the_link():
    app = opened(seed="7")
    app.number_input[0].set_value(9)
    app.query_params["seed"] = "7"  # the URL of the browser at the start of the rerun
    app.run()
    assert seen(app)["seed"] == 9 and url(app) == {"seed": "9"}


BAD = [
    ("data", "a_b", "a-b", ["a_b", "did you mean 'a-b'", "a-b, c"]),
    ("field", "", "x", ["x, y"]),
    ("nfe", "9", 8, ["9", "4, 8, 20"]),
    ("seed", "100", 99, ["between 0 and 99", "100"]),
    ("lr", "nan", 1e-3, ["between 1e-05 and 1", "nan"]),
    ("on", "yes", True, ["yes", "1, 0"]),
    ("word", 41 * "W", "FLOW", ["at most 40", "41"]),
    ("t", "noon", 0.0, ["noon"]),
    ("nfe", "1e3", 20, ["1e3", "whole number"]),
    ("seed", "-1", 0, ["between 0 and 99", "-1"]),
    ("lr", "fast", 1e-3, ["fast", "not a number"]),
    ("seed", "zero", 0, ["zero", "whole number"]),
    ("seed", "9" * 5000, 0, ["whole number"]),
]


@pytest.mark.parametrize("cases", [BAD[:8], BAD[8:11], BAD[11:12], BAD[12:]], ids=len)
def test_an_invalid_value_falls_back_with_one_notice(cases):
    app = opened(**{slug: raw for slug, raw, _, _ in cases})
    assert seen(app) == DEFAULTS | {slug: shown for slug, _, shown, _ in cases}
    notices = {notice.value.partition("`")[2].partition("`")[0]: notice for notice in app.toast}
    assert len(app.toast) == len(cases)
    for slug, _, _, parts in cases:
        for part in parts:
            assert escaped(part) in notices[slug].value
    assert not app.run().toast, "the notice appears once"


def test_each_invalid_value_has_a_notice_and_valid_ones_are_kept():
    app = opened(data="nope", seed="nope", field="y")
    assert seen(app) == DEFAULTS | {"field": "y"}
    assert len(app.toast) == 2


def test_a_notice_of_an_interrupted_run_appears_in_the_next_run():
    app = AppTest.from_function(script, default_timeout=20)
    app.query_params["data"] = "nope"
    app.session_state["interrupted"] = True
    for count in (1, 1, 0):
        assert len(app.run().toast) == count


def test_a_choice_that_is_no_longer_offered_moves_to_the_nearest_without_a_notice():
    app = opened(nfe="8")
    app.session_state["budgets"] = [3, 6, 9]
    app.run()
    assert seen(app)["nfe"] == 9 and not app.toast


def test_dice_draw_another_number_in_range():
    app, drawn = opened(), {0}
    for _ in range(5):
        before = seen(app)["seed"]
        app.button[0].click().run()
        assert 0 <= seen(app)["seed"] <= 99
        assert seen(app)["seed"] != before
        drawn.add(seen(app)["seed"])
    assert url(app)["seed"] == str(seen(app)["seed"])


def test_a_page_that_is_opened_again_keeps_its_controls():
    app = opened(data="c")
    app.session_state["page"] = "two"
    app.query_params.clear()
    app.run()
    assert seen(app) == DEFAULTS
    app.session_state["page"] = "one"
    app.query_params.clear()
    app.run()
    assert seen(app) == DEFAULTS | {"data": "c"}
    assert url(app) == {"data": "c"}


def test_a_link_to_a_visited_page_overrides_its_controls():
    app = opened(data="c", seed="7")
    app.session_state["page"] = "two"
    app.query_params.clear()
    app.run()
    app.session_state["page"] = "one"
    app.query_params["seed"] = "8"
    app.run()
    assert seen(app) == DEFAULTS | {"seed": 8}


def test_reset_sets_defaults_and_empties_the_url():
    app = opened(**LINK)
    app.session_state["reset"] = True
    app.run()
    assert seen(app) == DEFAULTS and url(app) == {}


@pytest.mark.parametrize("link", [{"seed": "8"}, {}])
def test_back_opens_the_url_also_on_the_same_page(link):
    app = opened(data="c", seed="7")
    app.query_params.clear()
    for slug, value in link.items():
        app.query_params[slug] = value
    app.session_state["back"] = True
    app.run()
    assert seen(app) == DEFAULTS | {slug: int(value) for slug, value in link.items()}
    assert url(app) == link


def test_values_reported_by_a_part_are_in_the_url():
    app = opened()
    app.session_state["clock"] = 0.25
    app.run()
    assert url(app) == {"t": "0.25"}


def choices():
    import streamlit as st

    from flowviz.ui import state, widgets

    state.visit("page")
    seen = {
        "pick": widgets.several("pick", "Pick", {"a": "A", "b": "B"}, ["a"]),
        "rate": widgets.number("rate", "Rate", 0.0, 1e9, 0.5),
    }
    st.session_state["seen"] = seen


def reopened(app):
    """A visit with the link that an app wrote."""
    again = AppTest.from_function(choices, default_timeout=20)
    for name, value in url(app).items():
        again.query_params[name] = value
    again.run()
    assert not again.toast
    return again


def test_a_link_with_an_empty_choice_is_read_unchanged():
    app = AppTest.from_function(choices, default_timeout=20).run()
    app.multiselect[0].set_value([]).run()
    assert seen(app)["pick"] == () and url(app) == {"pick": "none"}
    assert seen(reopened(app))["pick"] == ()


@pytest.mark.parametrize("value", [0.1 + 0.2, 1 / 3, 123456789.125, 1e-5, 0.0])
def test_a_number_is_read_exactly(value):
    app = AppTest.from_function(choices, default_timeout=20).run()
    app.number_input[0].set_value(value).run()
    assert seen(app)["rate"] == value
    assert seen(reopened(app))["rate"] == value


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, "0.5"), (1.0, "1"), (0.1 + 0.2, repr(0.1 + 0.2))]
)
def test_a_number_is_written_in_its_shortest_form(value, text):
    assert widgets._exact(value) == text


def test_a_hidden_control_keeps_the_value_of_its_link_and_a_locked_one_is_shown():
    app = AppTest.from_function(script, default_timeout=20)
    for name, value in LINK.items():
        app.query_params[name] = value
    app.session_state["restricted"] = (("nfe",), ("data",))
    app.run()
    assert seen(app) == PARSED and url(app) == LINK
    assert [box.key for box in app.selectbox] == ["one:data"] and app.selectbox[0].disabled
    assert [box.key for box in app.select_slider] == ["one:nfe"]
    assert not app.select_slider[0].disabled
    assert not (app.number_input or app.toggle or app.text_input or app.button)


def test_a_disabled_control_states_the_reason_and_is_enabled_on_the_next_page():
    app = AppTest.from_function(script, default_timeout=20)
    app.session_state["aside"] = {"nfe": "One row each.", "lr": "Not trained."}
    app.run()
    assert [box.disabled for box in app.select_slider] == [True]
    assert app.select_slider[0].help == "One row each."
    rate = next(box for box in app.number_input if box.key == "one:lr")
    assert rate.disabled and not app.selectbox[0].disabled
    assert seen(app)["nfe"] == 20
    app.session_state["page"] = "two"
    app.run()
    assert [box.disabled for box in app.select_slider] == [False]


def test_a_page_that_is_opened_again_by_a_link_resets_other_controls():
    app = opened(**LINK)
    app.session_state["again"] = True
    for name in LINK:
        del app.query_params[name]
    app.query_params["seed"] = "5"
    app.run()
    assert seen(app) == DEFAULTS | {"seed": 5}
