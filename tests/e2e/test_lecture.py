"""The keyboard alone moves through all steps of a lecture."""

import re

import pytest
from browsing import PLANE, clock, eventually, settle, visit, wait_for_playback
from playwright.sync_api import expect

from flowviz.lectures import lectures

STEPS = lectures()["ten-steps"].steps
THIRD = "to-one-step"


def heading(page, number, steps=STEPS):
    words = page.locator(".st-key-lecture-banner h3")
    expect(words).to_have_text(f"{number}. {steps[number - 1].title}")


def walk(page, steps):
    """Goes from the first step to the last by keyboard; each must show its page and controls."""
    for number in range(2, len(steps) + 1):
        page.keyboard.press("ArrowRight" if number % 2 else "PageDown")
        heading(page, number, steps)
        expect(page).to_have_url(re.compile(f"/{steps[number - 1].page}|step={number}"))
        # No wait until the page is idle: a reader may go on while a page still computes.
        expect(page.get_by_test_id("stException")).to_have_count(0)
        expect(page.get_by_test_id("stToast")).to_have_count(0)
        for slug in steps[number - 1].show:
            expect(page.locator(f'[class*="{slug}"]').first).to_be_visible()
        expect(page.locator(".st-key-lecture-banner h3")).to_be_in_viewport()
        if steps[number - 1].show:
            controls = page.get_by_test_id("stSidebar").bounding_box()
            assert controls["height"] < page.viewport_size["height"] / 3, "the figure is covered"
    page.keyboard.press("ArrowRight")  # no step follows
    page.keyboard.press("ArrowLeft")
    heading(page, len(steps) - 1, steps)


@pytest.mark.slow
def test_a_lecture_runs_by_keyboard_alone(page):
    visit(page, "/lecture")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.innerText").endswith("Begin"):
            break
    page.keyboard.press("Enter")
    heading(page, 1)
    expect(page.get_by_test_id("stSidebar")).to_be_hidden()
    wait_for_playback(page)

    page.keyboard.press("?")
    expect(page.locator(".fv-help")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Home")
    expect(page.locator(".fv-time")).to_have_text("t = 0.000")
    page.keyboard.press("Space")
    expect(page.locator(".fv-play")).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".fv-time")).not_to_have_text("t = 0.000")
    page.keyboard.press("Space")
    settle(page)

    walk(page, STEPS)


@pytest.mark.slow
def test_the_lecture_on_few_steps_runs_to_its_end(page):
    steps = lectures()[THIRD].steps
    visit(page, f"/{steps[0].open}&lecture={THIRD}&step=1")
    heading(page, 1, steps)
    wait_for_playback(page)
    walk(page, steps)


FIRST = f"/{STEPS[0].open}&lecture=ten-steps"
WITH_CONTROL = f"/{STEPS[7].open}&lecture=ten-steps&step=8"
PIXELS = "node => parseFloat(getComputedStyle(node).fontSize)"


@pytest.mark.parametrize("link", [pytest.param(FIRST, marks=pytest.mark.slow), WITH_CONTROL])
def test_planes_of_a_lecture_cover_most_of_the_screen(page, link):
    page.set_viewport_size({"width": 1280, "height": 720})
    visit(page, link)
    clock(page)
    for size in ((1280, 720), (1024, 768), (1920, 1080)):
        page.set_viewport_size(dict(zip(("width", "height"), size, strict=True)))
        eventually(page, planes_fill, page, *size)  # the text is measured before planes are drawn


def planes_fill(page, width, height):
    boxes = [plane.bounding_box() for plane in page.locator(PLANE).all()]
    assert sum(box["width"] * box["height"] for box in boxes) >= 0.6 * width * height
    for box in boxes:
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
        assert box["y"] + box["height"] <= height
    for numbers in page.locator(".fv-panels .fv-readouts").all():
        below = numbers.bounding_box()
        assert below["y"] + below["height"] <= height, "cut"
    text = page.locator(".st-key-lecture-banner p").first
    assert text.evaluate(PIXELS) >= 20
    labels = page.locator(".fv-readouts dt, [data-testid=stSidebar] [data-testid=stWidgetLabel]")
    for label in labels.all():
        assert label.evaluate(PIXELS) >= 16
    dock = page.get_by_test_id("stSidebar")
    if dock.is_visible():
        below = dock.bounding_box()
        assert below["x"] + below["width"] <= width
        assert below["y"] + below["height"] <= min(box["y"] for box in boxes) + 1, "covers a plane"


FIGURES = [("ten-steps", 2), ("ten-steps", 9)]
SLOW_FIGURES = [("ten-steps", 3), ("ten-steps", 5), ("ten-steps", 10), ("three-claims", 6)]


@pytest.mark.parametrize(
    ("name", "number"),
    [*FIGURES, *(pytest.param(*each, marks=pytest.mark.slow) for each in SLOW_FIGURES)],
)
def test_the_first_figure_of_a_step_fills_the_window_down_to_its_lower_edge(page, name, number):
    link = lectures()[name].steps[number - 1].open
    page.set_viewport_size({"width": 1280, "height": 720})
    visit(page, f"/{link}{'&' if '?' in link else '?'}lecture={name}&step={number}")
    figure = page.locator(".js-plotly-plot").first
    expect(figure).to_be_visible()
    for width, height in ((1280, 720), (1024, 768)):
        page.set_viewport_size({"width": width, "height": height})
        eventually(page, figure_fills, figure, height)


def figure_fills(figure, height):
    box = figure.bounding_box()
    assert height - 24 <= box["y"] + box["height"] <= height, "cut, or space is left"
    assert box["height"] >= 0.6 * height
    for title in figure.locator(".ytitle, .y2title").all():
        text = title.bounding_box()
        assert text["y"] >= box["y"] - 1, "cut"


@pytest.mark.parametrize("size", [(390, 844), (1024, 768), (1280, 720), (1440, 900)])
@pytest.mark.parametrize("step", [2, 6])
def test_a_figure_below_the_player_has_panels_of_a_readable_size(page, size, step):
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.goto(f"/lecture?lecture=to-one-step&step={step}")
    panels = page.locator(".js-plotly-plot .draglayer .nsewdrag")
    expect(panels).to_have_count(2, timeout=60_000)
    page.wait_for_function(
        "[...document.querySelectorAll('.js-plotly-plot .draglayer .nsewdrag')]"
        ".every((node) => node.getBoundingClientRect().height > 200)"
    )


@pytest.mark.parametrize("link", ["why?data=checkerboard&lecture=ten-steps&step=4"])
def test_a_single_square_plane_has_the_height_of_the_screen(page, link):
    """On a 16:9 screen its area is 56%; on 4:3 the text next to it leaves less width."""
    page.set_viewport_size({"width": 1280, "height": 720})
    visit(page, f"/{link}")
    page.wait_for_selector(".fw[data-drawn]")
    for (width, height), share in {
        (1280, 720): 0.54,
        (1920, 1080): 0.55,
        (1024, 768): 0.44,
    }.items():
        page.set_viewport_size({"width": width, "height": height})
        eventually(page, single_plane_fills, page, width, height, share)


def single_plane_fills(page, width, height, share):
    plane = page.locator(".fw-plot canvas").bounding_box()
    assert plane["width"] * plane["height"] >= share * width * height
    banner = page.locator(".st-key-lecture-banner").bounding_box()
    for part in (".fw-bar", ".fw-readouts", ".fw-legend"):
        box = page.locator(part).bounding_box()
        assert box["x"] + box["width"] <= plane["x"], "covers the plane"
        assert box["y"] >= banner["y"] + banner["height"] - 1, "covers the text"
        assert box["y"] + box["height"] <= height, "cut"
    assert page.locator(".fw-legend").evaluate(PIXELS) >= 16


@pytest.mark.parametrize("number", [1, 4, 6])
def test_text_on_a_canvas_is_as_large_as_other_labels(page, number):
    """Steps with the player, the plane with a draggable point, and the charts of a training."""
    page.add_init_script(
        """const write = CanvasRenderingContext2D.prototype.fillText;
        window.sizes = [];
        CanvasRenderingContext2D.prototype.fillText = function (...given) {
            if (this.canvas.isConnected) sizes.push(parseFloat(/([0-9.]+)px/.exec(this.font)[1]));
            return write.apply(this, given);
        };"""
    )
    visit(page, f"/lecture?lecture=ten-steps&step={number}")
    page.wait_for_function("sizes.length > 5")
    # The first drawing can precede the style of a lecture, which changes the canvas's size.
    page.wait_for_function("getComputedStyle(document.documentElement).fontSize === '18.5px'")
    settle(page)
    page.evaluate("sizes.length = 0")
    width, height = page.viewport_size.values()
    # The plane with a draggable point (number 4) changes the size of its canvas, not of its root.
    page.set_viewport_size({"width": width - 40, "height": height - 40})
    page.wait_for_function("sizes.length > 5")
    assert page.evaluate("Math.min(...sizes)") >= 16


def test_keys_work_after_a_click_on_the_blank_page(page):
    visit(page, FIRST)
    wait_for_playback(page)
    page.get_by_test_id("stMain").click(position={"x": 700, "y": 640})
    page.keyboard.press("Home")
    expect(page.locator(".fv-time")).to_have_text("t = 0.000")
    page.keyboard.press("Space")
    assert page.get_by_test_id("stMain").evaluate("node => node.scrollTop") == 0
    expect(page.locator(".fv-time")).not_to_have_text("t = 0.000")


def test_the_value_of_a_slider_is_below_the_line_under_the_text(page):
    visit(page, WITH_CONTROL)
    clock(page)
    value = page.get_by_test_id("stSliderThumbValue").bounding_box()
    banner = page.locator(".st-key-lecture-banner").bounding_box()
    assert value["y"] >= banner["y"] + banner["height"]


def test_buttons_and_the_source_of_an_equation_look_as_on_other_pages(page):
    visit(page, f"/{STEPS[5].open}&lecture=ten-steps&step=6")
    colour = "node => getComputedStyle(node).color"
    for name in ("Start training", "Cancel"):  # white on green, and grey while disabled
        button = page.get_by_role("button", name=name)
        assert button.locator("p").evaluate(colour) == button.evaluate(colour)
    source = page.locator(".st-key-lecture-banner [data-testid=stCaptionContainer] p")
    below, banner = (
        each.bounding_box()
        for each in (
            source,
            source.locator("xpath=ancestor::*[contains(@class, 'st-key-lecture-banner')]"),
        )
    )
    assert below["y"] + below["height"] <= banner["y"] + banner["height"] - 2, "on the line"


def test_the_step_of_images_has_no_row_of_controls(page):
    tour = lectures()["tour"].steps
    page.set_viewport_size({"width": 1280, "height": 720})
    visit(page, f"/{tour[3].open}?lecture=tour&step=4")
    expect(page.get_by_test_id("stSidebar")).to_be_hidden()
    assert "sidebar" not in tour[3].text
    sheets = page.locator(".fi-sheet canvas")
    expect(sheets).to_have_count(2)
    eventually(page, sheets_fill, sheets)


def sheets_fill(sheets):
    boxes = [sheet.bounding_box() for sheet in sheets.all()]
    assert sum(box["width"] * box["height"] for box in boxes) >= 0.55 * 1280 * 720
    assert max(box["y"] + box["height"] for box in boxes) <= 720, "cut"
