"""How likely is one point, and which noise does it come from? The trajectory backward in time."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from flowviz.datasets import FRAME
from flowviz.densities import MISS
from flowviz.experiments.likelihood import (
    DensityResult,
    PointConfig,
    PointResult,
    compute_density,
    compute_point,
)
from flowviz.figures import likelihood as figures
from flowviz.figures import theme
from flowviz.progress import Progress
from flowviz.settings import setting
from flowviz.studies import Figures, Finding, Findings, Live, NamedFigure, Study, Summary, Tables
from flowviz.studies._backward import GridConfig, density_columns, mass_finding
from flowviz.studies._tables import xy

START = (3.3, 3.3)
"""Default point, in the corner cell of the checkerboard."""


@dataclass(frozen=True, kw_only=True)
class PointStudyConfig(GridConfig):
    """One point and the log-density around it."""

    x: float = setting(START[0], "x₁", bounds=(-8.0, 8.0), help="First coordinate at t = 1.")
    y: float = setting(START[1], "x₂", bounds=(-8.0, 8.0), help="Second coordinate at t = 1.")


@dataclass(frozen=True, kw_only=True, eq=False)
class PointStudyResult:
    """The point's trajectory and the density at t = 1."""

    point: PointResult
    density: DensityResult

    def map_error(self, x: float, y: float) -> float | None:
        """Standard error of Hutchinson's estimate in the cell of a point, in nats."""
        if self.density.error is None or max(abs(x), abs(y)) >= FRAME:
            return None
        cells = len(self.density.axis)
        column, row = (int((v + FRAME) / (2 * FRAME) * cells) for v in (x, y))
        return float(self.density.error[row, column])


def compute(
    config: PointStudyConfig, live: Live, progress: Progress
) -> Iterator[PointStudyResult]:
    """Follows the point, then all cells of the grid.

    Raises:
        ValueError: a solve failed; the message has the time and advice.
    """
    live_field = live.get(config.field)
    piece = config.part(PointConfig)
    point = progress.cached(compute_point, piece, field=live_field)
    progress.report(0.1, "the density on the grid")
    density = progress.cached(compute_density, config.density(1.0), field=live_field)
    yield PointStudyResult(point=point, density=density)


def draw(config: PointStudyConfig, result: PointStudyResult) -> Figures:
    """The map of the log-density with the trajectory, and the log-density along it."""
    point, density = result.point, result.density
    colour = theme.path_colour(config.path)
    label = "log <i>p<sub>t</sub></i> there, from data points"
    yield NamedFigure(
        name="log-density",
        title="the log-density",
        alt=f"Log-density of the {config.label} over the plane and the trajectory of the "
        f"point ({config.x:.2f}, {config.y:.2f}) to its noise ({point.noise[0]:.2f}, "
        f"{point.noise[1]:.2f}).",
        figure=figures.log_density_map(
            density.axis,
            density.log_density,
            backward=point.backward,
            forward=point.forward,
            colour=colour,
        ),
        squares=1,
        half=True,
        tables=[density_columns(density)],
    )
    yield NamedFigure(
        name="along",
        title="log-density along the trajectory",
        alt="The log-density along the point's trajectory from its noise, and the exact one.",
        figure=figures.log_density_over_time(
            point.times,
            point.log_density,
            point.exact,
            colour=colour,
            exact_label=label if config.learned_path else "exact " + label.partition(",")[0],
        ),
        half=True,
    )


def table(config: PointStudyConfig, result: PointStudyResult) -> Tables:
    """One row for each step of the trajectory."""
    point = result.point
    return {
        "t": point.times,
        **xy(point.backward),
        "log_p": point.log_density,
        "exact_log_p": point.exact,
    }


def summarise(config: PointStudyConfig, result: PointStudyResult) -> Summary:
    """What is known of the point."""
    point, noise = result.point, result.point.noise
    rows = [
        ("log-density, exact divergence", f"{point.log_prob:.4f} nats"),
        ("exact log-density of the path", f"{point.exact[-1]:.4f} nats"),
        ("its noise x₀", f"({noise[0]:.3f}, {noise[1]:.3f}), {np.linalg.norm(noise):.2f} from 0"),
        ("log p₀ of the noise", f"{point.log_prior:.4f} nats"),
        ("− ∫ div v dt", f"{point.log_prob - point.log_prior:+.4f} nats"),
        ("error after going back and forth", f"{point.miss:.2g}"),
    ]
    error = result.map_error(config.x, config.y)
    if error is not None:
        rows.append(("standard error of the map here", f"± {error:.3f} nats"))
    title = f"The point ({config.x:.2f}, {config.y:.2f})"
    return Summary(title=title, heads=("quantity", "value"), rows=rows)


def say(config: PointStudyConfig, result: PointStudyResult) -> Findings:
    """Whether the log-density of the point can be trusted, and the mass of the map."""
    point = result.point
    numbers = {"log_p": point.log_prob, "exact": float(point.exact[-1]), "miss": point.miss}
    text = (
        f"log p is {point.log_prob:.3f} nats, against {point.exact[-1]:.3f} for the exact density "
        "of the path"
    )
    yield Finding(lead="The point", text=f"{text}.", numbers=numbers)
    if point.miss > MISS:
        yield Finding(
            lead="Not reliable",
            text=f"followed back and forth, the point ends {point.miss:.2g} from its start: "
            "the steps are too large for the field here. Use more evaluations, or a point "
            "near the data.",
            numbers={"miss": point.miss},
        )
    yield mass_finding(config, result.density)


STUDY = Study(
    __name__,
    "One point: its log-density and its noise",
    PointStudyConfig,
    (compute, draw, table, say),
    summary=summarise,
    page="likelihood",
    seconds=3.0,
    smallest={"cells": 18},
)
