"""A note next to the header that explains the three meanings of "OT"."""

import streamlit as st

SHORT = (
    "**Conditional OT** is a *path*: it joins one noise sample and one data point by a straight "
    "line at constant speed, the optimal map to that one point. The marginal flow of all pairs is "
    "*not* an optimal transport of noise to data, and its trajectories may bend.\n\n"
    "**Minibatch OT** is a *coupling*: the choice of noise–data pairs within a training batch.\n\n"
    "**The optimal transport map** is the coupling of all noise with all data of minimal "
    "$\\mathbb{E}\\,|x_1 - x_0|^2$. No flow shown here is that map, unless it is labelled so."
)
"""The three meanings of OT, as Markdown."""


def headed(title: str) -> None:
    """Draws the page's header, with the note at its right."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header(title)
        with st.popover("Which OT?", icon=":material/conversion_path:", type="tertiary"):
            st.markdown(SHORT)
            st.page_link(
                "pages/which_ot.py",
                label="All three and reflow, on the same two samples",
                icon=":material/arrow_forward:",
            )
