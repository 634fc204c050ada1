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
    """One of two visits must pass: on a busy machine a part of the first one can load late."""
    page.add_init_script(WATCH)
    found = []
    for _ in range(2):
        visit(page, link)
        page.wait_for_timeout(1_000)
        found.append(page.evaluate("window.shifts"))
        if sum(found[-1]) < 0.05:
            break
    assert sum(found[-1]) < 0.05, found
