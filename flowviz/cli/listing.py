"""names, checkpoints: list named choices and checkpoints."""

import argparse
import json
import sys
from dataclasses import asdict

from flowviz.cli.arguments import Commands, add_command, add_json
from flowviz.cli.printing import table


def add(commands: Commands) -> None:
    """Adds `names` and `checkpoints`."""
    names = add_command(
        commands,
        "names",
        _names,
        "list all data sets, paths, solvers and other choices by name",
        "--json",
    )
    add_json(names)

    listed = add_command(
        commands, "checkpoints", _checkpoints, "list all checkpoints with a name", "--json"
    )
    add_json(listed)


def _names(options: argparse.Namespace) -> None:
    from flowviz.couplings import COUPLINGS
    from flowviz.datasets import DATASETS
    from flowviz.datasets.images import IMAGE_SETS
    from flowviz.grids import GRIDS
    from flowviz.metrics import METRICS
    from flowviz.metrics.images import IMAGE_METRICS
    from flowviz.networks import IMAGE_NETWORKS
    from flowviz.objectives import OBJECTIVES, WEIGHTINGS
    from flowviz.schedulers import SCHEDULERS
    from flowviz.solvers import METHODS
    from flowviz.training.semidiscrete import DATA_COUPLINGS

    registries = [DATASETS, SCHEDULERS, OBJECTIVES, COUPLINGS, METHODS, GRIDS, METRICS]
    registries += [DATA_COUPLINGS, WEIGHTINGS, IMAGE_SETS, IMAGE_NETWORKS, IMAGE_METRICS]
    labels = {
        registry.kind: {name: getattr(entry, "label", "") for name, entry in registry.items()}
        for registry in registries
    }
    if options.json:
        print(json.dumps(labels, indent=2, ensure_ascii=False))
        return
    for kind, entries in labels.items():
        print(f"{kind}:")
        width = max(map(len, entries))
        for name, label in entries.items():
            print(f"  {name:<{width}}  {label}".rstrip())


def _checkpoints(options: argparse.Namespace) -> None:
    from flowviz.checkpoints import listing, names
    from flowviz.checkpoints.images import find_images, image_checkpoints

    def report(error: ValueError) -> None:
        print(f"flowviz: {error}", file=sys.stderr)

    cards, images = listing(report), image_checkpoints(report)
    files, image_files = names(), find_images()
    if options.json:
        rows = [asdict(card) | {"file": str(files[card.name])} for card in cards]
        rows += [asdict(card) | {"file": str(image_files[card.name])} for card in images]
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    table(
        ["name", "data", "path", "objective", "steps", "file"],
        [
            [card.name, card.data, card.path, card.objective, card.steps, files[card.name]]
            for card in cards
        ],
    )
    if images:
        print()
        table(
            ["images", "data", "kind", "path", "images seen", "file"],
            [
                [
                    card.name,
                    card.data,
                    card.kind,
                    card.path or "-",
                    card.images,
                    image_files[card.name],
                ]
                for card in images
            ],
        )
