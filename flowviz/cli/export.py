"""export: a study as one HTML file that opens offline, or the player of Compare as a video."""

import argparse

from flowviz.cli.arguments import Commands, add_command
from flowviz.cli.experiment import BarProgress, config_parser

CANVASES = "compare, path, images or film"
"""Names of pages with a canvas, see `flowviz.studies.page.PAGES`."""

VIDEO = ("size", "seconds", "rest", "rate", "dark")
"""Options of a video, which are fields of `flowviz.studies.video.Video`."""


def add(commands: Commands) -> None:
    """Adds `export`."""
    parser = add_command(
        commands,
        "export",
        _export,
        "write a study, or the player of Compare or of one path, or a grid or film of images, as "
        "one HTML file that opens offline; Compare also as an .mp4 or .gif",
        "compare --data checkerboard --paths ot vp trig --out flow.html",
    )
    parser.add_argument("name", metavar="NAME", help=f"{CANVASES}, or a study of `experiment`")
    parser.add_argument(
        "settings",
        nargs=argparse.REMAINDER,
        metavar="...",
        help="settings of the study and --out, see `flowviz export NAME --help`",
    )


def _export(options: argparse.Namespace) -> None:
    from flowviz.files import check_target, write_bytes
    from flowviz.studies import STUDIES
    from flowviz.studies._flow import CompareConfig
    from flowviz.studies.page import PAGES, figures_page
    from flowviz.studies.video import Video, check_encoder, compare_video

    name, make = PAGES.get(options.name, (options.name, figures_page))
    study, films = STUDIES[name], options.name == "compare"
    parser = config_parser(study, f"flowviz export {options.name}")
    kinds = "HTML file to write; .mp4 or .gif for a video" if films else "HTML file to write"
    parser.add_argument("--out", metavar="FILE", required=True, help=kinds)
    if films:
        _add_video(parser)
    settings = vars(parser.parse_args(options.settings))
    out = check_target(settings.pop("out"))
    video_options = {key: settings.pop(key) for key in VIDEO if films and key in settings}
    suffix, video = out.suffix[1:].lower(), None
    if films and suffix != "html":
        video = Video(suffix=suffix, **video_options)
        check_encoder(suffix)
    elif suffix != "html" or video_options:
        need = ".mp4 or .gif with options of a video" if video_options else ".html"
        raise ValueError(f"--out must end in {need}; got {out.name}.")
    config = study.config(**settings)
    progress = BarProgress(study.name)
    result = study.result(config, progress=progress)
    progress.bar.end()
    if video is None:
        content = make(study, config, result)
    else:
        assert isinstance(config, CompareConfig)  # `films`
        drawing = BarProgress("drawing")
        content = compare_video(study, config, result, video, drawing)
        drawing.bar.end()
    write_bytes(out, content)
    print(f"{len(content) / 2**20:.2f} MB in {out}")


def _add_video(parser: argparse.ArgumentParser) -> None:
    """Adds the options of a video, without defaults."""
    group = parser.add_argument_group("videos", "of an .mp4, which needs the extra video, or .gif")
    group.add_argument(
        "--size", metavar="NAME", help="720p, 1080p or square (1080 x 1080); default: 720p"
    )
    group.add_argument(
        "--seconds", type=float, metavar="S", help="from t = 0 to t = 1 (default: 5)"
    )
    group.add_argument("--rest", type=float, metavar="S", help="at t = 1 at the end (default: 1)")
    group.add_argument(
        "--rate", type=int, metavar="N", help="frames per second (default: 24; a GIF at most 20)"
    )
    group.add_argument(
        "--dark", action="store_true", help="colours of the dark theme instead of the light one"
    )
