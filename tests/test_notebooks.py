"""The example notebooks run from top to bottom."""

import ast
import json
from pathlib import Path

import pytest

pytest.importorskip("anywidget", reason="pip install .[notebook]")

FOLDER = Path(__file__).parents[1] / ".github" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def run(file):
    """The value of the last expression of each code cell, in one namespace."""
    names, shown = {"__name__": "__main__"}, []
    for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        assert not cell["outputs"], "notebooks are stored without output"
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, file.name, "exec"), names)
        if last is not None:
            shown.append(eval(compile(ast.Expression(last.value), file.name, "eval"), names))
    return names, shown


def test_there_are_three():
    assert [file.stem for file in NOTEBOOKS] == [
        "figure_for_a_paper",
        "five_minutes",
        "own_data_and_schedule",
    ]


@pytest.mark.slow
def test_five_minutes(capsys):
    names, shown = run(FOLDER / "five_minutes.ipynb")
    player, (shape, *_), error, density, figure = shown
    assert [side.path for side in player.result.sides] == ["ot", "vp"] and shape == (1_000, 2)
    assert names["error"] < 0.3 and "RMS" in error
    assert density[0] > density[1] + 1, "the second point is on an empty square"
    assert figure.data and capsys.readouterr().out


@pytest.mark.slow
def test_own_data_and_schedule():
    names, shown = run(FOLDER / "own_data_and_schedule.ipynb")
    sentence, schedule, player, (own_mean, sample_mean) = shown
    assert "600 points" in sentence and schedule.s4 == 0.1
    assert player.result.sides[1].config.data == str(names["table"])
    assert abs(own_mean.numpy() - sample_mean).max() < 1.5, "the mean of a spiral of radius 9"


def test_a_figure_for_a_paper():
    names, _ = run(FOLDER / "figure_for_a_paper.ipynb")
    assert names["file"].read_bytes().startswith(b"%PDF")
