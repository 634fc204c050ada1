"""The KL divergence of the density of a flow from the exact one over time, by Monte Carlo."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from flowviz.experiments.likelihood import GapConfig, GapResult, bits_per_dim, compute_gap
from flowviz.figures import curves, theme
from flowviz.figures import likelihood as figures
from flowviz.progress import Progress
from flowviz.settings import setting
from flowviz.studies._backward import TIMES, BackwardConfig, estimate_note
from flowviz.studies.study import Columns, Finding, LiveFields, NamedFigure, Study


@dataclass(frozen=True, kw_only=True)
class KlConfig(BackwardConfig):
    """KL(exact p_t || the flow's p_t) at TIMES."""

    method: str = setting(
        "dopri5", "ODE solver", advanced=True, help="A coarse solver would add its own error."
    )
    points: int = setting(
        1_000, "Points", bounds=(2, 100_000), advanced=True, help="Random samples of each p_t."
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class KlResult:
    """The divergences computed so far, in the order of time."""

    gaps: tuple[GapResult, ...]


def compute(
    config: KlConfig, *, field: LiveFields | None = None, progress: Progress | None = None
) -> Iterator[KlResult]:
    """Follows samples of the exact p_t back to noise, time by time; yields after each.

    Raises:
        ValueError: the density of a learned path is not known well enough at a time.
    """
    progress, live = progress or Progress(), (field or {}).get(config.field)
    found: list[GapResult] = []
    for t in TIMES:
        piece = GapConfig(**config.piece(), t=t, n=config.points)
        found.append(progress.cached(compute_gap, piece, field=live))
        progress.report(len(found) / len(TIMES), f"t = {t:.2f}")
        yield KlResult(gaps=tuple(found))


def draw(config: KlConfig, result: KlResult, *, dark: bool = False) -> list[NamedFigure]:
    """The KL divergence over time with its standard error."""
    line = curves.Curve(
        label=config.label,
        colour=theme.path_colour(config.path, dark=dark),
        x=np.array([each.t for each in result.gaps]),
        y=np.array([each.kl for each in result.gaps]),
    )
    errors = np.array([each.error for each in result.gaps])
    return [
        NamedFigure(
            name="gaps",
            title="KL over time",
            alt="KL divergence of the exact density from that of the field over time.",
            figure=figures.gaps([line], [errors], dark=dark),
        )
    ]


def table(config: KlConfig, result: KlResult) -> Columns:
    """One row for each time."""
    return {
        "t": np.array([each.t for each in result.gaps]),
        "kl_nats": np.array([each.kl for each in result.gaps]),
        "standard_error": np.array([each.error for each in result.gaps]),
    }


def say(config: KlConfig, result: KlResult) -> list[Finding]:
    """The divergence at the last time, and how it is estimated."""
    last = result.gaps[-1]
    return [
        Finding(
            lead=f"At t = {last.t:.2f}",
            text=f"KL(exact ‖ flow) is {last.kl:.4f} ± {last.error:.4f} nats, "
            f"{bits_per_dim(last.kl):.4f} bits per dimension.",
            numbers={"kl": last.kl, "standard_error": last.error},
        ),
        Finding(
            text=f"Mean of log p_t − log q_t over {config.points:,} samples of the exact p_t, "
            f"from the same data and noise at every time, with {config.method} at tolerance "
            f"{config.tol:g}; bars are standard errors. An estimate can be negative where the KL "
            "is small.",
            detail=True,
        ),
        *estimate_note(config, blurred=False),
    ]


STUDY = Study(
    name="kl",
    title="KL divergence of the flow's density over time",
    config=KlConfig,
    compute=compute,
    draw=draw,
    table=table,
    say=say,
    page="likelihood",
    seconds=4.0,
    smallest={"points": 50},
)
