"""Training on images: `train` of a field, `train-classifier`, and `pack`."""

import argparse
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowviz.cli.arguments import (
    Commands,
    NamesHelp,
    add_command,
    add_seconds,
    check_unchanged,
    deadline,
    given_options,
    named,
)
from flowviz.cli.printing import Progress, supervise

if TYPE_CHECKING:
    from flowviz.fields import LearnedField
    from flowviz.training.images import ImageTrainConfig


def add(commands: Commands) -> None:
    """Adds `train-classifier` and `pack`."""
    training = add_command(
        commands,
        "train-classifier",
        _train_classifier,
        "train the classifier that judges images; --resume continues an interrupted run",
        "--data cifar10 --out checkpoints/images/cifar10-classifier",
    )
    training.add_argument(
        "--data",
        metavar="NAME",
        help=NamesHelp(
            "image set: %(IMAGE_SETS)s (default: cifar10)", IMAGE_SETS="flowviz.datasets.images"
        ),
    )
    training.add_argument("--epochs", type=int, metavar="N", help="number of passes over the set")
    training.add_argument("--seed", type=int, metavar="N", help="of the weights and all draws")
    add_seconds(training, "end this call after S seconds; --resume makes the rest")
    training.add_argument(
        "--resume", action="store_true", help="continue the run in FILE.run with its settings"
    )
    training.add_argument(
        "--out",
        required=True,
        type=named,
        metavar="FILE",
        help="FILE.safetensors, its card FILE.json, FILE.reference.npz with the moments of the "
        "real images, and the folder FILE.run of the run",
    )

    packed = add_command(
        commands,
        "pack",
        _pack,
        "write a checkpoint in half precision from a run on images, finished or not",
        "runs/cifar10-ot --out checkpoints/images/cifar10-ot",
    )
    packed.add_argument("run", metavar="RUN", help="folder of the run")
    packed.add_argument(
        "--snapshots",
        action="store_true",
        help="also of each snapshot: FILE-005.safetensors after 5%% of the training, and so on",
    )
    packed.add_argument(
        "--out",
        required=True,
        type=named,
        metavar="FILE",
        help="FILE.safetensors, FILE.json, FILE.log.jsonl",
    )


def train_images(options: argparse.Namespace) -> int:
    """`train` of a field of images; torchrun divides its batches between processes."""
    from flowviz.cli.train import TRAINING
    from flowviz.datasets.images import image_set
    from flowviz.device import choose_device
    from flowviz.distributed import processes
    from flowviz.training.folder import read_config, train_in_folder
    from flowviz.training.image_presets import IMAGE_PRESETS
    from flowviz.training.images import ImageTrainConfig

    names = (*TRAINING, "preconditioned", "network", "images", "accumulate")
    settings = given_options(options, (*names, "steps", "precision", "quality"))
    for key in settings.keys() - {field.name for field in fields(ImageTrainConfig)}:
        raise ValueError(f"--{key} is not an option of images; use --preset and --images.")
    end = deadline(options)
    if options.resume:
        config = read_config(options.out, ImageTrainConfig)
        check_unchanged(settings, asdict(config))
        preset = options.preset and replace(IMAGE_PRESETS[options.preset], **settings)
        if preset not in (None, config):
            raise ValueError(
                "A resumed run keeps its settings, which are not those of the preset "
                f"{options.preset}; omit --preset, repeat the whole command, or start a new run."
            )
    else:
        config = replace(IMAGE_PRESETS[options.preset or "small"], **settings)
    options_of_run: dict[str, Any] = _origin(config)
    with processes(choose_device(options.device)) as group:
        runs = train_in_folder(
            config,
            options.out,
            image_set(config.data),
            device=group.device,
            compiled=options.compile,
            resume=options.resume,
            processes=group,
            **options_of_run,
        )
        run, code = supervise(runs, deadline=end)
        if group.first and run is None:
            print(f"The run has made all its {config.steps} steps; nothing was done.")
        elif group.first and run is not None and not code:
            step = f"step {run.step} of {config.steps}"
            print(f"{options.out}: {step}, loss {run.loss.item():.4f}")
    return code


def _origin(config: "ImageTrainConfig") -> "dict[str, LearnedField]":
    """The option `origin` of a run: the field that `config.start` names."""
    from flowviz.checkpoints.images import load_images

    return {"origin": load_images(config.start).field} if config.start else {}


def _train_classifier(options: argparse.Namespace) -> int:
    from flowviz.checkpoints import checkpoint_file
    from flowviz.checkpoints.images import describe_classifier, load_classifier, save_images
    from flowviz.datasets.images import image_set
    from flowviz.experiments.image_judge import measure_reference, save_reference
    from flowviz.files import check_target
    from flowviz.networks.classifier import Classifier
    from flowviz.training.classifier import ClassifierConfig, accuracy
    from flowviz.training.folder import read_config, saved_run, train_in_folder

    out = check_target(checkpoint_file(options.out))
    folder, end = out.with_suffix(".run"), deadline(options)
    settings = given_options(options, ("data", "epochs", "seed"))
    config = ClassifierConfig(**settings)
    if options.resume:
        config = read_config(folder, ClassifierConfig)
        check_unchanged(settings, asdict(config))
    train, test = image_set(config.data, "train"), image_set(config.data, "test")
    runs = train_in_folder(config, folder, train, resume=options.resume, test=test)
    run, code = supervise(runs, deadline=end)
    if run is not None and not run.done:
        if not code:
            print(f"The time is over at step {run.step} of {run.steps}; --resume makes the rest.")
        return code
    run, seconds = saved_run(config, folder, train)
    assert isinstance(run.ema, Classifier)
    right = accuracy(run.ema, test)
    card = describe_classifier(
        out.stem,
        asdict(config),
        train,
        images=run.step * config.batch,
        seconds=seconds,
        quality={"test_accuracy": right, "test_images": len(test)},
    )
    save_images(out, run.ema, card)
    card, network = load_classifier(out)  # as stored, rounding included
    with Progress("features of real images") as progress:
        save_reference(out, measure_reference(card, network, train, test, on_batch=progress.show))
    print(f"{out}: {right:.2%} of {len(test)} test images")
    return 0


def _pack(options: argparse.Namespace) -> None:
    from flowviz.checkpoints import checkpoint_file
    from flowviz.checkpoints.images import run_checkpoint, save_images, snapshot_checkpoint
    from flowviz.files import check_target, write_bytes

    run = Path(options.run)
    out = checkpoint_file(options.out)
    check_target(out)
    checkpoint = run_checkpoint(run)
    save_images(out, checkpoint.field.network, checkpoint.card)
    log = run / "log.jsonl"
    if log.is_file():
        write_bytes(out.with_suffix(".log.jsonl"), log.read_bytes())
    print(f"{out}: {checkpoint.label}, {out.stat().st_size / 1e6:.1f} MB")
    for path in sorted(run.glob("snapshot-*.safetensors")) if options.snapshots else []:
        snapshot = snapshot_checkpoint(path)
        file = out.with_name(f"{out.stem}-{path.stem.removeprefix('snapshot-')}.safetensors")
        save_images(file, snapshot.field.network, snapshot.card)
        print(f"{file}: {snapshot.label}")
