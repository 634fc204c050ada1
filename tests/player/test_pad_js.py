"""The drawing pad's own script, in Chromium without Streamlit."""

import json
from itertools import pairwise

import pytest
from mounting import component, frame

from flowviz.figures import theme


def data(**entries):
    colours = {"data": "#009E73", "ink": "#1F2430", "muted": "#5D6470", "grid": "#E3E6EB"}
    return {
        "mode": "strokes",
        "points": [],
        "means": [],
        "least": 20,
        "most": 2000,
        "hint": "Draw here",
        "frame": theme.FRAME,
        "theme": {"light": colours, "dark": colours},
        **entries,
    }


@pytest.fixture
def open_pad(tab):
    with component(tab, "pad", "pad.js", width=300, height=500) as page:

        def mount(**entries):
            page.evaluate("mount", data(**entries))
            frame(page)
            return page

        yield mount


def at(page, x, y):
    """The pixel of the page at (x, y) of the frame."""
    box = page.locator("canvas").bounding_box()
    unit = box["width"] / (2 * theme.FRAME)
    return box["x"] + (x + theme.FRAME) * unit, box["y"] + (theme.FRAME - y) * unit


def drag(page, *places):
    page.mouse.move(*at(page, *places[0]))
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*at(page, *place), steps=8)
    page.mouse.up()
    frame(page)


def sent(page):
    return page.evaluate("window.sent")


def press(page, name):
    page.get_by_role("button", name=name).click()
    frame(page)


def test_points_lie_evenly_along_the_strokes(open_pad):
    page = open_pad()
    points = page.evaluate("pad.sample([[[0, 0], [3, 0]], [[0, 1], [0, 4]]], 60)")
    assert len(points) == 60
    gaps = [b[0] - a[0] for a, b in pairwise(points[:30])]
    assert max(gaps) - min(gaps) < 0.01 and abs(gaps[0] - 0.1) < 0.01
    assert all(p[1] == 0 for p in points[:30]) and all(p[0] == 0 for p in points[30:])


def test_a_click_leaves_a_dot(open_pad):
    points = open_pad().evaluate("pad.sample([[[1, 2]]], 100)")
    assert len(points) >= 8
    assert all(abs(x - 1) <= 0.1 and abs(y - 2) <= 0.1 for x, y in points)


def test_a_drawing_is_sent_to_python_on_apply_only(open_pad):
    page = open_pad()
    assert page.get_by_role("button", name="Apply").is_disabled()
    drag(page, (-3, -3), (3, 3))
    assert sent(page) == []
    press(page, "Apply")
    [[name, points]] = sent(page)
    assert name == "drawing" and len(points) > 100
    assert all(abs(x - y) < 0.1 and abs(x) <= 3.1 for x, y in points)


def test_undo_and_clear(open_pad):
    page = open_pad()
    drag(page, (-3, 0), (3, 0))
    one = page.locator(".fp").get_attribute("data-count")
    drag(page, (0, -3), (0, 3))
    assert int(page.locator(".fp").get_attribute("data-count")) > int(one)
    press(page, "Undo")
    assert page.locator(".fp").get_attribute("data-count") == one
    press(page, "Clear")
    assert page.locator(".fp").get_attribute("data-count") == "0"
    press(page, "Undo")
    assert page.locator(".fp").get_attribute("data-count") == one


def test_strokes_stay_in_the_frame(open_pad):
    page = open_pad()
    drag(page, (0, 0), (30, 0))
    press(page, "Apply")
    assert max(x for x, _ in sent(page)[0][1]) <= theme.FRAME


def test_keyboard_draws_and_applies(open_pad):
    page = open_pad()
    page.locator("canvas").focus()
    for key in ["ArrowRight", " ", *["ArrowRight"] * 8, " ", "Enter"]:
        page.keyboard.press(key)
        frame(page)
    [[name, points]] = sent(page)
    assert name == "drawing"
    assert all(y == 0 and -0.01 <= x <= 2.01 for x, y in points) and len(points) > 20


def test_strokes_survive_new_data_from_python(open_pad):
    page = open_pad()
    drag(page, (-3, 0), (3, 0))
    count = page.locator(".fp").get_attribute("data-count")
    page.evaluate("data => { leave(); leave = show(data); }", data(points=[[0, 0]]))
    frame(page)
    assert page.locator(".fp").get_attribute("data-count") == count


def means(page):
    return [value for name, value in sent(page) if name == "means"]


def test_click_places_a_mean_and_drag_moves_it(open_pad):
    page = open_pad(mode="means", means=[[0, 0]], std=0.4, most=3)
    page.mouse.click(*at(page, 2, 2))
    assert len(means(page)) == 1 and len(means(page)[0]) == 2
    drag(page, (2, 2), (-2, 3))
    x, y = means(page)[1][1]
    assert abs(x + 2) < 0.1 and abs(y - 3) < 0.1


def test_double_click_removes_a_mean_but_not_the_last(open_pad):
    page = open_pad(mode="means", means=[[0, 0], [3, 3]], std=0.4, most=3)
    page.mouse.dblclick(*at(page, 3, 3))
    frame(page)
    assert len(means(page)[-1]) == 1
    page.mouse.dblclick(*at(page, 0, 0))
    assert len(means(page)[-1]) == 1


def test_the_number_of_means_is_bounded(open_pad):
    page = open_pad(mode="means", means=[[0, 0], [3, 3]], std=0.4, most=2)
    page.mouse.click(*at(page, -3, -3))
    frame(page)
    assert page.locator(".fp").get_attribute("data-count") == "2"


def test_keyboard_places_moves_and_removes(open_pad):
    page = open_pad(mode="means", means=[[4, 4]], std=0.4, most=3)
    page.locator("canvas").focus()
    for key in ["ArrowUp", "ArrowUp", " ", "ArrowRight", " "]:
        page.keyboard.press(key)
    frame(page)
    assert means(page)[-1] == [[4, 4], [0.25, 0.25]]
    page.keyboard.press("Delete")
    assert means(page)[-1] == [[4, 4]]


@pytest.mark.parametrize("mode", ["strokes", "means"])
def test_pad_has_a_label_and_describes_its_keys(open_pad, mode):
    page = open_pad(mode=mode, means=[[0, 0]], std=0.4)
    words = page.locator("canvas").get_attribute("aria-label")
    assert "keyboard" in words and "arrows" in words
    assert page.get_by_role("button", name="Apply").count() == (mode == "strokes")


def test_data_of_python_are_json(open_pad):
    assert json.dumps(data())
