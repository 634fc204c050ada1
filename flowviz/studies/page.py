"""A study as a page of one file, which opens offline: pictures, findings and how it was made."""

from collections.abc import Sequence
from html import escape

from flowviz.canvases.page import canvas_html, page
from flowviz.canvases.player import View
from flowviz.studies import Finding, NamedFigure, Study
from flowviz.studies._canvases import SHOWN, film_payload, path_payloads, sheets_payload
from flowviz.studies._flow import CompareConfig, CompareResult
from flowviz.studies._images import Sides
from flowviz.studies._player import payloads
from flowviz.studies.export import command_line
from flowviz.studies.image_film import ImageFilmConfig
from flowviz.studies.image_grid import ImageGrid, ImageGridConfig
from flowviz.studies.particles import ParticlesConfig, ParticlesStudyResult
from flowviz.studies.study import C, R

RESERVE = 270
"""Height in pixels of the title and the controls of the player on its page."""


def figures_page(study: Study[C, R], config: C, result: R, *, only: Sequence[str] = ()) -> bytes:
    """The figures of a study that can be zoomed, with their findings, as HTML.

    Args:
        study: the study.
        config: its settings.
        result: its complete result.
        only: names of the figures to show; all by default.
    """
    figures = [each for each in study.draw(config, result) if not only or each.name in only]
    return page(study.title, _figures(figures) + _text(study, config, result), scheme="light")


def compare_page(
    study: Study[CompareConfig, CompareResult],
    config: CompareConfig,
    result: CompareResult,
    view: View | None = None,
) -> bytes:
    """The player of Compare with its findings, as HTML; `view` is shown first.

    Without `view`, that is the time of the config with its particles. Learned densities can be
    selected if the result has them.
    """
    view = view or View(t=config.t, mode=config.mode)
    scenes, player = payloads(result, view, reserve=RESERVE)
    canvases = [*(("scene", each) for each in scenes), ("player", player)]
    body = canvas_html(canvases) + _text(study, config, result, "compare")
    return page(f"{study.title}: {config.data}", body, canvases=canvases)


def path_page(
    study: Study[ParticlesConfig, ParticlesStudyResult],
    config: ParticlesConfig,
    result: ParticlesStudyResult,
    view: View | None = None,
    *,
    n_shown: int = SHOWN,
) -> bytes:
    """The player of one path with its findings, as HTML; `view` is shown first.

    Args:
        study: the study `particles`.
        config: its settings.
        result: its complete result.
        view: of the player.
        n_shown: number of particles in the panels.
    """
    scenes, player = path_payloads(config, result, view, n_shown=n_shown, reserve=RESERVE)
    canvases = [*(("scene", each) for each in scenes), ("player", player)]
    body = canvas_html(canvases) + _text(study, config, result, "path")
    return page(f"{study.title} {config.data}", body, canvases=canvases)


def sheets_page(
    study: Study[ImageGridConfig, ImageGrid], config: ImageGridConfig, result: ImageGrid
) -> bytes:
    """The sheets of a grid of images with their findings, as HTML."""
    canvases = [("gallery", sheets_payload(config, result))]
    body = canvas_html(canvases) + _text(study, config, result, "images")
    return page(study.title, body, canvases=canvases)


def film_page(
    study: Study[ImageFilmConfig, Sides], config: ImageFilmConfig, result: Sides
) -> bytes:
    """The films of images under one clock with their findings, as HTML."""
    canvases = [("gallery", film_payload(config, result))]
    body = canvas_html(canvases) + _text(study, config, result, "film")
    return page(study.title, body, canvases=canvases)


PAGES = {
    "compare": ("flow", compare_page),
    "path": ("particles", path_page),
    "images": ("image-grid", sheets_page),
    "film": ("image-film", film_page),
}
"""Pages with a canvas, by their name in `flowviz export`: the study, and what makes the page."""


def _figures(figures: Sequence[NamedFigure]) -> str:
    """The figures, the first with Plotly's script."""
    parts = []
    for k, named in enumerate(figures):
        if named.squares and named.figure.layout.height is None:
            named.figure.update_layout(height=1080 // named.squares)
        html = named.figure.to_html(
            full_html=False, include_plotlyjs=k == 0, config={"displaylogo": False}
        )
        parts.append(
            f"<h2>{escape(named.title[:1].upper() + named.title[1:])}</h2>\n"
            f'<div role="img" aria-label="{escape(named.alt)}">{html}</div>'
        )
    return "\n".join(parts)


def _text(study: Study[C, R], config: C, result: R, name: str = "") -> str:
    """Findings, notes on the method and the command, in which the study has this name."""
    findings = study.say(config, result)
    items = "\n".join(f"<li>{_sentence(each)}</li>" for each in findings if not each.detail)
    notes = "\n".join(f'<p class="note">{_sentence(each)}</p>' for each in findings if each.detail)
    file = f"{name or study.name}.html"
    command = escape(command_line(study, config, ("export", "--out", file), name))
    return f"\n<ul>\n{items}\n</ul>\n{notes}\n<h2>Made by</h2>\n<pre>{command}</pre>"


def _sentence(finding: Finding) -> str:
    lead = f"<b>{escape(finding.lead)}:</b> " if finding.lead else ""
    verdict = f" <i>[{finding.verdict}]</i>" if finding.verdict else ""
    return f"{lead}{escape(finding.text)}{verdict}"
