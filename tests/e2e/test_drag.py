"""While a control of Compare moves, the browser computes the particles; then the server does."""

import statistics
import time

import numpy as np
import pytest
from browsing import Socket, settle, visit, wait_for_link, wait_for_playback

OWN = "&solvers=1&nfe=40&right-nfe=20"
PIXEL = 10 / 430
"""The width of a pixel of a panel in units of the plane."""

STATES = """() => {
    const { player } = globalThis[Symbol.for("flowviz.live")];
    const end = ({ limit, states }) => [...states.slice(-states.length / states.shape[0])]
        .map((v) => (v / 65535 * 2 - 1) * limit);
    return player.body.panels.map(end);
}"""
"""The final particles of both panels."""

WAIT = """async ([name, shown, k]) => {
    const { player } = globalThis[Symbol.for("flowviz.live")], begun = performance.now();
    const value = () => document.querySelector(name).getAttribute("aria-valuetext");
    const text = () => player.root.querySelectorAll(".fv-panels dd")[4 * k].textContent;
    while (text() !== value() || player.root.dataset.preview !== shown)
        await new Promise(requestAnimationFrame);
    return performance.now() - begun;
}"""
"""Milliseconds until the particles of the slider's value are shown, from browser or server."""


def numbers(page) -> list[str]:
    """The numbers under both panels of the page."""
    return page.locator(".fv-panels dd").all_inner_texts()


def pressed(page, control: str) -> tuple[dict, float, float]:
    """Presses the pointer on a slider's middle; returns the slider's track and this position."""
    slider = page.locator(f"{control} [data-orientation=horizontal]").nth(1)
    slider.scroll_into_view_if_needed()
    track = slider.bounding_box()
    middle, y = track["x"] + track["width"] / 2, track["y"] + track["height"] / 2
    page.mouse.move(middle, y)
    page.mouse.down()
    page.wait_for_timeout(500)
    return track, middle, y


def test_the_browser_finds_a_solver_whose_menu_label_is_longer_than_its_name(page):
    visit(page, "/compare?field=exact&t=1&solver=edm&nfe=5&layers=particles")
    wait_for_playback(page)
    track, middle, y = pressed(page, ".st-key-compare-nfe")
    page.mouse.move(middle - 0.2 * track["width"], y)
    shown = "globalThis[Symbol.for('flowviz.live')].player.root.dataset.preview === 'shown'"
    page.wait_for_function(shown, timeout=30_000)
    page.mouse.up()


@pytest.mark.parametrize(
    ("link", "slug", "panels"),
    [
        (f"exact{OWN}", "right-nfe", [1]),
        pytest.param("exact", "nfe", [0, 1], marks=pytest.mark.slow),
        pytest.param("learned", "nfe", [0, 1], marks=pytest.mark.slow),
    ],
    ids=["one panel", "exact", "learned"],
)
def test_a_drag_of_nfe_redraws_without_a_message_to_the_server(page, link, slug, panels):
    socket = Socket(page)
    visit(page, f"/compare?field={link}&t=1&seed=4321&layers=particles")
    wait_for_playback(page)
    if panels == [1]:
        page.get_by_role("tab", name="Right", exact=True).click()
    control = f".st-key-compare-{slug}"
    track, middle, y = pressed(page, control)
    sent, taken = socket.sent, []
    for share in (0.05, 0.1, 0.15, 0.2, 0.25):
        page.mouse.move(middle - share * track["width"], y)
        taken.append(page.evaluate(WAIT, [f"{control} input", "shown", panels[0]]))
    assert socket.sent == sent
    nfe = page.locator(f"{control} input").get_attribute("aria-valuetext")
    computed, computed_numbers = page.evaluate(STATES), numbers(page)
    begun = time.perf_counter()
    page.mouse.up()
    page.evaluate(WAIT, [f"{control} input", "", panels[0]])
    answered = 1000 * (time.perf_counter() - begun)
    settle(page)
    wait_for_link(page, f"{slug}={nfe}")
    assert 2 * statistics.median(taken) < answered, (taken, answered)
    for found, served in zip(computed, page.evaluate(STATES), strict=True):
        apart = np.abs(np.array(found) - served[: len(found)])
        assert np.quantile(apart, 0.99) < 0.1 * PIXEL and apart.max() < PIXEL
    expected = numbers(page)
    assert "–" not in expected
    for k in (4 * panel for panel in panels):
        assert computed_numbers[k] == expected[k] == nfe
        # a mean over all particles, or over a part if all take too long
        assert float(computed_numbers[k + 1]) == pytest.approx(float(expected[k + 1]), rel=0.02)
