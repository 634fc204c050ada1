"""train: a field of the plane or of images, until its steps, the clock or a signal ends it."""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowviz.cli.arguments import Commands, add_command, checked_number
from flowviz.cli.evaluate import judge
from flowviz.cli.printing import Progress, signals

if TYPE_CHECKING:
    from flowviz.checkpoints import Run
    from flowviz.training import Descent, NfdmConfig, TrainConfig
    from flowviz.training.images import ImageTrainState

QUALITY_NFES = [20, 100]
"""Field evaluations with which `train` measures what it trained, by the midpoint method."""

QUALITY_SAMPLES = 2_000
"""Samples that it draws for that if it is given no number."""

PRECISION = "float16"
"""Of the weights that it stores if it is given none."""

SAVE_EVERY = 30.0
"""Seconds between two saved states of a training run."""

TRAINING = {
    "data": (str, "DATA", "data set to learn"),
    "path": (str, "PATH", "conditional path; learned: it is trained together with its field"),
    "objective": (str, "NAME", "what the network predicts: flow, noise or score"),
    "coupling": (str, "NAME", "pairing of noise and data: independent or minibatch-ot"),
    "batch": (int, "N", "pairs a step"),
    "lr": (float, "X", "peak learning rate; it warms up, then falls linearly to 0"),
    "width": (int, "N", "units of a hidden layer"),
    "depth": (int, "N", "hidden layers"),
    "octaves": (int, "N", "frequencies of the positional features"),
    "ema": (float, "X", "decay of the averaged weights, which are the ones that are kept"),
    "seed": (int, "N", "seed of the weights and of every draw"),
    "penalty": (float, "X", "of a learned path: weight of the curvature of its flow's ways"),
    "sines": (int, "N", "of a learned path: sines of time in its mean and scale"),
}
"""Options of `train` that are fields of a TrainConfig or NfdmConfig: type, metavar, help."""


def add(commands: Commands) -> None:
    """Adds `train`."""
    training = add_command(
        commands,
        "train",
        _train,
        "train a field; an interrupted run goes on with --resume, to the bit",
        "--data checkerboard --path ot --steps 3000 --out board.safetensors",
    )
    for key, (kind, metavar, text) in TRAINING.items():
        training.add_argument(f"--{key}", type=kind, metavar=metavar, help=text)
    training.add_argument(
        "--preconditioned",
        action=argparse.BooleanOptionalAction,
        help="let the network predict the remainder of the best linear prediction",
    )
    length = training.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int, metavar="N", help="optimiser steps")
    length.add_argument(
        "--seconds",
        type=float,
        metavar="S",
        help="as many steps as fit, found by a short trial at the start; the clock has the last "
        "word, and --resume makes the steps that it cut off",
    )
    training.add_argument(
        "--device", default="auto", metavar="NAME", help="auto, cpu, cuda or mps (default: auto)"
    )
    training.add_argument(
        "--precision",
        choices=["float16", "float32"],
        help=f"of the stored weights (default: {PRECISION})",
    )
    training.add_argument(
        "--quality",
        type=int,
        metavar="N",
        help="samples to measure at the end, for the card; 0 for none "
        f"(default: {QUALITY_SAMPLES})",
    )
    training.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run saved beside FILE: options not given are that run's, and one "
        "that differs is refused, but for a new number of --steps. --device, --seconds, "
        "--precision and --quality are this call's; on another device it goes on, but not to the "
        "bit",
    )
    training.add_argument(
        "--out",
        required=True,
        metavar="FILE",
        help="checkpoint to write: FILE.safetensors, its card FILE.json, FILE.run to resume from",
    )
    images = training.add_argument_group(
        "images",
        "--data cifar10 (its official binary files in $FLOWVIZ_DATA or ./data) or digits trains a "
        "U-Net; FILE is then the folder of the run, and --seconds the length of this call alone. "
        "`torchrun --nproc-per-node N -m flowviz train ...` shares each batch between N processes",
    )
    images.add_argument(
        "--preset",
        metavar="NAME",
        help="recipe with every hyperparameter: small (the shipped ones), tiny (a first try), "
        "torchcfm or paper, as published, torchcfm without its default pairing by minibatch OT "
        "(its --model icfm, not otcfm); these two have not been run to the end here "
        "(default: small)",
    )
    images.add_argument("--images", type=int, metavar="N", help="images seen in the whole run")
    images.add_argument(
        "--accumulate",
        type=int,
        metavar="N",
        help="parts in which a process computes its share of a batch, to save memory (default: 1)",
    )
    images.add_argument(
        "--compile",
        action="store_true",
        default=None,
        help="prepare the network by torch.compile, which a run keeps. On a core of a CPU a "
        "U-Net of half the size of small trained a fifth slower so, after minutes of compiling; "
        "on CUDA it has not been measured here",
    )


def _train(options: argparse.Namespace) -> int:
    from flowviz.datasets.images import IMAGE_SETS

    of_images = (options.preset, options.images, options.accumulate, options.compile)
    if any(value is not None for value in of_images) or options.data in IMAGE_SETS:
        if options.data is not None:
            _ = IMAGE_SETS[options.data]  # what it is not is said before what follows from it
        return _train_images(options)
    if options.resume and options.data is None and (Path(options.out) / "config.json").exists():
        return _train_images(options)  # a run on images is a folder
    from flowviz.checkpoints import (
        checkpoint_file,
        describe,
        load,
        load_run,
        rewrite_quality,
        run_file,
        save,
    )
    from flowviz.datasets import dataset
    from flowviz.device import choose_device
    from flowviz.experiments.evaluate import EvaluateConfig
    from flowviz.files import check_target
    from flowviz.training import kind_of, steps_within

    out = check_target(checkpoint_file(options.out))
    if options.seconds is not None and not options.seconds > 0:
        raise ValueError(f"--seconds must be positive; got {options.seconds:g}.")
    quality = QUALITY_SAMPLES if options.quality is None else options.quality
    quality = checked_number(quality, "--quality", least=0)
    device = choose_device(options.device)
    given = {key: getattr(options, key) for key in (*TRAINING, "preconditioned", "steps")}
    given = {key: value for key, value in given.items() if value is not None}
    start = time.monotonic()
    if options.resume:
        run = load_run(run_file(out))
        config, plans = _resumed(run, given)
        chosen = dataset(config.data)
        tensors, before = run.tensors, run.seconds
    else:
        if options.steps is None and options.seconds is None:
            raise ValueError("How long to train must be given: --steps N or --seconds S.")
        config, plans, tensors, before = _config(given), (), None, 0.0
        chosen = dataset(config.data)
        if options.seconds is not None:
            trial = kind_of(config.path).state(config, chosen, device)
            steps = steps_within(options.seconds, trial, chosen)
            config = _config(given | {"steps": steps})
    train = kind_of(config.path).train

    progress = Progress("training")
    stops: list[int] = []
    state, loss, saved, timed_out = None, None, start, False
    with signals(stops):
        for state in train(config, chosen, device=device, tensors=tensors):
            now = time.monotonic()
            timed_out = options.seconds is not None and now - start >= options.seconds
            last = stops or timed_out or state.done
            saving = not last and now - saved >= SAVE_EVERY
            if last or saving or progress.due() or state.step % 500 == 0:
                loss = state.loss.item()
                if not math.isfinite(loss):
                    progress.end()
                    raise ValueError(
                        f"The training diverged by step {state.step}: its loss is not a number; "
                        "take a smaller --lr."
                    )
                progress.show(state.step, config.steps, f"loss {loss:.4f}")
            if saving:
                saved = now
                _save_run(out, state, before + now - start, plans)
            if last:
                break
        progress.end()
        if state is None:
            if _is_saved(out, config.steps):
                print(f"The run has made all its {config.steps} steps already; nothing was done.")
                return 0
            # It was ended after its last step and before its checkpoint was there.
            state = kind_of(config.path).state(config, chosen, device)
            state.restore(tensors)
        seconds = before + time.monotonic() - start
        _save_run(out, state, seconds, plans)
        card = describe(
            out.stem, asdict(config), chosen, steps=state.step, seconds=seconds, plans=plans
        )
        save(out, state.ema, card, precision=options.precision or PRECISION)
    step = f"step {state.step} of {config.steps}"
    if stops:
        print(
            f"flowviz: interrupted at {step}; all is saved, and --resume goes on.", file=sys.stderr
        )
        return 128 + stops[0]
    if timed_out and not state.done:
        print(f"The clock ran out at {step}; --resume makes the rest.")
    told = "" if loss is None else f", loss {loss:.4f}"
    print(f"{out}: step {state.step}{told}, {seconds:.1f} s")
    if quality:
        configs = [EvaluateConfig(n=quality, nfe=nfe) for nfe in QUALITY_NFES]
        field = load(out).field  # as written, rounding included
        rewrite_quality(out, judge(field, chosen, configs, min(quality, 4_000)))
    return 0


def _train_images(options: argparse.Namespace) -> int:
    from flowviz.device import choose_device
    from flowviz.distributed import processes
    from flowviz.training.image_runs import read_config, run_images
    from flowviz.training.images import IMAGE_PRESETS, ImageTrainConfig

    known = {field.name for field in fields(ImageTrainConfig)}
    of_plane = ("steps", "precision", "quality")
    keys = (*TRAINING, "preconditioned", "images", "accumulate", *of_plane)
    given = {key: getattr(options, key) for key in keys}
    given = {key: value for key, value in given.items() if value is not None}
    for key in given.keys() - known:
        raise ValueError(f"--{key} is not for images; --preset and --images say how to train.")
    if options.seconds is not None and not options.seconds > 0:
        raise ValueError(f"--seconds must be positive; got {options.seconds:g}.")
    if options.resume:
        config = read_config(options.out)
        for key, value in given.items():
            if getattr(config, key) != value:
                raise ValueError(
                    f"A resumed run keeps its settings: {key} is {getattr(config, key)!r}, got "
                    f"{value!r}; leave the option out or train afresh."
                )
        preset = options.preset
        if preset is not None and replace(IMAGE_PRESETS[preset], **given) != config:
            raise ValueError(
                f"A resumed run keeps its settings, which are not those of the preset {preset}; "
                "leave --preset out, repeat the whole command, or train afresh."
            )
    else:
        config = replace(IMAGE_PRESETS[options.preset or "small"], **given)
    progress = Progress("training")
    stops: list[int] = []
    state, start = None, time.monotonic()
    with processes(choose_device(options.device)) as group:
        states = run_images(
            config,
            options.out,
            device=group.device,
            compiled=options.compile,
            resume=options.resume,
            processes=group,
        )
        with signals(stops), closing(states):
            for state in states:
                if group.first and (progress.due() or state.done):
                    progress.show(state.step, config.steps, f"loss {state.loss.item():.4f}")
                late = options.seconds is not None and time.monotonic() - start >= options.seconds
                if group.any(bool(stops or late)):
                    break
        if group.first:
            progress.end()
            _report(options.out, state, config.steps, stops)
    return 128 + stops[0] if stops and state is not None else 0


def _report(out: str, state: "ImageTrainState | None", steps: int, stops: Sequence[int]) -> None:
    """Prints how a run on images ended."""
    if state is None:
        print(f"The run has made all its {steps} steps already; nothing was done.")
        return
    step = f"step {state.step} of {steps}"
    if stops:
        print(
            f"flowviz: interrupted at {step}; all is saved, and --resume goes on.", file=sys.stderr
        )
        return
    print(f"{out}: {step}, loss {state.loss.item():.4f}")


def _config(given: dict[str, Any]) -> "TrainConfig | NfdmConfig":
    """The config that the options of `train` say."""
    from flowviz.training import TrainConfig, kind_of

    path = given.get("path", TrainConfig.path)
    kind = kind_of(path)
    for key in given.keys() - {field.name for field in fields(kind.config)}:
        raise ValueError(f"--{key} is not for the path {path}; leave it out.")
    return kind.config(**given)


def _is_saved(out: Path, steps: int) -> bool:
    """Whether the checkpoint of a run's last step is there."""
    from flowviz.checkpoints import CheckpointError, load

    try:
        return load(out).card.steps == steps
    except CheckpointError:
        return False


def _resumed(
    run: "Run", given: dict[str, Any]
) -> tuple["TrainConfig | NfdmConfig", tuple[tuple[int, int], ...]]:
    """The config of a run that goes on, and its plans; only the number of steps may be another."""
    from flowviz.training import kind_of

    config = kind_of(str(run.training.get("path"))).config
    for key, value in given.items():
        if key != "steps" and run.training.get(key) != value:
            raise ValueError(
                f"A resumed run keeps its settings: {key} is {run.training.get(key)!r}, got "
                f"{value!r}; leave the option out or train afresh."
            )
    steps, done = given.get("steps", run.training["steps"]), int(run.tensors["step"])
    if steps == run.training["steps"]:
        return config.from_dict(run.training), run.plans
    if steps <= done:
        raise ValueError(f"The run has made {done} steps; --steps must be more than that.")
    # The learning rate falls to 0 at the last step, so that a new end is another run from here on.
    print(
        f"flowviz: the run was planned for {run.training['steps']} steps; from step {done} on the "
        f"learning rate follows {steps}.",
        file=sys.stderr,
    )
    plans = (*run.plans, (done, steps))
    return config.from_dict(run.training | {"steps": steps}), plans


def _save_run(
    out: Path, state: "Descent", seconds: float, plans: tuple[tuple[int, int], ...]
) -> None:
    from flowviz.checkpoints import run_file, save_run

    training = asdict(state.config)
    save_run(run_file(out), training, state.tensors(), seconds=seconds, plans=plans)
