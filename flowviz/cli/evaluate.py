"""evaluate: quality and cost of the samples of a checkpoint."""

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from flowviz.cli.arguments import (
    NFES,
    Commands,
    NamesHelp,
    add_checkpoint,
    add_command,
    add_draws,
    add_grid,
    add_json,
    add_solver,
    checked_number,
    is_adaptive,
    solve_config,
)
from flowviz.cli.images import add_drawing, draws_images
from flowviz.cli.judging import add_judging, evaluate_images
from flowviz.cli.printing import Progress, rounded, table

if TYPE_CHECKING:
    from flowviz.datasets import Dataset
    from flowviz.experiments.evaluate import EvaluateConfig, FlowField

SAMPLES = 20_000
"""Default number of samples of the plane."""

JUDGED = 4_000
"""Default number of data points whose log-likelihood is computed."""


def add(commands: Commands) -> None:
    """Adds `evaluate`."""
    evaluate = add_command(
        commands,
        "evaluate",
        _evaluate,
        "measure samples of a checkpoint at several numbers of evaluations (NFE)",
        "checkerboard-ot --solver midpoint --nfe 4 8 10 20 --json",
    )
    add_checkpoint(evaluate)
    add_solver(evaluate, "midpoint", NFES)
    add_grid(evaluate)
    add_draws(evaluate, SAMPLES)
    evaluate.set_defaults(n=None)  # images are fewer
    add_drawing(evaluate)
    add_judging(evaluate)
    evaluate.add_argument(
        "--metrics",
        nargs="+",
        metavar="NAME",
        help=NamesHelp(
            "metrics (default: all; w2 and mmd are slow); of the plane: %(METRICS)s; of images: "
            "%(IMAGE_METRICS)s",
            METRICS="flowviz.metrics",
            IMAGE_METRICS="flowviz.metrics.images",
        ),
    )
    evaluate.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help="add the curve of cost and quality over N seeds from --seed on, with errors, floors "
        "and the NFE at which the floor is reached; for other curves see `experiment`",
    )
    evaluate.add_argument(
        "--error",
        action="store_true",
        help="add the solver's error: the distance of each sample from the converged solution "
        "(float64) with the same field and noise",
    )
    evaluate.add_argument(
        "--trace",
        action="store_true",
        help="list the times of the steps and the rejected steps of an adaptive solver",
    )
    evaluate.add_argument(
        "--likelihood",
        type=int,
        metavar="N",
        help="number of data points whose log-likelihood is computed; 0 for none "
        f"(default: {JUDGED})",
    )
    evaluate.add_argument(
        "--save",
        action="store_true",
        help="store the numbers in the card, or of images in NAME.quality.json",
    )
    add_json(evaluate)


def _evaluate(options: argparse.Namespace) -> None:
    if draws_images(options.checkpoint):
        evaluate_images(options)
        return
    options.n = SAMPLES if options.n is None else options.n
    from flowviz.checkpoints import rewrite_quality
    from flowviz.experiments.fields import FieldRef

    if options.save and options.checkpoint.startswith("exact:"):
        raise ValueError(
            f"--save needs a checkpoint with a card; {options.checkpoint} is the exact field."
        )
    requested = JUDGED if options.likelihood is None else options.likelihood
    points = checked_number(requested, "--likelihood", minimum=0)
    budgets = [None] if is_adaptive(options) else options.nfe or NFES
    configs = [solve_config(options, nfe) for nfe in budgets]
    source = FieldRef.of(options.checkpoint)
    double = source.double() if options.error else None
    answer = judge(source.field, source.dataset, configs, points, double, trace=options.trace)
    if options.save:
        rewrite_quality(options.checkpoint, answer)
    if options.seeds is not None:
        answer["curve"] = _curve(options, configs)
    if options.json:
        source_entry = {"checkpoint": options.checkpoint, "data": source.data}
        print(json.dumps(source_entry | answer, indent=2))
        return
    _print(options, answer)
    if answer["likelihood"]:
        _print_likelihood(answer["likelihood"])
    elif points:
        print(f"No likelihood: {answer['failure']}")


def _print(options: argparse.Namespace, answer: dict[str, Any]) -> None:
    """Prints the table of the evaluations and what its columns mean."""
    rows = answer["evaluations"]
    errors = [[f"{row['error']['mse']:.4g}"] if row["error"] else [] for row in rows]
    table(
        ["nfe", "steps", *(["mse"] if options.error else []), *rows[0]["measures"]],
        [
            [row["nfe"], row["steps"], *error, *map(_beside_floor, row["measures"].values())]
            for row, error in zip(rows, errors, strict=True)
        ],
    )
    spreads = [
        f"{name} {measure['floor']:.4g} +- {measure['floor_error']:.1g}"
        for name, measure in rows[0]["measures"].items()
        if measure["floor"]
    ]
    print(
        "In brackets: ratio to the floor, the mean value of fresh data and thus of a perfect "
        f"sampler: {', '.join(spreads)}."
    )
    if options.error:
        print(
            "mse: squared distance per dimension from the converged flow of the same field "
            f"(float64, NFE {rows[0]['error']['reference_nfe']})."
        )
    if options.seeds is not None:
        for target, reached in answer["curve"]["reach"].items():
            text = "not reached" if reached is None else f"NFE {reached['nfe']:.4g}"
            print(f"{target} of {options.seeds} seeds: {text}")
    for row in rows if options.trace else []:
        print(f"steps: {' '.join(f'{t:.6g}' for t in row['step_times'])}")
        for t, dt in row["refused"]:
            print(f"rejected: t = {t:.6g}, dt = {dt:.3g}")


def _print_likelihood(likelihood: dict[str, Any]) -> None:
    above = "" if likelihood["kl"] is None else f", KL(data || model) {likelihood['kl']:.4f}"
    error = likelihood["error"]
    known = "no standard error of one" if error is None else f"standard error {error:.4f}"
    print(
        f"-log p of {likelihood['n']} fresh data: {likelihood['nll']:.4f}{above} ({known}) nats, "
        f"NFE {likelihood['nfe']}"
    )


def judge(
    field: "FlowField",
    dataset: "Dataset",
    configs: "list[EvaluateConfig]",
    points: int,
    double: "FlowField | None" = None,
    *,
    trace: bool = False,
) -> dict[str, Any]:
    """What `evaluate` measures, as JSON.

    Args:
        points: number of data points whose log-likelihood is computed.
        double: the field in float64, for the solver's error; None for no error.
        trace: whether to keep the times of the steps.
    """
    from flowviz.experiments.evaluate import evaluations, likelihood
    from flowviz.solvers import SolveError

    rows, total = [], len(configs) + bool(points)
    judged, failure = None, ""
    with Progress("evaluating") as progress:
        progress.show(0, total)
        for evaluation in evaluations(field, dataset, configs, double=double):
            row = asdict(evaluation)
            if not trace:
                del row["step_times"], row["refused"]
            rows.append(row)
            progress.show(len(rows), total)
        if points:
            try:
                judged = asdict(likelihood(field, dataset, n=points, seed=configs[0].seed))
            except SolveError as error:
                failure = str(error)
            progress.show(total, total)
    return rounded({"evaluations": rows, "likelihood": judged, "failure": failure})


def _curve(options: argparse.Namespace, configs: "list[EvaluateConfig]") -> dict[str, Any]:
    """The curve of cost and quality, as JSON."""
    from flowviz.experiments.nfe_quality import solver_curve
    from flowviz.experiments.solver_curves import CurveConfig
    from flowviz.studies.study import to_json

    first = configs[0]
    config = CurveConfig(
        source=options.checkpoint,
        method=first.method,
        budgets=tuple(first.tol if each.nfe is None else each.nfe for each in configs),
        grid=first.grid,
        n=first.n,
        seed=first.seed,
        seeds=checked_number(options.seeds, "--seeds"),
        metrics=first.metrics,
    )
    return rounded(to_json(solver_curve(config)))


def _beside_floor(measure: dict[str, Any]) -> str:
    ratio = f" ({measure['ratio']:.2f}x)" if measure["ratio"] is not None else ""
    return f"{measure['value']:.4g}{ratio}"
