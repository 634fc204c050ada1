"""download: image sets from their authors' servers."""

import argparse

from flowviz.cli.arguments import Commands, NamesHelp, add_command
from flowviz.cli.printing import Progress


def add(commands: Commands) -> None:
    """Adds `download`."""
    parser = add_command(
        commands,
        "download",
        _download,
        "download an image set and verify it; a repeated call continues",
        "cifar10",
    )
    parser.add_argument(
        "name",
        metavar="NAME",
        help=NamesHelp("image set: %(IMAGE_SETS)s", IMAGE_SETS="flowviz.datasets.images"),
    )
    parser.add_argument(
        "--to", metavar="FOLDER", help="data folder (default: $FLOWVIZ_DATA, else ./data)"
    )
    parser.add_argument(
        "--url",
        metavar="URL",
        help="another address of the same file, or of the folder of several files; the checksum "
        "must be the published one",
    )


def _download(options: argparse.Namespace) -> None:
    from flowviz.datasets.download import download
    from flowviz.datasets.images import IMAGE_SETS, data_folder

    entries = IMAGE_SETS[options.name].downloads
    folder = data_folder() if options.to is None else options.to
    if not entries:
        print(f"{options.name} needs no download.")
    for entry in entries:
        url = options.url
        if url is not None and len(entries) > 1:
            url = f"{url.rstrip('/')}/{entry.file.rpartition('/')[2]}"
        with Progress(f"{entry.file}, kB") as progress:
            for done, size in download(entry, folder, url=url):
                progress.show(done // 1000, size // 1000)
        print(f"{folder}/{entry.file}: {entry.size:,} bytes with the published checksum")
