"""Theorem 2 of Lipman et al. 2022: the conditional loss has the marginal loss's gradient."""

import streamlit as st

from flowviz.studies import STUDIES
from flowviz.ui import controls, field_picker, study_view
from flowviz.ui.notices import failing
from flowviz.ui.opening import headed

losses, gradients, variance = (STUDIES[n] for n in ("losses", "gradients", "target-variance"))

headed(
    "CFM = FM: why training on single pairs works",
    see="The loss of training on single pairs (CFM), and the loss against the exact field (FM).",
    notice="The two losses differ by one constant, so that their gradients agree.",
)
with st.sidebar:
    values = controls.pick(gradients.config, variance.config, losses.config)
with st.expander("The theorem"):
    st.markdown(
        "Training needs the **marginal** velocity $u_t(x)$, but each sample gives only "
        "the velocity "
        "$\\dot x_t$ of its own pair. Theorem 2 of Lipman et al. (2022): the two losses "
        "differ by a "
        "constant, since $u_t(x) = \\mathbb E[\\dot x_t \\mid x_t = x]$, so that "
        "$\\nabla L_{\\mathrm{CFM}} = \\nabla L_{\\mathrm{FM}}$:\n\n"
        "$$\\begin{aligned}"
        "\\underbrace{\\mathbb E\\,\\lVert v_\\theta(t, x_t) - \\dot x_t\\rVert^2}"
        "_{L_{\\mathrm{CFM}}(\\theta)} &= \\underbrace{\\mathbb E\\,\\lVert v_\\theta(t, x_t) - "
        "u_t(x_t)\\rVert^2}_{L_{\\mathrm{FM}}(\\theta)} \\\\ &\\quad + \\underbrace{\\mathbb E\\,"
        "\\mathrm{tr}\\,\\mathrm{Cov}[\\dot x_t \\mid x_t]}_{\\text{does not depend on "
        "}\\theta}\\end{aligned}$$"
    )
with failing("This cannot be measured."):
    if values["network"] == "trained":
        more, live = field_picker.trained(values["data"], values["paths"])
    else:
        more, live = {}, {}
    left, right = st.columns(2)
    with left:
        st.subheader("The losses differ by one constant")
        study_view.show(losses, losses.config.build(values | more), live=live)
    with right:
        st.subheader("The gradients differ only by noise")
        study_view.show(gradients, gradients.config.build(values | more), live=live)
    st.subheader("The constant is the variance of the target, and minibatch OT lowers it")
    study_view.show(variance, variance.config.build(values))
