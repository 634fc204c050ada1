"""The Likelihood page: controls of the field and the backward solver, and five views."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from flowviz.experiments.evaluate import FlowField
from flowviz.experiments.fields import EXACT, exact_name
from flowviz.fields import FlowMap
from flowviz.schedulers import LEARNED, LearnedReference, scheduler
from flowviz.studies import STUDIES, Study
from flowviz.studies._backward import GridConfig
from flowviz.studies.density import DensitiesConfig
from flowviz.studies.kl import KlConfig
from flowviz.studies.likelihood import LikelihoodsConfig
from flowviz.studies.point import START, PointStudyConfig
from flowviz.studies.study import C
from flowviz.ui import cache, controls, data_picker, paths, state, study_view, widgets
from flowviz.ui.field_picker import LIVE, choose, networks

VIEWS = {
    "point": "One point",
    "beside": "Learned and exact",
    "evolution": "Over time",
    "kl": "KL over time",
    "table": "All fields of this data",
}


@dataclass(frozen=True)
class Page:
    """The settings of the page.

    Attributes:
        values: values of the settings by name.
        live: fields of this session by name.
        fields: all networks of the data set by name.
    """

    values: Mapping[str, Any]
    live: Mapping[str, FlowField]
    fields: tuple[str, ...]

    def config(self, kind: type[C], **more: object) -> C:
        """The config of a study."""
        return kind.build({**self.values, **more})


def pick() -> Page:
    """Draws the sidebar."""
    with st.sidebar:
        data = data_picker.pick(help="Data set of the density.")
        all_models = _models(data)
        models = {
            key: each for key, each in all_models.items() if not isinstance(each[3], FlowMap)
        }
        slug = widgets.select(
            "model",
            "Field",
            {name: label for name, (label, *_) in models.items()},
            next(iter(models)),
            help="A network trained on this data set, or the exact field of a path. With an exact "
            "field the change of variables must give the exact density: a check of the solver.",
        )
        if len(models) < len(all_models):
            st.caption("A flow map has no density of its own, so none is offered here.")
        _, path, field, _ = models[slug]
        hide = ("data", "path", "probes", "seed")
        values = controls.pick(GridConfig, hide=hide)
        if values["divergence"] == "hutchinson":
            values |= controls.pick(GridConfig, only=("probes", "seed"))
    values |= {"data": data, "path": path, "field": field}
    live = {
        name: field
        for _, _, name, field in models.values()
        if field is not None and name.startswith("live:")
    }
    names = tuple(name for _, _, name, _ in models.values() if name != EXACT)
    return Page(values, live, names or (exact_name(data, path),))


def _models(data: str) -> dict[str, tuple[str, str, str, FlowField | None]]:
    """The fields of a data set by slug: label, path, name and, if loaded, the field.

    Networks come first, starting with conditional OT.
    """
    models = {}
    for kind, path_label in (paths.labels() | {LEARNED: LearnedReference.label}).items():
        path = paths.spec(kind)
        for name in networks(data, path):
            card = cache.cards().get(name)
            label = f"trained here on {path_label}"
            if card is not None:
                label = f"{card.method} on {scheduler(card.path).label}"
            if kind == LEARNED:
                label = f"{path_label}, {'trained here' if card is None else card.method}"
            if any(label == other for other, *_ in models.values()):
                label = f"{label} ({name})"
            slug = f"{LIVE}-{kind}" if name == LIVE else name
            models[slug] = label, *choose(data, path, name)
    for kind, label in paths.labels().items():
        models[f"exact-{kind}"] = f"exact field on {label}", paths.spec(kind), EXACT, None
    return models


def show(page: Page) -> None:
    """The chosen view."""
    view = widgets.segmented("view", "View", VIEWS, "point", label_visibility="collapsed")
    if view == "point":
        _point(page)
    elif view == "beside":
        t = widgets.number("t", "Time t", 0.0, 1.0, 1.0, step=0.05, format="%.3f")
        _show(page, STUDIES["density"], page.config(DensitiesConfig, t=t))
    elif view == "evolution":
        config = page.config(DensitiesConfig, over_time=True)
        _show(page, STUDIES["density"], config, place="evolution")
    elif view == "kl":
        config = page.config(KlConfig, method=KlConfig().method, tol=KlConfig().tol)
        _show(page, STUDIES["kl"], config)
    else:
        config = LikelihoodsConfig(data=page.values["data"], fields=page.fields)
        _show(page, STUDIES["likelihood"], config)


def _show(page: Page, study: Study[C, Any], config: C, *, place: str = "") -> None:
    study_view.show(study, config, live=page.live, place=place, invite="")


def _point(page: Page) -> None:
    if not state.is_restricted():  # a lecture has a text of its own
        st.markdown("**Follow one point:** click the map, or enter its coordinates.")
    first, second, _ = st.columns([1, 1, 2])
    with first:
        x = widgets.number("x", "x₁", -8.0, 8.0, START[0], step=0.1, format="%.3f")
    with second:
        y = widgets.number("y", "x₂", -8.0, 8.0, START[1], step=0.1, format="%.3f")
    study_view.show(
        STUDIES["point"],
        page.config(PointStudyConfig, x=x, y=y),
        live=page.live,
        invite="",
        on_click={"log-density": _clicked},
    )


def _clicked() -> None:
    """Sets the coordinates to the point that was clicked on the map."""
    points = st.session_state["point-log-density"].selection.points
    if points:
        state.keep("x", float(points[0]["x"]), START[0])
        state.keep("y", float(points[0]["y"]), START[1])
