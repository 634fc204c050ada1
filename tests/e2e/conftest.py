"""The app on a server of its own, and pages that refuse the outside and fail on console errors."""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

QUIET = re.compile(
    r"GPU stall|GroupMarkerNotSet|WebGL.*software|swiftshader"
    r"|attribute [xy]: Expected length, .-?Infinity|Multiple different fragmentIds",
    re.I,
)
"""What says nothing of the app: Chromium without a GPU; Plotly on a figure whose page is being
left; Streamlit when two parts of a page report within one moment (a lecture asks again)."""

PROBE = re.compile(r"/[^/]+/_stcore/(health|host-config)$")
"""A deep link to /train first probes /train/_stcore/...: Streamlit looks for its base path so."""


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The URL of the app."""
    with serving(tmp_path_factory.mktemp("home")) as url:
        yield url


@contextmanager
def serving(home):
    """The URL of a server of its own; its log must be free of tracebacks and deprecations."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url, log = f"http://127.0.0.1:{port}", home / "server.log"
    options = {
        "server.port": port,
        "server.address": "127.0.0.1",
        "server.headless": "true",
        "server.fileWatcherType": "none",
    }
    command = [sys.executable, "-m", "streamlit", "run", "app.py"]
    command += [part for name, value in options.items() for part in (f"--{name}", str(value))]
    env = {**os.environ, "FLOWVIZ_HOME": str(home)}
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=out, stderr=out)
        try:
            _wait_for(url, process, log)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
    text = log.read_text()
    assert "Traceback" not in text, text
    assert "deprecat" not in text.lower(), text


def _wait_for(url, process, log):
    end = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(url + "/_stcore/health", timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"The server did not start:\n{log.read_text()}")


@pytest.fixture
def open_page(chromium, server):
    """A function that makes a fresh visitor's page; options are those of a browser context."""
    contexts, noise, outside = [], [], []

    def heard(message):
        if message.type not in ("error", "warning") or QUIET.search(message.text):
            return
        if not PROBE.search(message.location.get("url", "")):
            noise.append(f"{message.type}: {message.text}")

    def answered(response):
        if response.status >= 400 and not PROBE.search(response.url):
            noise.append(f"{response.status}: {response.url}")

    def gate(route):
        if route.request.url.startswith((server, "data:", "blob:")):
            route.continue_()
        else:
            outside.append(route.request.url)
            route.abort()

    def make(**options):
        size = {"width": 1440, "height": 900}
        context = chromium.new_context(
            base_url=server, accept_downloads=True, **({"viewport": size} | options)
        )
        contexts.append(context)
        context.set_default_timeout(60_000)
        context.route("**/*", gate)
        page = context.new_page()
        page.on("console", heard)
        page.on("pageerror", lambda error: noise.append(f"page error: {error}"))
        page.on("response", answered)
        return page

    yield make
    for context in contexts:
        context.close()
    assert not outside, f"requests to the outside: {outside}"
    assert not noise, noise


@pytest.fixture
def fresh_server(tmp_path):
    """The URL of a server that nobody has visited."""
    with serving(tmp_path) as url:
        yield url


@pytest.fixture
def page(open_page):
    """A fresh visitor's page."""
    return open_page()
