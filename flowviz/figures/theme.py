"""Colours and templates of all figures, for Plotly and for the player.

A colour has one meaning on all pages. Each path, noise, data and exact values have their own
colour; learned quantities have the colour of their path. The colours are from the palette of Okabe
and Ito (https://jfly.uni-koeln.de/color/), which people with colour-vision deficiencies can
distinguish. The dark theme uses its lighter colours. Ramps are ordered by lightness, so that they
are readable in grey, and avoid the hues of the roles: density is indigo below coloured particles.
"""

import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import plotly.graph_objects as go

from flowviz.bounds import FRAME as FRAME

T = TypeVar("T")

_DARK: ContextVar[bool] = ContextVar("dark", default=False)
"""Whether the figures that are drawn here have the dark theme, see `using`."""

FONT = '"Source Sans", "Source Sans Pro", "Segoe UI", system-ui, sans-serif'
"""Font of figures: the font of the page, or a similar one where a figure is opened alone."""

TAG = re.compile(r"<(?!/?(?:b|br|i|sub|sup)>)")
"""The start of a tag in a label, but for those that labels use: they have no attributes."""

PROJECTION = 1.5
"""How much larger than on a page the text of a figure is on a wall."""

ROLES: dict[str, tuple[str, str]] = {
    "ot": ("#0072B2", "#56B4E9"),
    "vp": ("#D55E00", "#E69F00"),
    "trig": ("#5B4B8A", "#B9A6E8"),
    "ve": ("#7A6800", "#DCCB5A"),
    "shaped": ("#B00020", "#FF7B72"),
    "noise": ("#7A7F87", "#9AA1AB"),
    "data": ("#009E73", "#2FC79B"),
    "exact": ("#CC79A7", "#E39CC4"),
}
"""The colour of a role in the light and in the dark theme."""

SHADES: dict[str, tuple[tuple[str, str], ...]] = {
    "ot": (("#003A5C", "#BFE4F9"), ("#5AA5D2", "#2E78A8"), ("#3D5BDB", "#7D92FF")),
    "vp": (("#6E2C00", "#FBDDA3"), ("#E09050", "#9C6100"), ("#A84C4C", "#F0743C")),
    "trig": (("#2C2247", "#E4DBFA"), ("#9A8DC4", "#7465A8"), ("#7D45B8", "#C583F0")),
    "ve": (("#3F3500", "#F1EAB8"), ("#AFA04A", "#8C7F2E"), ("#557F1C", "#B3D14E")),
    "shaped": (("#5E0012", "#FFC9C5"), ("#D9667A", "#B0433C"), ("#C2185B", "#FF86B0")),
    "learned": (("#56686B", "#C9C2A8"), ("#97917E", "#7FA6C2"), ("#3F3A63", "#8A86B8")),
}
"""Further colours of a path, light and dark, for several curves of it in one figure."""

DASHES = (
    "solid",
    "6px,3px",
    "2px,3px",
    "8px,3px,2px,3px",
    "12px,4px",
    "8px,3px,2px,3px,2px,3px",
    "5px,7px",
    "12px,3px,4px,3px",
)
"""Line styles, in order. Their periods are short, so that a legend shows one of each."""

SYMBOLS = (
    "circle",
    "diamond",
    "square",
    "cross",
    "star",
    "triangle-up",
    "bowtie",
    "triangle-down",
    "hourglass",
)
"""Markers, in order; those of exact fields are open, and a cross of two diagonals is an error."""

PAPER = ("#FFFFFF", "#12171B")
"""Background, light and dark; the same as in .streamlit/config.toml."""

INK = ("#1B2328", "#E6EBEE")
"""Text and axes, light and dark."""

MUTED = ("#5D6470", "#A3ABB8")
"""Secondary text, light and dark; at least 4.5:1 against PAPER."""

GRID = ("#D9DFE3", "#323C43")
"""Grid lines and borders, light and dark."""

HAIR = ("#AEB6BE", "#52606B")
"""Frames and ticks of the planes, light and dark."""

DENSITY_RAMP: tuple[tuple[str, ...], tuple[str, ...]] = (
    ("#FFFFFF", "#EEF0F8", "#D6DAEC", "#B1B8D9", "#858EBC", "#5A639A", "#363C70"),
    ("#12171B", "#1A2132", "#26304C", "#3B4769", "#586592", "#8D98C2", "#D5DCF0"),
)
"""Probability density from zero to its maximum, light and dark; zero has the background colour."""

DIFFERENCE_RAMP: tuple[tuple[str, ...], tuple[str, ...]] = (
    ("#FFFFFF", "#F8E9F1", "#EBC7DC", "#D896BC", "#BA6495", "#8C3C6B", "#5A1F42"),
    ("#12171B", "#2B1E29", "#4D2B42", "#793F63", "#A95F8C", "#D58FB8", "#F6D3E6"),
)
"""Magnitude of an error, |learned - exact|, from zero, light and dark."""

CYCLE = (
    ("#c8553d", "#c79a2b", "#3f9d63", "#2f8fb3", "#6a5fc1", "#b5539b", "#c8553d"),
    ("#ef8a72", "#e6c15a", "#6fcb90", "#63bfe0", "#9d93f0", "#e187c6", "#ef8a72"),
)
"""Colours of angles, in the light and in the dark theme: the last is the first."""
MAX_CLASSES = 12
"""The number of colours of classes."""


@contextmanager
def using(*, dark: bool) -> Iterator[None]:
    """Draws the figures within the block in the dark or in the light theme; light by default.

    The block must draw them itself: a generator that is read later, or another thread, has the
    light theme.
    """
    token = _DARK.set(dark)
    try:
        yield
    finally:
        _DARK.reset(token)


def pick(pair: tuple[T, T], dark: bool | None = None) -> T:
    """The one of a pair for the light and the dark theme, by default for the theme of `using`."""
    return pair[_DARK.get() if dark is None else dark]


def colour(role: str, *, dark: bool | None = None) -> str:
    """The colour of a role in ROLES as #rrggbb; for `dark` see `pick`."""
    if role not in ROLES:
        raise ValueError(f"Unknown role {role!r}. There are: {', '.join(ROLES)}.")
    return pick(ROLES[role], dark)


def path_colour(path: str, k: int = 0, *, dark: bool | None = None) -> str:
    """The colour of a path given by its spec ("ot", "vp:beta_max=10") as #rrggbb.

    Curve `k` of a path has one of its SHADES, which repeat; curve 0 has the colour of the path. A
    path without an entry in ROLES has the colour of text. For `dark` see `pick`.
    """
    name = path.split(":")[0]
    shades = (ROLES.get(name, INK), *SHADES.get(name, SHADES["learned"]))
    return pick(shades[k % len(shades)], dark)


def style(path: str, k: int) -> dict[str, str]:
    """Colour, line style and marker of curve `k` of a path: no two of 72 curves look alike."""
    return {"colour": path_colour(path, k), "dash": dash(k), "symbol": symbol(k)}


def family(colour: str) -> str:
    """The colour of the path that a colour of `style` belongs to; any other colour itself."""
    shades = (
        {path_colour(path, k): path for k in range(1 + len(SHADES[path]))} for path in SHADES
    )
    return next((path_colour(colours[colour]) for colours in shades if colour in colours), colour)


def ranks(paths: Sequence[str]) -> list[int]:
    """The `k` of `style` for curves of these paths: the number of curves before it of its path.

    Paths with the same colour, such as "vp" and "vp:beta_max=10", count as one.
    """
    names = [path.split(":")[0] for path in paths]
    return [names[:k].count(name) for k, name in enumerate(names)]


def class_colours(*, dark: bool | None = None) -> list[str]:
    """MAX_CLASSES colours, evenly spaced on CYCLE, each #rrggbb; see `class_places`, `pick`."""
    stops = [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in pick(CYCLE, dark)]
    colours = []
    for k in range(MAX_CLASSES):
        position = k * (len(stops) - 1) / MAX_CLASSES
        i, share = int(position), position % 1
        mixed = (round(a + (b - a) * share) for a, b in zip(stops[i], stops[i + 1], strict=True))
        colours.append("#{:02x}{:02x}{:02x}".format(*mixed))
    return colours


def class_places(count: int) -> list[int]:
    """The place in `class_colours` of each of `count` classes, as far apart as possible."""
    return [k * MAX_CLASSES // count for k in range(count)]


def dash(k: int) -> str:
    """The line style of curve k; the styles repeat after the last one of DASHES."""
    return DASHES[k % len(DASHES)]


def symbol(k: int) -> str:
    """The marker of curve k; the markers repeat after the last one of SYMBOLS."""
    return SYMBOLS[k % len(SYMBOLS)]


def rgba(colour: str, opacity: float) -> str:
    """A colour #rrggbb with an opacity in [0, 1], in CSS."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {opacity:g})"


def plotly_scale(
    ramp: tuple[tuple[str, ...], tuple[str, ...]] = DENSITY_RAMP,
) -> list[tuple[float, str]]:
    """A ramp of evenly spaced colours, light and dark, as a Plotly colour scale."""
    colours = pick(ramp)
    return [(i / (len(colours) - 1), c) for i, c in enumerate(colours)]


def template() -> go.layout.Template:
    """Template of all figures: fonts, margins, grid, hover labels and legend.

    The background is opaque, so that a downloaded figure looks as on the page.
    """
    ink, muted, grid, paper = map(pick, (INK, MUTED, GRID, PAPER))
    axis = {
        "gridcolor": grid,
        "linecolor": grid,
        "zeroline": False,
        "showline": True,
        "mirror": True,
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": grid,
        "tickfont": {"color": muted, "size": 12},
        "title": {"font": {"color": ink, "size": 13}, "standoff": 8},
        "automargin": True,
        "exponentformat": "power",
    }
    return go.layout.Template(
        layout={
            "font": {"family": FONT, "color": ink, "size": 13},
            "paper_bgcolor": paper,
            "plot_bgcolor": paper,
            "colorway": [pick(pair) for pair in ROLES.values()],
            "margin": {"l": 56, "r": 16, "t": 48, "b": 48},
            "title": {
                "font": {"size": 15, "color": ink},
                "x": 0,
                "xref": "paper",
                "xanchor": "left",
                "y": 1,
                "yref": "container",
                "yanchor": "top",
                "pad": {"t": 12},
            },
            "xaxis": axis,
            "yaxis": axis,
            "hovermode": "closest",
            "hoverlabel": {
                "bgcolor": paper,
                "bordercolor": grid,
                "font": {"color": ink, "family": FONT, "size": 12},
            },
            "legend": {
                "orientation": "h",
                "x": 0,
                "xanchor": "left",
                "y": -0.16,
                "yanchor": "top",
                "font": {"size": 12, "color": ink},
                "itemsizing": "constant",
                "bgcolor": "rgba(0, 0, 0, 0)",
            },
            "modebar": {
                "bgcolor": rgba(paper, 0.85),  # over the title of a panel
                "color": muted,
                "activecolor": ink,
                "orientation": "h",
            },
            "colorscale": {"sequential": plotly_scale()},
            "annotationdefaults": {"font": {"color": ink, "size": 13}},
        }
    )


def plain(label: str) -> str:
    """A label in which only tags without attributes are markup.

    Names of files and classes are text of others, which Plotly would show as links or styles.
    """
    return TAG.sub("&lt;", label)


def wrapped_title(title: str, max_chars: int) -> str:
    """A title in lines of at most `room` characters, broken at hyphens only if a word is longer.

    A title with other markup than bold text stays as it is.
    """
    bold = title.startswith("<b>") and title.endswith("</b>")
    text = (title[3:-4] if bold else title).replace("<br>", " ")
    if "<" in text:
        return title
    max_chars = max(max_chars, 8)
    at_hyphens = any(len(word) > max_chars for word in text.split())
    wrapped = "<br>".join(textwrap.wrap(text, max_chars, break_on_hyphens=at_hyphens))
    return f"<b>{wrapped}</b>" if bold else wrapped


def traces(figure: go.Figure) -> tuple[Any, ...]:
    """The traces of a figure, whose types depend on their kinds."""
    data: Any = figure.data
    return data


def projected(figure: go.Figure) -> go.Figure:
    """A copy with text for a wall, at least 16 pixels high, and margins for it."""
    copy = go.Figure(figure)
    copy.layout = _enlarged(copy.layout.to_plotly_json())
    height = (copy.layout.height or 450) - 120
    for axis in copy.select_yaxes():  # a title may be as long as its panel is high
        low, high = axis.domain or (0, 1)
        if axis.title.text and "<" not in axis.title.text:
            lines = textwrap.wrap(axis.title.text, max(12, int((high - low) * height / 9)))
            axis.title.text = "<br>".join(lines)
    for trace in traces(copy):
        if bar := getattr(trace, "colorbar", None):
            trace.colorbar = _enlarged(bar.to_plotly_json())
        if (font := getattr(trace, "textfont", None)) and isinstance(font.size, int | float):
            font.size *= PROJECTION
    return copy


def _enlarged(node: Any) -> Any:
    """A part of a layout with larger fonts and margins."""
    if isinstance(node, list | tuple):
        return [_enlarged(each) for each in node]
    if not isinstance(node, dict):
        return node
    enlarged = {key: _enlarged(value) for key, value in node.items()}
    for key, value in enlarged.items():
        if key.endswith("font") and "size" in value:
            enlarged[key] = value | {"size": PROJECTION * value["size"]}
        elif key == "len" and enlarged.get("lenmode") == "pixels":
            enlarged[key] = PROJECTION * value
        elif key == "margin":
            enlarged[key] = {
                side: PROJECTION * size for side, size in value.items() if side in "lrtb"
            }
        elif key == "legend" and value.get("y", 0) < 0:  # below the title of an axis
            enlarged[key] = value | {"y": 2 * value["y"]}
    return enlarged
