"""Three meanings of OT: the path of a pair, the coupling, and the map of minimal cost."""

import streamlit as st

from flowviz.studies import STUDIES
from flowviz.ui import controls, state, study_view
from flowviz.ui.notices import failing
from flowviz.ui.opening import headed

pairings, flow, cost = (STUDIES[n] for n in ("pairings", "coupled-flow", "transport-cost"))

headed(
    "Which “OT”: path, coupling or map?",
    see="Three things that are called OT, on the same two samples.",
    notice="Straight pairs do not make a straight flow. Compare [S](straightness) of the "
    "couplings: it is 0 where all trajectories are straight.",
    which_ot=False,
)
with st.sidebar:
    values = controls.pick(flow.config, pairings.config, cost.config)
MEANINGS = (
    "| | chooses | what is optimal |\n|---|---|---|\n"
    "| **Conditional OT path**, Lipman et al. 2022, eq. 20–23 | *how* a pair is joined, "
    "${x_t = (1-t)\\,x_0 + t\\,x_1}$ | the map to *one* data point |\n"
    "| **Minibatch-OT coupling**, Pooladian et al. 2023, Tong et al. 2023 | *which* pairs are "
    "joined, within a batch | the pairing of that batch |\n"
    "| **Optimal transport map**, Brenier 1991 | which noise goes to which data, without batches "
    "| the cost ${\\mathbb E\\,\\lvert x_1 - x_0\\rvert^2 = W_2^2}$ |\n"
    "| **Reflow**, Liu et al. 2022, thm 3.5 | the pairs of a trained flow | nothing, but the cost "
    "never rises |\n"
)
if not state.is_restricted():  # a lecture has a text of its own
    st.container(key="meanings").markdown(MEANINGS)
with failing("This cannot be shown."):
    st.subheader("The pairs of each coupling")
    study_view.show(pairings, pairings.config.build(values))
    st.subheader("The marginal flow of each coupling")
    study_view.show(flow, flow.config.build(values), invite="")
    st.subheader("From independent pairs to the optimal map: larger minibatches")
    study_view.show(cost, cost.config.build(values), invite="")
