"""The files of tables: text (CSV and its relatives, ARFF, JSON) and arrays of NumPy."""

import codecs
import csv
import json
import re
from collections import Counter
from pathlib import PurePath
from typing import Any

from flowviz.datasets.arrays import is_array, read_arrays
from flowviz.datasets.points import COUNT, wrong_count
from flowviz.datasets.tables import SAMPLE, Cell, Table, cell_number, is_missing

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".dat", ".data", ".arff", ".json", ".npy", ".npz")

SEPARATORS = "\t;,|"
"""Separators of columns, the first ones preferred. Without one, blanks separate them."""

SEPARATED = 0.9
"""The share of lines that must contain a separator."""


def read_table(filename: str, content: bytes, header: bool | None = None) -> Table:
    """The rows of a file.

    In text, columns are separated by tabs, semicolons, commas, bars or blanks, or as a first line
    such as "sep=;" says. Rows that start with # or % are comments. If the separator is not a
    comma, "1,5" is read as 1.5.

    Args:
        filename: only its suffix counts.
        content: the bytes of the file.
        header: whether the first row of a text file names the columns; None to judge it by this
            row and by what follows.

    Raises:
        ValueError: the file is not a table, or has too few or too many rows.
    """
    if is_array(filename, content):
        names, rows = read_arrays(content)
        _check_rows(len(rows))
        return Table(rows, list(range(1, len(rows) + 1)), names)
    text = _text(content)
    if PurePath(filename).suffix.lower() == ".json":
        return _json_table(text)
    lines = [
        (number, line)
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and line.lstrip()[0] not in "#%"
    ]
    if lines and lines[0][1].lstrip().lower().startswith("@relation"):
        return _arff_table(lines)
    return _text_table(lines, header)


# ---- Text


def _text(content: bytes) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # Unicode text of Excel
        return content.decode("utf-16", errors="replace").replace("\0", "")
    if b"\0" in content:
        raise ValueError(
            "The file must be text with two columns of numbers, or an array of NumPy; this one is "
            "binary. Save the table as CSV."
        )
    return content.decode("utf-8-sig", errors="replace")


def _text_table(lines: list[tuple[int, str]], header: bool | None) -> Table:
    separator = None
    if lines and (
        declared := re.fullmatch(r'"?sep=(.)"?', lines[0][1].strip(" \r"), re.IGNORECASE)
    ):
        separator, lines = declared[1], lines[1:]
    if not lines:
        raise ValueError(
            "The file must have two columns of numbers; this file is empty. Write one point per "
            "line, such as 1.5,2."
        )
    if len(lines) > COUNT[1] + 1:  # before parsing, which takes time
        raise wrong_count(len(lines))
    separator = separator or _separator([line for _, line in lines])
    numbers = [number for number, _ in lines]
    cells = [_cells(line, separator, number) for number, line in lines]
    rows = _aligned(cells, numbers, header, decimal_comma=separator != ",")
    if header is None:
        header = _is_header(rows[0], rows[1:], decimal_comma=separator != ",")
    return Table(
        rows=rows[header:],
        lines=numbers[header:],
        header=tuple(rows[0]) if header else None,
        optional_header=True,
        decimal_comma=separator != ",",
    )


def _aligned(
    rows: list[list[str]], lines: list[int], header: bool | None, decimal_comma: bool
) -> list[list[str]]:
    """The rows, all with the same number of cells: that of most rows."""
    body = rows[1:] or rows
    if all(len(row) > 1 and not row[-1] for row in body):  # each line ends in a separator
        rows = [row if row[-1] else row[:-1] for row in rows]
        body = rows[1:] or rows
    widths = Counter(map(len, body))
    # Of equally frequent widths the largest one: shorter rows lack a number.
    width = max(widths, key=lambda n: (widths[n], n))
    first = rows[0]
    if header is not False and len(first) == width - 1:
        numbers = any(cell_number(cell, decimal_comma) is not None for cell in first)
        if not numbers and _is_header(first, [row[1:] for row in body], decimal_comma):
            rows = [["", *first], *rows[1:]]  # of R: the column of row names has no name
    return [_fitted(row, width, line) for row, line in zip(rows, lines, strict=True)]


def _separator(lines: list[str]) -> str | None:
    """The separator of columns, judged by the last lines; None for blanks."""
    last = lines[-SAMPLE:]
    return next(
        (
            mark
            for mark in SEPARATORS
            if sum(mark in line for line in last) >= SEPARATED * len(last)
        ),
        None,
    )


def _cells(line: str, separator: str | None, number: int) -> list[str]:
    if separator is None and '"' not in line:
        return line.split()
    try:
        row = next(csv.reader([line.strip()], delimiter=separator or " ", skipinitialspace=True))
    except (csv.Error, StopIteration) as error:
        raise ValueError(
            f"Line {number} must be a row of a table; got {line[:40]!r} ({error})."
        ) from None
    return [cell.strip() for cell in row]


def _fitted(row: list[str], width: int, line: int) -> list[str]:
    """The row with as many cells as the others; those that lack are empty."""
    while len(row) > width and not row[-1]:
        row.pop()
    if len(row) > width:
        raise ValueError(
            f"All rows must have the same columns; line {line} has {len(row):,} and most have "
            f"{width:,}. Remove the others or use another separator."
        )
    return row + [""] * (width - len(row))


def _is_header(first: list[str], others: list[list[str]], decimal_comma: bool) -> bool:
    """Whether the first row of a table has the names of its columns.

    It has if there is other text where the rest has numbers. It also has if it counts 0, 1, 2 ...
    and two columns have fractions: pandas numbers columns without names.
    """
    if not others:
        return all(cell_number(cell, decimal_comma) is None for cell in first)
    table = Table(others, [], None, decimal_comma=decimal_comma)
    headed = {k: first[k] for k in table.numeric if k < len(first) and not is_missing(first[k])}
    if any(cell_number(cell, decimal_comma) is None for cell in headed.values()):
        return True
    cells = list(headed.values())
    if len(cells) < 2 or not any(
        cells == [str(start + k) for k in range(len(cells))] for start in (0, 1)
    ):
        return False
    fractions = [
        k
        for k in headed
        if sum(row[k].isdigit() for row in others if k < len(row)) < len(others) / 2
    ]
    return len(fractions) >= 2


# ---- ARFF and JSON


def _arff_table(lines: list[tuple[int, str]]) -> Table:
    """The rows after @data; the names come from the lines of @attribute."""
    names, rows, numbers, in_data = [], [], [], False
    for number, line in lines:
        text = line.strip()
        if in_data:
            if text.startswith("{"):
                raise ValueError(
                    "The rows of an ARFF file must list all cells; this file is sparse. Save the "
                    "table as CSV."
                )
            rows.append(_fitted(_cells(text, ",", number), len(names), number))
            numbers.append(number)
        elif named := re.match(r"""@attribute\s+('[^']*'|"[^"]*"|\S+)""", text, re.IGNORECASE):
            names.append(named[1].strip("'\""))
        in_data = in_data or text.lower().startswith("@data")
    _check_rows(len(rows))
    return Table(rows, numbers, tuple(names))


def _json_table(text: str) -> Table:
    """A list of rows, a list of objects, or an object of columns."""
    try:
        # Integers as floats: those of thousands of digits cost time.
        content = json.loads(text, parse_int=float)
    except (ValueError, RecursionError):
        raise _not_json() from None
    if isinstance(content, dict) and isinstance(content.get("data"), list):  # pandas, "split"
        names, content = content.get("columns"), content["data"]
        names = tuple(map(_name, names)) if isinstance(names, list) else None
    elif isinstance(content, dict):
        columns = [list(v.values()) if isinstance(v, dict) else v for v in content.values()]
        columns = {str(k): v for k, v in zip(content, columns, strict=True) if isinstance(v, list)}
        if len({len(v) for v in columns.values()}) != 1:
            raise _not_json()
        names, content = tuple(columns), list(map(list, zip(*columns.values(), strict=True)))
    elif isinstance(content, list) and content and all(isinstance(row, dict) for row in content):
        names = tuple(dict.fromkeys(key for row in content for key in row))
        if len(names) * len(content) > 10 * len(text):
            raise _not_json()
        content = [[row.get(name) for name in names] for row in content]
    else:
        names = None
    if not isinstance(content, list) or not all(isinstance(row, list) for row in content):
        raise _not_json()
    width = len(names) if names is not None else max(map(len, content), default=0)
    if not all(len(row) == width for row in content):
        raise _not_json()
    _check_rows(len(content))
    return Table(
        [list(map(_cell, row)) for row in content], list(range(1, len(content) + 1)), names
    )


def _cell(value: Any) -> Cell:
    if value is None or isinstance(value, str) or type(value) is float:
        return value
    return "a truth value" if isinstance(value, bool) else "a list or an object"


def _name(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(_cell(value))


def _not_json() -> ValueError:
    return ValueError(
        "A JSON file must be a list of rows of the same length, a list of objects, or an object "
        'of columns of the same length, such as {"x": [1.5, 2], "y": [0, 3]}; this one is not. '
        "Save the table as CSV."
    )


def _check_rows(count: int) -> None:
    if count > COUNT[1]:  # before the cells are read, which takes time
        raise wrong_count(count)
