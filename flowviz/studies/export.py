"""Results of studies as files: figures as SVG, PNG, PDF or HTML, tables as CSV."""

import csv
import io
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go

from flowviz import __version__
from flowviz.figures import paper
from flowviz.files import write_bytes
from flowviz.settings import Config, settings
from flowviz.studies import Columns, NamedFigure, Study
from flowviz.studies._printing import can_print as can_print
from flowviz.studies._printing import described, pdf

FORMATS = ("svg", "png", "pdf", "html")
"""Suffixes of figure files."""

WIDTH_PIXELS = 900
"""Default width of an exported figure."""

WIDTHS_MM = (40.0, 1000.0)
"""Smallest and largest printed width of a figure."""

PIXELS_PER_MM = 96 / 25.4
"""CSS pixels per millimetre, the scale of printed PDF and SVG files."""

SAVE_FIRST = "First save the network of this session on the page Train."
"""What to do before a command or a script can use a network of a session."""

MAX_LINE = 78
"""Length of the settings of a script above which each has its own line."""

PNG_SCALE = 3
"""Image pixels per CSS pixel of a PNG file, about 290 per inch."""


def command_line(
    study: Study, config: Config, command: tuple[str, ...] = ("experiment",), name: str = ""
) -> str:
    """The command that computes the study with this config in a shell.

    Args:
        study: the study.
        config: its settings.
        command: of `python -m flowviz`, and words that follow the settings.
        name: of the study in this command, if it is another one.
    """
    parts = ["python", "-m", "flowviz", command[0], name or study.name]
    declared = settings(type(config))
    for name, value in config.changed().items():
        flag = declared[name].flag
        if isinstance(value, bool):
            parts.append(flag if value else flag.replace("--", "--no-", 1))
        else:
            values = value if isinstance(value, tuple) else (value,)
            parts += [flag, *map(str, values)]
    return shlex.join([*parts, *command[1:]])


def script(study: Study, config: Config, figure: str = "") -> str:
    """A Python file that computes the study with this config, prints its findings and draws.

    Args:
        study: the study.
        config: its settings; a network of this session must be saved first.
        figure: name of the one figure that the script writes; all by default.
    """
    assignments = [f"{name}={value!r}" for name, value in config.changed().items()]
    arguments = ", ".join(assignments)
    if len(arguments) > MAX_LINE:
        arguments = "".join(f"\n    {each}," for each in assignments) + "\n"
    content = f"the figure {figure}" if figure else "all figures"
    write = (
        f'save(figures[{figure!r}], "{file_name(config, figure)}.html")\n'
        if figure
        else "for name, each in figures.items():\n"
        f'    save(each, f"{file_name(config)}-{{name}}.html")\n'
    )
    return (
        f"# {study.title}: {content}, made with flowviz {__version__}.\n"
        + (f"# {SAVE_FIRST}\n" if names_session(config) else "")
        + "# Files that end in .pdf, .svg or .png need Chrome or Chromium.\n"
        "import flowviz\n"
        "from flowviz.studies.export import save\n\n"
        f"study = flowviz.study({study.name!r})\n"
        f"config = study.config({arguments})\n"
        "result = study.result(config)\n"
        'print(*study.say(config, result), sep="\\n")\n'
        "figures = {each.name: each for each in study.draw(config, result)}\n" + write
    )


def names_session(config: Config) -> bool:
    """Whether a config names a network that only the session of a visitor has."""
    return any("live:" in str(value) for value in config.changed().values())


def file_name(config: Config, figure: str = "") -> str:
    """The name of files of a config, without suffix: flowviz, data set and figure."""
    data = str(getattr(config, "data", "")).partition(":")[0]
    return "-".join(filter(None, ["flowviz", Path(data).stem, figure]))


def save(
    figure: NamedFigure, path: str | Path, *, width_mm: float | None = None, made_by: str = ""
) -> None:
    """Writes a figure of a study; see `figure_bytes`.

    Args:
        figure: the figure.
        path: of the file, which ends in one of FORMATS.
        width_mm: printed width in millimetres, such as 85 for a column or 178 for a page.
        made_by: the command with the settings, for the metadata of the file.
    """
    path = Path(path)
    write_bytes(path, _named_bytes(figure, path.suffix[1:], width_mm, made_by))


def printed(study: Study, config: Config, result: Any, name: str, width_mm: float) -> bytes:
    """The PDF of one figure of a result, in the light theme; see `figure_bytes`.

    Raises:
        ValueError: the width is not valid, or the browser is missing.
    """
    figures = {each.name: each for each in study.draw(config, result, dark=False)}
    return _named_bytes(figures[name], "pdf", width_mm, command_line(study, config))


def _named_bytes(figure: NamedFigure, suffix: str, width_mm: float | None, made_by: str) -> bytes:
    """The content of a file of a named figure, whose metadata state its title and `made_by`."""
    description = f"{figure.title}. {made_by}"
    return figure_bytes(
        figure.figure, suffix, width_mm=width_mm, squares=figure.squares, description=description
    )


def check_suffix(suffix: str) -> None:
    """Refuses a suffix that is not one of FORMATS, before long work.

    Raises:
        ValueError: the suffix is unknown.
    """
    if suffix not in FORMATS:
        raise ValueError(f"A figure file must end in .{', .'.join(FORMATS)}; got .{suffix}.")


def figure_bytes(
    figure: go.Figure,
    suffix: str,
    *,
    width_mm: float | None = None,
    squares: int = 0,
    description: str = "",
) -> bytes:
    """A figure as the content of a file.

    Args:
        figure: the figure; it is not changed.
        suffix: one of FORMATS. All but html need Chrome or Chromium.
        width_mm: printed width in millimetres, at which text has 7 points; by default the figure's
            own width, or WIDTH_PIXELS.
        squares: see `NamedFigure`.
        description: what the figure shows and how it was made, for the metadata.

    Raises:
        ValueError: the suffix or the width is not valid, or the browser is missing.
    """
    check_suffix(suffix)
    if suffix == "html":
        return figure.to_html(include_plotlyjs=True, full_html=True).encode()
    pixels = figure.layout.width or WIDTH_PIXELS
    scale: float = PNG_SCALE if suffix == "png" else 1
    if width_mm is not None:
        check_width(width_mm)
        if figure.layout.width is None:
            pixels = paper.width_pixels(figure, width_mm)
        scale *= width_mm * PIXELS_PER_MM / pixels
    resized = paper.laid_out(figure, pixels, squares=squares)
    height = resized.layout.height
    try:
        content = resized.to_image(
            "svg" if suffix == "pdf" else suffix, width=pixels, height=height, scale=scale
        )
        if suffix == "pdf":
            return pdf(content, pixels * scale, height * scale, description)
    except Exception as error:  # kaleido has no common base of its errors
        raise ValueError(
            f"A .{suffix} figure needs Chrome or Chromium, which was not found or failed "
            f"({type(error).__name__}); a .html figure does not."
        ) from error
    return described(content, suffix, description) if description else content


def check_width(width_mm: float) -> None:
    """Refuses a printed width on which nothing can be read, or that no printer has.

    Raises:
        ValueError: the width is not in WIDTHS_MM.
    """
    low, high = WIDTHS_MM
    if not low <= width_mm <= high:
        raise ValueError(f"The width must be {low:g} to {high:g} mm; got {width_mm:g}.")


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
