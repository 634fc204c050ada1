"""Figures follow a change of the theme."""

from browsing import CHART, at_rest, visit
from playwright.sync_api import expect

PAPER = """wanted => {
    const figure = document.querySelector(".js-plotly-plot");
    const other = figure?.hasAttribute("data-other-theme") ?? true;
    return figure?._fullLayout?.paper_bgcolor === wanted && !other;
}"""


def test_a_figure_is_dark_at_once_after_the_theme_has_changed_and_is_then_drawn_anew(open_page):
    page = open_page(color_scheme="light")
    visit(page, "/compare?t=0.5")
    at_rest(page)
    expect(page.locator(CHART).first).to_be_visible()
    page.wait_for_function(PAPER, arg="#FFFFFF")
    page.emulate_media(color_scheme="dark")
    expect(page.locator("section.fv")).to_have_attribute("data-theme", "dark")
    figure = page.locator(".js-plotly-plot").first
    if figure.evaluate("node => node._fullLayout?.paper_bgcolor") == "#FFFFFF":
        assert "invert" in figure.evaluate("node => getComputedStyle(node).filter")
    page.wait_for_function(PAPER, arg="#12171B")
