"""The coefficients of signal and noise of each path over time."""

from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter

from flowviz.experiments.schedules import MIXED, SchedulesResult, compute_schedules
from flowviz.experiments.schedules import SchedulesConfig as Piece
from flowviz.figures import schedules as figures
from flowviz.figures import theme
from flowviz.progress import Progress
from flowviz.settings import Config, part, setting
from flowviz.studies import Figures, Finding, Findings, Live, NamedFigure, Study, Summary, Tables
from flowviz.studies import _settings as declare

ROUND = 1e-6
"""Deviation of alpha^2 + sigma^2 from 1 that counts as none."""


@dataclass(frozen=True, kw_only=True)
class SchedulesConfig(Config):
    """The schedules to compare."""

    paths: tuple[str, ...] = declare.paths(
        ("ot", "vp", "trig", "shaped"), help="Schedules to draw."
    )
    axis: str = setting(
        "t",
        "Horizontal axis",
        choices={"t": "time t", "log-snr": "log-SNR, the same for all paths"},
        help="Over log-SNR the choice of time drops out of a path: VP and the trigonometric path "
        "become one curve.",
        display=True,
    )


def compute(config: SchedulesConfig, live: Live, progress: Progress) -> Iterator[SchedulesResult]:
    """Evaluates all schedules at once."""
    yield progress.cached(compute_schedules, Piece(paths=config.paths))


def draw(config: SchedulesConfig, result: SchedulesResult) -> Figures:
    """Signal, noise, log-SNR and rates of each path."""
    lines = [
        part(
            figures.Schedule,
            each,
            colour=theme.path_colour(each.path),
            wide=each.path.startswith("shaped"),
        )
        for each in result.courses
    ]
    yield NamedFigure(
        name="schedules",
        title="schedules",
        alt="Signal, noise, log signal-to-noise ratio and both rates over time, and noise "
        f"against signal, for {', '.join(line.label for line in lines)}.",
        figure=figures.schedules(lines, against=config.axis),
    )


def table(config: SchedulesConfig, result: SchedulesResult) -> Tables:
    """One row for each path and time."""
    names = ("path", "t", "alpha", "sigma", "d_alpha", "d_sigma", "log_snr")
    return [{name: getattr(each, name) for name in names} for each in result.courses]


def say(config: SchedulesConfig, result: SchedulesResult) -> Findings:
    """When signal and noise are equal, how long both matter, and which paths are one."""
    courses = result.courses
    even, share = attrgetter("even"), attrgetter("share")
    early, late = min(courses, key=even), max(courses, key=even)
    text = f"t = {early.even:.2f} on {early.label}"
    if late.even - early.even >= 0.005:
        text += f", only at t = {late.even:.2f} on {late.label}"
    numbers = {f"equal on {each.label}": each.even for each in courses}
    yield Finding(lead="Signal and noise are equal at", text=f"{text}.", numbers=numbers)
    long, short = max(courses, key=share), min(courses, key=share)
    text = (
        f"signal and noise are within a factor of {MIXED:g} of each other for {long.share:.0%} of "
        f"the time on {long.label}"
    )
    if long.share - short.share >= 0.005:
        text += (
            f" and for {short.share:.0%} on {short.label}; equal time steps outside of that "
            "window do little"
        )
    shares = {f"share on {each.label}": each.share for each in courses}
    yield Finding(lead="How long both matter", text=f"{text}.", numbers=shares)
    round_ones = [each.label for each in courses if each.circle < ROUND]
    if len(round_ones) > 1:
        yield Finding(
            text=f"{' and '.join(round_ones)} keep α² + σ² = 1, so they are the same path at "
            "different times."
        )
    large = [each.label for each in courses if each.circle > 2]
    if large:
        text = f"{' and '.join(large)} starts with noise outside of the figure's frame."
        yield Finding(text=text)


def summarise(config: SchedulesConfig, result: SchedulesResult) -> Summary:
    """The numbers of each path."""
    return Summary(
        title="Schedules in numbers",
        heads=("Path", "α = σ at t", f"within a factor of {MIXED:g}", "largest rate", "α² + σ²"),
        rows=[
            (
                each.label,
                f"{each.even:.3f}",
                f"t = {each.window[0]:.2f} to {each.window[1]:.2f}, {each.share:.0%} of the time",
                f"{each.fastest:.3g}",
                "always 1" if each.circle < ROUND else f"up to {each.circle:.3g} from 1",
            )
            for each in result.courses
        ],
    )


STUDY = Study(
    __name__,
    "Schedules: signal and noise over time",
    SchedulesConfig,
    (compute, draw, table, say),
    summary=summarise,
    page="schedules",
    seconds=0.1,
    smallest={"paths": ("ot", "trig", "vp")},
)
