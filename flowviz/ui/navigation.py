"""Opening another page, and requests of the page before that arrive late.

A fragment asks for its next run while the browser still shows its page: a poll of a training, the
time of the player. If such a request arrives after the request for another page, Streamlit 1.67
opens the first page again or removes all that the other page has drawn. So it is ignored.
"""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, NoReturn

import streamlit as st
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.scriptrunner import get_script_run_ctx

_wanted: dict[str, str] = {}
"""For each session the page of its last request or run; empty until a new page has started."""


def ignore_late_requests() -> None:
    """Makes every session of this server ignore late requests; app.py calls it once."""
    if not hasattr(AppSession.request_rerun, "__wrapped__"):
        AppSession.request_rerun = unless_late(AppSession.request_rerun)


def unless_late(request_rerun: Callable[..., None]) -> Callable[..., None]:
    """A method that asks a session for a run, unless a fragment of another page asks."""

    @wraps(request_rerun)
    def checked(session: Any, request: ClientState | None) -> None:
        if request is not None:
            page = request.page_script_hash
            if not request.fragment_id:
                _wanted[session.id] = page
            elif page != _wanted.get(session.id, page):
                return
        request_rerun(session, request)

    return checked


def arrived() -> None:
    """Notes the page of this run; `state.visit` calls it."""
    if context := get_script_run_ctx():
        _wanted[context.session_id] = context.page_script_hash


def forget(session: str) -> None:
    """Removes what is stored of a session that has ended."""
    _wanted.pop(session, None)


def go(page: str, link: Mapping[str, str]) -> NoReturn:
    """Opens a page, such as "compare", with the values of a link; ends this run."""
    if context := get_script_run_ctx():
        _wanted[context.session_id] = ""
        left = st.session_state.setdefault("url:left", {})
        left[context.page_script_hash] = dict(link), st.query_params.to_dict()
    st.switch_page(f"pages/{page}.py", query_params=link)


def own_link() -> dict[str, str]:
    """The link of this page after Back or Forward.

    In the browser's history it may be that of the page which `go` opened from here: Streamlit 1.67
    writes it into the address before it leaves the page.
    """
    link, context = st.query_params.to_dict(), get_script_run_ctx()
    left = st.session_state.get("url:left", {})
    written, own = left.get(context and context.page_script_hash, ({}, {}))
    if written and link.items() <= written.items():
        st.query_params.from_dict(own)
        return dict(own)
    return link
