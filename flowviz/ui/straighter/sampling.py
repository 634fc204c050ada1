"""The second claim: the cost of samples on all data sets."""

import streamlit as st

from flowviz.datasets import DATASETS
from flowviz.studies.all_data_sets import STUDY, AllDataSetsConfig
from flowviz.ui import controls, state, study_view

__all__ = ["section"]

MEASURES = ("sliced-w2", "histogram-tv")


def section(data: str) -> None:
    """The chosen data set at once; all data sets with the switch."""
    with st.sidebar:
        values = controls.pick(
            AllDataSetsConfig, hide=("grid", "n"), offered={"measure": lambda _: MEASURES}
        )
        every = state.toggle(
            "every",
            f"All {len(DATASETS)} data sets",
            False,
            help="Measures conditional OT and VP diffusion on each data set, about a minute.",
        )
    opened = data if data in DATASETS else next(iter(DATASETS))
    config = AllDataSetsConfig.build(values | {"sets": () if every else (opened,)})
    study_view.show(STUDY, config, place="straighter-nfe", invite="")
