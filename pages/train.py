"""Live training of two networks, with samples and curves."""

import streamlit as st

from flowviz.ui.opening import headed
from flowviz.ui.train import keeping, losses, running
from flowviz.ui.train.settings import controls, main_finding, network_kind, note

settings = controls()
trainings = running.trainings(settings)
headed(
    f"Train a {network_kind(settings.configs)}",
    see=f"{'Two networks that learn' if len(trainings) > 1 else 'A network that learns'} to move "
    "noise to your data, with live samples and losses.",
    notice=main_finding(trainings),
)
running.buttons(settings)
running.board(settings)
keeping.outcome(settings)
st.caption(note(trainings))
losses.figures()
