"""End-to-end tests of the page Cost and quality."""

import csv
import re
from pathlib import Path

import pytest
from browsing import CHART, FITS, settle, visit
from playwright.sync_api import expect

SMALL = "/nfe_quality?fields=exact-ot,exact-vp&solvers=euler,rk4&n=500&seeds=2"


def test_curves_appear_one_by_one_with_findings_and_can_be_saved(page):
    visit(page, SMALL)
    expect(page.locator(CHART).first).to_be_visible(timeout=60_000)
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0, timeout=120_000)
    settle(page)
    expect(page.get_by_text("At equal error")).to_be_visible()
    expect(page.get_by_text("Error is not quality")).to_be_visible()
    arrivals = page.locator("table").filter(has_text="OT : VP")
    expect(arrivals).to_be_visible()
    expect(page.get_by_text("diverged", exact=True).first).to_be_visible()
    expect(arrivals.locator("tbody tr")).to_have_count(4)

    lines = Path(saved(page, "CSV")).read_text().splitlines()
    settings = [line for line in lines if line.startswith("#")]
    assert "# data: checkerboard" in settings and "# grid: uniform" in settings
    rows = list(csv.DictReader(lines[len(settings) :]))
    assert len(rows) == 2 * 2 * 8 * 2, "fields, solvers, budgets, seeds"
    assert {row["path"] for row in rows} == {"ot", "vp"} and float(rows[0]["mse"]) > 0
    assert {"nfe", "histogram-tv", "histogram-tv-floor"} <= rows[0].keys()
    expect(page.locator(".modebar-btn[data-title^=Download]").first).to_be_hidden()
    assert Path(saved(page, "as SVG")).read_text().startswith("<svg")
    assert Path(saved(page, "as PNG")).read_bytes()[:4] == b"\x89PNG"

    for width, height in ((1440, 900), (1024, 768)):
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_function(FITS)


def saved(page, name):
    with page.expect_download() as download:
        page.get_by_role("button", name=re.compile(f"{name}$")).first.click()
    return download.value.path()


@pytest.mark.slow
def test_a_sweep_is_cancelled_and_continued(page):
    visit(page, "/nfe_quality?fields=exact-ot,exact-vp&solvers=midpoint,dopri8&n=2000&seed=9")
    expect(page.get_by_text(re.compile("^Takes about"))).to_be_visible()
    page.get_by_role("button", name="Compute").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text(re.compile("^Stopped: "))).to_be_visible(timeout=60_000)
    settle(page)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("button", name="Cancel")).to_be_visible(timeout=30_000)
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("button", name="Go on")).to_be_visible(timeout=60_000)


@pytest.mark.slow
def test_adaptive_steps_in_the_dark_theme_and_an_invalid_link(open_page):
    page = open_page(color_scheme="dark", viewport={"width": 1024, "height": 768})
    visit(page, "/nfe_quality?view=steps&fields=exact-ot,exact-vp&grid=loog-snr")
    expect(page.get_by_text("This link's grid is invalid")).to_be_visible()
    expect(page.get_by_text(re.compile("steps accepted and")).first).to_be_visible()
    expect(page.locator(CHART).first).to_be_visible()
    page.wait_for_function(FITS)


INSIDE = """() => [...document.querySelectorAll("table, .katex")].every((each) => {
    const cut = each.matches("table") && each.scrollWidth > each.clientWidth;
    return !cut && each.getBoundingClientRect().right <= innerWidth;
})"""


@pytest.mark.parametrize("path", ["nfe_quality", "which_ot", "cfm"])
def test_tables_and_formulas_fit_a_phone(open_page, path):
    page = open_page(viewport={"width": 390, "height": 844})
    visit(page, f"/{path}")
    if path == "cfm":
        page.get_by_text("The theorem").click()
        expect(page.locator(".katex").last).to_be_visible()
    else:
        expect(page.locator("table").first).to_be_visible()
    page.wait_for_function(INSIDE)
