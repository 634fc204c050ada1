"""The player's picture as Plotly figures: to read, zoom and take away."""

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from flowviz.experiments.evolution import REACHED, at_time, last_step, nearest_time
from flowviz.figures import curves, plane, theme
from flowviz.ui import downloads, figure, state
from flowviz.ui import player as players
from flowviz.ui.compare.controls import Settings
from flowviz.ui.compare.learned import layer_of
from flowviz.ui.compare.sides import Side
from flowviz.ui.solver_picker import spent
from flowviz.ui.theme import is_dark

__all__ = ["twin"]

HEAD_START, FIRST_START = 0.15, 1.2
"""Seconds that the player has to draw before a new Plotly figure keeps the browser busy; more at a
visitor's first, when the browser has to load and read all of Plotly."""

METRIC = "sliced W₂ to fresh data"
"""What a quality number on this page is; its unit is that of the plane."""

SHOWN_WAYS = 120
"""Particles whose ways are drawn: more would be a thicket."""

STRIP_TIMES = np.linspace(0, 1, 10)
"""The ten moments of a film strip, as in Fig. 4 of the paper."""

STRIP_PARTICLES = 600


def twin(settings: Settings, panels: Sequence[Side], view: players.View) -> None:
    """What the player shows, as figures to read, zoom and take away."""
    options = {
        "moment": f"At t = {view.t:.2f}",
        "ways": "Trajectories",
        "strip": "Ten moments",
        "quality": "Quality over time",
    }
    if any(side.scene.difference is not None for side in panels):
        options["difference"] = "Learned − exact"
    chosen = state.segmented("figure", "Figure", options, "moment", label_visibility="collapsed")
    time.sleep(HEAD_START if st.session_state.get("twin:shown") else FIRST_START)
    st.session_state["twin:shown"] = True
    FIGURES[chosen](settings, panels, view)


def _moment(settings: Settings, panels: Sequence[Side], view: players.View) -> None:
    layers = layer_of(panels, view)
    grids = [
        (side.scene.axis, side.scene.times, side.scene.density)
        if layer is None
        else (layer.axis, layer.times, layer.density)
        for side, layer in zip(panels, layers, strict=True)
    ]
    kinds = ["exact" if layer is None else "learned" for layer in layers]
    moments = [
        plane.Plane(
            title=side.label,
            colour=theme.path_colour(side.path, dark=is_dark()),
            xs=axis,
            ys=axis,
            density=at_time(times, density, view.t),
            positions=_nodes(side.scene.arrow_axis),
            velocities=at_time(side.scene.times, side.scene.velocity, view.t).reshape(-1, 2),
            particles=_particles(side, view),
        )
        for side, (axis, times, density) in zip(panels, grids, strict=True)
    ]

    def columns() -> Mapping[str, NDArray]:
        return downloads.stacked(
            [
                {"path": side.path, "particle": np.arange(len(m.particles))} | _xy(m.particles)
                for side, m in zip(panels, moments, strict=True)
            ]
        )

    figure.show(
        plane.snapshot(moments, t=view.t, dark=is_dark()),
        "moment",
        title=f"the plane at t = {view.t:.2f}",
        alt=f"Density ({' and '.join(dict.fromkeys(kinds))}), velocity field and particles at "
        f"t = {view.t:.2f} of {panels[0].label}, left, and {panels[1].label}, right.",
        settings=_settings(settings, panels, t=f"{view.t:.4f}", density=" | ".join(kinds)),
        columns=columns,
        filename=f"flowviz-{settings.data}-t{view.t:.2f}",
        squares=2,
    )


def _ways(settings: Settings, panels: Sequence[Side], view: players.View) -> None:
    drawn = [
        plane.Plane(
            title=side.label,
            colour=theme.path_colour(side.path, dark=is_dark()),
            xs=side.scene.axis,
            ys=side.scene.axis,
            density=side.scene.density[-1],
            states=side.flow.step_states[:, :SHOWN_WAYS],
        )
        for side in panels
    ]

    def columns() -> Mapping[str, NDArray]:
        tables = []
        for side, ways in zip(panels, drawn, strict=True):
            steps, n = ways.states.shape[:2]
            tables.append(
                {
                    "path": side.path,
                    "particle": np.tile(np.arange(n), steps),
                    "step": np.repeat(np.arange(steps), n),
                    "t": np.repeat(side.flow.step_times, n),
                }
                | _xy(ways.states.reshape(-1, 2))
            )
        return downloads.stacked(tables)

    figure.show(
        plane.trajectories(drawn, dark=is_dark()),
        "ways",
        title="trajectories",
        alt=f"The ways of {SHOWN_WAYS} particles from noise to data through the solver's states.",
        settings=_settings(settings, panels, particles=SHOWN_WAYS),
        columns=columns,
        filename=f"flowviz-{settings.data}-trajectories",
        squares=2,
    )


def _strip(settings: Settings, panels: Sequence[Side], view: players.View) -> None:
    rows = [
        plane.Plane(title=side.label, colour=theme.path_colour(side.path, dark=is_dark()))
        for side in panels
    ]
    frames = [
        np.stack([at_time(side.flow.times, side.flow.states, t) for t in STRIP_TIMES])[
            :, :STRIP_PARTICLES
        ]
        for side in panels
    ]

    def columns() -> Mapping[str, NDArray]:
        return downloads.stacked(
            [
                {
                    "path": side.path,
                    "t": np.repeat(STRIP_TIMES, STRIP_PARTICLES),
                    "particle": np.tile(np.arange(STRIP_PARTICLES), len(STRIP_TIMES)),
                }
                | _xy(states.reshape(-1, 2))
                for side, states in zip(panels, frames, strict=True)
            ]
        )

    figure.show(
        plane.film_strip(rows, frames, STRIP_TIMES, dark=is_dark()),
        "strip",
        title="film strip",
        alt="Ten moments from noise to data in a row, one row a path.",
        settings=_settings(settings, panels, particles=STRIP_PARTICLES),
        columns=columns,
        filename=f"flowviz-{settings.data}-film-strip",
    )


def _quality(settings: Settings, panels: Sequence[Side], view: players.View) -> None:
    lines = [
        curves.Curve(
            label=side.label,
            colour=theme.path_colour(side.path, dark=is_dark()),
            x=side.flow.times,
            y=side.flow.quality,
            floor=side.flow.quality_floor,
        )
        for side in panels
    ]
    figure.show(
        curves.quality(lines, t=view.t, metric=METRIC, dark=is_dark()),
        "quality",
        title="quality over time",
        alt="Sliced 2-Wasserstein distance of the particles to fresh data over time, for both "
        "paths, with the distance of two fresh sets of data as the floor.",
        settings=_settings(settings, panels, floor=f"{panels[0].flow.quality_floor:.6g}"),
        columns=lambda: downloads.stacked(
            [
                {"path": side.path, "t": side.flow.times, "sliced_w2": side.flow.quality}
                for side in panels
            ]
        ),
        filename=f"flowviz-{settings.data}-quality",
    )


def _difference(settings: Settings, panels: Sequence[Side], view: players.View) -> None:
    learned = [side for side in panels if side.scene.difference is not None]
    maps = [
        plane.Plane(
            title=side.label,
            colour=theme.path_colour(side.path, dark=is_dark()),
            xs=side.scene.difference_axis,
            ys=side.scene.difference_axis,
            density=np.where(
                nearest_time(side.scene.times, side.scene.reached, view.t),
                at_time(side.scene.times, side.scene.difference, view.t),
                np.nan,
            ),
        )
        for side in learned
    ]

    def columns() -> Mapping[str, NDArray]:
        return downloads.stacked(
            [
                {"path": side.path}
                | _xy(_nodes(side.scene.difference_axis))
                | {"difference": m.density.ravel()}
                for side, m in zip(learned, maps, strict=True)
            ]
        )

    figure.show(
        plane.difference(maps, t=view.t, dark=is_dark()),
        "difference",
        title=f"learned minus exact at t = {view.t:.2f}",
        alt="Where the learned velocity differs from the exact one, and by how much.",
        settings=_settings(settings, panels, t=f"{view.t:.4f}"),
        columns=columns,
        filename=f"flowviz-{settings.data}-difference-t{view.t:.2f}",
        squares=2 if len(maps) == 2 else 0,
    )
    errors = " and ".join(
        f"{at_time(side.scene.times, side.scene.rms_difference, view.t):.3g} on {side.label}"
        for side in learned
    )
    st.caption(
        f"Root mean square over the path's density, which is what particles meet: {errors}. "
        f"Blank where the density is below {REACHED:.0%} of its largest: no training sample has "
        "been there, and errors are large but harmless."
    )


FIGURES: dict[str, Callable[[Settings, Sequence[Side], players.View], None]] = {
    "moment": _moment,
    "ways": _ways,
    "strip": _strip,
    "quality": _quality,
    "difference": _difference,
}


def _particles(side: Side, view: players.View) -> NDArray:
    if view.mode == "steps":
        return last_step(side.flow.step_times, side.flow.step_states, view.t)
    return at_time(side.flow.times, side.flow.states, view.t)


def _settings(settings: Settings, panels: Sequence[Side], **more: object) -> Mapping[str, object]:
    budget = spent(settings.method, settings.nfe, settings.tol)
    fields = {f"field on {side.path}": side.config.field for side in panels}
    return {"data": settings.data, **fields, "solver": settings.method, **budget} | {
        "seed": settings.seed,
        **more,
    }


def _xy(points: NDArray) -> dict[str, NDArray]:
    return {"x1": points[:, 0], "x2": points[:, 1]}


def _nodes(axis: NDArray) -> NDArray:
    """The nodes of a square grid, (G * G, 2), x fastest."""
    x, y = np.meshgrid(axis, axis)
    return np.stack([x.ravel(), y.ravel()], axis=1)
