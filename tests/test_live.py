"""The fields of Compare that the browser computes while a control moves."""

import pytest

from flowviz.canvases.wire import header_of
from flowviz.experiments.evolution import FlowConfig
from flowviz.experiments.fields import trained_name
from flowviz.schedulers import LEARNED
from flowviz.ui import live, state

SHIPPED = trained_name("checkerboard", "vp")


def test_a_model_has_the_fields_of_both_sides():
    configs = [FlowConfig(), FlowConfig(path="vp", field=SHIPPED)]
    header = header_of(live.model(configs, {}), "fields")
    assert [side["network"] for side in header["sides"]] == [None, SHIPPED]
    assert list(header["weights"]) == [SHIPPED]
    assert {"euler", "midpoint", "rk4"} <= set(header["methods"]) and "dopri5" not in header[
        "methods"
    ]


@pytest.mark.parametrize(
    "config",
    [
        FlowConfig(path=LEARNED, field="checkerboard-learned"),
        FlowConfig(field=trained_name("checkerboard", "ot-distillation")),
    ],
    ids=["a learned path", "a flow map"],
)
def test_there_is_no_model_of_fields_that_the_engine_lacks(config):
    assert live.model([FlowConfig(), config], {}) is None


def test_own_data_of_many_points_have_no_model(monkeypatch):
    monkeypatch.setattr(live, "MAX_NUMBERS", 10)
    assert live.model([FlowConfig(data="8gaussians")], {}) is None


@pytest.mark.parametrize(("own", "right"), [(False, "nfe"), (True, "right-nfe")])
def test_each_panel_follows_its_own_controls_or_those_of_the_first(monkeypatch, own, right):
    monkeypatch.setattr(state, "selector", lambda slug: slug)
    configs = [FlowConfig(nfe=4), FlowConfig(path="vp", nfe=20)]
    found = live.values(configs, live.model(configs, {}), own_solvers=own)
    assert [side["nfe"] for side in found["controls"]["sides"]] == ["nfe", right]
    assert [side["nfe"] for side in found["sides"]] == [4, 20]
