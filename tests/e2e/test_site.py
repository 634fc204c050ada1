"""The static site opens from a file: URL and computes in the page, without requests to hosts."""

import re

import pytest
from test_offline import colours, opened

from flowviz.cli import main

pytestmark = pytest.mark.e2e
MAX_BYTES = 8 * 2**20
"""Maximum size of the site."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site."""
    folder = tmp_path_factory.mktemp("site")
    assert main(["site", "--out", str(folder)]) == 0
    return folder


def computed(page) -> int:
    """The number of flows that the page has computed."""
    return int(page.locator(".live").get_attribute("data-computed") or 0)


def test_compare_is_small_and_computes_while_a_control_moves(chromium, site):
    assert sum(file.stat().st_size for file in site.rglob("*") if file.is_file()) < MAX_BYTES
    with opened(chromium, site / "compare.html") as page:
        page.wait_for_selector(".live[data-computed]")
        page.keyboard.press("End")
        page.wait_for_function("document.querySelector('.fv-time').value === 't = 1.000'")
        page.wait_for_function("document.querySelector('.fv').dataset.payload")
        assert colours(page) > 50
        off = page.locator(".fv-panels figure").first.locator("dd").last
        few = "el => { el.value = 1; el.dispatchEvent(new Event('input', {bubbles: true})) }"
        before, first = computed(page), float(off.inner_text().split()[0])
        assert first < 3  # 20 evaluations of the exact field on conditional OT
        page.locator("[name=nfe]").evaluate(few)  # a slider that moves: no change event yet
        page.wait_for_function(f"document.querySelector('.live').dataset.computed > {before}")
        page.wait_for_function("document.querySelector('.fv-panels dd').textContent === '2'")
        assert float(off.inner_text().split()[0]) > 10 * first + 5
        page.locator("[name=data]").select_option("moons")
        page.wait_for_function("!document.querySelector('.fv').textContent.includes('Off the')")
        page.get_by_role("button", name="learned").click()
        page.wait_for_function(
            "document.querySelector('.fv-note').textContent.includes('learned')"
        )
        assert "invalid" not in page.locator(".live-status").inner_text()


@pytest.mark.slow
def test_the_links_of_the_home_page_open_pages_of_the_site(chromium, site):
    with opened(chromium, site / "index.html") as page:
        links = page.locator("a").evaluate_all(
            "all => all.map((each) => each.getAttribute('href').split('?')[0])"
        )
        assert len(links) > 20 and all((site / each).is_file() for each in links)
        page.get_by_role("link", name="4 steps only").click()
        page.wait_for_selector(".live[data-computed]")
        assert page.locator("[name=solver]").input_value() == "euler"
        assert page.locator("output[for=live-nfe]").inner_text() == "4"


def test_a_point_moves_the_velocity_without_a_server(chromium, site):
    with opened(chromium, site / "why.html") as page:
        page.wait_for_selector(".fw[data-drawn]")
        seen = "['u', 'v', 'exactU', 'exactV'].map(k => +document.querySelector('.fw').dataset[k])"
        before = page.evaluate(seen)
        page.locator(".fw-plot canvas").click(position={"x": 120, "y": 90})
        page.wait_for_function("document.querySelector('.fw').dataset.y > 2")
        after = page.evaluate(seen)
        assert before != after
        page.get_by_role("button", name="parts", exact=True).click()
        page.wait_for_function("document.querySelector('.fw-what').textContent.includes('boxes')")
        page.wait_for_function(  # the sum is computed again after the text
            f"(([u, v, x, y]) => Math.hypot(u - x, v - y) < 1e-9)({seen})"
        )


def test_a_schedule_is_shaped_and_compared(chromium, site):
    with opened(chromium, site / "schedules.html") as page:
        page.wait_for_selector(".live-grid canvas")
        status = page.locator(".live-status")
        assert "t = 0.50 on conditional OT" in status.inner_text()
        assert page.locator(".live-grid canvas").count() == 6
        before = status.inner_text()
        page.locator(".fh canvas").focus()
        for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowUp"):
            page.keyboard.press(key)
        page.wait_for_function(
            "before => document.querySelector('.live-status').innerText !== before", arg=before
        )
        page.locator(".live-link").click()
        page.wait_for_selector(".live[data-computed]")
        assert "shape=a1=0.1,a2=0.35,a3=0.7," in page.url
        assert "your own schedule" in page.locator(".fv-panels figcaption").last.inner_text()


def test_the_cost_of_paths_is_measured_in_the_page(chromium, site):
    with opened(chromium, site / "nfe_quality.html") as page:
        page.goto(f"{(site / 'nfe_quality.html').as_uri()}?n=200&solvers=midpoint")
        page.wait_for_selector(".live[data-computed]")
        found = re.search(r"midpoint (\d+)%", page.locator(".live-status").inner_text())
        assert 10 < int(found[1]) < 90  # OT needs fewer evaluations than VP
        page.locator(".live-grid canvas").first.hover()
        page.wait_for_function("document.querySelectorAll('.live-read b').length === 4")


def test_a_lecture_runs_over_the_pages(chromium, site):
    with opened(chromium, site / "lecture.html") as page:
        page.get_by_role("link", name="What a sample costs", exact=True).click()
        page.wait_for_selector(".live[data-computed]")
        assert page.locator(".fl-where").inner_text() == "8 / 10"
        shown = page.locator(".live-controls > *").filter(visible=True)
        assert [each.get_attribute("data-name") for each in shown.all()] == ["nfe"]
        page.keyboard.press("ArrowRight")
        page.wait_for_function("document.querySelector('.fl-where')?.textContent === '9 / 10'")
        assert "Its live page needs the app" in page.locator(".guide").inner_text()
        assert page.locator(".guide math").count() == 2
        page.keyboard.press("PageUp")
        page.wait_for_selector(".live[data-computed]")
        page.get_by_role("button", name="Leave").click()
        page.wait_for_function("document.querySelector('.guide')?.hidden")
        assert page.locator("[name=nfe]").is_visible()


@pytest.mark.slow
def test_a_link_of_the_app_opens_the_same_view(chromium, site):
    file = site / "compare.html"
    with opened(chromium, file) as page:
        page.goto(f"{file.as_uri()}?data=pinwheel&left=trig&solver=euler&nfe=4&t=1&mode=steps")
        page.wait_for_selector(".live[data-computed]")
        assert page.locator("[name=data]").input_value() == "pinwheel"
        assert page.locator("output[for=live-nfe]").inner_text() == "4"
        page.wait_for_function("document.querySelector('.fv-time').value === 't = 1.000'")
        assert "trigonometric" in page.locator(".fv-panels figcaption").first.inner_text()
        assert page.locator("[data-mode=steps]").get_attribute("aria-pressed") == "true"
