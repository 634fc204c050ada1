import json
import math
import os
import signal
from dataclasses import replace
from functools import partialmethod

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from flowviz.cli import main
from flowviz.datasets import dataset
from flowviz.datasets.images import image_set
from flowviz.device import finest_float
from flowviz.draws import noise, stream
from flowviz.fields import LearnedField
from flowviz.fields.guided import GuidedField
from flowviz.networks import IMAGE_NETWORKS, UNet
from flowviz.objectives import OBJECTIVES
from flowviz.paths import AffinePath
from flowviz.schedulers import SCHEDULERS, scheduler
from flowviz.solvers import solve
from flowviz.training import start, train
from flowviz.training.folder import read_config, train_in_folder
from flowviz.training.image_files import sample_grid
from flowviz.training.image_presets import IMAGE_PRESETS
from flowviz.training.images import (
    IMAGE_BOUNDS,
    ImageRun,
    ImageTrainConfig,
    build_image_field,
    draw_batch,
)
from flowviz.training.nfdm import NfdmConfig, NfdmRun
from flowviz.training.plane import PlaneRun, TrainConfig
from flowviz.training.times import TIMES

DIGITS = image_set("digits")


def config(**changes):
    short = {"images": 12 * 16, "batch": 16, "warm_up": 2, "ema": 0.9}
    return ImageTrainConfig(**{"data": "digits", "network": "tiny"} | short | changes)


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], rtol=0, atol=0)


def kept(states):
    """The tensors of each state, copied, since a run advances them in place."""
    return [{name: t.clone() for name, t in state.saved_state().items()} for state in states]


@pytest.fixture(scope="module")
def uninterrupted():
    """The tensors of a run after each of its 12 steps."""
    return kept(train(config(), DIGITS))


@pytest.mark.parametrize("step", [1, 5, 11])
def test_resumed_run_is_bitwise_equal_from_any_step(uninterrupted, step):
    rest = kept(train(config(), DIGITS, saved_state=uninterrupted[step - 1]))
    assert len(rest) == 12 - step
    assert_same(rest[-1], uninterrupted[-1])


def test_resumed_dropout_is_bitwise_equal_and_does_not_use_the_global_generator(monkeypatch):
    monkeypatch.setitem(IMAGE_NETWORKS, "leaky", replace(IMAGE_NETWORKS["tiny"], dropout=0.5))
    leaky = config(network="leaky", images=4 * 16)
    complete = kept(train(leaky, DIGITS))
    states = train(leaky, DIGITS, saved_state=complete[0])
    next(states)
    before = torch.get_rng_state()
    assert_same(kept(states)[-1], complete[-1])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("objective", ["flow", pytest.param("noise", marks=pytest.mark.slow)])
def test_training_lowers_the_loss_on_a_batch(objective):
    few = replace(DIGITS, images=DIGITS.images[:16], labels=DIGITS.labels[:16])
    vp = config(path="vp", objective=objective, images=80 * 16, lr=3e-3, flips=False)
    losses = [state.loss.item() for state in train(vp, few)]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


def test_weights_of_a_run_depend_on_its_seed_only():
    drawn = build_image_field(config(), DIGITS, stream(3, "weights", 0)).state_dict()
    for path in ("ot", "vp"):
        assert_same(ImageRun(config(seed=3, path=path), DIGITS).model.state_dict(), drawn)


@pytest.mark.parametrize("path", SCHEDULERS)
def test_every_path_gets_the_same_images_noise_and_classes(path):
    one, other = draw_batch(config(), DIGITS, 3), draw_batch(config(path=path), DIGITS, 3)
    for name in ("x_0", "x_1", "y"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=0, atol=0)
    even = config(path=path, times="uniform")
    t_max = AffinePath(scheduler(path)).t_max
    first = draw_batch(config(times="uniform"), DIGITS, 3).t / AffinePath(scheduler("ot")).t_max
    torch.testing.assert_close(first * t_max, draw_batch(even, DIGITS, 3).t)


def test_level_times_give_every_path_the_same_ratios_and_ot_a_logit_normal_t():
    n = 1000
    u = (torch.arange(n) + 0.5).double() / n
    ratios = {}
    for name in ("ot", "vp", "trig"):
        path = AffinePath(scheduler(name))
        t = TIMES["level"](u, path, 0.5)
        assert ((t >= 0) & (t <= path.t_max)).all()
        rest = torch.ones(n, dtype=torch.bool)
        rest[9::10] = False  # the tenth with uniform times
        torch.testing.assert_close(t[~rest], path.t_max * (torch.arange(100) + 0.5).double() / 100)
        c = path.scheduler(t[rest])
        ratios[name] = torch.log(c.sigma / c.alpha)
        torch.testing.assert_close(ratios[name], ratios["ot"], rtol=1e-6, atol=1e-6)
    logit = -ratios["ot"] + math.log(0.5)  # log(t / (1 - t)) minus its mean
    assert logit.diff().min() > 0
    # Moments of 900 quantiles of N(0, 1.2^2); their standard deviation is slightly below 1.2.
    assert logit.mean().abs() < 1e-9
    assert logit.std().item() == pytest.approx(1.2, rel=5e-3)


def test_an_epoch_has_every_image_once_and_the_next_has_another_order():
    labels, classes = torch.arange(64), tuple(map(str, range(64)))
    labelled = replace(DIGITS, images=DIGITS.images[:64], labels=labels, classes=classes)
    run = config(drop_class=0.0)
    epochs = [
        torch.cat([draw_batch(run, labelled, 4 * e + k).y for k in range(4)]) for e in (0, 1)
    ]
    for seen in epochs:
        assert sorted(seen.tolist()) == list(range(64))
    assert not torch.equal(*epochs)


def test_shares_of_null_classes_and_flips():
    run = config(batch=4096, images=4096)
    batch = draw_batch(run, DIGITS, 0)
    # Shares of 4,096 draws, within five standard errors.
    dropped = (batch.y == 10).double().mean().item()
    assert dropped == pytest.approx(0.1, abs=5 * (0.09 / 4096) ** 0.5)
    plain = draw_batch(config(batch=4096, images=4096, flips=False), DIGITS, 0)
    flipped = (batch.x_1 != plain.x_1).flatten(1).any(1)
    torch.testing.assert_close(batch.x_1[flipped], plain.x_1[flipped].flip(-1))
    assert flipped.double().mean().item() == pytest.approx(0.5, abs=5 * (0.25 / 4096) ** 0.5)
    assert draw_batch(config(classes=False), DIGITS, 0).y is None


def test_accumulated_parts_give_the_step_of_the_whole_batch():
    one, parts = (kept(train(config(images=2 * 16, accumulate=n), DIGITS))[-1] for n in (1, 4))
    for name, tensor in one.items():
        if name.startswith("optimizer.exp_avg."):
            torch.testing.assert_close(parts[name], tensor, rtol=1e-3, atol=1e-6)


def test_learning_rate_warms_up_and_falls_to_zero():
    rates = []
    run = config(images=40, batch=1, warm_up=4)
    for state in train(run, DIGITS):
        rates.append(state.optimizer.param_groups[0]["lr"] / run.lr)
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert rates[4:] == pytest.approx([(40 - k) / 36 for k in range(4, 40)])
    assert state.lr == 0


def test_killed_run_resumes_bitwise_equal(tmp_path, monkeypatch, uninterrupted):
    monkeypatch.setattr(ImageRun, "log_every", 2)
    options = {"save_every": 0.0, "grid_every": 0}
    *_, state = train_in_folder(config(), tmp_path / "whole", DIGITS, **options)
    assert_same(state.saved_state(), uninterrupted[-1])

    # Killed: the process ends at step 7; all after the saved state of step 4 is lost.
    folder = tmp_path / "killed"
    saved = {}
    for state in train_in_folder(config(), folder, DIGITS, **options):
        if state.step == 4:
            saved = {path.name: path.read_bytes() for path in folder.glob("state-*")}
        if state.step == 7:
            break
    for path in folder.glob("state-*"):
        path.unlink()
    for name, content in saved.items():
        (folder / name).write_bytes(content)
    with (folder / "log.jsonl").open("a") as log:
        log.write('{"step": 8, "lo')
    # Stopped: a run that is closed between two steps saves its state.
    run = train_in_folder(config(), folder, DIGITS, resume=True, save_every=1e9, grid_every=0)
    assert [next(run).step for _ in range(3)] == [5, 6, 7]
    run.close()
    states = list(train_in_folder(config(), folder, DIGITS, resume=True, **options))
    assert len(states) == 5
    assert_same(states[-1].saved_state(), uninterrupted[-1])

    logs = [
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("whole", "killed")
    ]
    assert [line["step"] for line in logs[0]] == [2, 4, 6, 8, 10, 12]
    for one, other in zip(*logs, strict=True):
        assert one | {"seconds": 0} == other | {"seconds": 0}
    for name in sorted(path.name for path in (tmp_path / "whole").glob("*.safetensors")):
        original, resumed = load_file(tmp_path / "whole" / name), load_file(folder / name)
        assert_same(original, resumed)


def test_run_folder_has_two_states_and_half_precision_snapshots(tmp_path):
    run = config(images=20 * 16)
    *_, state = train_in_folder(run, tmp_path, DIGITS, save_every=0.0, grid_every=160)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        *("config.json", "log.jsonl"),
        *(f"state-{step:09d}.safetensors" for step in (19, 20)),
        *(f"snapshot-{percent:03d}.safetensors" for percent in (5, 10, 25, 50, 100)),
        *(f"grid-{step:09d}.png" for step in (10, 20)),
    }
    assert read_config(tmp_path, ImageTrainConfig) == run
    last = load_file(tmp_path / "snapshot-100.safetensors")
    assert {tensor.dtype for tensor in last.values()} == {torch.float16}
    for name, tensor in state.ema.network.state_dict().items():
        torch.testing.assert_close(last[name].float(), tensor, rtol=1e-3, atol=1e-4)


def test_unreadable_state_is_replaced_by_the_previous_one(tmp_path, uninterrupted):
    run = train_in_folder(config(), tmp_path, DIGITS, save_every=0.0, grid_every=0)
    assert [next(run).step for _ in range(4)] == [1, 2, 3, 4]
    run.close()
    newest = max(tmp_path.glob("state-*"))
    newest.write_bytes(newest.read_bytes()[:1000])
    states = list(train_in_folder(config(), tmp_path, DIGITS, resume=True, grid_every=0))
    assert states[0].step == 12 and len(states) == 9
    assert_same(states[-1].saved_state(), uninterrupted[-1])
    for path in tmp_path.glob("state-*"):
        path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"None of the saved states in .* can be read"):
        next(train_in_folder(config(), tmp_path, DIGITS, resume=True))


def test_folder_of_another_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="There is no run to resume"):
        next(train_in_folder(config(), tmp_path, DIGITS, resume=True))
    next(train_in_folder(config(), tmp_path, DIGITS, grid_every=0))
    with pytest.raises(ValueError, match=r"There is a run in .* already"):
        next(train_in_folder(config(), tmp_path, DIGITS))
    with pytest.raises(ValueError, match="has another config"):
        next(train_in_folder(config(seed=1), tmp_path, DIGITS, resume=True))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        read_config(tmp_path, ImageTrainConfig)


@pytest.mark.slow
def test_compiled_run_has_the_same_losses_and_resumes_compiled(tmp_path, monkeypatch):
    # Without the last stage, which compiles C++ for a minute. The test checks that the network is
    # captured in one graph, with its gradients, and that its weights keep their names.
    from torch._dynamo.testing import CompileCounterWithBackend  # this import takes a second

    graphs = CompileCounterWithBackend("aot_eager")
    monkeypatch.setattr(UNet, "compile", partialmethod(nn.Module.compile, backend=graphs))
    plain = [state.loss.item() for state in train(config(), DIGITS)]
    assert graphs.frame_count == 0
    run = train_in_folder(config(), tmp_path, DIGITS, compiled=True, grid_every=0)
    losses = [next(run).loss.item() for _ in range(5)]
    run.close()
    assert graphs.frame_count == 1
    for state in train_in_folder(config(), tmp_path, DIGITS, resume=True, grid_every=0):
        losses.append(state.loss.item())
    assert losses == pytest.approx(plain, rel=1e-5)
    *_, complete = train(config(), DIGITS, compiled=True)
    assert_same(state.saved_state(), complete.saved_state())


def test_resumed_run_keeps_whether_it_is_compiled(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(UNet, "compile", lambda self, **_: calls.append(1))

    def steps(folder, **options):
        run = train_in_folder(config(), tmp_path / folder, DIGITS, grid_every=0, **options)
        next(run)
        run.close()
        return len(calls)

    assert steps("plain") == 0 and steps("compiled", compiled=True) == 1
    assert steps("plain", resume=True) == 1 and steps("compiled", resume=True) == 2
    assert steps("compiled", resume=True, compiled=True) == 3
    with pytest.raises(ValueError, match="compiled is True, got False"):
        steps("compiled", resume=True, compiled=False)
    # A run of an earlier version, which did not store this, is not compiled.
    file = tmp_path / "plain" / "config.json"
    early = json.loads(file.read_text())
    assert early.pop("compiled") is False
    file.write_text(json.dumps(early))
    assert steps("plain", resume=True) == 3
    with pytest.raises(ValueError, match="compiled is False, got True"):
        steps("plain", resume=True, compiled=True)
    file.write_text(json.dumps(early | {"compiled": "no"}))
    with pytest.raises(ValueError, match="compiled must be true or false; got 'no'"):
        steps("plain", resume=True)


def distillation(**changes):
    """A run that distils an untrained field whose last layer is not zero, and that field."""
    teacher = build_image_field(config(), DIGITS, torch.Generator().manual_seed(1))
    for weight in teacher.network.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.05, generator=torch.Generator().manual_seed(2))
    return config(objective="distillation", start="teacher", **changes), teacher.eval()


def test_the_jumps_of_a_distillation_lie_on_trajectories_of_the_teacher():
    of, teacher = distillation(batch=128)
    run = start(of, DIGITS, origin=teacher)
    t, s, x_t, x_s, u, y = run._jumps()
    assert ((y == 10).double().mean() - of.drop_class).abs() < 0.1 and y.max() == 10
    equal = t == s
    torch.testing.assert_close(u[equal], teacher(t[equal], x_t[equal], y[equal]))
    assert not u[~equal].any()
    assert torch.equal(x_t[equal], x_s[equal]) and 0.05 < equal.double().mean() < 0.15
    complete = (t == 0) & (s == teacher.path.t_max)
    field = GuidedField(teacher, y[complete])
    exact = solve(field, x_t[complete], teacher.path.clock(2), "dopri5", tol=1e-5).states[-1]
    assert complete.sum() > 9 and (exact - x_t[complete]).abs().mean() > 0.3
    torch.testing.assert_close(x_s[complete], exact, atol=0.02, rtol=0)


def test_resumed_distillation_is_bitwise_equal_and_learns_the_jump(monkeypatch):
    monkeypatch.setattr("flowviz.training.images.POOL_STEPS", 20)
    of, teacher = distillation(images=48 * 16, lr=3e-3)
    complete = [run.saved_state() for run in train(of, DIGITS, origin=teacher)]
    rest = train(of, DIGITS, origin=teacher, saved_state=complete[29])  # within the second pool
    assert_same(kept(rest)[-1], complete[-1])
    x_0, y = noise(64, 9, (1, 8, 8)), torch.arange(64) % 10
    times = teacher.path.clock(2)
    exact = solve(GuidedField(teacher, y), x_0, times, "dopri5", tol=1e-4).states[-1]
    errors = []
    for state in (complete[0], complete[-1]):
        run = start(of, DIGITS, origin=teacher)
        run.restore(state)
        jumped = solve(GuidedField(run.ema, y), x_0, times, "jumps", steps=1).states[-1]
        errors.append((jumped - exact).square().mean())
    assert errors[1] < 0.5 * errors[0]


def test_diverged_run_is_an_error_and_keeps_its_last_finite_state(tmp_path, monkeypatch):
    run = train_in_folder(config(), tmp_path, DIGITS, save_every=0.0, grid_every=0)
    next(run)
    loss = LearnedField.loss
    monkeypatch.setattr(LearnedField, "loss", lambda *batch: float("nan") * loss(*batch))
    with pytest.raises(ValueError, match="diverged at step 2"):
        next(run)
    assert [path.name for path in tmp_path.glob("state-*")] == ["state-000000001.safetensors"]


@pytest.mark.parametrize("name", IMAGE_PRESETS)
def test_preset_is_a_whole_recipe(name):
    preset = IMAGE_PRESETS[name]
    assert ImageTrainConfig.from_dict(vars(preset)) == preset
    assert preset.steps * preset.batch >= preset.images


def rates(run, steps):
    """The learning rates of some steps, without training."""
    state = ImageRun.__new__(ImageRun)
    state.config = run
    made = []
    for state.step in steps:
        made.append(state.lr)
    return made


def test_published_recipes_have_their_hyperparameters():
    # torchcfm's examples/images/cifar10/train_cifar10.py: Adam at 2e-4 after 5,000 steps of rise,
    # gradients clipped at 1, EMA 0.9999, batch 128, 400,001 steps, flips, dropout 0.1, fp32.
    run = IMAGE_PRESETS["torchcfm"]
    assert (run.steps, run.batch, run.clip, run.ema) == (400_001, 128, 1.0, 0.9999)
    assert run.flips and not run.mixed and not run.classes and run.weight_decay == 0
    assert IMAGE_NETWORKS[run.network].dropout == 0.1
    assert rates(run, [0, 2_499, 4_999, 400_000]) == pytest.approx([4e-8, 1e-4, 2e-4, 2e-4])
    # Lipman et al. 2022, table 3: Adam, peak 5e-4, 45,000 steps of rise, then linearly down.
    run = IMAGE_PRESETS["paper"]
    assert (run.steps, run.batch, run.clip, run.ema) == (391_000, 256, 0.0, 0.0)
    assert not run.flips and not run.mixed and not run.classes and run.weight_decay == 0
    shape = IMAGE_NETWORKS[run.network]
    assert (shape.model_channels, shape.num_res_blocks, shape.dropout) == (256, 2, 0.0)
    assert (shape.channel_mult, shape.attention_resolutions) == ((1, 2, 2, 2), (16,))
    assert rates(run, [44_999, 218_000]) == pytest.approx([5e-4, 2.5e-4])
    for preset in ("torchcfm", "paper"):
        assert not IMAGE_PRESETS[preset].preconditioned and IMAGE_PRESETS[preset].path == "ot"


@pytest.mark.parametrize("name", IMAGE_BOUNDS)
def test_number_outside_its_bounds_is_refused(name):
    least, most = IMAGE_BOUNDS[name]
    for value in (least - 1, most + 1):
        with pytest.raises(ValueError, match=f"{name} must be in"):
            config(**{name: value})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"data": "cifar"}, "Unknown image set 'cifar'. Did you mean 'cifar10'?"),
        ({"network": "smal"}, "Did you mean 'small'?"),
        ({"times": "even"}, "Unknown distribution of times"),
        ({"accumulate": 3}, "accumulate must divide batch; got 3 and 16."),
        ({"decay": "cosine"}, "decay must be linear or constant"),
        ({"objective": "noise"}, "use the objective flow"),
        ({"network": "torchcfm"}, "set preconditioned to false"),
    ],
)
def test_invalid_config_is_refused(changes, sentence):
    with pytest.raises(ValueError) as caught:
        config(**changes)
    assert sentence in str(caught.value)


def test_guidance_extrapolates_from_the_unconditional_field_through_that_of_the_class():
    field = LearnedField(
        UNet(IMAGE_NETWORKS["tiny"], channels=1, size=8, num_classes=10),
        AffinePath(scheduler("vp")),
        OBJECTIVES["flow"],
        mean=DIGITS.mean,
        std=DIGITS.std,
    )
    for parameter in field.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(0))
    x, y = torch.randn(3, 1, 8, 8), torch.tensor([0, 1, 2])
    for t in (torch.tensor(0.3, dtype=torch.float64), torch.tensor([0.1, 0.5, 0.9])):
        free, given = (GuidedField(field, y, w)(t, x) for w in (0.0, 1.0))
        torch.testing.assert_close(given, field(t, x, y))
        torch.testing.assert_close(free, field(t, x))
        assert (given - free).abs().max() > 1e-3
        torch.testing.assert_close(GuidedField(field, y, 2.5)(t, x), free + 2.5 * (given - free))
        inside = ((t >= 0.4) & (t <= 0.6)).reshape(-1, 1, 1, 1)
        expected = torch.where(inside, free + 2.5 * (given - free), given)
        torch.testing.assert_close(GuidedField(field, y, 2.5, (0.4, 0.6))(t, x), expected)


def test_grid_has_a_row_per_class_and_is_reproducible():
    state = next(train(config(), DIGITS))
    grid = sample_grid(state, columns=2)
    assert grid.shape == (10 * 9 + 1, 2 * 9 + 1, 1) and grid.dtype == np.uint8
    assert np.array_equal(grid, sample_grid(state, columns=2))


def command(folder, *options):
    return main(["train", "--out", str(folder), *options])


def test_command_trains_stops_at_a_signal_and_resumes(tmp_path, monkeypatch, capsys):
    short = ("--data", "digits", "--preset", "tiny", "--images", "160", "--device", "cpu")
    grid = np.zeros((4, 4, 1), np.uint8)
    monkeypatch.setattr("flowviz.training.images.sample_grid", lambda _: grid)
    assert command(tmp_path / "whole", *short, "--path", "vp") == 0
    assert "step 5 of 5" in capsys.readouterr().out

    folder, advance = tmp_path / "stopped", ImageRun.advance

    def terminated(self):
        if self.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        advance(self)

    with monkeypatch.context() as patch:
        patch.setattr(ImageRun, "advance", terminated)
        assert command(folder, *short, "--path", "vp") == 128 + signal.SIGTERM
    assert "interrupted at step 3 of 5" in capsys.readouterr().err
    assert command(folder, "--data", "digits", "--resume", "--accumulate", "2") == 2
    assert "keeps its settings: accumulate is 1, got 2" in capsys.readouterr().err
    assert command(folder, "--data", "digits", "--resume", "--path", "ot") == 2
    assert "keeps its settings: path is 'vp', got 'ot'" in capsys.readouterr().err
    assert command(folder, "--data", "digits", "--resume", "--preset", "tiny") == 2
    assert "which are not those of the preset tiny" in capsys.readouterr().err
    assert command(folder, "--resume", "--compile") == 2
    assert "keeps its settings: compiled is False, got True" in capsys.readouterr().err
    assert command(folder, *short) == 2
    assert "There is a run in" in capsys.readouterr().err
    # A call ends after a step when its time is over; the state is saved.
    assert command(folder, "--data", "digits", "--resume", "--seconds", "1e-9") == 0
    assert "step 4 of 5" in capsys.readouterr().out
    assert command(folder, "--resume") == 0  # the folder shows that the run is of images
    assert command(folder, *short, "--path", "vp", "--resume") == 0  # the complete command again
    assert "nothing was done" in capsys.readouterr().out
    name = "state-000000005.safetensors"
    assert_same(load_file(folder / name), load_file(tmp_path / "whole" / name))


def test_command_refuses_options_that_images_do_not_have(tmp_path, capsys):
    assert command(tmp_path / "run", "--data", "digits", "--preset", "tiny", "--width", "9") == 2
    assert "--width is not an option of images" in capsys.readouterr().err
    for option in (("--precision", "float32"), ("--quality", "10")):
        assert command(tmp_path / "run", "--preset", "tiny", *option) == 2
        assert f"{option[0]} is not an option of images" in capsys.readouterr().err
    assert command(tmp_path / "run", "--data", "checkerboard", "--steps", "1", "--compile") == 2
    assert "Unknown image set 'checkerboard'" in capsys.readouterr().err
    assert command(tmp_path / "run", "--preset", "smal") == 2
    assert "Unknown preset 'smal'. Did you mean 'small'?" in capsys.readouterr().err
    assert command(tmp_path / "run", "--data", "digits", "--preset", "tiny", "--seconds", "0") == 2
    assert "--seconds must be positive" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_second_process_at_one_run_is_refused(tmp_path):
    first = train_in_folder(config(), tmp_path / "run", DIGITS, grid_every=0)
    next(first)
    with pytest.raises(ValueError, match="Another process uses"):
        next(train_in_folder(config(), tmp_path / "run", DIGITS, grid_every=0, resume=True))
    next(first)
    first.close()
    *_, last = train_in_folder(config(), tmp_path / "run", DIGITS, grid_every=0, resume=True)
    assert last.done


@pytest.mark.parametrize("module", ["plane", "images", "nfdm"])
def test_times_go_to_the_device_in_a_float_type_that_it_has(monkeypatch, module):
    """As on Metal, which lacks float64: such a tensor cannot be moved to the device."""
    assert finest_float(torch.device("mps")) is torch.float32
    assert finest_float(torch.device("cpu")) is torch.float64
    monkeypatch.setattr(f"flowviz.training.{module}.finest_float", lambda _: torch.float32)
    seen, moons = [], dataset("moons")
    if module == "images":
        state = ImageRun(config(), DIGITS)
        monkeypatch.setattr(state, "_mean_loss", watched(state._mean_loss, seen))
        state.advance()
    elif module == "plane":
        state = PlaneRun(TrainConfig(data="moons", steps=2), moons)
        monkeypatch.setattr(state.model, "loss", watched(state.model.loss, seen))
        state.advance()
    else:
        state = NfdmRun(NfdmConfig(data="moons"), moons)
        monkeypatch.setattr(state.model, "bound", watched(state.model.bound, seen))
        state.advance()
    assert seen == [torch.float32]


def watched(loss, seen):
    """`loss`, which notes the type of its times."""

    def noted(t, *rest, **options):
        seen.append(t.dtype)
        return loss(t, *rest, **options)

    return noted
