"""The class of studies: a question with settings, results, figures, a table and findings.

A page, the command line, a notebook and an export show a study by the same object, so that they
show the same thing. A study knows no front end: numbers are NumPy arrays, figures are Plotly's.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeAlias, TypeVar

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from flowviz.figures import theme
from flowviz.progress import Progress
from flowviz.settings import Config, settings

if TYPE_CHECKING:
    from flowviz.fields import LearnedField

    Live: TypeAlias = Mapping[str, LearnedField]
    """Fields without a file, such as newly trained ones, by their names in configs."""
else:  # importing a study must not import PyTorch
    Live: TypeAlias = Mapping

Columns: TypeAlias = Mapping[str, NDArray[Any]]
"""A table: columns by name, all of the same length."""

Tables: TypeAlias = Columns | Sequence[Mapping[str, Any]]
"""Columns, or tables with the same columns, in which a single value fills its column."""

Verdict = Literal["", "supported", "not supported", "undecided"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One sentence that follows from the numbers of a result.

    Attributes:
        text: the sentence, plain text without Markdown.
        lead: two or three words in front of it, such as "At equal error"; may be empty.
        numbers: the numbers that the sentence rests on, by name.
        verdict: whether the numbers support the claim in question; "" if none is judged.
        detail: whether it explains the method; pages show such findings small, at the end.
    """

    text: str
    lead: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)
    verdict: Verdict = ""
    detail: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", with_minus_signs(self.text))
        object.__setattr__(self, "numbers", dict(self.numbers))

    @classmethod
    def note(cls, text: str) -> Self:
        """A finding that explains the method."""
        return cls(text=text, detail=True)

    @classmethod
    def so_far(cls, done: int, total: int, things: str) -> Self:
        """How many of several things are done, in a partial result."""
        return cls(
            lead="So far", text=f"{done} of {total} {things} are done.", numbers={things: done}
        )

    def __str__(self) -> str:
        """Lead, text and verdict in one line."""
        sentence = f"{self.lead}: {self.text}" if self.lead else self.text
        return f"{sentence} [{self.verdict}]" if self.verdict else sentence


Findings: TypeAlias = Iterator[Finding]


@dataclass(frozen=True, kw_only=True)
class NamedFigure:
    """A figure with what is needed to show and to export it.

    Attributes:
        name: letters, digits and hyphens; unique among the figures of the study.
        title: what the figure shows, in a few words.
        alt: description in one sentence, for screen readers.
        figure: the Plotly figure, in the theme of `flowviz.figures.theme`.
        squares: number of square panels side by side, or 1 for rows that are a square together, so
            that the height follows the width; 0 for a figure with its own height.
        half: whether it may share a row with the next figure.
        tables: the numbers behind this figure; None for the table of the study.
    """

    name: str
    title: str
    alt: str
    figure: go.Figure
    squares: Literal[0, 1, 2, 3, 4, 5] = 0
    half: bool = False
    tables: Tables | None = None

    @property
    def columns(self) -> Columns | None:
        """The numbers behind this figure, if it has its own, as columns of one length."""
        return None if self.tables is None else stacked(self.tables)


Figures: TypeAlias = Iterator[NamedFigure]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A small table for the page, in addition to the table of all numbers.

    Attributes:
        title: what it compares, in one line.
        heads: heads of the columns, the first over the rows' names.
        rows: the cells as text.
    """

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __post_init__(self) -> None:
        rows = [[with_minus_signs(cell) for cell in row] for row in self.rows]
        object.__setattr__(self, "rows", rows)


def with_minus_signs(text: str) -> str:
    """The text with a minus sign, which is as wide as +, before its negative numbers."""
    return re.sub(r"(?<![\w.])-(?=[\d.])", "−", text)


C = TypeVar("C", bound=Config)
R = TypeVar("R")

Compute: TypeAlias = Callable[[C, Any, Progress], Iterator[R]]
Draw: TypeAlias = Callable[[C, R], Iterable[NamedFigure]]
Table: TypeAlias = Callable[[C, R], Tables]
Say: TypeAlias = Callable[[C, R], Iterable[Finding]]
Summarise: TypeAlias = Callable[[C, R], Summary | None]


@dataclass(frozen=True)
class Study(Generic[C, R]):
    """A question with functions that compute, draw, tabulate and describe the result.

    A module states its study by `STUDY = Study(__name__, ...)` with these functions of a config C
    and its results R. All but `compute` depend on the config and the result alone.

    - `compute(config, live, progress)` yields ever more complete results (dataclasses of NumPy
      arrays), of which the last is complete.
    - `draw(config, result)` yields figures, `say(config, result)` findings.
    - `table(config, result)` returns all numbers behind the figures: columns, or several tables
      with the same columns.
    - `summarise(config, result)` returns a small table to read, or None.

    Attributes:
        module: name of the module; its last part is the name of the study.
        title: the question, in a few words.
        config: frozen dataclass that derives from `Config`.
        functions: `compute`, `draw`, `table` and `say`.
        summary: `summarise`; None for no small table.
        page: name of the page that shows the study; "study" is the page that shows any study.
        seconds: typical time of the default config on two cores; see `cost`.
        smallest: settings of a config that is computed within a second or two, for tests.
    """

    module: str
    title: str
    config: type[C]
    functions: tuple[Compute[C, R], Draw[C, R], Table[C, R], Say[C, R]]
    summary: Summarise[C, R] | None = None
    page: str = "study"
    seconds: float = 1.0
    smallest: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<Study {self.name!r}: {self.title}>"

    @property
    def name(self) -> str:
        """The name on the command line and in links: that of the module, with hyphens."""
        return self.module.rpartition(".")[2].replace("_", "-")

    def cost(self, config: Config) -> float:
        """The estimated time of a config on two cores, in seconds.

        Pages ask before they start long work, so that a link cannot start it.
        """
        from flowviz.experiments.fields import size_factor  # imports PyTorch
        from flowviz.methods import expected_nfe

        declared, seconds = settings(type(config)), self.seconds * size_factor(config)
        if not {"method", "nfe", "tol"} <= declared.keys():
            return seconds * config.work()
        defaults = {name: declared[name].default for name in ("method", "nfe", "tol")}
        spent = expected_nfe(**{name: getattr(config, name) for name in defaults})
        ratio = spent / expected_nfe(**defaults)
        return seconds * config.work(nfe=defaults["nfe"] * ratio)

    def settled(self, config: C) -> C:
        """The config whose results depend on nothing else, see `experiments.fields.settled`."""
        from flowviz.experiments.fields import settled  # imports PyTorch

        return settled(config)

    def compute(
        self,
        config: C,
        *,
        field: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> Iterator[R]:
        """Ever more complete results; `field` are live fields by their names in the config.

        Raises:
            ValueError: the config names something that does not exist, or a solve diverges.
            Stopped: a stop was requested through `progress`.
        """
        compute, _, _, _ = self.functions
        return compute(self.settled(config), field or {}, progress or Progress())

    def result(
        self,
        config: C,
        *,
        field: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> R:
        """The complete result of a config; arguments and errors as of `compute`."""
        *_, result = self.compute(config, field=field, progress=progress)
        return result

    def draw(self, config: C, result: R, *, dark: bool = False) -> list[NamedFigure]:
        """The figures of a result."""
        _, draw, _, _ = self.functions
        with theme.using(dark=dark):
            return list(draw(config, result))

    def table(self, config: C, result: R) -> Columns:
        """All numbers behind the figures, as columns of one length."""
        _, _, table, _ = self.functions
        return stacked(table(config, result))

    def say(self, config: C, result: R) -> list[Finding]:
        """The findings of a result."""
        _, _, _, say = self.functions
        return list(say(config, result))

    def summarise(self, config: C, result: R) -> Summary | None:
        """A small table to read; None for none."""
        return None if self.summary is None else self.summary(config, result)


def stacked(tables: Tables) -> Columns:
    """Tables with the same columns, one below the other; a single value fills its column."""
    if isinstance(tables, Mapping):
        return tables
    columns: dict[str, list[NDArray[Any]]] = {}
    for each in tables:
        arrays = [value for value in each.values() if np.ndim(value)]
        rows = len(arrays[0]) if arrays else 1
        for name, value in each.items():
            columns.setdefault(name, []).append(np.broadcast_to(np.asarray(value), (rows,)))
    return {name: np.concatenate(parts) for name, parts in columns.items()}


def to_json(value: Any) -> Any:
    """A result as JSON stores it: fields and public properties, arrays as lists, NaN as None.

    Live objects such as networks, and images (uint8), are left out.
    """
    if is_dataclass(value):
        names = [each.name for each in fields(value)]
        names += [
            name
            for kind in type(value).__mro__
            for name, entry in vars(kind).items()
            if isinstance(entry, property) and not name.startswith("_")
        ]
        values = {name: getattr(value, name) for name in names}
        return {key: to_json(each) for key, each in values.items() if _is_plain(each)}
    if isinstance(value, Mapping):
        return {str(key): to_json(each) for key, each in value.items() if _is_plain(each)}
    if isinstance(value, tuple | list):
        return [to_json(each) for each in value]
    if isinstance(value, np.ndarray | np.generic):
        return to_json(value.tolist())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value


def _is_plain(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.dtype != np.uint8
    plain = (type(None), bool, int, float, str, tuple, list, Mapping, np.generic)
    return isinstance(value, plain) or is_dataclass(value)
