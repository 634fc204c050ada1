"""The three claims, the choice among them, and the sidebar that they share."""

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from flowviz.ui import data_picker, state
from flowviz.ui.straighter import sampling, training, unlimited

__all__ = ["choose", "show"]


@dataclass(frozen=True)
class _Claim:
    """A claim: its name on the button, the claim in full, and the section that measures it."""

    label: str
    sentence: str
    section: Callable[[str], None]


CLAIMS = {
    "training": _Claim(
        "1 · Trains faster?",
        "**The claim** (Lipman et al. 2022): the conditional OT path makes training faster and "
        "more stable than diffusion paths and their objectives. Here each network starts from the "
        "same weights and sees the same data, noise and times. Raw losses of different paths or "
        "objectives are not comparable, so what is compared is samples and distance from the "
        "exact field. A learned path is trained with its field by a bound of its own: it is not "
        "in this race, and has a page.",
        training.section,
    ),
    "sampling": _Claim(
        "2 · Samples faster?",
        "**The claim** (Lipman et al. 2022): conditional OT needs about 60 % of diffusion's "
        "function evaluations for the same error. Solver and measure are named with each number, "
        "since the answer depends on both.",
        sampling.section,
    ),
    "unlimited": _Claim(
        "3 · Better with unlimited compute?",
        "**The question** (the reproduction study's own conclusion doubts it): if training and "
        "sampling cost nothing, would a straighter path still give better samples? For exact "
        "fields there is an answer; what remains is what networks and solvers err by.",
        unlimited.section,
    ),
}


def choose() -> tuple[str, str]:
    """The data set, from the sidebar, and the claim on show."""
    with st.sidebar:
        data = data_picker.pick(help="On which data the claims are put to the test.")
    claim = state.segmented(
        "claim",
        "Claim",
        {slug: claim.label for slug, claim in CLAIMS.items()},
        "training",
        label_visibility="collapsed",
    )
    return data, claim


def show(data: str, claim: str) -> None:
    """A claim and what this run makes of it."""
    st.markdown(CLAIMS[claim].sentence)
    CLAIMS[claim].section(data)
