"""Settings, trainings and lines of the studies of training."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowviz.experiments.race import (
    BEAT,
    ENTRANTS,
    OWN,
    Entrant,
    Run,
    RunConfig,
    compute_run,
    entrants,
)
from flowviz.figures import curves, theme
from flowviz.progress import Progress
from flowviz.settings import Config, setting
from flowviz.studies import _settings as declare
from flowviz.training import BOUNDS, TrainConfig
from flowviz.training import times as drawn_times
from flowviz.training.targets import TARGETS

RANK = dict(zip(ENTRANTS, theme.ranks([each.path for each in ENTRANTS.values()]), strict=True))
RANK[OWN] = 0
"""The number of each entrant among those of its path, see `theme.style`."""


@dataclass(frozen=True, kw_only=True)
class RacersConfig(Config):
    """The data, the entrants and the network of several trainings."""

    data: str = declare.data(help="Data set on which the claims are tested.")
    own: str = declare.own(
        "Adds flow matching on your own schedule, trained from the same weights, data, noise and "
        "times as the others."
    )
    units: int = setting(
        64,
        "Width of the networks",
        slug="width",
        bounds=BOUNDS["width"],
        work=1,
        offered=(16, 32, 64, 128, 256),
        unit="units per layer",
        help="Units of each hidden layer.",
    )
    preconditioned: bool = setting(
        False,
        "Preconditioned",
        help="Off, as in the paper: a network predicts velocity, noise or score itself. On: it "
        "predicts the remainder of the best linear prediction; score and noise matching on one "
        "path are then the same regression.",
    )
    times: str = setting(
        "uniform", "Times of a batch", choices=drawn_times.LABELS, help=drawn_times.HELP
    )
    targets: str = setting("pair", "Targets", choices=TARGETS.labels, help=TARGETS.sentences())
    seed: int = declare.seed("First seed")
    depth: int = setting(
        3, "Hidden layers", bounds=BOUNDS["depth"], advanced=True, help="Number of hidden layers."
    )
    batch: int = setting(
        256, "Batch size", bounds=BOUNDS["batch"], advanced=True, help="Pairs per step."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        entrants(self.own)

    @property
    def entrants(self) -> Mapping[str, Entrant]:
        """The entrants by name."""
        return entrants(self.own)

    def training(self, name: str, *, seed: int, lr: float, steps: int) -> TrainConfig:
        """The training of an entrant."""
        chosen = self.entrants[name]
        entrant = {"path": chosen.path, "objective": chosen.objective}
        return self.part(TrainConfig, **entrant, width=self.units, lr=lr, steps=steps, seed=seed)


def runs(configs: list[RunConfig], progress: Progress) -> Iterator[tuple[int, Run]]:
    """Trains networks in parallel; yields index and measurements of each as it is done."""
    total, done, lock = sum(each.training.steps for each in configs), 0, Lock()

    def beat() -> None:
        nonlocal done
        with lock:
            done += BEAT
        progress.report(min(done / total, 1.0), f"{done:,} of {total:,} training steps")

    def piece(config: RunConfig) -> Callable[[], Run]:
        return lambda: progress.cached(compute_run, config, beat=beat)

    yield from progress.in_parallel([piece(each) for each in configs])


def measured(runs: Mapping[tuple[int, int], Run], shape: tuple[int, int], name: str) -> NDArray:
    """A measurement of each run by its index in a table of `shape`; NaN of runs not done."""
    first = np.asarray(getattr(next(iter(runs.values())), name))
    values = np.full((*shape, *first.shape), np.nan)
    for index, run in runs.items():
        values[index] = getattr(run, name)
    return values


def labels(config: RacersConfig) -> dict[str, str]:
    """The labels of the entrants by name."""
    return {name: each.label for name, each in config.entrants.items()}


def curve(name: str, own_path: str, x: NDArray, values: NDArray, **more: Any) -> curves.Curve:
    """The line of an entrant; values (n,) of one run or (R, n) of several.

    Args:
        name: of the entrant.
        own_path: spec of the user's own schedule.
        x: (n,).
        values: (n,) or (R, n).
        more: further arguments of `curves.of_runs`.
    """
    chosen = entrants(own_path)[name]
    style = theme.style(chosen.path, RANK[name])
    return curves.of_runs(chosen.label, x=x, runs=values, **style | more)
