"""How a page opens: its header, two lines of text, and a note on the three meanings of "OT"."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from flowviz.settings import Config
from flowviz.studies import Study
from flowviz.studies.export import SAVE_FIRST, command_line, names_session, script
from flowviz.ui import glossary, lecture, state
from flowviz.ui.canvas import component
from flowviz.ui.notices import escaped

_PLACE, _STUDIES = "code:place", "code:studies"
_address = component("flowviz_address", "address")

SHORT = (
    "**Conditional OT** is a *path*: it joins one noise sample and one data point by a straight "
    "line at constant speed, the optimal map to that one point. The marginal flow of all pairs is "
    "*not* an optimal transport of noise to data, and its trajectories may bend.\n\n"
    "**Minibatch OT** is a *coupling*: the choice of noise–data pairs within a training batch.\n\n"
    "**The optimal transport map** is the coupling of all noise with all data of minimal "
    "$\\mathbb{E}\\,|x_1 - x_0|^2$. No flow shown here is that map, unless it is labelled so."
)
"""The three meanings of OT, as Markdown."""


def headed(title: str, see: str, notice: str, *, which_ot: bool = True) -> Callable[[str], None]:
    """Draws the header of a page, what one sees on it and what to notice; nothing in a lecture.

    Args:
        title: the header, which may contain text of a link.
        see: one line; `[NFE](nfe)` is the text "NFE" with the tooltip of the glossary term "nfe".
        notice: one line in the same form, with numbers where numbers decide.
        which_ot: whether the note on the three meanings of OT is at the right of the header.

    Returns:
        A function that replaces the line `notice`, for a page whose numbers are not known yet.
    """
    if state.is_restricted():  # a lecture has a title and a text of its own
        return lambda _: None
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header(escaped(title))
        with st.container(
            horizontal=True, key="tools", width="content", vertical_alignment="center"
        ):
            _tools(title, which_ot)
    glossary.opened(see, notice)
    lines = st.container(key="opening").empty()

    def noticed(notice: str) -> None:
        # Markdown is there as early as the header; the browser loads st.html later.
        lines.markdown(
            '<div class="fv-opening">'
            f"<p><b>What you see</b> {glossary.marked(see)}</p>"
            f"<p><b>What to notice</b> {glossary.marked(notice)}</p></div>",
            unsafe_allow_html=True,
        )

    noticed(notice)
    return noticed


def _tools(title: str, which_ot: bool) -> None:
    """The buttons at the right of the header."""
    if which_ot:
        _note()
    _address(key="address", width="content", height="content")
    st.button(
        "Reset",
        key="address-reset",
        type="tertiary",
        help="Sets all controls of this page to their defaults",
        on_click=state.reset,
    )
    st.button(
        "Add to lecture",
        key="address-step",
        type="tertiary",
        help="Makes this view a step of your lecture, which the page Lectures edits",
        on_click=lecture.add_step,
        args=(title,),
    )
    st.session_state[_PLACE] = st.popover("Code", type="tertiary")


def begin() -> None:
    """Forgets studies and terms of the last run; app.py calls it before the code of the page."""
    glossary.begin()
    st.session_state.pop(_PLACE, None)
    st.session_state[_STUDIES] = {}


def add_code(study: Study[Any, Any], config: Config) -> None:
    """Lists a study under "Code" from this run of the whole page on."""
    st.session_state.setdefault(_STUDIES, {})[study.name, config] = study


def code() -> None:
    """Fills "Code": how to compute this view without the app; app.py calls it after the page."""
    container, studies = st.session_state.get(_PLACE), st.session_state.get(_STUDIES, {})
    if container is None:
        return
    with container:
        if not studies:
            st.caption("No study of this page has been shown yet.")
        for (_, config), study in studies.items():
            st.markdown(f"**{escaped(study.title)}**, in a shell and in Python:")
            if names_session(config):
                st.caption(SAVE_FIRST)
            st.code(command_line(study, config), language="bash", wrap_lines=True)
            st.code(script(study, config), language="python", wrap_lines=True)


def _note() -> None:
    with st.popover("Which OT?", icon=":material/conversion_path:", type="tertiary"):
        st.markdown(SHORT)
        st.page_link(
            "pages/which_ot.py",
            label="All three and reflow, on the same two samples",
            icon=":material/arrow_forward:",
        )
