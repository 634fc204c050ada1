"""Which OT? How a pair is joined, which pairs are joined, and the map of least cost."""

import streamlit as st

st.header("Which “OT”?")
