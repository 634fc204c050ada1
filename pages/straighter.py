"""Is straighter better? Three claims, each measured before the visitor's eyes."""

import streamlit as st

from flowviz.ui import straighter
from flowviz.ui.ot_note import headed

headed("Is straighter better?")
data, claim = straighter.choose()
try:
    straighter.show(data, claim)
except ValueError as error:
    st.error(f"This cannot be measured. {error}", icon=":material/error:")
