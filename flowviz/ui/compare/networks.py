"""Which trained networks a side of the Compare page can show."""

from flowviz.experiments.evolution import EXACT
from flowviz.experiments.sources import pinned
from flowviz.fields import LearnedField
from flowviz.ui import cache, paths

__all__ = ["LIVE", "choose", "networks"]

LIVE = "live"
"""The network that this session trained."""


def networks(data: str, path: str) -> dict[str, str]:
    """The networks trained on a data set and a path, by slug with their labels, best first.

    The session's own comes first, then the shipped one, then every other checkpoint whose path is
    of this kind, whatever its parameters and its objective. Of a shaped schedule it must be this
    very shape.
    """
    found = {LIVE: "just trained here"} if cache.adopted(data, path) else {}
    cards = [
        card
        for card in cache.cards().values()
        if card.data == data and path in (card.path, _kind(card.path))
    ]
    for card in sorted(cards, key=lambda card: (card.name != f"{data}-{path}", card.name)):
        found[card.name] = f"{card.name} ({card.method})"
    return found


def _kind(path: str) -> str:
    """What a path's spec is found by: its name, or all of it where the name says no shape."""
    name = path.split(":")[0]
    return path if name == paths.OWN else name


def choose(data: str, path: str, name: str) -> tuple[str, str, LearnedField | None]:
    """A side's path, the name of its field, and the field if it is at hand.

    `name` is one of `networks`, or "" where there is none, so that the exact field stands in.
    """
    if name == LIVE:
        trained = cache.adopted(data, path)
        if trained is not None:
            return path, *trained
    card = cache.cards().get(name)
    if card is None:
        return path, EXACT, None
    # Named by its content too, so that a checkpoint made anew is computed anew.
    return card.path, pinned(card), cache.network(card.name, card.sha256)
