"""The three sections of the page, the choice among them, and the sidebar that they share."""

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from flowviz.ui import data_picker, paths, state
from flowviz.ui.why import conditional, conversions, touch

__all__ = ["choose", "show"]


@dataclass(frozen=True)
class _Section:
    """A section: its name on the button, what it asks, and what draws it."""

    label: str
    sentence: str
    draw: Callable[[str, str], None]


SECTIONS = {
    "touch": _Section(
        "Through one point",
        "**Why can the network learn from single pairs?** Through *x* at time *t* runs one "
        "conditional path for every data point. Weighted by how probable each is given *x*, their "
        "velocities average to the marginal one, "
        "$u_t(x) = \\mathbb E[u_t(x \\mid x_1) \\mid x_t = x]$ (eq. 8). Drag *x*, move *t*.",
        touch.section,
    ),
    "figures": _Section(
        "The paper's Figures 2, 3 and 8",
        "**What one conditional path asks of a network**, for a single data point ★: the "
        "conditional score and velocity at four times, and the trajectories that they make.",
        conditional.section,
    ),
    "conversions": _Section(
        "Four predictions, one field",
        "**Velocity, score, noise and data prediction are one field.** Given $x$ and $t$ each "
        "follows from any other by $u = \\dot\\alpha\\, m + \\dot\\sigma\\, \\hat\\epsilon$, "
        "$\\;x = \\alpha\\, m + \\sigma\\, \\hat\\epsilon$ and $s = -\\hat\\epsilon / \\sigma$. "
        "What differs is how much an error of the one is magnified in the other.",
        conversions.section,
    ),
}


def choose() -> tuple[str, str, str]:
    """The section on show, the data set and the path."""
    section = state.segmented(
        "section",
        "Section",
        {slug: section.label for slug, section in SECTIONS.items()},
        "touch",
        label_visibility="collapsed",
    )
    with st.sidebar:
        if section == "figures":
            data = ""
        else:
            data = data_picker.pick(help="Which distribution the path leads to.")
        path = paths.select(
            "path",
            "Path",
            "ot",
            help="How one data point and its noise are joined."
            + (" Shown beside VP diffusion and conditional OT." if section == "figures" else ""),
        )
    return section, data, path


def show(section: str, data: str, path: str) -> None:
    """A section with its own controls."""
    st.markdown(SECTIONS[section].sentence)
    if section != "touch":
        st.session_state.pop(touch.FIRST, None)  # it is mounted anew, as the controls then stand
    SECTIONS[section].draw(data, path)
