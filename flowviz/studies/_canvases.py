"""The studies of one path and of images as data of the player and of the gallery."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from flowviz.canvases import player as players
from flowviz.canvases.images import FilmSide, FilmView, Sheet, pack_film, pack_sheets
from flowviz.experiments.evolution import Scene, SceneConfig, compute_scene
from flowviz.experiments.particles import PAIRS
from flowviz.figures import theme
from flowviz.glossary import term
from flowviz.solvers import METHODS
from flowviz.studies._images import ImageSide, Sides
from flowviz.studies._player import start_label
from flowviz.studies.image_film import COUNT, ImageFilmConfig, title_of
from flowviz.studies.image_grid import ROW_TITLES, ImageGrid, ImageGridConfig
from flowviz.studies.particles import Particles, ParticlesConfig, ParticlesStudyResult

PATH_VIEW = players.View(layers=("particles", "trails", "density"))
"""The first view of one path: it is about trajectories."""

SHOWN = 6
"""Particles in the panels of one path at first."""


def panels_of(result: ParticlesStudyResult, n_shown: int) -> list[players.Panel]:
    """The panels of one path with their first `n_shown` particles."""
    return [_panel(each, n_shown) for each in result.panels]


def plane_of(scene: Scene) -> players.Scene:
    """Density and field behind the particles of one path."""
    plane = players.Scene(times=scene.times, density=scene.density, velocity=scene.velocity)
    if not scene.estimated:
        return plane
    return replace(
        plane, density_label="p_t, a mean over pairs", velocity_label="velocity of pairs"
    )


def scene_config_of(config: ParticlesConfig, result: ParticlesStudyResult) -> SceneConfig:
    """The density and the field behind the particles of one path."""
    pairs = result.panels[0].config
    shared = {"bridge": pairs.bridge, "coupling": pairs.coupling}
    return SceneConfig(data=config.data, path=result.path, **shared)


def path_payloads(
    config: ParticlesConfig,
    result: ParticlesStudyResult,
    view: players.View | None = None,
    *,
    n_shown: int = SHOWN,
    reserve: int,
) -> tuple[list[bytes], bytes]:
    """The scene of the path and the payload of the player that shows its panels.

    Args:
        config: settings of the study.
        result: its result.
        view: the first view.
        n_shown: number of particles.
        reserve: height in pixels that the page needs besides the planes.
    """
    scene = players.pack_scene(plane_of(compute_scene(scene_config_of(config, result))))
    payload, scenes = players.envelope(
        players.pack(panels_of(result, n_shown)),
        [scene] * len(result.panels),
        key="particles",
        view=view or PATH_VIEW,
        autoplay=True,
        reserve=reserve,
    )
    return [each for each in scenes if each is not None], payload


def _panel(particles: Particles, n_shown: int) -> players.Panel:
    result = particles.result
    states, count = result.states[:, :n_shown], len(result.displacement)
    none = "none are needed: each point comes from its own pair."
    counted = none if particles.config.sampler == PAIRS else "counted in the solve."
    return players.Panel(
        title=particles.title,
        role=particles.config.path.split(":")[0],
        times=result.times,
        states=states,
        step_times=result.times,
        step_states=states,
        readouts=(
            players.Readout(
                "NFE used", result.nfe, 0, help=f"{term('nfe').sentence} Here {counted}"
            ),
            players.Readout(
                "From start to end",
                result.displacement.mean(),
                2,
                help=f"Mean distance from start to end of {count} particles.",
            ),
            players.Readout(
                "Energy distance to data",
                result.energy[-1],
                3,
                help=f"{term('energy').sentence} At t = 1, of {count} particles to as many data "
                f"points; two random samples of the data differ by {result.floor[-1]:.3f}, at "
                f"most {result.highest[-1]:.3f}.",
            ),
        ),
        note=particles.note,
        start=start_label(particles.config.data),
    )


def row_title(config: ImageGridConfig) -> str:
    """The heading of the row labels of a grid."""
    return ROW_TITLES.get(config.view, "")


def sheets_of(config: ImageGridConfig, result: ImageGrid) -> list[Sheet]:
    """The sheets of a grid, one for each side."""
    title = row_title(config)
    heads = [f"{title} {label}".strip() for label in result.row_labels]
    sheets = []
    for panel in result.panels:
        side, sampled = panel.side, config.view == "samples" and panel.known.any()
        solver = config.solver_of(side)
        notes = (
            side.name if side.name not in side.label else "",
            "" if solver == config.method else METHODS[solver].label,
            f"NFE {np.nanmean(panel.nfe):.0f}" if sampled else "",
        )
        row_names = [
            heads[i // result.columns] if heads else "" for i in range(len(panel.classes))
        ]
        sheets.append(
            Sheet(
                title=side.label,
                colours=_colours(side),
                images=result.rows(panel),
                columns=result.columns,
                size=side.shape[1:],
                note=" · ".join(filter(None, notes)),
                row_labels=result.row_labels,
                column_labels=result.column_labels,
                tips=[
                    ", ".join(filter(None, (row_name, label)))
                    for row_name, label in zip(row_names, panel.classes, strict=True)
                ],
            )
        )
    return sheets


def films_of(config: ImageFilmConfig, result: Sides) -> tuple[list[FilmSide], Sequence[str]]:
    """The film of each side, and the name of each image."""
    films = [
        FilmSide(
            title_of(config, side),
            _colours(side),
            film.times,
            film.states,
            film.predictions,
            film.noise,
            film.remaining,
        )
        for side, film in result.results
    ]
    first = result.results[0][0]
    return films, first.class_names(config.image_config(first, COUNT))


def sheets_payload(config: ImageGridConfig, result: ImageGrid) -> bytes:
    """The payload of the gallery with the sheets of a grid."""
    return pack_sheets(sheets_of(config, result), row_title=row_title(config))


def film_payload(config: ImageFilmConfig, result: Sides) -> bytes:
    """The payload of the gallery with the films at the time and image of the config."""
    films, labels = films_of(config, result)
    return pack_film(films, labels, FilmView(t=config.t, image=config.image - 1))


def _colours(side: ImageSide) -> tuple[str, str]:
    return theme.path_colour(side.path), theme.path_colour(side.path, dark=True)
