"""Widgets whose values live in the URL, see `flowviz.ui.state`."""

import math
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from typing import Any, Literal, TypeVar

import streamlit as st

from flowviz.bounds import MAX_SEED
from flowviz.settings import Setting
from flowviz.ui import state

T = TypeVar("T")
Number = TypeVar("Number", int, float)

MAX_TEXT = 40
"""Characters of a line of text."""

NONE = "none"
"""The value in a link of a menu without a selection: an empty value would be lost."""


def select(
    slug: str,
    label: str,
    options: Mapping[str, str],
    default: str,
    *,
    help: str | None = None,
) -> str:
    """A menu; returns the chosen slug of `options`, which maps slugs to labels."""
    return _choice(slug, options, default, partial(st.selectbox, label), help)


def menu(label: str, options: Mapping[str, str], chosen: str = "", **widget: Any) -> str:
    """A menu that is not in the URL; returns the slug of `options`, at first `chosen`."""
    slugs = list(options)
    index = slugs.index(chosen) if chosen in slugs else 0
    return st.selectbox(label, slugs, index, format_func=options.__getitem__, **widget)


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
    texts = {str(n): text.format(n) for n in options}
    return int(select(slug, label, texts, str(default), help=help))


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
    draw = partial(st.segmented_control, label, required=True, label_visibility=label_visibility)
    return _choice(slug, options, default, draw, help)


def _choice(
    slug: str,
    options: Mapping[str, str],
    default: str,
    draw: Callable[..., str | None],
    help: str | None,
) -> str:
    """The chosen slug of `options`, from the widget that `draw` draws."""
    first = default if default in options else next(iter(options))
    return _control(
        slug,
        default,
        lambda raw: _one_of(raw, options),
        lambda **widget: draw(list(options), format_func=options.__getitem__, **widget) or default,
        fit=lambda chosen: chosen if chosen in options else first,
        help=help,
    )


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
            raise state.Invalid(reason, chosen[:max_chosen])
        return chosen

    def fit(chosen: list[str]) -> list[str]:
        available = [slug for slug in chosen if slug in options]
        return chosen if available == chosen else available or list(default)

    def draw(**widget: Any) -> list[str]:
        return st.multiselect(
            label,
            list(options),
            format_func=options.__getitem__,
            max_selections=max_chosen,
            wrap=True,
            **widget,
        )

    def write(chosen: list[str]) -> str:
        return ",".join(chosen) or NONE

    return tuple(_control(slug, list(default), parse, draw, fit=fit, write=write, help=help))


def several_of(
    setting: Setting, options: Mapping[str, str], default: Iterable[object]
) -> tuple[str, ...]:
    """The menu `several` of a setting."""
    return several(
        setting.slug,
        setting.label,
        options,
        tuple(map(str, default)),
        max_chosen=setting.max_chosen,
        help=setting.help,
    )


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

    def fit(value: int) -> int:
        if value in options or value in also:
            return value
        return min(options, key=lambda option: (abs(option - value), -option))

    def draw(*, key: str, **widget: Any) -> int:
        offered = sorted({*options, st.session_state[key]})
        return st.select_slider(label, offered, key=key, **widget)

    refusal = f"{{}} is not available here; available are {', '.join(map(str, options))}"
    parse = partial(_whole_number, fit=fit, refusal=refusal)
    return _control(slug, default, parse, draw, fit=fit, help=help)


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

    def fit(value: int) -> int:
        return _clip(value, low, high)

    def draw(*, key: str, help: str | None, disabled: bool) -> int:
        column: Any = st
        if dice:
            column, button_column = st.columns([4, 1], vertical_alignment="bottom", gap="small")
            button_column.button(
                ":material/casino:",
                key=f"{key}:dice",
                help=f"Draw another {label.lower()}",
                on_click=_roll,
                args=(key, low, min(high, 999_999)),
                width="stretch",
                disabled=disabled,
            )
        bounds = {"min_value": low, "max_value": high, "step": step}
        return int(column.number_input(label, **bounds, key=key, help=help, disabled=disabled))

    parse = partial(
        _whole_number, fit=fit, refusal=f"it must lie between {low} and {high}; got {{}}"
    )
    return _control(slug, default, parse, draw, fit=fit, help=help)


def seed(
    label: str = "Seed of the noise",
    default: int = 0,
    *,
    slug: str = "seed",
    help: str | None = None,
) -> int:
    """A field for a seed, with a button that draws another."""
    return integer(slug, label, 0, MAX_SEED, default, dice=True, help=help)


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
            raise ValueError(f"{raw!r} is not a number") from None
        if not (math.isfinite(value) and low <= value <= high):
            raise ValueError(f"it must lie between {low:g} and {high:g}; got {value:g}")
        return value

    bounds = {"min_value": low, "max_value": high, "step": step}
    draw = partial(st.number_input, label, **bounds, format=format)
    return _control(
        slug,
        default,
        parse,
        lambda **widget: float(draw(**widget)),
        fit=lambda value: _clip(float(value), low, high),
        write=_exact,
        help=help,
    )


def toggle(slug: str, label: str, default: bool, *, help: str | None = None) -> bool:
    """A switch; 1 or 0 in the URL."""

    return _control(
        slug,
        default,
        lambda raw: _one_of(raw, {"1": "on", "0": "off"}) == "1",
        partial(st.toggle, label),
        write=lambda on: "1" if on else "0",
        help=help,
    )


def text(
    slug: str,
    label: str,
    default: str,
    *,
    help: str | None = None,
    placeholder: str | None = None,
) -> str:
    """A line of text of at most MAX_TEXT characters."""

    def parse(raw: str) -> str:
        if len(raw) > MAX_TEXT:
            raise ValueError(f"it must have at most {MAX_TEXT} characters; got {len(raw)}")
        return raw

    draw = partial(st.text_input, label, max_chars=MAX_TEXT, placeholder=placeholder)
    return _control(slug, default, parse, draw, help=help)


def _control(
    slug: str,
    default: T,
    parse: Callable[[str], T],
    draw: Callable[..., T],
    *,
    help: str | None,
    fit: Callable[[T], T] = lambda value: value,
    write: Callable[[T], str] = str,
) -> T:
    """The value of a control, which is read from the link once and then written to the URL.

    Args:
        slug: in the URL.
        default: not written to the URL.
        parse: converts the text in the link, or raises ValueError.
        draw: draws the widget with this key, this help and whether it is disabled.
        help: help text; the reason of `set_aside` comes before it.
        fit: replaces a value that is not available any more.
        write: the text in the URL.
    """
    value, key = state.opened(slug, default, parse), state.key_of(slug)
    if (available := fit(value)) is not value:
        st.session_state[key] = value = available
    if state.is_drawn(slug):
        reason = state.disabled(slug)
        help = " ".join(part for part in (reason, help) if part) or None
        value = draw(key=key, help=help, disabled=reason is not None)
    return state.publish(slug, value, default, write)


def _roll(key: str, low: int, high: int) -> None:
    """Sets another random number, different from the current one."""
    span = min(high, low + 999) - low  # at most three digits
    value = low + secrets.randbelow(span)
    st.session_state[key] = value + (value >= st.session_state[key])


def _one_of(raw: str, options: Mapping[str, str]) -> str:
    if raw in options:
        return raw
    similar = get_close_matches(raw, options, n=1)
    hint = f" (did you mean {similar[0]!r}?)" if similar else ""
    quoted = raw if len(raw) <= 40 else raw[:40] + "…"
    raise ValueError(f"there is no {quoted!r}{hint}; there are {', '.join(options)}")


def _whole_number(raw: str, fit: Callable[[int], int], refusal: str) -> int:
    try:
        value = int(raw)
    except ValueError:
        raise ValueError(f"{raw[:40]!r} is not a whole number") from None
    if fit(value) != value:
        raise state.Invalid(refusal.format(value), fit(value))
    return value


def _exact(value: float) -> str:
    """The shortest text that is read as exactly this number."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def _clip(value: Number, low: Number, high: Number) -> Number:
    return min(max(value, low), high)
