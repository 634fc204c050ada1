"""The noise of the SDE of a path over time."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from flowviz.experiments.particles import NoiseConfig, NoiseResult, compute_noise
from flowviz.progress import Progress
from flowviz.schedulers import scheduler
from flowviz.settings import Config, setting
from flowviz.stochastic import RENEWAL
from flowviz.studies import Figures, Finding, Findings, Live, Study, Tables
from flowviz.studies import _settings as declare
from flowviz.studies._lines import line_figure, path_line


@dataclass(frozen=True, kw_only=True)
class SdeNoiseConfig(Config):
    """The noise of the SDE on several paths."""

    paths: tuple[str, ...] = declare.paths(("ot", "vp", "trig"))
    noise: float = setting(
        1.0,
        "Noise level η",
        bounds=(0.0, 2.0),
        help="0 is the ODE; 1 is the reverse of the diffusion that turns data into noise.",
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class SdeNoiseResult:
    """The noise over time of each path."""

    curves: tuple[NoiseResult, ...]


def compute(config: SdeNoiseConfig, live: Live, progress: Progress) -> Iterator[SdeNoiseResult]:
    """Evaluates g_t on all paths."""
    pieces = [NoiseConfig(path=path, noise=config.noise) for path in config.paths]
    yield SdeNoiseResult(curves=tuple(progress.cached(compute_noise, each) for each in pieces))


def draw(config: SdeNoiseConfig, result: SdeNoiseResult) -> Figures:
    """g_t over time; the first path is solid."""
    lines = [
        path_line(path, each.times, each.g, dash="dot" if k else "solid")
        for k, (path, each) in enumerate(zip(config.paths, result.curves, strict=True))
    ]
    yield line_figure(
        "noise",
        "noise over time",
        "The strength g of the SDE's noise over time, for several paths.",
        lines,
        y_title="noise g<sub>t</sub>",
    )


def table(config: SdeNoiseConfig, result: SdeNoiseResult) -> Tables:
    """One row for each path and time."""
    return [
        {"path": path, "t": each.times, "g": each.g}
        for path, each in zip(config.paths, result.curves, strict=True)
    ]


def say(config: SdeNoiseConfig, result: SdeNoiseResult) -> Findings:
    """The time of the largest noise on each path, and the formula."""
    for path, curve in zip(config.paths, result.curves, strict=True):
        weight = np.cumsum(curve.g**2)
        half = float(curve.times[np.searchsorted(weight, weight[-1] / 2)]) if weight[-1] else 0.0
        yield Finding(
            lead=scheduler(path).label,
            text=f"half of the added variance comes before t = {half:.2f}.",
            numbers={"half": half},
        )
    yield Finding.note(
        "g_t = η σ_t √(2 d/dt log(α_t/σ_t)); on VP this is η √β(1−t), the noise of the "
        "reverse diffusion. On OT it would be infinite at t = 0, so the rate of α_t/α_t' is "
        f"limited to {RENEWAL:g}."
    )


STUDY = Study(
    __name__,
    "The noise of the SDE over time",
    SdeNoiseConfig,
    (compute, draw, table, say),
    page="particles",
    seconds=0.1,
    smallest={"paths": ("ot",)},
)
