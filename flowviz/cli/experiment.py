"""experiment: what the pages draw, by the same configs and the same code."""

import argparse
import inspect
import itertools
import json
import re
from dataclasses import MISSING, asdict, fields
from typing import Any, get_args, get_origin, get_type_hints

from flowviz.cli.arguments import Commands, Parser, add_command, add_json
from flowviz.cli.printing import Progress, table

PARTS = 100
"""Of a bar, for each config."""


def add(commands: Commands) -> None:
    """Adds `experiment`."""
    parser = add_command(
        commands,
        "experiment",
        _experiment,
        "compute the numbers that a page draws, from the same config by the same code",
        "density --field checkerboard-ot --t 0 0.5 1 --json",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="experiment; without, all of them")
    parser.add_argument(
        "settings",
        nargs=argparse.REMAINDER,
        metavar="...",
        help="its settings, which `flowviz experiment NAME --help` explains",
    )
    add_json(parser)


def _experiment(options: argparse.Namespace) -> None:
    from flowviz.experiments.catalogue import EXPERIMENTS, plain, run

    if options.name is None:
        labels = {name: entry.label for name, entry in EXPERIMENTS.items()}
        if options.json:
            print(json.dumps(labels, indent=2, ensure_ascii=False))
        else:
            table(["name", "what it computes (page)"], [list(row) for row in labels.items()])
        return
    kind = EXPERIMENTS[options.name].config
    given = vars(_settings(options.name, kind).parse_args(options.settings))
    as_json = given.pop("json") or options.json
    configs = [kind(**each) for each in _combined(kind, given)]
    progress, answers = Progress(options.name), []
    for k, config in enumerate(configs):
        for result in run(options.name, config):
            share = getattr(result, "share", 1.0)
            progress.show(PARTS * k + int(PARTS * share), PARTS * len(configs))
        answers.append({"config": asdict(config), "result": plain(result)})
    progress.end()
    if as_json:
        print(json.dumps({"experiment": options.name, "results": answers}, allow_nan=False))
        return
    for answer in answers:
        changed = ", ".join(f"{k} {v}" for k, v in answer["config"].items() if k in given)
        print(f"{options.name}{': ' if changed else ''}{changed}")
        for name, value in _leaves(answer["result"]):
            print(f"  {name}: {value}")


def _settings(name: str, kind: type) -> argparse.ArgumentParser:
    """The parser of an experiment's settings, one a field of its config."""
    from flowviz.experiments.catalogue import EXPERIMENTS

    parser = Parser(
        prog=f"flowviz experiment {name}",
        description=f"Computes {EXPERIMENTS[name].label}.",
        epilog="A setting of one value may be given several: each is computed. A field that is a "
        "checkpoint brings its own data and path. Of the results all numbers, arrays as lists.",
        argument_default=argparse.SUPPRESS,
    )
    helps, hints = _helps(kind), get_type_hints(kind)
    for field in fields(kind):
        hint, flag = hints[field.name], f"--{field.name.replace('_', '-')}"
        text = helps[field.name].replace("%", "%%")
        default = field.default
        if default is not MISSING:
            shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
            text += f" (default: {shown})"
        if hint is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, help=text)
            continue
        several = get_origin(hint) is tuple
        parser.add_argument(
            flag,
            nargs="+",
            type=get_args(hint)[0] if several else hint,
            metavar="NAME" if hint is str or str in get_args(hint) else "X",
            required=default is MISSING,
            help=text,
        )
    parser.add_argument(
        "--json", action="store_true", default=False, help="print JSON, in place of what is short"
    )
    return parser


def _combined(kind: type, given: dict[str, Any]) -> list[dict[str, Any]]:
    """The settings of each config: every value of one setting with every value of the others."""
    from flowviz.experiments.evolution import EXACT
    from flowviz.experiments.sources import source
    from flowviz.experiments.theorem2 import NEW

    hints = get_type_hints(kind)
    choices = {
        name: [tuple(value)] if get_origin(hints[name]) is tuple else value
        for name, value in given.items()
        if hints[name] is not bool
    }
    flags = {name: value for name, value in given.items() if hints[name] is bool}
    rows = []
    for values in itertools.product(*choices.values()):
        row = flags | dict(zip(choices, values, strict=True))
        if row.get("field", EXACT) not in (EXACT, NEW):
            origin = source(row["field"])
            row = {"data": origin.data, "path": origin.path_spec} | row
        rows.append(row)
    return rows


def _helps(kind: type) -> dict[str, str]:
    """What the docstrings of a config and its bases say of each field."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        _, _, text = inspect.cleandoc(each.__doc__ or "").partition("Attributes:\n")
        entries = re.findall(r"^    (\w+): (.*(?:\n     +.*)*)", text, flags=re.MULTILINE)
        found |= {name: " ".join(said.split()).rstrip(".") for name, said in entries}
    return found


def _leaves(value: object, name: str = "") -> list[tuple[str, str]]:
    """The numbers and names of a result by their place, and of arrays the shape alone."""
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        pairs = enumerate(value)
    elif isinstance(value, list):
        shape, inner = [], value
        while isinstance(inner, list):
            shape.append(len(inner))
            inner = inner[0] if inner else None
        short = len(shape) == 1 and len(value) <= 8
        told = " ".join(map(_brief, value)) if short else f"array {' x '.join(map(str, shape))}"
        return [(name, told)]
    else:
        return [(name, _brief(value))]
    return [leaf for key, item in pairs for leaf in _leaves(item, f"{name}.{key}".lstrip("."))]


def _brief(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
