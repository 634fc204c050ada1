"""The Schedules page: a plot to shape a schedule, next to the curves of all paths."""

from itertools import chain
from typing import Any

import streamlit as st

from flowviz.canvases import shaper as canvas
from flowviz.canvases.shaper import Values
from flowviz.experiments.schedules import presets
from flowviz.schedulers import Shaped, spec_of
from flowviz.studies import STUDIES
from flowviz.studies.schedules import SchedulesConfig
from flowviz.ui import controls, navigation, paths, state, study_view
from flowviz.ui.canvas import component
from flowviz.ui.notices import failed

KEY = "shaper"
"""The key of the plot."""
REFUSED = "schedules:refused"
"""Session state: why the last shape is invalid."""

_shaper = component("flowviz_shaper", "shaper")


def show() -> None:
    """Draws the plot of the user's schedule next to the curves of all paths, then the findings."""
    shape = paths.shape()
    right = st.container()
    if state.is_drawn(paths.SLUG):
        left, right = st.columns([5, 12], gap="medium")
        with left:
            st.markdown("**Your own schedule**")
            _plot(shape)
            _links(shape)
    with right:
        values = controls.pick(SchedulesConfig)
        study_view.show(STUDIES["schedules"], SchedulesConfig.build(values))


def _plot(shape: Shaped) -> None:
    """The plot, whose points are dragged or moved by keys, and the error of an invalid shape."""
    _shaper(key=KEY, data=_content(shape.values), on_shape_change=_on_shape_change)
    refused = st.session_state.pop(REFUSED, "")
    if refused:
        failed(refused, "This shape cannot be used.")


@st.cache_data(show_spinner=False)
def _content(values: Values) -> dict[str, Any]:
    return canvas.content(values, presets(), min_step=Shaped.MIN_STEP)


def _on_shape_change() -> None:
    """Takes the shape of a released point, before the page runs again."""
    values = _values(st.session_state[KEY].get("shape"))
    if values is None:
        return
    names = [f"{letter}{i}" for letter in "as" for i in range(1, 5)]
    text = ",".join(f"{n}={v!r}" for n, v in zip(names, chain(*values), strict=True))
    try:
        paths.shape_into(text)
    except ValueError as error:
        st.session_state[REFUSED] = str(error)


def _values(report: Any) -> Values | None:
    """The browser's report as values, or None if it is invalid."""
    try:
        alpha, sigma = (tuple(float(v) for v in report[name]) for name in ("alpha", "sigma"))
    except (KeyError, TypeError, ValueError):
        return None
    return (alpha, sigma) if len(alpha) == len(sigma) == len(Shaped.KNOTS) else None


def _links(shape: Shaped) -> None:
    """Buttons that open other pages with the schedule."""
    st.caption(
        "Your schedule is in every menu of paths as *your own schedule*, with its exact field. "
        "Pages that compare fixed paths have a switch for it. The link contains it."
    )
    with st.container(horizontal=True, gap="small"):
        for label, icon, page, link in (
            (
                "Compare it with OT",
                ":material/compare:",
                "compare",
                {"field": "exact", **paths.link(left="ot", right=spec_of(shape))},
            ),
            (
                "Train on it",
                ":material/model_training:",
                "train",
                paths.link(left="ot", right=spec_of(shape)),
            ),
        ):
            if st.button(label, icon=icon, key=f"schedules-{page}"):
                navigation.go(page, link)
