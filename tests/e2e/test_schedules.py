"""A schedule that is shaped by dragging a point is a path on the other pages too."""

import re

import pytest
from browsing import CHART, settle, visit, wait_for_link, wait_for_playback
from playwright.sync_api import expect


@pytest.mark.slow
def test_a_dragged_point_shapes_the_path_that_compare_then_shows(page) -> None:
    visit(page, "schedules")
    expect(page.locator(CHART).first).to_be_visible()
    plot = page.locator(".fh canvas")
    box = plot.bounding_box()
    x = box["x"] + 34 + 0.4 * (box["width"] - 46)
    y = [box["y"] + 12 + (1 - value) * (box["height"] - 52) for value in (0.35, 0.5)]
    page.mouse.move(x, y[0])
    page.mouse.down()
    page.mouse.move(x, y[1], steps=5)
    page.mouse.up()
    expect(page.locator(".fh")).to_have_attribute("data-alpha", "0.1,0.5,0.65,0.9")
    wait_for_link(page, "shape=a2%3D0.5")
    settle(page)
    page.get_by_role("button", name="Compare it with OT").click()
    expect(page.locator(".fv-panels").first).to_be_visible(timeout=60_000)
    wait_for_playback(page)
    wait_for_link(page, "right=shaped", "shape=a2%3D0.5")
    expect(page.locator(".fv-panels")).to_contain_text("your own schedule")


def test_back_from_a_page_that_a_button_opened_keeps_the_settings(page):
    visit(page, "/schedules?paths=ot,ve")
    page.get_by_role("button", name="Compare it with OT").click()
    expect(page).to_have_url(re.compile("/compare"))
    settle(page)
    page.go_back()
    wait_for_link(page, "paths=ot%2Cve")
    settle(page)
    expect(page.locator("[data-tag]")).to_have_text(["conditional OT", "VE diffusion"])
