"""The navigation of the app, started by `streamlit run app.py`; each page is a file."""

import streamlit as st

from flowviz.ui import lecture, state, theme

PAGES = {
    # file: (section, title, icon), in the order of the menu; sections: See, Understand, Measure
    "home": ("", "Home", ":material/home:"),
    "compare": ("See", "Compare", ":material/compare:"),
    "images": ("See", "Images", ":material/image:"),
    "lecture": ("See", "Lectures", ":material/slideshow:"),
    "train": ("See", "Train", ":material/model_training:"),
    "why": ("Understand", "Conditional and marginal", ":material/alt_route:"),
    "schedules": ("Understand", "Schedules", ":material/timeline:"),
    "particles": ("Understand", "ODE or SDE", ":material/grain:"),
    "cfm": ("Understand", "CFM = FM", ":material/balance:"),
    "which_ot": ("Understand", "Which OT?", ":material/conversion_path:"),
    "learned_path": ("Understand", "A learned path", ":material/route:"),
    "glossary": ("Understand", "Glossary", ":material/dictionary:"),
    "nfe_quality": ("Measure", "Cost and quality", ":material/speed:"),
    "straighter": ("Measure", "Is straighter better?", ":material/straighten:"),
    "likelihood": ("Measure", "Likelihood", ":material/landscape:"),
    "figure4": ("Measure", "The paper's Fig. 4", ":material/grid_on:"),
    "study": ("Measure", "All studies", ":material/list:"),
}

now = lecture.running()
st.set_page_config(page_title="flowviz", page_icon="flowviz/ui/icon.svg", layout="wide")
menu: dict[str, list] = {"": [], "See": [], "Understand": [], "Measure": []}
for name, (section, title, icon) in PAGES.items():
    menu[section].append(
        st.Page(f"pages/{name}.py", title=title, icon=icon, default=name == "home")
    )
page = st.navigation(
    {section: pages for section, pages in menu.items() if pages},
    position="hidden" if now else "top",
)
if not page.url_path and st.query_params:  # Compare was the default page: old links open it
    st.switch_page("pages/compare.py", query_params=st.query_params.to_dict())
theme.dress()
state.visit(page.url_path or "home")
state.restrict(show=None)
if now:
    lecture.banner(now)
page.run()
