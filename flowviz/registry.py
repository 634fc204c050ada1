"""Registries of named choices: data sets, schedulers, solvers, metrics and so on.

A registered entry appears in menus, URLs, the command line and the tests without a further edit.
"""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any, TypeVar

from flowviz.bounds import shortened, shown

T = TypeVar("T")


class Registry(dict[str, T]):
    """Entries of one kind by name, as in URLs, cards and the command line."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def register(self, name: str) -> Callable[[T], T]:
        """A decorator that registers its argument as `name` and returns it unchanged."""
        assert name not in self, f"there is a {self.kind} {name!r} already"
        return lambda entry: self.setdefault(name, entry)

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the entries by name."""
        entries: dict[str, Any] = {**self}
        return {name: entry.label for name, entry in entries.items()}

    def sentences(self, names: Iterable[str] | None = None) -> str:
        """The labels and sentences of all or some entries as Markdown, for the help of a menu."""
        entries: list[Any] = [self[name] for name in names or self]
        return " ".join(f"**{entry.label}:** {entry.sentence}" for entry in entries)

    def __missing__(self, name: str) -> T:
        hint, known = hint_at(str(name), self), ", ".join(self)
        raise ValueError(
            shortened(f"Unknown {self.kind} {shown(name)}.{hint} There are: {known}.")
        )


def hint_at(name: str, known: Iterable[str]) -> str:
    """The sentence " Did you mean 'x'?" with the nearest known name, or ""."""
    similar = get_close_matches(name, list(known), n=1)
    return f" Did you mean {similar[0]!r}?" if similar else ""
