"""Two paths carry the same noise to the same data, side by side under one clock."""

import streamlit as st

from flowviz.ui import compare
from flowviz.ui.ot_note import headed

settings = compare.controls()
try:
    panels = compare.sides(settings)
except ValueError as error:
    st.error(f"This flow cannot be shown. {error}", icon=":material/error:")
    st.stop()


@st.fragment
def pictures() -> None:
    view = compare.player(panels, compare.planes(panels))
    compare.learn(settings, panels, view)
    st.markdown(compare.lesson(panels))
    compare.twin(settings, panels, view)


headed("From noise to data: two paths, one clock")
pictures()
compare.which_ot(panels)
