"""The Lectures page: a list of lectures, an editor, and a form to upload one."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import streamlit as st

from flowviz import lectures
from flowviz.lectures import Lecture, Step
from flowviz.lectures.own import to_text
from flowviz.ui import lecture, state, widgets
from flowviz.ui.notices import failed, failing

COLUMNS = {
    "title": "Title",
    "open": "View",
    "text": "Text",
    "equation": "Equation",
    "source": "Source",
    "show": "Controls to change",
    "lock": "Controls to see",
}
"""The entries of a step by their names in the editor."""

NEW, MINE = "new", "lecture:mine"


def shelf() -> None:
    """Draws the available lectures, each with its steps and a button.

    The link has the lecture that was stored last (`mine=own-...`), so that a reload keeps it.
    """
    mine = st.session_state.get(MINE) or state.opened("mine", "", str)
    state.publish("mine", mine if lecture.find(mine) else "", "")
    interval = widgets.select(
        "every",
        "Change of steps",
        {"0": "by key or button"} | {str(s): f"by itself every {s} s" for s in lecture.PAUSES},
        "0",
        help="With automatic steps a lecture starts again after its last step, for "
        "a screen that nobody attends.",
    )
    for name, each_lecture in lecture.available().items():
        with st.container(border=True):
            left, right = st.columns([5, 1], vertical_alignment="center")
            left.markdown(f"### {each_lecture.title}\n{each_lecture.sentence}")
            if right.button(
                "Begin",
                key=f"begin-{name}",
                icon=":material/slideshow:",
                type="primary",
                width="stretch",
            ):
                lecture.open_step(name, 1, int(interval))
            with st.expander(f"{len(each_lecture.steps)} steps"):
                st.markdown("\n".join(f"1. {step.title}" for step in each_lecture.steps))


def own_lectures() -> None:
    """Draws the editor, and the description of the file format with an upload."""
    st.subheader("Your own")
    st.markdown(
        "Set up a page as you want to show it and press **Add to lecture** at its top: the view "
        "becomes a step in this table, where you write its text. *View* is its address; an "
        "address that **Copy link** copied can be pasted there. **Save** stores the lecture on "
        "this server, under a link that works in any browser."
    )
    _editor()
    with st.expander("As a text file"):
        _file()


def _editor() -> None:
    known = lecture.available()
    start = st.selectbox(
        "Begin with",
        [NEW, *known],
        format_func=lambda name: "the views you added" if name == NEW else known[name].title,
    )
    old = known.get(start)
    title = st.text_input("Title", old.title if old else "My lecture", max_chars=100)
    sentence = st.text_input(
        "What the audience sees, in a sentence",
        old.sentence if old else "Two paths from noise to data.",
        max_chars=300,
    )
    steps = [*(old.steps if old else ()), *lecture.draft()]
    rows: list[dict[str, Any]] = st.data_editor(
        _rows(steps),
        key=f"lecture-steps-{start}-{len(lecture.draft())}",
        num_rows="dynamic",
        hide_index=True,
        width="stretch",
        column_config={
            "Step": st.column_config.NumberColumn(
                width="small", help="Orders the steps: 1.5 stands between 1 and 2."
            ),
            COLUMNS["text"]: st.column_config.TextColumn(width="large"),
        },
    )
    save, load, forget = st.columns([1, 1, 3])
    if not any(row.get(COLUMNS["open"]) for row in rows):
        st.caption("No view has been added yet.")
        return
    try:
        new_lecture = lectures.parse(
            to_text(Lecture(title=title, sentence=sentence, steps=_steps(rows)))
        )
        lecture.check_pages(*new_lecture.steps)
    except ValueError as error:
        failed(error, "This lecture is not complete.")
        return
    if save.button("Save", type="primary", width="stretch"):
        _store(new_lecture)
    load.download_button(
        "Download", to_text(new_lecture), "lecture.toml", "application/toml", width="stretch"
    )
    if lecture.draft() and forget.button("Forget added views", type="tertiary"):
        lecture.draft().clear()
        st.rerun()


def _rows(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """The steps as rows of the editor; at least one, which says what the columns are."""
    if not steps:
        return [{"Step": 1.0} | dict.fromkeys(COLUMNS.values(), "")]
    return [
        {"Step": float(number)}
        | {
            COLUMNS[name]: ", ".join(value) if isinstance(value, tuple) else value
            for name, value in asdict(step).items()
        }
        for number, step in enumerate(steps, start=1)
    ]


def _steps(rows: Sequence[dict[str, Any]]) -> tuple[Step, ...]:
    """The steps of rows that name a view, in the order of their numbers."""
    filled = [row for row in rows if row.get(COLUMNS["open"])]
    filled.sort(key=lambda row: row.get("Step") or float("inf"))
    steps = []
    for row in filled:
        texts = {name: str(row.get(column) or "").strip() for name, column in COLUMNS.items()}
        texts["open"] = texts["open"].rpartition("/")[2]  # a whole link is pasted as it is
        lists = {
            name: tuple(part.strip() for part in texts[name].split(",") if part.strip())
            for name in ("show", "lock")
        }
        values: dict[str, Any] = {**texts, **lists}
        steps.append(Step(**values))
    return tuple(steps)


def _store(new_lecture: Lecture) -> None:
    """Stores a lecture and lists it above, or says why it cannot be stored."""
    with failing():
        st.session_state[MINE] = lecture.store(new_lecture)
        st.rerun()


def _file() -> None:
    st.markdown(
        "`open` is the address of a view, `show` lists the controls that can be changed, by their "
        "names in the address; `lock` those that are visible and disabled; all others are hidden."
    )
    st.code(EXAMPLE, language="toml")
    folder = Path(lectures.__file__).parent
    with st.container(horizontal=True, vertical_alignment="center"):
        for path in sorted(folder.glob("*.toml")):
            st.download_button(
                f"Copy of {path.name}", path.read_bytes(), path.name, "application/toml"
            )
    uploaded = st.file_uploader(
        "Upload a lecture (TOML)", type="toml", key="lecture-file", max_upload_size=1
    )
    if uploaded is None or st.session_state.get("lecture-file:taken") == uploaded.file_id:
        return
    try:
        read = lectures.parse(uploaded.getvalue())
        lecture.check_pages(*read.steps)
    except ValueError as error:
        failed(error, "This file is not a valid lecture.")
        return
    st.session_state["lecture-file:taken"] = uploaded.file_id
    _store(read)


EXAMPLE = """\
title = "Two paths"
sentence = "The samples of two paths from the same noise."

[[step]]
title = "Few evaluations"
open = "compare?data=moons&solver=midpoint&nfe=4"
text = "With **four** evaluations the two paths differ."
equation = '\\frac{d}{dt}\\phi_t(x) = v_t(\\phi_t(x))'
source = "Lipman et al. 2022, eq. 1"
show = ["nfe"]
"""
