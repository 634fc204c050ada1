"""While a control of Compare moves, the browser computes the particles; the server's follow."""

import statistics
import time

import numpy as np
import pytest
from browsing import Socket, at_rest, linked, settle, visit

NFE = "[class*=st-key-compare-nfe]"
PIXEL = 10 / 430
"""The width of a pixel of a panel in units of the plane."""

STATES = """() => {
    const { player } = globalThis[Symbol.for("flowviz.live")];
    const end = ({ limit, states }) => [...states.slice(-states.length / states.shape[0])]
        .map((v) => (v / 65535 * 2 - 1) * limit);
    return player.body.panels.map(end);
}"""
"""The final particles of both panels."""

WAIT = """async ([name, shown]) => {
    const { player } = globalThis[Symbol.for("flowviz.live")], begun = performance.now();
    const value = () => document.querySelector(name).getAttribute("aria-valuetext");
    const text = () => player.root.querySelector(".fv-panels dd").textContent;
    while (text() !== value() || player.root.dataset.preview !== shown)
        await new Promise(requestAnimationFrame);
    return performance.now() - begun;
}"""
"""Milliseconds until the particles of the slider's value are shown: computed, or the server's."""


def numbers(page) -> list[str]:
    """The numbers under both panels of the page."""
    return page.locator(".fv-panels dd").all_inner_texts()


@pytest.mark.parametrize("field", ["exact", pytest.param("learned", marks=pytest.mark.slow)])
def test_a_drag_of_nfe_redraws_without_a_message_to_the_server(page, field):
    socket = Socket(page)
    visit(page, f"/compare?field={field}&t=1&seed=4321&layers=particles")
    at_rest(page)
    slider = page.locator(f"{NFE} [data-orientation=horizontal]").nth(1)
    slider.scroll_into_view_if_needed()
    track = slider.bounding_box()
    middle, y = track["x"] + track["width"] / 2, track["y"] + track["height"] / 2
    page.mouse.move(middle, y)
    page.mouse.down()
    page.wait_for_timeout(500)
    sent, taken = socket.sent, []
    for share in (0.05, 0.1, 0.15, 0.2, 0.25):
        page.mouse.move(middle - share * track["width"], y)
        taken.append(page.evaluate(WAIT, [f"{NFE} input", "shown"]))
    assert socket.sent == sent
    nfe = page.locator(f"{NFE} input").get_attribute("aria-valuetext")
    computed, ours = page.evaluate(STATES), numbers(page)
    begun = time.perf_counter()
    page.mouse.up()
    page.evaluate(WAIT, [f"{NFE} input", ""])
    answered = 1000 * (time.perf_counter() - begun)
    settle(page)
    linked(page, f"nfe={nfe}")
    assert 2 * statistics.median(taken) < answered, (taken, answered)
    for found, served in zip(computed, page.evaluate(STATES), strict=True):
        apart = np.abs(np.array(found) - served[: len(found)])
        assert np.quantile(apart, 0.99) < 0.1 * PIXEL and apart.max() < PIXEL
    theirs = numbers(page)
    assert "–" not in theirs and theirs[0] == theirs[4] == nfe
    assert [ours[0], ours[4]] == [nfe, nfe]
    for k in (1, 5):  # a mean over all particles, or over some if all take too long
        assert float(ours[k]) == pytest.approx(float(theirs[k]), rel=0.02)
