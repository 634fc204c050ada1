"""flowviz: `streamlit run app.py` opens the laboratory. Navigation only; each page is a file."""

import streamlit as st

from flowviz.ui import state, theme

PAGES = {
    # file: (title, icon)
    "compare": ("Compare", ":material/compare:"),
    "train": ("Train", ":material/model_training:"),
    "nfe_quality": ("Cost and quality", ":material/speed:"),
    "straighter": ("Is straighter better?", ":material/straighten:"),
    "likelihood": ("Likelihood", ":material/landscape:"),
    "figure4": ("The paper's Fig. 4", ":material/grid_on:"),
}

st.set_page_config(page_title="flowviz", page_icon="flowviz/ui/icon.svg", layout="wide")
page = st.navigation(
    [
        st.Page(f"pages/{name}.py", title=title, icon=icon, default=name == "compare")
        for name, (title, icon) in PAGES.items()
    ]
)
theme.dress()
state.visit(page.url_path)
page.run()
