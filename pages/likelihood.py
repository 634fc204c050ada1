"""How likely a field finds each point: log-densities by the change of variables."""

import streamlit as st

from flowviz.ui import likelihood
from flowviz.ui.ot_note import headed

headed("Likelihood: which density does a flow make?")
try:
    likelihood.show(likelihood.pick())
except ValueError as error:
    st.error(f"This density cannot be shown. {error}", icon=":material/error:")
