"""The page on the three claims as a visitor meets it, in Chromium."""

import re
from pathlib import Path

import pytest
from browsing import linked, settle, visit
from playwright.sync_api import expect

PATIENCE = 240_000
"""Milliseconds that a busy machine may take; a quiet one needs a few seconds."""

SMALL = "/straighter?data=8gaussians&steps=100&seeds=1&width=16"


@pytest.fixture
def page(page):
    page.set_default_timeout(PATIENCE)
    return page


def charts(page):
    return page.locator(".js-plotly-plot")


def start(page, study):
    page.locator(f".st-key-{study}-start").get_by_role("button").click()


def test_exact_results_are_there_without_a_click(page):
    visit(page, "/straighter?claim=unlimited")
    expect(charts(page)).to_have_count(4, timeout=PATIENCE)
    expect(page.get_by_text("carry the same noise to the same data")).to_be_visible(
        timeout=PATIENCE
    )
    expect(page.get_by_text("so for exact fields a straighter path does not")).to_be_visible()
    expect(page.get_by_test_id("stProgress")).to_have_count(0, timeout=PATIENCE)
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").nth(1).click()
    text = Path(download.value.path()).read_text()
    assert "# data: checkerboard" in text and "# method: midpoint" in text
    assert "path,nfe,distance" in text and "trig," in text


def test_matched_starts_make_all_paths_agree(page):
    visit(page, "/straighter?claim=unlimited&data=8gaussians&matched=1")
    expect(page.get_by_text("trigonometric and VE diffusion carry the same noise")).to_be_visible(
        timeout=PATIENCE
    )


def test_race_is_run_and_kept(page, open_page):
    visit(page, SMALL)
    start(page, "race")
    expect(page.get_by_text("is closest to the data")).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_test_id("stProgress")).to_have_count(0, timeout=PATIENCE)
    settle(page)
    other = open_page()
    visit(other, SMALL)
    expect(other.get_by_text("is closest to the data")).to_be_visible(timeout=PATIENCE)


def test_race_is_cancelled(page):
    visit(page, SMALL.replace("steps=100", "steps=20000"))
    start(page, "race")
    expect(page.get_by_test_id("stProgress")).to_contain_text(
        re.compile(r"\d of 80,000 training steps"), timeout=PATIENCE
    )
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("button", name="Go on")).to_be_visible(timeout=PATIENCE)


def test_claim_is_in_the_link(page):
    visit(page, "/straighter")
    page.get_by_role("radio", name=re.compile("Better with unlimited")).click()
    expect(page.get_by_text("The same noise ends in the same points")).to_be_visible(
        timeout=PATIENCE
    )
    settle(page)
    linked(page, "claim=unlimited")


def test_bad_link_falls_back_with_a_notice(page):
    visit(page, "/straighter?claim=all&lr=fast")
    expect(page.get_by_test_id("stToast").first).to_be_visible()
    expect(page.get_by_text("Before training")).to_be_visible(timeout=PATIENCE)
