"""Glossary terms on pages: a list with a search box, and tooltips in text."""

import re
from html import escape

import streamlit as st

from flowviz.glossary import glossary, term
from flowviz.ui import state


def show() -> None:
    """Lists the terms that contain the text of the search box, in alphabetical order."""
    search = state.text("search", "Search", "", placeholder="A term, e.g. NFE").strip().casefold()
    found = [
        each
        for each in sorted(glossary().values(), key=lambda each: each.term.casefold())
        if search in f"{each.term} {each.sentence} {each.more}".casefold()
    ]
    for each in found:
        unit = f" *Unit: {each.unit}.*" if each.unit else ""
        st.markdown(f"**{each.term}**{unit}  \n{each.sentence} {each.more}")
    if not found:
        st.info("No term contains this text.", icon=":material/search_off:")


def marked(text: str) -> str:
    """Text as HTML in which each `[words](id)` has the tooltip of the glossary term `id`.

    Raises:
        ValueError: there is no such term.
    """
    parts = re.split(r"\[([^\]]+)\]\(([a-z0-9-]+)\)", text)
    plain, words, names = parts[::3], parts[1::3], parts[2::3]
    spans = [*map(_span, words, names), ""]
    return "".join(f"{escape(each)}{span}" for each, span in zip(plain, spans, strict=True))


def terms_line(text: str) -> None:
    """Draws the terms of the glossary that a text uses, each with its tooltip, in one line."""
    used = [
        _span(found[0], name)
        for name, each in glossary().items()
        if each.match and (found := re.search(each.match, text))
    ]
    if used:
        st.html(f'<p class="fv-terms">Terms: {" · ".join(used)}</p>')


def _span(words: str, name: str) -> str:
    """Words with a tooltip that pointer, keyboard and touch open."""
    tip = escape(term(name).sentence, quote=True)
    return (
        f'<span class="fv-term" tabindex="0" data-tip="{tip}" '
        f'aria-label="{escape(words)}: {tip}">{escape(words)}</span>'
    )
