"""The views of images: sheets and films in the browser's canvas, and the studies beside them."""

from dataclasses import asdict, replace
from functools import partial

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from flowviz.canvases.images import FilmView
from flowviz.studies import STUDIES
from flowviz.studies._canvases import films_of, row_title, sheets_of
from flowviz.studies._image_sheets import able
from flowviz.studies._images import (
    ImagesConfig,
    LiveImages,
    Sides,
    load_sides,
    noticed_jumps,
    size_factor,
)
from flowviz.studies.export import script
from flowviz.studies.image_film import COUNT, ImageFilmConfig
from flowviz.studies.image_grid import ImageGrid, ImageGridConfig
from flowviz.studies.image_quality import ImageQualityConfig, cost
from flowviz.studies.page import film_page, sheets_page
from flowviz.ui import canvas, results, state, study_view, work
from flowviz.ui.downloads import Download, html_page, python
from flowviz.ui.images import downloads, gallery, sources
from flowviz.ui.images.controls import Page

FEW = (
    "With few evaluations (a small [NFE](nfe)), {}. "
    "The flow map cifar10-ot-distillation needs one (solver “jumps”)."
)
"""What to notice of solvers that take steps, where `{}` says which images lose quality."""

WAYS = (
    "How much longer than straight lines the trajectories are, and how many "
    "[evaluations](nfe) an adaptive solver takes."
)
"""What to notice of straightness."""


def main_finding(page: Page) -> str:
    """What to notice in a view.

    Raises:
        ValueError: as `show`.
    """
    if page.view == "ways":
        return WAYS
    live: LiveImages = {}
    if page.names:
        config, live = page.opened()
        if jumps := noticed_jumps(config, live):
            return jumps
    paths = {each.checkpoint.card.path.split(":")[0] for each in live.values()}
    both = {"ot", "vp"} <= paths
    return FEW.format(
        "images of VP diffusion lose quality first" if both else "images lose quality"
    )


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
    if isinstance(config, ImageQualityConfig):
        _quality(page, config, live)
        return
    draw = None
    if isinstance(config, ImageFilmConfig):
        opened = canvas.opened(FilmView(), "t")
        initial = replace(opened, image=state.opened("image", 1, _image) - 1)
        draw = partial(_film, page, config, initial)
    elif isinstance(config, ImageGridConfig):
        able(config, sides)
        draw = partial(_sheets, page, config)
    study_view.show(
        page.study,
        config,
        live=live,
        place="images",
        invite="",
        draw_result=draw,
        factor=size_factor(sides),
    )
    if page.view == "guidance":
        _guidance(page, config, live)


def _guidance(page: Page, config: ImagesConfig, live: LiveImages) -> None:
    """The study of guidance, if there is a checkpoint that can guide the left one."""
    study, guide = STUDIES["guidance"], page.guide or f"{page.names[0]}-early"
    if guide in sources.names():
        source = sources.load(guide)
        st.subheader(study.title)
        chosen = study.config(network=config.left, guide=source.key)
        study_view.show(study, chosen, live={**live, source.key: source.loaded}, place="guidance")


def _sheets(page: Page, config: ImageGridConfig, result: ImageGrid) -> None:
    sheets = sheets_of(config, result)
    gallery.sheets(sheets, key=f"images-{page.view}", row_title=row_title(config))
    done, total = result.drawn
    if done == total:
        images = {panel.side.name: panel.images for panel in result.panels}
        classes = {f"classes_{p.side.name}": np.array(p.classes) for p in result.panels}
        html = html_page(partial(sheets_page, page.study, config, result))
        _downloads(page, config, images, result.columns, html, **classes)
    study_view.draw(page.study, config, result, place="images", only=())


def _film(page: Page, config: ImageFilmConfig, initial: FilmView, result: Sides) -> None:
    films, names = films_of(config, result)
    view = gallery.film(films, names, key="images-film", opened=initial)
    canvas.keep(view, FilmView(), "t")
    state.keep("image", view.image + 1, 1)
    images = {
        side.name: np.concatenate(
            [film.states[::4, view.image], film.predictions[::4, view.image]]
        )
        for side, film in result.results
    }
    extra = {
        f"{name}_{side.name}": getattr(film, name)
        for side, film in result.results
        for name in ("states", "predictions", "times")
    }
    config = replace(config, t=view.t, image=view.image + 1)
    html = html_page(partial(film_page, page.study, config, result))
    _downloads(page, config, images, len(next(iter(images.values()))) // 2, html, **extra)
    study_view.draw(page.study, config, result, place="images-film", only=("decided",))


def _downloads(
    page: Page,
    config: ImagesConfig,
    images: dict[str, NDArray[np.uint8]],
    columns: int,
    html: Download,
    **arrays: NDArray,
) -> None:
    downloads.row(
        f"images-{page.view}",
        filename=f"flowviz-{page.view}-" + "-".join(images),
        images=images,
        columns=columns,
        arrays=arrays,
        settings={"study": page.study.name, **asdict(config)},
        extra=[html, python(script(page.study, config))],
    )


def _quality(page: Page, config: ImageQualityConfig, live: LiveImages) -> None:
    """Stored measurements, and a button that measures new ones."""
    new = replace(config, measure=True)
    token = study_view.token(page.study, new)
    if results.store().get(token) is None and work.current("images", token) is None:
        stored = work.result_of(
            "images-stored",
            study_view.token(page.study, config),
            study_view.computation(page.study, config, live),
            label="Reading measurements",
            lane="quick",
        )
        if stored is None:
            return
        study_view.draw(page.study, config, stored, place="images-quality")
        if stored.unmeasurable:
            return
    sides = load_sides(config, live)
    seconds = size_factor(sides) * cost(config, sides)
    duration = work.duration(seconds)
    study_view.show(
        page.study,
        new,
        live=live,
        place="images",
        invite=f"Measure {config.judged} images per point at these settings: about {duration}.",
        button="Measure",
    )


def _image(raw: str) -> int:
    if raw not in {str(i + 1) for i in range(COUNT)}:
        raise ValueError(f"a film has the images 1 to {COUNT}; got {raw[:40]!r}")
    return int(raw)
