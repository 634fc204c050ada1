"""A link opens its page, also for the first visitor of a server."""

import pytest
from browsing import visit
from playwright.sync_api import expect


@pytest.mark.slow
def test_first_visitor_of_a_server_can_open_a_deep_link(chromium, fresh_server):
    page = chromium.new_page(base_url=fresh_server)
    visit(page, "/train?data=moons")
    page.get_by_text("Watch", exact=True).click()
    expect(page.get_by_role("menuitem", name="Compare")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("combobox", name="Data set")).to_have_value("two moons")
    page.close()
