"""Judging images: `evaluate` of a checkpoint of images."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowviz.cli.arguments import checked_number
from flowviz.cli.images import image_config, load_checkpoint
from flowviz.cli.printing import Progress, rounded, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowviz.checkpoints.images import ImageCheckpoint
    from flowviz.distributed import Processes
    from flowviz.experiments.image_judge import Judge
    from flowviz.experiments.image_quality import Fid, QualityPoint
    from flowviz.experiments.images import ImageConfig

JUDGED = 1_000
"""Default number of images that are judged."""

IMAGE_NFES = [2, 5, 10, 20, 50, 100]
"""Default NFE at which images are judged."""


def add_judging(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `evaluate` for images."""
    group = parser.add_argument_group(
        "judging images",
        "by the Frechet distance in the features of a classifier and by the classes that it "
        "predicts; FID needs the standard Inception network",
    )
    group.add_argument(
        "--classifier", metavar="NAME", help="name or file (default: DATA-classifier)"
    )
    group.add_argument(
        "--snapshots",
        metavar="RUN",
        help="judge each snapshot in this run's folder, too, at the first NFE",
    )
    group.add_argument(
        "--straightness",
        type=int,
        metavar="N",
        help="add the steps of an adaptive solve of N images and their straightness",
    )
    group.add_argument(
        "--fid",
        metavar="FILE",
        help="inception-2015-12-05.pt: a program that is RUN; use only a file that you trust",
    )
    group.add_argument(
        "--fid-stats",
        metavar="FILE",
        help=".npz with mu and sigma of the real images (default: they are computed)",
    )
    group.add_argument(
        "--resize",
        default="inception",
        metavar="NAME",
        help="for FID: inception (bilinear within the network) or clean (clean-fid's bicubic)",
    )


def evaluate_images(options: argparse.Namespace) -> None:
    """`evaluate` of a checkpoint of images; torchrun divides its batches between processes."""
    from flowviz.device import choose_device
    from flowviz.distributed import processes

    for name in ("seeds", "error", "trace", "likelihood"):
        if getattr(options, name) not in (None, False):
            raise ValueError(f"--{name} is for checkpoints of the plane; omit it.")
    with processes(choose_device(options.device)) as group:
        _evaluate_images(options, group)


def _evaluate_images(options: argparse.Namespace, group: "Processes") -> None:
    from flowviz.checkpoints.images import quality_file, write_quality
    from flowviz.experiments.image_judge import classifier_judge, classifier_name
    from flowviz.experiments.image_quality import merged, nfe_configs, points_from, quality_sweep
    from flowviz.metrics.images import IMAGE_METRICS

    for name in options.metrics or ():
        _ = IMAGE_METRICS[name]
    if options.save:
        quality_file(options.checkpoint)  # before anything is drawn
    options.n = JUDGED if options.n is None else options.n
    nfes = options.nfe or IMAGE_NFES
    checkpoint = load_checkpoint(options)
    if options.classes is None and checkpoint.conditional:
        options.classes = ["all"]
    snapshots = _snapshots(options, checkpoint)
    first = image_config(options, checkpoint, nfes[0], exact=False)
    configs = [first] if first.adaptive else nfe_configs(first, nfes)
    classifier = options.classifier or classifier_name(checkpoint.card.data)
    with Progress("features of real images") as progress:
        judge = classifier_judge(classifier, on_batch=progress.show)
    common = {"fid": _fid(options, checkpoint), "metrics": options.metrics, "device": group.device}
    quality = _stored(options.checkpoint, judge) if options.save else {}
    known = points_from(quality)
    quality |= {"sha256": checkpoint.card.sha256, "protocol": _protocol(judge)}

    def keep() -> None:
        if options.save and group.first:
            write_quality(options.checkpoint, quality)

    points: list[QualityPoint] = []
    with Progress("drawing") as progress:
        common["on_batch"] = lambda done: progress.show(done, first.n)
        for point in quality_sweep(checkpoint, configs, judge, known=known, **common):
            points.append(point)
            quality = merged(quality, [point])
            keep()
        if snapshots:
            images = checkpoint.card.images
            quality["training"] = _history(snapshots, configs[0], judge, points[0], images, common)
            keep()
        if options.straightness:
            count = checked_number(options.straightness, "--straightness")
            quality |= _straightness(checkpoint, replace(configs[0], n=count))
            keep()
    if group.first:
        _print_quality(options, quality, points)


def _history(
    snapshots: list[Path],
    config: "ImageConfig",
    judge: "Judge",
    now: "QualityPoint",
    n_images: int,
    options: dict[str, Any],
) -> list[dict[str, Any]]:
    """The quality of snapshots and, if it was trained longer, of the checkpoint itself."""
    from flowviz.experiments.image_quality import training_quality

    history = [
        {"images": images} | point.as_dict()
        for images, point in training_quality(
            snapshots, config, judge, device=options["device"], metrics=options["metrics"]
        )
    ]
    later = [{"images": n_images} | now.as_dict()] if history[-1]["images"] < n_images else []
    return history + later


def _straightness(checkpoint: "ImageCheckpoint", config: "ImageConfig") -> dict[str, Any]:
    """The steps of an adaptive solve and the straightness of its trajectories."""
    from flowviz.experiments.image_views import adaptive_steps, pixel_straightness

    steps = adaptive_steps(checkpoint, config)
    straight = pixel_straightness(checkpoint, config, tol=steps["tol"])
    names = ("deviation", "displacement", "relative", "arc_over_chord")
    settings = {name: steps[name] for name in ("n", "guidance", "tol")}
    values = {name: getattr(straight, name) for name in names}
    return {"steps": steps, "straightness": settings | values}


def _snapshots(options: argparse.Namespace, checkpoint: "ImageCheckpoint") -> list[Path]:
    """The files of --snapshots, which must be of the checkpoint's run."""
    from flowviz.checkpoints.images import snapshot_checkpoint

    if options.snapshots is None:
        return []
    files = sorted(Path(options.snapshots).glob("snapshot-*.safetensors"))
    if not files:
        raise ValueError(f"There are no snapshots in {options.snapshots}.")
    if snapshot_checkpoint(files[0]).card.training != dict(checkpoint.card.training):
        raise ValueError(
            f"The snapshots must be of the run that made {options.checkpoint}; those in "
            f"{options.snapshots} are of another one."
        )
    return files


def _stored(name: str, judge: "Judge") -> dict[str, Any]:
    """The stored quality of these weights; empty without any.

    Raises:
        ValueError: it was measured by another classifier, so that it cannot be continued.
    """
    from flowviz.checkpoints import CheckpointError
    from flowviz.checkpoints.images import quality_file, read_quality

    try:
        quality = read_quality(name)
    except CheckpointError:
        return {}  # of replaced weights
    if quality.get("points") and not judge.measured(quality):
        raise ValueError(
            f"{quality_file(name).name} has the numbers of another classifier than "
            f"{judge.card.name}, which --save would delete; move the file, or omit --save."
        )
    return quality


def _print_quality(
    options: argparse.Namespace, quality: dict[str, Any], points: "Sequence[QualityPoint]"
) -> None:
    from flowviz.metrics.images import IMAGE_METRICS

    if options.json:
        answer = {"checkpoint": options.checkpoint} | quality
        answer["points"] = [point.as_dict() for point in points]
        print(json.dumps(rounded(answer), indent=2))
        return

    def shown(value: float | None, name: str) -> object:
        if value is None:
            return "-"
        return f"{value:.1%}" if name in IMAGE_METRICS and IMAGE_METRICS[name].share else value

    named = [
        name for name in IMAGE_METRICS if any(p.measures.get(name) is not None for p in points)
    ]
    table(
        ["solver", "nfe", "passes", "guidance", "n", "floor", *named],
        [
            [
                p.solver,
                p.nfe,
                p.passes,
                p.weight.removeprefix("w = ") or "-",
                p.n,
                shown(p.floor, ""),
            ]
            + [shown(p.measures.get(name), name) for name in named]
            for p in points
        ],
    )
    print(quality["protocol"]["frechet"])
    for protocol in dict.fromkeys(point.fid_protocol for point in points if point.fid_protocol):
        print(f"FID: {protocol}.")
    for entry in quality.get("training", []) if options.snapshots else []:
        values = [f"{name} {shown(entry.get(name), name)}" for name in named]
        print(f"after {entry['images']:,} images: {', '.join(values)}")
    if options.straightness:
        straightness = quality["straightness"]
        print(
            f"S {straightness['deviation']:.4g}, {straightness['relative']:.3f} of E|x1 - x0|^2; "
            f"length/displacement {straightness['arc_over_chord']:.3f}; dopri5 at "
            f"{straightness['tol']:g} took {quality['steps']['nfe']}"
        )


def _protocol(judge: "Judge") -> dict[str, Any]:
    """How the numbers were measured, for later readers."""
    features, real = judge.reference.mean.size, judge.reference.n
    return {
        "classifier": judge.card.name,
        "classifier_sha256": judge.card.sha256,
        "frechet": (
            f"frechet: Frechet distance of the {features} features of {judge.card.name} from "
            f"those of {real} training images; floor: the same of as many test images. It is not "
            "FID."
        ),
        "floors": {str(n): value for n, value in judge.floors.items()},
    }


def _fid(options: argparse.Namespace, checkpoint: "ImageCheckpoint") -> "Fid | None":
    """What FID compares with; None without --fid."""
    if options.fid is None:
        if options.fid_stats is not None:
            raise ValueError("--fid-stats goes with --fid, the Inception network.")
        return None
    from flowviz.datasets.images import image_set
    from flowviz.device import choose_device
    from flowviz.experiments.image_quality import Fid
    from flowviz.metrics.images import Inception, load_moments

    device = choose_device(options.device)
    inception = Inception(options.fid, resize=options.resize, device=device)
    if options.fid_stats is not None:
        return Fid(inception, load_moments(options.fid_stats), Path(options.fid_stats).name)
    data = image_set(checkpoint.card.data)
    with Progress("Inception features of real images") as progress:
        return Fid.of_images(inception, data, on_batch=lambda done: progress.show(done, len(data)))
