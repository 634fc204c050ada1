"""sample: draw samples of a checkpoint."""

import argparse

from flowviz.cli.arguments import (
    NFE,
    Commands,
    add_checkpoint,
    add_command,
    add_draws,
    add_grid,
    add_out,
    add_solver,
    is_adaptive,
    solve_config,
)
from flowviz.cli.images import add_drawing, draws_images, sample_images
from flowviz.cli.plain import add_plain, holds_plain, load_plain_file
from flowviz.cli.printing import Progress

SAMPLES = 10_000
"""Default number of samples in the plane."""


def add(commands: Commands) -> None:
    """Adds `sample`."""
    sample = add_command(
        commands,
        "sample",
        _sample,
        "draw samples of a checkpoint, (n, 2) float64 or images (n, C, H, W) uint8, and print the "
        "number of function evaluations (NFE)",
        "checkerboard-ot --solver midpoint --nfe 20 -n 10000 --out samples.npy",
    )
    add_checkpoint(sample)
    add_solver(sample, "midpoint", NFE)
    add_grid(sample)
    add_draws(sample, SAMPLES)
    sample.set_defaults(n=None)  # images have a smaller default
    add_out(sample, "samples, in the data set's own coordinates; images also as .npz or .png")
    add_drawing(sample)
    add_plain(sample)


def _sample(options: argparse.Namespace) -> None:
    plain = holds_plain(options.checkpoint)
    if not plain and draws_images(options.checkpoint):
        sample_images(options)
        return
    import torch

    from flowviz.experiments.evaluate import sampled
    from flowviz.experiments.fields import FieldRef
    from flowviz.experiments.starts import starts
    from flowviz.files import check_target, write_array

    out = check_target(options.out, ".npy")
    options.n = SAMPLES if options.n is None else options.n
    nfe = None if is_adaptive(options) else NFE if options.nfe is None else options.nfe
    config = solve_config(options, nfe)
    n = config.n
    if plain:
        source = FieldRef.of_checkpoint(load_plain_file(options), options.checkpoint)
    else:
        source = FieldRef.of(options.checkpoint)
    states, used = [], 0
    with Progress("sampling") as progress:
        for solution in sampled(source.field, starts(source.path, n, config.seed), config):
            states.append(solution.states[-1])
            used = solution.nfe
            progress.show(sum(map(len, states)), n)
    samples = source.to_user(torch.cat(states))
    write_array(out, samples.numpy())
    print(f"{n} samples in {out}")
    print(f"NFE {used}")
