"""Images from noise: two paths from the same noise, what they cost and when a picture forms."""

import streamlit as st

from flowviz.ui import images
from flowviz.ui.ot_note import headed

headed("Images from noise")
view = images.pick_view()
settings = images.controls(view)
try:
    images.show(view, settings)
except ValueError as error:
    st.error(f"These images cannot be drawn. {error}", icon=":material/error:")
images.opener()
