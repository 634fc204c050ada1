"""A film of images in a browser: sharp pixels, and a clock that sends no requests."""

import re

import pytest
from browsing import settle, visit
from playwright.sync_api import expect


@pytest.fixture
def checkpoints(tiny_images, monkeypatch):
    monkeypatch.setenv("FLOWVIZ_CHECKPOINTS", str(tiny_images))


@pytest.fixture
def server(checkpoints, fresh_server):
    """The URL of an app with two tiny checkpoints."""
    return fresh_server


@pytest.mark.slow
def test_film_is_scrubbed_in_whole_pixels_and_its_time_is_in_the_link(page):
    visit(page, "/images?view=film&nfe=4&left=tiny-ot&right=tiny-vp")
    state = page.locator(".fi-film canvas").first
    expect(state).to_be_visible()
    settle(page)
    drawn = state.evaluate(
        "c => [getComputedStyle(c).imageRendering, c.getBoundingClientRect().width / c.width]"
    )
    assert drawn[0] == "pixelated" and drawn[1] > 1 and drawn[1] == int(drawn[1])
    noise = state.evaluate("c => c.toDataURL()")
    page.locator(".fi").focus()
    page.keyboard.press("End")
    expect(page.locator(".fi-time")).to_have_text("t = 1.000")
    assert state.evaluate("c => c.toDataURL()") != noise
    page.keyboard.press("2")
    expect(page).to_have_url(re.compile(r"(?=.*image=2)(?=.*t=1\.0)"))
    settle(page)
    expect(page.locator(".fi")).to_have_attribute("data-image", "1")
