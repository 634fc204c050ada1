"""Live training of two networks, with samples and curves."""

import streamlit as st

from flowviz.ui import train
from flowviz.ui.opening import headed

headed(
    "Train a velocity field",
    see="Two networks that learn to move noise to your data, with live samples and losses.",
    notice="No loss reaches 0: each path has its own [floor](floor). Judge by the "
    "samples, not by the loss.",
)
settings = train.controls()
train.buttons(settings)
train.board(settings)
train.outcome(settings)
st.caption(train.note(settings))
train.figures()
