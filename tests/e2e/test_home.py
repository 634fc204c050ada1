"""End-to-end tests of the home page."""

import re

import pytest
from browsing import CLOCK, clock, settle, visit, wait_for_link
from playwright.sync_api import expect


@pytest.mark.slow
def test_home_plays_in_a_loop_and_links_to_tour_and_presets(page):
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
    wait_for_link(page, "solver=euler", "nfe=4")
    expect(page).to_have_url(re.compile("/compare"))
    settle(page)
    assert clock(page) == 1

    for layer in ("Data", "Density"):  # each changes the URL
        before = page.url
        page.get_by_role("button", name=layer, exact=True).click()
        page.wait_for_function("before => location.href !== before", arg=before)
    settle(page)
    address = page.url
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("button", name="60-second tour")).to_be_visible()
    page.go_forward()
    expect(page).to_have_url(address)
    expect(page.get_by_role("button", name="Data", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
    settle(page)
    page.get_by_role("button", name="Code").click()
    expect(page.get_by_role("dialog", name="Code")).to_contain_text("--method euler --nfe 4")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Reset", exact=True).click()
    expect(page).not_to_have_url(re.compile("solver"))


def test_an_old_link_to_the_root_opens_compare_and_back_shows_the_home_page(page):
    visit(page, "/?data=moons&t=0.5")
    expect(page).to_have_url(re.compile(r"/compare\?.*data=moons"))
    assert clock(page) == 0.5
    page.go_back()
    expect(page.get_by_role("button", name="60-second tour")).to_be_visible()
