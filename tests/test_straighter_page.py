"""The page on the three claims: each opens, computes in the background and stores results."""

import csv
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from apps import settled
from streamlit.testing.v1 import AppTest

from flowviz.figures import curves as lines_of
from flowviz.figures import straightness as figures
from flowviz.figures import theme
from flowviz.studies import race as races
from flowviz.studies.export import csv_text

ROOT = Path(__file__).parents[1]
SMALL = {"data": "8gaussians", "width": 16, "steps": 20, "seeds": 1}


@pytest.fixture(autouse=True)
def small(tmp_path, monkeypatch, small_studies):
    monkeypatch.setenv("FLOWVIZ_HOME", str(tmp_path))
    monkeypatch.setattr("flowviz.studies._cost.solver_curves", lambda *_: iter(()))


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


def computed(app, study):
    """The page after a study was started by its button and has ended."""
    app.button(key=f"{study}-start").click().run()
    settled(app)
    assert not app.exception
    return app


def test_claims_open_with_their_sentences():
    assert "Lipman et al. 2022" in text_of(opened(claim="training"))
    # The authors of that study state this doubt themselves (paper-facts B).
    text = text_of(opened(claim="unlimited"))
    assert "study's own conclusion" in text and "Bartosh" not in text


def test_exact_results_are_shown_without_a_click():
    text = text_of(settled(opened(**SMALL)))
    assert "Noise in the target" in text
    text = text_of(settled(opened(claim="unlimited", data="moons")))
    assert "carry the same noise to the same data" in text
    assert "[not supported]" in text and "Pair by pair" in text


def test_race_runs_in_the_background_and_is_kept_for_the_next_visitor():
    app = opened(**SMALL)
    assert "4 networks × 1 seeds, 20 steps each" in text_of(app)
    assert "After 20 steps" not in text_of(app)
    computed(app, "race")
    assert "After 20 steps" in text_of(app) and "Trains faster" in text_of(app)
    again = opened(**SMALL | {"over": "seconds", "beside": "gradient"})
    assert "After 20 steps" in text_of(again)
    assert not [b for b in again.button if b.key == "race-start"]


@pytest.mark.slow
def test_learning_rates_name_those_without_divergence():
    app = computed(opened(**SMALL), "learning-rates")
    assert "More stable" in text_of(app)


@pytest.mark.slow
def test_schedule_of_the_user_is_added_to_the_race():
    app = opened(**SMALL, own=1, shape="a1=0.2")
    assert "5 networks × 1 seeds" in text_of(app)
    settled(app)
    assert "your own schedule" in text_of(app)


@pytest.mark.slow
def test_couplings_run_and_state_their_gain():
    app = opened(**{"claim": "unlimited", "pair-steps": 20, "data": "8gaussians"})
    computed(app, "couplings")
    assert "compared with independent pairs, S is" in text_of(app)


@pytest.mark.slow
def test_networks_are_compared_at_many_evaluations():
    app = computed(opened(claim="unlimited", data="moons"), "left-over")
    assert "Learned better" in text_of(app)
    app = opened(claim="unlimited", data="mixture:1,0@0.8")
    assert "There is no trained network for this data set" in text_of(app)
    assert not [b for b in app.button if b.key == "left-over-start"]


def test_work_can_be_stopped_and_continued(monkeypatch):
    held, started = threading.Event(), threading.Event()
    real = races.runs

    def waiting(configs, progress):
        for number, each in enumerate(real(configs, progress)):
            yield each
            if not number:
                started.set()
                while not held.wait(0.01):
                    progress.report(0.1)

    monkeypatch.setattr(races, "runs", waiting)
    app = opened(**SMALL, seed=99)
    app.button(key="race-start").click().run()
    assert started.wait(60)
    time.sleep(0.1)
    app.run()
    assert "1 of 4 runs are done." in text_of(app), "a partial result is drawn"
    app.button(key="race-cancel").click().run()
    work = app.session_state["work:race"].work
    work.wait(20)
    assert work.state == "cancelled"
    app.run()
    assert app.button(key="race-start").label == "Go on"
    assert "1 of 4 runs are done." in text_of(app)
    held.set()
    computed(app, "race")
    assert "After 20 steps" in text_of(app) and "So far" not in text_of(app)


def test_sampling_opens_with_one_data_set_and_its_verdict(monkeypatch):
    drawn_configs = []

    def drawn(study, config, **options):
        drawn_configs.append((study.name, config))

    monkeypatch.setattr("flowviz.ui.study_view.show", drawn)
    opened(claim="sampling", own=1, shape="a1=0.2", seeds=2)
    ((name, config),) = drawn_configs
    assert name == "all-data-sets" and config.sets == ("checkerboard",)
    assert config.own == "shaped:a1=0.2" and config.seeds == 2
    drawn_configs.clear()
    opened(claim="sampling", every=1)
    assert drawn_configs[0][1].sets == ()


class TestFigures:
    def test_endpoints_nest_one_mark_a_path(self):
        start = np.zeros((5, 2))
        ends = [figures.Ends(label=str(k), colour="#000000", points=start + k) for k in range(5)]
        figure = figures.endpoints(start, ends)
        sizes = [t.marker.size for t in figure.data if t.name and t.name.startswith("end")]
        assert sizes == sorted(sizes, reverse=True), "the largest are drawn first"
        assert figure.layout.yaxis.scaleanchor == "x"

    def test_endpoints_of_other_particles_are_refused(self):
        ends = [figures.Ends(label="a", colour="#000000", points=np.zeros((4, 2)))]
        with pytest.raises(ValueError, match="at most 5 paths of shape"):
            figures.endpoints(np.zeros((5, 2)), ends)

    def test_rates_draw_diverged_runs_at_the_top(self):
        figure = figures.rates(
            ["a"],
            [theme.style("vp", 1)],
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

    def test_dots_omit_lost_values(self):
        rows = [figures.Runs(label="a", colour="#123456", values=np.array([0.1, np.nan]))]
        assert list(figures.dots(rows, x_title="distance").data[0].x) == [0.1]

    def test_band_lies_under_its_line(self):
        x = np.array([1.0, 2.0])
        line = lines_of.of_runs("a", "#123456", x, np.array([x - 1, x + 1]))
        figure = lines_of.curves([line], x_title="x", y_title="y")
        band, drawn = figure.data
        assert band.fill == "toself" and len(band.x) == 4 and list(drawn.y) == [1, 2]

    def test_a_line_without_values_is_not_an_error(self):
        x = np.array([1.0, 2.0])
        line = lines_of.of_runs("a", "#123456", x, np.full(2, np.nan), floor=1.0)
        assert len(lines_of.curves([line], x_title="x", y_title="y", log_x=True).data[0].x) == 0


def test_a_label_with_a_comma_is_one_cell_of_the_download():
    label = "learned path, curvature penalty"
    text = csv_text({"data": "moons"}, {"path": np.array([label]), "S": np.ones(1)})
    head, *table = text.splitlines()
    assert head == "# data: moons"
    assert list(csv.reader(table)) == [["path", "S"], [label, "1"]]


def test_lines_that_coincide_are_drawn_once():
    x = np.linspace(0, 1, 3)
    noise, score, other, blue = (
        lines_of.Curve(label=label, colour=colour, x=x, y=y)
        for label, colour, y in (
            ("noise", theme.path_colour("vp"), x),
            ("score", theme.path_colour("vp", 2), x + 1e-9),
            ("velocity", theme.path_colour("vp", 1), 1 - x),
            ("OT", theme.path_colour("ot"), x),
        )
    )
    longer = lines_of.Curve(label="own", colour="red", x=np.linspace(0, 1, 4), y=np.zeros(4))
    drawn = lines_of.merged([noise, score, other, blue, longer])
    assert [line.label for line in drawn] == ["noise<br>and score", "velocity", "OT", "own"]
    assert drawn[0].colour == theme.path_colour("vp")


def test_the_page_opens_with_a_verdict_on_each_claim():
    app = opened()
    (short,) = [each.value for each in app.markdown if "**1 · Trains faster:**" in each.value]
    lines = short.splitlines()
    assert len(lines) == 3
    for line, title in zip(lines, ("Trains", "Samples", "Better"), strict=True):
        assert title in line and line.endswith(("supported]*", "undecided]*"))
