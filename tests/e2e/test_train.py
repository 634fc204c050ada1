"""End-to-end tests of the page Train."""

import re

import pytest
from browsing import report_late, settle, visit, wait_for_link
from playwright.sync_api import expect

from flowviz.checkpoints import load
from flowviz.figures.theme import FRAME

QUICK = "/train?width=8&depth=1&batch=16&steps=200"
LONG = "/train?width=8&depth=1&batch=16&steps=100000"
PATIENCE = 120_000
"""Timeout in milliseconds on a busy machine; an idle one needs a few seconds."""


def status(page):
    return page.get_by_test_id("stProgress")


def monitor(page):
    return page.locator(".fm")


def samples(page):
    """The pixels of the first plot of live samples, as a data URL."""
    return page.locator(".fm-plane canvas").first.evaluate("c => c.toDataURL()")


def test_trains_live_and_the_result_can_be_kept(page, tmp_path):
    page.set_viewport_size({"width": 1280, "height": 720})
    visit(page, QUICK)
    expect(page.locator(".fm-legend")).to_have_text("data points")
    before, place = samples(page), monitor(page).bounding_box()
    page.get_by_role("button", name="Start training").click()
    expect(page.locator(".fm-panels figcaption").first).to_contain_text(
        re.compile(r"conditional OT.*\d"), timeout=PATIENCE
    )
    assert samples(page) != before
    expect(status(page)).to_contain_text("Done: 200 steps", timeout=PATIENCE)
    expect(monitor(page)).to_have_attribute("data-state", "ended", timeout=PATIENCE)
    settle(page)
    assert monitor(page).bounding_box() == place, "nothing has moved"
    expect(page.locator(".js-plotly-plot")).to_have_count(2, timeout=PATIENCE)

    with page.expect_download() as download:
        page.get_by_role("button", name="VP diffusion", exact=True).click()
    download.value.save_as(tmp_path / "vp.safetensors")
    checkpoint = load(tmp_path / "vp.safetensors")
    assert (checkpoint.card.path, checkpoint.card.steps) == ("vp", 200)

    save = page.get_by_role("button", name="Save", exact=True)
    save.click()
    expect(page.get_by_text("Saved my-checkerboard-ot")).to_be_visible(timeout=PATIENCE)
    save.click()
    expect(page.get_by_text("nothing was overwritten")).to_be_visible(timeout=PATIENCE)

    page.get_by_role("button", name="Open in Compare").click()
    expect(page.locator(".fv-panels figcaption").first).to_contain_text(
        "learned", timeout=PATIENCE
    )
    settle(page)
    assert "/compare" in page.url


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "meanwhile"])
def test_training_continues_while_another_page_is_open_and_is_cancelled(page, moment):
    report_late(page, moment)
    visit(page, LONG)
    place = monitor(page).bounding_box()
    page.get_by_role("button", name="Start training").click()
    expect(status(page)).to_contain_text(re.compile(r"Step \d.*steps/s"), timeout=PATIENCE)
    assert monitor(page).bounding_box() == place
    page.get_by_text("Watch", exact=True).click()
    page.get_by_role("menuitem", name="Compare").click()
    expect(page.locator(".fv-panels figcaption").first).to_be_visible(timeout=PATIENCE)
    settle(page)
    page.get_by_text("Train", exact=True).click()
    page.get_by_role("menuitem", name="Train").click()
    expect(status(page)).to_contain_text(re.compile(r"Step \d"), timeout=PATIENCE)
    page.get_by_role("button", name="Cancel").click()
    expect(status(page)).to_contain_text("Cancelled after", timeout=PATIENCE)
    settle(page)
    assert monitor(page).bounding_box() == place
    expect(page.get_by_role("button", name="Start training")).to_be_enabled()
    expect(page.get_by_role("button", name="Open in Compare")).to_be_enabled()


def upload(page, name, content):
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(
        {"name": name, "mimeType": "text/csv", "buffer": content}
    )


@pytest.mark.slow
def test_valid_and_invalid_uploads(page):
    spiral = "\n".join(f"{i / 10},{(i % 7) / 3}" for i in range(60)).encode()
    visit(page, "/train")
    page.get_by_role("combobox", name="Data set").click()
    page.get_by_role("option", name="Your own file").click()
    settle(page)
    upload(page, "mine.csv", spiral)
    expect(page.get_by_text("Your 60 points")).to_be_visible(timeout=PATIENCE)
    wait_for_link(page, "data=points")
    link = page.url
    upload(page, "broken.csv", spiral + b"\n3,oops\n")
    expect(page.get_by_test_id("stAlert")).to_contain_text(
        "Every cell must be a number; line 61 has 'oops'", timeout=PATIENCE
    )
    assert page.url == link, "the valid upload is kept"
    visit(page, link)
    expect(page.get_by_text("Your 60 points")).to_be_visible(timeout=PATIENCE)


@pytest.mark.slow
def test_draw_and_apply(page):
    visit(page, "/train")
    page.get_by_role("combobox", name="Data set").click()
    page.get_by_role("option", name="Your own drawing").click()
    pad = page.locator(".fp canvas")
    expect(pad).to_be_visible(timeout=PATIENCE)
    settle(page)
    before = samples(page)
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    unit = box["width"] / (2 * FRAME)
    page.mouse.move(box["x"] + unit, box["y"] + unit)
    page.mouse.down()
    page.mouse.move(box["x"] + 9 * unit, box["y"] + 9 * unit, steps=12)
    page.mouse.up()
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_text("each with Gaussian noise")).to_be_visible(timeout=PATIENCE)
    settle(page)
    wait_for_link(page, "data=drawing")
    assert samples(page) != before
