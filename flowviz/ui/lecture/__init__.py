"""A running lecture: its step's words above the page, and how one goes on.

The address says which lecture and step are on (`lecture=ten-steps&step=3`); the rest of it is the
state of the page, as always. So a step is a link, and "back" in the browser goes back.
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

__all__ = ["Running", "banner", "bring", "brought", "check_pages", "open_step", "running"]

OWN = "own"
"""The name of the lecture that a visitor brought; it is kept for the visit only."""

_HERE = Path(__file__).parent
_PAGES = Path(__file__).parents[3] / "pages"
_LOOK = (_HERE / "presenter.css").read_text(encoding="utf-8")
_keys = component("flowviz_lecture", "lecture")


@dataclass(frozen=True)
class Running:
    """A lecture and where in it one is."""

    name: str
    lecture: Lecture
    number: int
    """Of the step, from 1."""

    @property
    def step(self) -> Step:
        """The step that is shown."""
        return self.lecture.steps[self.number - 1]


def brought() -> dict[str, Lecture]:
    """The lectures that this visitor can open: built in, of this installation, and brought."""
    own = st.session_state.get("lecture:own")
    return lectures() | ({OWN: own} if own is not None else {})


def bring(lecture: Lecture) -> None:
    """Keeps a lecture that the visitor brought, for this visit."""
    st.session_state["lecture:own"] = lecture


def running() -> Running | None:
    """The lecture that the address names, or None; a wrong step opens the nearest."""
    name = st.query_params.get("lecture")
    found = brought().get(name) if name else None
    if found is None:
        return None
    raw = st.query_params.get("step", "1")
    number = int(raw) if raw.isdecimal() and len(raw) < 5 else 1
    return Running(name, found, min(max(number, 1), len(found.steps)))


def open_step(name: str, number: int) -> None:
    """Goes to a step of a lecture; does not return.

    Raises:
        ValueError: the step names a page that there is not.
    """
    step = brought()[name].steps[number - 1]
    check_pages(step)
    state.reopen(step.page)
    where = {"lecture": name, "step": str(number)}
    st.switch_page(f"pages/{step.page}.py", query_params=step.link | where)


def check_pages(*steps: Step) -> None:
    """Raises ValueError, in a sentence, where a step opens a page that there is not."""
    known = sorted(path.stem for path in _PAGES.glob("*.py"))
    for step in steps:
        if step.page not in known:
            hint = hint_at(step.page, known)
            raise ValueError(
                f"Step {step.title!r} opens the page {step.page!r}.{hint} "
                f"There are: {', '.join(known)}."
            )


def banner(now: Running) -> None:
    """The step's title, words and equation, and the way on; app.py calls it above the page."""
    st.html(f"<style>{_LOOK}</style>")
    step = now.step
    state.restrict(show=step.show, lock=step.lock)
    with st.container(key="lecture-banner", gap=None):
        with st.container(
            horizontal=True, vertical_alignment="center", key="lecture-head", gap="small"
        ):
            st.markdown(f"### {now.number}. {step.title}", width="stretch")
            go = _way(now)
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


def _way(now: Running) -> str | None:
    """What the visitor asks for in this run: "next", "previous", "leave" or None."""
    result: Any = _keys(
        key="lecture-keys",
        data={"number": now.number, "count": len(now.lecture.steps)},
        on_go_change=listen,
        width="content",
        height="content",
    )
    wish = result.get("go")
    if not isinstance(wish, dict) or wish.get("from") != now.number:
        return None  # asked twice, or not by our buttons
    where = wish.get("where")
    first, last = now.number == 1, now.number == len(now.lecture.steps)
    return None if (where == "previous" and first) or (where == "next" and last) else where
