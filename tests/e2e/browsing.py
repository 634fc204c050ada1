"""Helpers of end-to-end tests: visit a page, wait until it is idle, count messages."""

import re
import statistics
import time
from collections.abc import Callable
from typing import Literal

from playwright.sync_api import Page, expect
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

expect.set_options(timeout=30_000)

IDLE = (
    '[data-testid="stApp"][data-test-connection-state="CONNECTED"]'
    '[data-test-script-state="notRunning"]'
)
CHART = ".js-plotly-plot .main-svg"
CLOCK = ".fv-time"
PLANE = ".fv-panels canvas:not(.fv-axes)"
FITS = """() => {
    const main = document.querySelector("[data-testid=stMain]");
    return main.scrollWidth <= main.clientWidth;
}"""
"""Whether no element is wider than the page."""


def settle(page: Page, timeout: float = 90_000) -> None:
    """Waits until the page is connected, idle and not stale; it must not show an exception."""
    page.wait_for_selector(IDLE, timeout=timeout)
    expect(page.locator('[data-stale="true"]')).to_have_count(0, timeout=timeout)
    expect(page.locator('[data-testid="stSkeleton"]')).to_have_count(0, timeout=timeout)
    expect(page.locator('[data-testid="stException"]')).to_have_count(0)


def visit(page: Page, path: str) -> None:
    """Opens a page of the app and waits until it is idle."""
    page.goto(path)
    page.wait_for_selector('[data-testid="stHeading"], .st-key-lecture-banner', timeout=90_000)
    settle(page)


def wait_for_link(page: Page, *parts: str) -> None:
    """Waits until the URL contains each part: a page is briefly idle before a message arrives."""
    page.wait_for_function("parts => parts.every((p) => location.search.includes(p))", arg=parts)


def eventually(page: Page, check: Callable[..., None], *given, seconds: float = 15) -> None:
    """Calls `check` until its assertions hold: what a page draws follows its events after a while.

    Raises:
        AssertionError: they still fail after `seconds`.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            return check(*given)
        except AssertionError:
            if time.monotonic() > end:
                raise
        page.wait_for_timeout(100)


def clock(page: Page) -> float:
    """The player's time t, after it has drawn a frame."""
    page.wait_for_selector(".fv[data-drawn]")
    return float(page.locator(CLOCK).inner_text().split("=")[1])


def wait_for_playback(page: Page) -> None:
    """Waits until the first playback has ended and its end has been sent to the server."""
    expect(page.locator(".fv-play")).to_have_attribute("aria-pressed", "false", timeout=60_000)
    settle(page)


def picture(page: Page, panel: int = 0) -> str:
    """The pixels of a panel of the player, as a data URL."""
    return page.locator(PLANE).nth(panel).evaluate("c => c.toDataURL()")


def redrawn(page: Page, before: str) -> None:
    """Waits until the first panel of the player shows another picture than `before`."""

    def check() -> None:
        assert picture(page) != before

    eventually(page, check)


FRAMES = """async () => {
    const times = [];
    while (times.push(await new Promise(requestAnimationFrame)) < 61);
    return times.slice(1).map((t, i) => t - times[i]);
}"""


def frame(page: Page) -> float:
    """Milliseconds between two frames of an idle page: the reference for frame rates."""
    return statistics.median(page.evaluate(FRAMES))


class Socket:
    """Counts the websocket messages of a page. Create it before the visit."""

    def __init__(self, page: Page) -> None:
        self.sent = self.received = 0
        page.on("websocket", self._watch)

    def _watch(self, socket) -> None:
        socket.on("framesent", lambda _: setattr(self, "sent", self.sent + 1))
        socket.on("framereceived", lambda _: setattr(self, "received", self.received + 1))


def report_late(page: Page, moment: Literal["before", "meanwhile"]) -> None:
    """Sends a fragment's last message again when the page is left, as on a slow connection.

    Call it before a visit.

    Args:
        moment: the message arrives right after the request for the next page, before that page is
            computed, or while it is computed.
    """
    last = None

    def again(server) -> None:
        nonlocal last
        if last:
            server.send(last.SerializeToString())
            last = None

    def connect(browser):
        server = browser.connect_to_server()

        def sent(data):
            nonlocal last
            server.send(data)
            request = (message := BackMsg.FromString(data)).rerun_script
            if request.fragment_id:
                last = message
            elif moment == "before" and _leaves(last, request.page_script_hash):
                again(server)

        def received(data):
            browser.send(data)
            opened = ForwardMsg.FromString(data).new_session.page_script_hash
            if moment == "meanwhile" and _leaves(last, opened):
                again(server)

        browser.on_message(sent)
        server.on_message(received)

    page.route_web_socket(re.compile("_stcore/stream"), connect)


def _leaves(last: BackMsg | None, page: str) -> bool:
    return bool(last and page and page != last.rerun_script.page_script_hash)
