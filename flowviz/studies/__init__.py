"""Studies: one file a question, which page, command line and notebook show alike.

A module of this package with an object `STUDY` is a study. It is found by its file name, without
an entry elsewhere, and imported when it is asked for by name.
"""

import pkgutil
from collections.abc import Iterator, Mapping
from importlib import import_module

from flowviz.bounds import shortened, shown
from flowviz.registry import hint_at
from flowviz.studies.study import (
    Columns,
    Figures,
    Finding,
    Findings,
    Live,
    NamedFigure,
    Study,
    Summary,
    Tables,
    Verdict,
)

__all__ = [
    "STUDIES",
    "Columns",
    "Figures",
    "Finding",
    "Findings",
    "Live",
    "NamedFigure",
    "Study",
    "Summary",
    "Tables",
    "Verdict",
]

_NO_STUDIES = {"answers", "export", "page", "study", "video"}
"""Modules of this package that hold no study; so are those that begin with an underscore."""


class _Studies(Mapping[str, Study]):
    """The studies by name, each imported at its first use."""

    def __init__(self) -> None:
        self._added: dict[str, Study] = {}

    def add(self, study: Study) -> None:
        """Adds a study that no file of this package holds, such as one from a notebook."""
        self._added[study.name] = study

    def remove(self, name: str) -> None:
        """Removes a study that was added by `add`."""
        del self._added[name]

    def __getitem__(self, name: str) -> Study:
        if name in self._added:
            return self._added[name]
        if name not in _files():
            known = ", ".join(self)
            hint = hint_at(name, self)
            raise ValueError(shortened(f"Unknown study {shown(name)}.{hint} There are: {known}."))
        return import_module(f"{__name__}.{name.replace('-', '_')}").STUDY

    def __iter__(self) -> Iterator[str]:
        yield from _files()
        yield from self._added

    def __len__(self) -> int:
        return len(_files()) + len(self._added)

    def __contains__(self, name: object) -> bool:
        return name in self._added or name in _files()


def _files() -> list[str]:
    names = (each.name for each in pkgutil.iter_modules(__path__))
    found = (n for n in names if n not in _NO_STUDIES and not n.startswith("_"))
    return sorted(name.replace("_", "-") for name in found)


STUDIES = _Studies()
