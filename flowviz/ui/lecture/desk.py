"""The page on which a lecture is chosen, brought or copied."""

from pathlib import Path

import streamlit as st

from flowviz import lectures
from flowviz.ui import lecture
from flowviz.ui.notices import escaped

__all__ = ["own", "shelf"]


def shelf() -> None:
    """The lectures that can be opened, each with its steps and a button."""
    for name, found in lecture.brought().items():
        with st.container(border=True):
            left, right = st.columns([5, 1], vertical_alignment="center")
            left.markdown(f"### {found.title}\n{found.sentence}")
            if right.button(
                "Begin",
                key=f"begin-{name}",
                icon=":material/slideshow:",
                type="primary",
                width="stretch",
            ):
                lecture.open_step(name, 1)
            with st.expander(f"{len(found.steps)} steps"):
                st.markdown("\n".join(f"1. {step.title}" for step in found.steps))


def own() -> None:
    """A lecture of the visitor's: how it is written, a template, and where it is brought."""
    st.subheader("Your own")
    st.markdown(
        "A lecture is a plain text file: set up a page as you want it to be seen, copy its "
        "address into `open`, and add what you will say. `show` names the controls that stay in "
        "the audience's sight, by their names in the address; `lock` those that are seen and "
        "cannot be moved; all others are hidden."
    )
    st.code(EXAMPLE, language="toml")
    folder = Path(lectures.__file__).parent
    with st.container(horizontal=True, vertical_alignment="center"):
        for path in sorted(folder.glob("*.toml")):
            st.download_button(
                f"Copy of {path.name}", path.read_bytes(), path.name, "application/toml"
            )
    brought = st.file_uploader(
        "Bring a lecture (TOML); it is kept for this visit",
        type="toml",
        key="lecture-file",
        max_upload_size=1,
    )
    if brought is not None:
        try:
            read = lectures.parse(brought.getvalue().decode("utf-8"))
            lecture.check_pages(*read.steps)
        except ValueError as error:
            st.error(f"This file is no lecture. {escaped(error)}", icon=":material/error:")
            return
        if st.session_state.get("lecture:own") != read:
            lecture.bring(read)
            st.rerun()


EXAMPLE = """\
title = "Two paths"
sentence = "Where the same noise goes."

[[step]]
title = "Few evaluations"
open = "compare?data=moons&solver=midpoint&nfe=4"
text = "With **four** evaluations the two paths part."
equation = '\\frac{d}{dt}\\phi_t(x) = v_t(\\phi_t(x))'
source = "Lipman et al. 2022, eq. 1"
show = ["nfe"]
"""
