"""The home page: what flow matching is, two moving panels, and links to views worth a look."""

import streamlit as st

from flowviz.canvases.player import View
from flowviz.presets import PRESETS
from flowviz.studies._flow import CompareConfig
from flowviz.ui import compare, lecture
from flowviz.ui.notices import escaped
from flowviz.ui.panels import Comparison

SENTENCE = (
    "**Flow matching** trains a network to be a velocity field that carries noise to data. To "
    "draw a sample, start at a noise point and follow the field from t = 0 to t = 1."
)
TOUR = "tour"


def welcome() -> None:
    """Draws the name, the sentence, and the buttons of the tour and of Compare."""
    st.title("flowviz", anchor=False)
    st.markdown(SENTENCE)
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("60-second tour", type="primary", icon=":material/tour:"):
            lecture.open_step(TOUR, 1)
        st.page_link("pages/compare.py", label="Open Compare", icon=":material/compare:")


def moving() -> None:
    """Draws the default flows of Compare in a loop, and the finding on their timing."""
    page = Comparison(CompareConfig(), {})
    with st.container(key="home-room-loop2"), st.container():
        result = compare.sides(page)
        if result is None:
            return
        compare.mount(result, key="home", view=View(layers=("particles", "density")), loop=True)
    finding = compare.main_finding(page.config, result)
    st.caption(f"The same 2,000 noise points on two paths. {escaped(finding)}")


def cards() -> None:
    """Draws one card for each preset."""
    st.subheader("Try this first", anchor=False)
    for row in (PRESETS[:4], PRESETS[4:]):
        for column, preset in zip(st.columns(4), row, strict=True):
            key = f"preset-{preset.picture}"
            with column, st.container(border=True, key=key, gap="xsmall", height="stretch"):
                st.image(preset.file, alt=preset.alt, width="stretch")
                st.page_link(
                    f"pages/{preset.page}.py",
                    label=f"**{preset.title}**",
                    query_params=preset.link,
                )
                st.caption(preset.text)
