"""One path run three ways: by pairs, by its flow and by a diffusion of the same densities."""

import streamlit as st

from flowviz.ui import particles
from flowviz.ui.ot_note import headed

headed("ODE or SDE: different ways, the same densities")
settings = particles.controls()
try:
    ways = particles.ways(settings)
except ValueError as error:
    st.error(f"These particles cannot be shown. {error}", icon=":material/error:")
    st.stop()
particles.player(settings, ways)
st.markdown(particles.lesson(settings, ways))
particles.figures(settings, ways)
particles.equations(settings)
