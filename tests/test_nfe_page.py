"""The page of cost and quality: sweeps in the background, its figures, and what its words say."""

import gc
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from flowviz import checkpoints
from flowviz.datasets import DATASETS
from flowviz.experiments.nfe_quality import Curve, SweepConfig, sweep
from flowviz.experiments.sources import exact_name, pinned, source
from flowviz.figures import cost
from flowviz.solvers import METHODS
from flowviz.training import TrainConfig, build_field
from flowviz.ui import cache, nfe_quality, sweeps

ROOT = Path(__file__).parents[1]
SMALL = {"fields": "exact-ot,exact-vp", "solvers": "euler,heun", "seeds": "2", "n": "500"}


def opened(view="curves", **link):
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    for name, value in (SMALL | {"view": view} | link).items():
        app.query_params[name] = value
    app.switch_page("pages/nfe_quality.py")
    app.run()
    assert not app.exception, app.exception
    return app


def finished(app, key="nfe-sweep"):
    app.session_state[key].wait(60)
    assert not app.session_state[key].live and not app.session_state[key].error
    app.run()
    assert not app.exception, app.exception
    return app


def text_of(app):
    return " ".join(e.value for e in [*app.markdown, *app.caption, *app.info])


def html_of(app):
    return " ".join(element.proto.body for element in app.get("html"))


@pytest.fixture(scope="module")
def page():
    return finished(opened())


def test_page_says_what_this_run_shows(page):
    text = text_of(page)
    assert "At equal error" in text and "Euler" in text and "about 60 %" in text
    assert "Error is not quality" in text, "Euler: VP has the lower error and the worse samples"
    assert "Crosses:" in text and "Heun" in text and "EDM" in text
    assert "2 seeds of 500 samples" in text and "With unlimited NFE" in text
    table = html_of(page)
    assert "squared error ≤ 0.01" in table and "1.1 × floor" in table and "OT : VP" in table


def test_curves_of_another_visitor_are_not_computed_again(page):
    started = time.monotonic()
    again = opened()
    assert "nfe-sweep" not in again.session_state and "At equal error" in text_of(again)
    assert time.monotonic() - started < 20


def test_nothing_chosen_is_no_error():
    app = opened()
    for menu in app.multiselect:
        menu.set_value([])
    app.run()
    assert not app.exception and "Choose one field and one solver" in text_of(app)


def test_adaptive_steps_are_told():
    app = opened("steps", adaptive="bosh3", tol="0.01")
    assert "steps accepted and" in text_of(app) and "rejected" in text_of(app)


def test_all_data_sets_wait_for_a_button(monkeypatch):
    monkeypatch.setattr(sweeps, "sweep", lambda config, **_: iter(()))
    app = opened("all")
    assert "Measures conditional OT and VP diffusion on all 9" in text_of(app)
    (button,) = (b for b in app.button if b.label == "Measure all data sets")
    button.click().run()
    assert not app.exception


BOTH = tuple(exact_name("checkerboard", path) for path in ("ot", "vp"))
LONG = SweepConfig(sources=BOTH, methods=("euler", "midpoint"), n=300, seeds=2, seed=11)


def test_a_sweep_can_be_cancelled_and_goes_on_where_it_was():
    store = sweeps.Store()
    sweep = sweeps.Sweep(LONG, store)
    while not store and sweep.live:
        time.sleep(0.01)
    sweep.cancel()
    started = time.monotonic()
    sweep.wait(20)
    assert not sweep.live and sweep.cancelled and time.monotonic() - started < 10
    kept = len(store.of(LONG))
    assert kept < 4
    sweeps.Sweep(LONG, store).wait(60)
    assert len(store.of(LONG)) == 4


def test_a_sweep_ends_with_its_visitor():
    sweep = sweeps.Sweep(LONG, sweeps.Store())
    thread = sweep._thread
    del sweep
    gc.collect()
    thread.join(20)
    assert not thread.is_alive()


def test_a_sweep_ends_when_its_visitor_has_been_gone_for_long(monkeypatch):
    """Of a closed tab Streamlit may keep the session, which holds the sweep, for hours."""
    monkeypatch.setattr("flowviz.ui.jobs.GRACE", 0.05)
    monkeypatch.setattr("flowviz.ui.jobs.PULSE", 0.01)
    sweep = sweeps.Sweep(LONG, sweeps.Store(), lambda: False)
    sweep.wait(20)
    assert not sweep.live and sweep.cancelled


def test_one_sweep_runs_at_a_time_and_a_failed_one_says_why():
    with sweeps._turn:
        waiting = sweeps.Sweep(LONG, sweeps.Store())
        time.sleep(0.1)
        assert waiting.live and waiting.waiting
        waiting.cancel()
        waiting.wait(5)
        assert not waiting.live
    broken = sweeps.Sweep(SweepConfig(sources=("no-such",), methods=("euler",)), sweeps.Store())
    broken.wait(20)
    assert "no-such" in broken.error


def test_store_keeps_the_newest(monkeypatch):
    monkeypatch.setattr(sweeps, "MOST", 2)
    store = sweeps.Store()
    for config in LONG.curves[:3]:
        store[config] = None
    assert list(store) == list(LONG.curves[1:3])


def saved(folder, seed):
    """The card of a network of random weights called "mine" in a folder."""
    config = TrainConfig(data="8gaussians", width=8, depth=1, seed=seed)
    board = DATASETS["8gaussians"]
    card = checkpoints.describe("mine", asdict(config), board, steps=0, seconds=0.0)
    folder.mkdir(exist_ok=True)
    field, generator = build_field(config, board), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in field.parameters():  # the last layer begins at 0, and with it the field
            weights += 0.1 * torch.randn(weights.shape, generator=generator)
    file = checkpoints.save(folder / "mine", field, card)
    cache._listing.clear()
    return checkpoints.read_card(file)


def test_a_checkpoint_made_anew_shows_nothing_of_the_one_before(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWVIZ_HOME", str(tmp_path))
    known, found, names = sweeps.Store(), [], []
    for seed in (0, 1):
        names.append(pinned(saved(tmp_path / "checkpoints", seed)))
        assert names[-1] in nfe_quality._fields("8gaussians")
        assert nfe_quality._slug(names[-1]) == "mine"
        config = SweepConfig(sources=(names[-1],), methods=("euler",), nfes=(2,), n=20, seeds=1)
        found += sweep(config, known=known)
    assert names[0] != names[1] and len(known) == 2
    first, second = (curve.limit["sliced-w2"] for curve in found)
    assert abs(first - second) > 1e-6, "the converged flow, too, is that of the new weights"
    with pytest.raises(ValueError, match="it was made anew"):
        source(names[0])


def made(source, path, method="euler", budgets=(4, 8), **changes):
    """A made-up curve of two budgets."""
    config = SweepConfig(sources=(source,), methods=(method,)).curves[0]
    column = np.array([[0.5], [0.001]])
    parts = {
        "config": replace(config, budgets=budgets),
        "data": "checkerboard",
        "path": path,
        "nfe": np.array([[4.0], [8.0]]),
        "mse": column,
        "lost": np.zeros((2, 1)),
        "values": {"histogram-tv": column},
        "failures": ("", ""),
        "floor": {"histogram-tv": np.array([0.1])},
        "fresh": {"histogram-tv": np.array([0.1, 0.1])},
        "limit": {},
        "reference_nfe": 1,
    }
    return Curve(**(parts | changes))


class TestSentences:
    def test_a_failed_adaptive_solve_is_told_by_its_tolerance(self):
        nothing = np.full((2, 1), np.nan)
        wild = made(
            "a", "ot", "dopri5", (0.1, 0.01), nfe=nothing, lost=nothing, failures=("x",) * 2
        )
        text = nfe_quality._crosses([wild])
        assert (
            "the solve broke off by Dormand-Prince 5(4), adaptive at tolerance 0.1, 0.01" in text
        )
        assert "nan" not in text and "left the plane" not in text and "EDM" not in text

    @pytest.mark.parametrize(
        ("method", "asks"),
        [
            ("euler", ""),
            ("midpoint", ""),
            ("heun", "Heun asks"),
            ("rk4", "Runge-Kutta 4 (3/8 rule) asks"),
        ],
    )
    def test_the_remedy_is_offered_to_those_who_need_it(self, method, asks):
        lost = np.array([[0.1], [0.0]])
        text = nfe_quality._crosses([made("a", "ot", method, lost=lost)])
        assert (
            f"samples left the plane, over 10 from its centre, by {METHODS[method].label} at"
            in text
        )
        assert "broke off" not in text and "NFE 4." in text
        assert ("EDM's remedy" in text) == bool(asks) and asks in text

    def test_nothing_wild_is_no_sentence(self):
        assert nfe_quality._crosses([made("a", "ot")]) == ""

    def test_steps_take_ot_and_vp_by_what_they_are(self):
        labels = nfe_quality._fields("checkerboard")
        chosen = [exact_name("checkerboard", path) for path in ("vp", "trig", "ot")]
        settings = nfe_quality.Settings(
            data="checkerboard",
            labels=labels,
            sources=tuple(chosen),
            methods=(),
            grid="uniform",
            measure="histogram-tv",
            n=100,
            seed=0,
            seeds=1,
        )
        assert nfe_quality._ot_and_vp(settings) == [chosen[2], chosen[0]]
        learned = nfe_quality._opening("checkerboard", labels)
        alone = replace(settings, sources=(chosen[0], chosen[1]))
        assert nfe_quality._ot_and_vp(alone) == [learned[0], chosen[0]]
        assert nfe_quality._ot_and_vp(replace(settings, sources=())) == learned

    def test_the_clock_promises_only_what_it_can_compare(self):
        settings = nfe_quality.Settings(
            data="checkerboard",
            labels={},
            sources=("a", "b"),
            methods=(),
            grid="log-snr",
            measure="histogram-tv",
            n=100,
            seed=0,
            seeds=1,
        )
        pair = [made("a", "ot"), made("b", "vp")]
        assert "will compare the two" in nfe_quality._clock(settings, pair)
        assert nfe_quality._clock(settings, pair[:1]) == ""
        adaptive = [made(s, p, "dopri5", (0.1, 0.01)) for s, p in (("a", "ot"), ("b", "vp"))]
        assert nfe_quality._clock(settings, adaptive) == ""


# Figures


def line(**changes):
    values = np.array([1.0, 0.1, 1e-3])
    parts = {
        "field": "conditional OT",
        "solver": "Euler",
        "colour": "#0072B2",
        "symbol": "circle",
        "dash": "solid",
        "nfe": np.array([4.0, 8.0, 100.0]),
        "error": np.stack([values / 2, values, 2 * values]),
        "quality": np.stack([values / 2, values, 2 * values]),
        "exploded": np.zeros(3, bool),
        "notes": ["", "", ""],
    }
    return cost.CostCurve(**(parts | changes))


def drawn(curves, **changes):
    parts = {"measure": "W2", "floor": 0.3, "band": (0.25, 0.4), "target": 0.33, "level": 0.01}
    return cost.costs(curves, **(parts | changes))


def named(figure, name):
    return [trace for trace in figure.data if trace.name == name]


def test_costs_tell_fields_by_colour_and_solvers_by_dash():
    other = line(field="VP diffusion", solver="Heun", colour="#D55E00", dash="dot")
    figure = drawn([line(), other])
    legend = {t.name: t for t in figure.data if t.showlegend is not False}
    assert list(legend)[:4] == ["conditional OT", "VP diffusion", "Euler", "Heun"]
    assert legend["VP diffusion"].line.color == "#D55E00" and legend["Heun"].line.dash == "dot"
    left, right = named(figure, "VP diffusion, Heun")
    assert left.y.tolist() == right.y.tolist() == other.error[1].tolist()
    top = 10 ** figure.layout.yaxis.range[1]
    assert left.error_y.array.tolist() == pytest.approx([top - 1, 0.1, 1e-3], abs=0.1)
    assert figure.layout.xaxis.type == figure.layout.yaxis2.type == "log"
    assert named(figure, "two samples of the data")[0].y == (0.25, 0.25, 0.4, 0.4)


def test_what_diverged_is_a_cross_within_the_axes_and_does_not_stretch_them():
    huge = np.array([1e9, np.nan, 1e-3])
    wild = line(
        error=np.stack([huge] * 3),
        exploded=np.array([True, True, False]),
        notes=["thrown out", "failed", ""],
    )
    figure = drawn([line(), wild])
    top = 10 ** figure.layout.yaxis.range[1]
    crosses = named(figure, "diverged")[0]
    assert top < 10 and all(0 < y <= top for y in crosses.y)
    assert [note.rpartition(": ")[2] for note in crosses.customdata] == ["thrown out", "failed"]
    assert named(figure, "conditional OT, Euler")[1].y[0] == 1e9, "the line keeps its value"


def test_a_share_of_zero_stands_at_the_bottom_edge():
    none = line(quality=np.zeros((3, 3)))
    figure = drawn([none], floor=0.0, band=(0.0, 0.0))
    assert (np.array(named(figure, "conditional OT, Euler")[1].y) > 0).all()
    assert not named(figure, "two samples of the data")


def test_costs_need_three_rows():
    with pytest.raises(ValueError, match=r"must have shape \(3, 3\)"):
        line(error=np.ones((2, 3)))


@pytest.mark.parametrize("dark", [False, True])
def test_steps_mark_each_step_on_the_time_axis(dark):
    begin, size = np.array([0.0, 0.1, 0.6]), np.array([0.1, 0.5, 0.4])
    record = cost.StepRecord(
        label="conditional OT",
        colour="#0072B2",
        begin=begin,
        size=size,
        rejected=np.array([[0.1, 0.9]]),
        times=np.linspace(0, 1, 5),
        states=np.zeros((5, 3, 2)),
        t_max=1.0,
    )
    figure = cost.steps([record, record], dark=dark)
    accepted = named(figure, "accepted, conditional OT")[0]
    assert accepted.x.tolist() == begin.tolist() and accepted.y.tolist() == size.tolist()
    (rejected, _) = named(figure, "rejected")
    assert rejected.x.tolist() == [0.1] and rejected.y.tolist() == [0.9]
    ticks = [t for t in figure.data if t.marker.symbol == "line-ns"]
    assert len(ticks) == 2 and ticks[0].x.tolist() == begin.tolist()


def test_dumbbells_leave_out_what_did_not_arrive():
    rows = [cost.Dumbbell(label="a", first=6.0, second=12.0)]
    rows.append(cost.Dumbbell(label="b", first=8.0, second=np.nan))
    figure = cost.dumbbells([("one", rows)], labels=("OT", "VP"), colours=("#000000", "#ffffff"))
    first, second = named(figure, "OT")[0], named(figure, "VP")[0]
    assert first.x.tolist() == [6, 8] and np.isnan(second.x[1]) and list(first.y) == ["a", "b"]
