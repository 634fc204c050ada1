"""Images: what `sample` and `evaluate` do with a checkpoint of images."""

import argparse
import json
import math
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from flowviz.cli.arguments import NFE, TOL, add_device, checked_seed, is_adaptive
from flowviz.cli.printing import Progress

if TYPE_CHECKING:
    from flowviz.checkpoints.images import ImageCheckpoint
    from flowviz.experiments.images import ImageConfig, Samples

SAMPLES = 64
"""Default number of images of `sample`."""

ASSUMPTIONS = {
    "weights": (str, "set of weights to take from the file, such as ema_model"),
    "path": (str, "path on which the network was trained (default: as the file says, or ot)"),
    "predicts": (str, "what the network predicts: flow, noise or score"),
    "size": (int, "height and width of the images in pixels"),
    "time_reversed": (bool, "the network was trained with data at t = 0 and noise at t = 1"),
}
"""Type and help of the options that are fields of `flowviz.checkpoints.foreign.Assumptions`."""


def add_drawing(parser: argparse.ArgumentParser) -> None:
    """Adds the options of sampling from a checkpoint of images."""
    group = parser.add_argument_group("images", "for a checkpoint of images")
    group.add_argument(
        "--class",
        dest="classes",
        nargs="+",
        metavar="K",
        help="class of the images by number or name; several are used in turn; all for every one",
    )
    group.add_argument(
        "--guidance",
        type=float,
        metavar="W",
        help="weight of guidance: 1 for none, more emphasises the class, or with --guide what the "
        "guiding checkpoint lacks (default: 2)",
    )
    group.add_argument(
        "--guide",
        metavar="NAME",
        help="autoguidance: a checkpoint that is worse in the same way, such as an earlier "
        "snapshot, from which guidance leads away in the place of the network without a class",
    )
    group.add_argument(
        "--guidance-interval",
        type=float,
        nargs=2,
        metavar=("FROM", "TO"),
        help="times in [0, 1] between which guidance acts; at other times the weight is 1, which "
        "takes one network pass instead of two (default: 0 1)",
    )
    add_device(group)
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


def draws_images(name: str) -> bool:
    """Whether a checkpoint, by name or file, is of images, ours or another project's."""
    from flowviz.checkpoints.foreign import is_foreign
    from flowviz.checkpoints.images import is_images

    return is_foreign(name) or is_images(name)


def sample_images(options: argparse.Namespace) -> None:
    """`sample` of a checkpoint of images; torchrun divides its batches between processes."""
    from flowviz.device import choose_device
    from flowviz.distributed import processes
    from flowviz.experiments.images import sample_all
    from flowviz.files import check_target

    out = check_target(options.out, ".npy", ".npz", ".png")
    options.n = SAMPLES if options.n is None else options.n
    checkpoint = load_checkpoint(options)
    config = image_config(options, checkpoint, NFE if options.nfe is None else options.nfe)
    with processes(choose_device(options.device)) as group:
        with Progress("drawing") as progress:
            samples = sample_all(
                checkpoint,
                config,
                device=group.device,
                on_batch=lambda done: progress.show(done, config.n),
            )
        if group.first:
            _write(out, samples, config)
            print(f"{len(samples.images)} images in {out}")
            mean = "" if samples.nfe == round(samples.nfe) else " on average over the batches"
            print(f"NFE {samples.nfe:g}{mean}: network passes for each image {samples.passes:g}")


def load_checkpoint(options: argparse.Namespace) -> "ImageCheckpoint":
    """The checkpoint of images, flowviz's own or another's, with the options that correct it."""
    from flowviz.checkpoints.foreign import Assumptions, load_any

    assumptions = {name: getattr(options, name) for name in ASSUMPTIONS if hasattr(options, name)}
    loaded = load_any(options.checkpoint, Assumptions(**assumptions))
    if loaded.origin != "flowviz":
        print(f"flowviz: {loaded.notes}", file=sys.stderr)
    checkpoint = loaded.checkpoint
    if getattr(options, "guide", None) is not None:
        checkpoint = replace(checkpoint, guide=load_any(options.guide).checkpoint)
    return checkpoint


def image_config(
    options: argparse.Namespace, checkpoint: "ImageCheckpoint", nfe: int, *, exact: bool = True
) -> "ImageConfig":
    """How the options draw images.

    Unless `exact`, an NFE that the solver cannot make is rounded down.
    """
    from flowviz.experiments.images import ImageConfig
    from flowviz.solvers import steps_for

    adaptive = is_adaptive(options)
    if exact and not adaptive:
        steps_for(options.solver, nfe)
    classes = _classes(options.classes, checkpoint)
    for name in ("guidance", "guidance_interval"):
        if getattr(options, name) is not None and not classes and checkpoint.guide is None:
            raise ValueError(f"--{name.replace('_', '-')} needs --class or --guide.")
    first, last = options.guidance_interval or ImageConfig.interval
    return ImageConfig(
        solver=options.solver,
        nfe=ImageConfig.nfe if adaptive else nfe,
        tol=TOL if options.tol is None else options.tol,
        grid=options.grid,
        classes=classes,
        guidance=ImageConfig.guidance if options.guidance is None else options.guidance,
        interval=(first, last),
        n=options.n,
        seed=checked_seed(options),
    )


def _classes(names_or_numbers: list[str] | None, checkpoint: "ImageCheckpoint") -> tuple[int, ...]:
    """Classes by their numbers or names; () for no class."""
    if names_or_numbers is None:
        return ()
    names = checkpoint.card.classes
    if names_or_numbers == ["all"]:
        return tuple(range(len(names)))
    chosen = []
    for text in names_or_numbers:
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


def _write(out: Path, samples: "Samples", config: "ImageConfig") -> None:
    """Writes images as an array, as arrays with labels and config, or as one picture."""
    import numpy as np

    from flowviz.datasets.images import montage, png
    from flowviz.files import replacing, write_array, write_bytes

    images, classes = samples.images, len(config.classes)
    if out.suffix == ".npy":
        write_array(out, images)
    elif out.suffix == ".npz":
        config_json = np.array(json.dumps(asdict(config)))
        with replacing(out) as draft, draft.open("wb") as file:
            np.savez_compressed(file, images=images, labels=samples.labels, config=config_json)
    else:
        columns = classes if classes > 1 else math.ceil(len(images) ** 0.5)
        write_bytes(out, png(montage(images, columns)))
