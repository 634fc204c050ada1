"""The page on the three claims: each opens, runs in the background, is kept and can be stopped."""

import csv
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from flowviz.datasets import DATASETS
from flowviz.experiments import endpoints, race, straightening, unlimited
from flowviz.experiments.evaluate import EvaluateConfig, floors
from flowviz.figures import curves as lines_of
from flowviz.figures import straightness as figures
from flowviz.ui import downloads, jobs
from flowviz.ui.straighter import board
from flowviz.ui.straighter.training import once

ROOT = Path(__file__).parents[1]
SMALL = {"data": "8gaussians", "width": 16, "steps": 100, "seeds": 1}


@pytest.fixture(autouse=True)
def small(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWVIZ_HOME", str(tmp_path))
    monkeypatch.setattr(race, "LOOKS", 2)
    monkeypatch.setattr(race, "LRS", (1e-3, 1e-2))
    monkeypatch.setattr(race, "SAMPLES", 50)
    monkeypatch.setattr(race, "SOLVER", {"method": "midpoint", "nfe": 8, "grid": "log-snr"})
    monkeypatch.setattr(straightening, "PAIRS", 200)
    monkeypatch.setattr("flowviz.studies._cost.solver_curves", lambda *_: iter(()))
    for module, name, entries in (
        (endpoints, "compute_endpoints", {"doublings": 2, "n": 20}),
        (unlimited, "compute_straightness", {"n": 20}),
        (race, "compute_targets", {"n": 20, "times": 3}),
    ):
        monkeypatch.setattr(module, name, _smaller(getattr(module, name), entries))


def _smaller(compute, entries):
    return lambda config: compute(replace(config, **entries))


def opened(**link):
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    for name, value in link.items():
        app.query_params[name] = str(value)
    app.switch_page("pages/straighter.py")
    app.run()
    assert not app.exception, app.exception
    assert not app.error and not app.toast
    return app


def text_of(app):
    return " ".join(each.value for each in [*app.markdown, *app.caption])


def until_through(app, key, seconds=60):
    task, _ = app.session_state[key]
    task.wait(seconds)
    assert task.state == "done", task.error
    app.run()
    assert not app.exception
    return app


@pytest.mark.parametrize("claim", ["training", "sampling", "unlimited"])
def test_every_claim_opens_with_its_sentence(claim):
    assert "Lipman et al. 2022" in text_of(opened(claim=claim)) or claim == "unlimited"


def test_doubt_is_not_laid_at_another_door():
    """It is the study authors' own conclusion (paper-facts B)."""
    text = text_of(opened(claim="unlimited"))
    assert "study's own conclusion" in text and "Bartosh" not in text


def test_race_runs_in_the_background_and_is_kept_for_the_next_visitor():
    app = opened(**SMALL)
    assert "Not tried yet" in text_of(app)
    app.button(key="straighter-race-start").click().run()
    app = until_through(app, "straighter-race")
    assert "After 100 steps" in text_of(app) and "“Trains faster”" in text_of(app)
    again = opened(**SMALL, over="seconds", beside="gradient")
    assert "After 100 steps" in text_of(again)
    assert not [b for b in again.button if b.key == "straighter-race-start"]


def test_own_schedule_joins_race_and_sweep_where_asked(monkeypatch):
    app = opened(**SMALL, own=1, shape="a1=0.2")
    assert "on your own schedule" in text_of(app) and "5 networks × 1 seeds" in text_of(app)


def test_couplings_run_and_tell_what_they_buy(monkeypatch):
    few = ("independent", "reflow-1")
    real = straightening.straighten
    monkeypatch.setattr(
        straightening,
        "straighten",
        lambda config: real(replace(config, n=50, width=8, depth=1, batch=16), few),
    )
    app = opened(**{"claim": "unlimited", "pair-steps": 100, "data": "8gaussians"})
    app.button(key="straighter-couplings-start").click().run()
    app = until_through(app, "straighter-couplings")
    assert "Against independent pairs S is reflow once" in text_of(app)


def test_work_can_be_stopped_and_started_again(monkeypatch):
    held = threading.Event()

    def endless(config):
        for _ in range(10_000):
            held.wait(0.01)
            yield race_of_nothing()

    monkeypatch.setattr(race, "race", endless)
    app = opened(**SMALL, seed=99)
    app.button(key="straighter-race-start").click().run()
    task, _ = app.session_state["straighter-race"]
    end = time.monotonic() + 20
    while task.state != "running" and time.monotonic() < end:
        time.sleep(0.01)
    app.run()
    app.button(key="straighter-race-cancel").click().run()
    task.wait(20)
    assert task.state == "cancelled"
    app.run()
    assert "again" in app.button(key="straighter-race-start").label
    assert "No run has been measured yet." in text_of(app)
    assert "The race was stopped before anything was measured." in text_of(app)
    assert "Not tried yet" not in text_of(app)


def race_of_nothing():
    names = tuple(race.ENTRANTS)
    shape = (len(names), 1, 2)
    blank = {
        name: np.full(shape, np.nan)
        for name in ("seconds", "quality", "error", "excess", "loss", "gradient")
    }
    return race.RaceResult(
        entrants=names,
        steps=np.array([50, 100]),
        broken=np.zeros(shape[:2], dtype=int),
        floor=0.1,
        step=1,
        **blank,
    )


def test_a_failing_task_is_a_sentence():
    def fails():
        yield 1
        raise ValueError("The loss was no longer a number.")

    task = jobs.JobQueue(1).run(fails)
    task.wait(20)
    assert (task.state, task.error) == ("failed", "The loss was no longer a number.")
    assert task.snapshot == 1


def test_store_keeps_the_newest(monkeypatch):
    monkeypatch.setattr(board, "MOST", 3)
    store = board._Store()
    for k in range(5):
        store[k] = k
    assert list(store) == [2, 3, 4]


def test_sampling_opens_with_one_data_set_and_its_verdict(monkeypatch):
    asked = []

    def drawn(study, config, **options):
        asked.append((study.name, config))

    monkeypatch.setattr("flowviz.ui.study_view.show", drawn)
    opened(claim="sampling", own=1, shape="a1=0.2", seeds=2)
    ((name, config),) = asked
    assert name == "all-data-sets" and config.sets == ("checkerboard",)
    assert config.own == "shaped:a1=0.2" and config.seeds == 2
    asked.clear()
    opened(claim="sampling", every=1)
    assert asked[0][1].sets == ()


class TestFigures:
    def test_endpoints_nest_one_mark_a_path(self):
        start = np.zeros((5, 2))
        ends = [figures.Ends(label=str(k), colour="#000000", points=start + k) for k in range(5)]
        figure = figures.endpoints(start, ends, dark=True)
        sizes = [t.marker.size for t in figure.data if t.name and t.name.startswith("end")]
        assert sizes == sorted(sizes, reverse=True), "the largest lie undermost"
        assert figure.layout.yaxis.scaleanchor == "x"

    def test_endpoints_of_other_particles_are_refused(self):
        ends = [figures.Ends(label="a", colour="#000000", points=np.zeros((4, 2)))]
        with pytest.raises(ValueError, match="at most 5 paths of shape"):
            figures.endpoints(np.zeros((5, 2)), ends)

    def test_rates_put_what_diverged_at_the_top(self):
        figure = figures.rates(
            ["a"],
            ["#000000"],
            ["solid"],
            np.array([0.1, 1.0]),
            np.array([[0.5, np.nan]]),
            np.array([[False, True]]),
            y_title="distance",
            floor=0.1,
        )
        assert figure.data[0].y[1] == 1.0 and figure.data[0].marker.symbol[1] == "x"

    def test_pairs_show_conditional_hollow_and_marginal_full(self):
        rows = [figures.Pair(label="a", colour="#123456", conditional=(0,), marginal=(1,))]
        figure = figures.pairs(rows, ("S",))
        assert list(figure.data[0].x) == [0, 1]
        assert figure.data[0].marker.color[1] == "#123456"

    def test_dots_leave_out_what_was_lost(self):
        rows = [figures.Runs(label="a", colour="#123456", values=np.array([0.1, np.nan]))]
        assert list(figures.dots(rows, x_title="distance").data[0].x) == [0.1]

    def test_band_lies_under_its_line(self):
        x = np.array([1.0, 2.0])
        line = lines_of.Curve(label="a", colour="#123456", x=x, y=x, band=(x - 1, x + 1))
        figure = lines_of.curves([line], x_title="x", y_title="y")
        band, drawn = figure.data
        assert band.fill == "toself" and len(band.x) == 4 and list(drawn.y) == [1, 2]


def test_floor_of_the_race_is_that_of_evaluate():
    """What the page says of two fresh sets of data is what the command says."""
    config = race.RaceConfig(steps=100, seeds=1, width=8, data="8gaussians")
    first = next(race.race(config))
    judged = EvaluateConfig(n=race.SAMPLES, seed=0, metrics=(race.METRIC,))
    assert first.floor == floors(DATASETS["8gaussians"], judged)[race.METRIC]


def test_a_label_with_a_comma_is_one_cell_of_the_download():
    label = "learned path, curvature penalty"
    text = downloads.csv_text({"data": "moons"}, {"path": np.array([label]), "S": np.ones(1)})
    head, *table = text.splitlines()
    assert head == "# data: moons"
    assert list(csv.reader(table)) == [["path", "S"], [label, "1"]]


def test_lines_that_are_one_are_drawn_once():
    x = np.linspace(0, 1, 3)
    noise, score, other, blue = (
        lines_of.Curve(label=label, colour=colour, x=x, y=y)
        for label, colour, y in (
            ("noise", "red", x),
            ("score", "red", x + 1e-9),
            ("velocity", "red", 1 - x),
            ("OT", "blue", x),
        )
    )
    longer = lines_of.Curve(label="own", colour="red", x=np.linspace(0, 1, 4), y=np.zeros(4))
    drawn = once([noise, score, other, blue, longer])
    assert [line.label for line in drawn] == ["noise<br>and score", "velocity", "OT", "own"]
