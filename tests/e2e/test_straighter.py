"""End-to-end tests of the page on the three claims."""

from pathlib import Path

import pytest
from browsing import settle, visit
from playwright.sync_api import expect

PATIENCE = 240_000
"""Timeout in milliseconds on a busy machine; an idle one needs a few seconds."""

pytestmark = pytest.mark.slow

SMALL = "/straighter?data=8gaussians&steps=100&seeds=1&width=16"


@pytest.fixture
def page(page):
    page.set_default_timeout(PATIENCE)
    return page


def charts(page):
    return page.locator(".js-plotly-plot")


def start(page, study):
    page.locator(f".st-key-{study}-start").get_by_role("button").click()


def test_exact_results_are_shown_without_a_click(page):
    visit(page, "/straighter?claim=unlimited")
    expect(charts(page)).to_have_count(5, timeout=PATIENCE)
    expect(page.get_by_text("carry the same noise to the same data")).to_be_visible(
        timeout=PATIENCE
    )
    expect(page.get_by_text("so for exact fields a straighter path does not")).to_have_count(2)
    expect(page.get_by_test_id("stProgress")).to_have_count(0, timeout=PATIENCE)
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").nth(1).click()
    text = Path(download.value.path()).read_text()
    assert "# data: checkerboard" in text and "# method: midpoint" in text
    assert "path,nfe,distance" in text and "trig," in text


def test_race_is_run_and_kept(page, open_page):
    visit(page, SMALL)
    start(page, "race")
    expect(page.get_by_text("is closest to the data")).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_test_id("stProgress")).to_have_count(0, timeout=PATIENCE)
    settle(page)
    other = open_page()
    visit(other, SMALL)
    expect(other.get_by_text("is closest to the data")).to_be_visible(timeout=PATIENCE)
