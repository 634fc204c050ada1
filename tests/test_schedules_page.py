"""The page of schedules: its figure, its sentences, and a shape that all pages use."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from flowviz.experiments.schedules import PRESETS, SchedulesConfig, compute_schedules, presets
from flowviz.schedulers import SCHEDULERS, Shaped, scheduler
from flowviz.studies import STUDIES
from flowviz.ui import paths, why

ROOT = Path(__file__).parents[1]


def test_presets_are_shapes_near_the_paths_that_they_are_named_after() -> None:
    found = presets()
    assert Shaped(*sum(found.pop("S-curve"), ())) == Shaped()
    for name, (alpha, sigma) in zip(PRESETS, found.values(), strict=True):
        assert Shaped(*alpha, *sigma)
        t = np.array(Shaped.KNOTS)
        own = scheduler(name)(torch.from_numpy(t))
        np.testing.assert_allclose(alpha, own.alpha, atol=0.02)
        np.testing.assert_allclose(sigma, own.sigma, atol=0.03)


@pytest.mark.parametrize("spec", SCHEDULERS)
def test_sentences_about_a_path_are_true(spec: str) -> None:
    (facts,) = compute_schedules(SchedulesConfig(paths=(spec,))).courses
    assert 0 < facts.window[0] < facts.even < facts.window[1] < 1
    assert (facts.circle < 1e-6) == (spec in ("vp", "trig"))
    if spec == "ot":
        assert facts.even == pytest.approx(0.5)
        assert facts.window == pytest.approx((1 / 11, 10 / 11))
    if spec == "trig":
        assert facts.fastest == pytest.approx(math.pi / 2)


@pytest.mark.parametrize("against", ["t", "log-snr"])
def test_the_figure_has_every_path_in_every_panel(against: str) -> None:
    study = STUDIES["schedules"]
    config = study.config(paths=("ot", "vp", "shaped"), axis=against)
    result = study.result(config)
    (named,) = study.draw(config, result)
    drawn, lines = named.figure, result.courses
    (trig,) = compute_schedules(SchedulesConfig(paths=("trig",))).courses
    assert len(drawn.data) == 6 * len(lines)
    assert [trace.name for trace in drawn.data if trace.showlegend] == [
        "conditional OT", "VP diffusion", "your own schedule"
    ]  # fmt: skip
    assert drawn.data[0].line.color != drawn.data[1].line.color
    assert max(trace.line.width for trace in drawn.data) == drawn.data[2].line.width
    if against == "log-snr":  # two variance-preserving paths differ only in the time axis
        vp = lines[1]
        inside = (vp.log_snr > -9) & (vp.log_snr < 9)
        moved = np.interp(vp.log_snr[inside], trig.log_snr[1:], trig.alpha[1:])
        np.testing.assert_allclose(moved, vp.alpha[inside], atol=1e-3)


def test_links_have_separate_parameters_for_path_and_shape() -> None:
    assert paths.link(left="ot", right="vp") == {"left": "ot", "right": "vp"}
    assert paths.link(left="ot", right="shaped") == {"left": "ot", "right": "shaped"}
    linked = paths.link(left="shaped:a1=0.2,s4=0.3", right="ot")
    assert linked == {"left": "shaped", "right": "ot", "shape": "a1=0.2,s4=0.3"}


def test_a_shape_is_used_on_every_page_at_once() -> None:
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    app.query_params["shape"] = "a1=0.25"
    app.switch_page("pages/schedules.py").run()
    assert not app.exception and not app.toast
    assert app.query_params["shape"] in ("a1=0.25", ["a1=0.25"])
    app.query_params.clear()
    app.switch_page("pages/particles.py").run()
    menu = next(box for box in app.selectbox if box.key.endswith(":path"))
    menu.select("shaped").run()
    assert not app.exception
    assert app.query_params["shape"] in ("a1=0.25", ["a1=0.25"])


def test_conversions_offer_networks_of_the_same_shape_only(monkeypatch) -> None:
    requested = []
    monkeypatch.setattr(why, "networks", lambda data, path: requested.append(path) or {})

    def app():
        from flowviz.ui import why

        why._conversions("8gaussians", "shaped:a1=0.2")

    assert not AppTest.from_function(app).run(timeout=30).exception
    assert requested == ["shaped:a1=0.2"]
