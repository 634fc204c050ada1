"""The figures of the study `flow`: one time, trajectories, a strip, quality, errors."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from flowviz.datasets import dataset
from flowviz.experiments.evolution import Scene, at_time, nearest_time
from flowviz.figures import curves, plane, theme
from flowviz.studies import NamedFigure, Tables
from flowviz.studies._flow import CompareConfig, CompareResult, Side
from flowviz.studies._lines import path_line
from flowviz.studies._tables import cells, tracks, xy

SHOWN_PARTICLES = 1_000
"""Number of particles in a panel of the figure: a browser needs about 0.2 ms for each mark."""

SHOWN_TRAJECTORIES = 120
"""Number of trajectories in a figure."""

STRIP_TIMES = np.linspace(0, 1, 10)
"""The ten times of a film strip, as in Fig. 4 of Lipman et al. 2022."""

STRIP_PARTICLES = 600

SHOWN_ORIGINS = 2_000
"""Number of particles in a panel of the figures by origin and by class."""


def draw(config: CompareConfig, result: CompareResult) -> list[NamedFigure]:
    """The figure that the config chooses, if there is a learned field or classes where it needs
    them."""
    named = DRAWN[config.picture](config, result)
    return [] if named is None else [named]


def _planes(result: CompareResult, **arrays: Sequence[Any]) -> list[plane.Plane]:
    """A panel for each side with its own arrays."""
    return [
        plane.Plane(
            title=side.title,
            colour=theme.path_colour(side.path),
            **{name: values[k] for name, values in arrays.items()},
        )
        for k, side in enumerate(result.sides)
    ]


def _squares(panels: Sequence[plane.Plane]) -> Any:
    """See `NamedFigure.squares`: four panels are two rows, together a square."""
    return 1 if len(panels) == 4 else len(panels)


def _moment(config: CompareConfig, result: CompareResult) -> NamedFigure:
    sides, t = result.sides, config.t
    grids = [result.density(k) for k in range(len(sides))]
    particles = [_particles(config, side) for side in sides]
    panels = _planes(
        result,
        axis=[axis for axis, _, _ in grids],
        density=[at_time(times, density, t) for _, times, density in grids],
        positions=[np.stack([*cells(each.scene.arrow_axis).values()], 1) for each in sides],
        velocities=[
            at_time(side.scene.times, side.scene.velocity, t).reshape(-1, 2) for side in sides
        ],
        particles=[points[:SHOWN_PARTICLES] for points in particles],
    )
    kinds = ["exact" if result.learned(k) is None else "learned" for k in range(len(sides))]
    return NamedFigure(
        name="moment",
        title=f"the plane at t = {t:.2f}",
        alt=f"Density ({' and '.join(dict.fromkeys(kinds))}), velocity field and particles at "
        f"t = {t:.2f} of {', '.join(side.title for side in sides)}.",
        figure=plane.snapshot(panels, t=t),
        squares=_squares(panels),
        tables=[
            _panel_columns(side) | {"particle": np.arange(len(points))} | xy(points)
            for side, points in zip(sides, particles, strict=True)
        ],
    )


def _trajectories(config: CompareConfig, result: CompareResult) -> NamedFigure:
    sides = result.sides
    states = [side.flow.step_states[:, :SHOWN_TRAJECTORIES] for side in sides]
    panels = _planes(
        result,
        axis=[side.scene.axis for side in sides],
        density=[side.scene.density[-1] for side in sides],
        states=states,
        jumps=[side.jumps for side in sides],
    )
    return NamedFigure(
        name="ways",
        title="trajectories",
        alt=f"Trajectories of {SHOWN_TRAJECTORIES} particles from noise to data, at the steps of "
        "the solver.",
        figure=plane.trajectories(panels),
        squares=_squares(panels),
        tables=[
            _panel_columns(side) | tracks(side.flow.step_times, each)
            for side, each in zip(sides, states, strict=True)
        ],
    )


def _strip(config: CompareConfig, result: CompareResult) -> NamedFigure:
    frames = [
        np.stack([_particles(replace(config, t=t), side) for t in STRIP_TIMES])[
            :, :STRIP_PARTICLES
        ]
        for side in result.sides
    ]
    return NamedFigure(
        name="strip",
        title="film strip",
        alt="Ten times from noise to data in a row, one row for each path.",
        figure=plane.film_strip(_planes(result), frames, STRIP_TIMES),
        tables=[
            _panel_columns(side) | tracks(STRIP_TIMES, each)
            for side, each in zip(result.sides, frames, strict=True)
        ],
    )


def _over_density(
    result: CompareResult, t: float, **of_particles: Sequence[NDArray]
) -> list[plane.Plane]:
    """A panel for each side with its exact density at t, and arrays of its first particles."""
    sides = result.sides
    return _planes(
        result,
        axis=[side.scene.axis for side in sides],
        density=[at_time(side.scene.times, side.scene.density, t) for side in sides],
        **{
            name: [each[:SHOWN_ORIGINS] for each in values]
            for name, values in of_particles.items()
        },
    )


def _origin(config: CompareConfig, result: CompareResult) -> NamedFigure:
    """The particles at time t, coloured by where they started: which mass goes where."""
    sides, t = result.sides, config.t
    starts = [side.flow.states[0] for side in sides]
    centred = [points - points.mean(axis=0) for points in starts]
    angles = [np.degrees(np.arctan2(points[:, 1], points[:, 0])) for points in centred]
    particles = [_particles(config, side) for side in sides]
    panels = _over_density(result, t, particles=particles, directions=angles)
    return NamedFigure(
        name="origin",
        title=f"particles by origin at t = {t:.2f}",
        alt="Particles of all panels, coloured by the direction from the centre of the starting "
        f"points to their own, at t = {t:.2f}.",
        figure=plane.by_direction(panels, t=t),
        squares=_squares(panels),
        tables=[
            _panel_columns(side)
            | {"particle": np.arange(len(points)), "direction": angle}
            | xy(points)
            for side, points, angle in zip(sides, particles, angles, strict=True)
        ],
    )


def _class(config: CompareConfig, result: CompareResult) -> NamedFigure | None:
    """The particles at time t, coloured by the class of the data that they move to."""
    target = dataset(config.data, sources=True)
    if not target.classes:
        return None
    sides, t = result.sides, config.t
    ends = [torch.from_numpy(side.flow.states[-1]) for side in sides]
    classes = [target.likeliest_classes(x).numpy() for x in ends]
    particles = [_particles(config, side) for side in sides]
    panels = _over_density(result, t, particles=particles, classes=classes)
    return NamedFigure(
        name="class",
        title=f"particles by class at t = {t:.2f}",
        alt=f"Particles of all panels at t = {t:.2f}, coloured by the most probable class of the "
        f"data where they end: {', '.join(target.classes)}.",
        figure=plane.by_class(panels, target.classes, t=t),
        squares=_squares(panels),
        tables=[
            _panel_columns(side)
            | {"particle": np.arange(len(points)), "class": np.array(target.classes)[indices]}
            | xy(points)
            for side, points, indices in zip(sides, particles, classes, strict=True)
        ],
    )


def _quality(config: CompareConfig, result: CompareResult) -> NamedFigure:
    ranks = theme.ranks([side.path for side in result.sides])
    lines = [
        path_line(
            side.path,
            side.flow.times,
            side.flow.quality,
            label=side.title,
            floor=side.flow.quality_floor,
            joined=not side.jumps,
            k=k,
        )
        for k, side in zip(ranks, result.sides, strict=True)
    ]
    return NamedFigure(
        name="quality",
        title="quality over time",
        alt="Sliced W₂ of the particles to the data over time in each panel; the "
        "dotted line is the distance between two random samples of the data.",
        figure=curves.quality(lines, t=config.t, metric="sliced W₂ to data"),
        tables=quality_columns(result),
    )


def _error(scene: Scene, t: float) -> NDArray | None:
    """The difference of both fields at time t, NaN where few data pass; None if not known."""
    if scene.difference is None or scene.reached is None:
        return None
    reached = nearest_time(scene.times, scene.reached, t)
    return np.where(reached, at_time(scene.times, scene.difference, t), np.nan)


def _difference(config: CompareConfig, result: CompareResult) -> NamedFigure | None:
    side_errors = [(side, _error(side.scene, config.t)) for side in result.sides]
    learned = [side for side, error in side_errors if error is not None]
    errors = [error for _, error in side_errors if error is not None]
    if not learned:
        return None
    axes = [side.scene.difference_axis for side in learned]
    learned_result = replace(result, sides=tuple(learned))
    panels = _planes(learned_result, axis=axes, density=errors)
    return NamedFigure(
        name="difference",
        title=f"learned minus exact at t = {config.t:.2f}",
        alt="Difference of the learned velocity from the exact one over the plane.",
        figure=plane.difference(panels, t=config.t),
        squares=_squares(panels) if len(learned) > 1 else 0,
        tables=[
            _panel_columns(side) | cells(axis) | {"difference": error.ravel()}
            for side, axis, error in zip(learned, axes, errors, strict=True)
        ],
    )


DRAWN = {
    "moment": _moment,
    "ways": _trajectories,
    "strip": _strip,
    "origin": _origin,
    "class": _class,
    "quality": _quality,
    "difference": _difference,
}


def _particles(config: CompareConfig, side: Side) -> NDArray:
    flow = side.flow
    if config.mode == "steps":
        return at_time(flow.step_times, flow.step_states, config.t, held=True)
    return at_time(flow.times, flow.states, config.t, held=side.jumps)


def _panel_columns(side: Side) -> dict[str, Any]:
    """The columns that say which panel a row belongs to."""
    return {"panel": side.title, "path": side.path}


def quality_columns(result: CompareResult) -> Tables:
    """Quality over time, one row for each path and time."""
    return [
        _panel_columns(side) | {"t": side.flow.times, "sliced_w2": side.flow.quality}
        for side in result.sides
    ]
