"""Figures as they are printed: text of one size, the legend below all else, nothing cut off."""

import math
import re
import textwrap
from itertools import pairwise
from typing import Any

import plotly.graph_objects as go

from flowviz.figures import theme

POINTS_PER_MM = 72 / 25.4

TEXT_POINTS = 7.0
"""Size in print of the text of ticks and legends, in points."""

TEXT_PIXELS = 12.0
"""Its size on the page, as in the template of `theme`."""

MIN_PANEL = 190
"""Smallest width of a panel in pixels; in narrower prints the text is smaller instead."""

FONT = 'Arial, "Liberation Sans", Helvetica, sans-serif'
"""Font of files. The font of the page is not on other machines, where another one would be wider
than the room that was measured."""

DEFAULT_MARGIN = {"l": 80, "r": 80, "t": 100, "b": 80}
HEIGHT = 450
"""What Plotly takes where a figure and its template say nothing."""

CHARACTER, SYMBOL, ITEM, ROW, GROUP = 7, 46, 30, 20, 10
"""Pixels of a character and of the symbol of a legend entry, which has a line of ITEM by default,
of a row of entries, and between rows of groups."""

LEGEND, CROWDED = 48, 64
"""Pixels between panels and the legend below them, and those of panels that it may take."""

NAMES, AXIS_GAP = 0.4, 14
"""The largest share of the width that names on a vertical axis take, and pixels beside them."""

LINE, SIDE = 16, 64
"""Pixels of a further line of a title, and between panels for numbers and title of an axis."""


def width_pixels(figure: go.Figure, width_mm: float) -> int:
    """The width in pixels at which a figure is laid out for a printed width."""
    pixels = width_mm * POINTS_PER_MM * TEXT_PIXELS / TEXT_POINTS
    return round(max(pixels, MIN_PANEL * columns(figure)))


def laid_out(figure: go.Figure, width: float, *, squares: int = 0) -> go.Figure:
    """A copy of a figure with room for its legend and titles at a width in pixels.

    Args:
        figure: the figure; a layout with a fixed width keeps it.
        width: of the whole figure.
        squares: number of square panels side by side, whose width sets the height.
    """
    copy = go.Figure(figure)
    copy.update_layout(font_family=FONT, template_layout_font_family=FONT)
    if figure.layout.width is not None:
        return copy.update_layout(height=figure.layout.height or HEIGHT)
    margin = DEFAULT_MARGIN | _margin(copy.layout.template.layout) | _margin(copy.layout)
    inner = (figure.layout.height or HEIGHT) - margin["t"] - margin["b"]
    names_width, names_height = _wrap_names(copy, width)
    inner_width = width - max(margin["l"], names_width) - margin["r"]
    _part_panels(copy, inner_width)
    margin["t"] += LINE * _wrap_panel_titles(copy, inner_width)
    margin["t"] += max(0, _legend_height(copy, inner_width, "legend2") - ROW)
    copy.update_layout(margin_t=margin["t"])
    lines = _wrap_titles(copy, inner_width)
    legend, below = _legend_height(copy, inner_width), margin["b"]
    if legend and _is_below(copy):
        copy.update_layout(
            legend={"y": 0, "yref": "container", "yanchor": "bottom", "x": 0, "xref": "container"}
        )
        below = LEGEND + legend
    below += LINE * (lines - 1)
    copy.update_layout(margin_b=below)
    panels = inner_width / squares if squares else inner * min(1.0, (width / HEIGHT / 2) ** 0.5)
    panels = max(panels, names_height, _height_of_titles(copy, min(margin["t"], below)))
    height = round(panels + margin["t"] + below)
    return copy.update_layout(height=height)


def _part_panels(figure: go.Figure, width: float) -> None:
    """Widens the gaps of panels side by side for the titles of vertical axes."""
    columns = sorted({axis.domain for axis in figure.select_xaxes() if axis.domain is not None})
    titled = [axis for axis in figure.select_yaxes() if axis.title.text]
    if len(columns) < 2 or len(titled) < 2:
        return
    if any(left[1] > right[0] for left, right in pairwise(columns)):
        return  # rows of different panels
    if (columns[1][0] - columns[0][1]) * width >= SIDE:
        return
    gap = SIDE / width
    share = (1 - gap * (len(columns) - 1)) / len(columns)
    new = {old: (k * (share + gap), k * (share + gap) + share) for k, old in enumerate(columns)}
    for axis in figure.select_xaxes():
        axis.domain = new.get(axis.domain)
    for text in figure.select_annotations():
        for old, placed in new.items():
            if text.xref == "paper" and math.isclose(text.x, sum(old) / 2, abs_tol=1e-3):
                text.x = sum(placed) / 2


def _wrap_titles(figure: go.Figure, width: float) -> int:
    """Breaks titles of horizontal axes that are longer than their panels; the number of lines.

    With several rows of panels, a second line would be over the row below.
    """
    max_lines = 1
    if len({axis.domain for axis in figure.select_yaxes()}) > 1:
        return max_lines
    for axis in figure.select_xaxes():
        low, high = axis.domain or (0, 1)
        max_lines = max(max_lines, _wrap(axis.title, (high - low) * width))
    return max_lines


def _wrap(title: Any, width: float) -> int:
    """Breaks a title that is wider than `width` in pixels; the number of lines."""
    if not title.text:
        return 1
    title.text = theme.wrapped_title(title.text, int(width / CHARACTER))
    return title.text.count("<br>") + 1


def _margin(layout: Any) -> dict[str, float]:
    return layout.margin.to_plotly_json()


def _height_of_titles(figure: go.Figure, margin: float) -> float:
    """The height of all rows of panels in which the titles of vertical axes are not cut.

    A title may reach into the margins above and below.
    """
    heights = [0.0]
    for axis in figure.select_yaxes():
        low, high = axis.domain or (0, 1)
        lines = re.split("<br>", axis.title.text or "")
        longest = max(len(re.sub("<[^>]*>", "", line)) for line in lines)
        heights.append((CHARACTER * longest - 2 * margin) / (high - low))
    return max(heights)


def columns(figure: go.Figure) -> int:
    """Number of panels side by side."""
    axes = figure.select_xaxes()
    return len({round(axis.domain[0], 3) for axis in axes if axis.domain is not None}) or 1


def crowded(figure: go.Figure, width: float) -> bool:
    """Whether the legend below the panels takes much more than their margin at a width."""
    margin = _margin(figure.layout.template.layout) | _margin(figure.layout)
    legend = _legend_height(figure, width) if _is_below(figure) else 0
    return LEGEND + legend > margin.get("b", 0) + CROWDED


def titles_width(figure: go.Figure) -> int:
    """An estimate of the pixels that the titles of panels side by side take."""
    titles = [re.sub("<[^>]*>", "", each.text) for each in _panel_titles(figure)]
    return CHARACTER * sum(map(len, titles)) if len(titles) > 1 else 0


def _panel_titles(figure: go.Figure) -> list[Any]:
    """The titles of the upper row of panels, which are annotations."""
    return [
        each
        for each in figure.select_annotations()
        if each.yref in ("paper", "y domain", "y2 domain")
        and each.yanchor == "bottom"
        and each.y
        and each.y >= 0.99
    ]


def _wrap_panel_titles(figure: go.Figure, width: float) -> int:
    """Breaks titles that are longer than their panels, all of one row; the number of new lines."""
    max_new_lines = 0
    for axis in figure.select_xaxes():
        low, high = axis.domain or (0, 1)
        for each in _panel_titles(figure):
            if math.isclose(each.x, (low + high) / 2, abs_tol=1e-3):
                old_lines = each.text.count("<br>") + 1
                max_new_lines = max(max_new_lines, _wrap(each, (high - low) * width) - old_lines)
    return max_new_lines


def _wrap_names(figure: go.Figure, width: float) -> tuple[float, float]:
    """Breaks long names on a vertical axis; their width and height in pixels, 0 for numbers."""
    max_chars, wrapped = int(NAMES * width / CHARACTER), {}
    for trace in theme.traces(figure):
        names = trace.y if trace.type == "scatter" and trace.y is not None else ()
        if any(isinstance(name, str) for name in names):
            wrapped |= {str(name): textwrap.wrap(str(name), max_chars) for name in names}
            trace.y = ["<br>".join(wrapped[str(name)]) for name in names]
    lines = list(wrapped.values())
    longest = max((len(line) for each in lines for line in each), default=0)
    max_lines = max(map(len, lines), default=0)
    gap = max_lines > 1  # a line between names of several lines
    height = LINE * len(lines) * (max_lines + gap)
    return CHARACTER * longest + AXIS_GAP if longest else 0, height


def _is_below(figure: go.Figure) -> bool:
    """Whether the legend is a row below the panels, as in the template."""
    legend = figure.layout.legend
    return legend.orientation in (None, "h") and not (legend.y is not None and legend.y > 0)


def _legend_height(figure: go.Figure, width: float, legend: str = "legend") -> int:
    """An estimate of the height of a legend in pixels.

    Plotly makes columns of the widest entry. With groups it puts as many groups in a row as fit,
    the entries of each below each other.
    """
    keyed = [trace for trace in theme.traces(figure) if trace.type not in ("heatmap", "image")]
    named = [
        trace
        for trace in keyed
        if trace.name and trace.showlegend is not False
        if (getattr(trace, "legend", None) or "legend") == legend
    ]
    if len(named) < 2 and not (named and any(trace.showlegend for trace in keyed)):
        return 0
    symbol = SYMBOL + (figure.layout.legend.itemwidth or ITEM) - ITEM
    entries = [symbol + CHARACTER * len(str(trace.name)) for trace in named]
    if sum(entries) <= width:
        return ROW
    if not any(trace.legendgroup for trace in named):
        return ROW * math.ceil(len(entries) / max(1, int(width / max(entries))))
    groups: dict[Any, list[int]] = {}
    for trace, entry in zip(named, entries, strict=True):
        groups.setdefault(trace.legendgroup, []).append(entry)
    gap = figure.layout[legend].tracegroupgap
    above, used, high = 0, 0.0, 0
    for group in groups.values():
        if used and used + max(group) > width:
            above, used, high = above + high + (GROUP if gap is None else gap), 0.0, 0
        used, high = used + max(group), max(high, ROW * len(group))
    return above + high
