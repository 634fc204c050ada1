"""The server and the navigation of the app, started by `streamlit run app.py`."""

import streamlit as st

from flowviz.device import tune_allocator
from flowviz.ui import first_paint, loading, navigation

PAGES = {
    # file: (section, title, icon), in the order of the menu
    "home": ("", "Home", ":material/home:"),
    "compare": ("Watch", "Compare", ":material/compare:"),
    "figure4": ("Watch", "Density evolution", ":material/grid_on:"),
    "why": ("Watch", "Vector field", ":material/alt_route:"),
    "particles": ("Watch", "ODE or SDE", ":material/grain:"),
    "images": ("Watch", "Images", ":material/image:"),
    "train": ("Train", "Train", ":material/model_training:"),
    "learned_path": ("Train", "A learned path", ":material/route:"),
    "nfe_quality": ("Measure", "NFE and quality", ":material/speed:"),
    "straighter": ("Measure", "Is straighter better?", ":material/straighten:"),
    "likelihood": ("Measure", "Likelihood", ":material/landscape:"),
    "study": ("Measure", "All studies", ":material/list:"),
    "which_ot": ("Understand", "Which OT?", ":material/conversion_path:"),
    "cfm": ("Understand", "CFM = FM", ":material/balance:"),
    "schedules": ("Understand", "Schedules", ":material/timeline:"),
    "lecture": ("Understand", "Lectures", ":material/slideshow:"),
    "glossary": ("Understand", "Glossary", ":material/dictionary:"),
}

NO_SIDEBAR = {"home", "schedules", "lecture", "glossary"}


def run() -> None:
    """Shows the page of the address."""
    loading.wait()
    from flowviz.ui import housekeeping, lecture, limits, notices, opening, state, theme

    now = lecture.running()
    st.set_page_config(page_title="flowviz", page_icon=theme.ICON, layout="wide")
    if refusal := limits.refusal():
        notices.failed(refusal, "This server cannot start.")
        st.stop()
    housekeeping.visit()
    menu: dict[str, list] = {}
    for name, (section, title, icon) in PAGES.items():
        entry = st.Page(f"pages/{name}.py", title=title, icon=icon, default=name == "home")
        menu.setdefault(section, []).append(entry)
    page = st.navigation(menu, position="hidden" if now else "top")
    back = state.by_history()
    # Compare was the default page: old links open it. Back shows the home page, not Compare again.
    if not page.url_path and st.query_params and not back:
        navigation.go("compare", st.query_params.to_dict())
    # A link to a lecture may name the page Lectures in the place of the step's page.
    if now and page.url_path == "lecture" and now.step.page != "lecture":
        lecture.open_step(now.name, now.number, now.interval)
    theme.dress(sidebar=(page.url_path or "home") not in NO_SIDEBAR)
    state.visit(page.url_path or "home", again=back)
    opening.begin()
    state.restrict(show=None)
    if now:
        lecture.banner(now)
    page.run()
    opening.code()
    state.complete()


if __name__ == "__main__":
    run()
else:  # the server imports this file once; then it executes it for each run of a page
    tune_allocator()
    navigation.ignore_late_requests()
    sidebars = {"" if name == "home" else name: name not in NO_SIDEBAR for name in PAGES}
    app = st.App(__file__, lifespan=loading.at_start, routes=first_paint.routes(sidebars))
