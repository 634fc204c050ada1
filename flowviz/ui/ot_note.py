"""What "OT" means, said once for all pages that show the word: a note beside the header."""

import streamlit as st

__all__ = ["SHORT", "headed"]

SHORT = (
    "**Conditional OT** is a *path*: it joins one noise sample and one data point straight and "
    "evenly, which is the optimal map to that one point. The flow that all pairs make together is "
    "*not* an optimal transport of noise to data, and its ways may bend.\n\n"
    "**Minibatch OT** is a *coupling*: a choice of which noise meets which data in training.\n\n"
    "**The optimal transport map** is the one coupling of all noise with all data of least "
    "$\\mathbb{E}\\,|x_1 - x_0|^2$. Nothing here is it, unless it says so."
)
"""The three things that are called OT, as Markdown."""


def headed(title: str) -> None:
    """The page's header, with the note at its right."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header(title)
        with st.popover("Which OT?", icon=":material/conversion_path:", type="tertiary"):
            st.markdown(SHORT)
            st.page_link(
                "pages/which_ot.py",
                label="All three and reflow, on the same two samples",
                icon=":material/arrow_forward:",
            )
