"""Lectures: numbered steps in a plain TOML file, each of which opens a page in a given state.

    title = "Two paths"
    sentence = "What a listener will have seen."

    [[step]]
    title = "The same noise"
    open = "compare?data=moons&nfe=4"      # a link, as the address bar shows it
    text = "One paragraph, in Markdown."
    equation = '\\frac{d}{dt}\\phi_t(x) = v_t(\\phi_t(x))'   # TeX, optional
    source = "Lipman et al. 2022, eq. 1"                    # optional
    show = ["nfe", "seed"]     # controls that can be moved; all others are hidden
    lock = ["solver"]          # controls that are shown but cannot be moved

Built-in lectures are the TOML files beside this one; more are read from the folder that the
environment variable FLOWVIZ_LECTURES names.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

__all__ = ["MOST_BYTES", "Lecture", "Step", "lectures", "parse"]

MOST_BYTES = 200_000
"""Of a lecture's file: the longest built-in one has 8,000."""

MOST_STEPS = 60


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step: what is said, and the page and its state that are shown meanwhile."""

    title: str
    open: str
    """A page's name and its state, as in its address: "compare?data=moons&nfe=4"."""
    text: str
    equation: str = ""
    """In TeX, "" for none."""
    source: str = ""
    """Where the equation stands, e.g. "Lipman et al. 2022, eq. 9"."""
    show: tuple[str, ...] = ()
    """Controls, by their names in the address, that the audience sees and the speaker can move."""
    lock: tuple[str, ...] = ()
    """Controls that are seen and cannot be moved."""

    @property
    def page(self) -> str:
        """The name of the page."""
        return self.open.partition("?")[0]

    @property
    def link(self) -> dict[str, str]:
        """The state of the page by the names of its controls."""
        return dict(parse_qsl(self.open.partition("?")[2], keep_blank_values=True))


@dataclass(frozen=True, kw_only=True)
class Lecture:
    """A sequence of steps with a title."""

    title: str
    sentence: str
    steps: tuple[Step, ...]


def parse(text: str) -> Lecture:
    """The lecture that a TOML text describes.

    Raises:
        ValueError: the text is no lecture; the sentence says which step and what must hold.
    """
    if len(text.encode()) > MOST_BYTES:
        raise ValueError(
            f"A lecture's file must have at most {MOST_BYTES:,} bytes; got {len(text.encode()):,}."
        )
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"A lecture must be a TOML file; it cannot be read: {error}.") from None
    steps = table.pop("step", [])
    if not isinstance(steps, list) or not 1 <= len(steps) <= MOST_STEPS:
        raise ValueError(f"A lecture must have 1 to {MOST_STEPS} tables [[step]].")
    head = _checked(table, ("title", "sentence"), {"title", "sentence"}, "The lecture's head")
    return Lecture(**head, steps=tuple(_step(i, step) for i, step in enumerate(steps, start=1)))


def lectures() -> dict[str, Lecture]:
    """All lectures of this installation by name, the built-in ones first.

    A file that is no lecture is left out.
    """
    found = {}
    folders = [Path(__file__).parent]
    if os.environ.get("FLOWVIZ_LECTURES"):
        folders.append(Path(os.environ["FLOWVIZ_LECTURES"]))
    for folder in folders:
        for path in sorted(folder.glob("*.toml")):
            if path.stat().st_size <= MOST_BYTES:
                try:
                    found.setdefault(path.stem, parse(path.read_text(encoding="utf-8")))
                except ValueError:
                    continue  # UnicodeDecodeError is one
    return found


def _step(number: int, table: Any) -> Step:
    where = f"Step {number}"
    if not isinstance(table, dict):
        raise ValueError(f"{where} must be a table [[step]].")
    names = {field.name for field in fields(Step)}
    step = Step(**_checked(table, ("title", "open", "text"), names, where))
    if not re.fullmatch(r"[a-z0-9_]+", step.page):
        raise ValueError(
            f"{where}: open must be a page and its state, such as 'compare?data=moons'; "
            f"got {step.open[:60]!r}."
        )
    return step


def _checked(
    table: Mapping[str, Any], needed: tuple[str, ...], known: set[str], where: str
) -> dict[str, Any]:
    """The table's texts and lists of texts, after a check of names and types."""
    for name in needed:
        if not table.get(name):
            raise ValueError(f"{where} must have a {name}.")
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"{where} has an unknown entry {name!r}.{hint} "
                f"There are: {', '.join(sorted(known))}."
            )
        lists = name in ("show", "lock")
        if lists and isinstance(value, list) and all(isinstance(item, str) for item in value):
            values[name] = tuple(value)
        elif not lists and isinstance(value, str):
            values[name] = value.strip()
        else:
            kind = "a list of texts" if lists else "a text"
            raise ValueError(f"{where}: {name} must be {kind}; got {value!r:.60}.")
    return values
