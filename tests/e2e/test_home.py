"""The home page as a first visitor meets it, in Chromium."""

import re

from browsing import CLOCK, clock, linked, settle, visit
from playwright.sync_api import expect


def test_home_plays_in_a_loop_and_leads_to_tour_and_presets(page):
    visit(page, "/")
    expect(page.locator(".fv-play")).to_have_attribute("aria-pressed", "true")
    expect(page.locator(CLOCK)).to_have_text("t = 1.000")
    expect(page.locator(CLOCK)).to_have_text(re.compile(r"t = 0\.[0-4]"))

    page.get_by_role("button", name="60-second tour").click()
    expect(page.locator(".st-key-lecture-banner h3")).to_have_text("1. Noise becomes data")
    settle(page)
    page.keyboard.press("PageDown")
    expect(page.locator(".st-key-lecture-banner h3")).to_have_text("2. A sample costs evaluations")

    visit(page, "/")
    page.get_by_role("link", name="4 steps only").click()
    linked(page, "solver=euler", "nfe=4")
    expect(page).to_have_url(re.compile("/compare"))
    settle(page)
    assert clock(page) == 1
