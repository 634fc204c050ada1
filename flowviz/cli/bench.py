"""bench: speed against other projects on the same work."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from flowviz.cli.arguments import Commands, add_command, add_json, add_number
from flowviz.cli.printing import Progress, rounded

if TYPE_CHECKING:
    from flowviz.experiments.benchmark import Timing
    from flowviz.experiments.benchmark_scaling import Cost
    from flowviz.experiments.benchmark_training import Trained

MARKS = "<!-- bench -->", "<!-- /bench -->"
"""What encloses the table in a Markdown file."""


def add(commands: Commands) -> None:
    """Adds `bench`."""
    bench = add_command(
        commands,
        "bench",
        _bench,
        "measure sampling and exact log-likelihood with a field of the plane in turns with other "
        "projects; ratios above 1 mean that flowviz is faster",
        "--peers --json",
    )
    bench.add_argument(
        "checkpoint",
        nargs="?",
        default="checkerboard-ot",
        metavar="CHECKPOINT",
        help="learned field of the plane (default: checkerboard-ot)",
    )
    bench.add_argument(
        "--peers",
        action="store_true",
        help="also measure flow_matching, which `pip install flowviz[peers]` installs",
    )
    add_number(bench, "--rounds", 7, "rounds of each task")
    add_number(bench, "--large", 100_000, "samples of the large task")
    add_number(bench, "--threads", 1, "threads of each contestant")
    bench.add_argument(
        "--training",
        type=float,
        metavar="SECONDS",
        help="also train the checkerboard for SECONDS of processor time with each of six settings "
        "of flowviz and torchcfm, one thread; needs the peers",
    )
    bench.add_argument(
        "--scaling",
        action="store_true",
        help="also measure time and memory for up to 1,000,000 points and 100 evaluations",
    )
    bench.add_argument(
        "--write", type=Path, metavar="FILE", help=f"replace the text between {MARKS[0]} in FILE"
    )
    add_json(bench)


def _bench(options: argparse.Namespace) -> None:
    import os

    from flowviz.checkpoints import load
    from flowviz.device import limit_threads
    from flowviz.experiments.benchmark import machine, measure, tasks
    from flowviz.experiments.benchmark_scaling import scaling
    from flowviz.experiments.benchmark_training import compare_training
    from flowviz.fields import LearnedField

    if options.training is not None and not options.training > 0:
        raise ValueError(f"--training must be positive; got {options.training}.")
    if options.rounds < 2 or options.large < 1 or options.threads < 1:
        raise ValueError(
            "--rounds must be 2 or more, --large and --threads 1 or more; got "
            f"{options.rounds}, {options.large} and {options.threads}."
        )
    if options.write:
        inserted(options.write.read_text(), "")  # refuses a file without marks before the work
    os.environ["FLOWVIZ_THREADS"] = str(options.threads)
    limit_threads(options.threads)
    timings = []
    costs = []
    field = load(options.checkpoint).field
    if not isinstance(field, LearnedField):
        raise ValueError(f"--checkpoint must not have a learned path; got {options.checkpoint}.")
    with Progress("measuring") as progress:
        chosen = list(tasks(field, peers=options.peers, large=options.large))
        for k, task in enumerate(chosen):
            progress.show(k, len(chosen), task.label)
            timings += measure(task, rounds=options.rounds)
        if options.scaling:
            progress.show(len(chosen), len(chosen), "time and memory")
            costs = list(scaling(field))
    text = markdown(timings)
    trained = []
    if options.training is not None:
        trained = compare_training(options.training)
        text += "\n\n" + training_table(trained)
    if costs:
        text += "\n\n" + scaling_table(costs)
    processor = machine()
    text += "\n\n" + "; ".join(f"{name}: {value}" for name, value in processor.items()) + "."
    if options.write:
        options.write.write_text(inserted(options.write.read_text(), text))
    if options.json:
        results = {"machine": processor, "timings": [asdict(timing) for timing in timings]}
        results["scaling"] = [asdict(cost) for cost in costs]
        results["training"] = [asdict(each) for each in trained]
        print(json.dumps(rounded(results), indent=2))
    else:
        print(text)


def markdown(timings: "list[Timing]") -> str:
    """A Markdown table of ratios."""
    by_task = {timing.task: timing for timing in timings if timing.contestant == "flowviz"}
    rows = [
        f"{each.task} | {each.contestant} | {each.ratio:.2f} ({each.low:.2f} to {each.high:.2f}) "
        f"| {by_task[each.task].rate:,.0f} {each.unit}/s"
        for each in timings
        if each.contestant != "flowviz"
    ]
    return _table("task | compared with | times faster (quartiles) | rate of flowviz", rows)


def training_table(trained: "list[Trained]") -> str:
    """A Markdown table of the quality after training."""
    rows = [
        f"{each.contestant} | {each.steps:,} | {100 * each.off_board:.1f}%" for each in trained
    ]
    return _table(f"training for {trained[0].seconds:.0f} s | steps | off the board", rows)


def scaling_table(costs: "list[Cost]") -> str:
    """A Markdown table of time and memory against points and NFE."""
    rows = []
    for cost in costs:
        memory = "not measured" if cost.memory is None else f"{cost.memory / 1e6:.0f} MB"
        microseconds = 1e6 * cost.seconds / (cost.points * cost.nfe)
        rows.append(
            f"{cost.task} | {cost.points:,} | {cost.nfe} | {cost.seconds:.2f} s | "
            f"{microseconds:.1f} µs | {memory}"
        )
    return _table("midpoint | points | NFE | time | per point and evaluation | memory", rows)


def _table(head: str, rows: list[str]) -> str:
    """A Markdown table of rows whose cells are separated by bars."""
    rule = "---|" * (head.count("|") + 1)
    return "\n".join([f"| {head} |", f"|{rule}", *(f"| {row} |" for row in rows)])


def inserted(document: str, text: str) -> str:
    """The document with the text between the two MARKS replaced.

    Raises:
        ValueError: it does not have both marks once, in order.
    """
    start, end = MARKS
    if document.count(start) != 1 or document.count(end) != 1 or end in document.split(start)[0]:
        raise ValueError(f"The file must contain {start} and, after it, {end}, once each.")
    head, tail = document.split(start)
    return f"{head}{start}\n{text}\n{end}{tail.split(end)[1]}"
