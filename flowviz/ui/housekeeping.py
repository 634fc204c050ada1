"""Memory of a server over hours: quotas of uploads, and memory returned to the system.

Streamlit keeps each uploaded file in memory until its session ends, whatever its box says, and
flowviz turns off the garbage collection after every run of a page, which would stop a training.
One thread does both at intervals, for all sessions.
"""

import ctypes
import gc
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st
from streamlit import runtime

from flowviz.ui import limits

PULSE_SECONDS = 5.0
"""Time between two checks of the uploads."""
TRIM_SECONDS = 30.0
"""Time between two collections of garbage."""


@st.cache_resource(show_spinner=False)
def start() -> threading.Thread:
    """Starts the thread, once for the server; app.py calls it in each run."""
    gc.collect()
    gc.freeze()  # modules stay: a later collection takes milliseconds instead of 0.2 s
    thread = threading.Thread(target=_run, name="flowviz-housekeeping", daemon=True)
    thread.start()
    return thread


def _run() -> None:
    trimmed = time.monotonic()
    while True:
        time.sleep(PULSE_SECONDS)
        if runtime.exists():
            uploads = runtime.get_instance().uploaded_file_mgr
            limit_uploads(uploads.file_storage, uploads.remove_file, limits.UPLOAD_MB() * 10**6)
        if time.monotonic() - trimmed > TRIM_SECONDS:
            return_memory()
            trimmed = time.monotonic()


def limit_uploads(
    stored: Mapping[str, Mapping[str, Any]], remove: Callable[[str, str], None], max_bytes: int
) -> None:
    """Removes the oldest files of each session until the rest has at most `max_bytes`.

    Args:
        stored: for each session its files by id, the oldest first; their bytes are `data`.
        remove: removes the file of a session and an id.
        max_bytes: of one session.
    """
    for session, files in list(stored.items()):
        sizes = {name: len(file.data) for name, file in list(files.items())}
        total = sum(sizes.values())
        for name, size in sizes.items():
            if total <= max_bytes:
                break
            remove(session, name)
            total -= size


def return_memory() -> None:
    """Frees objects in reference cycles, then returns free memory to the system (glibc)."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
