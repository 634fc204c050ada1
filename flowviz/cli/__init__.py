"""The command line: the engine without a browser, for scripts, GPU machines and tests.

A command lives in the module of its group. To add one: write its function, give it its options in
the module's `add`, and list a new module in GROUPS. Modules parse and print; all else is the
engine's. PyTorch is imported where a command needs it, so that --help answers at once.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from flowviz import __version__
from flowviz.bounds import shortened
from flowviz.cli import (
    data,
    download,
    evaluate,
    experiment,
    images,
    listing,
    points,
    sample,
    train,
    train_images,
)
from flowviz.cli.arguments import SPECS, Parser

__all__ = ["GROUPS", "build_parser", "main"]

GROUPS = (
    *(listing, data, download, train, sample, evaluate, experiment, points),
    *(train_images, images),
)
"""The modules of commands, in the order of --help; each has `add(commands)`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0, 2 after an error, 130 when interrupted."""
    try:
        options, unknown = build_parser().parse_known_args(arguments)
        if unknown:
            raise ValueError(
                f"Unrecognized arguments: {' '.join(unknown)}; see `{options.prog} --help`."
            )
        from flowviz.device import limit_threads

        limit_threads()
        return options.command(options) or 0
    except KeyboardInterrupt:
        print("flowviz: interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (head, less) has gone; nothing more can be said on standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        print(f"flowviz: {error.strerror or error}{where}.", file=sys.stderr)
        return 2
    except ValueError as error:
        print(f"flowviz: {shortened(str(error))}", file=sys.stderr)
        return 2


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; what it parses has `command`, the function to call with it."""
    parser = Parser(
        prog="flowviz",
        description="Flow matching and diffusion in the plane, without a browser.",
        epilog=SPECS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"flowviz {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for group in GROUPS:
        group.add(commands)
    return parser
