"""Pages do not move while they load."""

import pytest
from browsing import visit

WATCH = """
window.shifts = [];
new PerformanceObserver((list) => {
  window.shifts.push(...list.getEntries().map((entry) => entry.hadRecentInput ? 0 : entry.value));
}).observe({ type: "layout-shift", buffered: true });
"""


@pytest.mark.parametrize("link", ["/", "/nfe_quality"])
def test_a_page_does_not_move_while_it_loads(page, link):
    page.add_init_script(WATCH)
    visit(page, link)
    page.wait_for_timeout(1_000)
    shifts = page.evaluate("window.shifts")
    assert sum(shifts) < 0.05, shifts
