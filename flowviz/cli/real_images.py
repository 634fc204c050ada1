"""Commands on real images: `nearest` compares samples with them, `bpd` measures their density."""

import argparse
import json
import math
from dataclasses import asdict
from pathlib import Path

from flowviz.cli.arguments import (
    Commands,
    NamesHelp,
    add_command,
    add_device,
    add_json,
    add_number,
    checked_number,
    checked_seed,
    read_npy,
    tolerance,
)
from flowviz.cli.images import load_checkpoint
from flowviz.cli.printing import Progress, rounded, table

IMAGE_SET = NamesHelp("image set: %(IMAGE_SETS)s", IMAGE_SETS="flowviz.datasets.images")


def add(commands: Commands) -> None:
    """Adds `nearest` and `bpd`."""
    nearest = add_command(
        commands,
        "nearest",
        _nearest,
        "find the training images nearest to samples, to see whether they are copies",
        "samples.npy --data cifar10 --json",
    )
    nearest.add_argument("samples", metavar="SAMPLES", help=".npy of uint8 images (n, C, H, W)")
    nearest.add_argument("--data", default="cifar10", metavar="NAME", help=IMAGE_SET)
    nearest.add_argument(
        "--classifier", metavar="NAME", help="search by the features of this classifier, too"
    )
    add_json(nearest)

    bits = add_command(
        commands,
        "bpd",
        _bits,
        "estimate the bits per dimension of real images under a checkpoint, by Hutchinson",
        "cifar10-ot -n 64 --probes 4",
    )
    bits.add_argument("checkpoint", metavar="CHECKPOINT", help="name or file")
    bits.add_argument("--data", metavar="NAME", help=IMAGE_SET)
    bits.add_argument("--split", default="test", metavar="NAME", help="test or train")
    add_number(bits, "-n", 16, "number of images")
    add_number(bits, "--probes", 1, "number of random probes per solve", "K")
    add_number(bits, "--draws", 1, "number of dequantisations per image", "K")
    add_number(bits, "--seed", 0, "seed")
    bits.add_argument(
        "--labels", action="store_true", help="condition the network on the class of each image"
    )
    bits.add_argument("--tol", type=float, metavar="X", help="of dopri5 (default: 1e-5)")
    add_device(bits)
    add_json(bits)


def _nearest(options: argparse.Namespace) -> None:
    import numpy as np

    from flowviz.datasets.images import image_set
    from flowviz.experiments.image_copies import nearest_training
    from flowviz.experiments.image_judge import classifier_judge

    path = Path(options.samples)
    images = read_npy(path, ".npy file of images")
    train, test = image_set(options.data, "train"), image_set(options.data, "test")
    shape = tuple(train.images.shape[1:])
    if images.dtype != np.uint8 or images.shape[1:] != shape or not len(images):
        raise ValueError(f"{path} must hold uint8 images (n, {', '.join(map(str, shape))}).")
    judge = classifier_judge(options.classifier) if options.classifier else None
    with Progress("features of training images") as progress:
        result = nearest_training(
            *(images, train, test),
            judge=judge,
            on_batch=lambda done: progress.show(done, len(train)),
        )
    distance, floor = result.pixel_distance, result.floor
    if options.json:
        answer = {key: None if v is None else v.tolist() for key, v in asdict(result).items()}
        answer |= {"least": float(distance.min()), "least_of_test": float(floor.min())}
        print(json.dumps(rounded(answer), indent=2))
        return
    order = np.argsort(distance)[:10]
    table(
        ["sample", "training image", "difference"],
        [[int(i), int(result.pixel_index[i]), float(distance[i])] for i in order],
    )
    print(
        "difference: root mean square, in levels of 0..255; the median of the samples is "
        f"{np.median(distance):.1f}, of {len(floor)} real test images {np.median(floor):.1f} "
        f"(minimum {floor.min():.1f})."
    )


def _bits(options: argparse.Namespace) -> None:
    from flowviz.datasets.images import image_set
    from flowviz.device import choose_device
    from flowviz.experiments.image_likelihood import bits_per_dimension

    checkpoint = load_checkpoint(options)
    data = image_set(options.data or checkpoint.card.data, options.split)
    n = min(checked_number(options.n, "-n"), len(data))
    tol = tolerance(options)
    if options.labels and not checkpoint.conditional:
        raise ValueError(f"{checkpoint.card.name} was trained without classes.")
    with Progress("solving") as progress:
        result = bits_per_dimension(
            checkpoint,
            data.images[:n],
            data.labels[:n] if options.labels else None,
            probes=options.probes,
            draws=options.draws,
            tol=tol,
            seed=checked_seed(options),
            device=choose_device(options.device),
            on_batch=lambda done: progress.show(done, n * options.draws),
        )
    probes = None if result.probe_error is None else math.hypot(*result.probe_error) / n
    if options.json:
        settings = {"checkpoint": options.checkpoint, "data": f"{data.name} {options.split}"}
        settings |= {"n": n, "probes": options.probes, "draws": options.draws, "tol": tol}
        answer = {
            "bits_per_dimension": result.mean,
            "standard_error": None if math.isnan(result.error) else result.error,
            "standard_error_of_probes": probes,
            "nfe": result.nfe,
        }
        print(json.dumps(rounded(settings | answer), indent=2))
        return
    of_probes = "" if probes is None else f", of which the probes contribute {probes:.4f}"
    bound = ", an upper bound" if options.draws == 1 else ""
    print(
        f"{result.mean:.4f} bits per dimension of {n} {data.label} {options.split} images{bound} "
        f"(standard error {result.error:.4f}{of_probes}); NFE {result.nfe}, "
        f"{options.probes} probes, {options.draws} uniform dequantisations, dopri5 at {tol:g}"
    )
    if options.draws > 1 and options.probes == 1:
        print("With several draws the errors of the probes bias it down; use more --probes.")
