"""Lectures of visitors, stored under the hash of their text, so that their links keep working."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import fields

from flowviz.files import home, mark_used, storing, write_text
from flowviz.lectures import Lecture, Step, parse

MAX_STORED = 50_000_000
"""The maximum size of all stored lectures in bytes."""

NAME = re.compile(r"own-[0-9a-f]{16}")


def to_text(lecture: Lecture) -> str:
    """The TOML text of a lecture, which `parse` reads."""
    return "\n".join(_lines(lecture)) + "\n"


def keep(lecture: Lecture) -> str:
    """Stores a lecture on this server and returns its name, own- and 16 hexadecimal digits.

    Raises:
        ValueError: the disk is full or read-only.
    """
    text = to_text(lecture)
    name = f"own-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    path = home("lectures") / f"{name}.toml"
    with storing(path, "own-*.toml", MAX_STORED, _not_stored):
        write_text(path, text)
    return name


def _not_stored(why: str) -> ValueError:
    return ValueError(
        f"Your lecture must be stored on this server, but was not: {why}. "
        "Download it, and ask the server's operator."
    )


def recall(name: str) -> Lecture | None:
    """The stored lecture of this name, or None if there is none."""
    if not NAME.fullmatch(name):  # also excludes file paths
        return None
    path = home("lectures") / f"{name}.toml"
    try:
        lecture = parse(path.read_bytes())
    except (OSError, ValueError):
        return None
    mark_used(path)
    return lecture


def _lines(lecture: Lecture) -> Iterator[str]:
    yield f"title = {_string(lecture.title)}"
    yield f"sentence = {_string(lecture.sentence)}"
    for step in lecture.steps:
        yield ""
        yield "[[step]]"
        for field in fields(Step):
            value = getattr(step, field.name)
            if value:
                items = isinstance(value, tuple)
                text = f"[{', '.join(map(_string, value))}]" if items else _string(value)
                yield f"{field.name} = {text}"


def _string(value: str) -> str:
    """A basic string of TOML, whose escapes are those of JSON."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
