"""Do the conditional and the marginal loss differ by one constant? Theorem 2, measured.

Lipman et al. 2022, theorem 2: for every field v, L_CFM(v) = L_FM(v) + E tr Cov[x'_t | x_t], where
the last term does not depend on v.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from flowviz.experiments.losses import GapConfig, GapResult, compute_gaps
from flowviz.experiments.target_variance import TargetConfig, TargetResult, compute_target
from flowviz.figures import theme, theorem2
from flowviz.progress import Progress
from flowviz.schedulers import scheduler
from flowviz.settings import setting
from flowviz.studies import Figures, Finding, Findings, Live, NamedFigure, Study, Tables
from flowviz.studies import _settings as declare
from flowviz.studies._theorem2 import NetworkConfig, missing_networks


@dataclass(frozen=True, kw_only=True)
class LossesConfig(NetworkConfig):
    """Both losses of several networks on each path."""

    pairs: int = setting(
        131_072, "Pairs", bounds=(16, 10_000_000), advanced=True, help="Pairs for each path."
    )
    seed: int = declare.seed("First seed")


@dataclass(frozen=True, kw_only=True, eq=False)
class LossesResult:
    """The losses and the variance of the target on the paths measured so far."""

    gaps: tuple[GapResult, ...]
    targets: tuple[TargetResult, ...]


def compute(config: LossesConfig, live: Live, progress: Progress) -> Iterator[LossesResult]:
    """Measures one path after the other; yields after each."""
    gaps: list[GapResult] = []
    targets: list[TargetResult] = []
    for path, name in zip(config.paths, config.networks, strict=True):
        targets.append(progress.cached(compute_target, TargetConfig(data=config.data, path=path)))
        piece = config.part(GapConfig, path=path, field=name)
        gaps.append(progress.cached(compute_gaps, piece, field=live.get(name)))
        progress.report(len(gaps) / len(config.paths), scheduler(path).label)
        yield LossesResult(gaps=tuple(gaps), targets=tuple(targets))


def draw(config: LossesConfig, result: LossesResult) -> Figures:
    """The conditional loss over the marginal loss of each network."""
    rows = [
        theorem2.Losses(
            label=scheduler(path).label,
            colour=theme.path_colour(path),
            names=[each.label for each in gaps.gaps],
            marginal=np.array([each.marginal for each in gaps.gaps]),
            conditional=np.array([each.conditional for each in gaps.gaps]),
            error=np.array([each.error for each in gaps.gaps]),
            floor=target.floor,
        )
        for path, gaps, target in zip(config.paths, result.gaps, result.targets, strict=False)
    ]
    yield NamedFigure(
        name="losses",
        title="conditional over marginal loss",
        alt="Conditional loss over marginal loss of several networks; those of each path lie "
        "on a line of slope 1.",
        figure=theorem2.losses(rows),
    )


def table(config: LossesConfig, result: LossesResult) -> Tables:
    """One row for each path and network."""
    return [
        {
            "path": path,
            "network": np.array([each.label for each in gaps.gaps]),
            "loss_fm": np.array([each.marginal for each in gaps.gaps]),
            "loss_cfm": np.array([each.conditional for each in gaps.gaps]),
            "gap": np.array([each.gap for each in gaps.gaps]),
            "gap_error": np.array([each.error for each in gaps.gaps]),
            "floor": target.floor,
        }
        for path, gaps, target in zip(config.paths, result.gaps, result.targets, strict=False)
    ]


def say(config: LossesConfig, result: LossesResult) -> Findings:
    """Whether all networks of a path show the same gap."""
    for path, gaps, target in zip(config.paths, result.gaps, result.targets, strict=False):
        label, error = scheduler(path).label, max(each.error for each in gaps.gaps)
        spread = max(abs(each.gap - target.floor) / each.error for each in gaps.gaps)
        yield Finding(
            lead=label,
            text=f"the {len(gaps.gaps)} fields have one gap between the two losses: "
            f"{gaps.mean:.3f} ± {error:.3f} per dimension, measured; {target.floor:.3f} from "
            "the variance of the exact posterior.",
            numbers={"gap": gaps.mean, "floor": target.floor, "standard_errors": spread},
            verdict="supported" if spread < 4 else "not supported",
        )
    yield from missing_networks(config)
    yield Finding.note(
        "The gap is the smallest value that the conditional loss can reach. Losses of "
        "different paths are therefore not comparable, and a loss that no longer falls may be "
        "at its minimum. All fields see the same pairs, so their errors are correlated."
    )


STUDY = Study(
    __name__,
    "Conditional and marginal loss",
    LossesConfig,
    (compute, draw, table, say),
    page="cfm",
    seconds=3.0,
    smallest={"paths": ("ot",), "pairs": 256},
)
