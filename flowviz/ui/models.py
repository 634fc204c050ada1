"""The networks that this session trained or opened, and the choice of those to compare."""

import streamlit as st

from flowviz.checkpoints import Card
from flowviz.checkpoints.lookup import OPENED
from flowviz.schedulers import scheduler
from flowviz.studies._flow import PANELS
from flowviz.ui import cache, data_picker, field_picker, paths, state
from flowviz.ui.notices import escaped

CHOSEN = "compare-models:chosen"
"""Session state: the names of the networks to compare."""


def listed() -> None:
    """Draws the list of the networks of this session, the newest first, and a button for them."""
    cards = {name: card for name, card in cache.cards().items() if OPENED.fullmatch(name)}
    if not cards:
        return
    with st.expander(f"Models of this session ({len(cards)})"):
        st.markdown("\n".join(f"- {escaped(_line(card))}" for card in cards.values()))
        st.session_state[CHOSEN] = [n for n in st.session_state.get(CHOSEN, ()) if n in cards]
        chosen = st.multiselect(
            "Side by side",
            list(cards),
            format_func=lambda name: field_picker.own_label(cards[name]),
            max_selections=len(PANELS),
            key=CHOSEN,
            help="Two to four networks of one data set, from the same noise.",
            wrap=True,
        )
        reason = _reason([cards[name] for name in chosen])
        if reason:
            st.caption(reason)
        if st.button("Compare these", disabled=bool(reason)):
            state.follow("compare", link([cards[n] for n in chosen]))


def link(cards: list[Card]) -> dict[str, str]:
    """The query of Compare with these networks, one a panel."""
    panels = dict(zip(PANELS, cards, strict=False))
    return {
        "data": cards[0].data,
        "panels": str(len(cards)),
        "field": "learned",
        **paths.link(**{panel: card.path for panel, card in panels.items()}),
        **{f"{panel}-network": card.name for panel, card in panels.items()},
    }


def _line(card: Card) -> str:
    path, data = scheduler(card.path).label, data_picker.dataset(card.data).label
    return f"{field_picker.own_label(card)}: {data} on {path}"


def _reason(chosen: list[Card]) -> str:
    """Why these networks cannot be compared; "" if they can."""
    if len(chosen) < 2:
        return "Choose two or more."
    if len({card.data for card in chosen}) > 1:
        return "Choose networks of one data set, which all panels share."
    shapes = {card.path for card in chosen if paths.name_of(card.path) == paths.OWN}
    return (
        "A link has one shaped schedule: choose networks of one shape." if len(shapes) > 1 else ""
    )
