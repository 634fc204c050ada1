"""Speed in the browser, with two panels of 2,000 particles, density and field."""

import statistics
import time

import pytest
from browsing import Socket, frame, settle, visit, wait_for_playback

from flowviz.progress import Progress
from flowviz.studies import STUDIES

pytestmark = [pytest.mark.alone, pytest.mark.slow]

PLAYER = ".fv"

FRAMES = """async (player, seconds) => {
    const times = [];
    const end = performance.now() + 1000 * seconds;
    let drawn = player.dataset.drawn;
    while (performance.now() < end) {
        await new Promise(requestAnimationFrame);
        if (player.dataset.drawn === drawn) continue;
        drawn = player.dataset.drawn;
        times.push(performance.now());
    }
    return times.slice(1).map((t, i) => t - times[i]);
}"""
"""Milliseconds between the frames that the player drew."""

REDRAW = """player => {
    const before = player.dataset.payload;
    const served = () => player.dataset.payload && player.dataset.payload !== before;
    const shown = () => served() || player.dataset.preview === 'shown';
    let start = null;
    const began = event => { start ??= event.timeStamp; };
    addEventListener('pointerdown', began, {capture: true});
    addEventListener('keydown', began, {capture: true});
    const until = condition => new Promise(done => {
        const watch = () => condition()
            ? requestAnimationFrame(() => done(performance.now() - start))
            : requestAnimationFrame(watch);
        watch();
    });
    window.redrawn = Promise.all([until(shown), until(served)]);
}"""
"""A promise of the milliseconds from the next press of a key or button until new particles,
which the page may compute, and until those of the server are shown."""


IDLE = """async () => {
    await new Promise(done => setTimeout(done, 1000));
    let calm = 0, last = performance.now();
    while (calm < 30) {
        await new Promise(requestAnimationFrame);
        const now = performance.now();
        calm = now - last < 60 ? calm + 1 : 0;
        last = now;
    }
}"""
"""Waits for 30 short frames in a row: a chart of the previous press may still be drawn."""


def test_playback_draws_as_often_as_the_screen_without_a_message_to_the_server(page):
    """A frame takes at most 1.5 times that of an idle page: 40 per second where a page has 60."""
    socket = Socket(page)
    visit(page, "/compare?t=0.1")
    wait_for_playback(page)
    page.get_by_label("Speed").select_option("0.5")
    settle(page)
    idle = frame(page)
    page.get_by_role("button", name="Play", exact=True).click()
    page.wait_for_timeout(300)
    sent = socket.sent
    gaps = page.locator(PLAYER).evaluate(FRAMES, 3)
    assert socket.sent == sent
    assert statistics.median(gaps) <= 1.5 * idle, (idle, statistics.quantiles(gaps))


class StoredResults(Progress):
    """Keeps results by config, as the app does."""

    def __init__(self):
        super().__init__()
        self.results = {}

    def cached(self, compute, config, **given):
        if config not in self.results:
            self.results[config] = compute(config, **given)
        return self.results[config]


def seconds_of_computing():
    """Time of computing both flows of the Compare page, without a page."""
    flow, progress = STUDIES["flow"], StoredResults()
    taken = []
    for seed in (101, 102, 103):  # the first one also computes the densities and fields
        start = time.perf_counter()
        list(flow.compute(flow.config(seed=seed).computed(), progress=progress))
        taken.append(time.perf_counter() - start)
    return min(taken)


def test_solver_budget_and_seed_redraw_soon_after_the_computation(page):
    """A new result takes the time of a stored one and of its computation, on two busy cores.

    The page shows its own particles before those of the server.
    """
    visit(page, "/compare?t=0.6")
    wait_for_playback(page)

    def measure(press):
        settle(page)
        page.evaluate(IDLE)
        page.locator(PLAYER).evaluate(REDRAW)
        press()
        return page.evaluate("() => window.redrawn")

    def step(where):
        return measure(lambda: page.get_by_test_id(f"stNumberInputStep{where}").click())

    budget = page.locator(
        "[data-testid=stSlider] input[type=range], [data-testid=stSlider] [role=slider]"
    )
    new = [step("Up") for _ in range(4)]
    known = [step("Down")[1] for _ in range(3)]
    new += [measure(lambda: budget.press("ArrowRight")) for _ in range(2)]
    page.get_by_role("combobox", name="ODE solver").click()
    new.append(measure(page.get_by_role("option", name="Euler", exact=True).click))
    bare = 1000 * seconds_of_computing()
    shown, served = map(statistics.median, zip(*new, strict=True))
    assert shown < served, (bare, known, *new)
    assert served <= 1.5 * statistics.median(known) + 3 * bare, (bare, known, *new)
