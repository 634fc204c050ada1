"""Two networks learn their velocity fields before your eyes."""

import streamlit as st

from flowviz.ui import train
from flowviz.ui.ot_note import headed

headed("Train: watch a field being learned")
settings = train.controls()
train.buttons(settings)
train.board(settings)
train.outcome(settings)
st.caption(train.note(settings))
train.figures()
