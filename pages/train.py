"""Live training of two networks, with samples and curves."""

import streamlit as st

from flowviz.ui.opening import headed
from flowviz.ui.train import keeping, losses, running
from flowviz.ui.train.settings import controls, note

headed(
    "Train a velocity field",
    see="Two networks that learn to move noise to your data, with live samples and losses.",
    notice="No loss reaches 0: each path has its own [floor](floor). Judge by the "
    "samples, not by the loss.",
)
settings = controls()
running.buttons(settings)
running.board(settings)
keeping.outcome(settings)
st.caption(note(settings))
losses.figures()
