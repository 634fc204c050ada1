"""data: draw samples of a data set."""

import argparse

from flowviz.cli.arguments import (
    Commands,
    add_command,
    add_draws,
    add_out,
    checked_number,
    checked_seed,
    print_reading,
)


def add(commands: Commands) -> None:
    """Adds `data`."""
    data = add_command(
        commands,
        "data",
        _data,
        "draw samples of a data set, (n, 2) float64",
        "checkerboard -n 20000 --out x.npy",
    )
    data.add_argument("data", metavar="DATA", help="data set to sample")
    add_draws(data, 10_000)
    add_out(data, "samples, in the data set's own coordinates")
    data.add_argument(
        "--labels",
        action="store_true",
        help="write records (x, y, label) of a table with a label column",
    )


def _data(options: argparse.Namespace) -> None:
    from flowviz.datasets import dataset
    from flowviz.datasets.points import labelled
    from flowviz.draws import stream
    from flowviz.files import check_target, write_array

    out = check_target(options.out, ".npy")
    chosen = dataset(options.data)
    n, seed = checked_number(options.n, "-n"), checked_seed(options)
    x_1 = chosen.sample(n, stream(seed, "data"))
    samples = chosen.to_user(x_1).numpy()
    if options.labels:
        classes = chosen.sampled_classes(n, stream(seed, "data"))
        if classes is None:
            raise ValueError(
                "--labels needs a table with a label column, such as t.csv:label=species; "
                f"{chosen.label} has none. Leave --labels out."
            )
        samples = labelled(samples, [chosen.classes[k] for k in classes])
    write_array(out, samples)
    print(f"{len(x_1)} samples of {chosen.label} in {out}")
    print_reading(chosen)
