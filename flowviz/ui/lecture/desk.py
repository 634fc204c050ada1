"""The Lectures page: a list of lectures, and a form to upload one."""

from pathlib import Path

import streamlit as st

from flowviz import lectures
from flowviz.ui import lecture
from flowviz.ui.notices import escaped


def shelf() -> None:
    """Draws the available lectures, each with its steps and a button."""
    for name, found in lecture.available().items():
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
    """Draws the description of the file format, a template and the upload."""
    st.subheader("Your own")
    st.markdown(
        "A lecture is a plain text file: set up a page as you want to show it, copy its address "
        "into `open`, and add your text. `show` lists the visible controls, by their names in "
        "the address; `lock` those that are visible and disabled; all others are hidden."
    )
    st.code(EXAMPLE, language="toml")
    folder = Path(lectures.__file__).parent
    with st.container(horizontal=True, vertical_alignment="center"):
        for path in sorted(folder.glob("*.toml")):
            st.download_button(
                f"Copy of {path.name}", path.read_bytes(), path.name, "application/toml"
            )
    uploaded = st.file_uploader(
        "Upload a lecture (TOML); it is stored for this visit",
        type="toml",
        key="lecture-file",
        max_upload_size=1,
    )
    if uploaded is not None:
        try:
            read = lectures.parse(uploaded.getvalue())
            lecture.check_pages(*read.steps)
        except ValueError as error:
            st.error(
                f"This file is not a valid lecture. {escaped(error)}", icon=":material/error:"
            )
            return
        if st.session_state.get("lecture:own") != read:
            lecture.upload(read)
            st.rerun()


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
