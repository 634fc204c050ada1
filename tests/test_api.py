"""What `flowviz` exports, and that it agrees with the command line."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import flowviz
from flowviz.bounds import MAX_MESSAGE
from flowviz.cli import main


def test_the_functions_are_imported_at_their_first_use():
    script = (
        "import sys, flowviz; assert 'torch' not in sys.modules;"
        "flowviz.dataset; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert all(callable(getattr(flowviz, name)) for name in flowviz.EXPORTED)
    assert set(flowviz.EXPORTED) <= set(dir(flowviz))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = flowviz.nothing


def test_samples_are_those_of_the_command(tmp_path):
    out = tmp_path / "samples.npy"
    assert main(["sample", "checkerboard-ot", "--nfe", "4", "-n", "50", "--out", str(out)]) == 0
    samples = flowviz.sample(flowviz.load("checkerboard-ot"), 50, nfe=4)
    assert np.array_equal(np.load(out), samples.numpy())


def test_densities_are_in_the_coordinates_of_the_data(tmp_path):
    points = np.random.default_rng(0).normal([500.0, -3.0], [40.0, 20.0], (300, 2))
    file = tmp_path / "far.csv"
    np.savetxt(file, points, delimiter=",", header="x,y", comments="")
    field = flowviz.exact_field(str(file), "ot")
    near = torch.tensor([[500.0, -3.0]], dtype=torch.float64)
    found = flowviz.log_prob(field, near, method="midpoint", nfe=100)
    t = torch.tensor(field.path.t_max, dtype=torch.float64)
    exact = field.field.log_density(t, field.from_user(near)) - 2 * np.log(field.scale)
    assert found.log_prob.item() == pytest.approx(exact.item(), abs=0.05)
    samples = flowviz.sample(field, 500, nfe=10)
    assert samples.mean(dim=0).tolist() == pytest.approx([500, -3], abs=12)


def test_a_solve_runs_in_both_directions():
    field = flowviz.exact_field("8gaussians", "vp")
    x_0 = torch.randn(20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    times = torch.tensor([0.0, 0.8])
    there = flowviz.solve(field, x_0, times, "rk4", nfe=400)
    back = flowviz.solve(field, there.states[-1], times.flip(0), "dopri5", tol=1e-8)
    assert there.nfe == 400
    assert (back.states[-1] - x_0).abs().max() < 1e-4


def test_a_trained_field_is_saved_and_used_alike(tmp_path):
    options = {"steps": 3, "width": 16, "depth": 1, "batch": 32}
    live = flowviz.train("moons", "vp", **options)
    saved = flowviz.train("moons", "vp", out=str(tmp_path / "mine"), **options)
    # The file has 16 bits per weight.
    assert torch.allclose(flowviz.sample(live, 9), flowviz.sample(saved, 9), atol=0.02)
    assert flowviz.load(str(tmp_path / "mine")).data == "moons"
    with pytest.raises(ValueError, match="has no step"):
        flowviz.train("moons", step=3)


def test_names_and_objects_give_the_same_results():
    assert flowviz.study("losses").name == "losses"
    assert flowviz.dataset("moons").name == "moons"
    assert flowviz.scheduler("vp").label == "VP diffusion"
    with pytest.raises(ValueError, match="Did you mean 'checkerboard-ot'"):
        flowviz.load("chequerboard-ot")


WRONG = {
    "no name": lambda field: flowviz.load(None),
    "no study": lambda field: flowviz.study("nothing"),
    "a name for a field": lambda field: flowviz.sample("moons-ot", 10),
    "half a sample": lambda field: flowviz.sample(field, 1.5),
    "nfe as text": lambda field: flowviz.sample(field, 10, nfe="20"),
    "one point without its row": lambda field: flowviz.log_prob(field, torch.zeros(2)),
    "no points": lambda field: flowviz.log_prob(field, torch.zeros(0, 2)),
    "whole points": lambda field: flowviz.log_prob(field, torch.zeros(3, 2, dtype=torch.int64)),
    "states in space": lambda field: flowviz.solve(field, torch.zeros(2, 3), [0.0, 1.0]),
    "steps as text": lambda field: flowviz.train("moons", steps="10"),
}


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_a_wrong_argument_is_one_sentence(call):
    with pytest.raises(ValueError) as caught:
        call(flowviz.exact_field("moons", "ot"))
    message = str(caught.value)
    assert len(message) <= MAX_MESSAGE and "\n" not in message
    assert "must" in message or message.startswith("Unknown study")


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (lambda: flowviz.dataset("moons").distribution, "<GaussianMixture of 160 components>"),
        (lambda: flowviz.dataset("checkerboard").distribution, "<Boxes: 8 of 4 x 4 cells>"),
        (lambda: flowviz.load("checkerboard-ot"), "<FieldRef 'checkerboard-ot': "),
        (lambda: flowviz.dataset("moons"), "Dataset(name='moons', label='two moons', "),
        (lambda: flowviz.study("nfe-quality"), "<Study 'nfe-quality': "),
    ],
)
def test_a_notebook_shows_an_object_in_one_line(made, text):
    shown = repr(made())
    assert shown.startswith(text) and len(shown) < 400 and "\n" not in shown
