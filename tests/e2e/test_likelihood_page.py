"""End-to-end tests of the pages Likelihood and Figure 4."""

import re
from pathlib import Path

import pytest
from browsing import settle, visit
from playwright.sync_api import expect

PATIENCE = 180_000
"""Timeout in milliseconds on a busy machine; an idle one needs seconds."""

GAUSSIAN = "data=mixture:1,0@0.8&model=exact-ot&cells=54"


def coordinates(page):
    return [float(page.get_by_label(name).input_value()) for name in ("x₁", "x₂")]


@pytest.mark.slow
def test_the_point_is_set_by_a_click_on_the_map_or_by_the_keyboard(page):
    visit(page, f"/likelihood?{GAUSSIAN}&x=0.5&y=0.25")
    assert coordinates(page) == [0.5, 0.25]
    plane = page.locator(".st-key-point-log-density .nsewdrag").first
    expect(plane).to_be_visible(timeout=PATIENCE)
    box = plane.bounding_box()
    # A quarter from the left and the top is (-2.5, 2.5); the grid's nodes are 0.25 apart.
    plane.click(position={"x": box["width"] / 4, "y": box["height"] / 4})
    expect(page).to_have_url(re.compile(r"x=-2\.\d+&y=2\.\d+"), timeout=PATIENCE)
    settle(page)
    x, y = coordinates(page)
    assert abs(x + 2.5) < 0.3 and abs(y - 2.5) < 0.3
    expect(page.get_by_test_id("stTable").or_(page.locator("table")).first).to_contain_text("nats")
    box = page.get_by_label("x₁")
    box.fill("-1.5")
    box.press("Enter")
    expect(page).to_have_url(re.compile(r"x=-1\.5"), timeout=PATIENCE)
    settle(page)


@pytest.mark.slow
@pytest.mark.parametrize("view", ["evolution", "kl"])
def test_views_are_drawn(page, view):
    visit(page, f"/likelihood?{GAUSSIAN}&view={view}&nfe=10")
    expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible(timeout=PATIENCE)
    settle(page, PATIENCE)


@pytest.mark.slow
def test_painting_can_be_cancelled_and_continued(page):
    page.goto("/figure4?densities=histograms&seed=3&cells=90")
    page.get_by_role("button", name="Cancel").click(timeout=PATIENCE)
    expect(page.get_by_text(re.compile("^Stopped: "))).to_be_visible(timeout=PATIENCE)
    page.get_by_role("button", name="Go on").click()
    sheet = page.locator(".st-key-figure4-sheet .js-plotly-plot")
    expect(sheet).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_role("button", name="PDF for print")).to_have_count(0)  # one row is ready
    page.get_by_role("button", name="Cancel").click(timeout=PATIENCE)
    expect(page.get_by_text(re.compile("^Stopped: "))).to_be_visible(timeout=PATIENCE)


@pytest.mark.slow
def test_sheet_is_printed(page):
    visit(page, "/figure4")
    with page.expect_download(timeout=PATIENCE) as download:
        page.get_by_role("button", name="PDF for print").click()
    content = Path(download.value.path()).read_bytes()
    assert content.startswith(b"%PDF") and len(content) > 10_000
