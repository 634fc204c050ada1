"""One thread imports the modules of the pages; others wait for it."""

import asyncio
import subprocess
import sys
import threading

import pytest

from flowviz.ui import loading


@pytest.fixture
def slow(monkeypatch):
    """An import that ends when the test releases it; its number of calls is in `slow.calls`."""

    class Slow:
        calls = 0
        may_end = threading.Event()

        def __call__(self):
            self.calls += 1
            assert self.may_end.wait(30)

    made = Slow()
    monkeypatch.setattr(loading, "_load", made)
    return made


def test_a_run_waits_until_the_import_of_the_start_has_ended(slow):
    async def server():
        async with loading.at_start(None):
            while not slow.calls:
                await asyncio.sleep(0.01)
            run = threading.Thread(target=lambda: (loading.wait(), ended.set()))
            run.start()
            assert not ended.wait(0.1)
            slow.may_end.set()
            await asyncio.to_thread(run.join, 30)

    ended = threading.Event()
    asyncio.run(server())
    assert ended.is_set()


def test_an_error_of_the_import_is_that_of_each_run(monkeypatch):
    def fails():
        raise ImportError("No module named 'plotly'")

    async def server():
        async with loading.at_start(None):
            pass

    monkeypatch.setattr(loading, "_load", fails)
    asyncio.run(server())
    with pytest.raises(ImportError, match="plotly"):
        loading.wait()


def test_pages_import_no_package_that_is_not_loaded():
    """Two threads must not import packages whose modules import each other."""
    code = """
import sys
from pathlib import Path
from flowviz.ui import loading

loading.wait()
packages = {name for name, module in sys.modules.items() if hasattr(module, "__path__")}
for page in Path("pages").glob("*.py"):
    lines = page.read_text().splitlines()
    exec("\\n".join(line for line in lines if line.startswith(("import ", "from "))), {})
later = {n for n, m in sys.modules.items() if n.startswith("flowviz") and hasattr(m, "__path__")}
assert later <= packages, later - packages
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
