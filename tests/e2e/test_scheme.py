"""Figures follow a change of the theme."""

from browsing import CHART, visit, wait_for_playback
from playwright.sync_api import expect

PAPER = """wanted => {
    const figure = document.querySelector(".js-plotly-plot");
    const other = figure?.hasAttribute("data-other-theme") ?? true;
    return figure?._fullLayout?.paper_bgcolor === wanted && !other;
}"""
# Counts the frames since the page became dark, and those of them that show a light figure.
RECORD = """() => {
    window.frames_of_test = { dark: 0, light_figure: 0 };
    const look = () => {
        const page = getComputedStyle(document.querySelector(".stApp")).backgroundColor;
        const figure = document.querySelector(".js-plotly-plot");
        const light = figure?._fullLayout?.paper_bgcolor === "#FFFFFF";
        if (page !== "rgb(255, 255, 255)") {
            const inverted = light && getComputedStyle(figure).filter.includes("invert");
            window.frames_of_test.dark += 1;
            window.frames_of_test.light_figure += light && !inverted;
        }
        requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
}"""


def test_a_figure_is_dark_at_once_after_a_change_of_the_theme_and_is_then_redrawn(open_page):
    page = open_page(color_scheme="light")
    visit(page, "/compare?t=0.5")
    wait_for_playback(page)
    expect(page.locator(CHART).first).to_be_visible()
    page.wait_for_function(PAPER, arg="#FFFFFF")
    page.evaluate(RECORD)
    page.emulate_media(color_scheme="dark")
    expect(page.locator("section.fv")).to_have_attribute("data-theme", "dark")
    page.wait_for_function(PAPER, arg="#12171B")
    page.wait_for_function("() => window.frames_of_test.dark > 0")
    frames = page.evaluate("() => window.frames_of_test")
    assert frames["light_figure"] == 0, frames
