"""site: a static site that computes in the browser, without a server."""

import argparse

from flowviz.cli.arguments import Commands, add_command


def add(commands: Commands) -> None:
    """Adds `site`."""
    parser = add_command(
        commands,
        "site",
        _site,
        "write a static site whose pages compute in the browser, without a server",
        "--out site",
    )
    parser.add_argument("--out", metavar="FOLDER", required=True, help="folder to write")


def _site(options: argparse.Namespace) -> None:
    from pathlib import Path

    from flowviz.site import write_site

    folder = Path(options.out)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--out must be a folder; got the file {folder}.")
    sizes = write_site(folder)
    print(f"{len(sizes)} files, {sum(sizes.values()) / 2**20:.2f} MB in {folder}")
