"""export: a study as one HTML file that opens without a server and without the internet."""

import argparse

from flowviz.cli.arguments import Commands, add_command
from flowviz.cli.experiment import BarProgress, config_parser

COMPARE = "compare"
"""Name of the player with both flows, as on the page Compare; its settings are those of `flow`."""


def add(commands: Commands) -> None:
    """Adds `export`."""
    parser = add_command(
        commands,
        "export",
        _export,
        "write a study, or the player of Compare, as one HTML file that opens offline",
        "compare --data checkerboard --left ot --right vp --out flow.html",
    )
    parser.add_argument("name", metavar="NAME", help=f"{COMPARE}, or a study of `experiment`")
    parser.add_argument(
        "settings",
        nargs=argparse.REMAINDER,
        metavar="...",
        help="settings of the study and --out, see `flowviz export NAME --help`",
    )


def _export(options: argparse.Namespace) -> None:
    from flowviz.files import check_target, write_bytes
    from flowviz.studies import STUDIES
    from flowviz.studies.page import compare_page, figures_page

    study = STUDIES["flow" if options.name == COMPARE else options.name]
    parser = config_parser(study, f"flowviz export {options.name}")
    parser.add_argument("--out", metavar="FILE", required=True, help="HTML file to write")
    given = vars(parser.parse_args(options.settings))
    out = check_target(given.pop("out"))
    if out.suffix != ".html":
        raise ValueError(f"--out must end in .html; got {out.name}.")
    config = study.config(**given)
    progress = BarProgress(study.name)
    result = study.result(config, progress=progress)
    progress.bar.end()
    make = compare_page if options.name == COMPARE else figures_page
    content = make(study, config, result)
    write_bytes(out, content)
    print(f"{len(content) / 2**20:.2f} MB in {out}")
