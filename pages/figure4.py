"""Figure 4 of Lipman et al. 2022: when the pattern of the board appears on each path."""

import streamlit as st

from flowviz.experiments.figure4 import DATA
from flowviz.studies.figure4 import STUDY, Figure4Config, picture
from flowviz.ui import controls, field_picker, state, study_view
from flowviz.ui.notices import failing
from flowviz.ui.opening import headed
from flowviz.ui.sheet_pdf import WIDTH_MM, sheet_pdf

headed(
    "Density evolution: the paper's Figure 4, live",
    see="The density of each path at ten times, from noise to the checkerboard, as in Figure 4 of "
    "Lipman et al. 2022.",
    notice="Half of the pattern is there by t = 0.58 on conditional OT, and by t = 0.81 "
    "on VP diffusion.",
)
with st.sidebar:
    values, live = controls.pick(Figure4Config), {}
with failing("This sheet cannot be made."):
    if values["own"]:
        best = next(iter(field_picker.networks(DATA, values["own"])), "")
        _, name, network = field_picker.choose(DATA, values["own"], best)
        values["own_field"], live = name, {} if network is None else {name: network}
    config = Figure4Config.build(values)
    quick = config.densities == "histograms" or config.cells == 54
    study_view.show(
        STUDY, config, live=live, invite="" if quick else None, filename="flowviz-figure4"
    )
    if not state.is_restricted():
        st.page_link(
            "pages/compare.py",
            label="Any other time, such as t = 0.5, on Compare",
            icon=":material/compare:",
            query_params={"layers": "density", "t": "0.5"},
        )
    result = study_view.known(STUDY, config)
    if result is not None:
        st.download_button(
            f"PDF for print, {WIDTH_MM:g} mm wide",
            lambda result=result: sheet_pdf(picture(config, result), title=STUDY.title),
            "flowviz-figure4.pdf",
            "application/pdf",
            key="figure4-pdf",
            icon=":material/picture_as_pdf:",
            on_click="ignore",
            help="Text stays text; densities are pictures of one pixel per cell; light theme.",
        )
