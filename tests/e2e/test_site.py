"""The static site opens from file: and computes in the page, without a request to a host."""

import pytest
from test_offline import colours, opened

from flowviz.cli import main

pytestmark = pytest.mark.e2e
MAX_BYTES = 8 * 2**20
"""Largest size of the site."""


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
def test_the_links_of_the_home_page_open_compare(chromium, site):
    with opened(chromium, site / "index.html") as page:
        links = page.locator("a").evaluate_all(
            "all => all.map((each) => each.getAttribute('href'))"
        )
        assert len(links) > 10 and all(each.startswith("compare.html") for each in links)
        page.get_by_role("link", name="4 steps only").click()
        page.wait_for_selector(".live[data-computed]")
        assert page.locator("[name=solver]").input_value() == "euler"
        assert page.locator("output[for=live-nfe]").inner_text() == "4"


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
