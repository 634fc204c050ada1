"""Every study fulfils the contract of `flowviz.studies.study`, also on the command line."""

import dataclasses
import io
import json
import os
import re
import runpy
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
import pytest
from apps import settled
from streamlit.testing.v1 import AppTest

from flowviz.cli import main
from flowviz.methods import METHODS, Method
from flowviz.metrics import METRICS, Metric
from flowviz.progress import Progress, Stopped
from flowviz.schedulers import SCHEDULERS
from flowviz.settings import Config, setting, settings
from flowviz.studies import STUDIES, Finding, NamedFigure, Study, export
from flowviz.studies.study import stacked, to_json
from flowviz.ui import paths

ROOT = Path(__file__).parents[1]

NAMES = [
    pytest.param(name, marks=pytest.mark.slow if name == "learned-cost" else ())
    for name in STUDIES
]


def smallest(study):
    return study.config.build(dict(study.smallest))


class Run(NamedTuple):
    """The output of the command for the smallest config of a study."""

    result: Any
    answer: dict
    csv: str


def run_by_command(name, file):
    study, given, found = STUDIES[name], [], []
    for key, value in dict(study.smallest).items():
        flag = settings(study.config)[key].flag
        if isinstance(value, bool):
            given.append(flag if value else flag.replace("--", "--no-", 1))
        else:
            many = isinstance(value, tuple)
            given += [flag, *(map(str, value) if many else [str(value)])]
    compute = Study.result

    def result(self, *args, **options):
        found.append(compute(self, *args, **options))
        return found[-1]

    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as printed:
        patch.setattr(Study, "result", result)
        assert main(["experiment", name, *given, "--json", "--csv", str(file)]) == 0
    (one,) = found
    return Run(one, json.loads(printed.getvalue()), file.read_text())


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Each study is computed once, by the command."""
    found, folder = {}, tmp_path_factory.mktemp("studies")

    def run(name):
        if name not in found:
            found[name] = run_by_command(name, folder / f"{name}.csv")
        return found[name]

    return run


def test_settings_of_one_name_on_one_page_take_values_of_one_type():
    """A page passes the value of one control to all of its studies."""
    found = {}
    for study in STUDIES.values():
        for name, each in settings(study.config).items():
            kind = float if each.type is int else each.type, each.several
            known = found.setdefault((study.page, name), kind)
            assert study.page == "study" or known == kind, (study.name, name)


@pytest.mark.parametrize("name", NAMES)
class TestEveryStudy:
    def test_it_has_figures_a_table_and_findings(self, name, runs):
        study, result = STUDIES[name], runs(name).result
        config = smallest(study)
        for dark in (False, True):
            figures = study.draw(config, result, dark=dark)
            assert figures and len({each.name for each in figures}) == len(figures)
            for each in figures:
                assert isinstance(each.figure, go.Figure) and each.figure.data
                assert each.title and each.alt.endswith(".")
        lengths = {len(values) for values in study.table(config, result).values()}
        assert len(lengths) == 1 and lengths.pop() > 0
        findings = study.say(config, result)
        assert findings
        for finding in findings:
            assert finding.text and not any(mark in finding.text for mark in ("**", "$", "\n"))
            assert not re.search(r"\d\s%|(?<![\w.])-\d|[xp]_t", finding.text), finding.text
            assert finding.verdict in ("", "supported", "not supported", "undecided")
            assert all(isinstance(value, int | float) for value in finding.numbers.values())
            assert finding.numbers or not finding.verdict, "a verdict needs numbers"

    def test_every_setting_is_declared(self, name):
        for each in settings(STUDIES[name].config).values():
            assert each.label and (each.help or each.options)
            if each.several and each.kind == "value" and not each.advanced:
                assert each.options or each.offered, "a page needs values for the menu"

    def test_the_command_prints_the_findings_and_writes_the_table(self, name, runs):
        study, config = STUDIES[name], smallest(STUDIES[name])
        run = runs(name)
        texts = study.say(config, run.result)
        assert [each["lead"] for each in run.answer["findings"]] == [each.lead for each in texts]
        assert run.answer["config"] == to_json(config)
        assert run.csv.startswith(f"# study: {name}\n")

    def test_its_script_makes_the_same_figures(self, name, runs, monkeypatch, tmp_path):
        study, config, computed = STUDIES[name], smallest(STUDIES[name]), []
        known = runs(name).result

        def result(self, given):
            computed.append(given)
            return known

        monkeypatch.setattr(Study, "result", result)  # computed once, by the command
        monkeypatch.setattr(
            export, "figure_bytes", lambda figure, suffix, **_: figure.to_json().encode()
        )
        monkeypatch.chdir(tmp_path)
        figures = {each.name: each for each in study.draw(config, known)}
        for only in ["", *figures]:
            Path("script.py").write_text(export.script(study, config, only))
            runpy.run_path("script.py")
        assert computed and set(computed) == {config}
        for each, of in figures.items():
            file = Path(f"{export.file_name(config, each)}.html")
            assert file.read_text() == of.figure.to_json()

    def test_it_stops_on_request(self, name):
        class Stopping(Progress):
            def should_stop(self):
                return True

        study = STUDIES[name]
        config = smallest(study)
        try:
            seen = list(study.compute(config, progress=Stopping()))
        except Stopped:
            return
        assert len(seen) <= 1, "stop requests are checked between two results"


def test_a_script_runs_by_itself(runs, tmp_path):
    study, result = STUDIES["conditional"], runs("conditional").result
    config = smallest(study)
    name = study.draw(config, result)[0].name
    (tmp_path / "figure.py").write_text(export.script(study, config, name))
    ran = subprocess.run(
        [sys.executable, "figure.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(study.say(config, result)[0]) in ran.stdout
    assert "Plotly" in (tmp_path / f"{export.file_name(config, name)}.html").read_text()


def test_a_new_study_is_one_object(capsys):
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class EchoConfig(Config):
        """A number."""

        number: int = setting(1, "Number", bounds=(0, 9), help="Any digit.")

    figure = go.Figure().add_scatter(x=[0], y=[0])
    study = Study(
        "echo",
        "Echo",
        EchoConfig,
        (
            lambda config, live, progress: iter([config]),
            lambda config, result: [
                NamedFigure(name="dot", title="a dot", alt="A dot.", figure=figure)
            ],
            lambda config, result: {"number": np.array([config.number])},
            lambda config, result: [Finding(text=f"the number is {config.number}")],
        ),
    )
    STUDIES.add(study)
    try:
        assert main(["experiment"]) == 0 and "echo" in capsys.readouterr().out
        assert main(["experiment", "echo", "--number", "7"]) == 0
        assert "the number is 7" in capsys.readouterr().out
        assert main(["experiment", "echo", "--number", "12"]) == 2
        assert "number must be in 0..9; got 12." in capsys.readouterr().err
        with pytest.raises(SystemExit):
            main(["experiment", "echo", "--help"])
        assert "Any digit. Range: 0 to 9. (default: 1)" in capsys.readouterr().out
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
        app.query_params.update({"name": "echo", "number": "7"})
        app.switch_page("pages/study.py").run()
        settled(app)
        assert any("the number is 7" in each.value for each in app.markdown)
    finally:
        STUDIES.remove("echo")


@pytest.fixture
def added():
    """Adds a metric, a solver and a path by one entry each."""
    entries = [
        (METRICS, Metric("Always one", "", "The number 1.", lambda *_, **__: 1.0)),
        (METHODS, Method("Twin of Euler", "A copy.", 1, METHODS["euler"].step)),
        (SCHEDULERS, SCHEDULERS["ot"]),
    ]
    for registry, entry in entries:
        registry["newcomer"] = entry
    yield
    for registry, _ in entries:
        del registry["newcomer"]


def test_a_new_metric_solver_and_path_are_one_entry_each(added, capsys):
    curves = settings(STUDIES["nfe-quality"].config)
    assert "newcomer" in curves["measure"].options and "newcomer" in curves["methods"].options
    with pytest.raises(SystemExit):
        main(["experiment", "nfe-quality", "--help"])
    help = " ".join(capsys.readouterr().out.split())
    assert help.count("newcomer") >= 2
    with pytest.raises(SystemExit):
        main(["experiment", "losses", "--help"])
    assert "newcomer" in capsys.readouterr().out
    assert main(["names"]) == 0
    assert capsys.readouterr().out.count("newcomer") == 3
    assert "newcomer" in paths.labels()


def test_the_solver_of_a_study_has_the_option_of_other_commands(capsys):
    settings = ["--field", "exact", "--nfe", "4"]
    assert main(["experiment", "flow", "--solver", "euler", *settings]) == 0
    findings = capsys.readouterr().out
    assert main(["experiment", "flow", "--method", "euler", *settings]) == 0
    assert capsys.readouterr().out == findings


def test_an_unknown_study_gets_a_hint(capsys):
    assert main(["experiment", "lossses"]) == 2
    assert "Did you mean 'losses'?" in capsys.readouterr().err


def test_stacked_fills_single_values():
    table = stacked([{"a": "x", "b": np.array([1, 2])}, {"a": "y", "b": np.array([3])}])
    assert table["a"].tolist() == ["x", "x", "y"] and table["b"].tolist() == [1, 2, 3]
    empty = stacked([{"a": "x", "b": np.array([1])}, {"a": "y", "b": np.array([])}])
    assert empty["a"].tolist() == ["x"] and empty["b"].tolist() == [1]


def test_nan_is_null():
    assert to_json({"a": np.array([1.0, np.nan]), "b": float("inf")}) == {
        "a": [1.0, None],
        "b": None,
    }


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["flow", "--method", "walk"], "Unknown method 'walk'"),
        (["flow", "--nfe", "0"], "nfe must be in 1..10000; got 0."),
        (["flow", "--data", "chequerboard", "--field", "exact"], "Did you mean 'checkerboard'?"),
        (["kl", "--field", "nothing"], "Unknown checkpoint 'nothing'"),
        (["losses", "--csv", "/nowhere/x.csv"], "The folder /nowhere does not exist"),
        (["losses", "--pairs", "512", "--paths", "ot", "--figure", "f.bmp"], "must end in .svg"),
    ],
)
def test_error_messages_are_one_sentence(capsys, arguments, sentence):
    assert main(["experiment", *arguments]) == 2
    printed = capsys.readouterr().err
    assert sentence in printed and printed.count("\n") == 1
