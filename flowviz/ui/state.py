"""Controls that live in the URL: a link reproduces the view.

Each control has a slug, which the URL carries, and a label, which the menu shows. When a page is
opened, its link is read once and checked; a value that will not do falls back with one notice that
says what came and what would be valid. From then on the controls are the truth and the URL follows
them: a value that is the default leaves it, so that short links stay short. (Streamlit's own
bind="query-params" would put labels in the URL and says nothing of a bad value.)

A page that is left and opened again without a link finds its controls as they were.
"""

import math
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from typing import Any, Literal, TypeVar

import streamlit as st

from flowviz.bounds import MAX_SEED
from flowviz.ui.notices import escaped

__all__ = [
    "budget",
    "count",
    "integer",
    "keep",
    "number",
    "reopen",
    "restrict",
    "seed",
    "segmented",
    "select",
    "set_aside",
    "several",
    "text",
    "toggle",
    "visit",
]

T = TypeVar("T")

NONE = "none"
"""What a link says of a menu of which nothing is chosen: an empty value would be lost."""


def visit(page: str) -> None:
    """Says which page is being shown; app.py calls it once a run, before the page's own code."""
    if st.session_state.get("url:page") != page:
        st.session_state["url:page"] = page
        st.session_state["url:link"] = st.query_params.to_dict()
        if st.session_state["url:link"]:
            _kept().clear()  # what a link leaves out is at its default


def reopen(page: str) -> None:
    """Forgets how the controls of a page stood, so that its next link is read as a first one is.

    `page` is what `visit` is given.
    """
    for key in [key for key in st.session_state if str(key).startswith(f"{page}:")]:
        del st.session_state[key]
    st.session_state.get("url:kept", {}).pop(page, None)
    st.session_state["url:page"] = None
    st.session_state["url:opening"] = opening() + 1


def opening() -> int:
    """How often a page was opened anew; a part that keeps a state of its own is keyed by it."""
    return st.session_state.get("url:opening", 0)


def restrict(show: Collection[str] | None, lock: Collection[str] = ()) -> None:
    """Draws only the controls in `show` (None: all) and `lock`; those in `lock` cannot be moved.

    A control that is not drawn keeps the value that its link or its default gives it.
    """
    st.session_state["url:show"] = None if show is None else {*show, *lock}
    st.session_state["url:lock"] = set(lock)


def is_restricted() -> bool:
    """Whether `restrict` is in force, as it is in a lecture."""
    return st.session_state.get("url:show") is not None


def is_drawn(slug: str) -> bool:
    """Whether a control is to be drawn, see `restrict`."""
    show = st.session_state.get("url:show")
    return show is None or slug in show


def set_aside(reasons: Mapping[str, str]) -> None:
    """Shows the controls of these slugs on this page, but unmovable, each with its reason.

    That is what the view at hand does not use; it holds until the page says otherwise.
    """
    st.session_state["url:aside"] = (st.session_state.get("url:page", ""), dict(reasons))


def _aside(slug: str) -> str | None:
    """Why the control of this page is set aside; None if it is not."""
    page, reasons = st.session_state.get("url:aside", ("", {}))
    return reasons.get(slug) if page == st.session_state.get("url:page", "") else None


def _is_fixed(slug: str) -> bool:
    return slug in st.session_state.get("url:lock", ()) or _aside(slug) is not None


def _help(slug: str, help: str | None) -> str | None:
    """The help of a control, after the reason why it is set aside, if it is."""
    return " ".join(part for part in (_aside(slug), help) if part) or None


def opened(slug: str, default: T, parse: Callable[[str], T]) -> T:
    """The value with which a part that keeps its own state opens, e.g. the player's clock.

    `parse` turns the link's text into a value or raises ValueError with a sentence.
    """

    def checked(raw: str) -> T:
        try:
            return parse(raw)
        except ValueError as error:
            raise _Refused(str(error).rstrip(".")) from None

    return st.session_state[_enter(slug, default, checked)]


def publish(slug: str, value: T, default: T, write: Callable[[T], str] = str) -> T:
    """Brings the URL up to a value that a part reports of itself; returns the value."""
    return _leave(slug, value, default, write)


def select(
    slug: str,
    label: str,
    options: Mapping[str, str],
    default: str,
    *,
    help: str | None = None,
) -> str:
    """A menu; returns the chosen slug of `options`, which maps slugs to labels."""
    draw = partial(st.selectbox, label, help=_help(slug, help))
    return _choice(slug, options, default, draw)


def count(
    slug: str,
    label: str,
    options: Sequence[int],
    default: int,
    *,
    text: str = "{:,}",
    help: str | None = None,
) -> int:
    """A menu of whole numbers, each shown as `text` puts it; returns the chosen one."""
    shown = {str(n): text.format(n) for n in options}
    return int(select(slug, label, shown, str(default), help=help))


def segmented(
    slug: str,
    label: str,
    options: Mapping[str, str],
    default: str,
    *,
    help: str | None = None,
    label_visibility: Literal["visible", "hidden", "collapsed"] = "visible",
) -> str:
    """A row of buttons, one of them pressed; for few options. Returns the chosen slug."""
    draw = partial(
        st.segmented_control,
        label,
        required=True,
        help=_help(slug, help),
        label_visibility=label_visibility,
    )
    return _choice(slug, options, default, draw)


def several(
    slug: str,
    label: str,
    options: Mapping[str, str],
    default: Sequence[str],
    *,
    most: int = 6,
    help: str | None = None,
) -> tuple[str, ...]:
    """A menu of which up to `most` may be chosen, or none; returns their slugs in their order."""
    assert NONE not in options, f"{NONE!r} is how a link says that nothing is chosen"

    def parse(raw: str) -> list[str]:
        if raw == NONE:
            return []
        chosen = list(dict.fromkeys(_one_of(part, options) for part in raw.split(",")))
        if len(chosen) > most:
            raise _Refused(f"at most {most} can be had at once; got {len(chosen)}", chosen[:most])
        return chosen

    key = _enter(slug, list(default), parse)
    kept = [slug for slug in st.session_state[key] if slug in options]
    if kept != list(st.session_state[key]):
        st.session_state[key] = kept or list(default)
    if not is_drawn(slug):
        return tuple(_leave(slug, list(st.session_state[key]), list(default), write=_several))
    chosen = st.multiselect(
        label,
        list(options),
        format_func=options.__getitem__,
        max_selections=most,
        key=key,
        help=_help(slug, help),
        disabled=_is_fixed(slug),
        wrap=True,
    )
    return tuple(_leave(slug, list(chosen), list(default), write=_several))


def budget(
    slug: str,
    label: str,
    options: Sequence[int],
    default: int,
    *,
    also: Collection[int] = (),
    help: str | None = None,
) -> int:
    """A slider over the numbers that can be had; a choice that no longer can moves to the nearest.

    Returns one of `options`, which ascend, or one of `also`, which a link may name too.
    """

    def parse(raw: str) -> int:
        value = _whole(raw)
        if value not in options and value not in also:
            near = _nearest(value, options)
            others = ", ".join(map(str, options))
            raise _Refused(f"{value} cannot be had here; on offer are {others}", near)
        return value

    key = _enter(slug, default, parse)
    chosen = st.session_state[key]
    if chosen in also:
        options = sorted({*options, chosen})
    elif chosen not in options:
        st.session_state[key] = _nearest(chosen, options)
    if not is_drawn(slug):
        return _leave(slug, st.session_state[key], default)
    chosen = st.select_slider(
        label, list(options), key=key, help=_help(slug, help), disabled=_is_fixed(slug)
    )
    return _leave(slug, chosen, default)


def integer(
    slug: str,
    label: str,
    low: int,
    high: int,
    default: int,
    *,
    dice: bool = False,
    help: str | None = None,
    step: int = 1,
) -> int:
    """A box for a whole number in low..high; with `dice`, a button beside it draws one."""

    def parse(raw: str) -> int:
        value = _whole(raw)
        if not low <= value <= high:
            raise _Refused(
                f"it must lie between {low} and {high}; got {value}", _clip(value, low, high)
            )
        return value

    key = _enter(slug, default, parse)
    st.session_state[key] = _clip(st.session_state[key], low, high)
    if not is_drawn(slug):
        return _leave(slug, st.session_state[key], default)
    box = {"min_value": low, "max_value": high, "step": step, "key": key}
    box |= {"help": _help(slug, help), "disabled": _is_fixed(slug)}
    if not dice:
        return _leave(slug, int(st.number_input(label, **box)), default)
    left, right = st.columns([4, 1], vertical_alignment="bottom", gap="small")
    with right:
        st.button(
            ":material/casino:",
            key=f"{key}:dice",
            help=f"Draw another {label.lower()}",
            on_click=_roll,
            args=(key, low, min(high, 999_999)),
            width="stretch",
            disabled=_is_fixed(slug),
        )
    with left:
        return _leave(slug, int(st.number_input(label, **box)), default)


def seed(
    label: str = "Seed of the noise",
    default: int = 0,
    *,
    slug: str = "seed",
    dice: bool = True,
    help: str | None = None,
) -> int:
    """A box for the seed of a random draw, with a button that draws another."""
    return integer(slug, label, 0, MAX_SEED, default, dice=dice, help=help)


def number(
    slug: str,
    label: str,
    low: float,
    high: float,
    default: float,
    *,
    format: str = "%g",
    step: float | None = None,
    help: str | None = None,
) -> float:
    """A box for a number in low..high."""

    def parse(raw: str) -> float:
        try:
            value = float(raw)
        except ValueError:
            raise _Refused(f"{raw!r} is not a number") from None
        if not (math.isfinite(value) and low <= value <= high):
            raise _Refused(f"it must lie between {low:g} and {high:g}; got {value:g}")
        return value

    key = _enter(slug, default, parse)
    st.session_state[key] = _clip(float(st.session_state[key]), low, high)
    value = st.session_state[key]
    if is_drawn(slug):
        value = st.number_input(
            label,
            min_value=low,
            max_value=high,
            step=step,
            format=format,
            key=key,
            help=_help(slug, help),
            disabled=_is_fixed(slug),
        )
    return _leave(slug, float(value), default, write=_exact)


def toggle(slug: str, label: str, default: bool, *, help: str | None = None) -> bool:
    """A switch; the URL says 1 or 0."""
    key = _enter(slug, default, lambda raw: _one_of(raw, {"1": "on", "0": "off"}) == "1")
    if is_drawn(slug):
        value = st.toggle(label, key=key, help=_help(slug, help), disabled=_is_fixed(slug))
    else:
        value = st.session_state[key]
    return _leave(slug, bool(value), default, write=lambda v: "1" if v else "0")


def text(
    slug: str,
    label: str,
    default: str,
    *,
    longest: int = 40,
    check: Callable[[str], object] | None = None,
    help: str | None = None,
    placeholder: str | None = None,
) -> str:
    """A line of text of at most `longest` characters.

    `check` raises ValueError, with a sentence, on a text that a link must not bring.
    """

    def parse(raw: str) -> str:
        if len(raw) > longest:
            raise _Refused(f"it must have at most {longest} characters; got {len(raw)}")
        if check is not None:
            try:
                check(raw)
            except ValueError as error:
                raise _Refused(str(error).rstrip(".")) from None
        return raw

    key = _enter(slug, default, parse)
    if not is_drawn(slug):
        return _leave(slug, st.session_state[key], default)
    value = st.text_input(
        label,
        max_chars=longest,
        key=key,
        help=_help(slug, help),
        placeholder=placeholder,
        disabled=_is_fixed(slug),
    )
    return _leave(slug, value, default)


def keep(slug: str, value: T, default: T) -> T:
    """Gives a control its value, where its own widget does not; returns the value.

    That is one made of several widgets, read by `opened`, or one that a click elsewhere moves.
    """
    st.session_state[f"{st.session_state['url:page']}:{slug}"] = value
    return _leave(slug, value, default)


def _choice(
    slug: str, options: Mapping[str, str], default: str, draw: Callable[..., str | None]
) -> str:
    """The slug chosen of `options` with the widget that `draw` makes."""
    key = _enter(slug, default, lambda raw: _one_of(raw, options))
    if st.session_state[key] not in options:
        st.session_state[key] = default if default in options else next(iter(options))
    chosen = st.session_state[key]
    if is_drawn(slug):
        shown = {"options": list(options), "format_func": options.__getitem__}
        chosen = draw(**shown, key=key, disabled=_is_fixed(slug))
    return _leave(slug, chosen or default, default)


class _Refused(ValueError):
    """A value of a link will not do: the reason, and what to show instead of the default."""

    def __init__(self, reason: str, instead: Any = None) -> None:
        super().__init__(reason)
        self.instead = instead


def _enter(slug: str, default: T, parse: Callable[[str], T]) -> str:
    """Puts the control's value where its widget will find it; returns the widget's key."""
    visit(st.session_state.get("url:page", ""))  # for a page that runs without app.py
    key = f"{st.session_state['url:page']}:{slug}"
    link = st.session_state["url:link"]
    if slug in link:
        raw = link.pop(slug)
        try:
            st.session_state[key] = parse(raw)
        except _Refused as refused:
            value = default if refused.instead is None else refused.instead
            st.session_state[key] = value
            st.toast(
                f"**This link's `{slug}` will not do:** {escaped(refused)}. "
                f"Showing {escaped(value)} instead.",
                icon=":material/link_off:",
                duration="infinite",
            )
    elif key not in st.session_state:
        st.session_state[key] = _kept().get(slug, default)
    return key


def _leave(slug: str, value: T, default: T, write: Callable[[T], str] = str) -> T:
    """Remembers the control's value and brings the URL up to it; returns the value."""
    _kept()[slug] = value
    wanted = None if value == default else write(value)
    if st.query_params.get(slug) != wanted:
        if wanted is None:
            del st.query_params[slug]
        else:
            st.query_params[slug] = wanted
    return value


def _kept() -> dict[str, Any]:
    """The values that the controls of this page had last."""
    pages = st.session_state.setdefault("url:kept", {})
    return pages.setdefault(st.session_state["url:page"], {})


def _roll(key: str, low: int, high: int) -> None:
    """Another number for the dice, and never the one that there was."""
    span = min(high, low + 999) - low  # three digits are easier to say aloud than six
    value = low + secrets.randbelow(span)
    st.session_state[key] = value + (value >= st.session_state[key])


def _one_of(raw: str, options: Mapping[str, str]) -> str:
    if raw in options:
        return raw
    near = get_close_matches(raw, options, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    shown = raw if len(raw) <= 40 else raw[:40] + "…"
    raise _Refused(f"there is no {shown!r}{hint}; there are {', '.join(options)}")


def _whole(raw: str) -> int:
    try:
        return int(raw)
    except ValueError:
        raise _Refused(f"{raw[:40]!r} is not a whole number") from None


def _nearest(value: int, options: Sequence[int]) -> int:
    return min(options, key=lambda option: (abs(option - value), -option))


def _exact(value: float) -> str:
    """The shortest text that is read as this very number."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def _several(chosen: Sequence[str]) -> str:
    return ",".join(chosen) or NONE


def _clip(value: T, low: T, high: T) -> T:
    return min(max(value, low), high)
