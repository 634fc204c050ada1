"""Controls that live in the URL: a link reproduces the view.

Each control has a slug, in the URL, and a label, on the page. When a page is opened, its link is
read once and checked; an invalid value is replaced with a notice. From then on the URL follows the
controls; default values are left out. (Streamlit's own bind="query-params" would put labels in the
URL and ignores invalid values.)

A page that is opened again without a link keeps the values of its controls.
"""

import math
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from typing import Any, Literal, TypeVar

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from flowviz.bounds import MAX_SEED
from flowviz.ui import navigation
from flowviz.ui.notices import escaped

T = TypeVar("T")
Number = TypeVar("Number", int, float)

NONE = "none"
"""The value in a link of a menu without a selection: an empty value would be lost."""


def by_history() -> bool:
    """Whether this run follows Back or Forward of the browser."""
    context = get_script_run_ctx()
    return bool(getattr(context, "is_history_navigation", False))


def visit(page: str, *, again: bool = False) -> None:
    """Sets the current page; app.py calls it once per run, before the code of the page.

    The link is read if the page is another one than before, or `again` if it was read before.
    """
    navigation.arrived()
    if st.session_state.get("url:page") != page or again:
        link = st.query_params.to_dict()
        if link or again:
            _forget(page)  # values that a link leaves out are the defaults
        st.session_state["url:page"] = page
        st.session_state["url:link"] = link


def reopen(page: str) -> None:
    """Resets the controls of a page, named as in `visit`, so that its next link is read."""
    _forget(page)
    st.session_state["url:page"] = None


def follow(page: str, link: Mapping[str, str]) -> None:
    """Opens a page by a link, also if it is the current page."""
    reopen(page)
    navigation.go(page, link)


def reset() -> None:
    """Sets the controls of the current page to their defaults; for a button."""
    reopen(st.session_state["url:page"])
    st.query_params.clear()


def _forget(page: str) -> None:
    """Removes the values of a page's controls, if it was visited before."""
    keys = [key for key in st.session_state if str(key).startswith(f"{page}:")]
    for key in keys:
        del st.session_state[key]
    if st.session_state.get("url:kept", {}).pop(page, None) or keys:
        st.session_state["url:opening"] = opening() + 1


def opening() -> int:
    """How often a visited page was opened by a link: part of the keys of canvases with state."""
    return st.session_state.get("url:opening", 0)


def restrict(show: Collection[str] | None, lock: Collection[str] = ()) -> None:
    """Draws only the controls in `show` (None: all) and `lock`; those in `lock` are disabled.

    Other controls have the values of the link or their defaults.
    """
    st.session_state["url:show"] = None if show is None else {*show, *lock}
    st.session_state["url:lock"] = set(lock)


def is_restricted() -> bool:
    """Whether some controls are hidden, as in a lecture."""
    return st.session_state.get("url:show") is not None


def is_drawn(slug: str) -> bool:
    """Whether a control is drawn, see `restrict`."""
    show = st.session_state.get("url:show")
    return show is None or slug in show


def selector(slug: str) -> str:
    """The CSS selector of the element of a control on this page."""
    return f".st-key-{st.session_state['url:page']}-{slug}"


def set_aside(reasons: Mapping[str, str]) -> None:
    """Disables the controls of these slugs on this page, each with its reason as help."""
    st.session_state["url:aside"] = (st.session_state.get("url:page", ""), dict(reasons))


def _aside(slug: str) -> str | None:
    """The reason why a control of this page is disabled by `set_aside`, or None."""
    page, reasons = st.session_state.get("url:aside", ("", {}))
    return reasons.get(slug) if page == st.session_state.get("url:page", "") else None


def _is_fixed(slug: str) -> bool:
    return slug in st.session_state.get("url:lock", ()) or _aside(slug) is not None


def _help(slug: str, help: str | None) -> str | None:
    """The help of a control, after the reason why it is disabled, if any."""
    return " ".join(part for part in (_aside(slug), help) if part) or None


def opened(slug: str, default: T, parse: Callable[[str], T]) -> T:
    """The initial value of a part with its own state, such as the player's clock.

    `parse` converts the text in the link or raises ValueError.
    """

    def checked(raw: str) -> T:
        try:
            return parse(raw)
        except ValueError as error:
            raise _Invalid(str(error).rstrip(".")) from None

    return st.session_state[_enter(slug, default, checked)]


def publish(slug: str, value: T, default: T, write: Callable[[T], str] = str) -> T:
    """Writes a value reported by a part with its own state to the URL; returns the value."""
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
    """A menu of whole numbers, formatted by `text`; returns the chosen one."""
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
    """A row of buttons for few options; returns the chosen slug."""
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
    max_chosen: int = 6,
    help: str | None = None,
) -> tuple[str, ...]:
    """A menu of 0 to `max_chosen` choices; returns their slugs in the order of choice."""
    assert NONE not in options, f"{NONE!r} is reserved for an empty selection"

    def parse(raw: str) -> list[str]:
        if raw == NONE:
            return []
        chosen = list(dict.fromkeys(_one_of(part, options) for part in raw.split(",")))
        if len(chosen) > max_chosen:
            reason = f"at most {max_chosen} can be chosen; got {len(chosen)}"
            raise _Invalid(reason, chosen[:max_chosen])
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
        max_selections=max_chosen,
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
    """A slider over `options`, ascending numbers; an unavailable choice moves to the nearest.

    Returns one of `options`, or one of `also`, which only a link can choose.
    """

    def parse(raw: str) -> int:
        value = _whole(raw)
        if value not in options and value not in also:
            near = _nearest(value, options)
            others = ", ".join(map(str, options))
            raise _Invalid(f"{value} is not available here; available are {others}", near)
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
    """A field for a whole number in low..high; `dice` adds a button that draws one."""

    def parse(raw: str) -> int:
        value = _whole(raw)
        if not low <= value <= high:
            raise _Invalid(
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
    """A field for a seed, with a button that draws another."""
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
    """A field for a number in low..high."""

    def parse(raw: str) -> float:
        try:
            value = float(raw)
        except ValueError:
            raise _Invalid(f"{raw!r} is not a number") from None
        if not (math.isfinite(value) and low <= value <= high):
            raise _Invalid(f"it must lie between {low:g} and {high:g}; got {value:g}")
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
    """A switch; 1 or 0 in the URL."""
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
    max_length: int = 40,
    check: Callable[[str], object] | None = None,
    help: str | None = None,
    placeholder: str | None = None,
) -> str:
    """A line of text of at most `max_length` characters.

    `check` raises ValueError if a text in a link is invalid.
    """

    def parse(raw: str) -> str:
        if len(raw) > max_length:
            raise _Invalid(f"it must have at most {max_length} characters; got {len(raw)}")
        if check is not None:
            try:
                check(raw)
            except ValueError as error:
                raise _Invalid(str(error).rstrip(".")) from None
        return raw

    key = _enter(slug, default, parse)
    if not is_drawn(slug):
        return _leave(slug, st.session_state[key], default)
    value = st.text_input(
        label,
        max_chars=max_length,
        key=key,
        help=_help(slug, help),
        placeholder=placeholder,
        disabled=_is_fixed(slug),
    )
    return _leave(slug, value, default)


def keep(slug: str, value: T, default: T) -> T:
    """Sets the value of a control and of the URL; returns the value.

    For controls of several widgets, and for those that a click elsewhere changes.
    """
    st.session_state[f"{st.session_state['url:page']}:{slug}"] = value
    return _leave(slug, value, default)


def _choice(
    slug: str, options: Mapping[str, str], default: str, draw: Callable[..., str | None]
) -> str:
    """The chosen slug of `options`, from the widget that `draw` draws."""
    key = _enter(slug, default, lambda raw: _one_of(raw, options))
    if st.session_state[key] not in options:
        st.session_state[key] = default if default in options else next(iter(options))
    chosen = st.session_state[key]
    if is_drawn(slug):
        shown = {"options": list(options), "format_func": options.__getitem__}
        chosen = draw(**shown, key=key, disabled=_is_fixed(slug))
    return _leave(slug, chosen or default, default)


class _Invalid(ValueError):
    """An invalid value in a link: the reason, and the value to use; None for the default."""

    def __init__(self, reason: str, instead: Any = None) -> None:
        super().__init__(reason)
        self.instead = instead


def _enter(slug: str, default: T, parse: Callable[[str], T]) -> str:
    """Sets the widget's value in the session state; returns the widget's key."""
    visit(st.session_state.get("url:page", ""))  # for a page that runs without app.py
    key = f"{st.session_state['url:page']}:{slug}"
    link = st.session_state["url:link"]
    if slug in link:
        raw = link.pop(slug)
        try:
            st.session_state[key] = parse(raw)
        except _Invalid as error:
            value = default if error.instead is None else error.instead
            st.session_state[key] = value
            st.toast(
                f"**This link's `{slug}` is invalid:** {escaped(error)}. "
                f"Showing {escaped(value)} instead.",
                icon=":material/link_off:",
                duration="infinite",
            )
    elif key not in st.session_state:
        st.session_state[key] = _kept().get(slug, default)
    return key


def _leave(slug: str, value: T, default: T, write: Callable[[T], str] = str) -> T:
    """Stores the control's value and writes it to the URL; returns the value."""
    _kept()[slug] = value
    wanted = None if value == default else write(value)
    if st.query_params.get(slug) != wanted:
        if wanted is None:
            del st.query_params[slug]
        else:
            st.query_params[slug] = wanted
    return value


def _kept() -> dict[str, Any]:
    """The last values of the controls of this page."""
    pages = st.session_state.setdefault("url:kept", {})
    return pages.setdefault(st.session_state["url:page"], {})


def _roll(key: str, low: int, high: int) -> None:
    """Sets another random number, different from the current one."""
    span = min(high, low + 999) - low  # at most three digits
    value = low + secrets.randbelow(span)
    st.session_state[key] = value + (value >= st.session_state[key])


def _one_of(raw: str, options: Mapping[str, str]) -> str:
    if raw in options:
        return raw
    near = get_close_matches(raw, options, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    shown = raw if len(raw) <= 40 else raw[:40] + "…"
    raise _Invalid(f"there is no {shown!r}{hint}; there are {', '.join(options)}")


def _whole(raw: str) -> int:
    try:
        return int(raw)
    except ValueError:
        raise _Invalid(f"{raw[:40]!r} is not a whole number") from None


def _nearest(value: int, options: Sequence[int]) -> int:
    return min(options, key=lambda option: (abs(option - value), -option))


def _exact(value: float) -> str:
    """The shortest text that is read as exactly this number."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def _several(chosen: Sequence[str]) -> str:
    return ",".join(chosen) or NONE


def _clip(value: Number, low: Number, high: Number) -> Number:
    return min(max(value, low), high)
