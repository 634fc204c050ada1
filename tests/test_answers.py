"""Shipped answers: first views of pages are stored, are read unchanged, and are up to date."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from flowviz.studies import STUDIES, answers

ROOT = Path(__file__).parents[1]
FILES = sorted(answers.FOLDER.glob("*.npz"))


def study_of(path):
    name, settings = answers.read_request(path)
    return STUDIES[name], STUDIES[name].config.build(settings)


QUICK = [path for path in FILES if study_of(path)[0].seconds <= 1]


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=() if path in QUICK else pytest.mark.slow) for path in FILES],
    ids=lambda path: path.stem,
)
def test_a_loaded_answer_draws_and_writes_the_same(path, tmp_path, monkeypatch):
    study, config = study_of(path)
    result = answers.read(path)
    assert answers.path_of(study, study.settled(config)) == path, "run .github/answers.py"
    monkeypatch.setattr(answers, "FOLDER", tmp_path)
    again = answers.read(answers.write(study, config, result))
    assert study.say(config, again) == study.say(config, result) != []
    old, new = (study.draw(config, each) for each in (result, again))
    assert [each.figure.to_json() for each in new] == [each.figure.to_json() for each in old] != []


def test_an_answer_with_other_fields_is_not_read(monkeypatch):
    assert answers.read(QUICK[0]) is not None
    monkeypatch.setattr(answers, "fields", lambda kind: fields(kind)[1:])
    assert answers.read(QUICK[0]) is None


@pytest.mark.parametrize("path", QUICK, ids=lambda path: path.stem)
def test_an_answer_equals_a_new_computation(path):
    study, config = study_of(path)
    stored, new = (study.table(config, r) for r in (answers.read(path), study.result(config)))
    assert stored.keys() == new.keys()
    for name, values in new.items():
        if values.dtype.kind in "fc":
            np.testing.assert_allclose(stored[name], values, rtol=1e-4, atol=1e-6)
        else:
            np.testing.assert_array_equal(stored[name], values)


@pytest.mark.parametrize("page", ["figure4", "which_ot", "cfm", "nfe_quality", "images"])
def test_a_page_shows_its_answers_without_any_work(page):
    app = AppTest.from_file(ROOT / "app.py", default_timeout=60)
    app.switch_page(f"pages/{page}.py").run()
    assert not app.exception and not app.error
    assert any(each.value.startswith("Computed in advance") for each in app.caption)
    assert not [key for key in app.session_state if key.startswith("work:")]


def test_an_answer_contains_no_networks_and_names_no_other_package(tmp_path, monkeypatch):
    monkeypatch.setattr(answers, "FOLDER", tmp_path)
    study = STUDIES["targets"]
    with pytest.raises(TypeError, match="cannot hold an object of object"):
        answers.write(study, study.config(), {"a": object()})
    with pytest.raises(ValueError, match="dataclasses of flowviz only"):
        answers._restore("os:stat_result", {})
