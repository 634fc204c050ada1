"""Cost and quality: the page, equal findings of page and command, sentences and figures."""

import re
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from apps import settled
from streamlit.testing.v1 import AppTest

from flowviz import checkpoints
from flowviz.cli import main
from flowviz.datasets import DATASETS
from flowviz.experiments.fields import FieldRef, exact_name, pinned, preferred
from flowviz.experiments.nfe_quality import solver_curves
from flowviz.experiments.solver_curves import Reach, SolverCurve, curve_configs
from flowviz.figures import cost, theme
from flowviz.progress import Progress
from flowviz.solvers import METHODS
from flowviz.studies import STUDIES, all_data_sets, nfe_quality, steps
from flowviz.studies.all_data_sets import AllDataSetsConfig, AllDataSetsResult
from flowviz.studies.nfe_quality import NfeQualityConfig, NfeQualityResult
from flowviz.studies.steps import StepsConfig
from flowviz.training import TrainConfig, build_field
from flowviz.ui import cache, field_picker, study_view

ROOT = Path(__file__).parents[1]
SMALL = {"fields": "exact-ot,exact-vp", "solvers": "euler,heun", "seeds": "2", "n": "500"}
OT, VP = (exact_name("checkerboard", path) for path in ("ot", "vp"))


def opened(view="curves", **link):
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    for name, value in (SMALL | {"view": view} | link).items():
        app.query_params[name] = value
    app.switch_page("pages/nfe_quality.py")
    app.run()
    assert not app.exception, app.exception
    return app


def text_of(app):
    return " ".join(e.value for e in [*app.markdown, *app.caption, *app.info])


@pytest.fixture(scope="module")
def page():
    return settled(opened())


def plain(markdown):
    for mark in ("**", "*"):
        markdown = markdown.replace(mark, "")
    return markdown.replace("\\", "")


def test_the_command_prints_the_findings_of_the_page_word_for_word(page, capsys, tmp_path):
    files = {"--csv": tmp_path / "f.csv", "--figure": tmp_path / "f.html"}
    given = ["--fields", OT, VP, "--methods", "euler", "heun", "--n", "500", "--seeds", "2"]
    written = [part for option, file in files.items() for part in (option, str(file))]
    assert main(["experiment", "nfe-quality", *given, *written]) == 0
    printed = capsys.readouterr().out
    shown = plain(text_of(page))
    _, *findings = printed.split("\n\n")
    findings = [each.strip() for each in findings if not each.startswith("NFE to reach")]
    assert len(findings) >= 6
    for finding in findings:
        assert finding in shown
    rows = [line.split("  ") for line in printed.splitlines() if "squared error ≤ 0.01" in line]
    for row in rows:
        cells = [cell.strip() for cell in row if cell.strip()]
        assert f"| {' | '.join(cells)} |" in shown, "the table, too"
    assert files["--csv"].read_text().startswith("# study: nfe-quality\n")
    assert "plotly" in files["--figure"].read_text()


def test_page_says_what_this_run_shows(page):
    text = plain(text_of(page))
    assert "At equal error" in text and "Euler" in text and "about 60" in text
    assert "Error is not quality" in text, "Euler: VP has the lower error and the worse samples"
    assert "Diverged" in text and "Heun" in text and "EDM" in text
    assert "2 seeds of 500 samples" in text and "With unlimited NFE" in text
    assert "squared error ≤ 0.01" in text and "1.1 × floor" in text and "OT : VP" in text


def test_a_result_of_another_visitor_is_not_computed_again(page):
    again = opened()
    assert "At equal error" in text_of(again)
    assert "work:nfe-quality" not in again.session_state


def test_empty_choices_show_the_defaults():
    app = opened(view="steps")
    for menu in app.multiselect:
        menu.set_value([])
    app.run()
    assert not app.exception


def test_adaptive_steps_are_counted():
    app = settled(opened("steps", adaptive="bosh3", tol="0.01"))
    assert "steps accepted and" in text_of(app) and "rejected" in text_of(app)


def test_all_data_sets_wait_for_a_button():
    app = opened("all")
    assert "Compares conditional OT and VP diffusion on all 9" in text_of(app)
    assert any(button.label == "Measure all data sets" for button in app.button)
    assert not any(button.label == "Cancel" for button in app.button)


def test_metrics_that_do_not_apply_to_the_data_are_not_offered():
    offered = {"checkerboard": True, "mixture:1,0@0.8": False}
    for data, known in offered.items():
        app = opened("all", data=data)
        (menu,) = (each for each in app.selectbox if each.label == "Sample quality")
        assert ("Share off the data" in menu.options) == known
    config = NfeQualityConfig(data="mixture:1,0@0.8", measure="off-support", n=50, seeds=1)
    with pytest.raises(ValueError, match="measure must apply to mixture"):
        list(nfe_quality.STUDY.compute(config))


def saved(folder, seed, name="mine", objective="flow"):
    """The card of a network of random weights called `name` in a folder."""
    config = TrainConfig(data="8gaussians", objective=objective, width=8, depth=1, seed=seed)
    board = DATASETS["8gaussians"]
    card = checkpoints.describe(name, asdict(config), board, steps=0, seconds=0.0)
    folder.mkdir(exist_ok=True)
    field, generator = build_field(config, board), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in field.parameters():  # the last layer starts at 0, and with it the field
            weights += 0.1 * torch.randn(weights.shape, generator=generator)
    file = checkpoints.save(folder / name, field, card)
    cache._listing.clear()
    return checkpoints.read_card(file)


def test_an_overwritten_checkpoint_does_not_use_results_of_the_previous_one(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWVIZ_HOME", str(tmp_path))
    found, names = [], []
    for seed in (0, 1):
        names.append(pinned(saved(tmp_path / "checkpoints", seed)))
        assert names[-1] in field_picker.labels("8gaussians")
        assert field_picker.slug(names[-1]) == "mine"
        configs = curve_configs((names[-1],), ("euler",), nfes=(2,), n=20, seeds=1)
        found += solver_curves(configs, Progress())
    assert names[0] != names[1] and found[0].config != found[1].config
    assert found[0].label == "conditional OT (mine)"
    first, second = (curve.limit["sliced-w2"] for curve in found)
    assert abs(first - second) > 1e-6, "the converged flow, too, is that of the new weights"
    with pytest.raises(ValueError, match="it was overwritten"):
        FieldRef.of(names[0])


def test_a_menu_names_the_method_of_a_network_only_if_its_name_does_not(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWVIZ_CHECKPOINTS", str(tmp_path))
    saved(tmp_path, 0, "8gaussians-ot-shortcut", "shortcut")
    saved(tmp_path, 0, "mine", "shortcut")
    known = field_picker.networks("8gaussians", "ot")
    assert known["8gaussians-ot-shortcut"] == "8gaussians-ot-shortcut", (
        "a menu cuts what is longer"
    )
    assert known["mine"] == "mine (shortcut (flow map))"


@pytest.mark.parametrize(
    ("study", "settings"),
    [
        ("kl", {"data": "8gaussians", "field": "mine"}),
        ("likelihood", {"data": "8gaussians"}),
        ("flow", {"data": "8gaussians", "networks": ("mine", "")}),
        ("density-evolution", {"data": "moons", "paths": ("ot",), "networks": ("mine",)}),
        ("losses", {"data": "8gaussians", "paths": ("ot",), "networks": ("mine",)}),
        ("particles", {"data": "8gaussians", "field": "learned", "network": "mine"}),
        ("learned-straightness", {"fields": ("mine",)}),
    ],
)
def test_a_stored_result_depends_on_the_content_of_the_checkpoints(
    study, settings, tmp_path, monkeypatch
):
    monkeypatch.setenv("FLOWVIZ_HOME", str(tmp_path))
    study, tokens = STUDIES[study], []
    for seed in (0, 1):
        card = saved(tmp_path / "checkpoints", seed)
        tokens += [study_view.token(study, study.config(**settings)) for _ in range(2)]
        assert pinned(card) in str(tokens[-1])
    assert tokens[0] == tokens[1] != tokens[2] == tokens[3]


def test_a_stored_result_depends_on_a_checkpoint_that_no_setting_names(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWVIZ_CHECKPOINTS", str(tmp_path))
    config = STUDIES["flow"].config(data="8gaussians", paths=("ot", "ot"))
    for seed in (0, 1):
        card = saved(tmp_path, seed, "8gaussians-ot")
        _, used = study_view.token(STUDIES["flow"], config)
        assert used.networks == (pinned(card), pinned(card))
    exact = STUDIES["all-data-sets"].config(sets=("pinwheel",), own="shaped:a1=0.2")
    shared = AllDataSetsConfig.build({"data": "moons", "fields": (OT, VP), "sets": ("circles",)})
    assert all("circles" in name for name in shared.chosen().compared)  # not the page's fields
    assert exact.chosen().compared[-1] == "exact:pinwheel/shaped:a1=0.2"


def test_methods_for_few_steps_are_added_to_the_default_solvers(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWVIZ_CHECKPOINTS", str(tmp_path))
    name = pinned(saved(tmp_path, 0, "8gaussians-ot-shortcut", "shortcut"))
    fields = tuple(exact_name("8gaussians", path) for path in ("ot", "vp"))
    shared = {"data": "8gaussians", "fields": fields, "nfes": (4,), "n": 20, "seeds": 1}
    usual = {each.method for each in NfeQualityConfig(**shared).chosen().curves()}
    assert usual == {"euler", "midpoint", "rk4", "dopri5", "dpmpp-2m", "unipc-2", "jumps"}
    for few in ({"methods": ("euler",)}, {"few": "off"}):
        config = NfeQualityConfig(**shared, **few).chosen()
        assert not {"unipc-2", "jumps"} & {each.method for each in config.curves()}
    config = NfeQualityConfig(**shared, methods=("euler",), few="on", maps=(name,))
    result = nfe_quality.STUDY.result(config)
    by_solver = {(each.config.source, each.config.method): each for each in result.curves}
    assert len(by_solver) == 7 and {key for key in by_solver if "jumps" in key} == {
        (name, "jumps")
    }
    jumps = by_solver[name, "jumps"]
    assert jumps.cost.tolist() == [1, 2, 4]
    exact = by_solver[fields[0], "euler"]
    assert jumps.limit == exact.limit, "the error of jumps is that to the exact flow"
    summary = nfe_quality.STUDY.summarise(config, result)
    rows = {row[0]: row[2:5] for row in summary.rows}
    assert rows["jumps of shortcut (flow map)"][:2] == ["–", "–"] and rows["Euler"][2] == "–"
    assert summary.heads[4] == "conditional OT", "the path of the flow map"
    assert nfe_quality.STUDY.draw(config, result)
    text = " ".join(each.text for each in nfe_quality.STUDY.say(config, result))
    assert "NFE 1: " in text and "Jumps of a flow map are compared with the exact field." in text


def test_fields_must_lead_to_the_data_set():
    config = NfeQualityConfig(data="moons", fields=(OT,), methods=("euler",), n=20, seeds=1)
    with pytest.raises(ValueError, match="All fields must lead to the data set moons"):
        list(nfe_quality.STUDY.compute(config))


def made(source, path, method="euler", budgets=(4, 8), **changes):
    """An artificial curve of two budgets."""
    (config,) = curve_configs((source,), (method,))
    column = np.array([[0.5], [0.001]])
    parts = {
        "config": replace(config, budgets=budgets),
        "label": source,
        "data": "checkerboard",
        "path": path,
        "nfe": np.array([[4.0], [8.0]]),
        "mse": column,
        "lost": np.zeros((2, 1)),
        "values": {"histogram-tv": column},
        "failures": ("", ""),
        "floor": {"histogram-tv": np.array([0.1])},
        "fresh": {"histogram-tv": np.array([0.1, 0.1])},
        "limit": {"histogram-tv": np.array([0.1])},
        "reference_nfe": 1,
    }
    return SolverCurve(**(parts | changes))


def say(*curves, uniform=(), **settings):
    result = NfeQualityResult(curves=curves, uniform=uniform)
    return {
        each.lead: each for each in nfe_quality.STUDY.say(NfeQualityConfig(**settings), result)
    }


class TestFindings:
    def test_the_best_at_few_evaluations_is_named_with_the_next(self):
        better = {"values": {"histogram-tv": np.array([[0.4], [0.002]])}}
        curves = made("a", "ot"), made("b", "vp", "dpmpp-2m", **better)
        best = say(*curves)["Best at few evaluations"]
        maps = replace(curves[1].config, source="b-ot-distillation@0123", method="jumps")
        jumps = say(curves[0], replace(curves[1], config=maps))["Best at few evaluations"]
        assert "NFE 4: jumps of b-ot-distillation (0.4; next 0.5)" in jumps.text
        assert "NFE 4: DPM-Solver++ (2M) on b (0.4; next 0.5)" in best.text
        assert "NFE 8: several at the floor" in best.text
        assert best.numbers["best at NFE 8"] == 0.001 and "NFE 16" not in best.text
        lost = made("b", "vp", "dpmpp-2m", lost=np.array([[0.1], [0.0]]), **better)
        assert "NFE 4" not in say(curves[0], lost)["Best at few evaluations"].text
        assert "Best at few evaluations" not in say(curves[0])

    def test_two_are_best_if_the_order_depends_on_the_seed(self):
        pair = [
            made(name, path, "midpoint", values={"histogram-tv": np.array([row, [0.2, 0.2]])})
            for name, path, row in (("a", "ot", [0.4, 0.5]), ("b", "vp", [0.5, 0.41]))
        ]
        text = say(*pair)["Best at few evaluations"].text
        assert "NFE 4: midpoint on a and midpoint on b (0.45 and 0.455)." in text

    def test_a_flow_map_that_diverged_is_named(self):
        broken = made("a", "ot", "jumps", label="OT, MeanFlow", lost=np.array([[0.1], [0.0]]))
        text = say(broken)["Diverged (crosses)"].text
        assert text.endswith("with jumps at NFE 4 (OT, MeanFlow).")

    def test_a_failed_adaptive_solve_is_named_by_its_tolerance(self):
        nothing = np.full((2, 1), np.nan)
        broken = made(
            "a", "ot", "dopri5", (0.1, 0.01), nfe=nothing, lost=nothing, failures=("x",) * 2
        )
        found = say(broken)
        text = found["Diverged (crosses)"].text
        assert "the solve failed with Dormand-Prince 5(4) at tolerance 0.1, 0.01" in text
        assert "nan" not in text and "left the plane" not in text and "Remedy" not in found

    @pytest.mark.parametrize(
        ("method", "cause"),
        [
            ("euler", ""),
            ("midpoint", ""),
            ("heun", "Heun evaluates"),
            ("rk4", "Runge-Kutta 4 evaluates"),
        ],
    )
    def test_the_remedy_is_suggested_for_failed_solvers_only(self, method, cause):
        found = say(made("a", "ot", method, lost=np.array([[0.1], [0.0]])))
        text = found["Diverged (crosses)"].text
        where = "samples left the plane (a coordinate above 10) with "
        assert f"{where}{METHODS[method].label} at NFE 4." in text and "failed" not in text
        assert ("Remedy" in found) == bool(cause)
        assert not cause or found["Remedy"].text.startswith(cause)

    def test_without_divergence_there_is_no_finding(self):
        assert "Diverged (crosses)" not in say(made("a", "ot"))

    def test_equal_error_is_judged(self):
        slow = np.array([[0.5], [0.005]])
        lead = "At equal error (0.01 per dimension)"
        found = say(made("a", "ot"), made("b", "vp", mse=slow))[lead]
        assert found.verdict == "supported" and 0 < found.numbers["Euler"] < 1
        assert say(made("a", "ot", mse=slow), made("b", "vp"))[lead].verdict == "not supported"
        assert lead not in say(made("a", "ot"))

    def test_flow_maps_are_compared_with_those_of_the_same_training(self):
        slow = np.array([[0.5], [0.005]])
        maps = [
            made(name, path, "jumps", label=f"{path}, {kind}", mse=mse)
            for name, path, kind, mse in (
                ("a", "ot", "MeanFlow", slow),
                ("b", "ot", "shortcut", slow),
                ("c", "vp", "shortcut", slow),
            )
        ]
        found = say(*maps)["At equal error (0.01 per dimension)"]
        assert found.numbers == {"jumps of shortcut": 1.0}

    def test_the_grid_is_compared_with_the_one_even_in_t(self):
        pair = [made("a", "ot"), made("b", "vp")]
        assert "Time grid" not in say(*pair, grid="log-snr")
        slow = made("b", "vp", mse=np.array([[0.5], [0.005]]))
        found = say(*pair, uniform=(pair[0], slow), grid="log-snr")["Time grid"]
        assert "100% for squared error ≤ 0.01 (even in t:" in found.text


def test_another_grid_is_computed_even_in_t_too():
    shared = {"fields": (OT, VP), "methods": ("euler",), "nfes": (4, 8), "n": 50, "seeds": 1}
    *_, plain_grid = nfe_quality.STUDY.compute(NfeQualityConfig(**shared))
    assert plain_grid.uniform == ()
    *_, other = nfe_quality.STUDY.compute(NfeQualityConfig(**shared, grid="log-snr"))
    assert [each.config.grid for each in (*other.curves, *other.uniform)] == [
        *("log-snr", "log-snr"),
        *("uniform", "uniform"),
    ]
    assert np.array_equal(other.uniform[0].mse, plain_grid.curves[0].mse)


def test_steps_find_ot_and_vp_by_their_path():
    chosen = tuple(exact_name("checkerboard", path) for path in ("vp", "trig", "ot"))
    learned = preferred("checkerboard")[0]

    def names(*fields):
        config = StepsConfig(fields=fields, tol=0.1, n=50)
        *_, result = steps.STUDY.compute(config)
        return result.names

    assert names(*chosen) == (chosen[2], chosen[0])
    assert names(chosen[0], chosen[1]) == (learned[0], chosen[0])
    assert names() == learned


@pytest.mark.parametrize(
    ("first", "second", "sign"),
    [
        (Reach(6, False), Reach(10, False), -1),
        (Reach(10, False), Reach(6, False), 1),
        (Reach(6, False), Reach(6, False), 0),
        (Reach(4, True), Reach(6, False), -1),
        (Reach(4, True), Reach(4, True), None),
        (Reach(4, True), None, -1),
        (None, Reach(4, True), 1),
        (None, None, None),
    ],
)
def test_cheaper_compares_targets_that_are_reached(first, second, sign):
    assert all_data_sets.cheaper(first, second) == sign


class TestAllDataSets:
    SLOW = np.array([[0.5], [0.005]])

    def say(self, *curves, **settings):
        config = AllDataSetsConfig(**settings)
        found = all_data_sets.STUDY.say(config, AllDataSetsResult(curves=curves))
        return {each.lead: each for each in found}

    def test_the_claim_is_judged_over_the_data_sets(self):
        better = [made("a", "ot"), made("b", "vp", mse=self.SLOW)]
        worse = [made("c", "ot", data="moons", mse=self.SLOW), made("d", "vp", data="moons")]
        goal = "squared error ≤ 0.01"
        found = self.say(*better)[goal]
        assert found.verdict == "supported" and "fewer" in found.text
        assert "on 1 of 1 data set." in found.text and "(one data set)" in found.text
        assert self.say(*worse)[goal].verdict == "not supported"
        both = self.say(*better, *worse)
        assert both[goal].verdict == "undecided"
        assert "(median of 2 data sets; " in both[goal].text
        quality = both["histogram total variation ≤ 1.1 × floor"]
        assert quality.verdict == "undecided" and quality.numbers["fewer"] == 0

    def test_every_outcome_is_counted(self):
        first, six, ten = Reach(4.0, True), Reach(6.0, False), Reach(10.0, False)
        outcomes = list(product((None, first, six, ten), repeat=2))
        for rows in product(outcomes, repeat=2):
            found = all_data_sets._judged("Euler", "goal", rows)
            cost = [
                [np.inf if each is None else each.nfe for each in row]
                for row in rows
                if row not in ((None, None), (first, first))
            ]
            fewer, more = sum(ot < vp for ot, vp in cost), sum(ot > vp for ot, vp in cost)
            on = "all 2" if fewer == 2 else f"{fewer} of 2"
            counts = f"on {on} data sets" + f" and more on {more}" * (more > 0)
            assert re.search(rf"{counts}[.;]", found.text)
            assert (found.verdict == "supported") == (fewer == 2)
            assert (found.verdict == "not supported") == (more == 2)
            measured = any(None not in row and first not in row for row in rows)
            assert ("of the evaluations of VP" in found.text) == measured
            assert found.text.endswith(".") and "nan" not in found.text.split()

    def test_what_cannot_be_compared_is_counted(self):
        never = np.full((2, 1), 0.5)
        found = self.say(made("a", "ot", mse=never), made("b", "vp", mse=never))
        text = found["squared error ≤ 0.01"].text
        assert "1 cannot be compared" in text and "median" not in text
        assert found["squared error ≤ 0.01"].verdict == "undecided"

    def test_equal_nfe_counts_data_sets(self):
        found = self.say(made("a", "ot"), made("b", "vp", mse=self.SLOW))["At equal NFE"]
        assert found.text.startswith("with 4 evaluations conditional OT has the lower error on 0")
        assert found.numbers == {
            "error_at_4": 0,
            "quality_at_4": 0,
            "error_at_8": 1,
            "quality_at_8": 0,
        }

    def test_the_user_s_schedule_is_compared_with_ot_by_exact_fields(self):
        own = "shaped:a1=0.2"
        config = AllDataSetsConfig(own=own, sets=("mixture:1,0@0.8",), nfes=(4, 8), n=50, seeds=1)
        *_, result = all_data_sets.STUDY.compute(config)
        assert [each.path for each in result.curves] == ["ot", "vp", own]
        assert all(each.config.source.startswith("exact:") for each in result.curves)
        found = {each.lead: each for each in all_data_sets.STUDY.say(config, result)}
        text = found["Your own schedule"].text
        assert "it needs fewer evaluations than conditional OT on" in text
        assert "Exact fields of all paths end at the same points" in text
        summary = all_data_sets.STUDY.summarise(config, result)
        assert len(summary.heads) == 6 and {len(row) for row in summary.rows} == {6}


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
        "diverged": np.zeros(3, bool),
        "notes": ["", "", ""],
    }
    return cost.CostCurve(**(parts | changes))


def drawn(curves, **changes):
    parts = {"measure": "W2", "floor": 0.3, "band": (0.25, 0.4), "target": 0.33, "level": 0.01}
    return cost.costs(curves, **(parts | changes))


def named(figure, name):
    return [trace for trace in figure.data if trace.name == name]


def test_costs_name_fields_by_colour_and_solvers_by_dash():
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


def test_all_curves_of_one_path_differ_and_a_marker_means_one_kind_of_field():
    kinds = ("", ", shortcut (flow map)", ", MeanFlow (flow map)")
    groups = [("conditional OT", "ot", kinds), ("VP diffusion", "vp", (kinds[0], kinds[2]))]
    methods = ("euler", "midpoint", "jumps")
    curves = [
        made(f"{path}{kind}", path, method, label=f"{label}{kind}")
        for method in methods
        for label, path, kinds in groups
        for kind in kinds
    ]
    config = NfeQualityConfig(methods=methods[:2], few="on")
    (figure,) = nfe_quality.STUDY.draw(config, NfeQualityResult(curves=tuple(curves)))
    data = figure.figure.data
    names = {f"{each.label}, {METHODS[each.config.method].label}" for each in curves}
    on_left = [t for t in data if t.xaxis == "x" and t.name in names]
    assert len(on_left) == 15
    assert len({(t.line.color, t.line.dash, t.marker.symbol) for t in on_left}) == 15
    assert len({(t.line.dash, t.marker.symbol, t.name[:2]) for t in on_left}) == 15, "in print"
    assert all(t.opacity is None for t in data), "a pale curve looks like another shade"
    thick = {t.name.rpartition(", ")[2] for t in on_left if t.line.width > 2}
    assert thick == {METHODS["midpoint"].label, METHODS["jumps"].label}
    entries = {t.name: t for t in data if t.showlegend is not False}
    for label, path, _ in groups:
        assert entries[f"{label}{kinds[2]}"].marker.symbol == theme.symbol(2)
        assert entries[label].line.color == theme.path_colour(path)
    legends = figure.figure.layout.legend, figure.figure.layout.legend2
    assert [each.title.text for each in legends] == ["field:", "solver:"]


def test_each_data_set_has_one_marker_in_the_curves_of_all_data_sets():
    curves = [made(data, path, data=data) for data in DATASETS for path in ("ot", "vp")]
    result = AllDataSetsResult(curves=tuple(curves))
    drawn = all_data_sets.STUDY.draw(AllDataSetsConfig(), result)
    figures = {each.name: each.figure for each in drawn}
    for name in ("all-error", "all-quality"):
        lines = [trace for trace in figures[name].data if trace.showlegend is False]
        assert len(lines) == len(curves) == 18
        assert len({(t.line.color, t.line.dash, t.marker.symbol) for t in lines}) == 18
        keys = {t.name: t for t in figures[name].data if t.showlegend is not False}
        assert len(keys) == 2 + 9
        for line in lines:
            path, data = line.name.split(", ")
            assert theme.family(line.line.color) == keys[path].line.color
            assert line.legendgroup == keys[data].legendgroup, "a click shows a data set alone"
            assert keys[path].legend == "legend2" and not keys[path].legendgroup
            assert line.line.dash == keys[data].line.dash
            assert line.marker.symbol == keys[data].marker.symbol


def test_a_click_on_a_field_in_the_legend_shows_its_curves_alone_in_both_figures():
    figure = drawn([line(), line(solver="Heun"), line(field="VP diffusion")])
    fields = named(figure, "conditional OT") + named(figure, "VP diffusion")
    assert [entry.legendgroup for entry in fields] == ["conditional OT", "VP diffusion"]
    for name, group in (
        ("conditional OT, Euler", "conditional OT"),
        ("conditional OT, Heun", "conditional OT"),
        ("VP diffusion, Euler", "VP diffusion"),
    ):
        assert [trace.legendgroup for trace in named(figure, name)] == [group] * 2
    legend, solvers = figure.layout.legend, figure.layout.legend2
    assert (legend.itemclick, solvers.itemclick) == ("toggleothers", False)
    for name in ("target reached", "two samples of the data", "best possible, same noise"):
        *marks, key = named(figure, name)
        assert key.x == (None,) and key.showlegend is None
        assert all(m.showlegend is False and not m.legendgroup for m in marks), "they stay"
    assert {trace.legend for trace in named(figure, "Euler")} == {"legend2"}


def test_a_diverged_solve_is_a_cross_within_the_axes_and_does_not_stretch_them():
    huge = np.array([1e9, np.nan, 1e-3])
    broken = line(
        error=np.stack([huge] * 3),
        diverged=np.array([True, True, False]),
        notes=["thrown out", "failed", ""],
    )
    figure = drawn([line(), broken])
    assert named(figure, "diverged")[0].legendgroup == "conditional OT", "hidden with its field"
    top = 10 ** figure.layout.yaxis.range[1]
    crosses = named(figure, "diverged")[0]
    assert top < 10 and all(0 < y <= top for y in crosses.y)
    assert [note.rpartition(": ")[2] for note in crosses.customdata] == ["thrown out", "failed"]
    assert named(figure, "conditional OT, Euler")[1].y[0] == 1e9, "the line keeps its value"


def test_a_share_of_zero_is_drawn_at_the_bottom_edge():
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
    with theme.using(dark=dark):
        figure = cost.steps([record, record])
    accepted = named(figure, "accepted, conditional OT")[0]
    assert accepted.x.tolist() == begin.tolist() and accepted.y.tolist() == size.tolist()
    (rejected, _) = named(figure, "rejected")
    assert rejected.x.tolist() == [0.1] and rejected.y.tolist() == [0.9]
    ticks = [t for t in figure.data if t.marker.symbol == "line-ns"]
    assert len(ticks) == 2 and ticks[0].x.tolist() == begin.tolist()


def test_dumbbells_omit_data_sets_that_miss_the_target():
    rows = {"a": (6.0, 12.0), "b": (8.0, np.nan)}
    figure = cost.dumbbells([("one", rows)], labels=("OT", "VP"), colours=("#000000", "#ffffff"))
    first, second = named(figure, "OT")[0], named(figure, "VP")[0]
    assert first.x.tolist() == [6, 8] and np.isnan(second.x[1]) and list(first.y) == ["a", "b"]
