"""Solvers of other projects give the same end points for fields of flowviz as its own."""

import pytest
import torch
from torchdiffeq import odeint

import flowviz
from flowviz.draws import noise
from flowviz.interchange import for_flow_matching, for_torchcfm

FIELDS = ["checkerboard-ot", "moons-vp"]
TIMES = torch.tensor([0.0, 0.9])


@pytest.fixture(scope="module", params=[*FIELDS, "exact"])
def field(request):
    if request.param == "exact":
        return flowviz.exact_field("8gaussians", "vp")
    return flowviz.load(request.param)


@pytest.fixture(scope="module")
def expected(field):
    return flowviz.solve(field, noise(50, 0), TIMES, "midpoint", nfe=36).states[-1]


def test_solver_of_flow_matching(field, expected):
    solver = pytest.importorskip("flow_matching.solver", reason="pip install .[peers]")
    model = for_flow_matching(field)
    states = solver.ODESolver(model).sample(
        noise(50, 0), step_size=0.05, method="midpoint", time_grid=TIMES
    )
    torch.testing.assert_close(states, expected, atol=2e-4, rtol=1e-4)


def test_convention_of_torchcfm(field, expected):
    model = for_torchcfm(field)

    def wrapped(t, x):  # torchcfm.utils.torch_wrapper
        return model(torch.cat([x, t.repeat(x.shape[0])[:, None]], 1))

    with torch.no_grad():
        states = odeint(
            wrapped, noise(50, 0), TIMES, method="midpoint", options={"step_size": 0.05}
        )
    torch.testing.assert_close(states[-1], expected, atol=2e-4, rtol=1e-4)


def test_solver_of_torchdyn(field, expected):
    core = pytest.importorskip("torchdyn.core", reason="pip install torchdyn")
    wrapper = pytest.importorskip("torchcfm.utils", reason="pip install .[peers]").torch_wrapper
    node = core.NeuralODE(wrapper(for_torchcfm(field)), solver="midpoint")
    with torch.no_grad():
        states = node.trajectory(noise(50, 0), torch.linspace(0, 0.9, 19))
    torch.testing.assert_close(states[-1], expected, atol=2e-4, rtol=1e-4)


def test_times_after_the_end_of_the_path_are_its_end(field):
    model, x = for_flow_matching(field), noise(5, 0)
    with torch.no_grad():
        last = model(x=x, t=torch.tensor(1.0))
        assert last.isfinite().all()
        assert torch.equal(last, model(x=x, t=torch.tensor(field.path.t_max)))


def test_the_network_changes_device_with_the_model():
    model = for_torchcfm(flowviz.load("checkerboard-ot"))
    assert len(list(model.parameters())) > 0
