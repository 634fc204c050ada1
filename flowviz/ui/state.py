"""Controls that live in the URL: a link reproduces the view.

Each control has a slug, in the URL, and a label, on the page. When a page is opened, its link is
read once and checked; an invalid value is replaced with a notice. From then on the URL follows the
controls; default values are left out. (Streamlit's own bind="query-params" would put labels in the
URL and ignores invalid values.)

A page that is opened again without a link keeps the values of its controls.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from flowviz.ui import navigation
from flowviz.ui.notices import escaped

T = TypeVar("T")


def by_history() -> bool:
    """Whether this run follows Back or Forward of the browser."""
    context = get_script_run_ctx()
    return bool(getattr(context, "is_history_navigation", False))


def visit(page: str, *, again: bool = False) -> None:
    """Sets the current page; app.py calls it once per run, before the code of the page.

    The link is read if the page is another one than before, or `again` if it was read before.
    """
    navigation.arrived()
    if st.session_state.get("url:page") != page or again:
        link = navigation.own_link() if again else st.query_params.to_dict()
        if link or again:
            _forget(page)  # values that a link leaves out are the defaults
        st.session_state["url:page"] = page
        st.session_state["url:link"] = link
        st.session_state["url:notices"] = {}


def reopen(page: str) -> None:
    """Resets the controls of a page, named as in `visit`, so that its next link is read."""
    _forget(page)
    st.session_state["url:page"] = None


def follow(page: str, link: Mapping[str, str]) -> None:
    """Opens a page by a link, also if it is the current page."""
    reopen(page)
    navigation.go(page, link)


def reset() -> None:
    """Sets the controls of the current page to their defaults; for a button."""
    reopen(st.session_state["url:page"])
    st.query_params.clear()


def _forget(page: str) -> None:
    """Removes the values of a page's controls, if it was visited before."""
    keys = [key for key in st.session_state if str(key).startswith(f"{page}:")]
    for key in keys:
        del st.session_state[key]
    if st.session_state.get("url:kept", {}).pop(page, None) or keys:
        st.session_state["url:opening"] = opening() + 1


def opening() -> int:
    """How often a visited page was opened by a link: part of the keys of canvases with state."""
    return st.session_state.get("url:opening", 0)


def restrict(show: Collection[str] | None, lock: Collection[str] = ()) -> None:
    """Draws only the controls in `show` (None: all) and `lock`; those in `lock` are disabled.

    Other controls have the values of the link or their defaults. app.py calls it once per run.
    """
    st.session_state["url:show"] = None if show is None else {*show, *lock}
    st.session_state["url:disabled"] = dict.fromkeys(lock, "")


def is_restricted() -> bool:
    """Whether some controls are hidden, as in a lecture."""
    return st.session_state.get("url:show") is not None


def is_drawn(slug: str) -> bool:
    """Whether a control is drawn, see `restrict`."""
    show = st.session_state.get("url:show")
    return show is None or slug in show


def set_aside(reasons: Mapping[str, str]) -> None:
    """Disables the controls of these slugs in this run, each with its reason as help."""
    st.session_state.setdefault("url:disabled", {}).update(reasons)


def disabled(slug: str) -> str | None:
    """The reason why a control is disabled, "" for one of a lecture; None if it is not."""
    return st.session_state.get("url:disabled", {}).get(slug)


def key_of(slug: str) -> str:
    """The key of the widget of a control on this page, where the session state has its value."""
    return f"{st.session_state['url:page']}:{slug}"


def selector(slug: str) -> str:
    """The CSS selector of the element of a control on this page."""
    return f".st-key-{st.session_state['url:page']}-{slug}"


class Invalid(ValueError):
    """An invalid value in a link: the reason, and the value to use in place of the default."""

    def __init__(self, reason: str, instead: Any) -> None:
        super().__init__(reason)
        self.instead = instead


def opened(slug: str, default: T, parse: Callable[[str], T]) -> T:
    """The value of a control: of the link in the first run of a visit, then of the session.

    `parse` converts the text in the link, or raises ValueError.
    """
    visit(st.session_state.get("url:page", ""))  # for a page that runs without app.py
    key, link = key_of(slug), st.session_state["url:link"]
    notices = st.session_state.setdefault("url:notices", {})
    if slug in link:
        try:
            value = parse(link.pop(slug))
        except ValueError as error:
            value = error.instead if isinstance(error, Invalid) else default
            notices[slug] = (
                f"**This link's `{slug}` is invalid:** {escaped(str(error).rstrip('.'))}. "
                f"Showing {escaped(value)} instead."
            )
        st.session_state[key] = value
    elif key not in st.session_state:
        st.session_state[key] = _last_values().get(slug, default)
    if slug in notices:
        st.toast(notices[slug], icon=":material/link_off:", duration="infinite")
    return st.session_state[key]


def complete() -> None:
    """Drops the notices at the end of a run: one that a new run interrupts may not send them."""
    st.session_state["url:notices"] = {}


def publish(slug: str, value: T, default: T, write: Callable[[T], str] = str) -> T:
    """Writes a value to the URL and stores it for the next visit of the page; returns it."""
    _last_values()[slug] = value
    text = None if value == default else write(value)
    if st.query_params.get(slug) != text:
        if text is None:
            del st.query_params[slug]
        else:
            st.query_params[slug] = text
    return value


def keep(slug: str, value: T, default: T, write: Callable[[T], str] = str) -> T:
    """Sets the value of a control and of the URL; returns the value.

    For controls of several widgets, and for those that a click elsewhere changes.
    """
    st.session_state[key_of(slug)] = value
    return publish(slug, value, default, write)


def _last_values() -> dict[str, Any]:
    """The last values of the controls of this page."""
    pages = st.session_state.setdefault("url:kept", {})
    return pages.setdefault(st.session_state["url:page"], {})
