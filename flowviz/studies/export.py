"""Results of studies as files: figures as SVG, PNG, PDF or HTML, tables as CSV."""

import csv
import io
import shlex
from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go

from flowviz.settings import Config, settings
from flowviz.studies import Columns, Study

FORMATS = ("svg", "png", "pdf", "html")
"""Suffixes of figure files."""

WIDTH_PIXELS = 900
"""Default width of an exported figure."""

PIXELS_PER_MM = 96 / 25.4
"""CSS pixels per millimetre, the scale of printed PDF and SVG files."""

PNG_SCALE = 3
"""Image pixels per CSS pixel of a PNG file, about 290 per inch."""


def command_line(study: Study, config: Config) -> str:
    """The command that computes the study with this config in a shell."""
    parts = ["python", "-m", "flowviz", "experiment", study.name]
    declared = settings(type(config))
    for name, value in config.changed().items():
        flag = declared[name].flag
        if isinstance(value, bool):
            parts.append(flag if value else flag.replace("--", "--no-", 1))
        else:
            values = value if isinstance(value, tuple) else (value,)
            parts += [flag, *map(str, values)]
    return shlex.join(parts)


def python_lines(study: Study, config: Config) -> str:
    """The lines of Python that compute the study with this config and print its findings."""
    given = ", ".join(f"{name}={value!r}" for name, value in config.changed().items())
    return (
        "from flowviz.studies import STUDIES\n\n"
        f"study = STUDIES[{study.name!r}]\n"
        f"config = study.config({given})\n"
        "result = study.result(config)\n"
        'print(*study.say(config, result), sep="\\n")'
    )


def check_suffix(suffix: str) -> None:
    """Refuses a suffix that is not one of FORMATS, before long work.

    Raises:
        ValueError: the suffix is unknown.
    """
    if suffix not in FORMATS:
        raise ValueError(f"A figure file must end in .{', .'.join(FORMATS)}; got .{suffix}.")


def figure_bytes(figure: go.Figure, suffix: str, *, width_mm: float | None = None) -> bytes:
    """A figure as the content of a file.

    Args:
        figure: the figure; it is not changed.
        suffix: one of FORMATS. All but html need Chrome or Chromium.
        width_mm: printed width in millimetres; the figure's own, or WIDTH_PIXELS, by default.

    Raises:
        ValueError: the suffix is unknown, or the browser is missing.
    """
    check_suffix(suffix)
    if suffix == "html":
        return figure.to_html(include_plotlyjs=True, full_html=True).encode()
    width = WIDTH_PIXELS if width_mm is None else round(width_mm * PIXELS_PER_MM)
    if width_mm is None and figure.layout.width is not None:
        width = figure.layout.width
    scale = PNG_SCALE if suffix == "png" else 1
    try:
        return figure.to_image(suffix, width=width, height=figure.layout.height, scale=scale)
    except Exception as error:  # kaleido has no common base of its errors
        raise ValueError(
            f"A .{suffix} figure needs Chrome or Chromium, which was not found or failed "
            f"({type(error).__name__}); a .html figure does not."
        ) from error


def csv_text(settings: Mapping[str, object], columns: Columns) -> str:
    """A table with a header line, the settings above it as "# name: value" lines.

    Raises:
        ValueError: the columns have different lengths.
    """
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"The columns of a table must have one length; got {lengths}.")
    out = io.StringIO()
    for name, value in settings.items():
        out.write(f"# {name}: {str(value).splitlines()[0] if str(value) else ''}\n")
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(columns)
    rows.writerows(zip(*map(_texts, columns.values()), strict=True))
    return out.getvalue()


def _texts(values: Any) -> Any:
    values = np.asarray(values)
    return values if values.dtype.kind in "UOb" else np.char.mod("%.7g", values)
