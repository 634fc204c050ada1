"""Figures and tables as files."""

import shlex

import numpy as np
import plotly.graph_objects as go
import pytest

from flowviz.cli.experiment import _parser
from flowviz.studies import STUDIES
from flowviz.studies.export import command_line, csv_text, figure_bytes, python_lines

CONFIGS = [
    ("flow", {"data": "word:A B", "nfe": 8, "tol": 1e-4}),
    ("figure4", {"noise": True}),
    ("nfe-quality", {"fields": ("exact-ot", "exact-trig"), "seeds": 2}),
    ("losses", {}),
]


@pytest.mark.parametrize(("name", "given"), CONFIGS, ids=lambda each: str(each)[:12])
def test_the_shown_commands_make_the_same_config(name, given):
    study = STUDIES[name]
    config = study.config(**given)
    words = shlex.split(command_line(study, config))
    assert words[:5] == ["python", "-m", "flowviz", "experiment", name]
    assert study.config(**vars(_parser(study).parse_args(words[5:]))) == config
    made = {}
    exec("\n".join(python_lines(study, config).splitlines()[:4]), made)
    assert made["study"] is study and made["config"] == config


FIGURE = go.Figure().add_scatter(x=[0, 1], y=[0, 1], name="a line")


def test_html_is_one_file_without_requests_to_a_host():
    text = figure_bytes(FIGURE, "html").decode()
    assert "a line" in text and "<script src" not in text and "<link" not in text


@pytest.mark.slow
@pytest.mark.parametrize(("suffix", "start"), [("svg", b"<svg"), ("pdf", b"%PDF")])
def test_vector_files_have_the_printed_width(suffix, start):
    content = figure_bytes(FIGURE, suffix, width_mm=85)
    assert content.startswith(start)
    if suffix == "svg":
        assert b'width="321"' in content


def test_an_unknown_suffix_is_refused():
    with pytest.raises(ValueError, match=r"must end in \.svg, \.png, \.pdf, \.html; got \.bmp"):
        figure_bytes(FIGURE, "bmp")


def test_a_missing_browser_is_one_sentence(monkeypatch):
    def fails(*given, **named):
        raise RuntimeError("a page of internals")

    monkeypatch.setattr(go.Figure, "to_image", fails)
    with pytest.raises(ValueError, match=r"\.svg figure needs Chrome or Chromium"):
        figure_bytes(FIGURE, "svg")


def test_a_table_has_its_settings_on_top():
    text = csv_text({"study": "x"}, {"name": np.array(["a,b"]), "value": np.array([0.5])})
    assert text.splitlines() == ["# study: x", "name,value", '"a,b",0.5']


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="must have one length"):
        csv_text({}, {"a": np.zeros(1), "b": np.zeros(2)})
