"""The self-test of a machine passes here and detects errors."""

import shutil
from dataclasses import replace

import pytest
import torch

from flowviz.checkpoints import find, lookup
from flowviz.cli import main
from flowviz.experiments import self_test
from flowviz.fields import LearnedField
from flowviz.methods import METHODS
from flowviz.schedulers import SCHEDULERS, CondOT


@pytest.mark.slow
def test_the_command_passes_here(capsys):
    assert main(["check", "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert "FAILED" not in printed and "device cpu" in printed and "steps/s" in printed


def failed(checks):
    return [each.name for each in checks if not each.passed]


def test_correct_formulas_pass():
    assert not failed(self_test.schedules())
    assert not failed(self_test.orders())


def test_a_wrong_derivative_is_detected(monkeypatch):
    class Wrong(CondOT):
        def __call__(self, t):
            return super().__call__(t)._replace(d_alpha=torch.full_like(t, 1.001))

    monkeypatch.setitem(SCHEDULERS, "ot", Wrong)
    assert failed(self_test.schedules()) == ["ot"]


def test_a_method_of_a_lower_order_is_detected(monkeypatch):
    monkeypatch.setitem(METHODS, "rk4", replace(METHODS["rk4"], step=METHODS["midpoint"].step))
    assert failed(self_test.orders()) == ["rk4"]


def test_a_damaged_checkpoint_is_detected(monkeypatch, tmp_path):
    for suffix in (".safetensors", ".json"):
        for name in ("moons-ot", "moons-vp"):
            shutil.copy(find(name).with_suffix(suffix), tmp_path)
    file = tmp_path / "moons-vp.safetensors"
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    monkeypatch.setattr(lookup, "folders", lambda: [tmp_path])
    found = list(self_test.checkpoint_hashes())
    assert failed(found) == ["moons-vp", "2 files have the weights of their cards"]
    assert "sha256" in found[0].note


def test_another_precision_than_the_device_has_is_noticed(monkeypatch):
    forward = LearnedField.forward
    monkeypatch.setattr(
        LearnedField,
        "forward",
        lambda self, t, x, y=None: (
            forward(self, t, x, y) * (1.001 if x.dtype == torch.float32 else 1)
        ),
    )
    found = [each for each in self_test.fields_on(torch.device("cpu")) if "network" in each.group]
    assert len(found) == 3 and "checkerboard-ot" in failed(found)


def test_a_number_without_a_bound_passes_and_nan_does_not():
    assert self_test.Check("speed", "x", 1.0).passed
    assert not self_test.Check("order", "x", float("nan"), 1.0).passed
    assert not self_test.Check("order", "x", float("nan"), 1.0, least=True).passed
