"""download: image sets from their authors' servers."""

import argparse

from flowviz.cli.arguments import Commands, add_command
from flowviz.cli.printing import Progress


def add(commands: Commands) -> None:
    """Adds `download`."""
    parser = add_command(
        commands,
        "download",
        _download,
        "fetch an image set from its authors and check it; a second call goes on with a first",
        "cifar10",
    )
    parser.add_argument("name", metavar="NAME", help="cifar10 (170 MB)")
    parser.add_argument(
        "--to",
        metavar="FOLDER",
        help="where to put it (default: $FLOWVIZ_DATA, else ./data, where it is looked for)",
    )
    parser.add_argument(
        "--url", metavar="URL", help="another server of the same file; its checksum must be right"
    )


def _download(options: argparse.Namespace) -> None:
    from flowviz.datasets.download import DOWNLOADS, download
    from flowviz.datasets.images import folder_of_data

    entry = DOWNLOADS[options.name]
    folder = folder_of_data() if options.to is None else options.to
    progress = Progress(f"{options.name}, kB")
    for here, size in download(entry, folder, url=options.url):
        progress.show(here // 1000, size // 1000)
    progress.end()
    print(f"{folder}/{entry.file}: {entry.size:,} bytes with the published checksum")
