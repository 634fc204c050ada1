"""Path menus, and the schedule that the user shapes.

Menus and links name the user's schedule `shaped`. Its shape is stored once per session and is a
separate parameter of a link, `shape=a1=0.2,s1=0.8`. Configs, caches and checkpoints contain the
full spec, `shaped:a1=0.2,s1=0.8`.
"""

from collections.abc import Mapping

import streamlit as st

from flowviz.paths import AffinePath
from flowviz.schedulers import SCHEDULERS, Shaped, scheduler, spec_of
from flowviz.ui import state, widgets

OWN = "shaped"
"""The name of the user's schedule in SCHEDULERS, in menus and in links."""

SLUG = "shape"
"""The link's parameter with the shape."""

HELD = "paths:shape"
"""Session state: the shape, for all pages."""


def labels() -> dict[str, str]:
    """The label of each path by its name, in the order of menus."""
    return SCHEDULERS.labels


def spec(name: str) -> str:
    """The full spec of a path of `labels`, with the user's shape for "shaped"."""
    return spec_of(shape()) if name == OWN else name


def name_of(spec: str) -> str:
    """The name in menus of a path's spec, the inverse of `spec`."""
    return spec.partition(":")[0]


def select(
    slug: str,
    label: str,
    default: str,
    *,
    extra: Mapping[str, str] | None = None,
    source: str = "",
    help: str | None = None,
) -> str:
    """A menu of paths; returns the full spec of the chosen one.

    Args:
        slug: in the URL.
        label: of the menu.
        default: a name of `labels`, or a slug of `extra`.
        extra: entries after the paths, by slug with their labels; returned as they are.
        source: spec of the data set at t = 0; the menu has the paths that can start there.
        help: help text of the menu.
    """
    offered = {name: each for name, each in labels().items() if _starts(name, source)}
    return spec(widgets.select(slug, label, {**offered, **(extra or {})}, default, help=help))


def _starts(name: str, source: str) -> bool:
    """Whether a path of `labels` can start at a data set."""
    try:
        AffinePath(scheduler(spec(name)), source)
    except ValueError:
        return False
    return True


def also_own(*, label: str = "Add your own schedule", help: str) -> str:
    """A switch that adds the user's schedule to a page; returns its full spec, or "" if off."""
    help += " Shape it under *Schedules*; the link carries it."
    return spec(OWN) if widgets.toggle("own", label, False, help=help) else ""


def shape() -> Shaped:
    """The user's schedule, from the link or the session."""
    state.visit(st.session_state.get("url:page", ""))
    state.keep(SLUG, st.session_state.get(HELD, ""), "")  # as set on another page
    text = state.opened(SLUG, "", _checked)  # or as in the link
    return shape_into(text)


def shape_into(text: str) -> Shaped:
    """Sets the user's schedule on all pages from a text such as "a1=0.2,s1=0.8"; returns it.

    Raises:
        ValueError: the text is invalid; the previous schedule is kept.
    """
    shape = scheduler(f"{OWN}:{text}")
    assert isinstance(shape, Shaped)
    st.session_state[HELD] = spec_of(shape).partition(":")[2]
    state.keep(SLUG, st.session_state[HELD], "")
    return shape


def link(**paths: str) -> dict[str, str]:
    """The query parameters of a link with these specs of paths, by the slugs of their menus."""
    shapes = [spec.partition(":")[2] for spec in paths.values() if name_of(spec) == OWN]
    return {slug: name_of(spec) for slug, spec in paths.items()} | (
        {SLUG: shapes[0]} if shapes and shapes[0] else {}
    )


def _checked(text: str) -> str:
    if not text:
        raise ValueError("a shape needs values, such as a1=0.2,s1=0.8")
    return spec_of(scheduler(f"{OWN}:{text}")).partition(":")[2]
