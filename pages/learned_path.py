"""A learned path: the way from noise to data as something that a network chooses."""

import streamlit as st

from flowviz.ui import learned_path
from flowviz.ui.ot_note import headed

headed("A learned path: what if a network chose the way?")
settings = learned_path.controls()
try:
    learned_path.show(settings)
except ValueError as error:
    st.error(f"This cannot be measured. {error}", icon=":material/error:")
