"""Live training of two networks, with samples and curves."""

import streamlit as st

from flowviz.ui import train
from flowviz.ui.ot_note import headed

headed("Train a velocity field")
settings = train.controls()
train.buttons(settings)
train.board(settings)
train.outcome(settings)
st.caption(train.note(settings))
train.figures()
