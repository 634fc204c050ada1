"""The command line: every command, its errors, and that a seed reproduces."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from flowviz import checkpoints, cli
from flowviz.bounds import MAX_MESSAGE
from flowviz.cli import main, printing
from flowviz.cli.printing import Progress, signals
from flowviz.cli.train import TRAINING
from flowviz.couplings import COUPLINGS
from flowviz.datasets import DATASETS, dataset
from flowviz.datasets.images import IMAGE_SETS
from flowviz.draws import stream
from flowviz.fields import exact_field
from flowviz.grids import GRIDS
from flowviz.metrics import METRICS
from flowviz.metrics.images import IMAGE_METRICS
from flowviz.networks import IMAGE_NETWORKS
from flowviz.objectives import OBJECTIVES, WEIGHTINGS
from flowviz.paths import AffinePath
from flowviz.schedulers import SCHEDULERS
from flowviz.solvers import METHODS
from flowviz.training import PlaneRun, TrainConfig
from flowviz.training.nfdm import NfdmConfig
from flowviz.training.semidiscrete import DATA_COUPLINGS

ROOT = Path(__file__).parents[1]
TINY = ["--width", "16", "--depth", "2", "--octaves", "2", "--batch", "32"]
PARSERS = cli.build_parser()._subparsers._group_actions[0].choices
COMMANDS = list(PARSERS)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A tiny checkpoint, trained by the command line."""
    out = tmp_path_factory.mktemp("cli") / "tiny.safetensors"
    options = ["--data", "checkerboard", "--path", "ot", "--steps", "20", "--quality", "60"]
    assert main(["train", *options, *TINY, "--out", str(out)]) == 0
    return out


@pytest.fixture
def points(tmp_path):
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    np.save(tmp_path / "points.npy", 2 * x.numpy())
    return tmp_path / "points.npy"


@pytest.fixture
def table(tmp_path):
    """A CSV far from the frame: its centre is (100, -50), its unit 10."""
    generator = np.random.default_rng(0)
    file = tmp_path / "table.csv"
    rows = generator.normal((100, -50), 10, (200, 2))
    file.write_text("\n".join(f"{x},{y}" for x, y in rows))
    return file


@pytest.fixture(autouse=True)
def threads():
    """Restores PyTorch's number of threads, which commands change."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def refused(capsys, *arguments):
    """The error message of a command that refuses its arguments; it must be one sentence."""
    assert main([str(argument) for argument in arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith("flowviz: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err


# Help


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_is_complete(capsys, command):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"] if command else ["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "what DATA, PATH and CHECKPOINT can be" in text
    if command:
        assert f"flowviz {command}" in text
        assert "example:" in text
    else:
        assert all(name in text for name in COMMANDS)


def test_every_option_is_explained():
    needed = {"names", "checkpoints", "data", "train", "sample", "evaluate", "logprob", "field"}
    assert needed <= PARSERS.keys()
    for parser in PARSERS.values():
        assert all(action.help for action in parser._actions)


def test_every_setting_of_a_training_run_is_an_option():
    options = {*TRAINING, "preconditioned", "steps"}
    settings, learned = ({each.name for each in fields(c)} for c in (TrainConfig, NfdmConfig))
    assert options >= settings
    assert options - settings <= learned  # a run uses the options of its own kind


def test_help_of_the_module_answers_without_pytorch():
    answer = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "flowviz", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0
    assert answer.stdout.startswith("usage: flowviz")
    modules = {line.rsplit("|")[-1].strip() for line in answer.stderr.splitlines()}
    assert "flowviz.cli" in modules
    assert not {"torch", "numpy"} & modules


def test_names_lists_every_registry(capsys):
    assert main(["names", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    registries = [DATASETS, SCHEDULERS, OBJECTIVES, COUPLINGS, METHODS, GRIDS, METRICS]
    registries += [DATA_COUPLINGS, WEIGHTINGS, IMAGE_SETS, IMAGE_NETWORKS, IMAGE_METRICS]
    assert {kind: list(names) for kind, names in listed.items()} == {
        registry.kind: list(registry) for registry in registries
    }
    assert main(["names"]) == 0
    assert "checkerboard" in capsys.readouterr().out


# Arguments


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "COMMAND"),
        (["samples"], "invalid choice: 'samples'"),
        (["names", "--all"], "arguments: --all; see `flowviz names --help`"),
        (["data"], "required: DATA, --out"),
        (["data", "checkerboard", "-n", "many", "--out", "x"], "invalid int value: 'many'"),
        (["sample", "x", "--nfe", "2", "--tol", "1e-3", "--out", "y"], "not allowed with"),
        (["train", "--out", "x", "--steps", "2", "--seconds", "1"], "not allowed with"),
    ],
)
def test_invalid_usage_is_one_sentence(capsys, arguments, sentence):
    err = refused(capsys, *arguments)
    assert sentence in err
    assert "--help" in err


def test_output_folder_is_checked_before_the_computation(capsys, tmp_path):
    out = tmp_path / "missing" / "x.npy"
    assert "does not exist; create it" in refused(capsys, "data", "moons", "--out", out)
    assert "is a folder" in refused(capsys, "data", "moons", "--out", tmp_path)
    table = tmp_path / "x.csv"
    sentence = "The file must end in .npy; got 'x.csv'."
    assert sentence in refused(capsys, "data", "moons", "--out", table)
    assert sentence in refused(capsys, "sample", "exact:moons/ot", "--out", table)


# data


@pytest.mark.parametrize("name", [*DATASETS, "mixture:0,0;2,2@0.3", "word:FLOW"])
def test_data_is_reproducible(tmp_path, name):
    files = [tmp_path / f"{i}.npy" for i in range(3)]
    for file, seed in zip(files, (4, 4, 5), strict=True):
        assert main(["data", name, "-n", "100", "--seed", str(seed), "--out", str(file)]) == 0
    first, again, other = map(np.load, files)
    assert first.shape == (100, 2)
    assert first.dtype == np.float64
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(first, dataset(name).sample(100, stream(4, "data")).numpy())


def test_data_of_a_table_is_in_its_coordinates(tmp_path, table):
    out = tmp_path / "x.npy"
    assert main(["data", str(table), "-n", "2000", "--out", str(out)]) == 0
    np.testing.assert_allclose(np.load(out).mean(axis=0), (100, -50), atol=2)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["checkerbord"], "Did you mean 'checkerboard'?"),
        (["checkerboard", "-n", "0"], "-n must be in [1,"),
        (["checkerboard", "--seed", "-1"], "--seed must be"),
        (["none.csv"], "none.csv"),
    ],
)
def test_data_refuses(capsys, tmp_path, arguments, sentence):
    assert sentence in refused(capsys, "data", *arguments, "--out", tmp_path / "x.npy")
    assert not list(tmp_path.iterdir())


# train


def test_train_writes_a_checkpoint_with_its_card(trained):
    loaded = checkpoints.load(trained)
    assert loaded.card.steps == loaded.card.training["steps"] == 20
    assert loaded.card.training["width"] == 16
    assert loaded.card.seconds > 0
    assert loaded.card.quality
    names = sorted(path.name for path in trained.parent.iterdir())
    assert names == ["tiny.json", "tiny.run", "tiny.safetensors"]


def test_training_is_reproducible(trained, tmp_path):
    out = tmp_path / "again"
    options = ["--data", "checkerboard", "--path", "ot", "--steps", "20", "--quality", "0"]
    assert main(["train", *options, *TINY, "--out", str(out)]) == 0
    again = checkpoints.load(tmp_path / "again.safetensors").card
    assert again.sha256 == checkpoints.load(trained).card.sha256
    assert not again.quality


def test_resumed_training_is_bitwise_equal(trained, tmp_path, capsys, monkeypatch):
    out = tmp_path / "cut.safetensors"
    advance = PlaneRun.advance

    def interrupt(state):
        advance(state)
        if state.step == 7:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("flowviz.training.PlaneRun.advance", interrupt)
    options = ["--data", "checkerboard", "--path", "ot", "--steps", "20", "--quality", "0"]
    assert main(["train", *options, *TINY, "--out", str(out)]) == 130
    assert "interrupted at step 7 of 20" in capsys.readouterr().err
    assert checkpoints.load(out).card.steps == 7
    monkeypatch.undo()
    assert main(["train", "--resume", "--quality", "0", "--out", str(out)]) == 0
    resumed = checkpoints.load(out).card
    assert resumed.sha256 == checkpoints.load(trained).card.sha256
    assert (resumed.steps, resumed.plans) == (20, ())
    assert main(["train", "--resume", "--out", str(out)]) == 0
    assert "all its 20 steps" in capsys.readouterr().out
    out.unlink()  # as if the machine had failed between the run's last step and its checkpoint
    assert main(["train", "--resume", "--quality", "0", "--out", str(out)]) == 0
    assert "step 20, " in capsys.readouterr().out
    assert checkpoints.load(out).card.sha256 == resumed.sha256


def test_resumed_run_keeps_its_settings_except_for_more_steps(capsys, tmp_path):
    out = tmp_path / "x.safetensors"
    start = ["train", *TINY, "--quality", "0", "--out", out]
    assert main([*map(str, start), "--steps", "10"]) == 0
    capsys.readouterr()
    err = refused(capsys, *start, "--resume", "--lr", "0.5")
    assert "lr is 0.02, got 0.5" in err
    assert "must be more" in refused(capsys, *start, "--resume", "--steps", "5")
    assert main([*map(str, start), "--resume", "--steps", "10"]) == 0  # already complete
    assert main([*map(str, start), "--resume", "--steps", "12"]) == 0
    assert "planned for 10 steps; from step 10 on" in capsys.readouterr().err
    card = checkpoints.load(out).card
    assert (card.steps, card.plans, card.training["steps"]) == (12, ((10, 12),), 12)


def test_training_ends_when_its_seconds_are_over(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("flowviz.training.steps_within", lambda *arguments: 10_000_000)
    out = tmp_path / "x.safetensors"
    assert main(["train", *TINY, "--seconds", "0.5", "--quality", "0", "--out", str(out)]) == 0
    assert "The time is over at step" in capsys.readouterr().out
    assert 0 < checkpoints.load(out).card.steps < 10_000_000


def test_seconds_choose_the_number_of_steps(tmp_path):
    out = tmp_path / "x.safetensors"
    assert main(["train", *TINY, "--seconds", "1", "--quality", "0", "--out", str(out)]) == 0
    card = checkpoints.load(out).card
    assert 0 < card.steps <= card.training["steps"] < 100_000


def test_diverged_training_saves_nothing(capsys, tmp_path):
    out = tmp_path / "x.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        advance = PlaneRun.advance

        def spoil(state):
            advance(state)
            state.loss = torch.tensor(math.nan)

        patch.setattr("flowviz.training.PlaneRun.advance", spoil)
        err = refused(capsys, "train", *TINY, "--steps", "3", "--out", out)
    assert "diverged by step 3" in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "--steps N or --seconds S"),
        (["--steps", "0"], "steps must be in 1.."),
        (["--seconds", "0"], "--seconds must be positive"),
        (["--steps", "5", "--data", "mons"], "Did you mean 'moons'?"),
        (["--steps", "5", "--path", "vpp"], "vpp"),
        (["--steps", "5", "--path", "vp:beta=3"], "beta"),
        (
            ["--steps", "5", "--objective", "noise", "--path", "ot"],
            "cannot give the velocity",
        ),
        (["--steps", "5", "--coupling", "ot"], "Unknown coupling 'ot'"),
        (["--steps", "5", "--device", "tpu"], "Unknown device 'tpu'"),
        (["--steps", "5", "--batch", "1"], "batch must be in"),
        (["--resume"], "no run to resume"),
    ],
)
def test_train_refuses(capsys, tmp_path, arguments, sentence):
    assert sentence in refused(capsys, "train", *arguments, "--out", tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())


def test_train_does_not_write_other_formats(capsys, tmp_path):
    err = refused(capsys, "train", "--steps", "5", "--out", tmp_path / "model.pt")
    assert "must end in .safetensors" in err


@pytest.mark.slow
def test_training_stops_and_saves_on_sigterm(tmp_path):
    out = tmp_path / "x.safetensors"
    command = [sys.executable, "-m", "flowviz", "train", *TINY, "--steps", "1000000"]
    with subprocess.Popen(
        [*command, "--out", str(out)], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as process:
        time.sleep(0.5)
        # Before the handler is installed, SIGTERM ends the process without saving.
        deadline = time.monotonic() + 120
        while not _handles_sigterm(process.pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
        assert "the state is saved" in process.stderr.read()
    assert checkpoints.load(out).card.steps > 0


def _handles_sigterm(pid: int) -> bool:
    """Whether a process has a handler for SIGTERM."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
    return bool(caught >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize("command", ["data", "sample"])
def test_digits_of_a_table_far_from_0_are_kept(tmp_path, command):
    """float32 would round these times in seconds to a few distinct numbers."""
    file, out = tmp_path / "times.csv", tmp_path / "x.npy"
    rows = 1.7e9 + np.random.default_rng(0).normal(size=(200, 2))
    file.write_text("\n".join(f"{x!r},{y!r}" for x, y in rows.tolist()))
    data_or_field = [str(file)] if command == "data" else [f"exact:{file}/ot", "--nfe", "4"]
    assert main([command, *data_or_field, "-n", "2000", "--out", str(out)]) == 0
    x, chosen = torch.from_numpy(np.load(out)), dataset(str(file))
    assert x.dtype == torch.float64
    assert all(len(np.unique(column)) == 2_000 for column in x.numpy().T)
    if command == "data":
        expected = chosen.sample(2_000, stream(0, "data")).double()
        assert (chosen.from_user(x) - expected).abs().max() < 1e-6
    assert (chosen.to_user(chosen.from_user(x)) - x).abs().max() < 1e-6


# sample


def test_sample_is_reproducible_and_prints_its_nfe(trained, tmp_path, capsys):
    files = [tmp_path / f"{i}.npy" for i in range(3)]
    for file, seed in zip(files, "115", strict=True):
        options = ["--solver", "midpoint", "--nfe", "8", "-n", "50", "--seed", seed]
        assert main(["sample", str(trained), *options, "--out", str(file)]) == 0
        assert "NFE 8" in capsys.readouterr().out
    first, again, other = map(np.load, files)
    assert first.shape == (50, 2)
    assert first.dtype == np.float64
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("path", SCHEDULERS)
def test_exact_field_is_a_checkpoint_too(tmp_path, path):
    out = tmp_path / "x.npy"
    source = f"exact:mixture:-2,0;2,0@0.3/{path}"
    options = ["--solver", "dopri5", "--tol", "1e-4", "-n", "500"]
    assert main(["sample", source, *options, "--out", str(out)]) == 0
    x = np.load(out)
    # Each coordinate's variance: 0.09, and 4 between the means.
    np.testing.assert_allclose(x.std(axis=0), (math.sqrt(4.09), 0.3), rtol=0.1)


def test_samples_of_a_table_are_in_its_coordinates(tmp_path, table):
    out = tmp_path / "x.npy"
    source = f"exact:{table}/ot"
    assert main(["sample", source, "-n", "1000", "--out", str(out)]) == 0
    np.testing.assert_allclose(np.load(out).mean(axis=0), (100, -50), atol=2)


def test_samples_do_not_depend_on_their_number(tmp_path, monkeypatch, trained):
    """Chunks change nothing but the memory that is needed."""
    out = [tmp_path / "whole.npy", tmp_path / "chunks.npy"]
    arguments = ["sample", str(trained), "-n", "64", "--out"]
    assert main([*arguments, str(out[0])]) == 0
    monkeypatch.setattr("flowviz.experiments.evaluate.PART", 10)
    assert main([*arguments, str(out[1])]) == 0
    np.testing.assert_allclose(*map(np.load, out), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--solver", "midpoint", "--nfe", "21"], "20 and 22"),
        (["--solver", "rk4", "--nfe", "2"], "4"),
        (["--solver", "dopri5", "--nfe", "20"], "--tol instead of --nfe"),
        (["--solver", "euler", "--tol", "1e-3"], "--nfe instead of --tol"),
        (["--solver", "dopri5", "--tol", "-1"], "--tol must be"),
        (["--solver", "dopri6"], "Unknown solver 'dopri6'. Did you mean"),
        (["-n", "0"], "-n must be"),
    ],
)
def test_sample_refuses(capsys, trained, tmp_path, arguments, sentence):
    assert sentence in refused(capsys, "sample", trained, *arguments, "--out", tmp_path / "x.npy")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("no-such-checkpoint", "Unknown checkpoint"),
        ("no-such.safetensors", "There is no file"),
        ("model.pt", "never unpickles"),
        ("exact:checkerboard", "exact:DATA/PATH"),
        ("exact:checkerbord/ot", "Did you mean 'checkerboard'?"),
        ("exact:checkerboard/otter", "otter"),
    ],
)
def test_invalid_checkpoints_are_one_sentence(capsys, tmp_path, source, sentence):
    for command in (["sample"], ["logprob", "points.npy"]):
        arguments = [command[0], source, *command[1:], "--out", tmp_path / "x.npy"]
        assert sentence in refused(capsys, *arguments)
    assert sentence in refused(capsys, "evaluate", source)


# evaluate


QUICK = ["-n", "100", "--likelihood", "20"]


def test_evaluate_measures_every_metric_at_every_nfe(trained, capsys):
    arguments = ["evaluate", str(trained), "--solver", "midpoint", "--nfe", "2", "4", *QUICK]
    assert main([*arguments, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    rows = answer["evaluations"]
    assert [row["nfe"] for row in rows] == [2, 4]
    assert all(set(row["measures"]) == set(METRICS) for row in rows)
    assert answer["likelihood"]["n"] == 20
    assert answer["data"] == "checkerboard"
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == answer
    assert main(arguments) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["nfe", "steps", *METRICS]
    assert [line.split()[:2] for line in table[1:3]] == [["2", "1"], ["4", "2"]]
    assert "KL(data || model)" in table[-1]


def test_evaluate_by_an_adaptive_solver(capsys):
    arguments = ["evaluate", "exact:moons/ot", "--solver", "bosh3", "--tol", "1e-2"]
    assert main([*arguments, "-n", "50", "--likelihood", "0", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert len(answer["evaluations"]) == 1
    assert answer["evaluations"][0]["config"]["tol"] == 1e-2
    assert answer["likelihood"] is None


def test_evaluate_saves_quality_in_the_card(trained, capsys):
    before = checkpoints.load(trained).card
    arguments = ["evaluate", str(trained), "--nfe", "6", *QUICK, "--save", "--json"]
    assert main(arguments) == 0
    answer = json.loads(capsys.readouterr().out)
    after = checkpoints.load(trained).card
    assert after.quality["evaluations"][0]["nfe"] == answer["evaluations"][0]["nfe"] == 6
    assert after.sha256 == before.sha256


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["exact:moons/ot", "--save"], "is the exact field"),
        (["exact:moons/ot", "--nfe", "4", "7"], "6 and 8"),
        (["exact:moons/ot", "--solver", "dopri5", "--nfe", "4"], "--tol instead of --nfe"),
        (["exact:moons/ot", "--likelihood", "-1"], "--likelihood must be"),
        (["exact:moons/ot", "-n", "0"], "-n must be"),
    ],
)
def test_evaluate_refuses(capsys, arguments, sentence):
    assert sentence in refused(capsys, "evaluate", *arguments)


# logprob


def density_at_the_end(chosen, path, x):
    """log p at the last time of the path (0.999 for OT), for x in coordinates of the frame."""
    affine = AffinePath(SCHEDULERS[path]())
    t_max = torch.tensor(affine.t_max, dtype=torch.float64)
    return exact_field(affine, chosen.distribution).log_density(t_max, x).numpy()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("path", ["ot", "vp", "trig"])
def test_logprob_of_a_gaussian(tmp_path, path, dtype):
    x = np.random.default_rng(0).normal((1, -1), 0.5, (40, 2)).astype(dtype)
    np.save(tmp_path / "x.npy", x)
    out = tmp_path / "logp.npy"
    data = "mixture:1,-1@0.5"
    arguments = ["logprob", f"exact:{data}/{path}", str(tmp_path / "x.npy"), "--tol", "1e-6"]
    assert main([*arguments, "--out", str(out)]) == 0
    expected = density_at_the_end(dataset(data), path, torch.tensor(x).double())
    answer = np.load(out)
    assert answer.dtype == dtype
    # VP begins with N(0.0066 x_1, ...), not with the noise: a bias of that order.
    np.testing.assert_allclose(answer, expected, rtol=0, atol=0.03 if path == "vp" else 3e-4)
    closed = -((x - (1, -1)) ** 2).sum(axis=1) / 0.5 - math.log(2 * math.pi * 0.25)
    np.testing.assert_allclose(answer, closed, rtol=0, atol=0.03)


def test_logprob_of_a_table_is_a_density_in_its_coordinates(tmp_path, table):
    chosen = dataset(str(table))
    x_1 = chosen.sample(50, torch.Generator().manual_seed(0)).double()
    np.save(tmp_path / "x.npy", chosen.to_user(x_1).numpy())
    out = tmp_path / "logp.npy"
    arguments = ["logprob", f"exact:{table}/ot", str(tmp_path / "x.npy"), "--tol", "1e-6"]
    assert main([*arguments, "--out", str(out)]) == 0
    expected = density_at_the_end(chosen, "ot", x_1) - 2 * math.log(chosen.scale)
    np.testing.assert_allclose(np.load(out), expected, rtol=0, atol=1e-3)


def test_logprob_by_a_fixed_step_solver(trained, points, tmp_path, capsys):
    out = [tmp_path / "a.npy", tmp_path / "b.npy"]
    for file, options in zip(out, ([], ["--solver", "midpoint", "--nfe", "200"]), strict=True):
        assert main(["logprob", str(trained), str(points), *options, "--out", str(file)]) == 0
    assert "NFE 200" in capsys.readouterr().out
    np.testing.assert_allclose(*map(np.load, out), atol=1e-2)


# field


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("path", ["ot", "vp"])
def test_field_of_a_gaussian_is_affine(tmp_path, path, dtype):
    x = np.random.default_rng(0).normal(0, 3, (40, 2)).astype(dtype)
    np.save(tmp_path / "x.npy", x)
    out = tmp_path / "u.npy"
    arguments = ["field", "--data", "mixture:1,-1@0.5", "--path", path, "--t", "0.6"]
    assert main([*arguments, str(tmp_path / "x.npy"), "--out", str(out)]) == 0
    answer = np.load(out)
    assert answer.dtype == dtype
    t = torch.tensor(0.6, dtype=torch.float64)
    alpha, sigma, d_alpha, d_sigma = (c.item() for c in SCHEDULERS[path]()(t))
    mean, spread = np.array([1, -1]), alpha**2 * 0.25 + sigma**2
    rate = (alpha * d_alpha * 0.25 + sigma * d_sigma) / spread
    expected = d_alpha * mean + rate * (x - alpha * mean)
    np.testing.assert_allclose(answer, expected, rtol=1e-10 if dtype == np.float64 else 1e-4)


def test_field_takes_the_parameters_of_a_path(points, tmp_path):
    out = [tmp_path / f"{i}.npy" for i in range(3)]
    for file, path in zip(out, ("vp", "vp:beta_max=20", "vp:beta_max=10"), strict=True):
        arguments = ["field", "--data", "checkerboard", "--path", path, "--t", "0.5"]
        assert main([*arguments, str(points), "--out", str(file)]) == 0
    default, same, other = map(np.load, out)
    np.testing.assert_array_equal(default, same)
    assert not np.allclose(default, other)


def test_field_of_a_table_is_in_its_coordinates(tmp_path, table):
    """At t = 0 every point moves towards the mean, (100, -50), wherever it is."""
    np.save(tmp_path / "x.npy", np.array([[100.0, -50.0]]))
    out = tmp_path / "u.npy"
    arguments = ["field", "--data", str(table), "--path", "ot", "--t", "0"]
    assert main([*arguments, str(tmp_path / "x.npy"), "--out", str(out)]) == 0
    np.testing.assert_allclose(np.load(out), [[0, 0]], atol=1.0)


@pytest.mark.parametrize(
    ("t", "path", "sentence"),
    [
        ("1.5", "ot", "t must be in [0, 0.999]"),
        ("-0.1", "ot", "t must be in [0,"),
        ("1", "vp", "t must be in [0, 0.99999]"),
        ("nan", "ot", "t must be in [0,"),
    ],
)
def test_field_refuses_times_outside_the_path(capsys, points, tmp_path, t, path, sentence):
    arguments = ["field", "--data", "moons", "--path", path, points, f"--t={t}"]
    err = refused(capsys, *arguments, "--out", tmp_path / "u.npy")
    assert sentence in err


def test_field_that_overflows_is_refused(capsys, tmp_path):
    np.save(tmp_path / "x.npy", np.array([[0.0, 0.0], [1e200, 3.0]]))
    out = tmp_path / "u.npy"
    arguments = ["field", "--data", "checkerboard", "--path", "ot", "--t", "0.5"]
    err = refused(capsys, *arguments, tmp_path / "x.npy", "--out", out)
    assert "at point 2, (1e+200, 3)" in err and "float64" in err
    assert not out.exists()


# points


def write_points(tmp_path, content):
    file = tmp_path / "p.npy"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        np.save(file, content, allow_pickle=True)
    return file


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "There is no file"),
        (b"", "must be a valid .npy file of numbers"),
        (b"x,y\n1,2\n", "must be a valid .npy file of numbers"),
        (b"PK\x05\x06" + b"\0" * 18, "must be a valid .npy file of numbers"),
        (np.zeros((3, 3)), "shape (n, 2); got (3, 3)"),
        (np.zeros((0, 2)), "shape (n, 2); got (0, 2)"),
        (np.zeros(4), "shape (n, 2); got (4,)"),
        (np.array([[1.0, np.nan]]), "must have finite points"),
        (np.array([["a", "b"]]), "must have one array of real numbers"),
        (np.array([[1j, 2]]), "must have one array of real numbers"),
        (np.array([[None, {}]]), "must be a valid .npy file of numbers"),
    ],
)
def test_invalid_points_are_one_sentence(capsys, tmp_path, content, sentence):
    file = write_points(tmp_path, content)
    out = tmp_path / "out.npy"
    arguments = ["field", "--data", "moons", "--path", "ot", file, "--t", "0.5", "--out", out]
    assert sentence in refused(capsys, *arguments)
    assert sentence in refused(capsys, "logprob", "exact:moons/ot", file, "--out", out)
    assert not out.exists()


def test_integers_are_points(tmp_path):
    np.save(tmp_path / "p.npy", np.array([[1, 2]]))
    out = tmp_path / "u.npy"
    arguments = ["field", "--data", "moons", "--path", "ot", "--t", "0.5"]
    assert main([*arguments, str(tmp_path / "p.npy"), "--out", str(out)]) == 0
    assert np.load(out).dtype == np.float64


# checkpoints, and commands in their own process


def test_checkpoints_are_listed(trained, monkeypatch, capsys):
    monkeypatch.setenv("FLOWVIZ_CHECKPOINTS", str(trained.parent))
    assert main(["checkpoints", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    row = next(row for row in rows if row["name"] == "tiny")
    assert row["file"] == str(trained)
    assert (row["data"], row["path"], row["objective"]) == ("checkerboard", "ot", "flow")
    assert row["shape"] == [2]
    assert main(["checkpoints"]) == 0
    assert "tiny" in capsys.readouterr().out
    assert main(["sample", "tiny", "-n", "5", "--out", str(trained.parent / "s.npy")]) == 0
    (trained.parent / "s.npy").unlink()


def test_damaged_checkpoint_is_reported_and_the_others_are_listed(
    trained, tmp_path, monkeypatch, capsys
):
    (tmp_path / "bad.safetensors").write_bytes(b"?")
    folders = f"{tmp_path}{os.pathsep}{trained.parent}"
    monkeypatch.setenv("FLOWVIZ_CHECKPOINTS", folders)
    assert main(["checkpoints"]) == 0
    out, err = capsys.readouterr()
    assert "tiny" in out
    assert err == "flowviz: bad.safetensors is not a safetensors file.\n"


def test_error_of_a_command_in_its_own_process(tmp_path):
    """Runs the program itself: its exit code, and no output but the sentence."""
    answer = subprocess.run(
        [sys.executable, "-m", "flowviz", "data", "bord", "--out", str(tmp_path / "x.npy")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr.startswith("flowviz: Unknown data set 'bord'.")


def test_progress_bar_is_drawn_on_a_terminal_only(capsys, monkeypatch):
    silent = Progress("training")
    silent.show(1, 2)
    silent.end()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    bar = Progress("training")
    bar.show(1, 2, "loss 0.5")
    bar.last = 0.0
    bar.show(2, 2, "loss 0.4")
    bar.end()
    text = capsys.readouterr().err
    assert "training [############............] 1/2  loss 0.5" in text
    assert text.count("\r") == 2
    assert text.endswith("\n")


def test_interrupt_is_130(monkeypatch, capsys):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("flowviz.device.limit_threads", stop)
    assert main(["checkpoints"]) == 130
    assert capsys.readouterr().err == "flowviz: interrupted.\n"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(36, "File name too long", "x" * 10**5), "File name too long (xxx"),
        (OSError(28, "No space left on device"), "Nothing was written: the disk is full. Free"),
        (MemoryError("Unable to allocate 80 GiB"), "The memory is full; take fewer"),
        (ValueError("y" * 10**5), "yyy"),
    ],
)
def test_every_error_is_one_short_sentence(monkeypatch, capsys, error, sentence):
    def fail(*arguments):
        raise error

    monkeypatch.setattr("flowviz.device.limit_threads", fail)
    assert main(["checkpoints"]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"flowviz: {sentence}") and printed.count("\n") == 1
    assert len(printed) <= MAX_MESSAGE + len("flowviz: \n")


@pytest.mark.parametrize("content", [b"PK\x03\x04", b"", b"\x93NUMPY", b"text"])
@pytest.mark.parametrize(
    "command",
    [["nearest"], ["logprob", "exact:moons/ot", "--out", "p.npy"]],
    ids=lambda command: command[0],
)
def test_file_that_starts_like_an_array_is_refused(tmp_path, capsys, command, content):
    file = tmp_path / "broken.npy"
    file.write_bytes(content)
    assert main([*command[:2], str(file), *command[2:]]) == 2
    assert "it cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["pack", "run"], ["train-classifier"]])
@pytest.mark.parametrize("out", ["", "."])
def test_out_must_have_the_name_of_a_file(capsys, command, out):
    assert main([*command, "--out", out]) == 2
    assert f"the name of a file; got {out!r}" in capsys.readouterr().err


@pytest.fixture
def interruptible():
    """SIGINT raises KeyboardInterrupt, also where a shell started the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_repeated_signals_are_one_request_and_a_later_one_exits(monkeypatch, interruptible):
    stops = []
    with signals(stops):
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)
        assert stops == [signal.SIGINT]
        monkeypatch.setattr(printing, "SAME_REQUEST", -1.0)  # even if the time were the same
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_sighup_is_a_stop_request_unless_it_was_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stops = []
        with signals(stops):
            signal.raise_signal(signal.SIGHUP)
        assert stops == []
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with signals(stops):
            signal.raise_signal(signal.SIGHUP)
        assert stops == [signal.SIGHUP] and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)
