"""Error and quality of samples against function evaluations, by path and solver."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from flowviz.datasets import DATASETS, dataset
from flowviz.metrics import METRICS, unbounded
from flowviz.studies._settings import fixed_methods
from flowviz.studies.all_data_sets import STUDY as ALL
from flowviz.studies.all_data_sets import AllDataSetsConfig
from flowviz.studies.nfe_quality import STUDY as CURVES
from flowviz.studies.nfe_quality import NfeQualityConfig
from flowviz.studies.steps import STUDY as STEPS
from flowviz.studies.steps import StepsConfig
from flowviz.ui import controls, study_view, widgets
from flowviz.ui.notices import failing
from flowviz.ui.opening import headed

VIEWS = {"curves": "Cost and quality", "steps": "Adaptive steps", "all": "All data sets"}


def measures(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The metrics that apply to the chosen data set."""
    everywhere = unbounded(dataset(values["data"]).distribution)
    return tuple(
        name
        for name, metric in METRICS.items()
        if not (everywhere and metric.needs == "distribution")
    )


headed(
    "NFE and quality: error against cost",
    see="The distance of samples to the data against [NFE](nfe), one curve for each field "
    "and solver.",
    notice="Compare the NFE at which two curves reach the same error: in the paper OT needs "
    "60% of the NFE of diffusion. A click in the legend shows a field or data set alone.",
)
with st.sidebar:
    values = controls.pick(NfeQualityConfig, offered={"measure": measures})
view = widgets.segmented("view", "View", VIEWS, "curves", label_visibility="collapsed")
with failing("This study cannot be shown."):
    if view == "curves":
        study_view.show(CURVES, NfeQualityConfig.build(values), invite="")
    elif view == "steps":
        with st.container(horizontal=True):
            solver = controls.pick(StepsConfig, hide=("data", "fields", "n", "seed"))
        study_view.show(STEPS, StepsConfig.build(values | solver), invite="")
    else:
        method = widgets.select("one", "Solver", fixed_methods(), "midpoint")
        study_view.show(
            ALL,
            AllDataSetsConfig.build(values | {"method": method}),
            invite=f"Compares conditional OT and VP diffusion on all {len(DATASETS)} data sets, "
            "with the settings of the sidebar: trained networks where there are both, exact "
            "fields elsewhere. About a minute.",
            button="Measure all data sets",
        )
