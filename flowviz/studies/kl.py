"""The KL divergence of the density of a flow from the exact one over time, by Monte Carlo."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from flowviz.experiments.likelihood import GapConfig, GapResult, bits_per_dim, compute_gap
from flowviz.figures import likelihood as figures
from flowviz.progress import Progress
from flowviz.settings import setting
from flowviz.studies import Figures, Finding, Findings, Live, NamedFigure, Study, Tables
from flowviz.studies._backward import TIMES, BackwardConfig, estimate_note
from flowviz.studies._lines import path_line

VE_WORK = 1.6
"""Evaluations of all times on VE over those on OT: 808 and 502 of the exact checkerboard."""


@dataclass(frozen=True, kw_only=True)
class KlConfig(BackwardConfig):
    """KL(exact p_t || the flow's p_t) at TIMES."""

    method: str = setting(
        "dopri5", "ODE solver", advanced=True, help="A coarse solver would add its own error."
    )
    points: int = setting(
        1_000, "Points", bounds=(2, 100_000), advanced=True, help="Random samples of each p_t."
    )

    def work(self, **sizes: float) -> float:
        """See `Config.work`; on VE the solves from early times take many evaluations, too."""
        return super().work(**sizes) * (VE_WORK if self.path.split(":")[0] == "ve" else 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class KlResult:
    """The divergences computed so far, in the order of time."""

    gaps: tuple[GapResult, ...]


def compute(config: KlConfig, live: Live, progress: Progress) -> Iterator[KlResult]:
    """Follows samples of the exact p_t back to noise, time by time; yields after each.

    Raises:
        ValueError: the density of a learned path is not known well enough at a time.
    """
    live_field = live.get(config.field)
    gaps: list[GapResult] = []
    for t in TIMES:
        piece = config.part(GapConfig, t=t, n=config.points)
        gaps.append(progress.cached(compute_gap, piece, field=live_field))
        progress.report(len(gaps) / len(TIMES), f"t = {t:.2f}")
        yield KlResult(gaps=tuple(gaps))


def draw(config: KlConfig, result: KlResult) -> Figures:
    """The KL divergence over time with its standard error."""
    line = path_line(
        config.path,
        np.array([each.t for each in result.gaps]),
        np.array([each.kl for each in result.gaps]),
        label=config.label,
    )
    errors = np.array([each.error for each in result.gaps])
    yield NamedFigure(
        name="gaps",
        title="KL over time",
        alt="KL divergence of the exact density from that of the field over time.",
        figure=figures.gaps([line], [errors]),
    )


def table(config: KlConfig, result: KlResult) -> Tables:
    """One row for each time."""
    return [
        {"t": each.t, "kl_nats": each.kl, "standard_error": each.error} for each in result.gaps
    ]


def say(config: KlConfig, result: KlResult) -> Findings:
    """The divergence at the last time, and how it is estimated."""
    last = result.gaps[-1]
    yield Finding(
        lead=f"At t = {last.t:.2f}",
        text=f"KL(exact ‖ flow) is {last.kl:.4f} ± {last.error:.4f} nats, "
        f"{bits_per_dim(last.kl):.4f} bits per dimension.",
        numbers={"kl": last.kl, "standard_error": last.error},
    )
    yield Finding.note(
        f"Mean of log pₜ − log qₜ over {config.points:,} samples of the exact pₜ, "
        f"from the same data and noise at every time, with {config.method} at tolerance "
        f"{config.tol:g}; bars are standard errors. An estimate can be negative where the KL "
        "is small."
    )
    yield from estimate_note(config, blurred=False)


STUDY = Study(
    __name__,
    "KL divergence of the flow's density over time",
    KlConfig,
    (compute, draw, table, say),
    page="likelihood",
    seconds=4.0,
    smallest={"points": 50},
)
