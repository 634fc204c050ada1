"""The flows that the studies of learned paths compare, and their settings."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from flowviz.experiments.fields import (
    PREFIX,
    card_of,
    exact_name,
    learned_names,
    readable_cards,
    trained_name,
)
from flowviz.figures import theme
from flowviz.schedulers import LEARNED, scheduler, spec_of
from flowviz.settings import Config
from flowviz.studies import Live
from flowviz.studies import _settings as declare

FIXED = ("ot", "vp")
"""The fixed paths that a learned one is compared with."""


@dataclass(frozen=True, kw_only=True)
class FlowsConfig(Config):
    """The flows to compare: conditional OT, VP diffusion and learned paths of one data set."""

    data: str = declare.data("8gaussians")
    own: str = declare.own(
        help="Your own schedule next to OT and VP: with the network that you trained on it for "
        "this data set (page *Train*), or else with its exact field; see the label."
    )
    fields: tuple[str, ...] = declare.names(
        "Fields",
        "Names of fields, conditional OT first; by default conditional OT, VP diffusion, "
        "your own schedule and all learned paths of the data set.",
    )

    def chosen(self) -> Self:
        """See `Config.chosen`."""
        return replace(self, fields=self.fields or default_fields(self.data, self.own))


@dataclass(frozen=True, kw_only=True)
class ComparedFlow:
    """One flow of a comparison.

    Attributes:
        name: name of its field.
        label: its name in legends.
        short: its name above a panel.
        path: spec of its path.
        style: number that selects symbol and dash; it distinguishes flows on one path.
    """

    name: str
    label: str
    short: str
    path: str
    style: int = 0

    @property
    def learned(self) -> bool:
        """Whether its path is learned."""
        return self.path == LEARNED

    @property
    def exact(self) -> bool:
        """Whether its field is the closed form."""
        return self.name.startswith(PREFIX)

    @property
    def symbol(self) -> str:
        """Its mark in figures."""
        return theme.symbol(self.style)

    @property
    def dash(self) -> str:
        """The dash of its line in figures."""
        return theme.dash(self.style)

    def colour(self) -> str:
        """The colour of its path."""
        return theme.path_colour(self.path, self.style)


def default_fields(data: str, own_path: str = "") -> tuple[str, ...]:
    """Names of the fields of conditional OT, VP, the own schedule and all learned paths.

    A fixed path without a network has its exact field.
    """
    names = [trained_name(data, path) or exact_name(data, path) for path in FIXED]
    learned = learned_names(readable_cards(), data)
    return (*names, *([exact_name(data, own_path)] if own_path else []), *learned)


def compared(config: FlowsConfig, live: Live | None) -> list[ComparedFlow]:
    """The flows of a config in their order, live ones included.

    Raises:
        ValueError: a field is unknown.
    """
    flows: list[ComparedFlow] = []
    labels: list[str] = []
    for name in config.chosen().fields:
        path, label, short = _described(name, live or {})
        if label in labels and not name.startswith(PREFIX):
            label = f"{label} ({name.rpartition('@')[0] or name})"
        labels.append(label)
        style = sum(each.path == path for each in flows)
        flows.append(ComparedFlow(name=name, label=label, short=short, path=path, style=style))
    return flows


def straightest(flows: Sequence[ComparedFlow], deviations: Sequence[float]) -> int | None:
    """The index of the learned flow with the smallest S; None if there is none."""
    learned = [k for k, flow in enumerate(flows) if flow.learned]
    return min(learned, key=lambda k: deviations[k], default=None)


def _described(name: str, live: Live) -> tuple[str, str, str]:
    """Path, label and short label of a field."""
    if name in live:
        path = spec_of(live[name].path.scheduler)
        label = scheduler(path).label
        return path, f"{label}, trained here", "learned here" if path == LEARNED else label
    if name.startswith(PREFIX):
        path = name.rpartition("/")[2]
        label = f"{scheduler(path).label}, exact"
        return path, label, label
    card = card_of(name)
    label = scheduler(card.path).label
    if not card.is_learned_path:
        return card.path, label, label
    penalty = card.training.get("penalty")
    kind = f"penalty {penalty:g}" if penalty else "bound alone"
    return card.path, f"{label}, {kind}", f"learned, {kind}"
