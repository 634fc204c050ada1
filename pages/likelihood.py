"""How likely a field finds each point: log-densities by the change of variables."""

import streamlit as st

from flowviz.ui import likelihood
from flowviz.ui.ot_note import headed

headed("Likelihood: what density does a flow make?")
settings = likelihood.controls()
try:
    likelihood.show(settings)
except ValueError as error:
    st.error(f"This density cannot be shown. {error}", icon=":material/error:")
