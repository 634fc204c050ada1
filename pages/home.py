"""The home page: two moving panels, a tour, and links to views worth a look."""

import streamlit as st

from flowviz.ui import home
from flowviz.ui.notices import failing

left, right = st.columns([2, 3], vertical_alignment="center", gap="large")
with left:
    home.welcome()
with right, failing("This flow cannot be shown."):
    home.moving()
home.cards()
