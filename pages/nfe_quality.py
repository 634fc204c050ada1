"""What samples cost: error and quality against function evaluations, on each path and solver."""

import streamlit as st

from flowviz.ui import nfe_quality

st.header("What do samples cost? Error and quality against NFE")
settings = nfe_quality.controls()
nfe_quality.show(settings)
