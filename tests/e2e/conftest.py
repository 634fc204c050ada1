"""A server with the app, and pages that block other hosts and fail on console errors."""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[2]

QUIET = re.compile(
    r"GPU stall|GroupMarkerNotSet|WebGL.*software|swiftshader"
    r"|attribute [xy]: Expected length, .-?Infinity|Multiple different fragmentIds",
    re.I,
)
"""Messages to ignore: of Chromium without a GPU; of Plotly when the page of a figure is left; of
Streamlit when two parts of a page report at the same time (a lecture repeats its request)."""

PROBE = re.compile(r"/[^/]+/_stcore/(health|host-config)$")
"""For a link to /train Streamlit first requests /train/_stcore/..., to find its base path."""


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
    """The URL of a new server, whose log must contain no tracebacks and no deprecations."""
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
    """A function that opens a new visitor's page; its options are those of a browser context."""
    contexts, problems, blocked, dropped = [], [], [], set()

    def on_console(message):
        if message.type not in ("error", "warning") or QUIET.search(message.text):
            return
        problems.append((message.location.get("url", ""), f"{message.type}: {message.text}"))

    def on_response(response):
        if response.status >= 400:
            problems.append((response.url, f"{response.status}: {response.url}"))
        if _was_dropped(response):
            dropped.add(response.url)

    def block_other_hosts(route):
        if route.request.url.startswith((server, "data:", "blob:")):
            route.continue_()
        else:
            blocked.append(route.request.url)
            route.abort()

    def new_page(**options):
        size = {"width": 1440, "height": 900}
        context = chromium.new_context(
            base_url=server, accept_downloads=True, **({"viewport": size} | options)
        )
        contexts.append(context)
        context.set_default_timeout(60_000)
        context.route("**/*", block_other_hosts)
        page = context.new_page()
        page.on("console", on_console)
        page.on("pageerror", lambda error: problems.append(("", f"page error: {error}")))
        page.on("response", on_response)
        return page

    yield new_page
    for page in (page for context in contexts for page in context.pages):
        page.wait_for_timeout(0)  # until its last messages have come
    found = [
        text
        for url, text in problems
        if not PROBE.search(url) and not any(picture in f"{url} {text}" for picture in dropped)
    ]
    for context in contexts:
        context.close()  # which breaks connections
    assert not blocked, f"requests to other hosts: {blocked}"
    assert not found, found


def _was_dropped(response) -> bool:
    """Whether a picture belongs to a page that the visitor has left: the server drops it then."""
    page = urlsplit(response.request.headers.get("referer", "")).path
    return (
        urlsplit(response.url).path.startswith("/media/")
        and page != urlsplit(response.frame.url).path
    )


@pytest.fixture
def fresh_server(tmp_path):
    """The URL of a server without earlier visits."""
    with serving(tmp_path) as url:
        yield url


@pytest.fixture
def page(open_page):
    """A page of a new visitor."""
    return open_page()
