"""The entries of every path menu, and the schedule that the visitor shapes.

A menu and its link say `shaped`; which shape is meant is one text for the whole session, beside it
in the link as `shape=a1=0.2,s1=0.8`, so that a schedule shaped on one page is used on all at once.
Configs, caches and checkpoints see its full spec, `shaped:a1=0.2,s1=0.8`, like any other path's.
"""

from collections.abc import Mapping

import streamlit as st

from flowviz.schedulers import SCHEDULERS, Shaped, scheduler, spec_of
from flowviz.ui import state

__all__ = [
    "OWN",
    "SLUG",
    "also_own",
    "labels",
    "link",
    "name_of",
    "select",
    "shape",
    "shape_into",
    "spec",
]

OWN = "shaped"
"""The name of the visitor's schedule in SCHEDULERS, in menus and in links."""

SLUG = "shape"
"""The link's parameter that says which shape it has."""

HELD = "paths:shape"
"""Where the session keeps it, for all pages."""


def labels() -> dict[str, str]:
    """The label of each path by its name, in the order of menus."""
    return SCHEDULERS.labels


def spec(name: str) -> str:
    """The full spec of a path of `labels`: the visitor's shape in place of "shaped"."""
    return spec_of(shape()) if name == OWN else name


def name_of(spec: str) -> str:
    """The name in menus of a path's spec, the inverse of `spec`."""
    return spec.partition(":")[0]


def select(
    slug: str,
    label: str,
    default: str,
    *,
    more: Mapping[str, str] | None = None,
    help: str | None = None,
) -> str:
    """A menu of paths; returns the full spec of the chosen one.

    Args:
        slug: in the URL.
        label: what the menu shows above itself.
        default: a name of `labels`, or a slug of `more`.
        more: entries after the paths, by slug with their labels; returned as they are.
        help: what a path is here.
    """
    return spec(state.select(slug, label, {**labels(), **(more or {})}, default, help=help))


def also_own(*, label: str = "Your own schedule, too", help: str) -> str:
    """A switch, off at first, that adds the visitor's schedule to what a page shows.

    Returns:
        Its full spec, or "" while the switch is off.
    """
    help += " Shape it under *Schedules*; the link carries it."
    return spec(OWN) if state.toggle("own", label, False, help=help) else ""


def shape() -> Shaped:
    """The visitor's schedule; the page's link brings it, and carries it from then on."""
    state.visit(st.session_state.get("url:page", ""))
    state.keep(SLUG, st.session_state.get(HELD, ""), "")  # as another page left it
    text = state.opened(SLUG, "", _checked)  # or as this page's link says
    return shape_into(text)


def shape_into(text: str) -> Shaped:
    """Makes a text such as "a1=0.2,s1=0.8" the visitor's schedule on all pages; returns it.

    Raises:
        ValueError: it is none; the message says what must hold, and the one before it stays.
    """
    made = scheduler(f"{OWN}:{text}")
    assert isinstance(made, Shaped)
    st.session_state[HELD] = spec_of(made).partition(":")[2]
    state.keep(SLUG, st.session_state[HELD], "")
    return made


def link(**paths: str) -> dict[str, str]:
    """The query parameters of a link whose path menus, by slug, show paths of these specs."""
    shapes = [spec.partition(":")[2] for spec in paths.values() if name_of(spec) == OWN]
    return {slug: name_of(spec) for slug, spec in paths.items()} | (
        {SLUG: shapes[0]} if shapes and shapes[0] else {}
    )


def _checked(text: str) -> str:
    if not text:
        raise ValueError("a shape names values, such as a1=0.2,s1=0.8")
    return spec_of(scheduler(f"{OWN}:{text}")).partition(":")[2]
