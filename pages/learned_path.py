"""A learned path: the conditional trajectories from noise to data, chosen by a network."""

import streamlit as st

from flowviz.schedulers import LEARNED
from flowviz.studies import STUDIES
from flowviz.ui import cache, controls, field_picker, study_view
from flowviz.ui.notices import failing
from flowviz.ui.opening import headed

FLOWS = [STUDIES[f"learned-{name}"] for name in ("trajectories", "straightness", "cost")]
training = STUDIES["learned-training"]

headed(
    "A learned path: trajectories chosen by a network",
    see="A path that is a network, trained with its [velocity field](velocity-field), "
    "next to OT and VP.",
    notice="Whether a straighter path, with a smaller [S](straightness), has a worse "
    "likelihood in [nats](nats).",
)
with st.sidebar:
    values = controls.pick(*(study.config for study in reversed(FLOWS)))
    with st.expander("Learn a path here"):
        to_train = {"data": values["data"]} | controls.pick(training.config, hide=("data",))

with failing("This cannot be measured."):
    config = training.config.build(to_train)
    trained = study_view.known(training, config)
    if trained is not None:
        cache.adopt(config.data, LEARNED, trained.training.learned)
    fields, live = field_picker.learned_path_fields(values["data"], values["own"])
    trajectories, straightness, cost = FLOWS
    values["fields"] = fields
    study_view.show(trajectories, trajectories.config.build(values), live=live)
    st.subheader("Straightness and likelihood")
    study_view.show(straightness, straightness.config.build(values), live=live, invite="")
    st.subheader("Cost of samples")
    study_view.show(cost, cost.config.build(values), live=live, invite="")
    with st.expander("What is learned, and which parts are ours"):
        st.markdown(
            "**Forward process** (neural flow diffusion, Bartosh et al. 2024, arXiv 2404.12940, "
            "with our clock, t = 0 noise): "
            "$x_t = F_\\varphi(x_0, t, x_1) = m_\\varphi(t, x_1) + s_\\varphi(t, x_1)\\, x_0$, "
            "noise at $t = 0$ and data at $t = 1$ by construction. Its conditional velocity is "
            "$f = \\dot m + \\dot s\\,(x - m)/s$, its conditional score $g = (m - x)/s^2$. A "
            "second network predicts the data, $\\hat x_1 = h_\\theta(t, x)$; the flow that is "
            "sampled follows $f(t, x \\mid \\hat x_1)$."
        )
        st.markdown(
            "**Both are trained by one bound**, without simulation: $-\\log p(x_1) \\le "
            "\\mathbb E \\int_0^1 \\frac{1}{2\\nu^2} \\lVert f - \\hat f + \\tfrac{\\nu^2}{2} "
            "(g - \\hat g) \\rVert^2 dt$ + prior + reconstruction, with a learned strength "
            "$\\nu(t)$ of the diffusion. **The penalty** adds "
            "$\\lambda\\, \\mathbb E \\lVert \\tfrac{d}{dt} \\hat f(t, x_t) \\rVert^2$, the "
            "acceleration along the flow."
        )
        st.markdown(
            "The form of the diffusion term is that of the authors' notebook. The reconstruction "
            "term, the sines of time in $m$ and $s$ and the difference quotient in the penalty "
            "are ours. That this is the authors' penalty (NFDM-OT) is from memory, not checked "
            "against their text. A learned path is not of the form $\\alpha_t x_1 + \\sigma_t "
            "x_0$, so that even its exact flow may move a particle to another end than the "
            "other paths. Whether straightness helps with unlimited compute is a question of the "
            "authors of the study, not of Bartosh et al."
        )
    st.subheader("Learn a path here")
    kind = f"with λ = {config.penalty:g}" if config.penalty else "with the bound alone"
    study_view.show(
        training,
        config,
        invite=f"{config.steps:,} steps {kind}: about {config.seconds:.0f} s. The learned path is "
        "then shown with the others above, and on Compare.",
        button="Learn the path",
        lane="long",
    )
