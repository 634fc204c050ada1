"""One path, all paths: why a network may regress on conditional velocities."""

import streamlit as st

from flowviz.ui import why
from flowviz.ui.ot_note import headed

headed("One path, all paths")
try:
    why.show()
except ValueError as error:
    st.error(f"This cannot be shown. {error}", icon=":material/error:")
