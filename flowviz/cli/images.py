"""Images: what `sample` and `evaluate` do with them, and the commands that are theirs alone."""

import argparse
import json
import math
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowviz.cli.arguments import (
    NFE,
    TOL,
    Commands,
    add_command,
    add_json,
    checked_number,
    checked_seed,
    is_adaptive,
)
from flowviz.cli.printing import Progress, rounded, table

if TYPE_CHECKING:
    from flowviz.checkpoints.images import ImageCheckpoint
    from flowviz.distributed import Processes
    from flowviz.experiments.image_quality import Judge
    from flowviz.experiments.images import ImageConfig

SAMPLES = 64
"""Images that `sample` draws if it is given no number."""

JUDGED = 1_000
"""Likewise `evaluate`."""

IMAGE_NFES = [2, 5, 10, 20, 50, 100]
"""Evaluations at which `evaluate` judges if it is given none."""

SCALE = 2
"""Pixels of a picture's file for one of an image."""

ASSUMPTIONS = {
    "weights": (str, "set of weights to take from the file, such as ema_model"),
    "path": (str, "path on which the network was trained (default: as the file says, or ot)"),
    "predicts": (str, "what the network predicts: flow, noise or score"),
    "size": (int, "height and width of the images in pixels"),
    "time_reversed": (bool, "the network was trained with data at t = 0 and noise at t = 1"),
}
"""Type and help of the options that are fields of `flowviz.checkpoints.foreign.Assumptions`."""


def add(commands: Commands) -> None:
    """Adds `nearest` and `bpd`."""
    near = add_command(
        commands,
        "nearest",
        _nearest,
        "find the training images nearest to samples, to see whether they are copies",
        "samples.npy --data cifar10 --json",
    )
    near.add_argument("samples", metavar="SAMPLES", help=".npy of uint8 images (n, C, H, W)")
    near.add_argument("--data", default="cifar10", metavar="NAME", help="cifar10 or digits")
    near.add_argument(
        "--classifier", metavar="NAME", help="look by this classifier's features as well"
    )
    add_json(near)

    bits = add_command(
        commands,
        "bpd",
        _bits,
        "estimate the bits per dimension of real images under a checkpoint, by Hutchinson",
        "cifar10-ot -n 64 --probes 4",
    )
    bits.add_argument("checkpoint", metavar="CHECKPOINT", help="name or file")
    bits.add_argument("--data", metavar="NAME", help="image set (default: the checkpoint's)")
    bits.add_argument("--split", default="test", metavar="NAME", help="test or train")
    bits.add_argument("-n", type=int, default=16, metavar="N", help="images (default: 16)")
    bits.add_argument(
        "--probes", type=int, default=1, metavar="K", help="random probes a solve (default: 1)"
    )
    bits.add_argument(
        "--draws", type=int, default=1, metavar="K", help="dequantisations an image (default: 1)"
    )
    bits.add_argument(
        "--labels", action="store_true", help="tell the network the class of each image"
    )
    bits.add_argument("--tol", type=float, metavar="X", help="of dopri5 (default: 1e-5)")
    bits.add_argument(
        "--device", default="auto", metavar="NAME", help="auto, cpu, cuda or mps (default: auto)"
    )
    bits.add_argument("--seed", type=int, default=0, metavar="N", help="seed (default: 0)")
    add_json(bits)


def add_drawing(parser: argparse.ArgumentParser) -> None:
    """The options with which an image checkpoint draws."""
    group = parser.add_argument_group("images", "for a checkpoint of images")
    group.add_argument(
        "--class",
        dest="classes",
        nargs="+",
        metavar="K",
        help="class of the images by number or name; of several each in turn; all for every class",
    )
    group.add_argument(
        "--guidance",
        type=float,
        metavar="W",
        help="classifier-free guidance: 1 is the plain class, more overstates it (default: 2)",
    )
    group.add_argument(
        "--device", default="auto", metavar="NAME", help="auto, cpu, cuda or mps (default: auto)"
    )
    foreign = parser.add_argument_group(
        "foreign checkpoints", "what the weights of another project do not state"
    )
    for name, (kind, text) in ASSUMPTIONS.items():
        flag = "--" + name.replace("_", "-")
        if kind is bool:
            foreign.add_argument(flag, action="store_true", help=text)
        else:
            mark = "N" if kind is int else "NAME"
            foreign.add_argument(flag, type=kind, metavar=mark, help=text)


def add_judging(parser: argparse.ArgumentParser) -> None:
    """The options with which images are judged."""
    group = parser.add_argument_group(
        "judging images",
        "by the Frechet distance in a classifier's features and the classes that it names; FID "
        "proper needs the standard Inception network",
    )
    group.add_argument(
        "--classifier", metavar="NAME", help="name or file (default: cifar10-classifier)"
    )
    group.add_argument(
        "--snapshots",
        metavar="RUN",
        help="judge each snapshot in this run's folder too, with the first of the numbers of "
        "evaluations",
    )
    group.add_argument(
        "--ways",
        type=int,
        metavar="N",
        help="add the steps of an adaptive solve of N images and how straight their ways are",
    )
    group.add_argument(
        "--fid",
        metavar="FILE",
        help="inception-2015-12-05.pt: a program that is RUN, so give only a file you trust",
    )
    group.add_argument(
        "--fid-stats",
        metavar="FILE",
        help=".npz with mu and sigma of the real images; by default they are computed",
    )
    group.add_argument(
        "--resize",
        default="inception",
        metavar="NAME",
        help="for FID: inception (bilinear within the network) or clean (clean-fid's bicubic)",
    )


def draws_images(name: str) -> bool:
    """Whether a checkpoint, by name or file, is of images, our own or another's."""
    from flowviz.checkpoints.foreign import is_foreign
    from flowviz.checkpoints.images import is_images

    return is_foreign(name) or is_images(name)


def sample_images(options: argparse.Namespace) -> None:
    """`sample` of a checkpoint of images; torchrun shares its batches between processes."""
    from flowviz.device import choose_device
    from flowviz.distributed import processes
    from flowviz.experiments.images import sample_all
    from flowviz.files import check_target

    out = check_target(options.out)
    if out.suffix not in (".npy", ".npz", ".png"):
        raise ValueError(f"Images are written as .npy, .npz or .png; got {out.name!r}.")
    options.n = SAMPLES if options.n is None else options.n
    checkpoint = _load(options)
    config = _config(options, checkpoint, NFE if options.nfe is None else options.nfe)
    progress = Progress("drawing")
    with processes(choose_device(options.device)) as group:
        drawn = sample_all(
            checkpoint,
            config,
            device=group.device,
            on_batch=lambda done: progress.show(done, config.n),
        )
        progress.end()
        if group.first:
            _write(out, drawn.images, drawn.labels, config)
            print(f"{len(drawn.images)} images in {out}")
            mean = "" if drawn.nfe == round(drawn.nfe) else " on average over the batches"
            print(f"NFE {drawn.nfe:g}{mean}: network passes for each image {drawn.passes:g}")


def evaluate_images(options: argparse.Namespace) -> None:
    """`evaluate` of a checkpoint of images; torchrun shares its batches between processes."""
    from flowviz.device import choose_device
    from flowviz.distributed import processes

    with processes(choose_device(options.device)) as group:
        _evaluate_images(options, group)


def _evaluate_images(options: argparse.Namespace, group: "Processes") -> None:
    from flowviz.checkpoints.images import quality_file, write_quality
    from flowviz.experiments.image_quality import (
        CLASSIFIER,
        classifier_judge,
        merged,
        nfe_configs,
        points_from,
        quality_sweep,
        training_quality,
        ways_of,
    )

    _refuse(options, ("metrics", "seeds", "error", "trace", "likelihood"))
    if options.save:
        quality_file(options.checkpoint)  # before anything is drawn
    options.n = JUDGED if options.n is None else options.n
    nfes = options.nfe or IMAGE_NFES
    checkpoint = _load(options)
    if options.classes is None and checkpoint.conditional:
        options.classes = ["all"]
    snapshots = _snapshots(options, checkpoint)
    first = _config(options, checkpoint, nfes[0], exact=False)
    configs = [first] if first.adaptive else nfe_configs(first, nfes)
    progress = Progress("looking at real images")
    judge = classifier_judge(options.classifier or CLASSIFIER, on_batch=progress.show)
    progress.end()
    fid = _fid(options, checkpoint)
    quality = _kept(options.checkpoint, judge) if options.save else {}
    known = points_from(quality)

    def keep() -> None:
        if options.save and group.first:
            write_quality(options.checkpoint, quality)

    quality |= {"sha256": checkpoint.card.sha256, "protocol": _protocol(judge)}
    points = []
    progress = Progress("drawing")
    sweep = quality_sweep(
        checkpoint,
        configs,
        judge,
        known=known,
        on_batch=lambda done: progress.show(done, first.n),
        device=group.device,
        **fid,
    )
    for point in sweep:
        points.append(point)
        quality = merged(quality, [point])
        keep()
    if snapshots:
        history = []
        for images, point in training_quality(snapshots, configs[0], judge, device=group.device):
            history.append({"images": images} | asdict(point))
        now = {"images": checkpoint.card.images} | asdict(points[0])
        later = [now] if history[-1]["images"] < now["images"] else []
        quality["training"] = history + later
        keep()
    if options.ways:
        few = replace(configs[0], n=checked_number(options.ways, "--ways", least=1))
        steps, straight = ways_of(checkpoint, few)
        quality["steps"] = steps
        quality["straightness"] = {
            "n": few.n,
            "guidance": steps["guidance"],
            "tol": steps["tol"],
            "deviation": straight.deviation,
            "displacement": straight.displacement,
            "relative": straight.relative,
            "arc_over_chord": straight.arc_over_chord,
        }
        keep()
    progress.end()
    if group.first:
        _print_quality(options, quality, points)


def _snapshots(options: argparse.Namespace, checkpoint: "ImageCheckpoint") -> list[Path]:
    """The files of --snapshots, which must be of the run that the checkpoint is of."""
    from flowviz.checkpoints.images import snapshot_checkpoint

    if options.snapshots is None:
        return []
    files = sorted(Path(options.snapshots).glob("snapshot-*.safetensors"))
    if not files:
        raise ValueError(f"There are no snapshots in {options.snapshots}.")
    if snapshot_checkpoint(files[0]).card.training != dict(checkpoint.card.training):
        raise ValueError(
            f"The snapshots must be of the run that made {options.checkpoint}; those in "
            f"{options.snapshots} were trained otherwise."
        )
    return files


def _kept(name: str, judge: "Judge") -> dict[str, Any]:
    """What was measured before of these weights; empty without any.

    Raises:
        ValueError: another classifier measured it, whose numbers cannot be compared.
    """
    from flowviz.checkpoints import CheckpointError
    from flowviz.checkpoints.images import quality_file, read_quality

    try:
        quality = read_quality(name)
    except CheckpointError:
        return {}  # of weights that are gone
    if quality.get("points") and not judge.measured(quality):
        raise ValueError(
            f"{quality_file(name).name} has the numbers of another classifier than "
            f"{judge.card.name}, which --save would lose; move it away, or leave --save out."
        )
    return quality


def _print_quality(
    options: argparse.Namespace, quality: dict[str, Any], points: list[Any]
) -> None:
    if options.json:
        answer = {"checkpoint": options.checkpoint} | quality
        answer["points"] = [asdict(point) for point in points]
        print(json.dumps(rounded(answer), indent=2))
        return
    fid = any(point.fid is not None for point in points)
    table(
        ["solver", "nfe", "passes", "guidance", "n", "frechet", "floor", "right class"]
        + (["FID"] if fid else []),
        [
            [
                point.solver,
                point.nfe,
                point.passes,
                "-" if point.guidance is None else point.guidance,
                point.n,
                point.frechet,
                "-" if point.floor is None else point.floor,
                "-" if point.accuracy is None else f"{point.accuracy:.1%}",
                *([point.fid] if fid else []),
            ]
            for point in points
        ],
    )
    print(quality["protocol"]["frechet"])
    for protocol in dict.fromkeys(point.fid_protocol for point in points if point.fid_protocol):
        print(f"FID: {protocol}.")
    for entry in quality.get("training", []) if options.snapshots else []:
        right = "" if entry["accuracy"] is None else f", right class {entry['accuracy']:.1%}"
        print(f"after {entry['images']:,} images: frechet {entry['frechet']:.4g}{right}")
    if options.ways:
        way = quality["straightness"]
        print(
            f"S {way['deviation']:.4g}, {way['relative']:.3f} of E|x1 - x0|^2; arc/chord "
            f"{way['arc_over_chord']:.3f}; dopri5 at {way['tol']:g} took {quality['steps']['nfe']}"
        )


def _protocol(judge: "Judge") -> dict[str, Any]:
    """What the numbers are, for whoever reads them later."""
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


def _fid(options: argparse.Namespace, checkpoint: "ImageCheckpoint") -> dict[str, Any]:
    """The arguments of FID proper; none where it was not asked for."""
    if options.fid is None:
        if options.fid_stats is not None:
            raise ValueError("--fid-stats goes with --fid, the Inception network.")
        return {}
    from flowviz.datasets.images import image_set
    from flowviz.device import choose_device
    from flowviz.experiments.image_quality import fid_reference
    from flowviz.metrics.images import Inception, load_moments

    device = choose_device(options.device)
    inception = Inception(options.fid, resize=options.resize, device=device)
    if options.fid_stats is not None:
        real, name = load_moments(options.fid_stats), Path(options.fid_stats).name
    else:
        data = image_set(checkpoint.card.data)
        progress = Progress("real images through Inception")
        real = fid_reference(inception, data, on_batch=lambda done: progress.show(done, len(data)))
        progress.end()
        name = f"{data.label} train"
    return {"inception": inception, "fid_moments": real, "fid_name": name}


def _nearest(options: argparse.Namespace) -> None:
    import numpy as np

    from flowviz.datasets.images import image_set
    from flowviz.experiments.image_quality import classifier_judge, nearest_training

    path = Path(options.samples)
    if not path.is_file():
        raise ValueError(f"There is no file {path}.")
    try:
        images = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path} must be a .npy file of images; it cannot be read.") from error
    train, test = image_set(options.data, "train"), image_set(options.data, "test")
    shape = tuple(train.images.shape[1:])
    wrong = not isinstance(images, np.ndarray) or images.dtype != np.uint8
    if wrong or images.ndim != 4 or images.shape[1:] != shape or not len(images):
        raise ValueError(f"{path} must hold uint8 images (n, {', '.join(map(str, shape))}).")
    judge = classifier_judge(options.classifier) if options.classifier else None
    progress = Progress("looking at training images")
    found = nearest_training(
        images,
        train,
        test,
        judge=judge,
        on_batch=lambda done: progress.show(done, len(train)),
    )
    progress.end()
    answer = {key: None if v is None else v.tolist() for key, v in asdict(found).items()}
    answer["least"] = float(found.pixel_distance.min())
    answer["least_of_test"] = float(found.floor.min())
    if options.json:
        print(json.dumps(rounded(answer), indent=2))
        return
    order = np.argsort(found.pixel_distance)[:10]
    table(
        ["sample", "training image", "difference"],
        [[int(i), int(found.pixel_index[i]), float(found.pixel_distance[i])] for i in order],
    )
    print(
        "difference: root mean square, in levels of 0..255; the median of the samples is "
        f"{np.median(found.pixel_distance):.1f}, of {len(found.floor)} real test images "
        f"{np.median(found.floor):.1f} (least {found.floor.min():.1f})."
    )


def _bits(options: argparse.Namespace) -> None:
    from flowviz.datasets.images import image_set
    from flowviz.device import choose_device
    from flowviz.experiments.image_quality import bits_per_dimension

    checkpoint = _load(options)
    data = image_set(options.data or checkpoint.card.data, options.split)
    n = min(checked_number(options.n, "-n", least=1), len(data))
    tol = TOL if options.tol is None else options.tol
    if not 0 < tol < 1:
        raise ValueError(f"--tol must be in (0, 1); got {tol:g}.")
    if options.labels and not checkpoint.conditional:
        raise ValueError(f"{checkpoint.card.name} was trained without classes.")
    progress = Progress("solving")
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
    progress.end()
    probes = None if result.probe_error is None else math.hypot(*result.probe_error) / n
    if options.json:
        answer = {
            "checkpoint": options.checkpoint,
            "data": f"{data.name} {options.split}",
            "n": n,
            "probes": options.probes,
            "draws": options.draws,
            "tol": tol,
            "bits_per_dimension": result.mean,
            "standard_error": None if math.isnan(result.error) else result.error,
            "standard_error_of_probes": probes,
            "nfe": result.nfe,
        }
        print(json.dumps(rounded(answer), indent=2))
        return
    of_probes = "" if probes is None else f", of which the probes make {probes:.4f}"
    bound = ", a bound from above" if options.draws == 1 else ""
    print(
        f"{result.mean:.4f} bits per dimension of {n} {data.label} {options.split} images{bound} "
        f"(standard error {result.error:.4f}{of_probes}); NFE {result.nfe}, "
        f"{options.probes} probes, {options.draws} uniform dequantisations, dopri5 at {tol:g}"
    )
    if options.draws > 1 and options.probes == 1:
        print("Probes' errors pull it down where there are several draws; take more --probes.")


def _load(options: argparse.Namespace) -> "ImageCheckpoint":
    """A checkpoint of images, flowviz's own or another's, with the options that correct it."""
    from flowviz.checkpoints.foreign import Assumptions, load_any

    given = {name: getattr(options, name) for name in ASSUMPTIONS if hasattr(options, name)}
    loaded = load_any(options.checkpoint, Assumptions(**given))
    if loaded.origin != "flowviz":
        print(f"flowviz: {loaded.about}", file=sys.stderr)
    return loaded.checkpoint


def _config(
    options: argparse.Namespace,
    checkpoint: "ImageCheckpoint",
    nfe: int,
    *,
    exact: bool = True,
) -> "ImageConfig":
    """What the options say about drawing images.

    A number of evaluations that the solver cannot take exactly is an error, or, if not `exact`,
    left to be rounded down.
    """
    from flowviz.experiments.images import ImageConfig
    from flowviz.solvers import steps_for

    adaptive = is_adaptive(options)
    if exact and not adaptive:
        steps_for(options.solver, nfe)
    classes = _classes(options.classes, checkpoint)
    if options.guidance is not None and not classes:
        raise ValueError("--guidance needs --class, what to guide to.")
    return ImageConfig(
        solver=options.solver,
        nfe=ImageConfig.nfe if adaptive else nfe,
        tol=TOL if options.tol is None else options.tol,
        grid=options.grid,
        classes=classes,
        guidance=ImageConfig.guidance if options.guidance is None else options.guidance,
        n=options.n,
        seed=checked_seed(options),
    )


def _classes(given: list[str] | None, checkpoint: "ImageCheckpoint") -> tuple[int, ...]:
    """The classes named by numbers or names, () of none."""
    if given is None:
        return ()
    names = checkpoint.card.classes
    if given == ["all"]:
        return tuple(range(len(names)))
    chosen = []
    for text in given:
        if text in names:
            chosen.append(names.index(text))
        elif text.isdecimal():
            chosen.append(int(text))
        else:
            raise ValueError(
                f"{checkpoint.card.name} has no class {text!r}. There are: "
                f"{', '.join(names) or 'none'}."
            )
    return tuple(chosen)


def _refuse(options: argparse.Namespace, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(options, name) not in (None, False):
            raise ValueError(f"--{name} is for checkpoints of the plane; leave it out.")


def _write(out: Path, images: Any, labels: Any, config: "ImageConfig") -> None:
    """Images as the suffix says: an array, arrays with what was asked for, or a picture."""
    import io

    import numpy as np
    from PIL import Image

    from flowviz.experiments.images import montage
    from flowviz.files import replacing, write_array, write_bytes

    if out.suffix == ".npy":
        write_array(out, images)
    elif out.suffix == ".npz":
        about = json.dumps(asdict(config))
        with replacing(out) as draft, draft.open("wb") as file:
            np.savez_compressed(file, images=images, labels=labels, config=np.array(about))
    else:
        columns = len(config.classes) if len(config.classes) > 1 else math.ceil(len(images) ** 0.5)
        sheet = montage(images, columns)
        picture = Image.fromarray(sheet[:, :, 0] if sheet.shape[2] == 1 else sheet)
        size = (SCALE * picture.width, SCALE * picture.height)
        buffer = io.BytesIO()
        picture.resize(size, Image.Resampling.NEAREST).save(buffer, "PNG")
        write_bytes(out, buffer.getvalue())
