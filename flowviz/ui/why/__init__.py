"""The page "Vector field": a point to drag, Figures 2, 3 and 8, four predictions."""

import streamlit as st

from flowviz.experiments.fields import EXACT
from flowviz.studies import STUDIES
from flowviz.studies.conditional import ConditionalStudyConfig
from flowviz.studies.conversions import ConversionsConfig
from flowviz.ui import canvas, controls, data_picker, paths, state, study_view, widgets
from flowviz.ui.field_picker import choose, networks
from flowviz.ui.why import touch

SECTIONS = {
    "touch": "Through one point",
    "figures": "The paper's Figures 2, 3 and 8",
    "conversions": "Four predictions, one field",
}
TEXTS = {
    "touch": "**Why can the network learn from single pairs?** Each data point has a "
    "conditional trajectory through *x* at time *t*. The mean of their velocities, weighted by "
    "the posterior probability of each data point, is the marginal velocity, "
    "$u_t(x) = \\mathbb E[u_t(x \\mid x_1) \\mid x_t = x]$ (eq. 8). Drag *x*, move *t*.",
    "figures": "**What a network must learn for one data point** ★: the conditional score and "
    "velocity at four times, and the conditional trajectories.",
    "conversions": "**Velocity, score, noise and data prediction are one field.** Given $x$ and "
    "$t$ each follows from any other by $u = \\dot\\alpha\\, m + \\dot\\sigma\\, \\hat\\epsilon$, "
    "$\\;x = \\alpha\\, m + \\sigma\\, \\hat\\epsilon$ and $s = -\\hat\\epsilon / \\sigma$. The "
    "conversions magnify errors by different factors.",
}


def show() -> None:
    """The chosen section with its controls.

    Raises:
        ValueError: a setting is not valid.
    """
    section = widgets.segmented(
        "section", "Section", SECTIONS, "touch", label_visibility="collapsed"
    )
    if not state.is_restricted():  # a lecture has a text of its own
        st.container(key=f"why-text-{section}").markdown(TEXTS[section])
    if section != "touch":
        canvas.forget(touch.KEY)  # it is mounted again with the controls
    if section == "figures":
        with st.sidebar:
            values = controls.pick(ConditionalStudyConfig)
        study_view.show(STUDIES["conditional"], ConditionalStudyConfig.build(values))
        return
    with st.sidebar:
        data = data_picker.pick(help="Distribution at the end of the path.")
        path = paths.select(
            "path", "Path", "ot", help="The path that joins noise and a data point."
        )
    if section == "touch":
        touch.section(data, path)
    else:
        _conversions(data, path)


def _conversions(data: str, path: str) -> None:
    with st.sidebar:
        options = {EXACT: "exact", **networks(data, path)}
        name = EXACT
        if len(options) > 1:
            name = widgets.select(
                "field",
                "Field",
                options,
                EXACT,
                help="The exact field, or a network's velocity, from which the others follow.",
            )
        t = widgets.number("t", "Time t", 0.0, 1.0, 0.6, step=0.05, format="%.3g")
    field, live = EXACT, {}
    if name != EXACT:
        path, field, loaded = choose(data, path, name)
        if loaded is not None:
            live = {field: loaded}
    config = ConversionsConfig(data=data, path=path, field=field, t=t)
    study_view.show(STUDIES["conversions"], config, live=live)
