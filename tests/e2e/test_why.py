"""Vector field: dragging redraws at display rate without the server; links keep it."""

import statistics
from itertools import pairwise

import pytest
from browsing import CHART, Socket, frame, settle, visit, wait_for_link

TOUCH, PLANE = ".fw", ".fw-plot canvas"

WATCH = """(root) => {
  window.drags = [];
  let drawn = root.dataset.drawn;
  const watch = (now) => {
    if (root.dataset.drawn !== drawn) { drawn = root.dataset.drawn; window.drags.push(now); }
    window.watching = requestAnimationFrame(watch);
  };
  window.watching = requestAnimationFrame(watch);
}"""
"""Records the time of each drawn frame."""

DRAG = """(canvas, seconds) => new Promise((done) => {
  const box = canvas.getBoundingClientRect(), start = performance.now();
  const tell = (type, a) => canvas.dispatchEvent(new PointerEvent(type, {
    clientX: box.x + box.width * (0.55 + 0.25 * Math.cos(a)),
    clientY: box.y + box.height * (0.5 + 0.25 * Math.sin(a)),
    button: 0, bubbles: true, pointerId: 1 }));
  canvas.setPointerCapture = () => {};
  tell("pointerdown", 0);
  const move = (now) => {
    const a = (now - start) / 400;
    if (now - start < 1000 * seconds) { tell("pointermove", a); requestAnimationFrame(move); }
    else { tell("pointerup", a); done(); }
  };
  requestAnimationFrame(move);
})"""
"""Drags x in a circle, one move per frame: faster than by mouse or from the test."""


@pytest.mark.slow
@pytest.mark.alone
def test_dragging_redraws_every_other_frame_without_a_message_to_the_server(page):
    socket = Socket(page)
    visit(page, "/why?path=vp&n=2000&t=0.7")
    page.wait_for_selector(f"{TOUCH}[data-drawn]")
    page.wait_for_timeout(1000)
    root, sent, idle = page.locator(TOUCH), socket.sent, frame(page)
    root.evaluate(WATCH)
    page.locator(PLANE).evaluate(DRAG, 3)
    times = page.evaluate("() => { cancelAnimationFrame(window.watching); return window.drags; }")
    gaps = [b - a for a, b in pairwise(times)]
    assert socket.sent - sent <= 1, "the server receives x when the pointer is released"
    assert statistics.median(gaps) <= 2.2 * idle, (idle, statistics.quantiles(gaps))
    settle(page)
    wait_for_link(page, "x=", "y=", "t=0.7")


def test_a_link_opens_the_point(page):
    visit(page, "/why?t=0.25&x=-1.5&y=2&over=parts&data=8gaussians")
    page.wait_for_selector(f"{TOUCH}[data-drawn]")
    root = page.locator(TOUCH)
    seen = [float(root.get_attribute(f"data-{name}")) for name in ("t", "x", "y")]
    assert seen == pytest.approx([0.25, -1.5, 2.0], abs=2e-3)
    assert root.get_attribute("data-u") == root.get_attribute("data-exact-u")
    assert "both arrows coincide" in page.locator(".fw-notice").inner_text()


@pytest.mark.slow
def test_other_sections_draw(page):
    visit(page, "/why?t=0.25&over=parts&data=8gaussians")
    page.get_by_role("radio", name="Figures 2, 3 and 8").or_(
        page.get_by_role("button", name="Figures 2, 3 and 8")
    ).first.click()
    page.wait_for_selector(CHART)
    settle(page)
    assert "overshoot and come back" in page.locator("[data-testid=stMain]").inner_text()
    visit(page, "/why?section=conversions&path=vp&t=0.9")
    page.wait_for_selector(CHART)
    assert "t = 0.9 on VP diffusion" in page.locator("[data-testid=stMain]").inner_text()
