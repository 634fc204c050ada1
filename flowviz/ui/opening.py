"""How a page opens: its header, two lines of text, and a note on the three meanings of "OT"."""

import streamlit as st

from flowviz.ui import glossary, state

SHORT = (
    "**Conditional OT** is a *path*: it joins one noise sample and one data point by a straight "
    "line at constant speed, the optimal map to that one point. The marginal flow of all pairs is "
    "*not* an optimal transport of noise to data, and its trajectories may bend.\n\n"
    "**Minibatch OT** is a *coupling*: the choice of noise–data pairs within a training batch.\n\n"
    "**The optimal transport map** is the coupling of all noise with all data of minimal "
    "$\\mathbb{E}\\,|x_1 - x_0|^2$. No flow shown here is that map, unless it is labelled so."
)
"""The three meanings of OT, as Markdown."""


def headed(title: str, see: str, notice: str, *, which_ot: bool = True) -> None:
    """Draws the header of a page, what one sees on it and what to notice.

    Args:
        title: the header.
        see: one line; `[NFE](nfe)` is the text "NFE" with the tooltip of the glossary term "nfe".
        notice: one line in the same form, with numbers where numbers decide.
        which_ot: whether the note on the three meanings of OT is at the right of the header.
    """
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header(title)
        if which_ot:
            _note()
    if not state.is_restricted():  # a lecture has a text of its own
        st.html(
            '<div class="fv-opening">'
            f"<p><b>What you see</b> {glossary.marked(see)}</p>"
            f"<p><b>What to notice</b> {glossary.marked(notice)}</p></div>"
        )


def _note() -> None:
    with st.popover("Which OT?", icon=":material/conversion_path:", type="tertiary"):
        st.markdown(SHORT)
        st.page_link(
            "pages/which_ot.py",
            label="All three and reflow, on the same two samples",
            icon=":material/arrow_forward:",
        )
