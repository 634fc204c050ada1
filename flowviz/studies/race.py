"""Do straighter conditional paths train faster? The first claim of Lipman et al. 2022.

Each entrant starts from the same weights and sees the same data, noise and times. Samples and the
distance from the exact field compare them; raw losses of different paths do not.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowviz.bounds import MAX_SEED, check_bounds
from flowviz.experiments.race import LOOKS, METRIC, OWN, Run, RunConfig, compute_floor
from flowviz.metrics import METRICS
from flowviz.progress import Progress
from flowviz.settings import setting
from flowviz.studies import Figures, Finding, Findings, Live, Study, Summary, Tables
from flowviz.studies._lines import line_figure
from flowviz.studies._numbers import VERDICTS, compare, joined, mean, undecided
from flowviz.studies._racers import RacersConfig, curve, labels, measured, runs
from flowviz.training import BOUNDS

MEASURES = ("seconds", "quality", "error", "excess", "loss", "gradient")

BESIDE = {
    "error": "field error, share of the velocity",
    "excess": "loss − floor, each in its own units",
    "gradient": "gradient norm before clipping",
    "loss": "raw loss: not comparable between lines",
}
"""The title of the y axis of the second figure."""


@dataclass(frozen=True, kw_only=True)
class RaceConfig(RacersConfig):
    """A race: each entrant with several seeds."""

    steps: int = setting(
        1_500,
        "Steps of the race",
        bounds=(20, 20_000),
        work=1,
        help="Training steps of each run.",
    )
    seeds: int = setting(
        3, "Seeds", bounds=(1, 10), work=1, help="Runs of each entrant; bands show their spread."
    )
    lr: float = setting(
        2e-3,
        "Learning rate",
        bounds=BOUNDS["lr"],
        help="Largest value; it falls to 0 at the end.",
    )
    looks: int = setting(
        LOOKS, "Measurements", bounds=(1, 100), advanced=True, help="Measurements during each run."
    )
    over: str = setting(
        "steps",
        "Over",
        choices={"steps": "Steps", "seconds": "Seconds of computing"},
        display=True,
    )
    beside: str = setting(
        "error",
        "Second figure",
        choices={
            "error": "Field error",
            "excess": "Loss minus floor",
            "gradient": "Gradient norm",
            "loss": "Raw loss",
        },
        display=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bounds(self, seed=(0, MAX_SEED - self.seeds + 1))

    def run(self, name: str, seed: int) -> RunConfig:
        """The run of an entrant with a seed."""
        training = self.training(name, seed=seed, lr=self.lr, steps=self.steps)
        return RunConfig(training=training, looks=self.looks, seed=self.seed)


@dataclass(frozen=True, kw_only=True, eq=False)
class RaceResult:
    """E entrants by R seeds by L measurements; NaN for runs that are not done.

    Attributes:
        entrants: names, E.
        steps: (L,), the steps after which runs are measured.
        seconds: (E, R, L), computing time of the training until then.
        quality: (E, R, L), METRIC of the samples; NaN also where samples leave the plane.
        error: (E, R, L), relative distance to the exact velocity.
        excess: (E, R, L), loss minus irreducible loss, in the units of the objective.
        loss: (E, R, L), mean loss since the measurement before.
        gradient: (E, R, L), mean gradient norm since the measurement before.
        done: (E, R), whether the run is done.
        floor: METRIC between two random samples of the data.
    """

    entrants: tuple[str, ...]
    steps: NDArray[np.int64]
    seconds: NDArray[np.float64]
    quality: NDArray[np.float64]
    error: NDArray[np.float64]
    excess: NDArray[np.float64]
    loss: NDArray[np.float64]
    gradient: NDArray[np.float64]
    done: NDArray[np.bool_]
    floor: float

    def final(self, name: str, measure: str = "quality") -> NDArray[np.float64]:
        """A measure at the end of the runs of an entrant, (R,)."""
        return getattr(self, measure)[self.entrants.index(name), :, -1]

    def left_plane(self, name: str) -> bool:
        """Whether the samples of a run of an entrant left the plane."""
        done = self.done[self.entrants.index(name)]
        return bool(np.isnan(self.final(name)[done]).any())


def compute(config: RaceConfig, live: Live, progress: Progress) -> Iterator[RaceResult]:
    """Trains all entrants seed by seed; yields after each run."""
    floor = progress.cached(compute_floor, (config.data, config.seed))
    names = tuple(config.entrants)
    cells = [(e, r) for r in range(config.seeds) for e in range(len(names))]
    pieces = [config.run(names[e], config.seed + r) for e, r in cells]
    results: dict[tuple[int, int], Run] = {}
    for k, run in runs(pieces, progress):
        results[cells[k]] = run
        shape = len(names), config.seeds
        yield RaceResult(
            entrants=names,
            steps=run.steps,
            **{name: measured(results, shape, name) for name in MEASURES},
            done=np.isfinite(measured(results, shape, "broken")),
            floor=floor,
        )


def draw(config: RaceConfig, result: RaceResult) -> Figures:
    """Quality of the samples, and a second measure, during the training."""
    quality = f"{METRICS[METRIC].label} to data"
    x_title = "training step" if config.over == "steps" else "seconds of computing"
    for name, title in (("quality", quality), (config.beside, BESIDE[config.beside])):
        lines = []
        for e, racer in enumerate(result.entrants):
            done = result.done[e]
            if done.any():
                x = result.steps if config.over == "steps" else result.seconds[e, done].mean(0)
                floor = result.floor if name == "quality" else None
                values = getattr(result, name)[e, done]
                lines.append(curve(racer, config.own, x, values, floor=floor))
        lines = [each for each in lines if len(each.x)]
        ends = "; ".join(f"{each.label} ends at {each.y[-1]:.3g}" for each in lines)
        yield line_figure(
            "quality" if name == "quality" else "second",
            title,
            f"{title} over {x_title}: {ends or 'no value'}.",
            lines,
            x_title=x_title,
            y_title=title,
            floor_label="two random samples of the data",
            log_x=True,
            log_y=True,
            markers=True,
            half=True,
        )


def table(config: RaceConfig, result: RaceResult) -> Tables:
    """One row for each run that is done and each measurement."""
    return [
        {"entrant": result.entrants[e], "seed": config.seed + r, "step": result.steps}
        | {name: getattr(result, name)[e, r] for name in MEASURES}
        for e, r in zip(*np.nonzero(result.done), strict=True)
    ]


def say(config: RaceConfig, result: RaceResult) -> Findings:
    """Who is closer to the data after training, and whether the claim holds in this run."""
    label = {name: each.replace(", ", " on ") for name, each in labels(config).items()}
    done_names = [name for e, name in enumerate(result.entrants) if result.done[e].any()]
    off_plane = [name for name in done_names if result.left_plane(name)]
    within = [name for name in done_names if name not in off_plane]
    if not result.done.all():
        yield Finding.so_far(int(result.done.sum()), result.done.size, "runs")
    if within:
        best = min(within, key=lambda name: np.nanmean(result.final(name)))
        yield Finding(
            lead=f"After {result.steps[-1]:,} steps",
            text=f"{label[best]} is closest to the data: its distance is "
            f"{mean(result.final(best))}. Two random samples of the data are about "
            f"{result.floor:.3f} apart, the best possible value.",
            numbers={name: float(np.nanmean(result.final(name))) for name in within}
            | {"floor": result.floor},
        )
    if off_plane:
        yield Finding(
            lead="Not measured",
            text=f"the samples of {joined([label[name] for name in off_plane])} leave the plane; "
            "their quality is not measured.",
            numbers={"entrants": len(off_plane)},
        )
    yield from _claim(result)
    if OWN in within and "ot" in within:
        words = {-1: "closer to the data than", 0: "not measurably different from"}
        order = compare(result.final(OWN), result.final("ot"))
        yield Finding(
            lead="Your own schedule",
            text="after flow matching it is "
            f"{words.get(order, 'further from the data than')} conditional OT.",
            numbers={"own": float(np.nanmean(result.final(OWN)))},
        )


def _claim(result: RaceResult) -> Findings:
    """Whether conditional OT trains faster than VP diffusion under flow matching."""
    if not all(result.done[result.entrants.index(name)].any() for name in ("ot", "vp")):
        return
    lead = "Trains faster"
    if result.left_plane("ot") or result.left_plane("vp"):
        text = "this run does not compare the speeds, since not all samples can be measured."
        left_plane = {"lost": int(result.left_plane("ot")) + int(result.left_plane("vp"))}
        yield Finding(lead=lead, text=text, numbers=left_plane, verdict="undecided")
        return
    ot, vp = result.final("ot"), result.final("vp")
    order = compare(ot, vp)
    text = {
        -1: f"confirmed in this run; conditional OT is ahead of VP diffusion{_sooner(result)}.",
        0: "this short run does not decide it; the difference between conditional OT and VP "
        f"diffusion is {undecided(ot, vp)}.",
        1: "not confirmed in this short run; VP diffusion is ahead.",
    }[order]
    numbers = {"ot": float(np.nanmean(ot)), "vp": float(np.nanmean(vp))}
    yield Finding(lead=lead, text=text, numbers=numbers, verdict=VERDICTS[order])


def _sooner(result: RaceResult) -> str:
    """How much earlier OT reached the final distance of VP flow matching."""
    ot, vp = (
        np.nanmean(result.quality[e, result.done[e]], axis=0)
        for e in (result.entrants.index(name) for name in ("ot", "vp"))
    )
    reached = np.flatnonzero(ot <= vp[-1])
    if not len(reached) or reached[0] == len(ot) - 1:
        return ""
    steps, last = result.steps[reached[0]], result.steps[-1]
    return (
        f" and reached the final distance of VP after {steps:,} steps, {last / steps:.1f}× sooner"
    )


def summarise(config: RaceConfig, result: RaceResult) -> Summary:
    """Distance to the data and to the exact field after training, and its time."""
    label = labels(config)
    rows = [
        [
            label[name],
            mean(result.final(name)),
            mean(result.final(name, "error")),
            f"{np.nanmean(result.final(name, 'seconds')):.1f}",
        ]
        for e, name in enumerate(result.entrants)
        if result.done[e].any()
    ]
    heads = ("Trained by", "distance to data", "field error", "seconds of computing")
    return Summary(title=f"After {result.steps[-1]:,} steps", heads=heads, rows=rows)


STUDY = Study(
    __name__,
    "Training speed by path and objective",
    RaceConfig,
    (compute, draw, table, say),
    summary=summarise,
    page="straighter",
    seconds=60.0,
    smallest={"data": "8gaussians", "units": 16, "steps": 20, "seeds": 1, "looks": 2},
)
