"""train: a field of the plane or of images, for a number of steps or seconds."""

import argparse
import math
import sys
import time
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from flowviz.cli.arguments import (
    Commands,
    NamesHelp,
    add_command,
    add_device,
    add_seconds,
    check_unchanged,
    checked_number,
    deadline,
    given_options,
    print_reading,
)
from flowviz.cli.evaluate import judge
from flowviz.cli.printing import supervise
from flowviz.cli.train_images import train_images

if TYPE_CHECKING:
    import torch

    from flowviz.datasets import Dataset
    from flowviz.fields import LearnedField
    from flowviz.fields.learned_path import LearnedPathField
    from flowviz.training import NfdmConfig, TrainConfig, TrainingRun

QUALITY_NFES = [20, 100]
"""NFE at which the trained field is measured, by the midpoint method."""

QUALITY_JUMPS = [1, 2, 4, 8]
"""Numbers of jumps at which a trained flow map is measured."""

QUALITY_SAMPLES = 2_000
"""Default number of samples for that."""

PRECISION = "float16"
"""Default precision of the stored weights."""

SAVE_EVERY = 30.0
"""Seconds between two saved states."""

CHECK_EVERY = 100
"""Steps between two checks that the loss is finite."""

TRAINING = {
    "data": (str, "DATA", "data set to learn"),
    "path": (str, "PATH", "conditional path; learned: trained together with its field"),
    "objective": (
        str,
        "NAME",
        "what the network predicts: flow, noise, score or data; or how a flow map is trained: "
        "meanflow, shortcut or distillation",
    ),
    "weighting": (
        str,
        "NAME",
        "weight of the loss over time: objective, velocity, noise, data or min-snr",
    ),
    "coupling": (
        str,
        "NAME",
        "pairing of noise and data: independent, minibatch-ot or sinkhorn, of images within each "
        "class; semidiscrete, of the plane only: optimal transport between noise and the data set",
    ),
    "times": (
        str,
        "NAME",
        "how the times of a batch are drawn: uniform, level, logit-normal[:MEAN,SPREAD] or "
        "shift[:FACTOR]",
    ),
    "targets": (
        str,
        "NAME",
        "what the network is compared with: pair, the pair of noise and data of each state, or "
        "batch, the mean over all data points of the batch, which has less noise and is the "
        "default where pairs are independent",
    ),
    "batch": (int, "N", "number of pairs per step"),
    "lr": (
        float,
        "X",
        "peak learning rate; it rises, then falls linearly to 0. 0, the default, is 0.02 for up "
        "to 3 hidden layers and 0.06 / depth for more",
    ),
    "width": (int, "N", "number of units of a hidden layer"),
    "depth": (int, "N", "number of hidden layers"),
    "octaves": (int, "N", "number of frequencies of the positional features"),
    "ema": (float, "X", "decay of the moving average of the weights, which is what is stored"),
    "seed": (int, "N", "seed of the weights and of all draws"),
    "start": (
        str,
        "NAME",
        "of a flow map: checkpoint whose weights the training starts from, and which a "
        "distillation has as its teacher",
    ),
    "bridge": (
        float,
        "S",
        "from a data set: diffusion of the Brownian bridges between the pairs, whose velocity and "
        "score two networks learn (SF2M); 0, the default, for none",
    ),
    "penalty": (float, "X", "of a learned path: weight of the curvature of its trajectories"),
    "sines": (int, "N", "of a learned path: number of sines of time in its mean and scale"),
}
"""Options of `train` that are fields of a TrainConfig or NfdmConfig: type, metavar, help."""


def add(commands: Commands) -> None:
    """Adds `train`."""
    training = add_command(
        commands,
        "train",
        _train,
        "train a field; an interrupted run continues bit for bit with --resume",
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
    length.add_argument("--steps", type=int, metavar="N", help="number of optimiser steps")
    add_seconds(
        length,
        "as many steps as fit, estimated by a short trial; training ends after S seconds in any "
        "case, and --resume makes the missing steps",
    )
    add_device(training)
    training.add_argument(
        "--precision",
        choices=["float16", "float32"],
        help=f"of the stored weights (default: {PRECISION})",
    )
    training.add_argument(
        "--quality",
        type=int,
        metavar="N",
        help="number of samples measured at the end, for the card; 0 for none "
        f"(default: {QUALITY_SAMPLES})",
    )
    training.add_argument(
        "--resume",
        action="store_true",
        help="continue the run saved beside FILE with its settings; only --steps may differ. "
        "--device, --seconds, --precision and --quality apply to this call; on another device the "
        "last digits differ",
    )
    training.add_argument(
        "--out",
        required=True,
        metavar="FILE",
        help="checkpoint to write: FILE.safetensors, its card FILE.json, and FILE.run to resume "
        "from; of images the folder of the run",
    )
    _add_images(training)


def _add_images(training: argparse.ArgumentParser) -> None:
    images = training.add_argument_group(
        "images",
        NamesHelp(
            "--data %(IMAGE_SETS)s trains a network in the folder FILE; --seconds is then the "
            "length of this call. The files of a set are in $FLOWVIZ_DATA or ./data. `torchrun "
            "--nproc-per-node N -m %(prog)s ...` divides each batch between N processes",
            IMAGE_SETS="flowviz.datasets.images",
        ),
    )
    images.add_argument(
        "--preset",
        metavar="NAME",
        help=NamesHelp(
            "complete config: %(IMAGE_PRESETS)s (default: small, as the shipped fields; tiny is a "
            "first try; torchcfm, as its --model icfm, and paper are as published, untested here)",
            IMAGE_PRESETS="flowviz.training.image_presets",
        ),
    )
    images.add_argument(
        "--network",
        metavar="NAME",
        help=NamesHelp(
            "network: %(IMAGE_NETWORKS)s (default: the preset's)",
            IMAGE_NETWORKS="flowviz.networks",
        ),
    )
    images.add_argument(
        "--images", type=int, metavar="N", help="number of images seen in the whole run"
    )
    images.add_argument(
        "--accumulate",
        type=int,
        metavar="N",
        help="number of parts in which a process computes its share of a batch, to save memory "
        "(default: 1)",
    )
    images.add_argument(
        "--compile",
        action="store_true",
        default=None,
        help="prepare the network by torch.compile, for the whole run. On one CPU core a small "
        "U-Net trained a fifth slower, after minutes of compiling; not measured on CUDA",
    )


@dataclass
class _Training:
    """What a call of `train` does: which run, from which saved state, into which file."""

    config: "TrainConfig | NfdmConfig"
    data: "Dataset"
    out: Path
    precision: str
    saved_state: "dict[str, torch.Tensor] | None" = None
    plans: tuple[tuple[int, int], ...] = ()
    seconds: float = 0.0
    """Training time of earlier calls."""
    start: float = 0.0
    saved_at: float = 0.0

    def on_step(self, run: "TrainingRun", last: bool) -> None:
        """Saves the state from time to time, and state and checkpoint after the last step."""
        saving = last or time.monotonic() - self.saved_at >= SAVE_EVERY
        checked = saving or run.step % CHECK_EVERY == 0
        if checked and not math.isfinite(run.loss.item()):
            raise ValueError(
                f"The training diverged by step {run.step}: its loss is not finite; use a "
                "smaller --lr."
            )
        if saving:
            self.save(run, checkpoint=last)

    def save(self, run: "TrainingRun", *, checkpoint: bool) -> float:
        """Writes the saved state and, if wanted, the checkpoint; returns the training time."""
        from flowviz.checkpoints import describe, run_file, save, save_run
        from flowviz.fields import LearnedField
        from flowviz.fields.learned_path import LearnedPathField

        self.saved_at = time.monotonic()
        seconds, training = self.seconds + self.saved_at - self.start, asdict(run.config)
        entries = {"seconds": seconds, "plans": self.plans}
        save_run(run_file(self.out), training, run.saved_state(), **entries)
        if checkpoint:
            card = describe(self.out.stem, training, self.data, steps=run.step, **entries)
            field = run.ema
            assert isinstance(field, LearnedField | LearnedPathField)
            save(self.out, field, card, precision=self.precision)
        return seconds


def _train(options: argparse.Namespace) -> int:
    if _is_of_images(options):
        return train_images(options)
    from flowviz.checkpoints import checkpoint_file, load, rewrite_quality
    from flowviz.device import choose_device
    from flowviz.experiments.evaluate import EvaluateConfig
    from flowviz.files import check_target
    from flowviz.methods import JUMPS
    from flowviz.metrics import unbounded
    from flowviz.training import start, train

    out = check_target(checkpoint_file(options.out))
    start_time, end = time.monotonic(), deadline(options)
    quality = QUALITY_SAMPLES if options.quality is None else options.quality
    quality = checked_number(quality, "--quality", minimum=0)
    device = choose_device(options.device)
    job = _resumed(options, out) if options.resume else _new(options, out, device)
    job.start = job.saved_at = start_time
    options_of_run = {"device": device} | origin_of(job.config)
    runs = train(job.config, job.data, saved_state=job.saved_state, **options_of_run)
    run, code = supervise(runs, deadline=end, on_step=job.on_step)
    if run is None:
        if _is_written(out, job.config.steps):
            print(f"The run has made all its {job.config.steps} steps; nothing was done.")
            return 0
        # It ended after its last step and before its checkpoint was written.
        run = start(job.config, job.data, **options_of_run)
        assert job.saved_state is not None  # a new run has steps left
        run.restore(job.saved_state)
        job.save(run, checkpoint=True)
    if code:
        return code
    if not run.done:
        print(f"The time is over at step {run.step} of {run.steps}; --resume makes the rest.")
    loss = f", loss {run.loss.item():.4f}" if math.isfinite(run.loss.item()) else ""
    seconds = job.seconds + job.saved_at - start_time
    print(f"{out}: step {run.step}{loss}, {seconds:.1f} s")
    if quality:
        loaded = load(out)  # as stored, rounding included
        jumps = loaded.card.jumps
        method, nfes = (JUMPS, QUALITY_JUMPS) if jumps else (EvaluateConfig.method, QUALITY_NFES)
        configs = [EvaluateConfig(n=quality, method=method, nfe=nfe) for nfe in nfes]
        # Jumps have no density, and that of a bounded source is 0 next to it.
        without = jumps or (job.data.source and not unbounded(job.data.source.distribution))
        points = 0 if without else min(quality, 4_000)
        rewrite_quality(out, judge(loaded.field, job.data, configs, points))
    return 0


def origin_of(config: "TrainConfig | NfdmConfig") -> "dict[str, LearnedField | LearnedPathField]":
    """The option `origin` of a run in the plane: the field that `config.start` names."""
    from flowviz.checkpoints import load

    name = getattr(config, "start", "")
    return {"origin": load(name).field} if name else {}


def _is_of_images(options: argparse.Namespace) -> bool:
    """Whether the options are those of a training on images.

    Raises:
        ValueError: they are, but the data set is not one of images.
    """
    from flowviz.datasets.images import IMAGE_SETS

    if given_options(options, ("preset", "network", "images", "accumulate", "compile")):
        if options.data is not None:
            _ = IMAGE_SETS[options.data]
        return True
    if options.data is None:  # a run on images is a folder
        return options.resume and (Path(options.out) / "config.json").exists()
    return options.data in IMAGE_SETS


def _new(options: argparse.Namespace, out: Path, device: "torch.device") -> _Training:
    """A new run."""
    from flowviz.datasets import dataset
    from flowviz.training import TrainConfig, config_class, start, steps_within

    settings = given_options(options, (*TRAINING, "preconditioned", "steps"))
    if options.steps is None and options.seconds is None:
        raise ValueError("The length of the training must be given: --steps N or --seconds S.")
    path = settings.get("path", TrainConfig.path)
    kind = config_class(path)
    for key in settings.keys() - {field.name for field in fields(kind)}:
        raise ValueError(f"--{key} is not an option of the path {path}; omit it.")
    config = kind(**settings)
    data = dataset(config.data, sources=True)
    print_reading(data)
    if options.seconds is not None:
        trial = start(config, data, device, **origin_of(config))
        config = replace(config, steps=steps_within(options.seconds, trial))
    return _Training(config, data, out, options.precision or PRECISION)


def _resumed(options: argparse.Namespace, out: Path) -> _Training:
    """The run saved next to a checkpoint; only its number of steps may change."""
    from flowviz.checkpoints import load_run, run_file
    from flowviz.datasets import dataset
    from flowviz.training import config_class

    run = load_run(run_file(out))
    training, plans = dict(run.training), run.plans
    check_unchanged(given_options(options, (*TRAINING, "preconditioned")), training)
    done, planned = int(run.tensors["step"]), training["steps"]
    if options.steps not in (None, planned):
        if options.steps <= done:
            raise ValueError(f"The run has made {done} steps; --steps must be more than that.")
        # The learning rate falls to 0 at the last step, so the run differs from here on.
        print(
            f"flowviz: the run was planned for {planned} steps; from step {done} on the learning "
            f"rate follows {options.steps}.",
            file=sys.stderr,
        )
        training["steps"], plans = options.steps, (*plans, (done, options.steps))
    kind = config_class(str(training.get("path")))
    if hasattr(kind, "targets"):
        training.setdefault("targets", "pair")  # runs of earlier versions had no others
    config = kind.from_dict(training)
    data, precision = dataset(config.data, sources=True), options.precision or PRECISION
    return _Training(config, data, out, precision, run.tensors, plans, run.seconds)


def _is_written(out: Path, steps: int) -> bool:
    """Whether the checkpoint of a run's last step exists."""
    from flowviz.checkpoints import CheckpointError, load

    try:
        return load(out).card.steps == steps
    except CheckpointError:
        return False
