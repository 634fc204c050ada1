"""The modules of the pages, which one thread imports when the server starts.

When several threads import modules of the same packages, Python may report a deadlock or hand out
a module that is not complete. So the first visitors of a new server wait for one thread.
"""

import asyncio
import pkgutil
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from importlib import import_module
from typing import Any

_LOCK = threading.Lock()


@asynccontextmanager
async def at_start(_: Any) -> AsyncIterator[None]:
    """Begins the import when the server starts; for `streamlit.App`."""
    loading = asyncio.get_running_loop().run_in_executor(None, wait)
    yield
    await asyncio.gather(loading, return_exceptions=True)  # each run of a page reports an error


def wait() -> None:
    """Returns when all modules of the pages are imported; app.py calls it in each run."""
    with _LOCK:
        _load()


@cache
def _load() -> None:
    from flowviz import ui

    for module in pkgutil.walk_packages(ui.__path__, f"{ui.__name__}."):
        import_module(module.name)  # and with them nearly all that pages import
