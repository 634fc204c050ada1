"""Links that users have saved still open the same view.

`links.json` was recorded before pages became views of studies. Each entry has a link, the values
of all controls of the page that it opened, and whether the link was partly invalid.
"""

import json
from dataclasses import replace
from functools import partial, wraps
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from streamlit.runtime.pages_manager import PagesManager
from streamlit.testing.v1 import AppTest

from flowviz.lectures import lectures

ROOT = Path(__file__).parents[1]
LINKS = json.loads((ROOT / "tests" / "links.json").read_text())
PAGES = {path.stem for path in (ROOT / "pages").glob("*.py")}
MISSING = "missing"
"""The value of a control that the page has not read."""


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWVIZ_HOME", str(tmp_path))


CHEAP = {
    "likelihood": {"compute_gap": {"n": 50}, "compute_density": {"cells": 18}},
    "figure4": {"compute_histograms": {"cells": 18, "n": 500}},
}
"""Smaller configs for pages that compute while they open. They only save time: a function that
does not exist is skipped."""


@pytest.fixture(autouse=True)
def cheap(monkeypatch, small_studies):
    for name, functions in CHEAP.items():
        if find_spec(f"flowviz.experiments.{name}") is None:
            continue
        module = import_module(f"flowviz.experiments.{name}")
        for function, smaller in functions.items():
            if compute := getattr(module, function, None):
                small = wraps(compute)(partial(run_smaller, compute, smaller))
                monkeypatch.setattr(module, function, small)


def run_smaller(compute, smaller, config, **options):
    return compute(replace(config, **smaller), **options)


@pytest.fixture(autouse=True)
def through_app(monkeypatch):
    """Runs app.py, which has st.navigation; AppTest would run files of pages/ without it."""
    plain = PagesManager.__init__

    def init(self, *args, **options):
        plain(self, *args, **options)
        PagesManager.uses_pages_directory = False

    monkeypatch.setattr(PagesManager, "__init__", init)


def opened(link):
    """The app after `link` has been opened, such as "compare?data=moons"."""
    page, _, query = link.partition("?")
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    for slug, value in parse_qsl(query, keep_blank_values=True):
        app.query_params[slug] = value
    return app.switch_page(f"pages/{page}.py").run()


def plain(value):
    """A control's value, whether a page keeps it as a number, as text or as a tuple."""
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


def controls(app, page, slugs):
    """The values of a page's controls, MISSING for one that the page has not read."""
    keys = {slug: f"{page}:{slug}" for slug in slugs}
    return {
        slug: plain(app.session_state[key]) if key in app.session_state else MISSING
        for slug, key in keys.items()
    }


FIRST = {entry["link"].partition("?")[0]: entry for entry in reversed(LINKS)}
"""A link to each page."""


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(entry, marks=() if entry in FIRST.values() else pytest.mark.slow)
        for entry in LINKS
    ],
    ids=lambda entry: entry["link"],
)
def test_a_link_opens_the_view_that_it_opened_before(entry):
    page = entry["link"].partition("?")[0]
    expected = {slug: plain(value) for slug, value in entry["opens"].items()}
    app = opened(entry["link"])
    assert bool(app.toast) == entry["invalid"], [toast.value for toast in app.toast]
    assert not app.exception
    assert controls(app, page, expected) == expected


def test_there_are_enough_links_to_every_page_and_control():
    assert len({entry["link"] for entry in LINKS}) >= 60
    pages = {entry["link"].partition("?")[0] for entry in LINKS}
    assert len(pages) >= 14 and pages <= PAGES
    for page in pages:
        entries = [entry for entry in LINKS if entry["link"].partition("?")[0] == page]
        linked = {
            slug for entry in entries for slug, _ in parse_qsl(entry["link"].partition("?")[2])
        }
        known = {slug for entry in entries for slug in entry["opens"]}
        assert known <= linked, f"no link to {page} sets {known - linked}"


def test_a_lecture_in_the_link_of_the_page_lectures_opens_its_step():
    step = lectures()["ten-steps"].steps[1]
    app = opened("lecture?lecture=ten-steps&step=2")
    assert not app.exception
    assert app.session_state["url:page"] == step.page
    assert any(step.title in each.value for each in app.markdown)
