"""Size and noise of the regression targets of each objective.

No training is needed: the exact posterior means give the best possible prediction.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from flowviz.experiments.race import OWN, Target, TargetConfig, compute_target, entrants
from flowviz.figures import curves
from flowviz.progress import Progress
from flowviz.schedulers import scheduler
from flowviz.settings import Config, setting
from flowviz.studies import Figures, Finding, Findings, Live, Study, Tables
from flowviz.studies import _settings as declare
from flowviz.studies._lines import line_figure
from flowviz.studies._numbers import joined
from flowviz.studies._racers import curve


@dataclass(frozen=True, kw_only=True)
class TargetsConfig(Config):
    """The regression targets of all entrants of the race."""

    data: str = declare.data(help="Data set on which the claims are tested.")
    own: str = declare.own("Adds flow matching on your own schedule, trained like the others.")
    n: int = setting(600, "Pairs", bounds=(2, 100_000), advanced=True, help="Pairs at each time.")
    n_times: int = setting(41, "Times", bounds=(2, 1_000), advanced=True, help="Number of times.")

    def __post_init__(self) -> None:
        super().__post_init__()
        entrants(self.own)


@dataclass(frozen=True, kw_only=True, eq=False)
class TargetsResult:
    """The targets of the entrants computed so far, by name."""

    targets: Mapping[str, Target]


def compute(config: TargetsConfig, live: Live, progress: Progress) -> Iterator[TargetsResult]:
    """Computes one entrant after the other; yields after each."""
    all_entrants, targets = entrants(config.own), {}
    for name, each in all_entrants.items():
        piece = config.part(TargetConfig, path=each.path, objective=each.objective)
        targets[name] = progress.cached(compute_target, piece)
        progress.report(len(targets) / len(all_entrants), each.label)
        yield TargetsResult(targets=dict(targets))


def draw(config: TargetsConfig, result: TargetsResult) -> Figures:
    """Predictable share and size of each target over time."""
    titles = {
        "share": "share of the target that <i>x<sub>t</sub></i> determines",
        "size": "size of the best prediction (RMS)",
    }
    for name, title in titles.items():
        lines = []
        for racer, each in result.targets.items():
            values = getattr(each, name)
            y = values if name == "share" else np.where(values > 0, values, np.nan)
            lines.append(curve(racer, config.own, each.times, y))
        yield line_figure(
            name,
            f"{name} of the targets over time",
            f"The {name} of each target at its first and last time: "
            + "; ".join(f"{each.label} {each.y[0]:.2g}, {each.y[-1]:.2g}" for each in lines)
            + ".",
            curves.merged(lines),
            y_title=title,
            log_y=name == "size",
            half=True,
        )


def table(config: TargetsConfig, result: TargetsResult) -> Tables:
    """One row for each entrant and time."""
    return [
        {"entrant": name, "t": each.times, "share": each.share, "size": each.size}
        for name, each in result.targets.items()
    ]


def say(config: TargetsConfig, result: TargetsResult) -> Findings:
    """How noisy the velocity target is on each path, and how large each target is."""
    share = {name: float(each.share.mean()) for name, each in result.targets.items()}
    size = {name: float(each.size.max()) for name, each in result.targets.items()}
    flows = [name for name in ("ot", "vp", OWN) if name in share]
    labels = {name: scheduler(entrants(config.own)[name].path).label for name in flows}
    clearest = sorted(flows, key=lambda name: -share[name])
    sizes = {
        "ot": "the velocity on conditional OT",
        "vp": "the velocity on VP diffusion",
        "vp-noise": "the noise",
        "vp-score": "the score",
    }
    known = [f"{size[name]:.2g} for {text}" for name, text in sizes.items() if name in size]
    yield Finding(
        lead="Noise in the target",
        text="averaged over time, xₜ determines "
        + joined([f"{share[name]:.0%} of the velocity on {labels[name]}" for name in clearest])
        + "; the rest of the target is noise in every gradient.",
        numbers={f"share_{name}": value for name, value in share.items()},
    )
    yield Finding(
        lead="Size",
        text=f"the largest value that a network must predict is {joined(known)}.",
        numbers={f"size_{name}": value for name, value in size.items()},
    )


STUDY = Study(
    __name__,
    "The regression target of each objective",
    TargetsConfig,
    (compute, draw, table, say),
    page="straighter",
    seconds=1.0,
    smallest={"data": "8gaussians", "n": 20, "n_times": 3},
)
