"""Memory of a server over hours: sessions that ended, quotas of uploads, and free memory.

Streamlit keeps each uploaded file in memory until its session is closed, whatever its box says. A
session that has been disconnected for `server.disconnectedSessionTTL` seconds cannot be found any
more, but it is not closed, so that its files stay: here it is closed before. And flowviz turns off
the garbage collection after every run of a page, which would stop a training. The quota is applied
with each upload; one thread does the rest at intervals, for all sessions.
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
from streamlit.runtime.scriptrunner import get_script_run_ctx

from flowviz.ui import limits, navigation

PULSE_SECONDS = 2.0
"""Time between two checks for sessions that ended."""
TRIM_SECONDS = 30.0
"""Time between two collections of garbage."""


_when_idle: list[Callable[[], None]] = []


def when_idle(free: Callable[[], None]) -> None:
    """Registers a function that frees memory; called when the last session has ended."""
    _when_idle.append(free)


def visit() -> None:
    """Notes the session of this run, and starts the thread once; app.py calls it in each run."""
    context = get_script_run_ctx()
    if context is not None:
        _sessions()[context.session_id] = time.monotonic()


@st.cache_resource(show_spinner=False)
def _sessions() -> dict[str, float]:
    """When each session was connected last, for the thread, which starts with it."""
    gc.collect()
    gc.freeze()  # modules stay: a later collection takes milliseconds instead of 0.2 s
    sessions: dict[str, float] = {}
    if runtime.exists():
        limit_requests(runtime.get_instance().uploaded_file_mgr)
    args = (sessions,)
    threading.Thread(target=_run, args=args, name="flowviz-housekeeping", daemon=True).start()
    return sessions


def _run(sessions: dict[str, float]) -> None:
    trimmed = time.monotonic()
    while True:
        time.sleep(PULSE_SECONDS)
        if runtime.exists():
            server = runtime.get_instance()
            seconds = closed_after(st.get_option("server.disconnectedSessionTTL"))
            gone = ended(sessions, server.is_active_session, seconds)
            for session in gone:
                server.clear_user_info_for_session(session)  # which closes a stored session
                navigation.forget(session)
            for free in _when_idle if gone and not sessions else ():
                free()
        if time.monotonic() - trimmed > TRIM_SECONDS:
            return_memory()
            trimmed = time.monotonic()


def closed_after(found_for: float) -> float:
    """The seconds after which a disconnected session is closed.

    Args:
        found_for: seconds for which Streamlit finds it. A check can be one pulse late.
    """
    return found_for - min(3 * PULSE_SECONDS, found_for / 2)


def ended(
    sessions: dict[str, float], is_active: Callable[[str], bool], seconds: float
) -> list[str]:
    """The sessions that have been disconnected for `seconds`, which are removed from `sessions`.

    Args:
        sessions: when each was connected last, in `time.monotonic()` seconds; is updated.
        is_active: whether a session is connected.
        seconds: after which a session has ended.
    """
    now, ended_sessions = time.monotonic(), []
    for session, last_seen in list(sessions.items()):
        if is_active(session):
            sessions[session] = now
        elif now - last_seen > seconds:
            del sessions[session]
            ended_sessions.append(session)
    return ended_sessions


def limit_requests(uploads: Any) -> None:
    """Makes Streamlit's manager of uploads apply the quota of a session with each new file."""
    add = uploads.add_file

    def add_within_quota(session_id: str, file: Any) -> None:
        add(session_id=session_id, file=file)
        stored = {session_id: uploads.file_storage[session_id]}
        limit_uploads(stored, uploads.remove_file, limits.UPLOAD_MB() * 10**6)

    uploads.add_file = add_within_quota


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
