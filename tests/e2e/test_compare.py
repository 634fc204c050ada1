"""End-to-end tests of the page Compare."""

import csv
import json
import re
from pathlib import Path

import pytest
from browsing import (
    CHART,
    CLOCK,
    FITS,
    PLANE,
    Socket,
    clock,
    picture,
    redrawn,
    settle,
    visit,
    wait_for_link,
    wait_for_playback,
)
from playwright.sync_api import expect

PLACES = {
    "opening": ".fv-opening",
    "downloads": '.stMain [data-testid="stCaptionContainer"]',
    "findings": ".stMain ul",
}
WATCH = """(places) => {
    window.tops = Object.fromEntries(Object.keys(places).map((name) => [name, []]));
    const look = () => {
        for (const [name, selector] of Object.entries(places)) {
            const node = document.querySelector(selector);
            // The rules of the page arrive with its opening.
            if (document.querySelector(".fv-opening") && node?.clientHeight)
                tops[name].push(node.getBoundingClientRect().top);
        }
        window.looking = requestAnimationFrame(look);
    };
    look();
}"""


def test_opens_with_a_playback_that_stops_at_the_data(open_page):
    page = open_page(color_scheme="dark")
    page.add_init_script(f"({WATCH})({json.dumps(PLACES)})")
    page.goto("/compare")
    expect(page.locator(".fv-play")).to_have_attribute("aria-pressed", "true", timeout=90_000)
    first = picture(page)
    wait_for_playback(page)
    assert picture(page) != first
    assert clock(page) == pytest.approx(1, abs=1e-3)
    expect(page.locator(PLANE)).to_have_count(2)
    expect(page.get_by_text("conditional OT", exact=True).first).to_be_visible()
    expect(page.locator(CHART).first).to_be_visible()

    # No text has moved while the player loaded.
    for name, tops in page.evaluate(
        "() => { cancelAnimationFrame(looking); return tops; }"
    ).items():
        assert tops, name
        assert max(tops) - min(tops) < 10, name

    # The dark theme reaches player and figure.
    background = page.locator('[data-testid="stApp"]').evaluate(
        "e => getComputedStyle(e).backgroundColor"
    )
    paper = page.locator(".js-plotly-plot").first.evaluate("g => g._fullLayout.paper_bgcolor")
    assert [int(paper[i : i + 2], 16) for i in (1, 3, 5)] == _numbers(background)
    assert max(_numbers(background)) < 60
    expect(page.locator("section.fv")).to_have_attribute("data-theme", "dark")

    # Nothing is wider than the page; all controls and both panels are above the fold.
    for width, height in ((1440, 900), (1024, 768), (1280, 720)):
        page.set_viewport_size({"width": width, "height": height})
        expect(page.locator(CLOCK)).to_be_in_viewport()
        page.wait_for_function(FITS)
        box = page.locator("section.fv").bounding_box()
        assert box["x"] + box["width"] <= width
        expect(page.get_by_label("Seed of the noise", exact=True)).to_be_in_viewport(ratio=1)
    for numbers in page.locator(".fv-panels dl").all():
        expect(numbers).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (1024, 768), (1440, 900)])
def test_controls_and_numbers_of_four_panels_with_their_solvers_are_above_the_fold(
    open_page, width, height
):
    page = open_page(viewport={"width": width, "height": height})
    visit(page, "/compare?panels=4&solvers=1")
    clock(page)
    page.wait_for_function(FITS)
    for panel in ("Left", "Right", "Third", "Fourth"):
        page.get_by_role("tab", name=panel, exact=True).click()
        solver = page.get_by_role("combobox", name="ODE solver", exact=True)
        for control in (solver, page.get_by_label("Seed of the noise", exact=True)):
            expect(control).to_be_in_viewport(ratio=1)
    expect(page.locator(".fv-panels dl")).to_have_count(4)
    for numbers in page.locator(".fv-panels dl").all():
        expect(numbers).to_be_in_viewport(ratio=1)


def test_buttons_next_to_the_title_are_on_one_line(page):
    visit(page, "/compare")
    clock(page)
    for width, height in ((1440, 900), (1024, 768), (390, 844)):
        page.set_viewport_size({"width": width, "height": height})
        tops = [
            page.locator(".st-key-tools").get_by_text(words, exact=True).evaluate(TEXT_TOP)
            for words in ("Copy link", "Which OT?", "Code")
        ]
        assert -0.01 <= tops[0] - max(tops[1:]) <= 0.35, "rounded to the same pixel"


TEXT_TOP = """node => {
    const range = document.createRange();
    range.selectNodeContents(node);
    return range.getBoundingClientRect().top;
}"""


def _numbers(css):
    return [int(number) for number in re.findall(r"\d+", css)[:3]]


def test_clock_plays_pauses_scrubs_without_a_message_and_keeps_its_time_for_another_seed(page):
    socket = Socket(page)
    visit(page, "/compare?t=0.2")
    assert clock(page) == pytest.approx(0.2)
    page.get_by_role("button", name="Play", exact=True).click()
    page.wait_for_timeout(600)
    page.locator(".fv-play").click()
    paused = clock(page)
    assert paused > 0.2
    settle(page)
    page.wait_for_timeout(1500)
    assert clock(page) == paused

    track = page.locator(".fv-track input")
    box = track.bounding_box()
    before, seen = (socket.sent, socket.received), picture(page)
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.3 * box["width"], y)
    page.mouse.down()
    for i in range(20):
        page.mouse.move(box["x"] + (0.3 + 0.02 * i) * box["width"], y)
    redrawn(page, seen)  # it follows the pointer
    assert (socket.sent, socket.received) == before
    page.mouse.up()
    settle(page)
    expect(page.get_by_text(re.compile(r"At t = 0\.[67]"))).to_be_visible()
    assert socket.sent > before[0], "the release is sent"
    wait_for_link(page, "t=0.")

    released = clock(page)
    home = page.get_by_role("button", name="Reset zoom")
    expect(home).to_be_disabled()
    page.locator(PLANE).first.hover()
    page.mouse.wheel(0, -300)
    expect(home).to_be_enabled()
    before = picture(page)
    seed = page.get_by_label("Seed of the noise", exact=True)
    seed.fill("5")
    seed.press("Enter")
    wait_for_link(page, "seed=5")
    settle(page)
    redrawn(page, before)
    assert clock(page) == pytest.approx(released, abs=2e-3)
    expect(home).to_be_enabled()


@pytest.mark.slow
def test_a_link_reproduces_the_view(open_page):
    link = "/?data=moons&left=trig&solver=euler&nfe=10&seed=7&t=0.5&figure=quality&mode=steps"
    pictures = []
    for _ in range(2):
        page = open_page()
        visit(page, link)
        expect(page.locator(CHART).first).to_be_visible()
        assert clock(page) == pytest.approx(0.5)
        expect(page.get_by_label("Seed of the noise", exact=True)).to_have_value("7")
        expect(page.get_by_text("trigonometric", exact=True).first).to_be_visible()
        expect(page.locator(".fv-panels dd").first).to_have_text("10")
        page.wait_for_timeout(500)
        pictures.append(picture(page))
        wait_for_link(page, "seed=7", "data=moons")
    assert pictures[0] == pictures[1]


@pytest.mark.slow
def test_figures_download_as_picture_table_and_script(page):
    visit(page, "/compare?t=0.5&seed=3")
    for name, column in (
        ("At t = 0.50", "particle"),
        ("Quality over time", "sliced_w2"),
    ):
        page.get_by_role("radio", name=name).click()
        settle(page)
        expect(page.locator(CHART).first).to_be_visible()
        page.wait_for_timeout(300)
        assert _download(page, "PNG").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        svg = _download(page, "SVG").read_text()
        assert "<svg" in svg[:400] and "Arial" in svg and "Source Sans" not in svg
        lines = _download(page, "CSV").read_text().splitlines()
        settings = [line for line in lines if line.startswith("#")]
        assert "# seed: 3" in settings and "# data: checkerboard" in settings
        rows = list(csv.DictReader(lines[len(settings) :]))
        assert len(rows) > 50 and column in rows[0]
        assert {row["path"] for row in rows} == {"ot", "vp"}
        script = _download(page, "Python").read_text()
        compile(script, "script", "exec")
        assert "flowviz.study('flow')" in script and "seed=3" in script
    pdf = _download(page, "PDF 85 mm").read_bytes()
    width = float(re.search(rb"/MediaBox \[0 0 ([\d.]+)", pdf)[1])
    assert width == pytest.approx(85 * 72 / 25.4, abs=1) and b"FontFile2" in pdf
    html = _download(page, "HTML").read_text()  # of the player
    assert "canvas-place" in html and "flowviz export compare" in html and "--seed 3" in html
    assert len(html) < 3 * 2**20


def _download(page, kind):
    drawn = kind in ("PNG", "SVG")  # by the browser
    suffix = {"Python": "py", "PDF 85 mm": "85mm.pdf"}.get(kind, kind.lower())
    with page.expect_download() as download:
        name = re.compile(rf"as {kind}$") if drawn else kind
        page.get_by_role("button", name=name, exact=not drawn).first.click()
    assert download.value.suggested_filename.endswith(f".{suffix}")
    return Path(download.value.path())
