"""The choice of velocity fields: the networks of this session, checkpoints and exact fields."""

from collections.abc import Mapping, Sequence
from typing import Any

from flowviz.checkpoints import Card
from flowviz.checkpoints.lookup import OPENED
from flowviz.experiments.evaluate import FlowField
from flowviz.experiments.fields import (
    EXACT,
    PREFIX,
    FieldRef,
    exact_name,
    label_of,
    pinned,
    short_name,
)
from flowviz.experiments.theorem2 import NEW
from flowviz.objectives import OBJECTIVES
from flowviz.schedulers import LEARNED
from flowviz.settings import Setting
from flowviz.studies._learned_path import default_fields
from flowviz.ui import cache, paths, widgets

LIVE = "live"
"""The network that this session trained."""


def networks(data: str, path: str) -> dict[str, str]:
    """The networks trained on a data set and a path, by slug with their labels, best first.

    The order is: the network of this session, checkpoints that this visit opened, the shipped one,
    other checkpoints on a path of this kind, with any parameters and objective. A shaped schedule
    must have exactly this shape.
    """
    options = {LIVE: "just trained here"} if cache.adopted(data, path) else {}
    cards = [
        card
        for card in cache.cards().values()
        if card.data == data and path in (card.path, _kind(card.path))
    ]
    opened = [card for card in cards if OPENED.fullmatch(card.name)]
    for card in opened:
        options[card.name] = own_label(card)
    stored = [card for card in cards if card not in opened]
    for card in sorted(stored, key=lambda card: (card.name != f"{data}-{path}", card.name)):
        options[card.name] = _with_method(card.name, card)
    return options


def own_label(card: Card) -> str:
    """What a network of this visit is called in menus and lists."""
    return f"{_with_method(short_name(pinned(card)), card)}, {card.steps:,} steps"


def _with_method(label: str, card: Card) -> str:
    """A label with the training method if it does not name it, but for flow matching.

    Menus are narrow: they would cut the end of a long label.
    """
    named = card.method == OBJECTIVES["flow"].label or label.endswith(f"-{card.objective}")
    return label if named else f"{label} ({card.method})"


def _kind(path: str) -> str:
    """The name of a path's spec; the whole spec of a shaped schedule."""
    name = path.split(":")[0]
    return path if name == paths.OWN else name


def choose(data: str, path: str, name: str) -> tuple[str, str, FlowField | None]:
    """Path spec, field name and, if it is loaded, the field of one of `networks`.

    Without such a network ("" for `name`) this is the exact field.
    """
    if name == LIVE:
        trained = cache.adopted(data, path)
        if trained is not None:
            return path, *trained
    card = cache.cards().get(name)
    if card is None:
        return path, EXACT, None
    # The name includes the content: results of an overwritten checkpoint are not reused.
    return card.path, pinned(card), FieldRef.of(pinned(card)).field


def trained(
    data: str, paths: Sequence[str]
) -> tuple[dict[str, tuple[str, ...]], dict[str, FlowField]]:
    """The best network of each path, as settings `paths` and `networks`, and the loaded fields.

    The name of a path without a network is NEW.
    """
    choices = [choose(data, path, next(iter(networks(data, path)), "")) for path in paths]
    named = {
        "paths": tuple(spec for spec, _, _ in choices),
        "networks": tuple(NEW if field is None else name for _, name, field in choices),
    }
    return named, {name: field for _, name, field in choices if field is not None}


def learned_path_fields(data: str, own_path: str) -> tuple[tuple[str, ...], dict[str, FlowField]]:
    """The fields of the page on learned paths: `default_fields` and those of this session.

    Args:
        data: spec of the data set.
        own_path: spec of the user's schedule; "" leaves it out.

    Returns:
        The names of all fields, and those without a file by name.
    """
    names, live = list(default_fields(data, own_path)), {}
    if own_path and (options := networks(data, own_path)):
        _, name, field = choose(data, own_path, next(iter(options)))
        names[names.index(exact_name(data, own_path))] = name
        if LIVE in options and field is not None:
            live[name] = field
    adopted = cache.adopted(data, LEARNED)
    if adopted is not None:
        names.append(adopted[0])
        live[adopted[0]] = adopted[1]
    return tuple(names), live


def labels(data: str) -> dict[str, str]:
    """The label of each field of a data set by its name: networks first, then exact fields."""
    cards = [card for card in cache.cards().values() if card.data == data]
    cards.sort(key=lambda card: (card.name != f"{data}-{card.path}", card.name))
    field_labels = {pinned(card): label_of(card) for card in cards}
    for path, label in paths.labels().items():
        field_labels[exact_name(data, paths.spec(path))] = f"{label}, exact"
    return field_labels


def preferred(data: str) -> list[str]:
    """The fields of conditional OT and VP diffusion: networks where both exist, else exact."""
    by_slug = {slug(name): name for name in labels(data)}
    learned = [f"{data}-{path}" for path in ("ot", "vp")]
    if all(each in by_slug for each in learned):
        return [by_slug[each] for each in learned]
    return [exact_name(data, path) for path in ("ot", "vp")]


def slug(name: str) -> str:
    """A field in the URL, which has the data set: a checkpoint, or exact-PATH."""
    if name.startswith(PREFIX):
        return f"exact-{paths.name_of(name.rpartition('/')[2])}"
    return name.rpartition("@")[0]


def pick(setting: Setting, values: Mapping[str, Any]) -> Any:
    """The control of a setting that names one field, or several, of the data set in `values`."""
    data = values["data"]
    known = labels(data)
    slugs = {slug(name): name for name in known}
    options = {each: known[name] for each, name in slugs.items()}
    opening: Sequence[str] = [slug(name) for name in preferred(data)]
    if not setting.several:
        return slugs[
            widgets.select(setting.slug, setting.label, options, opening[0], help=setting.help)
        ]
    return tuple(slugs[each] for each in widgets.several_of(setting, options, opening))
