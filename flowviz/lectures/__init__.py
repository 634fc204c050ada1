"""Lectures: numbered steps in a TOML file. Each step opens a page in a given state.

    title = "Two paths"
    sentence = "What the audience will see."

    [[step]]
    title = "The same noise"
    open = "compare?data=moons&nfe=4"      # a link, as the address bar shows it
    text = "One paragraph, in Markdown."
    equation = '\\frac{d}{dt}\\phi_t(x) = v_t(\\phi_t(x))'   # TeX, optional
    source = "Lipman et al. 2022, eq. 1"                    # optional
    show = ["nfe", "seed"]     # controls that can be changed; all others are hidden
    lock = ["solver"]          # controls that are shown but cannot be changed

The built-in lectures are the TOML files in this folder. More lectures are read from the folder in
the environment variable FLOWVIZ_LECTURES.
"""

import json
import os
import re
import reprlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from flowviz.bounds import shortened

MAX_BYTES = 200_000
"""The maximum size of a lecture file; the largest built-in one has 8,000 bytes."""

MAX_STEPS = 60
MAX_NAME = 40
"""Characters of a name that a message shows."""

DOTTED = re.compile(r"""(?<![\w"'-])(?:(?:"[^"\n]*+"|'[^'\n]*+'|[\w-]++)[ \t]*+\.[ \t]*+){32}""")
"""A key of 32 or more parts, which a lecture has no use for: `tomllib` takes 42 s for 60,000."""

INLINE = re.compile(r"\$([^$]+)\$")
"""A formula within a text."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a lecture: its text, and the page and state that it shows."""

    title: str
    open: str
    """The name and the state of a page, as in its URL: "compare?data=moons&nfe=4"."""
    text: str
    equation: str = ""
    """TeX; "" for none."""
    source: str = ""
    """The source of the equation, e.g. "Lipman et al. 2022, eq. 9"."""
    show: tuple[str, ...] = ()
    """Controls that are shown and can be changed, by their names in the URL."""
    lock: tuple[str, ...] = ()
    """Controls that are shown but cannot be changed."""

    @property
    def page(self) -> str:
        """The name of the page."""
        return self.open.partition("?")[0]

    @property
    def link(self) -> dict[str, str]:
        """The state of the page: the value of each control, by its name in the URL."""
        return dict(parse_qsl(self.open.partition("?")[2], keep_blank_values=True))


@dataclass(frozen=True, kw_only=True)
class Lecture:
    """A sequence of steps with a title."""

    title: str
    sentence: str
    steps: tuple[Step, ...]


def parse(content: str | bytes) -> Lecture:
    """Parses a lecture from TOML: a text, or the bytes of a file in UTF-8.

    Raises:
        ValueError: the text is not a valid lecture; the message names the step and the rule.
    """
    size = len(content if isinstance(content, bytes) else content.encode())
    if size > MAX_BYTES:
        raise ValueError(f"A lecture file must have at most {MAX_BYTES:,} bytes; got {size:,}.")
    try:
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(
            "A lecture must be text in UTF-8, but this file is not. Save it as UTF-8."
        ) from None
    if DOTTED.search(text):
        raise ValueError("A lecture must have short keys; got one of more than 32 parts.")
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise ValueError("A lecture must not nest lists or tables so deep.") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(shortened(f"A lecture must be valid TOML; got: {error}.")) from None
    except ValueError:  # of Python, which names a function of its own
        raise ValueError("A lecture must have no whole numbers of so many digits.") from None
    steps = table.pop("step", [])
    if not isinstance(steps, list) or not 1 <= len(steps) <= MAX_STEPS:
        raise ValueError(f"A lecture must have 1 to {MAX_STEPS} tables [[step]].")
    head = _checked(table, ("title", "sentence"), {"title", "sentence"}, "The head of the lecture")
    return Lecture(**head, steps=tuple(_step(i, step) for i, step in enumerate(steps, start=1)))


def lectures() -> dict[str, Lecture]:
    """All lectures by name, the built-in ones first; invalid and unreadable files are skipped."""
    by_name: dict[str, Lecture] = {}
    folders = [Path(__file__).parent]
    if os.environ.get("FLOWVIZ_LECTURES"):
        folders.append(Path(os.environ["FLOWVIZ_LECTURES"]))
    for folder in folders:
        for path in sorted(folder.glob("*.toml")):
            if not path.is_file():  # reading a named pipe or a device would never end
                continue
            try:
                status = path.stat()
                read = _read(path, status.st_mtime_ns, status.st_size)
            except OSError:
                continue
            if read is not None:
                by_name.setdefault(path.stem, read)
    return by_name


def formulas() -> dict[str, bool]:
    """Each formula of the built-in lectures in TeX, and whether it stands on a line of its own."""
    is_displayed = {}
    for file in sorted(Path(__file__).parent.glob("*.toml")):
        for step in parse(file.read_bytes()).steps:
            is_displayed |= dict.fromkeys(INLINE.findall(f"{step.text} {step.source}"), False)
            if step.equation:
                is_displayed[step.equation] = True
    return is_displayed


@lru_cache(maxsize=1)
def mathml() -> dict[str, str]:
    """The MathML of `formulas`, which .github/equations.py writes."""
    return json.loads(Path(__file__).with_name("equations.json").read_text(encoding="utf-8"))


@lru_cache(maxsize=256)
def _read(path: Path, _changed: int, size: int) -> Lecture | None:
    """The lecture in a file, or None if it is invalid. An unchanged file is parsed once."""
    if size > MAX_BYTES:
        return None
    try:
        return parse(path.read_bytes())
    except ValueError:
        return None


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
    """The entries of a table, after a check of their names and types."""
    for name in needed:
        if not table.get(name):
            article = "an" if name == "open" else "a"
            raise ValueError(f"{where} must have {article} {name}.")
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name not in known:
            similar = get_close_matches(name[:MAX_NAME], known, n=1)
            hint = f" Did you mean {similar[0]!r}?" if similar else ""
            raise ValueError(
                f"{where} has an unknown entry {name[:MAX_NAME]!r}.{hint} "
                f"There are: {', '.join(sorted(known))}."
            )
        lists = name in ("show", "lock")
        if lists and isinstance(value, list) and all(isinstance(item, str) for item in value):
            values[name] = tuple(value)
        elif not lists and isinstance(value, str):
            # An image would make each visitor's browser load it from another server.
            values[name] = value.strip().replace("![", "!\\[")
        else:
            kind = "a list of strings" if lists else "a string"
            raise ValueError(f"{where}: {name} must be {kind}; got {reprlib.repr(value)}.")
    return values
