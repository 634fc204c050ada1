"""The command `experiment`: every setting explained; what it computes is what pages draw."""

import json
from dataclasses import fields

import numpy as np
import pytest

from flowviz.cli import main
from flowviz.experiments import figure4, likelihood, nfe_quality
from flowviz.experiments.catalogue import EXPERIMENTS, plain, run
from flowviz.experiments.evolution import EXACT
from flowviz.experiments.sources import exact_name
from flowviz.ui import figure4 as figure4_page
from flowviz.ui import likelihood as likelihood_page
from flowviz.ui import nfe_quality as nfe_page
from flowviz.ui.straighter import training, unlimited

PAIR = (exact_name("moons", "ot"), exact_name("moons", "vp"))


def asked(capsys, *arguments):
    """What `experiment` prints as JSON: a dict each of config and result."""
    assert main(["experiment", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)["results"]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_setting_is_explained(capsys, name):
    with pytest.raises(SystemExit) as stop:
        main(["experiment", name, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for field in fields(EXPERIMENTS[name].config):
        assert f"--{field.name}" in text


def test_without_a_name_all_are_listed(capsys):
    assert main(["experiment", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {k: e.label for k, e in EXPERIMENTS.items()}
    assert main(["experiment"]) == 0
    assert "endpoints" in capsys.readouterr().out


def test_sweep_of_the_page_is_the_command_s(capsys):
    settings = nfe_page.Settings(
        data="moons",
        labels={},
        sources=PAIR,
        methods=("euler", "dopri5"),
        grid="uniform",
        measure="sliced-w2",
        n=100,
        seed=5,
        seeds=1,
    )
    (answer,) = asked(
        capsys,
        *("nfe-quality", "--sources", *PAIR, "--methods", "euler", "dopri5"),
        *("--n", 100, "--seed", 5, "--seeds", 1),
    )
    assert nfe_quality.SweepConfig(**_tupled(answer["config"])) == settings.sweep
    drawn = {curve.config: curve for curve in nfe_quality.sweep(settings.sweep)}
    found = answer["result"]["curves"]
    assert answer["result"]["share"] == 1 and len(found) == len(drawn) == 4
    for curve, config in zip(found, settings.sweep.curves, strict=True):
        assert curve["config"]["method"] == config.method
        assert np.array(curve["mse"]) == pytest.approx(drawn[config].mse, rel=1e-12)
        assert curve["floor"]["sliced-w2"] == drawn[config].floor["sliced-w2"].tolist()
        assert set(curve) >= {"cost", "exploded", "reach", "limit", "fresh", "lost", "failures"}


def test_densities_of_the_page_are_the_command_s_at_several_times(capsys):
    model = likelihood_page.Model("exact field", "ot", EXACT, "moons")
    settings = likelihood_page.Settings(
        data="moons",
        slug="exact-ot",
        models={"exact-ot": model},
        method="midpoint",
        nfe=10,
        tol=1e-5,
        cells=12,
        probes=0,
        seed=0,
    )
    command = ["density", "--data", "moons", "--nfe", 10, "--cells", 12, "--t", 0.5, 1]
    answers = asked(capsys, *command)
    for t, answer in zip((0.5, 1.0), answers, strict=True):
        config = likelihood.DensityConfig(**answer["config"])
        drawn = settings.density(t)
        assert config == likelihood.DensityConfig(**settings.backward, t=t, cells=12)
        assert np.array(answer["result"]["density"]) == pytest.approx(drawn.density, rel=1e-6)
        assert answer["result"]["kl"] == pytest.approx(drawn.kl)


def test_figure_4_of_the_page_is_the_command_s():
    settings = figure4_page.Settings(noise=True, densities="histograms", cells=18, seed=3)
    config = settings.sheet
    assert [row.label for row in config.rows] == [row.label for row in figure4.ROWS.values()]
    row = config.rows[-1]
    assert [each.nfe for each in config.few(row, "x")] == list(figure4.NFES)
    (over,) = config.over_time(row, "x")
    assert (over.frames, over.field, over.seed, over.cells) == (10, "x", 3, 18)
    exact = figure4.SheetConfig().over_time(row, "x")
    assert [each.t for each in exact] == list(figure4.TIMES)


def test_defaults_of_the_command_are_those_of_the_pages():
    assert EXPERIMENTS["endpoints"].config() == unlimited.DEFAULT
    assert EXPERIMENTS["race"].config() == training.DEFAULT


def test_checkpoint_brings_its_data_and_path(capsys):
    (answer,) = asked(capsys, "kl", "--field", "checkerboard-vp", "--n", 8, "--t", 0.1)
    assert (answer["config"]["data"], answer["config"]["path"]) == ("checkerboard", "vp")
    assert answer["result"]["kl"] is not None


def test_trainings_report_until_they_are_complete():
    small = {"steps": 20, "width": 8, "depth": 1, "batch": 16, "data": "moons", "seeds": 1}
    *_, last = run("race", EXPERIMENTS["race"].config(**small))
    assert last.share == 1
    told = plain(last)
    assert told["steps"][-1] == 20 and told["entrants"] == list(last.entrants)
    assert told["quality"][0][0][-1] == last.quality[0, 0, -1]
    json.dumps(told, allow_nan=False)


def test_what_is_not_a_number_is_null():
    assert plain({"a": np.array([np.nan, 1.0]), "b": np.float64("inf")}) == {
        "a": [None, 1.0],
        "b": None,
    }


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["densiti"], "Did you mean 'density'?"),
        (["density", "--cell", "9", "--bad"], "see `flowviz experiment density --help`"),
        (["density", "--cells", "1"], "cells must be in"),
        (["steps"], "required: --source"),
        (["kl", "--field", "nothing"], "nothing"),
    ],
)
def test_refusals_are_one_sentence(capsys, arguments, sentence):
    assert main(["experiment", *arguments]) == 2
    err = capsys.readouterr().err
    assert sentence in err and err.count("\n") == 1


def _tupled(config):
    return {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
