"""Figure 4 of Lipman et al. 2022, live: which path shows the board first, and with how little."""

import streamlit as st

from flowviz.ui import figure4
from flowviz.ui.ot_note import headed

headed("The paper's Figure 4, live")
settings = figure4.controls()
try:
    panels = figure4.made(settings)
except ValueError as error:
    st.error(f"This sheet cannot be painted. {error}", icon=":material/error:")
    st.stop()
if panels is not None:
    st.markdown(figure4.lesson(settings, panels))
    figure4.drawn(settings, panels)
