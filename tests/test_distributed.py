"""Several processes replace one: their shares, their gathered rows, and runs by torchrun."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from flowviz.checkpoints.images import (
    describe_classifier,
    load_classifier,
    load_images,
    save_images,
)
from flowviz.cli import main
from flowviz.datasets.images import image_set
from flowviz.distributed import ALONE, Processes, processes
from flowviz.experiments.image_judge import measure_reference, save_reference
from flowviz.networks.classifier import Classifier
from flowviz.training import images, train
from flowviz.training.classifier import ClassifierConfig
from flowviz.training.folder import train_in_folder
from flowviz.training.image_presets import IMAGE_PRESETS
from flowviz.training.images import ImageRun, ImageTrainConfig
from flowviz.training.trajectories import Jumps

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("n", [0, 1, 2, 7, 64, 1000])
@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_shares_are_contiguous_disjoint_and_even(n, world):
    rows = list(range(n))
    shares = [rows[Processes(rank, world).share(n)] for rank in range(world)]
    assert [row for share in shares for row in share] == rows
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_single_process_keeps_everything(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with processes(torch.device("cpu")) as group:
        assert group == ALONE and group.first
        rows = torch.arange(6.0).reshape(3, 2)
        torch.testing.assert_close(group.gather(rows[group.share(3)]), rows)
        torch.testing.assert_close(group.mean(rows), rows)
        assert group.any(True) and not group.any(False)


def test_batch_that_processes_cannot_share_is_refused():
    config = ImageTrainConfig(data="digits", network="tiny", batch=16, images=16)
    with pytest.raises(ValueError, match="must divide by processes and parts; got 3 processes"):
        ImageRun(config, image_set("digits"), torch.device("cpu"), processes=Processes(0, 3))


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def assert_same_run(folder, alone):
    """A folder's last state must equal that of a run of one process up to rounding.

    Gradients are summed in another order; the difference after some hundred steps is small
    compared with the weights.
    """
    end = load_file(folder / f"state-{alone.step:09d}.safetensors")
    for name, value in alone.saved_state().items():
        if name.startswith("ema."):
            assert (end[name] - value).norm() <= 1e-2 * value.norm() + 1e-4, name


SCRIPT = """
import contextlib, os, signal, sys
from flowviz.cli import main
from flowviz.training.images import ImageRun

advance = ImageRun.advance


def interrupted(self):
    advance(self)
    if self.step == 3 and self.processes.rank == 1:
        os.kill(os.getpid(), signal.SIGTERM)


out = sys.argv[1]
folder, drawn, judged = (os.path.join(out, name) for name in ("pair", "pair.npy", "judged"))
train = ["train", "--data", "digits", "--device", "cpu", "--out"]
curve = [*train, os.path.join(out, "curve"), "--preset", "tiny", "--batch", "8"]
assert main([*curve, "--images", "960"]) == 0
teacher = os.path.join(out, "images", "tiny-ot.safetensors")
distilled = [*train, os.path.join(out, "map"), *os.environ["DISTILLING"].split()]
assert main([*distilled, "--start", teacher]) == 0
train += [folder]
ImageRun.advance = interrupted
main([*train, "--preset", "tiny", "--images", "320"])
ImageRun.advance = advance
assert os.listdir(folder).count("state-000000003.safetensors") == 1
assert main([*train, "--resume"]) == 0
assert main([*train, "--preset", "tiny"]) == 2  # a run exists, which each process reports
snapshot = os.path.join(folder, "snapshot-100.safetensors")
assert main(["sample", snapshot, *os.environ["OPTIONS"].split(), "--out", drawn]) == 0
with open(judged + os.environ["RANK"], "w") as file, contextlib.redirect_stdout(file):
    assert main(["evaluate", *os.environ["JUDGING"].split()]) == 0
"""


def saved_classifier(path):
    """The file of an untrained classifier of digits, with its reference."""
    config = ClassifierConfig(data="digits", stem=4, widths=(8, 8))
    generator = torch.Generator().manual_seed(0)
    network = Classifier(channels=1, stem=4, widths=(8, 8), generator=generator).eval()
    train = image_set("digits")
    save_images(path, network, describe_classifier(path.name, asdict(config), train, images=0))
    file = path.with_suffix(".safetensors")
    save_reference(
        file, measure_reference(*load_classifier(file), train, image_set("digits", "test"))
    )
    return file


DISTILLING = "--preset tiny --objective distillation --batch 32 --images 960"
OPTIONS = "--solver midpoint --nfe 4 -n 7 --class 3 --device cpu"


@pytest.fixture(scope="module")
def pair(tmp_path_factory, tiny_images):
    """The folder and the output of one run of torchrun, which takes 10 s; its tests share it.

    Two processes of this Python run SCRIPT on the CPU, at a free port.
    """
    folder = tmp_path_factory.mktemp("pair")
    classifier = saved_classifier(folder / "classifier")
    field = Path(shutil.copytree(tiny_images / "images", folder / "images"), "tiny-ot")
    judging = f"{field}.safetensors --classifier {classifier} --nfe 2 4 -n 61 --device cpu --json"
    (folder / "script.py").write_text(SCRIPT)
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    options = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    options |= {"OPTIONS": OPTIONS, "JUDGING": f"{judging} --save", "DISTILLING": DISTILLING}
    run = subprocess.run(
        [sys.executable, *launch, folder / "script.py", folder],
        env=os.environ | options,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert run.returncode == 0, run.stderr
    return SimpleNamespace(folder=folder, out=run.stdout, field=field, judging=judging)


@pytest.mark.slow
def test_torchrun_trains_with_the_loss_curve_of_one_process(pair, tmp_path):
    run = replace(IMAGE_PRESETS["tiny"], images=120 * 8, batch=8)
    *_, alone = train_in_folder(run, tmp_path / "alone", image_set("digits"), grid_every=0)
    assert pair.out.count("step 120 of 120") == 1  # process 0 alone reports
    one, other = log_of(tmp_path / "alone"), log_of(pair.folder / "curve")
    assert [line["step"] for line in other] == [100, 120]
    for own, reference in zip(one, other, strict=True):
        assert reference["loss"] == pytest.approx(own["loss"], rel=1e-3)
    assert_same_run(pair.folder / "curve", alone)


def parts_of_two(config, teacher, monkeypatch):
    """The runs of both processes of a pair, in this process."""
    monkeypatch.setattr(images, "DistributedDataParallel", lambda module: module)
    return [
        ImageRun(config, image_set("digits"), origin=teacher, processes=Processes(rank, 2))
        for rank in (0, 1)
    ]


def test_processes_divide_the_trajectories_of_a_distillation(tiny_images, monkeypatch):
    config = replace(IMAGE_PRESETS["tiny"], objective="distillation", start="it", batch=64)
    teacher = load_images(tiny_images / "images" / "tiny-ot.safetensors").field
    monkeypatch.setattr(images, "POOL", 2)
    runs = parts_of_two(config, teacher, monkeypatch)
    first, second = (run._jumps() for run in runs)
    for run, jumps in zip(runs, (first, second), strict=True):
        assert run._pool[1].states.shape[1] == len(run._pool[1].classes) == 64
        assert len(jumps.x_t) == 32
        assert (jumps.t == jumps.s).double().mean() == pytest.approx(0.1, abs=0.06)
    starts = [run._pool[1].states[0].flatten(1) for run in runs]
    assert torch.cdist(*starts).min() > 1, "both processes follow one trajectory"
    assert not torch.equal(first.t, second.t)


@pytest.mark.slow
def test_two_processes_distil_as_one_with_the_jumps_of_both(pair, tmp_path, monkeypatch):
    file = pair.folder / "images" / "tiny-ot.safetensors"
    changes = {"objective": "distillation", "batch": 32, "images": 960, "start": str(file)}
    config, teacher = replace(IMAGE_PRESETS["tiny"], **changes), load_images(file).field
    own_jumps, parts = ImageRun._jumps, parts_of_two(config, teacher, monkeypatch)

    def jumps_of_both(self):
        both = []
        for part in parts:
            part.step = self.step
            both.append(own_jumps(part))
        return Jumps(*map(torch.cat, zip(*both, strict=True)))

    monkeypatch.setattr(ImageRun, "_jumps", jumps_of_both)
    given = {"grid_every": 0, "origin": teacher}
    *_, alone = train_in_folder(config, tmp_path / "alone", image_set("digits"), **given)
    assert log_of(pair.folder / "map")[-1]["loss"] == pytest.approx(
        log_of(tmp_path / "alone")[-1]["loss"], rel=1e-3
    )
    assert_same_run(pair.folder / "map", alone)


@pytest.mark.slow
def test_processes_stop_at_a_signal_to_one_resume_and_sample_and_evaluate_together(
    pair, tmp_path, capsys
):
    assert pair.out.count("step 10 of 10") == 1
    assert pair.out.count("7 images in") == 1 and pair.out.count("NFE 4") == 1
    *_, alone = train(replace(IMAGE_PRESETS["tiny"], images=320), image_set("digits"))
    assert_same_run(pair.folder / "pair", alone)
    snapshot = str(pair.folder / "pair" / "snapshot-100.safetensors")
    assert main(["sample", snapshot, *OPTIONS.split(), "--out", str(tmp_path / "one.npy")]) == 0
    files = tmp_path / "one.npy", pair.folder / "pair.npy"
    one, other = (np.load(file).astype(int) for file in files)
    assert one.shape == (7, 1, 8, 8)
    assert np.abs(one - other).max() <= 1  # the last digits depend on the batch
    capsys.readouterr()
    assert main(["evaluate", *pair.judging.split()]) == 0
    first, second = ((pair.folder / f"judged{rank}").read_text() for rank in (0, 1))
    assert not second  # process 0 alone reports
    one, other = json.loads(capsys.readouterr().out)["points"], json.loads(first)["points"]
    kept = json.loads(pair.field.with_suffix(".quality.json").read_text())["points"]
    assert [(point["nfe"], point["n"]) for point in kept] == [(2, 61), (4, 61)]
    for key in ("nfe", "passes", "n", "frechet", "floor", "accuracy"):
        alone, pair, saved = ([point[key] for point in points] for points in (one, other, kept))
        one_image = 1.01 / 61 if key == "accuracy" else 0  # rounding may change a class
        assert pair == pytest.approx(alone, rel=1e-3, abs=one_image)
        assert saved == pytest.approx(pair, rel=1e-3)  # printed numbers are rounded
