"""Figure 4: histograms, the measure of a pattern, the sheet and its PDF."""

from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest
from streamlit.testing.v1 import AppTest

from flowviz.draws import noise
from flowviz.experiments import figure4
from flowviz.experiments.fields import EXACT, resolve
from flowviz.experiments.figure4 import HistogramConfig, compute_histograms, half_way, pattern
from flowviz.experiments.likelihood import carry
from flowviz.figures import theme
from flowviz.figures.sheet import Strip, sheet
from flowviz.progress import Progress
from flowviz.schedulers import scheduler
from flowviz.solvers import steps_for
from flowviz.studies import figure4 as study
from flowviz.studies.figure4 import Figure4Config, Figure4Result
from flowviz.ui.sheet_pdf import WIDTH_MM, sheet_pdf


def test_histograms_are_densities_over_time():
    config = HistogramConfig(path="ot", field=EXACT, nfe=18, frames=4, cells=18, n=3_000)
    found = compute_histograms(config)
    assert found.density.shape == (4, 18, 18) and found.nfe == 18
    np.testing.assert_allclose(found.times, np.linspace(0, scheduler("ot").t_max, 4))
    area = (10 / 18) ** 2
    np.testing.assert_allclose(found.density.sum(axis=(1, 2)) * area, 1, atol=2e-3)
    assert found.on_support > 0.95
    # y runs along the rows: the board's leftmost column is filled in its second row from the top.
    axis = (np.arange(18) + 0.5) * 10 / 18 - 5
    left = np.abs(axis + 3.3).argmin()
    filled, empty = np.abs(axis - 1.1).argmin(), np.abs(axis - 3.3).argmin()
    assert found.density[-1, filled, left] > 5 * found.density[-1, empty, left]


def test_last_histogram_is_the_same_alone_and_the_seed_decides():
    shared = {"path": "vp", "field": EXACT, "nfe": 4, "cells": 10, "n": 500}
    alone = compute_histograms(HistogramConfig(**shared))
    last = compute_histograms(HistogramConfig(**shared, frames=3))
    assert alone.density.shape == (1, 10, 10) and alone.times.tolist() == [scheduler("vp").t_max]
    assert np.array_equal(alone.density[0], last.density[-1])
    other = compute_histograms(HistogramConfig(**shared, seed=1))
    assert not np.array_equal(alone.density, other.density)


def test_exact_fields_fill_the_board_as_in_paper_facts():
    """paper-facts D5, midpoint at NFE 4: 93% of OT's samples and 54% of VP's land on the board."""
    for path, share in (("ot", 0.93), ("vp", 0.54)):
        found = compute_histograms(HistogramConfig(path=path, field=EXACT, nfe=4, n=4_000))
        assert found.on_support == pytest.approx(share, abs=0.04)


def test_samples_over_time_are_converged_to_a_fraction_of_the_smallest_cell():
    cell = 10 / 144
    for path in ("ot", "vp"):
        _, entry, field = resolve(figure4.DATA, path, f"{figure4.DATA}-{path}")
        x, times = entry.start(noise(100, 0)), entry.clock(10)
        steps = steps_for(figure4.METHOD, figure4.LONG)
        states, converged = (
            carry(field, x, times, figure4.METHOD, steps=n)[0] for n in (steps, 5 * steps)
        )
        assert 0 < (states - converged).norm(dim=-1)[-1].mean() < cell / 6


def test_pattern_is_zero_for_a_gaussian_and_independent_of_scale():
    axis = (np.arange(60) + 0.5) / 6 - 5
    x, y = np.meshgrid(axis, axis)
    gaussians = np.stack([np.exp(-(x**2 + y**2) / (2 * s**2)) for s in (0.7, 1.2)])
    assert (pattern(gaussians) < 1e-2).all()
    squares = np.stack([(np.maximum(abs(x), abs(y)) < h).astype(float) for h in (1.5, 3.0)])
    small, large = pattern(squares)
    assert small == pytest.approx(large, abs=0.02) and small > 0.15


def test_half_way_is_the_time_of_half_the_final_value():
    assert half_way(np.array([0, 0.5, 1]), np.array([0.0, 1.0, 4.0])) == pytest.approx(2 / 3)
    assert half_way(np.array([0, 0.5, 1]), np.zeros(3)) == 0


def test_rows_have_paths_and_budgets():
    for row in study.ROWS.values():
        scheduler(row.path)
        assert row.checkpoint.startswith(f"checkerboard-{row.path}")
    for nfe in (*study.NFES, HistogramConfig().nfe):
        steps_for(figure4.METHOD, nfe)


def test_a_row_of_the_user_names_its_field():
    *shipped, own = Figure4Config(own="shaped:a1=0.2").rows
    assert shipped == Figure4Config().rows
    assert (own.label, own.path, own.checkpoint) == (
        "exact field on your own schedule",
        "shaped:a1=0.2",
        "exact",
    )
    few = Figure4Config(own=own.path, cells=18).few_evaluations(own, own.checkpoint)
    found = compute_histograms(replace(few[-1], n=500))
    assert (found.nfe, few[-1].path) == (20, own.path) and found.on_support > 0.9
    trained = Figure4Config(own=own.path, own_field="mine").rows[-1]
    assert trained.label == "learned field on your own schedule"
    with pytest.raises(ValueError, match="own must be a shaped schedule"):
        Figure4Config(own="trig")
    with pytest.raises(ValueError, match="own_field needs own"):
        Figure4Config(own_field="mine")


def test_the_panels_of_a_row_follow_from_the_config():
    config = Figure4Config(noise=True, densities="histograms", cells=18, seed=3)
    assert [row.label for row in config.rows] == [row.label for row in study.ROWS.values()]
    row = config.rows[-1]
    assert [each.nfe for each in config.few_evaluations(row, "x")] == list(study.NFES)
    (over,) = config.over_time(row, "x")
    assert (over.frames, over.field, over.seed, over.cells) == (10, "x", 3, 18)
    exact = Figure4Config().over_time(row, "x")
    assert [each.t for each in exact] == list(study.TIMES)


@pytest.mark.parametrize("here", [False, True])
def test_the_page_s_own_row_takes_the_network_that_was_trained_here(here, monkeypatch):
    requested = []
    monkeypatch.setattr(
        "flowviz.ui.study_view.show",
        lambda study, config, *, live, **_: requested.append((config, live)),
    )
    app = AppTest.from_file("../app.py").switch_page("pages/figure4.py")
    app.query_params["own"], app.query_params["shape"] = "1", "a1=0.2"
    network = object()
    trained = {("checkerboard", "shaped:a1=0.2"): ("live:x", network)}
    app.session_state["live:fields"] = trained if here else {}
    app.run(timeout=30)
    assert not app.exception
    ((config, live),) = requested
    own = config.rows[-1]
    assert own.checkpoint == ("live:x" if here else EXACT) and own.path == "shaped:a1=0.2"
    assert own.label.startswith("learned field" if here else "exact field")
    assert live == ({"live:x": network} if here else {})


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"nfe": 5}, "cannot take exactly 5"),
        ({"cells": 1}, "cells must be in"),
        ({"frames": 0}, "frames must be in"),
        ({"n": 0}, "n must be in"),
        ({"path": "no"}, "Unknown path"),
    ],
)
def test_invalid_configs_are_refused_in_one_sentence(bad, message):
    with pytest.raises(ValueError, match=message):
        HistogramConfig(**bad)


def rows_of(*panels):
    return [Strip(label="a<br>row", colour="#0072B2", panels=panels)] * 2


RISING = np.arange(36.0).reshape(6, 6)


@pytest.mark.parametrize("dark", [False, True])
def test_sheet_places_square_panels_with_their_densities(dark):
    rows, groups = rows_of(RISING, None, 3 * RISING), [("times", 2), ("few", 1)]
    with theme.using(dark=dark):
        figure = sheet(rows, ["one", "two", "three"], groups=groups)
    assert len(figure.data) == 4
    assert np.array_equal(figure.data[0].z, RISING)
    assert figure.data[0].x0 == pytest.approx(-5 + 5 / 6)
    width, height = figure.layout.width, figure.layout.height
    for trace in figure.data:
        x = figure.layout[trace.xaxis.replace("x", "xaxis")].domain
        y = figure.layout[trace.yaxis.replace("y", "yaxis")].domain
        assert (x[1] - x[0]) * width == pytest.approx((y[1] - y[0]) * height)
        assert 0 <= x[0] < x[1] <= 1 and 0 <= y[0] < y[1] <= 1
    words = [note.text for note in figure.layout.annotations]
    assert {"one", "two", "three", "times", "few", "a<br>row"} == set(words)
    assert figure.layout.template.layout.paper_bgcolor == theme.PAPER[dark]


@pytest.mark.parametrize(
    ("scale", "tops"), [("panel", (1, 3)), ("column", (1, 3)), ("sheet", (3, 3))]
)
def test_sheet_scales(scale, tops):
    rows = [
        Strip(label="a", colour="#0072B2", panels=[RISING, 3 * RISING]),
        Strip(label="b", colour="#0072B2", panels=[RISING / 2, RISING]),
    ]
    figure = sheet(rows, ["", ""], groups=[("", 2)], scale=scale)
    ends = [trace.zmax for trace in figure.data]
    top = np.quantile(RISING, 0.995)
    assert ends[:2] == pytest.approx([top * share for share in tops])
    below = {"panel": (0.5, 1), "column": (1, 3), "sheet": (3, 3)}[scale]
    assert ends[2:] == pytest.approx([top * share for share in below])


def test_sheet_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="must have 2 panels"):
        sheet(rows_of(RISING), ["a", "b"], groups=[("", 2)])
    with pytest.raises(ValueError, match="must hold 1 columns"):
        sheet(rows_of(RISING), ["a"], groups=[("", 2)])


def test_pdf_has_the_sheets_pictures_text_and_width():
    figure = sheet(rows_of(RISING, RISING), ["<i>t</i> = 0", "end"], groups=[("x and y", 2)])
    assert isinstance(figure, go.Figure)
    found = sheet_pdf(figure, title="A sheet")
    assert found.startswith(b"%PDF") and found.rstrip().endswith(b"%%EOF")
    assert b"/Width 6" in found and b"/Helvetica" in found
    box = found.split(b"/MediaBox [")[1].split(b"]")[0].split()
    assert float(box[2]) == pytest.approx(WIDTH_MM * 72 / 25.4, rel=1e-3)
    assert found == sheet_pdf(figure, title="A sheet"), "the same figure, the same file"


@pytest.mark.parametrize(
    ("fields", "shares", "sentence", "verdict"),
    [
        (
            ("a", "b"),
            ((0, 0.1, 1.0), (0, 0.5, 1.0)),
            "OT shows the pattern first, half of it by t = 0.10",
            "supported",
        ),
        (
            ("a", "b"),
            ((0, 0.5, 1.0), (0, 0.1, 1.0)),
            "VP shows the pattern first",
            "not supported",
        ),
        (("a", "b"), ((0, 0.5, 1.0), (0, 0.5, 1.0)), "all ranked rows show", "undecided"),
        # A faint pattern reaches its half early, and an exact field has not learned less.
        (("a", "b"), ((0, 0.1, 0.1), (0, 0.2, 1.0)), "OT shows half of the pattern by", ""),
        (("a", "b"), ((0, 0.1, 0.1), (0, 0.2, 1.0)), "VP (it learned less)", ""),
        ((EXACT, "b"), ((0, 0.9, 1.0), (0, 0.2, 1.0)), "VP (exact field)", ""),
        ((EXACT, "b"), ((0, 0.9, 1.0), (0, 0.2, 1.0)), "there is none for VP", ""),
        (
            (EXACT, EXACT),
            ((0, 0.9, 1.0), (0, 0.2, 1.0)),
            "VP shows the pattern first",
            "not supported",
        ),
    ],
)
def test_the_sheet_ranks_what_can_be_ranked(monkeypatch, fields, shares, sentence, verdict):
    rows = {name: study.Row(name.upper(), name, "x") for name in ("vp", "ot")}
    monkeypatch.setattr(study, "ROWS", rows)
    monkeypatch.setattr(study, "TIMES", (0.0, 0.1, 1.0))
    monkeypatch.setattr(figure4, "pattern", np.asarray)
    few = np.zeros((2, 4))
    result = Figure4Result(
        fields=fields, over_time=np.array(shares), few=few, nfe=few, on_support=few
    )
    found = study.STUDY.say(Figure4Config(), result)
    assert sentence in " ".join(each.text for each in found)
    assert found[0].verdict == verdict


def test_a_flow_map_has_a_row_with_one_and_two_evaluations():
    config = Figure4Config(maps=True, densities="histograms", cells=18, samples=1_000)
    *others, row = config.rows
    assert row.jumps and config.nfes == (1, 2, *study.NFES) and others == Figure4Config().rows
    midpoint = config.few_evaluations(others[0], EXACT)
    assert [each and each.nfe for each in midpoint] == [None, 2, *study.NFES]
    by_jumps = config.few_evaluations(row, row.checkpoint)
    assert [each.nfe for each in by_jumps] == list(config.nfes)
    (over,) = replace(config, densities="exact").over_time(row, row.checkpoint)
    assert over.method == "jumps" and over.frames == len(study.TIMES)
    *_, last = study.STUDY.compute(config)
    assert last.nfe[-1].tolist() == list(config.nfes) and last.nfe[0, 0] == 0
    assert last.on_support[-1, 0] > 0.9 and np.isnan(last.on_support[0, 0])
    sentence = " ".join(map(str, study.STUDY.say(config, last)))
    assert "Few evaluations: the flow map on OT has" in sentence
    assert "flow map on OT (its row has counts of samples after jumps, not a density)" in sentence
    figure = study.picture(config, last)
    headed = [
        each.text
        for each in study.picture(replace(config, densities="exact"), last).layout.annotations
    ]
    assert sum("flow map: counts of 1,000 samples" in each for each in headed) == 1
    empty = len(others)  # the midpoint method cannot spend one evaluation
    assert len(figure.data) == len(config.rows) * (len(study.TIMES) + 6) - empty
    assert study.STUDY.summarise(config, last).rows[0][2] == "–"


def test_rows_appear_one_by_one_and_are_computed_once():
    class StoredResults(Progress):
        known, computed = {}, 0

        def cached(self, compute, config, **given):
            if config not in self.known:
                self.computed += 1
                self.known[config] = compute(config, **given)
            return self.known[config]

    config = Figure4Config(densities="histograms", cells=18, samples=50)
    progress = StoredResults()
    results = list(study.STUDY.compute(config, progress=progress))
    assert [len(each.fields) for each in results] == [1, 2, 3]
    assert all("@" in name for name in results[-1].fields), "shipped networks by their content"
    assert results[-1].nfe.tolist() == [list(study.NFES)] * 3
    before = progress.computed
    list(study.STUDY.compute(replace(config, noise=True), progress=progress))
    assert progress.computed == before + 5, "one further row"
