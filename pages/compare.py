"""Two to four paths from the same start to the same data, side by side with one clock."""

import streamlit as st

from flowviz.studies._flow import CompareResult
from flowviz.ui import compare, panels
from flowviz.ui.notices import failing
from flowviz.ui.opening import headed

page = panels.pick()
noticed = headed(
    f"From {compare.origin(page)}: {compare.count(page)}, one clock",
    see=compare.movement(page),
    notice=compare.main_finding(page.config, compare.known(page)),
)
result = None
with failing("This flow cannot be shown."):
    result = compare.sides(page)


@st.fragment
def pictures(result: CompareResult) -> None:
    view = compare.player(page, result, compare.known_densities(page, result))
    compare.downloads(page, result, view)
    compare.densities(page, result, view)
    compare.findings(page, result)
    compare.to_training(page, result)
    compare.figures(page, result, view)


if result is not None:
    noticed(compare.main_finding(page.config, result))
    pictures(result)
    compare.note(result)
