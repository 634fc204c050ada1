"""The views of images: sheets and films in the browser's canvas, and the studies beside them."""

from dataclasses import asdict, replace
from functools import partial

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from flowviz.canvases.images import FilmSide, FilmView, Sheet
from flowviz.figures import theme
from flowviz.studies._image_sheets import able
from flowviz.studies._images import ImagesConfig, ImageSide, LiveImages, Sides, load_sides
from flowviz.studies.export import script
from flowviz.studies.image_film import COUNT, ImageFilmConfig
from flowviz.studies.image_grid import ROW_TITLES, ImageGrid, ImageGridConfig
from flowviz.studies.image_quality import ImageQualityConfig, cost
from flowviz.ui import state, study_view, work
from flowviz.ui.images import downloads, gallery, sources
from flowviz.ui.images.controls import Page


def show(page: Page) -> None:
    """The chosen view of the chosen checkpoints.

    Raises:
        ValueError: a checkpoint cannot be read, or the two cannot be compared.
    """
    if not page.names:
        st.info(sources.MISSING, icon=":material/image_search:")
        return
    config, live = page.opened()
    sides = load_sides(config, live)
    if page.view == "quality":
        _quality(page, config, live)
        return
    if page.view == "ways":
        study_view.show(page.study, config, live=live, place="images", invite="")
        return
    if page.view == "film":
        initial = FilmView(
            t=state.opened("t", 0.5, _time), image=state.opened("image", 1, _image) - 1
        )
        draw = partial(_film, page, config, initial)
    else:
        able(config, sides)
        draw = partial(_sheets, page, config)
    work.show(
        "images",
        study_view.token(page.study, config),
        study_view.computation(page.study, config, live),
        draw,
        label="Drawing images",
    )


def _colours(side: ImageSide) -> tuple[str, str]:
    return theme.path_colour(side.path), theme.path_colour(side.path, dark=True)


def _sheets(page: Page, config: ImageGridConfig, result: ImageGrid) -> None:
    title = ROW_TITLES.get(page.view, "")
    heads = [f"{title} {label}".strip() for label in result.row_labels]
    sheets = []
    for panel in result.panels:
        side, sampled = panel.side, page.view == "samples" and panel.known.any()
        notes = (
            side.name if side.name != side.label else "",
            f"NFE {np.nanmean(panel.nfe):.0f}" if sampled else "",
        )
        places = [heads[i // result.columns] if heads else "" for i in range(len(panel.classes))]
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
                    ", ".join(filter(None, (place, label)))
                    for place, label in zip(places, panel.classes, strict=True)
                ],
            )
        )
    gallery.sheets(sheets, key=f"images-{page.view}", row_title=title)
    done, total = result.drawn
    if done == total:
        images = {panel.side.name: panel.images for panel in result.panels}
        _downloads(page, config, images, result.columns)
    study_view.draw(page.study, config, result, place="images", only=())


def _film(page: Page, config: ImageFilmConfig, initial: FilmView, result: Sides) -> None:
    films = [
        FilmSide(
            side.label,
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
    names = first.class_names(config.drawn(first, COUNT))
    view = gallery.film(films, names, key="images-film", opened=initial)
    state.keep("t", round(view.t, 3), 0.5)
    state.keep("image", view.image + 1, 1)
    shown = {
        side.name: np.concatenate(
            [film.states[::4, view.image], film.predictions[::4, view.image]]
        )
        for side, film in result.results
    }
    more = {
        f"{name}_{side.name}": getattr(film, name)
        for side, film in result.results
        for name in ("states", "predictions", "times")
    }
    config = replace(config, t=view.t, image=view.image + 1)
    _downloads(page, config, shown, len(next(iter(shown.values()))) // 2, **more)
    study_view.draw(page.study, config, result, place="images-film", only=("decided",))


def _downloads(
    page: Page,
    config: ImagesConfig,
    images: dict[str, NDArray[np.uint8]],
    columns: int,
    **arrays: NDArray,
) -> None:
    downloads.row(
        f"images-{page.view}",
        filename=f"flowviz-{page.view}-" + "-".join(images),
        images=images,
        columns=columns,
        arrays=arrays,
        settings={"study": page.study.name, **asdict(config)},
        script=script(page.study, config),
    )


def _quality(page: Page, config: ImageQualityConfig, live: LiveImages) -> None:
    """Stored measurements, and a button that measures new ones."""
    new = replace(config, measure=True)
    token = study_view.token(page.study, new)
    if work.store().get(token) is None and work.current("images", token) is None:
        stored = work.result_of(
            "images-stored",
            study_view.token(page.study, config),
            study_view.computation(page.study, config, live),
            label="Reading measurements",
        )
        if stored is None:
            return
        study_view.draw(page.study, config, stored, place="images-quality")
        if stored.unmeasurable:
            return
    seconds = cost(config, load_sides(config, live))
    about = f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"
    study_view.show(
        page.study,
        new,
        live=live,
        place="images",
        invite=f"Measure {config.judged} images per point at these settings: about {about} with "
        "networks of the shipped size.",
        button="Measure",
    )


def _time(raw: str) -> float:
    t = float(raw)
    if not 0 <= t <= 1:
        raise ValueError(f"t must lie between 0 and 1; got {t:g}")
    return t


def _image(raw: str) -> int:
    if raw not in {str(i + 1) for i in range(COUNT)}:
        raise ValueError(f"a film has the images 1 to {COUNT}; got {raw[:40]!r}")
    return int(raw)
