"""Settings of the studies of theorem 2."""

from dataclasses import dataclass, replace
from typing import Self

from flowviz.experiments.fields import trained_name
from flowviz.experiments.theorem2 import NEW
from flowviz.schedulers import scheduler
from flowviz.settings import Config, setting
from flowviz.studies import Finding, Findings
from flowviz.studies import _settings as declare

TRAINED = "trained"
"""The network that is trained for the data set and the path, where there is one."""


@dataclass(frozen=True, kw_only=True)
class NetworkConfig(Config):
    """A data set, paths, and a network on each path."""

    data: str = declare.data(help="Distribution of the data points x₁.")
    paths: tuple[str, ...] = declare.paths(
        help="Each path has its own minimum of the conditional loss.", max_chosen=3
    )
    network: str = setting(
        NEW,
        "Network v",
        choices={NEW: "new: random weights", TRAINED: "trained"},
        help="Theorem 2 holds for any weights. New: a small network before training. Trained: the "
        "checkpoint of this data set and path, if there is one. Its marginal gradient is almost "
        "0, so that the gradient of one batch is mostly noise.",
    )
    networks: tuple[str, ...] = declare.names(
        "Names of the networks", "A checkpoint for each path, in place of `network`."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.networks and len(self.networks) != len(self.paths):
            raise ValueError(
                f"networks must name one checkpoint for each of the {len(self.paths)} paths; "
                f"got {len(self.networks)}."
            )

    def chosen(self) -> Self:
        """This config with the name of the network of each path: NEW where none is trained."""
        if self.networks:
            return self
        trained = self.network == TRAINED
        names = [(trained and trained_name(self.data, path)) or NEW for path in self.paths]
        return replace(self, networks=tuple(names))


def missing_networks(config: NetworkConfig) -> Findings:
    """A finding about the paths for which no network is trained; empty if there is none."""
    missing = [
        scheduler(path).label
        for path, name in zip(config.paths, config.chosen().networks, strict=True)
        if config.network == TRAINED and name == NEW
    ]
    if not missing:
        return
    text = (
        f"there is no network for this data set on {' and '.join(missing)}; a new network with "
        "random weights is shown."
    )
    yield Finding(lead="No checkpoint", text=text)
