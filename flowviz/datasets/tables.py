"""Tables: the choice of two columns, and their points.

What was taken, such as the header and the columns, is always stated, and can be corrected.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from flowviz.bounds import shortened
from flowviz.datasets.points import COUNT, MAX_LABEL, check_points, labelled, wrong_count

MAX_DROPPED = 0.2
"""The largest share of rows that may be left out because a number is missing."""

MISSING = {"", "na", "n/a", "#n/a", "nan", "null", "none", "?", "-", "."}
"""Cells without a number, in lower case."""

SAMPLE = 200
"""The number of rows that tell whether a column has numbers."""

MAX_LABELS = 12
"""A column of at most so many different whole numbers or texts can be a label."""

NO_LABEL = "none"
"""The choice of no label column, and the label of a row without one."""

MAX_HEADER = 100
"""The number of characters of a header that is quoted."""

Cell = str | float | None


@dataclass(frozen=True)
class Table:
    """The rows of a file.

    Attributes:
        rows: the cells of each row, all rows of the same length.
        lines: for each row its number in the file, from 1, for messages.
        header: the names of the columns, or None if the file has no names.
        optional_header: whether the header was the first row of a text file, or may have been.
        decimal_comma: whether "1,5" is 1.5.
    """

    rows: Sequence[Sequence[Cell]]
    lines: list[int]
    header: tuple[str, ...] | None
    optional_header: bool = False
    decimal_comma: bool = False

    @cached_property
    def names(self) -> list[str]:
        """A name for each column: its number, and its name in quotes if there is one."""
        if self.header is None:
            return [str(k + 1) for k in range(self.width)]
        return [
            f"{k + 1} ({name[:40]})" if name else str(k + 1) for k, name in enumerate(self.header)
        ]

    @property
    def width(self) -> int:
        """The number of columns."""
        return len(self.rows[0]) if self.rows else len(self.header or ())

    @cached_property
    def numeric(self) -> list[int]:
        """The columns of numbers, from 0, by a sample of the rows."""
        sample = self.rows[:: self._step]
        min_count = (1 - MAX_DROPPED) * len(sample)
        return [
            k
            for k in range(self.width)
            if sum(self._number(row[k]) is not None for row in sample) >= min_count > 0
        ]

    @cached_property
    def columns(self) -> tuple[int, int]:
        """The two columns that are taken if none are chosen, from 0.

        Columns named x and y, or else the first two columns of numbers that are not row numbers
        or labels, if so many remain.

        Raises:
            ValueError: the table has fewer than two columns of numbers.
        """
        candidates = self.numeric
        if len(candidates) < 2:
            raise self._too_narrow()
        named = {name.strip().lower(): k for k, name in enumerate(self.header or ())}
        if named.get("x") in candidates and named.get("y") in candidates:
            return named["x"], named["y"]
        for is_excluded in (self._has_row_numbers, self._has_labels):
            if len(candidates) > 2:
                remaining = [k for k in candidates if not is_excluded(k)]
                candidates = remaining if len(remaining) >= 2 else candidates
        return candidates[0], candidates[1]

    def column(self, choice: str) -> int:
        """The column, from 0, of a number from 1 or of a name in the header.

        Raises:
            ValueError: there is no such column.
        """
        text = choice.strip()
        if text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= self.width:
            return int(text) - 1
        if self.header is not None and text in self.header:
            return self.header.index(text)
        raise ValueError(
            f"A column must be a number in 1..{self.width} or a name in the header; got "
            f"{text[:40]!r}. The columns of numbers are {_listed(self._named(self.numeric))}."
        )

    @cached_property
    def labels(self) -> list[int]:
        """The columns that can be labels, from 0, by a sample of the rows.

        They have at most MAX_LABELS different values: first those of text, from the left, then
        those of whole numbers, from the right.
        """
        sample = self.rows[:: self._step]
        candidates = [
            k for k in range(self.width) if 1 <= len(self._values(sample, k)) <= MAX_LABELS
        ]
        numbers = [k for k in reversed(candidates) if k in self.numeric and self._has_labels(k)]
        return [k for k in candidates if k not in self.numeric] + numbers

    def points(
        self, x: int | None = None, y: int | None = None, label: str | None = None
    ) -> tuple[NDArray, str]:
        """The points of two columns, and a text on what was taken.

        Args:
            x: column of the first coordinate, from 0; by default the first of `columns`.
            y: column of the second coordinate; by default the first other one of `columns`.
            label: column of the labels, as of `column`, or NO_LABEL; by default the first other
                one of `labels`.

        Returns:
            Points (n, 2) float64, or with labels the records of `labelled`, (n,).

        Raises:
            ValueError: a cell is not a finite number, too few rows are complete, or the labels
                are too many.
        """
        if len(self.rows) < COUNT[0]:
            raise wrong_count(len(self.rows))
        if x is None or y is None:
            first = self.columns
            x = next(k for k in first if k != y) if x is None else x
            y = next(k for k in first if k != x) if y is None else y
        if x == y:
            raise ValueError(
                f"The two columns must be different; both are {self.names[x]}. Choose another."
            )
        pairs = [
            (self._finite(row[x], line), self._finite(row[y], line))
            for row, line in zip(self.rows, self.lines, strict=True)
        ]
        array = np.array(pairs, dtype=np.float64).reshape(-1, 2)
        complete = np.asarray(~np.isnan(array).any(axis=1))
        dropped = len(array) - int(complete.sum())
        if dropped > MAX_DROPPED * len(array):
            raise ValueError(
                f"At most {MAX_DROPPED:.0%} of the rows may lack a number; {dropped:,} of "
                f"{len(array):,} do in columns {x + 1} and {y + 1}. Choose other columns."
            )
        points = check_points(array[complete])
        chosen = self._label(x, y, label)
        quoted = ", ".join(name for name in self.header or () if name)
        quoted = quoted if len(quoted) <= MAX_HEADER else f"{quoted[:MAX_HEADER]}…"
        notes = [
            "no header" if self.header is None else f"header: {' '.join(quoted.split())}",
            f"{len(points):,} points",
            f"columns {self.names[x]} and {self.names[y]}",
        ]
        if dropped:
            notes.append(f"{dropped:,} row{'s' * (dropped > 1)} without a number left out")
        if chosen is not None:
            rows = (
                row for row, is_complete in zip(self.rows, complete, strict=True) if is_complete
            )
            labels = [self._text(row[chosen]) or NO_LABEL for row in rows]
            points = labelled(points, labels)
            notes.append(f"label column {self.names[chosen]}, {len(set(labels))} values")
        return points, "; ".join(notes)

    def _label(self, x: int, y: int, label: str | None) -> int | None:
        """The column of the labels, from 0; None for none."""
        if label == NO_LABEL:
            return None
        candidates = self.labels if label is None else [self.column(label)]
        for column in candidates:
            count = len(self._values(self.rows, column))
            if 2 <= count <= MAX_LABELS and (label or column not in (x, y)):
                return column
            if label is not None:
                raise ValueError(
                    f"A label column must have 2 to {MAX_LABELS} different values; "
                    f"{self.names[column]} has {count:,}. Choose another column, or none."
                )
        return None

    def _values(self, rows: Iterable[Sequence[Cell]], column: int) -> set[str]:
        """The different labels of a column in some rows."""
        return {self._text(row[column]) for row in rows} - {""}

    @property
    def _step(self) -> int:
        """Every so many rows are a sample of about SAMPLE."""
        return max(1, len(self.rows) // SAMPLE)

    def _text(self, cell: Cell) -> str:
        """A cell as a label, "" if it is missing: 1.0 is the label 1."""
        number = self._number(cell)
        text = "" if is_missing(cell) else str(cell) if number is None else f"{number:g}"
        return " ".join(text.split())[:MAX_LABEL]

    def _number(self, cell: Cell) -> float | None:
        return cell_number(cell, self.decimal_comma)

    def _finite(self, cell: Cell, line: int) -> float:
        """The number in a cell, NaN if it is missing."""
        number = self._number(cell)
        if number is None:
            if is_missing(cell):
                return math.nan
            raise ValueError(
                f"Every cell must be a number; line {line} has {str(cell)[:40]!r}. Correct or "
                "remove it, or choose other columns."
            )
        if not math.isfinite(number):
            raise ValueError(
                f"Every number must be finite; line {line} has {str(cell)[:40]!r}. "
                "Remove the line."
            )
        return number

    def _has_row_numbers(self, column: int) -> bool:
        cells = (self._number(row[column]) for row in self.rows)
        numbers = [number for number in cells if number is not None]
        return len(numbers) == len(self.rows) and all(b == a + 1 for a, b in pairwise(numbers))

    def _has_labels(self, column: int) -> bool:
        numbers = {self._number(row[column]) for row in self.rows[:: self._step]}
        values = [number for number in numbers if number is not None]
        return len(values) <= MAX_LABELS and all(math.isfinite(v) and v == int(v) for v in values)

    def _named(self, columns: Sequence[int]) -> list[str]:
        return [self.names[k] for k in columns]

    def _too_narrow(self) -> ValueError:
        numeric_names = ", ".join(self._named(self.numeric)) or "none"
        return ValueError(
            f"The file must have two columns of numbers; of its {self.width:,} columns these have "
            f"numbers in at least {1 - MAX_DROPPED:.0%} of the rows: {numeric_names}. Add "
            "another one or use another separator."
        )


def cell_number(cell: Cell, decimal_comma: bool) -> float | None:
    """The number in a cell; None of other text and of a missing number."""
    if is_missing(cell):
        return None
    if not isinstance(cell, str):
        return cell
    text = cell.replace(",", ".") if decimal_comma and "." not in cell else cell
    try:
        return None if "_" in text else float(text)  # Python accepts 1_000, tables do not
    except ValueError:
        return None


def is_missing(cell: Cell) -> bool:
    """Whether a cell says that there is no number, such as NA."""
    return cell.lower() in MISSING if isinstance(cell, str) else cell is None or cell != cell


def _listed(names: Iterable[str]) -> str:
    return shortened(", ".join(names))[:100] or "none"
