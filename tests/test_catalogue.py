"""The command `experiment`: every setting explained; what it computes is what pages draw."""

import json
from dataclasses import asdict, fields

import numpy as np
import pytest

from flowviz.cli import main
from flowviz.experiments import likelihood, posterior
from flowviz.experiments.catalogue import EXPERIMENTS, plain
from flowviz.experiments.evolution import EXACT, FlowConfig, SceneConfig
from flowviz.experiments.particles import NoiseConfig
from flowviz.experiments.schedules import SchedulesConfig
from flowviz.experiments.sources import exact_name
from flowviz.ui import likelihood as likelihood_page
from flowviz.ui import particles as particles_page
from flowviz.ui.why import results

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
        assert f"--{field.name.replace('_', '-')}" in text


def test_without_a_name_all_are_listed(capsys):
    assert main(["experiment", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {k: e.label for k, e in EXPERIMENTS.items()}
    assert main(["experiment"]) == 0
    assert "endpoints" in capsys.readouterr().out


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


GAUSSIAN = "mixture:1,0@0.8"
"""On which closed forms are quick."""


def test_particles_of_the_page_are_the_command_s(capsys):
    settings = particles_page.Settings(
        data=GAUSSIAN,
        path="shaped:a1=0.2",
        field=EXACT,
        sampler="ancestral",
        noise=0.5,
        nfe=4,
        shown=6,
        seed=3,
    )
    way = particles_page.ways(settings)[-1]
    agrees(capsys, "particles", way.config, way.result)


@pytest.mark.parametrize(
    ("name", "config", "compute"),
    [
        ("schedules", SchedulesConfig(paths=("ot", "shaped:a1=0.2"), points=9), None),
        ("sde-noise", NoiseConfig(path="trig", noise=0.5, points=9), None),
        ("touch", posterior.TouchConfig(data=GAUSSIAN, n=9, seed=3), results.touch),
        ("conditional", posterior.ConditionalConfig(paths="vp ot", n=3), results.conditional),
        ("conversions", posterior.ConversionConfig(data=GAUSSIAN, t=0.2), results.conversions),
        ("flow", FlowConfig(data=GAUSSIAN, nfe=4, n=9, frames=3), None),
        ("scene", SceneConfig(data=GAUSSIAN, frames=2), None),
    ],
)
def test_what_else_pages_draw_is_the_command_s(capsys, name, config, compute):
    """`compute` is the page's own function, where it keeps results."""
    agrees(capsys, name, config, (compute or EXPERIMENTS[name].compute)(config))


def agrees(capsys, name, config, result):
    """Asks the command for a page's config: it must tell of that config, and the same numbers."""
    given = {k: v for k, v in asdict(config).items() if v not in ((), "")}
    settings = [
        [f"--{key.replace('_', '-')}", *(value if isinstance(value, tuple) else (value,))]
        for key, value in given.items()
    ]
    (answer,) = asked(capsys, name, *(part for setting in settings for part in setting))
    assert type(config)(**_tupled(answer["config"])) == config
    assert answer["result"] == json.loads(json.dumps(plain(result), allow_nan=False))


def test_checkpoint_brings_its_data_and_path(capsys):
    (answer,) = asked(capsys, "kl", "--field", "checkerboard-vp", "--n", 8, "--t", 0.1)
    assert (answer["config"]["data"], answer["config"]["path"]) == ("checkerboard", "vp")
    assert answer["result"]["kl"] is not None


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
        (["kl", "--field", "nothing"], "nothing"),
    ],
)
def test_refusals_are_one_sentence(capsys, arguments, sentence):
    assert main(["experiment", *arguments]) == 2
    err = capsys.readouterr().err
    assert sentence in err and err.count("\n") == 1


def _tupled(config):
    return {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
