"""Theorem 2 of Lipman et al. 2022: the conditional loss has the marginal loss's gradient."""

import streamlit as st

from flowviz.ui import cfm
from flowviz.ui.ot_note import headed

headed("CFM = FM: why one may regress on a single pair")
settings = cfm.controls()
cfm.theorem()
try:
    left, right = st.columns(2)
    with left:
        cfm.losses(settings)
    with right:
        cfm.gradients(settings)
    cfm.target(settings)
except ValueError as error:
    st.error(f"This cannot be measured. {error}", icon=":material/error:")
