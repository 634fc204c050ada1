"""Fixtures of several test folders."""

import fcntl
import os
import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from playwright.sync_api import sync_playwright
from xdist.scheduler import LoadFileScheduling

from flowviz.checkpoints.images import describe_field, save_images
from flowviz.datasets.images import image_set
from flowviz.training.images import ImageTrainConfig, build_image_field

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, BROWSERS)), "chromium"
)

torch.set_num_threads(1)  # the workers share the cores


SECONDS = {"e2e": 15.0, "slow": 15.0, "AppTest": 0.7}
"""Approximate seconds of a test with this marker, or of a file that has this name; others take
0.05 s."""


def unit(nodeid):
    """The tests of one worker: a file, or all of `tests/e2e`, for which it starts one server."""
    return "tests/e2e" if nodeid.startswith("tests/e2e/") else nodeid.partition("::")[0]


@pytest.hookimpl(trylast=True)  # tests/e2e adds its marker
def pytest_collection_modifyitems(items):
    """Runs the longest units first, so that the workers end at the same time."""
    seconds = Counter()
    for item in items:
        names = {each.name for each in item.iter_markers()} | vars(item.module).keys()
        longest = max((SECONDS[name] for name in names & SECONDS.keys()), default=0.05)
        seconds[unit(item.nodeid)] += longest
    items.sort(key=lambda item: -seconds[unit(item.nodeid)])


class Scheduling(LoadFileScheduling):
    """Gives a worker one unit at a time."""

    def _split_scope(self, nodeid):
        return unit(nodeid)


def pytest_xdist_make_scheduler(config, log):
    return Scheduling(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(autouse=True)
def exclusive(request):
    """Runs tests marked `alone`, which measure time, while all other workers wait.

    Every test takes the lock `gate` and then a shared lock `run`. A test marked `alone` keeps the
    gate and takes an exclusive lock `run`.
    """
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    if run is None:
        yield
        return
    alone = request.node.get_closest_marker("alone") is not None
    place = Path(tempfile.gettempdir()) / f"flowviz-{run}"
    with (
        place.with_suffix(".gate").open("w") as gate,
        place.with_suffix(".run").open("w") as shared,
    ):
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(shared, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        if not alone:
            fcntl.flock(gate, fcntl.LOCK_UN)
        yield


@pytest.fixture(autouse=True)
def idle():
    """Stops background work after a test: the next test may replace functions that it uses."""
    yield
    work = sys.modules.get("flowviz.ui.work")
    works = list(work.queue()._works) if work else []
    for each in works:
        each.cancel()
    for each in works:  # threads in native code abort the interpreter when it ends
        each.wait(60)
        assert not each.live, f"{each} is not cancelled"


@pytest.fixture(scope="session")
def chromium():
    """One browser for the whole run: Playwright's sync API cannot be started twice."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-dev-shm-usage", "--enable-unsafe-swiftshader"],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def tab(chromium):
    """One tab, which takes a second to open, for all tests of canvases; each opens a new page."""
    page = chromium.new_page()
    yield page
    page.close()


@pytest.fixture(scope="session")
def tiny_images(tmp_path_factory):
    """A folder of checkpoints: untrained fields of digits, tiny-ot and tiny-vp."""
    folder, digits = tmp_path_factory.mktemp("checkpoints"), image_set("digits")
    (folder / "images").mkdir()
    for path, images in (("ot", 64), ("vp", 32)):
        training = ImageTrainConfig(data="digits", network="tiny", path=path, images=64)
        field = build_image_field(training, digits, torch.Generator().manual_seed(1))
        card = describe_field(path, vars(training), digits, images=images)
        save_images(folder / "images" / f"tiny-{path}", field.network, card)
    return folder


@pytest.fixture
def small_studies(monkeypatch):
    """Studies on pages take their advanced settings from their smallest configs."""
    from flowviz.settings import settings
    from flowviz.studies import Study

    compute = Study.compute

    def smaller(study, config, **given):
        declared = settings(study.config)
        sizes = {k: v for k, v in dict(study.smallest).items() if declared[k].advanced}
        return compute(study, replace(config, **sizes), **given)

    monkeypatch.setattr(Study, "compute", smaller)
