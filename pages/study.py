"""Any study by its name, with a control for each of its settings."""

import streamlit as st

from flowviz.studies import STUDIES
from flowviz.ui import controls, study_view, widgets
from flowviz.ui.notices import failing
from flowviz.ui.opening import headed

titles = {name: STUDIES[name].title for name in STUDIES}
headed(
    "All studies",
    see="Figures, findings and numbers of one study, with a control for each of its settings.",
    notice="python -m flowviz experiment NAME prints the same findings.",
)
with st.sidebar:
    name = widgets.select("name", "Study", titles, next(iter(titles)))
    study = STUDIES[name]
    values = controls.pick(study.config)
st.subheader(study.title)
with failing("This study cannot be shown."):
    study_view.show(study, study.config.build(values))
