"""The data of figures equal the arrays; pixels are not compared."""

import json
import subprocess
import sys
import tomllib
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
from plotly.subplots import make_subplots

from flowviz.figures import curves, images, likelihood, marks, pairings, paper, plane, theme
from flowviz.figures.likelihood import log_density_map
from flowviz.schedulers import SCHEDULERS
from flowviz.studies._lines import path_line
from flowviz.ui.figure import PHONE

ROOT = Path(__file__).parents[1]
RNG = np.random.default_rng(0)
AXIS = np.linspace(-5, 5, 12)
NODES = np.stack([g.ravel() for g in np.meshgrid(AXIS, AXIS)], axis=1)


def panel(title="conditional OT", colour="#0072B2", **changes):
    parts = {
        "axis": AXIS,
        "density": RNG.random((12, 12)),
        "positions": NODES,
        "velocities": -NODES,
        "particles": RNG.normal(size=(30, 2)),
        "states": RNG.normal(size=(6, 7, 2)),
        "data": RNG.normal(size=(9, 2)),
    }
    return plane.Plane(title=title, colour=colour, **(parts | changes))


PANELS = [panel(), panel("VP diffusion", "#D55E00")]
FRAMES = [RNG.normal(size=(10, 8, 2)) for _ in PANELS]
FIGURES = {
    "snapshot": lambda: plane.snapshot(PANELS, t=0.5),
    "trajectories": lambda: plane.trajectories(PANELS),
    "difference": lambda: plane.difference(PANELS, t=0.5),
    "film strip": lambda: plane.film_strip(PANELS, FRAMES, np.linspace(0, 1, 10)),
}
LINES = [
    curves.Curve(label="conditional OT", colour="#0072B2", x=AXIS, y=AXIS**2, floor=0.1),
    curves.Curve(label="VP diffusion", colour="#D55E00", x=AXIS, y=AXIS**2 + 1, floor=0.1),
]


def of(figure, kind, **attributes):
    return [
        trace
        for trace in figure.data
        if trace.type == kind and all(getattr(trace, k) == v for k, v in attributes.items())
    ]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", FIGURES)
def test_plane_has_equal_axes_and_the_paper_of_its_theme(name, dark):
    with theme.using(dark=dark):
        figure = FIGURES[name]()
    layout = figure.layout
    for axis in figure.select_yaxes():
        anchored = axis.scaleanchor or (axis.matches and layout[_long(axis.matches)].scaleanchor)
        assert anchored, "one unit must be as long along y as along x"
    assert layout.template.layout.paper_bgcolor == theme.PAPER[dark]


def _long(name):
    return f"{name[0]}axis{name[1:]}"


def test_snapshot_draws_each_panels_arrays():
    figure = plane.snapshot(PANELS, t=0.25)
    heatmaps = of(figure, "heatmap")
    assert [np.array_equal(h.z, p.density) for h, p in zip(heatmaps, PANELS, strict=True)]
    assert {h.zmax for h in heatmaps} == {max(p.density.max() for p in PANELS)}
    particles = [t for t in of(figure, "scatter") if (t.name or "").startswith("particles")]
    for trace, p in zip(particles, PANELS, strict=True):
        assert np.array_equal(trace.x, p.particles[:, 0].astype(np.float32))
        assert trace.marker.color == p.colour
    assert "0.250" in figure.layout.title.text


def test_axes_are_named():
    for name in ("snapshot", "trajectories", "difference"):
        figure = FIGURES[name]()
        assert all(axis.title.text for axis in figure.select_xaxes())
        assert figure.layout.yaxis.title.text, "once: the panels share their rows"
    figure = curves.quality(LINES, metric="sliced W2")
    assert figure.layout.xaxis.title.text and figure.layout.yaxis.title.text == "sliced W2"


def test_arrow_is_a_shaft_with_a_head_at_its_tip():
    x, u = np.array([[1.0, 2.0]]), np.array([[3.0, 0.0]])
    line = marks.arrows(x, u, scale=0.5)
    tip = x + 0.5 * u
    assert np.array_equal(line[:2], np.concatenate([x, tip]))
    assert np.isnan(line[2]).all() and np.isnan(line[-1]).all()
    assert (line == tip).all(axis=1).sum() == 3  # the shaft's end and the head, twice
    assert (line[3:5, 0] <= tip[0, 0]).all()


def test_arrows_saturate_at_a_cell():
    fast = panel(velocities=-1e6 * NODES)
    figure = plane.snapshot([panel(), fast], t=0.9)
    lines = [t for t in of(figure, "scatter", mode="lines") if "velocity" in (t.name or "")]
    cell = AXIS[1] - AXIS[0]
    for line in lines:
        xy = np.stack([line.x, line.y], axis=1).reshape(-1, 9, 2)
        lengths = np.linalg.norm(xy[:, 1] - xy[:, 0], axis=1)
        assert lengths.max() <= cell * (1 + 1e-9)
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("farthest", "half"), [(0.0, 5.0), (4.89, 5.0), (5.2, 5.5), (6.33, 6.5), (40.0, 7.0)]
)
def test_a_frame_grows_with_the_trajectories_that_leave_it(farthest, half):
    states = np.zeros((3, 5, 2))
    states[1, 2, 0] = -farthest
    assert marks.half_side(np.zeros((2, 4, 2)), states) == half


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0.19, 30.0, np.nan, -1.0, 0.0], {"0.2", "0.5", "1", "20", "50"}),
        ([3e-6, 2e-5], {"2·10<sup>−6</sup>", "10<sup>−5</sup>"}),
        ([1e-6, 0.5], {"10<sup>−6</sup>", "10<sup>−1</sup>"}),
        ([0.01, 9000.0], {"0.01", "1", "1,000"}),
        ([1.9, 3.4], {"2", "3"}),
        ([0.3, 0.9], {"0.4", "0.5", "0.7"}),
        ([4.0, 100.0], {"5", "10", "20", "50", "100", "1,000"}),
        ([1e-9, 10.0], {"10<sup>−8</sup>", "10<sup>−2</sup>"}),
        ([3e-5, 2e-4], {"5·10<sup>−5</sup>", "10<sup>−4</sup>"}),
    ],
)
def test_ticks_of_a_logarithmic_axis_are_few_round_numbers(values, words):
    ticks = marks.log_ticks(np.array(values))
    good = [v for v in values if v > 0]
    within = [v for v in ticks["tickvals"] if min(good) <= v <= max(good)]
    assert words <= set(ticks["ticktext"]) and 2 <= len(within) <= 10
    assert ticks["tickvals"][0] < min(good) and ticks["tickvals"][-1] > max(good)
    assert np.all(np.diff(ticks["tickvals"]) > 0)
    assert marks.log_ticks(np.array([3.1, 3.2])) == marks.log_ticks(np.array([0.0])) == {}


def test_polyline_separates_the_trajectories():
    states = RNG.normal(size=(4, 3, 2))
    line = marks.polyline(states).reshape(3, 5, 2)
    assert np.array_equal(line[:, :4], states.swapaxes(0, 1))
    assert np.isnan(line[:, 4]).all()


def test_trajectories_mark_start_and_end():
    panels = [PANELS[0], replace(PANELS[1], jumps=True)]
    figure = plane.trajectories(panels)
    drawn = [trace for trace in of(figure, "scatter") if trace.name != "data"]
    lines = [(trace.name, trace.line.dash) for trace in drawn if "lines" in trace.mode]
    assert lines == [("5 solver steps", "solid"), ("5 jumps", "dot")]
    named = [trace.name for trace in drawn if trace.showlegend]
    assert sorted(named) == sorted({*dict(lines), "start, t = 0", "end, t = 1"}), "each once"
    for column, p in enumerate(panels):
        start, end = (
            [t for t in figure.data if t.name == name][column]
            for name in ("start, t = 0", "end, t = 1")
        )
        assert np.array_equal(np.stack([start.x, start.y], 1), p.states[0].astype(np.float32))
        assert np.array_equal(np.stack([end.x, end.y], 1), p.states[-1].astype(np.float32))
        assert start.marker.line.color == theme.colour("noise")
        assert end.marker.color == p.colour


def test_difference_starts_at_zero():
    figure = plane.difference(PANELS, t=0.1)
    assert {h.zmin for h in of(figure, "heatmap")} == {0}


def test_film_strip_has_a_row_per_path_and_states_the_times():
    figure = FIGURES["film strip"]()
    assert len(figure.data) == 20
    texts = [a.text for a in figure.layout.annotations]
    assert "t = 0.00" in texts and "t = 1.00" in texts and "VP diffusion" in texts
    assert np.array_equal(figure.data[13].x, FRAMES[1][3][:, 0].astype(np.float32))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"particles": np.zeros((3, 3))}, r"particles must have shape \(n, 2\); got \(3, 3\)"),
        ({"velocities": None}, "positions and velocities must be given together"),
        ({"velocities": np.zeros((3, 2))}, "same shape"),
        ({"density": np.zeros((3, 4))}, r"\(H, H\) = \(12, 12\); got \(3, 4\)"),
        ({"states": np.zeros((3, 2))}, r"states must have shape \(S \+ 1, n, 2\)"),
    ],
)
def test_wrong_shapes_are_refused_in_one_sentence(changes, match):
    with pytest.raises(ValueError, match=match):
        panel(**changes)


def test_a_panel_without_particles_or_density_is_drawn():
    bare = plane.Plane(title="a", colour="#000000")
    assert len(plane.snapshot([bare], t=0.0).data) == 0
    with pytest.raises(ValueError, match="at least one panel"):
        plane.snapshot([], t=0.0)


def test_curves_draw_their_numbers_and_one_shared_floor():
    figure = curves.quality(LINES, t=0.4, metric="sliced W2")
    assert [t.line.color for t in figure.data] == ["#0072B2", "#D55E00", theme.MUTED[0]]
    assert np.array_equal(figure.data[0].y, AXIS**2)
    assert set(figure.data[2].y) == {0.1}
    assert figure.layout.shapes[0].x0 == 0.4
    apart = curves.quality([replace(LINES[0], joined=False), LINES[1]], metric="sliced W2")
    assert [t.mode for t in apart.data] == ["markers", "lines", "lines"]


def test_floors_in_several_colours_have_one_legend_entry_in_the_colour_of_none():
    lines = [LINES[0], replace(LINES[1], floor=0.2)]
    figure = curves.curves(lines, y_title="y")
    curves.name_floors(figure, "converged")
    (entry,) = (t for t in figure.data if t.name == "converged" and t.showlegend is not False)
    assert entry.line.color not in {line.colour for line in lines}


def test_long_titles_are_broken_to_the_width_of_their_panels():
    long = ["conditional OT (checkerboard-ot-distillation)", "conditional OT (checkerboard-ot)"]
    for count, height in ((1, 1), (2, 1), (3, 2), (4, 1)):
        drawn = plane.snapshot([panel(title) for title in (2 * long)[:count]], t=0.5)
        side = 2 if count == 4 else count  # four panels are two rows
        for title, note in zip((2 * long)[:count], drawn.layout.annotations, strict=True):
            lines = note.text.removeprefix("<b>").removesuffix("</b>").split("<br>")
            assert " ".join(lines) == title and len(lines) <= height
            assert max(map(len, lines)) <= marks.TITLES / side
        assert drawn.layout.margin.t == 68 + 20 * height, "below the colour bar"
    rows = plane.film_strip([panel(title) for title in long], FRAMES, np.linspace(0, 1, 10))
    upright = [note for note in rows.layout.annotations if note.textangle == -90]
    assert [note.text.replace("<br>", "").replace(" ", "") for note in upright] == [
        title.replace(" ", "") for title in long
    ]
    lines = [note.text.split("<br>") for note in upright]
    assert max(len(line) for each in lines for line in each) <= plane.ROW_TITLE
    assert rows.layout.margin.l >= 18 * max(map(len, lines))
    mosaic = images.Mosaic(label=60 * "n", colour="#000000", pixels=np.zeros((9, 9, 3), np.uint8))
    sheets = images.mosaics([mosaic] * 2).layout.annotations
    assert all("<br>" in note.text for note in sheets)
    assert theme.wrapped_title("x<sub>1</sub> and more", 8) == "x<sub>1</sub> and more"


def test_colour_bars_are_above_all_titles_with_upright_numbers():
    """Placed at a share of the height they covered a title of a narrow figure."""
    at, track = np.array([-1.0, 1.0]), np.zeros((3, 2))
    trajectories = {"backward": track, "forward": track, "colour": "#000000"}
    figures = [
        plane.snapshot([panel(), panel()], t=0.5),
        plane.difference([panel()], t=0.5),
        log_density_map(at, np.zeros((2, 2)), **trajectories),
    ]

    def bar_of(figure):
        (found,) = [t for t in figure.data if t.type == "heatmap" and t.showscale is not False]
        return found.colorbar

    for figure in figures:
        bar = bar_of(figure)
        assert (bar.yref, bar.y, bar.yanchor) == ("container", 1, "top")
        assert bar.tickangle == 0 and bar.lenmode == "pixels"
        title = figure.layout.title
        assert "colours: " in title.text + (title.subtitle.text or ""), "what it shows"
        assert bar.title.text is None
        assert bar_of(paper.laid_out(figure, 320)) == bar
        assert bar_of(theme.projected(figure)).len == theme.PROJECTION * bar.len


@pytest.mark.parametrize("path", SCHEDULERS)
def test_every_path_has_its_own_colour(path):
    assert path in theme.ROLES, "a new path needs a colour in ROLES"
    for dark in (False, True):
        taken = [c[dark] for role, c in theme.ROLES.items() if role != path]
        assert theme.path_colour(f"{path}:x=1", dark=dark) not in taken


def _linear(colour):
    parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def _luminance(colour):
    return _linear(colour) @ [0.2126, 0.7152, 0.0722]


def _lab(colour):
    """Lightness and chromaticity of CIELAB, in which 1 is a just visible difference."""
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = np.cbrt(to_xyz @ _linear(colour) / [0.9505, 1, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def _contrast(a, b):
    high, low = sorted([_luminance(a), _luminance(b)], reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_colours_have_enough_contrast(dark):
    paper = theme.PAPER[dark]
    for text in (theme.INK, theme.MUTED):
        assert _contrast(text[dark], paper) >= 4.5
    for role in theme.ROLES:
        assert _contrast(theme.colour(role, dark=dark), paper) >= 2.5, role
    for stops in (theme.DENSITY_RAMP, theme.DIFFERENCE_RAMP):
        steps = np.diff([_luminance(c) for c in stops[dark]])
        assert (steps > 0).all() if dark else (steps < 0).all()


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("path", [*SCHEDULERS, "learned"])
def test_curves_of_one_path_can_be_distinguished(path, dark):
    with theme.using(dark=dark):
        looks = [theme.style(f"{path}:x=1", k) for k in range(72)]
    assert looks[0]["colour"] == theme.path_colour(path, dark=dark)
    assert len({tuple(each.values()) for each in looks}) == 72
    first = looks[:8]
    for name in ("dash", "symbol"):
        assert len({each[name] for each in first}) == 8, "in print without colours"
    shades = {each["colour"]: _lab(each["colour"]) for each in looks}
    assert len(shades) == 4
    for (a, first), (b, second) in combinations(shades.items(), 2):
        assert np.linalg.norm(first - second) > 20, (a, b)
    for shade, at in shades.items():
        assert _contrast(shade, theme.PAPER[dark]) >= 2.5, shade
        for role in theme.ROLES.keys() - {path}:
            other = _lab(theme.colour(role, dark=dark))
            assert np.linalg.norm(at - other) > 10, (shade, role)


def test_a_curve_of_a_path_is_drawn_with_its_look():
    lines = [path_line("vp:x=1", AXIS, AXIS**2 + k, label=str(k), k=k) for k in range(9)]
    drawn = curves.curves(lines, y_title="y", markers=True).data
    looks = {(each.line.color, each.line.dash, each.marker.symbol) for each in drawn}
    assert len(looks) == 9 and drawn[0].line.color == theme.colour("vp")
    assert theme.ranks(["ot", "vp", "ot", "vp:x=1", "ot"]) == [0, 0, 1, 1, 2]


@pytest.mark.parametrize(("dark", "kind"), [(False, "light"), (True, "dark")])
def test_figures_have_the_colours_of_the_streamlit_page(dark, kind):
    config = tomllib.loads((ROOT / ".streamlit/config.toml").read_text())["theme"][kind]
    assert config["backgroundColor"] == theme.PAPER[dark]
    assert config["textColor"] == theme.INK[dark]
    assert config["borderColor"] == theme.GRID[dark]


def test_unknown_role_is_refused():
    with pytest.raises(ValueError, match="Unknown role 'blue'"):
        theme.colour("blue")


@pytest.mark.parametrize("module", ["plane", "curves", "theme"])
def test_figures_need_no_torch(module):
    script = f"import sys, flowviz.figures.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT).returncode == 0


def test_titles_that_would_overlap_on_a_phone_are_measured():
    def titled(*titles):
        return make_subplots(rows=1, cols=len(titles), subplot_titles=titles)

    assert paper.titles_width(titled("one long title alone in its row")) == 0
    short = titled("conditional OT", "VP diffusion")
    long = titled("squared error ≤ 0.01", "histogram total variation ≤ 1.1 × floor")
    assert paper.titles_width(short) < PHONE < paper.titles_width(long)


def test_a_legend_that_would_leave_no_space_on_a_phone_is_measured():
    def lines(count, **layout):
        label = "VP diffusion, distillation of the exact field"
        drawn = [path_line("vp", AXIS, AXIS**2, label=label, k=k) for k in range(count)]
        return curves.curves(drawn, y_title="y").update_layout(**layout)

    assert not paper.crowded(lines(3), PHONE) and paper.crowded(lines(7), PHONE)
    assert not paper.crowded(lines(7), 1200), "three in a row"
    assert not paper.crowded(lines(7, margin_b=210), PHONE), "a figure with its own space for it"
    assert not paper.crowded(lines(7, legend={"orientation": "v"}), PHONE), "next to the panels"


def test_long_names_on_a_vertical_axis_break_when_printed_and_have_room():
    names = ["VP diffusion, distillation of the exact field", "conditional OT"]
    drawn = go.Figure(go.Scatter(x=[1, 2], y=names)).update_layout(height=120)
    printed = paper.laid_out(drawn, 320)
    first, second = printed.data[0].y
    assert first.replace("<br>", " ") == names[0] and second == names[1]
    lines = first.split("<br>")
    assert max(map(len, lines)) * paper.CHARACTER <= paper.NAMES * 320
    margin = printed.layout.margin
    panels = printed.layout.height - margin.t - margin.b
    assert panels >= 2 * len(lines) * paper.LINE
    assert drawn.data[0].y[0] == names[0], "the figure is not changed"


def test_a_sheet_of_images_is_laid_out_for_print():
    sheet = images.Mosaic(label="OT", colour="#000000", pixels=np.zeros((34, 67, 3), np.uint8))
    printed = paper.laid_out(images.mosaics([sheet, sheet]), 600)
    assert printed.layout.margin.b == 16, "no legend"


def test_titles_of_several_lines_leave_no_gap_below_a_legend_when_printed():
    states = np.zeros((2, 3, 2))
    panel = pairings.Panel(title="a", lines=["b", "c"], colour="#000000", states=states)
    drawn = pairings.panels([panel] * 4, ends="ends")
    printed = paper.laid_out(drawn, 800, squares=4)
    margin = printed.layout.margin
    assert margin.t == drawn.layout.margin.t == 48 + 3 * paper.LINE
    inner = 800 - margin.l - margin.r
    assert printed.layout.height == pytest.approx(inner / 4 + margin.t + margin.b, abs=1)


def test_two_legends_leave_the_panels_their_height_when_printed():
    """The rows of the legend above the panels, and the gaps between groups, made them flat."""

    def printed(count):
        keys = [marks.key(f"field {k}", "#000000", legendgroup=f"{k}") for k in range(count)]
        keys += [marks.key(f"solver {k}", "#000000", legend="legend2") for k in range(count)]
        figure = go.Figure(keys).update_layout(height=540, margin={"t": 40, "b": 56})
        return paper.laid_out(figure, 320).layout

    few, many = printed(3), printed(8)
    assert many.margin.t - few.margin.t == 5 * paper.ROW
    assert many.margin.b - few.margin.b == 5 * (paper.ROW + paper.GROUP)
    panels = [each.height - each.margin.t - each.margin.b for each in (few, many)]
    assert panels[0] == panels[1]


def test_tags_in_labels_of_others_are_shown_as_text():
    """Names of uploaded files and of their classes: Plotly interprets tags as links and styles."""
    tag, shown = '<a href="//host">x</a>', '&lt;a href="//host">x&lt;/a>'
    line = curves.Curve(label=f"{tag}<br>b", colour="#000000", x=np.arange(2), y=np.arange(2))
    steps = images.Steps(
        label=tag, colour="#000000", times=np.array([0, 0.5, 1]), rejected=np.ones((1, 2))
    )
    sheet = images.Mosaic(label=tag, colour="#000000", pixels=np.zeros((32, 32, 3), np.uint8))
    drawn = [
        curves.curves([line], y_title="y"),
        images.step_sizes([steps]),
        images.mosaics([sheet], rows=[tag], columns=[tag]),
    ]
    for figure in drawn:
        texts = json.dumps(figure.to_plotly_json(), default=str)
        assert json.dumps(shown)[1:-1] in texts and "<a" not in texts
    assert drawn[0].data[0].name == f"{shown}<br>b"


@pytest.mark.parametrize("dark", [False, True])
def test_error_bars_of_markers_of_many_colours_have_the_ink_of_the_theme(dark):
    with theme.using(dark=dark):
        two = np.ones(2)
        colours = [theme.path_colour(path) for path in ("ot", "vp")]
        figure = likelihood.ranking(["a", "b"], two, two, colours=colours, floor=None)
    assert theme.traces(figure)[0].error_x.color == theme.INK[dark]
