"""The Glossary page: all terms, and a search box."""

import streamlit as st

from flowviz.glossary import glossary
from flowviz.ui import state


def show() -> None:
    """Lists the terms that contain the text of the search box, in alphabetical order."""
    search = state.text("search", "Search", "", placeholder="A term, e.g. NFE").strip().casefold()
    found = [
        term
        for term in sorted(glossary().values(), key=lambda term: term.term.casefold())
        if search in f"{term.term} {term.sentence} {term.more}".casefold()
    ]
    for term in found:
        unit = f" *Unit: {term.unit}.*" if term.unit else ""
        st.markdown(f"**{term.term}**{unit}  \n{term.sentence} {term.more}")
    if not found:
        st.info("No term contains this text.", icon=":material/search_off:")
