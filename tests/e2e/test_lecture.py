"""A lecture runs from its first step to its last by keyboard alone."""

import re

import pytest
from browsing import at_rest, settle, visit
from playwright.sync_api import expect

from flowviz.lectures import lectures

STEPS = lectures()["ten-steps"].steps


def heading(page, number):
    words = page.locator(".st-key-lecture-banner h3")
    expect(words).to_have_text(f"{number}. {STEPS[number - 1].title}")


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
    at_rest(page)

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

    for number in range(2, len(STEPS) + 1):
        page.keyboard.press("ArrowRight" if number % 2 else "PageDown")
        heading(page, number)
        expect(page).to_have_url(re.compile(f"/{STEPS[number - 1].page}|step={number}"))
        # Not at rest: a listener who has seen enough goes on while a page still computes.
        expect(page.get_by_test_id("stException")).to_have_count(0)
        expect(page.get_by_test_id("stToast")).to_have_count(0)
        for slug in STEPS[number - 1].show:
            expect(page.locator(f'[class*="{slug}"]').first).to_be_visible()
        expect(page.locator(".st-key-lecture-banner h3")).to_be_in_viewport()
        if STEPS[number - 1].show:
            controls = page.get_by_test_id("stSidebar").bounding_box()
            assert controls["height"] < page.viewport_size["height"] / 3, "they leave the picture"
    page.keyboard.press("ArrowRight")  # there is none
    page.keyboard.press("ArrowLeft")
    heading(page, len(STEPS) - 1)
