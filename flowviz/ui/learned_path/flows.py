"""Which flows stand beside each other: those of fixed paths, and every learned one there is."""

from dataclasses import dataclass

from flowviz.checkpoints import Card
from flowviz.experiments.sources import exact_name, pinned
from flowviz.fields import LearnedField
from flowviz.fields.learned_path import LearnedPathField
from flowviz.figures import theme
from flowviz.schedulers import LEARNED, scheduler
from flowviz.ui import cache
from flowviz.ui.field_picker import LIVE, choose, networks
from flowviz.ui.theme import is_dark

__all__ = ["DATA_POINTS", "Shown", "flows"]

DATA_POINTS = 600
"""Points of the data in the pictures."""
FIXED = ("ot", "vp")
"""The paths that a learned one is held against."""

SYMBOLS = ("circle", "diamond", "square", "cross", "star", "hexagon")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One flow.

    Attributes:
        label: its name in legends.
        short: its name above a panel.
        path: spec of its path.
        field: what experiments call it by.
        network: the field, None for the exact one.
        card: of its checkpoint, if it has one.
        symbol: of its mark, which tells flows of one path apart.
        dash: of its line, likewise.
    """

    label: str
    short: str
    path: str
    field: str
    network: LearnedField | LearnedPathField | None
    card: Card | None
    symbol: str = SYMBOLS[0]
    dash: str = DASHES[0]

    @property
    def colour(self) -> str:
        """The colour of its path."""
        return theme.path_colour(self.path, dark=is_dark())

    @property
    def learned(self) -> bool:
        """Whether its path is."""
        return self.path == LEARNED

    def source(self, data: str) -> str | None:
        """What sweeps call it by; None of a network that is in no file."""
        if self.card is not None:
            return pinned(self.card)
        return exact_name(data, self.path) if self.network is None else None


def flows(data: str, own: str = "") -> list[Shown]:
    """Conditional OT, VP diffusion, the learned paths of a data set, and the session's own.

    A fixed path without a network is shown by its exact field.

    Args:
        data: spec of the data set.
        own: spec of the visitor's schedule, if it stands beside them.
    """
    cards = cache.cards()
    found = []
    named = [(path, f"{data}-{path}") for path in FIXED]
    named += [(own, next(iter(networks(data, own)), ""))] if own else []
    for path, name in named:
        spec, field, network = choose(data, path, name if name in {LIVE, *cards} else "")
        label = scheduler(path).label
        exact = "" if network is not None else ", exact"
        found.append(
            Shown(
                label=label + exact,
                short=label + exact,
                path=spec,
                field=field,
                network=network,
                card=cards.get(name),
            )
        )
    learned = [card for card in cards.values() if card.is_learned_path and card.data == data]
    learned.sort(key=lambda card: (card.training.get("penalty", 0), card.name))
    names = [card.name for card in learned] + [LIVE] * (cache.adopted(data, LEARNED) is not None)
    for k, name in enumerate(names):
        spec, field, network = choose(data, LEARNED, name)
        card = cards.get(name)
        found.append(
            Shown(
                label=_label(card, [other.method for other in learned]),
                short="learned here" if card is None else f"learned, {_kind(card)}",
                path=spec,
                field=field,
                network=network,
                card=card,
                symbol=SYMBOLS[k % len(SYMBOLS)],
                dash=DASHES[k % len(DASHES)],
            )
        )
    return found


def _kind(card: Card) -> str:
    penalty = card.training.get("penalty")
    return f"penalty {penalty:g}" if penalty else "bound alone"


def _label(card: Card | None, methods: list[str]) -> str:
    if card is None:
        return "learned path, trained here"
    name = f" ({card.name})" if methods.count(card.method) > 1 else ""
    return f"learned path, {_kind(card)}{name}"
