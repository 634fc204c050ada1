"""Settings of the studies of theorem 2."""

from dataclasses import dataclass

from flowviz.experiments.sources import trained_name
from flowviz.experiments.theorem2 import NEW
from flowviz.schedulers import scheduler
from flowviz.settings import Config, setting
from flowviz.studies._common import data_setting, paths_setting
from flowviz.studies.study import Finding

TRAINED = "trained"
"""The network that is trained for the data set and the path, where there is one."""


@dataclass(frozen=True, kw_only=True)
class NetworkConfig(Config):
    """A data set, paths, and a network on each path."""

    data: str = data_setting(help="Distribution of the data points x₁.")
    paths: tuple[str, ...] = paths_setting(
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
    networks: tuple[str, ...] = setting(
        (),
        "Names of the networks",
        advanced=True,
        help="A checkpoint for each path, in place of `network`.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.networks and len(self.networks) != len(self.paths):
            raise ValueError(
                f"networks must name one checkpoint for each of the {len(self.paths)} paths; "
                f"got {len(self.networks)}."
            )


def network_names(config: NetworkConfig) -> list[str]:
    """The name of the network of each path: NEW where no network is trained."""
    if config.networks:
        return list(config.networks)
    if config.network == NEW:
        return [NEW] * len(config.paths)
    return [trained_name(config.data, path) or NEW for path in config.paths]


def missing_networks(config: NetworkConfig) -> list[Finding]:
    """A finding about the paths for which no network is trained; empty if there is none."""
    missing = [
        scheduler(path).label
        for path, name in zip(config.paths, network_names(config), strict=True)
        if config.network == TRAINED and name == NEW
    ]
    if not missing:
        return []
    text = (
        f"there is no network for this data set on {' and '.join(missing)}; a new network with "
        "random weights is shown."
    )
    return [Finding(lead="No checkpoint", text=text)]
