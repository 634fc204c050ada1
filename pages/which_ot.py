"""Which OT? How a pair is joined, which pairs are joined, and the map of least cost."""

import streamlit as st

from flowviz.ui import which_ot

st.header("Which “OT”? A path, a coupling, a map")
config, path = which_ot.controls()
which_ot.meanings()
try:
    which_ot.pairs(config, path)
    which_ot.flows(config, path)
    which_ot.costs(config, path)
except ValueError as error:
    st.error(f"This cannot be shown. {error}", icon=":material/error:")
