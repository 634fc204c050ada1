"""The command line, for scripts, GPU machines and tests.

Each module defines a group of commands. To add a command, write its function, define its options
in `add`, and list a new module in GROUPS. These modules only parse and print. Commands import
PyTorch when they run, so that --help is fast.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from flowviz import __version__
from flowviz.bounds import shortened
from flowviz.cli import (
    app,
    bench,
    check,
    data,
    download,
    evaluate,
    experiment,
    export,
    listing,
    plain,
    points,
    real_images,
    sample,
    site,
    train,
    train_images,
)
from flowviz.cli.arguments import SPECS, Parser
from flowviz.files import FULL

__all__ = ["GROUPS", "build_parser", "main"]

GROUPS = (
    *(listing, data, download, train, sample, evaluate, experiment, export, site, points),
    *(plain, train_images, real_images, app, check, bench),
)
"""The modules with commands, in the order of --help; each has a function `add(commands)`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0, 2 after an error, 130 when interrupted."""
    try:
        options, unknown = build_parser().parse_known_args(arguments)
        if unknown:
            raise ValueError(
                f"Unrecognized arguments: {' '.join(unknown)}; see `{options.prog} --help`."
            )
        from flowviz.device import limit_threads, tune_allocator

        limit_threads()
        tune_allocator()
        return options.command(options) or 0
    except KeyboardInterrupt:
        print("flowviz: interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reading process (head, less) has ended, so standard output is closed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (MemoryError, OSError, ValueError) as error:
        print(f"flowviz: {shortened(_sentence(error))}", file=sys.stderr)
        return 2


def _sentence(error: MemoryError | OSError | ValueError) -> str:
    if isinstance(error, MemoryError):
        return "The memory is full; take fewer samples or points."
    if not isinstance(error, OSError):
        return str(error)
    if error.errno in FULL:
        problem = f"{error.filename} was not written" if error.filename else "Nothing was written"
        return f"{problem}: the disk is full. Free space, or name another folder."
    where = f" ({error.filename})" if error.filename else ""
    return f"{error.strerror or error}{where}."


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; parsed options have `command`, the function to call."""
    parser = Parser(
        prog="flowviz",
        description="Flow matching and diffusion: train, sample and evaluate without a browser.",
        epilog=SPECS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"flowviz {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for group in GROUPS:
        group.add(commands)
    return parser
