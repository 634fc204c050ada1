"""A study on a page: figures, findings and tables with downloads, computed in the background."""

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache, partial
from typing import Any

import streamlit as st

from flowviz.progress import Progress
from flowviz.settings import Config
from flowviz.studies import Columns, Finding, NamedFigure, Study, Summary, answers
from flowviz.studies.export import file_name, printed, script
from flowviz.studies.page import figures_page
from flowviz.studies.study import C, R
from flowviz.ui import downloads, figure, glossary, opening, results, work
from flowviz.ui.downloads import Download
from flowviz.ui.notices import escaped
from flowviz.ui.theme import is_dark

ASK_SECONDS = 5.0
"""Estimated time above which a study starts only after a click."""

START_SECONDS = 20.0
"""The same for views that start their study by themselves, or the time of its default settings if
that is longer: the largest work that a link can start."""

NUMERIC = (*"0123456789−–≤≥<>(",)
"""First characters of the cells of a column of numbers, which is aligned on the right."""

ICONS = {
    "supported": ":material/check_circle:",
    "not supported": ":material/cancel:",
    "undecided": ":material/help:",
}


def show(
    study: Study[C, R],
    config: C,
    *,
    live: Mapping[str, Any] | None = None,
    place: str = "",
    invite: str | None = None,
    button: str = "Compute",
    lane: work.Lane | None = None,
    filename: str = "",
    on_click: Mapping[str, Callable[[], None]] | None = None,
    draw_result: Callable[[R], None] | None = None,
    factor: float = 1.0,
) -> None:
    """Shows a study: the stored result, or work with partial results; see `work.show`.

    Args:
        study: what to show.
        config: its settings.
        live: fields without a file that the config names.
        place: unique on the page; the study's name by default.
        invite: sentence above the button that starts the work; by default one is made for work
            of more than ASK_SECONDS, and none for less. "" starts at once, see START_SECONDS.
        button: text of that button.
        lane: lane of the queue; that of `lane_of` by default.
        filename: of downloads, without suffix; made from study and data set by default.
        on_click: functions to call after a click into a figure, by the figure's name.
        draw_result: draws a result, complete or not, in place of `draw`.
        factor: of the estimated time, for what the config does not state.
    """
    invite = invite or invitation(study, config, starts=invite is not None, factor=factor)
    shipped = _load_answer(study, config)
    work.show(
        place or study.name,
        token(study, config),
        computation(study, config, live),
        draw_result
        or partial(_draw, study, config, place or study.name, filename, on_click or {}),
        label=study.title,
        invite=invite,
        button=button,
        lane=lane or lane_of(study, config, factor),
    )
    if shipped:
        st.caption("Computed in advance. Other settings are computed when you choose them.")


def invitation(
    study: Study[C, Any], config: C, *, starts: bool = True, factor: float = 1.0
) -> str:
    """The sentence above the button that starts a study; "" if it may start without one.

    `starts` says whether the view starts its study by itself, see START_SECONDS; for `factor` see
    `show`.
    """
    seconds = factor * study.cost(config)
    if seconds <= (max(START_SECONDS, study.seconds) if starts else ASK_SECONDS):
        return ""
    return f"Takes about {work.duration(seconds)} with these settings."


def lane_of(study: Study[C, Any], config: C, factor: float = 1.0) -> work.Lane:
    """The lane of the queue: "quick" up to ASK_SECONDS, "long" for more than a minute."""
    seconds = factor * study.cost(config)
    return "quick" if seconds <= ASK_SECONDS else "short" if seconds <= 60 else "long"


def _load_answer(study: Study[C, Any], config: C) -> bool:
    """Whether an answer ships for these settings; if so, the server's store holds it."""
    path = answers.path_of(study, study.settled(config))
    if not path.exists():
        return False
    if known(study, config) is None and (result := answers.read(path)) is not None:
        results.store().put(token(study, config), result)
    return known(study, config) is not None


def judged(study: Study[C, Any], config: C) -> list[Finding]:
    """The findings with a verdict of a stored or shipped result; none if there is no result."""
    _load_answer(study, config)
    result = known(study, config)
    all_findings = () if result is None else study.say(config, result)
    return [each for each in all_findings if each.verdict]


def known(study: Study[C, R], config: C) -> R | None:
    """The complete result of a study, if it is stored."""
    return results.store().get(token(study, config))


def token(study: Study[C, Any], config: C) -> Hashable:
    """The key of a complete result in the server's store, see `results.store`."""
    return study.name, study.settled(config).computed()


def computation(
    study: Study[C, R], config: C, live: Mapping[str, Any] | None = None
) -> Callable[[Progress], Iterator[R]]:
    """The work that makes the result of a study, for `work.show` and `work.result_of`.

    The study is listed under "Code" at the top of the page.
    """
    opening.add_code(study, config)
    settled = study.settled(config).computed()
    return lambda progress: study.compute(settled, field=live, progress=progress)


def _draw(
    study: Study[C, R],
    config: C,
    place: str,
    filename: str,
    on_click: Mapping[str, Callable[[], None]],
    result: R,
) -> None:
    running = work.current(place, token(study, config))
    draw(
        study,
        config,
        result,
        place=place,
        filename=filename,
        on_click=on_click,
        complete=running is None or not running.live,
    )


def draw(
    study: Study[C, R],
    config: C,
    result: R,
    *,
    place: str,
    filename: str = "",
    say: bool = True,
    only: Collection[str] | None = None,
    on_click: Mapping[str, Callable[[], None]] | None = None,
    complete: bool = True,
) -> None:
    """Draws figures, findings and tables of a result; without `say` only figures and details.

    `only` are the names of the figures to draw; all by default. The figures of a result
    that is not `complete` have no downloads: it is replaced before a download can start.
    """
    figures = []
    if only is None or only:
        figures = study.draw(config, result, dark=is_dark())
    if only is not None:
        figures = [named for named in figures if named.name in only]
    row: list[Any] = []
    table = cache(partial(study.table, config, result))
    for k, named in enumerate(figures):
        if named.half and not row and k + 1 < len(figures):
            row = list(st.columns(2))
        with row.pop(0) if row else st.container():
            figure.show(
                named.figure,
                f"{place}-{named.name}",
                title=named.title,
                alt=named.alt,
                files=_files(study, config, result, named, table) if complete else (),
                filename=filename or file_name(config, named.name),
                squares=named.squares,
                on_click=(on_click or {}).get(named.name),
            )
    all_findings = study.say(config, result)
    if say:
        findings([finding for finding in all_findings if not finding.detail])
    summary = study.summarise(config, result)
    if summary is not None:
        _summary(summary)
    headings = "" if summary is None else " ".join([summary.title, *summary.heads])
    titles = " ".join(named.title for named in figures)
    glossary.terms_line(" ".join([*map(str, all_findings), headings, titles]), place)
    for finding in all_findings:
        if finding.detail:
            st.caption(escaped(finding, None))


def _files(
    study: Study[C, R], config: C, result: R, named: NamedFigure, table: Callable[[], Columns]
) -> list[Download]:
    settings = {"study": study.name, **_written(config)}
    own_columns = named.columns
    columns = table if own_columns is None else lambda: own_columns
    html = Download(
        "HTML",
        "html",
        partial(figures_page, study, config, result, only=(named.name,)),
        "A page of one file to zoom in, which opens without the internet",
        "text/html",
    )
    csv = downloads.csv(settings, columns, result, named.name)
    pdfs = downloads.pdfs(partial(printed, study, config, result, named.name))
    python = downloads.python(script(study, config, named.name))
    return [*(pdfs if downloads.can_print() else ()), csv, html, python]


def findings(items: Sequence[Finding]) -> None:
    """Findings as a list, each with its lead in bold and a mark for its verdict."""
    lines = []
    for finding in items:
        mark = f"{ICONS[finding.verdict]} " if finding.verdict else ""
        lead = f"**{escaped(finding.lead)}:** " if finding.lead else ""
        verdict = f" *[{finding.verdict}]*" if finding.verdict else ""
        lines.append(f"- {mark}{lead}{escaped(finding.text, None)}{verdict}")
    if lines:
        st.markdown("\n".join(lines))


def _summary(summary: Summary) -> None:
    cells = [summary.heads, *summary.rows]
    rows = ["| " + " | ".join(escaped(cell) for cell in row) + " |" for row in cells]
    columns = [[row[k] for row in summary.rows] for k in range(1, len(summary.heads))]
    right = [all(cell.startswith(NUMERIC) for cell in column) for column in columns]
    line = "|:--|" + "".join("--:|" if each else ":--|" for each in right)
    st.markdown("\n".join([f"**{escaped(summary.title)}**", "", rows[0], line, *rows[1:]]))


def _written(config: Config) -> Mapping[str, object]:
    """The settings as texts, in the head of a CSV file."""
    return {
        name: " ".join(map(str, value)) if isinstance(value, tuple) else value
        for name, value in asdict(config).items()
    }
