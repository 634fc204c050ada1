"""A running lecture: the text of a step above the page, with buttons and keys to change steps.

The URL has the lecture and the step (`lecture=ten-steps&step=3`) in addition to the state of the
page, so that each step is a link.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from flowviz.lectures import Lecture, Step, lectures
from flowviz.registry import hint_at
from flowviz.ui import state
from flowviz.ui.canvas import component, listen
from flowviz.ui.notices import escaped

__all__ = ["Running", "available", "banner", "check_pages", "open_step", "running", "upload"]

OWN = "own"
"""The name of the lecture that the visitor uploaded, for this session."""

_HERE = Path(__file__).parent
_PAGES = Path(__file__).parents[3] / "pages"
_LOOK = (_HERE / "presenter.css").read_text(encoding="utf-8")
_keys = component("flowviz_lecture", "lecture")


@dataclass(frozen=True)
class Running:
    """A lecture and the current step."""

    name: str
    lecture: Lecture
    number: int
    """Of the step, from 1."""

    @property
    def step(self) -> Step:
        """The current step."""
        return self.lecture.steps[self.number - 1]


def available() -> dict[str, Lecture]:
    """The built-in lectures, those of this installation, and the uploaded one, by name."""
    own = st.session_state.get("lecture:own")
    return lectures() | ({OWN: own} if own is not None else {})


def upload(lecture: Lecture) -> None:
    """Stores a lecture that the visitor uploaded, for this session."""
    st.session_state["lecture:own"] = lecture


def running() -> Running | None:
    """The lecture in the URL, or None; an invalid step is clipped."""
    name = st.query_params.get("lecture")
    found = available().get(name) if name else None
    if found is None:
        return None
    raw = st.query_params.get("step", "1")
    number = int(raw) if raw.isdecimal() and len(raw) < 5 else 1
    return Running(name, found, min(max(number, 1), len(found.steps)))


def open_step(name: str, number: int) -> None:
    """Opens a step of a lecture; does not return.

    Raises:
        ValueError: the page of the step does not exist.
    """
    step = available()[name].steps[number - 1]
    check_pages(step)
    state.reopen(step.page)
    where = {"lecture": name, "step": str(number)}
    st.switch_page(f"pages/{step.page}.py", query_params=step.link | where)


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
        for name in ("lecture", "step"):
            st.query_params.pop(name, None)  # a link may leave out the first step's number
        st.rerun()
    elif go in ("next", "previous"):
        try:
            open_step(now.name, now.number + (1 if go == "next" else -1))
        except ValueError as error:
            st.error(escaped(error), icon=":material/error:")


def _requested(now: Running) -> str | None:
    """The visitor's request in this run: "next", "previous", "leave" or None."""
    result: Any = _keys(
        key="lecture-keys",
        data={"number": now.number, "count": len(now.lecture.steps)},
        on_go_change=listen,
        width="content",
        height="content",
    )
    request = result.get("go")
    if not isinstance(request, dict) or request.get("from") != now.number:
        return None  # repeated or invalid
    where = request.get("where")
    first, last = now.number == 1, now.number == len(now.lecture.steps)
    return None if (where == "previous" and first) or (where == "next" and last) else where
