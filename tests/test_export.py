"""Figures and tables as files."""

import base64
import gzip
import io
import json
import re
import shlex

import numpy as np
import plotly.graph_objects as go
import pytest
from PIL import Image

from flowviz.canvases.wire import header_of
from flowviz.cli import main
from flowviz.cli.experiment import _parser
from flowviz.studies import STUDIES
from flowviz.studies.export import SAVE_FIRST, command_line, csv_text, figure_bytes, script

CONFIGS = [
    ("flow", {"data": "word:A B", "nfe": 8, "tol": 1e-4}),
    ("figure4", {"noise": True}),
    ("nfe-quality", {"fields": ("exact-ot", "exact-trig"), "seeds": 2}),
    ("losses", {}),
]


@pytest.mark.parametrize(("name", "given"), CONFIGS, ids=lambda each: str(each)[:12])
def test_the_displayed_commands_give_the_same_config(name, given):
    study = STUDIES[name]
    config = study.config(**given)
    words = shlex.split(command_line(study, config))
    assert words[:5] == ["python", "-m", "flowviz", "experiment", name]
    assert study.config(**vars(_parser(study).parse_args(words[5:]))) == config
    made = {}
    exec(script(study, config).partition("result =")[0], made)
    assert made["study"] is study and made["config"] == config


def test_a_script_names_what_must_be_saved_first():
    study = STUDIES["flow"]
    assert SAVE_FIRST not in script(study, study.config())
    assert SAVE_FIRST in script(study, study.config(networks=("live:0123456789abcdef", "")))


FIGURE = go.Figure().add_scatter(x=[0, 1], y=[0, 1], name="a line")


def test_html_is_one_file_without_requests_to_a_host():
    text = figure_bytes(FIGURE, "html").decode()
    assert "a line" in text and "<script src" not in text and "<link" not in text


def test_the_page_of_compare_opens_at_the_time_and_in_the_mode_of_its_settings(tmp_path):
    settings = ["--field", "exact", "--nfe", "4", "--t", "0.5", "--mode", "steps"]
    file = tmp_path / "flow.html"
    assert main(["export", "compare", *settings, "--out", str(file)]) == 0
    content = re.search(r'id="canvases">(.*?)</script>', file.read_text(), re.DOTALL)[1]
    mount = json.loads(content)["mounts"][-1]
    header = header_of(gzip.decompress(base64.b64decode(mount["payload"])), "player")
    assert (header["initial"]["t"], header["initial"]["mode"]) == (0.5, "steps")


@pytest.mark.slow
def test_vector_files_have_the_printed_width_and_name_their_command():
    about = "a line: x < 1 & y"
    svg = figure_bytes(FIGURE, "svg", width_mm=85, description=about).decode()
    assert float(re.search(r'width="([\d.]+)"', svg)[1]) == pytest.approx(85 * 96 / 25.4)
    assert "<desc>a line: x &lt; 1 &amp; y</desc>" in svg
    pdf = figure_bytes(FIGURE, "pdf", width_mm=85, description=about)
    width = float(re.search(rb"/MediaBox \[0 0 ([\d.]+)", pdf)[1])
    assert width == pytest.approx(85 * 72 / 25.4, abs=1)
    assert b"FontFile2" in pdf and b"a line: x < 1 & y" in pdf
    png = figure_bytes(FIGURE, "png", description=about)
    image = Image.open(io.BytesIO(png))
    image.load()  # the text is after the pixels
    assert image.info["Description"] == about


@pytest.mark.parametrize("width_mm", [0, 39, 1001])
def test_an_invalid_width_is_refused(width_mm):
    with pytest.raises(ValueError, match="The width must be 40 to 1000 mm; got"):
        figure_bytes(FIGURE, "svg", width_mm=width_mm)


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


def test_a_study_is_exported_as_a_page_of_one_file(tmp_path, capsys):
    file = tmp_path / "losses.html"
    given = ["losses", "--paths", "ot", "--pairs", "256", "--data", "moons"]
    assert main(["export", *given, "--out", str(file)]) == 0
    text = file.read_text()
    assert "Plotly.newPlot" in text and "fields have one gap between the two losses" in text
    assert "flowviz export losses" in text and "<script src" not in text
    assert "MB in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["losses", "--out", "losses.pdf"], "--out must end in .html; got losses.pdf."),
        (["lossses", "--out", "a.html"], "Did you mean 'losses'?"),
        (["compare", "--nfe", "0", "--out", "a.html"], "nfe must be in 1..10000; got 0."),
        (["compare"], "--out"),
    ],
)
def test_invalid_exports_are_refused_before_the_computation(given, sentence, capsys, tmp_path):
    try:
        code = main(["export", *given])
    except SystemExit as stop:  # of the parser
        code = stop.code
    assert code == 2
    message = capsys.readouterr().err
    assert sentence in message and message.count("\n") == 1
