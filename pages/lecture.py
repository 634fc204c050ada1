"""Lectures: numbered steps through the pages, for a projector and a keyboard."""

import streamlit as st

from flowviz.ui.lecture import desk

st.header("Lectures")
st.markdown(
    "Each step opens a page in a given state, with a paragraph and its equation. "
    "**→** and **←** (or a presenter's clicker) go to the next and the previous step; **?** lists "
    "the keys of the player."
)
desk.shelf()
desk.own()
