"""Plain velocity networks of other projects: recognised by shapes, equal to their modules."""

import pytest
import safetensors.torch
import torch
from streamlit.testing.v1 import AppTest
from torch import nn

from flowviz import checkpoints
from flowviz.checkpoints import CheckpointError, opened
from flowviz.checkpoints.foreign.plain import PlainAssumptions, is_plain, load_plain
from flowviz.cli import main
from flowviz.datasets import dataset
from flowviz.experiments.evolution import SceneConfig, compute_scene


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWVIZ_HOME", str(tmp_path))
    return tmp_path


class Swish(nn.Module):
    def forward(self, x):
        return torch.sigmoid(x) * x


class TutorialMLP(nn.Module):
    """The network of flow_matching's notebook 2d_flow_matching, called with x and t."""

    def __init__(self, hidden=32):
        super().__init__()
        self.main = nn.Sequential(
            nn.Linear(3, hidden), Swish(), nn.Linear(hidden, hidden), Swish(), nn.Linear(hidden, 2)
        )

    def forward(self, x_and_t):
        return self.main(x_and_t)


def torchcfm():
    models = pytest.importorskip("torchcfm.models", reason="pip install .[peers]")
    return models.MLP(dim=2, w=16, time_varying=True)


def bare():
    return nn.Sequential(nn.Linear(3, 8, bias=False), nn.Tanh(), nn.Linear(8, 2))


CASES = {
    "torchcfm": (torchcfm, "", "selu", "torchcfm's MLP; activation SELU, assumed"),
    "flow_matching": (TutorialMLP, "", "silu", "flow_matching's tutorial MLP; activation SiLU"),
    "bare": (bare, "tanh", "tanh", "a plain network; activation tanh, as chosen"),
}


def saved(module, file):
    """The weights of a module as a file; a trainer wraps those of torch.save."""
    if file.suffix == ".safetensors":
        safetensors.torch.save_file(module.state_dict(), file)
    else:
        torch.save({"model": module.state_dict(), "step": 3}, file)
    return file


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("case", CASES)
def test_a_network_has_the_velocity_of_its_own_module(case, suffix, tmp_path):
    make, chosen, activation, about = CASES[case]
    torch.manual_seed(0)
    module = make()
    file = saved(module, tmp_path / f"net{suffix}")
    assert is_plain(file)
    found = load_plain(file, file.name, PlainAssumptions(data="moons", activation=chosen))
    x, t = torch.randn(50, 2), torch.rand(50)
    velocities = module(torch.cat([x, t[:, None]], dim=1))
    torch.testing.assert_close(found.field(t, x), velocities)
    torch.testing.assert_close(found.field(t[0], x[:1]), velocities[:1])
    assert found.card.network["activation"] == activation
    assert about in found.card.network["about"] and "two moons" in found.card.network["about"]


def test_a_saved_network_is_the_same_field_and_has_an_exact_field_only_for_known_data(tmp_path):
    file = saved(TutorialMLP(), tmp_path / "net.pt")
    for data, known in (("moons", True), ("unknown", False)):
        assume = PlainAssumptions(data=data)
        card = opened.keep_plain(file.read_bytes(), file.name, assume)
        field = checkpoints.load(card.name).field
        x, t = torch.randn(20, 2), torch.rand(20)
        direct = load_plain(file, file.name, assume).field
        torch.testing.assert_close(field(t, x), direct(t, x))
        scene = compute_scene(
            SceneConfig(data=card.data, field=card.name, frames=2, cells=8, difference_cells=8)
        )
        assert (scene.difference is not None) == known
        assert dataset(card.data).estimated != known


def refusals():
    linear = nn.Linear
    return {
        "activation": (nn.Sequential(linear(3, 4), nn.ReLU(), linear(4, 2)), "choose one: selu"),
        "inputs": (nn.Sequential(linear(2, 4), nn.ReLU(), linear(4, 2)), r"3 numbers \[x, t\]"),
        "norm": (nn.Sequential(linear(3, 4), nn.LayerNorm(4), linear(4, 2)), "two dimensions"),
        "chain": (nn.ModuleDict({"net": nn.ModuleList([linear(3, 4), linear(5, 2)])}), "follow"),
        "no layers": (nn.ModuleDict({"embed": nn.Embedding(3, 2)}), "linear layers alone"),
    }


@pytest.mark.parametrize("case", refusals())
def test_other_networks_are_refused_in_one_sentence(case, tmp_path):
    module, sentence = refusals()[case]
    file = saved(module, tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match=sentence):
        load_plain(file, file.name, PlainAssumptions())


def test_a_pickle_that_names_code_is_refused_and_not_run(tmp_path):
    class Attack:
        def __reduce__(self):
            return eval, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

    file = tmp_path / "net.pt"
    torch.save({"net.0.weight": Attack()}, file)
    with pytest.raises(CheckpointError):
        load_plain(file, file.name, PlainAssumptions())
    assert not is_plain(file) and not (tmp_path / "ran").exists()


def test_the_command_line_samples_and_imports_a_network(tmp_path, capsys):
    file = saved(TutorialMLP(8), tmp_path / "net.pt")
    assert main(["sample", str(file), "-n", "50", "--nfe", "4", "--out", f"{tmp_path}/s.npy"]) == 0
    assert "flow_matching's tutorial MLP" in capsys.readouterr().err
    chosen = ["--data", "moons", "--path", "vp", "--activation", "relu"]
    assert main(["import", str(file), *chosen, "--out", str(tmp_path / "mine")]) == 0
    card = checkpoints.read_card(tmp_path / "mine.safetensors")
    assert (card.data, card.path, card.network["activation"]) == ("moons", "vp", "relu")


@pytest.mark.parametrize("name", ["moons-ot", "images/cifar10-ot"])
def test_import_of_a_checkpoint_of_flowviz_is_refused_as_such(name, tmp_path, capsys):
    file = f"{checkpoints.FOLDER / name}.safetensors"
    assert main(["import", file, "--out", str(tmp_path / "mine")]) == 2
    assert "flowviz wrote it" in capsys.readouterr().err


@pytest.mark.parametrize("data", ["moons", "unknown"])
def test_compare_opens_an_upload(data, tmp_path):
    def app():
        import streamlit as st

        from flowviz.ui import foreign

        opened = lambda page, query_params: st.json(query_params)  # noqa: E731
        st.switch_page, before = opened, st.switch_page
        try:
            foreign.opener()
        finally:
            st.switch_page = before

    test = AppTest.from_function(app, default_timeout=30).run()
    content = saved(TutorialMLP(8), tmp_path / "net.pt").read_bytes()
    test.file_uploader[0].upload("net.pt", content, "application/octet-stream").run()
    assert not test.exception and not test.error
    test.selectbox[1].set_value(data)
    test.button[0].click().run()
    assert not test.exception and not test.error
    link = test.json[0].value
    assert '"left-network":"open-' in link.replace(" ", "")
    assert ("right-network" in link) == (data == "unknown")
