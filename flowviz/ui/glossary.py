"""Glossary terms on pages: a list with a search box, and tooltips in text."""

import re
from html import escape

import streamlit as st

from flowviz.glossary import glossary, term, tooltip, used_in
from flowviz.ui import widgets

_EXPLAINED = "glossary:explained"
"""The place of the page at which each term has its tooltip."""

_MARK = re.compile(r"\[([^\]]+)\]\(([a-z0-9-]+)\)")


def show() -> None:
    """Lists the terms that contain the text of the search box, in alphabetical order."""
    search = (
        widgets.text("search", "Search", "", placeholder="A term, e.g. NFE").strip().casefold()
    )
    terms = [
        each
        for each in sorted(glossary().values(), key=lambda each: each.term.casefold())
        if search in f"{each.term} {each.sentence} {each.more}".casefold()
    ]
    for each in terms:
        unit = f" *Unit: {each.unit}.*" if each.unit else ""
        st.markdown(f"**{each.term}**{unit}  \n{each.sentence} {each.more}")
    if not terms:
        st.info("No term contains this text.", icon=":material/search_off:")


def opened(*texts: str) -> None:
    """States that the top of the page has the tooltips of the terms that texts mark."""
    for _, name in _MARK.findall(" ".join(texts)):
        explained(name, "top")


def marked(text: str) -> str:
    """Text as HTML in which each `[words](id)` has the tooltip of the glossary term `id`.

    Raises:
        ValueError: there is no such term.
    """
    parts = _MARK.split(text)
    plain, words, names = parts[::3], parts[1::3], parts[2::3]
    spans = [*map(_span, words, names), ""]
    return "".join(f"{escape(each)}{span}" for each, span in zip(plain, spans, strict=True))


def begin() -> None:
    """Forgets which terms the page has explained; app.py calls it before the code of the page."""
    st.session_state[_EXPLAINED] = {}


def explained(name: str, place: str) -> bool:
    """Whether a term has its tooltip at this place of the page: the first one that uses it."""
    return st.session_state.setdefault(_EXPLAINED, {}).setdefault(name, place) == place


def terms_line(text: str, place: str) -> None:
    """Draws the terms that a text uses first on the page, each with its tooltip, in one line.

    `place` names the text, so that a fragment of the page that runs again has the same terms.
    """
    used = [_span(words, name) for name, words in used_in(text) if explained(name, place)]
    if used:
        st.html(f'<p class="fv-terms">Terms: {" · ".join(used)}</p>')


def helped(label: str, help: str) -> str:
    """The help of a control, and the sentence of each term that its label or its help uses."""
    terms = [tooltip(name) for name, _ in used_in(f"{label} {help}")]
    return "\n\n".join(filter(None, [help, *(each for each in terms if each not in help)]))


def _span(words: str, name: str) -> str:
    """Words with a tooltip that pointer, keyboard and touch open."""
    tip = escape(term(name).sentence, quote=True)
    return (
        f'<span class="fv-term" tabindex="0" data-tip="{tip}" '
        f'aria-label="{escape(words)}: {tip}">{escape(words)}</span>'
    )
