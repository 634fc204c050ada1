"""A running lecture: the text of a step above the page, with buttons and keys to change steps.

The URL has the lecture and the step (`lecture=ten-steps&step=3`) in addition to the state of the
page, so that each step is a link. With `every=20` the steps change by themselves, again and again.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import streamlit as st

from flowviz.files import PROJECT
from flowviz.lectures import Lecture, Step, lectures, own
from flowviz.registry import hint_at
from flowviz.ui import navigation, state
from flowviz.ui.canvas import component, listen
from flowviz.ui.notices import escaped, failing

PAUSES = (10, 20, 30, 60)
"""Seconds for which a lecture that runs by itself shows a step."""

_HERE = Path(__file__).parent
_PAGES = PROJECT / "pages"
_LOOK = (_HERE / "presenter.css").read_text(encoding="utf-8")
_keys = component("flowviz_lecture", "lecture")


@dataclass(frozen=True)
class Running:
    """A lecture and the current step."""

    name: str
    lecture: Lecture
    number: int
    """Of the step, from 1."""
    interval: int = 0
    """Seconds after which the next step opens by itself, after the last the first; 0: never."""

    @property
    def step(self) -> Step:
        """The current step."""
        return self.lecture.steps[self.number - 1]


def available() -> dict[str, Lecture]:
    """The built-in lectures, those of this installation, and those of this visit, by name."""
    return lectures() | st.session_state.get("lecture:own", {})


def store(lecture: Lecture) -> str:
    """Stores a visitor's lecture on the server, lists it in this visit and returns its name.

    Raises:
        ValueError: a page does not exist, or the disk is full or read-only.
    """
    check_pages(*lecture.steps)
    name = own.keep(lecture)
    st.session_state.setdefault("lecture:own", {})[name] = lecture
    return name


def find(name: str) -> Lecture | None:
    """A lecture by its name; one stored on the server is listed in this visit from now on."""
    known = available()
    if name in known:
        return known[name]
    stored = own.recall(name)
    if stored is not None:
        st.session_state.setdefault("lecture:own", {})[name] = stored
    return stored


def draft() -> list[Step]:
    """The steps that the visitor has added from pages, in this order; may be changed."""
    return st.session_state.setdefault("lecture:draft", [])


def add_step(title: str) -> None:
    """Adds the present view to the draft; for a button."""
    page = st.session_state["url:page"]
    query = urlencode(st.query_params.to_dict(), safe=",:;@")
    view = f"{page}?{query}" if query else page
    draft().append(Step(title=escaped(title), open=view, text="…"))
    st.toast(
        f"This view is step {len(draft())} of your lecture. Write its text on the page Lectures.",
        icon=":material/playlist_add:",
    )


def running() -> Running | None:
    """The lecture in the URL, or None; an invalid step is clipped."""
    name = st.query_params.get("lecture", "")
    lecture = find(name)
    if lecture is None:
        return None
    raw = st.query_params.get("step", "1")
    number = int(raw) if raw.isdecimal() and len(raw) < 5 else 1
    pause = st.query_params.get("every", "")
    interval = int(pause) if pause in map(str, PAUSES) else 0
    return Running(name, lecture, min(max(number, 1), len(lecture.steps)), interval)


def open_step(name: str, number: int, interval: int = 0) -> None:
    """Opens a step of a lecture, with the seconds of `Running.interval`; does not return.

    Raises:
        ValueError: the page of the step does not exist.
    """
    step = available()[name].steps[number - 1]
    check_pages(step)
    state.reopen(step.page)
    where = {"lecture": name, "step": str(number)} | ({"every": str(interval)} if interval else {})
    navigation.go(step.page, step.link | where)


def check_pages(*steps: Step) -> None:
    """Raises ValueError if the page of a step does not exist."""
    known = sorted(path.stem for path in _PAGES.glob("*.py"))
    for step in steps:
        if step.page not in known:
            hint = hint_at(step.page, known)
            raise ValueError(
                f"Step {step.title!r} opens the page {step.page!r}.{hint} "
                f"There are: {', '.join(known)}."
            )


def banner(now: Running) -> None:
    """Draws the step's title, text, equation and buttons; app.py calls it above the page."""
    st.html(f"<style>{_LOOK}</style>")
    step = now.step
    state.restrict(show=step.show, lock=step.lock)
    with st.container(key="lecture-banner", gap=None):
        with st.container(
            horizontal=True, vertical_alignment="center", key="lecture-head", gap="small"
        ):
            st.markdown(f"### {now.number}. {step.title}", width="stretch")
            go = _requested(now)
        if step.equation:
            words, formula = st.columns([3, 2], vertical_alignment="center", gap="medium")
            words.markdown(step.text)
            with formula:
                st.latex(step.equation)
                if step.source:
                    st.caption(step.source, text_alignment="center")
        else:
            st.markdown(step.text)
    if go == "leave":
        for name in ("lecture", "step", "every"):
            st.query_params.pop(name, None)  # a link may leave out the first step's number
        st.rerun()
    elif go in ("next", "previous"):
        number = now.number + (1 if go == "next" else -1)
        with failing():
            open_step(now.name, 1 if number > len(now.lecture.steps) else number, now.interval)


def _requested(now: Running) -> str | None:
    """The visitor's request in this run: "next", "previous", "leave" or None."""
    result: Any = _keys(
        key="lecture-keys",
        data={"number": now.number, "count": len(now.lecture.steps), "every": now.interval},
        on_go_change=listen,
        width="content",
        height="content",
    )
    request = result.get("go")
    if not isinstance(request, dict) or request.get("from") != now.number:
        return None  # repeated or invalid
    where = request.get("where")
    first, last = now.number == 1, now.number == len(now.lecture.steps)
    stays = (where == "previous" and first) or (where == "next" and last and not now.interval)
    return None if stays else where
