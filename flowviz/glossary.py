"""The glossary: what each technical term means, in one sentence.

The terms are data, in `glossary.toml`. Tooltips, the glossary page and the README show the same
sentences.
"""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from flowviz.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Term:
    """One entry of the glossary.

    Attributes:
        term: the term as text shows it.
        sentence: its meaning in one sentence.
        more: further text, Markdown; "" for none.
        unit: the unit of a quantity; "" for none.
        match: regular expression of the words whose use in a text calls for a tooltip; "" for
            none.
    """

    term: str
    sentence: str
    more: str = ""
    unit: str = ""
    match: str = ""


@cache
def glossary() -> Registry[Term]:
    """All terms by id, in the order of the file."""
    terms: Registry[Term] = Registry("glossary term")
    text = Path(__file__).with_name("glossary.toml").read_text(encoding="utf-8")
    for name, table in tomllib.loads(text).items():
        terms[name] = Term(**table)
    return terms


def term(name: str) -> Term:
    """The term with this id.

    Raises:
        ValueError: there is no such term; the message names the nearest one.
    """
    return glossary()[name]


def used_in(text: str) -> list[tuple[str, str]]:
    """The terms that a text uses: their ids and the words in the text, by `Term.match`."""
    terms = glossary().items()
    matches = [(name, re.search(each.match, text)) for name, each in terms if each.match]
    return [(name, words[0]) for name, words in matches if words]


def tooltip(name: str) -> str:
    """The text of a tooltip for the term with this id, Markdown.

    Raises:
        ValueError: there is no such term; the message names the nearest one.
    """
    entry = term(name)
    unit = f" Unit: {entry.unit}." if entry.unit else ""
    return f"**{entry.term}:** {entry.sentence}{unit}"
