"""experiment: the studies that the pages show, with the same findings, figures and numbers."""

import argparse
import json
from dataclasses import MISSING, asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowviz.cli.arguments import Commands, Parser, add_command, add_json
from flowviz.cli.printing import Progress as Bar
from flowviz.cli.printing import table
from flowviz.files import check_target, write_text
from flowviz.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Concatenate

    from flowviz.progress import C, P, T
    from flowviz.settings import Config, Setting
    from flowviz.studies import Study

PARTS = 1_000
"""Resolution of the progress bar."""

OUTPUT = {"csv": None, "figure": None, "width": None, "json": False}
"""Options of every study, with their defaults; no setting may have these names."""

SYNONYMS = {"--method": ["--solver"], "--methods": ["--solvers"]}
"""Other names of options: those of `sample` and `evaluate`, and of links."""


def add(commands: Commands) -> None:
    """Adds `experiment`."""
    parser = add_command(
        commands,
        "experiment",
        _experiment,
        "compute a study that a page shows: findings, figures, table and numbers",
        "nfe-quality --data checkerboard --figure nfe.svg --csv nfe.csv",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="study; without it, the list")
    parser.add_argument(
        "settings",
        nargs=argparse.REMAINDER,
        metavar="...",
        help="settings of the study, see `flowviz experiment NAME --help`",
    )
    add_json(parser)


class BarProgress(Progress):
    """Progress that draws a bar on standard error and remembers partial results."""

    def __init__(self, label: str) -> None:
        super().__init__()
        self.bar = Bar(label)
        self._known: dict[Any, Any] = {}

    def report(self, share: float, doing: str = "") -> None:
        """See `Progress.report`."""
        super().report(share, doing)
        self.bar.show(int(PARTS * share), PARTS, self.doing)

    def cached(
        self,
        compute: "Callable[Concatenate[C, P], T]",
        config: "C",
        /,
        *args: "P.args",
        **kwargs: "P.kwargs",
    ) -> "T":
        """See `Progress.cached`."""
        key = compute, config
        if key not in self._known:
            self._known[key] = compute(config, *args, **kwargs)
        return self._known[key]


def _experiment(options: argparse.Namespace) -> None:
    from flowviz.studies import STUDIES

    if options.name is None:
        titles = {name: study.title for name, study in STUDIES.items()}
        if options.json:
            print(json.dumps(titles, indent=2, ensure_ascii=False))
        else:
            table(["name", "what it shows"], [list(row) for row in titles.items()])
        return
    study = STUDIES[options.name]
    values = vars(_parser(study).parse_args(options.settings))
    out = {name: values.pop(name, default) for name, default in OUTPUT.items()}
    config = study.config(**values)
    for name in ("csv", "figure"):
        if out[name]:
            check_target(out[name])
    if out["figure"]:
        from flowviz.studies.export import check_suffix, check_width

        check_suffix(Path(out["figure"]).suffix[1:])
        if out["width"] is not None:
            check_width(out["width"])
    progress = BarProgress(study.name)
    result = study.result(config, progress=progress)
    progress.bar.end()
    if out["csv"]:
        from flowviz.studies.export import csv_text

        settings = {"study": study.name, **asdict(config)}
        write_text(out["csv"], csv_text(settings, study.table(config, result)))
    if out["figure"]:
        _write_figures(study, config, result, Path(out["figure"]), out["width"])
    _print(study, config, result, as_json=out["json"] or options.json)


def _parser(study: "Study") -> argparse.ArgumentParser:
    """The parser of a study: one option for each setting, and those of the output."""
    parser = config_parser(study, f"flowviz experiment {study.name}")
    parser.add_argument("--csv", metavar="FILE", help="write the table of all numbers")
    parser.add_argument(
        "--figure",
        metavar="FILE",
        help=".svg, .png, .pdf or .html; of several figures each has its name before the suffix",
    )
    parser.add_argument(
        "--width", type=float, metavar="MM", help="printed width: 85 for a column, 178 for a page"
    )
    parser.add_argument("--json", action="store_true", help="print config, findings and numbers")
    return parser


def config_parser(study: "Study", prog: str) -> argparse.ArgumentParser:
    """The parser of the settings of a study, one option for each; `prog` is in messages."""
    from flowviz.settings import settings

    parser = Parser(prog=prog, description=f"{study.title}.", argument_default=argparse.SUPPRESS)
    for each in settings(study.config).values():
        _add_option(parser, each)
    return parser


def _add_option(parser: argparse.ArgumentParser, setting: "Setting") -> None:
    text = " ".join(filter(None, [setting.label.rstrip(".") + ".", setting.help]))
    if setting.kind in ("data", "path"):
        text += f" Names: {', '.join(_names(setting.kind))}."
    if setting.options is not None:
        text += f" One of: {', '.join(map(str, setting.options))}."
    if setting.bounds is not None:
        text += f" Range: {setting.bounds[0]:g} to {setting.bounds[1]:g}."
    if setting.default is not MISSING:
        default = " ".join(map(str, setting.default)) if setting.several else setting.default
        text += f" (default: {default})"
    text = text.replace("%", "%%")
    if setting.type is bool:
        parser.add_argument(setting.flag, action=argparse.BooleanOptionalAction, help=text)
        return
    parser.add_argument(
        setting.flag,
        *SYNONYMS.get(setting.flag, ()),
        type=setting.type,
        metavar="NAME" if setting.type is str else "X",
        required=setting.default is MISSING,
        help=text,
        **({"nargs": "+", "action": _Tuple} if setting.several else {}),
    )


def _names(kind: str) -> list[str]:
    """The built-in data sets or the paths; more are described in `flowviz --help`."""
    from flowviz.datasets import DATASETS
    from flowviz.schedulers import SCHEDULERS

    return list(DATASETS if kind == "data" else SCHEDULERS)


class _Tuple(argparse.Action):
    """Stores several values as a tuple."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        setattr(namespace, self.dest, tuple(values))


def _write_figures(
    study: "Study", config: "Config", result: object, path: Path, width_mm: float | None
) -> None:
    from flowviz.studies.export import command_line, save

    figures, made_by = study.draw(config, result), command_line(study, config)
    for each in figures:
        target = path if len(figures) == 1 else path.with_stem(f"{path.stem}-{each.name}")
        save(each, target, width_mm=width_mm, made_by=made_by)


def _print(study: "Study", config: "Config", result: object, *, as_json: bool) -> None:
    findings = study.say(config, result)
    if as_json:
        from flowviz.studies.study import to_json

        answer = {
            "experiment": study.name,
            "config": to_json(config),
            "findings": to_json(findings),
            "result": to_json(result),
        }
        print(json.dumps(answer, allow_nan=False, ensure_ascii=False))
        return
    changed = ", ".join(f"{name} {value}" for name, value in config.changed().items())
    print(f"{study.title}{f' ({changed})' if changed else ''}")
    summary = study.summarise(config, result)
    if summary is not None:
        print(f"\n{summary.title}")
        table(summary.heads, [list(row) for row in summary.rows])
    for finding in findings:
        print(f"\n{finding}")
