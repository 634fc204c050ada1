"""Which learning rates still work? Every entrant of the race at each of several learning rates."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowviz.experiments.race import METRIC, Run, RunConfig, compute_floor
from flowviz.figures import straightness, theme
from flowviz.metrics import METRICS
from flowviz.progress import Progress
from flowviz.settings import setting
from flowviz.studies import Figures, Finding, Findings, Live, NamedFigure, Study, Tables, Verdict
from flowviz.studies._numbers import joined
from flowviz.studies._racers import RANK, RacersConfig, labels, measured, runs
from flowviz.training import BOUNDS


@dataclass(frozen=True, kw_only=True)
class RatesConfig(RacersConfig):
    """A sweep over learning rates with one seed."""

    steps: int = setting(
        400, "Steps", bounds=(20, 20_000), advanced=True, help="Training steps of each run."
    )
    lrs: tuple[float, ...] = setting(
        (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1),
        "Learning rates",
        bounds=BOUNDS["lr"],
        advanced=True,
        help="Peak learning rates, in ascending order.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if list(self.lrs) != sorted(set(self.lrs)):
            listed = ", ".join(f"{lr:g}" for lr in self.lrs)
            raise ValueError(f"lrs must be in ascending order without repetition; got {listed}.")

    def run(self, name: str, lr: float) -> RunConfig:
        """The run of an entrant at a learning rate."""
        training = self.training(name, seed=self.seed, lr=lr, steps=self.steps)
        return RunConfig(training=training, looks=1, seed=self.seed)


@dataclass(frozen=True, kw_only=True, eq=False)
class RatesResult:
    """E entrants at F learning rates; NaN for runs that are not done.

    Attributes:
        entrants: names, E.
        lrs: (F,).
        quality: (E, F), METRIC of the samples after training.
        error: (E, F), relative distance to the exact velocity after training.
        diverged: (E, F), see `flowviz.experiments.race.Run`.
        done: (E, F), whether the run is done.
        floor: METRIC between two random samples of the data.
    """

    entrants: tuple[str, ...]
    lrs: NDArray[np.float64]
    quality: NDArray[np.float64]
    error: NDArray[np.float64]
    diverged: NDArray[np.bool_]
    done: NDArray[np.bool_]
    floor: float

    @property
    def usable(self) -> tuple[int, ...]:
        """Number of learning rates of each entrant below the lowest at which it diverged, E."""
        return tuple(int(row.argmax()) if row.any() else len(row) for row in self.diverged)


def compute(config: RatesConfig, live: Live, progress: Progress) -> Iterator[RatesResult]:
    """Trains every entrant at one learning rate after the other; yields after each run."""
    names, lrs = tuple(config.entrants), np.array(config.lrs)
    shape = len(names), len(lrs)
    floor = progress.cached(compute_floor, (config.data, config.seed))
    cells = [(e, f) for f in range(shape[1]) for e in range(shape[0])]
    results: dict[tuple[int, int], Run] = {}
    for k, run in runs([config.run(names[e], config.lrs[f]) for e, f in cells], progress):
        results[cells[k]] = run
        diverged = measured(results, shape, "diverged")
        yield RatesResult(
            entrants=names,
            lrs=lrs,
            **{name: measured(results, shape, name)[..., -1] for name in ("quality", "error")},
            diverged=diverged == 1,
            done=np.isfinite(diverged),
            floor=floor,
        )


def draw(config: RatesConfig, result: RatesResult) -> Figures:
    """Quality over the learning rate, with a cross where training diverged."""
    racers = config.entrants
    yield NamedFigure(
        name="rates",
        title="quality over learning rates",
        alt="Distance of samples to data over learning rates; crosses mark divergence. "
        + next(say(config, result)).text.capitalize(),
        figure=straightness.rates(
            [racers[name].label for name in result.entrants],
            [theme.style(racers[name].path, RANK[name]) for name in result.entrants],
            result.lrs,
            result.quality,
            result.diverged,
            y_title=f"{METRICS[METRIC].label} to data",
            floor=result.floor,
        ),
    )


def table(config: RatesConfig, result: RatesResult) -> Tables:
    """One row for each entrant and learning rate."""
    return {
        "entrant": np.repeat(result.entrants, len(result.lrs)),
        "lr": np.tile(result.lrs, len(result.entrants)),
        "quality": result.quality.ravel(),
        "error": result.error.ravel(),
        "diverged": result.diverged.ravel().astype(int),
    }


def say(config: RatesConfig, result: RatesResult) -> Findings:
    """Up to which learning rate each entrant trains, and whether conditional OT is more stable."""
    if not result.done.all():
        yield Finding.so_far(int(result.done.sum()), result.done.size, "trainings")
        return
    usable = dict(zip(result.entrants, result.usable, strict=True))
    text, verdict = _compared(config, result, usable)
    yield Finding(lead="More stable", text=text, numbers=usable, verdict=verdict)
    yield Finding.note(
        "Diverged means that the loss became infinite or undefined, or that the trained "
        "network is further from the exact field than one that always predicts 0."
    )


def _compared(
    config: RatesConfig, result: RatesResult, usable: dict[str, int]
) -> tuple[str, Verdict]:
    low, high = f"{result.lrs[0]:g}", f"{result.lrs[-1]:g}"
    counts, label = set(usable.values()), labels(config)
    if result.diverged.all():
        return f"all entrants diverge at every learning rate from {low} to {high}.", "undecided"
    if not result.diverged.any():
        return f"no entrant diverges at any learning rate from {low} to {high}.", "undecided"
    if counts == {0}:
        return f"all entrants diverge at the lowest learning rate, {low}.", "undecided"
    if len(counts) == 1:
        top = result.lrs[counts.pop() - 1]
        text = f"all entrants train up to a learning rate of {top:g} and diverge at the next one"
        return f"{text}: no path is more stable here.", "undecided"
    ranges = "; ".join(f"{label[name]}: {_up_to(n, result.lrs)}" for name, n in usable.items())
    best = [label[name] for name, n in usable.items() if n == max(counts)]
    text = f"learning rates that still work differ ({ranges}); {joined(best)} "
    text += "has the widest range." if len(best) == 1 else "have the widest range."
    others = max(n for name, n in usable.items() if name != "ot")
    if usable.get("ot", 0) == others:
        return text, "undecided"
    return text, "supported" if usable.get("ot", 0) > others else "not supported"


def _up_to(count: int, lrs: NDArray) -> str:
    return "none" if not count else "all" if count == len(lrs) else f"up to {lrs[count - 1]:g}"


STUDY = Study(
    __name__,
    "Which learning rates still work?",
    RatesConfig,
    (compute, draw, table, say),
    page="straighter",
    seconds=45.0,
    smallest={"data": "8gaussians", "units": 16, "steps": 20, "lrs": (1e-3, 1.0)},
)
