"""flowviz: `streamlit run app.py` opens the laboratory. Navigation only; each page is a file."""

import streamlit as st

from flowviz.ui import state, theme

PAGES = {
    # file: (section, title, icon), in the order of the menu; sections: See, Understand, Measure
    "compare": ("See", "Compare", ":material/compare:"),
    "train": ("See", "Train", ":material/model_training:"),
    "nfe_quality": ("Measure", "Cost and quality", ":material/speed:"),
    "straighter": ("Measure", "Is straighter better?", ":material/straighten:"),
    "likelihood": ("Measure", "Likelihood", ":material/landscape:"),
    "figure4": ("Measure", "The paper's Fig. 4", ":material/grid_on:"),
}

st.set_page_config(page_title="flowviz", page_icon="flowviz/ui/icon.svg", layout="wide")
sections: dict[str, list] = {"See": [], "Understand": [], "Measure": []}
for name, (section, title, icon) in PAGES.items():
    sections[section].append(
        st.Page(f"pages/{name}.py", title=title, icon=icon, default=name == "compare")
    )
page = st.navigation({name: pages for name, pages in sections.items() if pages}, position="top")
theme.dress()
state.visit(page.url_path)
page.run()
