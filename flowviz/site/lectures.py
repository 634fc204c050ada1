"""The lectures on the static site: each step is a link to the page that it shows."""

import re
from html import escape
from typing import Any
from urllib.parse import parse_qsl

from flowviz.lectures import INLINE, Lecture, Step, lectures, mathml
from flowviz.methods import METHODS

PAGES = {
    "compare": "Compare",
    "why": "Vector field",
    "schedules": "Schedules",
    "nfe_quality": "NFE and quality",
}
"""The titles of the pages that compute, by their names in the app."""


def is_shown(link: str) -> bool:
    """Whether the site can show what a link of the app opens."""
    page, _, query = link.partition("?")
    values = dict(parse_qsl(query))
    method = METHODS.get(values.get("solver", "midpoint"))
    return (
        page in PAGES
        and method is not None
        and not (method.adaptive or method.jumps)
        and "difference" not in values.get("layers", "")
    )


def entries() -> dict[str, Any]:
    """The steps of all lectures, as js/live/guide.js reads them."""
    return {name: {"steps": _steps(name, each)} for name, each in lectures().items()}


def outline() -> str:
    """HTML with all lectures and links to their steps."""
    parts = []
    for name, lecture in lectures().items():
        steps = "\n".join(
            f'<li><a href="{escape(_address(name, k, step))}">{escape(step.title)}</a></li>'
            for k, step in enumerate(lecture.steps, start=1)
        )
        parts.append(
            f"<h2>{escape(lecture.title)}</h2><p>{_inline(lecture.sentence)}</p>"
            f'<ol class="steps">{steps}</ol>'
        )
    return f'<div class="lectures">{"".join(parts)}</div>'


def _steps(name: str, lecture: Lecture) -> list[dict[str, Any]]:
    return [
        {"html": _html(lecture, step), "open": _address(name, k, step), "show": step.show}
        for k, step in enumerate(lecture.steps, start=1)
    ]


def _address(name: str, number: int, step: Step) -> str:
    page, _, query = step.open.partition("?")
    if not is_shown(step.open):
        page, query = "lecture", ""
    return f"{page}.html?{query}{'&' * bool(query)}lecture={name}&step={number}"


def _html(lecture: Lecture, step: Step) -> str:
    """Title, text and formula of a step."""
    parts = [f"<h2>{escape(step.title)}</h2>", f"<p>{_inline(step.text)}</p>"]
    note = _inline(step.source)
    if not is_shown(step.open):
        note = (
            "Here this step has only its text and formula. Its live page needs the app: run "
            "<code>python -m flowviz app</code> and open "
            f"<code>http://localhost:8501/{escape(step.open)}</code>. {note}"
        )
    parts.append(f'<p class="note">{escape(lecture.title)}{" · " * bool(note)}{note}</p>')
    if step.equation:
        parts.append(f'<div class="equation">{_formula(step.equation)}</div>')
    return "".join(parts)


def _inline(text: str) -> str:
    """A paragraph of Markdown as HTML: bold, italics, code and formulas."""
    parts = INLINE.split(text)  # every other part is a formula
    for k, part in enumerate(parts):
        if k % 2:
            parts[k] = _formula(part)
            continue
        html = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", escape(part, quote=False))
        html = re.sub(r"\*(.+?)\*", r"<i>\1</i>", html)
        parts[k] = re.sub(r"`(.+?)`", r"<code>\1</code>", html)
    return "".join(parts)


def _formula(tex: str) -> str:
    """A formula as MathML, those of lectures of others as TeX."""
    return mathml().get(tex) or f'<code class="tex">{escape(tex)}</code>'
