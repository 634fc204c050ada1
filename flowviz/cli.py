"""The command line: the engine without a browser, for scripts, GPU machines and tests.

This file parses and prints; all else is the engine's. PyTorch is imported where a command needs
it, so that --help answers at once.
"""

import argparse
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from flowviz import __version__

if TYPE_CHECKING:
    import torch

    from flowviz.checkpoints import Run
    from flowviz.datasets import Dataset
    from flowviz.experiments.evaluate import EvaluateConfig, FlowField
    from flowviz.experiments.sources import Source
    from flowviz.training import TrainConfig, TrainState

__all__ = ["build_parser", "main"]

MOST_SAMPLES = 10_000_000
NFE = 20
"""Field evaluations of a fixed-step solver that is given no number."""

NFES = [4, 8, 10, 20]
"""Likewise of `evaluate`."""

TOL = 1e-5
"""Tolerance of an adaptive solver that is given none."""

QUALITY_NFES = [20, 100]
"""Field evaluations with which `train` measures what it trained, by the midpoint method."""

CHUNK = 4_096
"""States that one fixed-step solve carries, so that a network's layers stay in a core's cache; an
adaptive one takes all, as its steps depend on them."""

SAVE_EVERY = 30.0
"""Seconds between two saved states of a training run."""

SPECS = """\
what DATA, PATH and CHECKPOINT can be:
  DATA         a built-in data set (`flowviz names`), mixture:-2,0;2,0@0.3 (means, then the
               standard deviation), word:FLOW, or a file: a .csv with two columns of numbers, or
               a picture whose dark pixels are sampled
  PATH         ot, vp, trig or ve, with parameters where wanted: vp:beta_min=0.1,beta_max=10
  CHECKPOINT   a name (`flowviz checkpoints`), a .safetensors file, or exact:DATA/PATH for the
               closed-form field, which needs no training

Checkpoints are looked up in the folders of $FLOWVIZ_CHECKPOINTS, then in flowviz's own. Whatever
is drawn at random follows --seed. Computation takes $FLOWVIZ_THREADS threads (1 by default, which
is fastest for such small networks). Errors are one sentence, with exit code 2.
"""

TRAINING = {
    "data": (str, "DATA", "data set to learn"),
    "path": (str, "PATH", "conditional path"),
    "objective": (str, "NAME", "what the network predicts: flow, noise or score"),
    "coupling": (str, "NAME", "pairing of noise and data: independent or minibatch-ot"),
    "batch": (int, "N", "pairs a step"),
    "lr": (float, "X", "peak learning rate; it warms up, then falls linearly to 0"),
    "width": (int, "N", "units of a hidden layer"),
    "depth": (int, "N", "hidden layers"),
    "octaves": (int, "N", "frequencies of the positional features"),
    "ema": (float, "X", "decay of the averaged weights, which are the ones that are kept"),
    "seed": (int, "N", "seed of the weights and of every draw"),
}
"""Options of `train` that are fields of a TrainConfig: type, metavar, help."""


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint is one sentence."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message[:1].upper()}{message[1:]}; see `{self.prog} --help`.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0, 2 after an error, 130 when interrupted."""
    try:
        options = build_parser().parse_args(arguments)
        _start()
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
        print(f"flowviz: {error}", file=sys.stderr)
        return 2


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; what it parses has `command`, the function to call with it."""
    parser = _Parser(
        prog="flowviz",
        description="Flow matching and diffusion in the plane, without a browser.",
        epilog=SPECS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"flowviz {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(
        name: str, command: Callable[[argparse.Namespace], int | None], help: str, example: str
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name,
            help=help,
            description=f"{help[:1].upper()}{help[1:]}.",
            epilog=f"example:\n  flowviz {name} {example}\n\n{SPECS}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.set_defaults(command=command)
        return added

    names = add(
        "names", _names, "list all data sets, paths, solvers and other choices by name", "--json"
    )
    _add_json(names)

    listed = add("checkpoints", _checkpoints, "list the checkpoints that have a name", "--json")
    _add_json(listed)

    data = add(
        "data",
        _data,
        "draw fresh samples of a data set, (n, 2) float32",
        "checkerboard -n 20000 --out x.npy",
    )
    data.add_argument("data", metavar="DATA", help="data set to draw from")
    _add_draws(data, 10_000)
    _add_out(data, "samples, in the data set's own coordinates")

    training = add(
        "train",
        _train,
        "train a field; an interrupted run goes on with --resume, to the bit",
        "--data checkerboard --path ot --steps 3000 --out board.safetensors",
    )
    for key, (kind, metavar, text) in TRAINING.items():
        training.add_argument(f"--{key}", type=kind, metavar=metavar, help=text)
    training.add_argument(
        "--preconditioned",
        action=argparse.BooleanOptionalAction,
        help="let the network predict the remainder of the best linear prediction",
    )
    length = training.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int, metavar="N", help="optimiser steps")
    length.add_argument(
        "--seconds",
        type=float,
        metavar="S",
        help="as many steps as fit, found by a short trial at the start; the clock has the last "
        "word, and --resume makes the steps that it cut off",
    )
    training.add_argument(
        "--device", default="auto", metavar="NAME", help="auto, cpu, cuda or mps (default: auto)"
    )
    training.add_argument(
        "--precision",
        choices=["float16", "float32"],
        default="float16",
        help="of the stored weights (default: float16)",
    )
    training.add_argument(
        "--quality",
        type=int,
        default=2_000,
        metavar="N",
        help="samples to measure at the end, for the card; 0 for none (default: 2000)",
    )
    training.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run saved beside FILE; options not given are that run's",
    )
    training.add_argument(
        "--out",
        required=True,
        metavar="FILE",
        help="checkpoint to write: FILE.safetensors, its card FILE.json, FILE.run to resume from",
    )
    images = training.add_argument_group(
        "images",
        "--data cifar10 (its official binary files in $FLOWVIZ_DATA or ./data) or digits trains a "
        "U-Net; FILE is then the folder of the run, and --seconds the length of this call alone",
    )
    images.add_argument(
        "--preset", metavar="NAME", help="recipe: small, tiny, torchcfm or paper (default: small)"
    )
    images.add_argument("--images", type=int, metavar="N", help="images seen in the whole run")
    images.add_argument(
        "--compile",
        action="store_true",
        help="prepare the network by torch.compile, which pays on CUDA",
    )

    sample = add(
        "sample",
        _sample,
        "draw samples of a checkpoint, (n, 2) float32, and print the evaluations it took (NFE)",
        "checkerboard-ot --solver midpoint --nfe 20 -n 10000 --out samples.npy",
    )
    _add_checkpoint(sample)
    _add_solver(sample, "midpoint", NFE)
    _add_grid(sample)
    _add_draws(sample, 10_000)
    _add_out(sample, "samples, in the data set's own coordinates")

    evaluate = add(
        "evaluate",
        _evaluate,
        "measure samples of a checkpoint at several numbers of evaluations (NFE)",
        "checkerboard-ot --solver midpoint --nfe 4 8 10 20 --json",
    )
    _add_checkpoint(evaluate)
    _add_solver(evaluate, "midpoint", NFES)
    _add_grid(evaluate)
    _add_draws(evaluate, 20_000)
    evaluate.add_argument(
        "--metrics",
        nargs="+",
        metavar="NAME",
        help="measures to take (`flowviz names`; default: all; w2 and mmd are slow)",
    )
    evaluate.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help="add the curve that the app draws: N seeds from --seed on, with error, floors and "
        "the NFE at which the solver arrives",
    )
    evaluate.add_argument(
        "--error",
        action="store_true",
        help="measure the solver's error too: the distance of each sample from where the "
        "converged flow of the same field (float64) carries its noise",
    )
    evaluate.add_argument(
        "--trace",
        action="store_true",
        help="list the times of the steps, and the steps that an adaptive solver rejected",
    )
    evaluate.add_argument(
        "--likelihood",
        type=int,
        default=4_000,
        metavar="N",
        help="fresh data whose log-likelihood is taken; 0 for none (default: 4000)",
    )
    evaluate.add_argument(
        "--save", action="store_true", help="keep the numbers in the checkpoint's card, as quality"
    )
    _add_json(evaluate)

    logprob = add(
        "logprob",
        _logprob,
        "compute log-likelihoods of points in nats, by the exact divergence",
        "checkerboard-ot points.npy --out logp.npy",
    )
    _add_checkpoint(logprob)
    _add_points(logprob)
    _add_solver(logprob, "dopri5", NFE)
    _add_idle_seed(logprob)
    _add_out(logprob, "log-likelihoods, (n,), in the points' precision")

    field = add(
        "field",
        _field,
        "compute the exact marginal velocity at points, in their precision",
        "--data checkerboard --path vp points.npy --t 0.5 --out u.npy",
    )
    field.add_argument("--data", required=True, metavar="DATA", help="data set at t = 1")
    field.add_argument("--path", required=True, metavar="PATH", help="conditional path")
    _add_points(field)
    field.add_argument(
        "--t", type=float, required=True, metavar="T", help="time: 0 is noise, 1 is data"
    )
    _add_idle_seed(field)
    _add_out(field, "velocities, (n, 2)")
    return parser


def _add_checkpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="name, file or exact:DATA/PATH")


def _add_points(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "points",
        metavar="POINTS",
        help=".npy of shape (n, 2), in the data set's own coordinates",
    )


def _add_draws(parser: argparse.ArgumentParser, n: int) -> None:
    parser.add_argument(
        "-n", type=int, default=n, metavar="N", help=f"number of samples (default: {n})"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed (default: 0)")


def _add_idle_seed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="taken so that a script can give every command its seed; nothing is drawn here",
    )


def _add_solver(parser: argparse.ArgumentParser, solver: str, nfe: int | list[int]) -> None:
    several = isinstance(nfe, list)
    default = " ".join(map(str, nfe)) if several else str(nfe)
    parser.add_argument(
        "--solver",
        default=solver,
        metavar="NAME",
        help=f"euler, midpoint, heun, rk4, dopri5 ... (`flowviz names`; default: {solver})",
    )
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument(
        "--nfe",
        type=int,
        nargs="+" if several else None,
        metavar="N",
        help=f"field evaluations of a fixed-step solver (default: {default})",
    )
    budget.add_argument(
        "--tol", type=float, metavar="X", help="tolerance of an adaptive solver (default: 1e-5)"
    )


def _add_grid(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--grid",
        default="uniform",
        metavar="NAME",
        help="where the steps of a fixed-step solver lie: uniform in t, log-snr or edm "
        "(default: uniform)",
    )


def _add_out(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--out", required=True, metavar="FILE", help=f".npy to write: {what}")


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")


def _names(options: argparse.Namespace) -> None:
    from flowviz.couplings import COUPLINGS
    from flowviz.datasets import DATASETS
    from flowviz.grids import GRIDS
    from flowviz.metrics import METRICS
    from flowviz.objectives import OBJECTIVES
    from flowviz.schedulers import SCHEDULERS
    from flowviz.solvers import METHODS

    registries = [DATASETS, SCHEDULERS, OBJECTIVES, COUPLINGS, METHODS, GRIDS, METRICS]
    labels = {
        registry.kind: {name: getattr(entry, "label", "") for name, entry in registry.items()}
        for registry in registries
    }
    if options.json:
        print(json.dumps(labels, indent=2, ensure_ascii=False))
        return
    for kind, entries in labels.items():
        print(f"{kind}:")
        width = max(map(len, entries))
        for name, label in entries.items():
            print(f"  {name:<{width}}  {label}".rstrip())


def _checkpoints(options: argparse.Namespace) -> None:
    from flowviz.checkpoints import find, listing

    cards = listing(lambda error: print(f"flowviz: {error}", file=sys.stderr))
    if options.json:
        rows = [asdict(card) | {"file": str(find(card.name))} for card in cards]
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    _table(
        ["name", "data", "path", "objective", "steps", "file"],
        [
            [card.name, card.data, card.path, card.objective, card.steps, find(card.name)]
            for card in cards
        ],
    )


def _data(options: argparse.Namespace) -> None:
    import torch

    from flowviz.datasets import dataset
    from flowviz.files import check_target, write_array

    out = check_target(options.out)
    chosen = dataset(options.data)
    generator = torch.Generator().manual_seed(_seed(options))
    x_1 = chosen.sample(_count(options), generator)
    write_array(out, chosen.to_user(x_1).float().numpy())
    print(f"{len(x_1)} samples of {chosen.label} in {out}")


def _train(options: argparse.Namespace) -> int:
    from flowviz.datasets.images import IMAGE_SETS

    if options.preset is not None or options.images is not None or options.data in IMAGE_SETS:
        return _train_images(options)
    from flowviz.checkpoints import (
        checkpoint_file,
        describe,
        load,
        load_run,
        rewrite_quality,
        run_file,
        save,
    )
    from flowviz.datasets import dataset
    from flowviz.device import choose_device
    from flowviz.experiments.evaluate import EvaluateConfig
    from flowviz.files import check_target
    from flowviz.training import TrainConfig, steps_within, train

    out = check_target(checkpoint_file(options.out))
    if options.seconds is not None and not options.seconds > 0:
        raise ValueError(f"--seconds must be positive; got {options.seconds:g}.")
    quality = _number(options.quality, "--quality", least=0)
    device = choose_device(options.device)
    given = {key: getattr(options, key) for key in (*TRAINING, "preconditioned", "steps")}
    given = {key: value for key, value in given.items() if value is not None}
    start = time.monotonic()
    if options.resume:
        run = load_run(run_file(out))
        config, plans = _resumed(run, given)
        chosen = dataset(config.data)
        tensors, before = run.tensors, run.seconds
    else:
        if options.steps is None and options.seconds is None:
            raise ValueError("How long to train must be given: --steps N or --seconds S.")
        config, plans, tensors, before = TrainConfig(**given), (), None, 0.0
        chosen = dataset(config.data)
        if options.seconds is not None:
            steps = steps_within(options.seconds, config, chosen, device)
            config = TrainConfig(**given | {"steps": steps})

    progress = _Progress("training")
    stops: list[int] = []
    state, saved, timed_out = None, start, False
    with _signals(stops):
        for state in train(config, chosen, device=device, tensors=tensors):
            now = time.monotonic()
            timed_out = options.seconds is not None and now - start >= options.seconds
            last = stops or timed_out or state.done
            saving = not last and now - saved >= SAVE_EVERY
            if last or saving or progress.due() or state.step % 500 == 0:
                loss = state.loss.item()
                if not math.isfinite(loss):
                    progress.end()
                    raise ValueError(
                        f"The training diverged by step {state.step}: its loss is not a number; "
                        "take a smaller --lr."
                    )
                progress.show(state.step, config.steps, f"loss {loss:.4f}")
            if saving:
                saved = now
                _save_run(out, state, before + now - start, plans)
            if last:
                break
        progress.end()
        if state is None:
            print(f"The run has made all its {config.steps} steps already; nothing was done.")
            return 0
        seconds = before + time.monotonic() - start
        _save_run(out, state, seconds, plans)
        card = describe(
            out.stem, asdict(config), chosen, steps=state.step, seconds=seconds, plans=plans
        )
        save(out, state.ema, card, precision=options.precision)
    step = f"step {state.step} of {config.steps}"
    if stops:
        print(
            f"flowviz: interrupted at {step}; all is saved, and --resume goes on.", file=sys.stderr
        )
        return 128 + stops[0]
    if timed_out and not state.done:
        print(f"The clock ran out at {step}; --resume makes the rest.")
    print(f"{out}: step {state.step}, loss {loss:.4f}, {seconds:.1f} s")
    if quality:
        configs = [EvaluateConfig(n=quality, nfe=nfe) for nfe in QUALITY_NFES]
        field = load(out).field  # as written, rounding included
        rewrite_quality(out, _judge(field, chosen, configs, min(quality, 4_000)))
    return 0


def _train_images(options: argparse.Namespace) -> int:
    from flowviz.device import choose_device
    from flowviz.training.image_runs import read_config, run_images
    from flowviz.training.images import IMAGE_PRESETS, ImageTrainConfig

    known = {field.name for field in fields(ImageTrainConfig)}
    keys = (*TRAINING, "preconditioned", "steps", "images")
    given = {key: getattr(options, key) for key in keys}
    given = {key: value for key, value in given.items() if value is not None}
    for key in given.keys() - known:
        raise ValueError(f"--{key} is not for images; --preset and --images say how to train.")
    if options.seconds is not None and not options.seconds > 0:
        raise ValueError(f"--seconds must be positive; got {options.seconds:g}.")
    if options.resume:
        config = read_config(options.out)
        for key, value in given.items():
            if getattr(config, key) != value:
                raise ValueError(
                    f"A resumed run keeps its settings: {key} is {getattr(config, key)!r}, got "
                    f"{value!r}; leave the option out or train afresh."
                )
    else:
        config = replace(IMAGE_PRESETS[options.preset or "small"], **given)
    states = run_images(
        config,
        options.out,
        device=choose_device(options.device),
        compiled=options.compile,
        resume=options.resume,
    )
    progress = _Progress("training")
    stops: list[int] = []
    state, start = None, time.monotonic()
    with _signals(stops), closing(states):
        for state in states:
            if progress.due() or state.done:
                progress.show(state.step, config.steps, f"loss {state.loss.item():.4f}")
            late = options.seconds is not None and time.monotonic() - start >= options.seconds
            if stops or late:
                break
    progress.end()
    if state is None:
        print(f"The run has made all its {config.steps} steps already; nothing was done.")
        return 0
    step = f"step {state.step} of {config.steps}"
    if stops:
        print(
            f"flowviz: interrupted at {step}; all is saved, and --resume goes on.", file=sys.stderr
        )
        return 128 + stops[0]
    print(f"{options.out}: {step}, loss {state.loss.item():.4f}")
    return 0


def _resumed(
    run: "Run", given: dict[str, Any]
) -> tuple["TrainConfig", tuple[tuple[int, int], ...]]:
    """The config of a run that goes on, and its plans; only the number of steps may be another."""
    from flowviz.training import TrainConfig

    for key, value in given.items():
        if key != "steps" and run.training.get(key) != value:
            raise ValueError(
                f"A resumed run keeps its settings: {key} is {run.training.get(key)!r}, got "
                f"{value!r}; leave the option out or train afresh."
            )
    steps, done = given.get("steps", run.training["steps"]), int(run.tensors["step"])
    if steps == run.training["steps"]:
        return TrainConfig.from_dict(run.training), run.plans
    if steps < done:
        raise ValueError(f"The run has made {done} steps; --steps must be more than that.")
    # The learning rate falls to 0 at the last step, so that a new end is another run from here on.
    print(
        f"flowviz: the run was planned for {run.training['steps']} steps; from step {done} on the "
        f"learning rate follows {steps}.",
        file=sys.stderr,
    )
    plans = (*run.plans, (done, steps))
    return TrainConfig.from_dict(run.training | {"steps": steps}), plans


def _save_run(
    out: Path, state: "TrainState", seconds: float, plans: tuple[tuple[int, int], ...]
) -> None:
    from flowviz.checkpoints import run_file, save_run

    training = asdict(state.config)
    save_run(run_file(out), training, state.tensors(), seconds=seconds, plans=plans)


def _sample(options: argparse.Namespace) -> None:
    import torch

    from flowviz.experiments.evaluate import noise, samples_of
    from flowviz.files import check_target, write_array

    out = check_target(options.out)
    nfe = None if _adaptive(options) else NFE if options.nfe is None else options.nfe
    n, config = _count(options), _config(options, nfe)
    source = _source(options.checkpoint)
    x_0 = noise(n, config.seed)
    chunks = [x_0] if nfe is None else x_0.split(CHUNK)
    progress, done, states = _Progress("sampling"), 0, []
    for chunk in chunks:
        solution = samples_of(source.field, chunk, config)
        states.append(solution.states[-1])
        done += len(chunk)
        progress.show(done, n)
    progress.end()
    samples = source.to_user(torch.cat(states)).float()
    write_array(out, samples.numpy())
    print(f"{n} samples in {out}")
    print(f"NFE {solution.nfe}")


def _evaluate(options: argparse.Namespace) -> None:
    from flowviz.checkpoints import rewrite_quality

    if options.save and options.checkpoint.startswith("exact:"):
        raise ValueError(
            f"--save needs a checkpoint with a card; {options.checkpoint} is the exact field."
        )
    points = _number(options.likelihood, "--likelihood", least=0)
    budgets = [None] if _adaptive(options) else options.nfe or NFES
    configs = [_config(options, nfe) for nfe in budgets]
    source = _source(options.checkpoint)
    double = source.double() if options.error else None
    answer = _judge(source.field, source.dataset(), configs, points, double, trace=options.trace)
    if options.save:
        rewrite_quality(options.checkpoint, answer)
    if options.seeds is not None:
        answer["curve"] = _curve(options, configs)
    if options.json:
        about = {"checkpoint": options.checkpoint, "data": source.data}
        print(json.dumps(about | answer, indent=2))
        return
    rows = answer["evaluations"]
    errors = [[f"{row['error']['mse']:.4g}"] if row["error"] else [] for row in rows]
    _table(
        ["nfe", "steps", *(["mse"] if options.error else []), *rows[0]["measures"]],
        [
            [row["nfe"], row["steps"], *error, *map(_beside_floor, row["measures"].values())]
            for row, error in zip(rows, errors, strict=True)
        ],
    )
    print("In brackets: how many times that of fresh data, which a perfect sampler would reach.")
    if options.error:
        print(
            "mse: squared distance per dimension from the converged flow of the same field "
            f"(float64, NFE {rows[0]['error']['reference_nfe']})."
        )
    if options.seeds is not None:
        for goal, reach in answer["curve"]["reach"].items():
            arrived = "not reached" if reach is None else f"NFE {reach['nfe']:.4g}"
            print(f"{goal} of {options.seeds} seeds: {arrived}")
    for row in rows if options.trace else []:
        print(f"steps: {' '.join(f'{t:.6g}' for t in row['step_times'])}")
        for t, dt in row["refused"]:
            print(f"rejected: t = {t:.6g}, dt = {dt:.3g}")
    judged = answer["likelihood"]
    if judged:
        above = "" if judged["kl"] is None else f", KL(data || model) {judged['kl']:.4f}"
        print(
            f"-log p of {judged['n']} fresh data: {judged['nll']:.4f}{above} "
            f"(standard error {judged['error']:.4f}) nats, NFE {judged['nfe']}"
        )
    elif points:
        print(f"No likelihood: {answer['failure']}")


def _judge(
    field: "FlowField",
    dataset: "Dataset",
    configs: "list[EvaluateConfig]",
    points: int,
    double: "FlowField | None" = None,
    *,
    trace: bool = False,
) -> dict[str, Any]:
    """What `evaluate` measures, as JSON takes it.

    `points` fresh data have their likelihood; `double` is the field in float64, from which the
    solver's error is told; `trace` keeps the times of the steps.
    """
    from flowviz.experiments.evaluate import evaluations, likelihood
    from flowviz.solvers import SolveError

    progress, rows = _Progress("evaluating"), []
    total = len(configs) + bool(points)
    progress.show(0, total)
    for evaluation in evaluations(field, dataset, configs, double=double):
        row = asdict(evaluation)
        if not trace:
            del row["step_times"], row["refused"]
        rows.append(row)
        progress.show(len(rows), total)
    judged, failure = None, ""
    if points:
        try:
            judged = asdict(likelihood(field, dataset, n=points, seed=configs[0].seed))
        except SolveError as error:
            failure = str(error)
        progress.show(total, total)
    progress.end()
    return _rounded({"evaluations": rows, "likelihood": judged, "failure": failure})


def _curve(options: argparse.Namespace, configs: "list[EvaluateConfig]") -> dict[str, Any]:
    """The curve of the page of cost and quality, as JSON takes it."""
    from flowviz.experiments.nfe_quality import CurveConfig, compute_curve

    first = configs[0]
    config = CurveConfig(
        source=options.checkpoint,
        method=first.method,
        budgets=tuple(first.tol if each.nfe is None else each.nfe for each in configs),
        grid=first.grid,
        n=first.n,
        seed=first.seed,
        seeds=_number(options.seeds, "--seeds", least=1),
        metrics=first.metrics,
    )
    return _rounded(compute_curve(config).as_dict())


def _rounded(value: object) -> Any:
    """The same lists and dicts, their floats to six digits, which is more than a sample knows."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _beside_floor(measure: dict[str, Any]) -> str:
    ratio = f" ({measure['ratio']:.2f}x)" if measure["ratio"] is not None else ""
    return f"{measure['value']:.4g}{ratio}"


def _logprob(options: argparse.Namespace) -> None:
    import torch

    from flowviz.densities import log_prob, normal_log_prob
    from flowviz.files import check_target, write_array

    out = check_target(options.out)
    budget = _budget(options)
    source = _source(options.checkpoint)
    points = _points(options.points)
    if isinstance(source.field, torch.nn.Module):
        source.field.to(points.dtype)
    answer = log_prob(
        source.field,
        source.from_user(points),
        t_max=source.path.t_max,
        method=options.solver,
        log_prior=partial(normal_log_prob, std=source.path.scheduler.sigma_0),
        **budget,
    )
    # A density a unit of area in the user's coordinates.
    values = answer.log_prob - 2 * torch.tensor(source.scale, dtype=points.dtype).log()
    write_array(out, values.numpy())
    print(f"{len(values)} log-likelihoods in {out}, mean {values.mean().item():.4f} nats")
    print(f"NFE {answer.nfe}")


def _field(options: argparse.Namespace) -> None:
    import torch

    from flowviz.experiments.sources import exact_name
    from flowviz.files import check_target, write_array

    out = check_target(options.out)
    source = _source(exact_name(options.data, options.path))
    t_max = source.path.t_max
    if not 0 <= options.t <= t_max:
        raise ValueError(
            f"t must be in [0, {t_max:.10g}], where the path {options.path!r} has a velocity; "
            f"got {options.t:g}."
        )
    points = _points(options.points)
    t = torch.tensor(options.t, dtype=torch.float64)
    u = source.scale * source.field(t, source.from_user(points))
    write_array(out, u.numpy())
    print(f"{len(u)} velocities at t = {options.t:g} in {out}")


def _source(name: str) -> "Source":
    """The field of a checkpoint by name or file, or exact:DATA/PATH."""
    from flowviz.experiments.sources import source

    return source(name)


def _config(options: argparse.Namespace, nfe: int | None) -> "EvaluateConfig":
    """One way to sample: what the options say, at one number of evaluations."""
    from flowviz.experiments.evaluate import EvaluateConfig

    tol = _tol(options) if nfe is None else TOL
    return EvaluateConfig(
        method=options.solver,
        nfe=nfe,
        tol=tol,
        grid=options.grid,
        n=_count(options),
        seed=_seed(options),
        **({"metrics": tuple(options.metrics)} if getattr(options, "metrics", None) else {}),
    )


def _budget(options: argparse.Namespace) -> dict[str, Any]:
    """The arguments of a solve: {"steps": ...} for a fixed-step method, else {"tol": ...}."""
    from flowviz.solvers import steps_for

    if _adaptive(options):
        return {"tol": _tol(options)}
    return {"steps": steps_for(options.solver, NFE if options.nfe is None else options.nfe)}


def _adaptive(options: argparse.Namespace) -> bool:
    """Whether --solver is adaptive, after a check that --nfe and --tol go with it."""
    from flowviz.solvers import METHODS

    adaptive = METHODS[options.solver].adaptive
    if adaptive and options.nfe is not None:
        raise ValueError(
            f"{options.solver} chooses its own steps; give it --tol in place of --nfe."
        )
    if not adaptive and options.tol is not None:
        raise ValueError(f"{options.solver} takes fixed steps; give it --nfe in place of --tol.")
    return adaptive


def _tol(options: argparse.Namespace) -> float:
    tol = TOL if options.tol is None else options.tol
    if not 0 < tol < 1:
        raise ValueError(f"--tol must be in (0, 1); got {tol:g}.")
    return tol


def _points(name: str) -> "torch.Tensor":
    """The points of a .npy file, (n, 2), float32 or float64."""
    import numpy as np
    import torch

    path = Path(name)
    if not path.is_file():
        raise ValueError(f"There is no file {path}.")
    try:
        points = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(
            f"{path} must be a .npy file of numbers; it cannot be read as one."
        ) from error
    if not isinstance(points, np.ndarray) or points.dtype.kind not in "fiu":
        raise ValueError(f"{path} must hold one array of real numbers.")
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise ValueError(f"{path} must hold points of shape (n, 2); got {points.shape}.")
    if not np.isfinite(points).all():
        raise ValueError(f"{path} must hold finite points; some are infinite or not a number.")
    kind = np.float32 if points.dtype in (np.float16, np.float32) else np.float64
    return torch.from_numpy(points.astype(kind))


def _count(options: argparse.Namespace) -> int:
    return _number(options.n, "-n", least=1)


def _number(value: int, option: str, least: int) -> int:
    if not least <= value <= MOST_SAMPLES:
        raise ValueError(f"{option} must be in [{least}, {MOST_SAMPLES}]; got {value}.")
    return value


def _seed(options: argparse.Namespace) -> int:
    if not 0 <= options.seed < 2**53:
        raise ValueError(f"--seed must be in [0, 2^53); got {options.seed}.")
    return options.seed


def _start() -> None:
    from flowviz.device import limit_threads

    limit_threads()


@contextmanager
def _signals(stops: list[int]) -> Iterator[None]:
    """Within it the first SIGINT or SIGTERM is noted in `stops`; a second acts as ever."""

    def note(number: int, frame: object) -> None:
        stops.append(number)
        for kind, handler in before.items():
            signal.signal(kind, handler)

    before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}
    for kind in before:
        signal.signal(kind, note)
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


class _Progress:
    """A bar on standard error, where that is a terminal."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.shown = sys.stderr.isatty()
        self.start = time.monotonic()
        self.first: int | None = None
        self.last = 0.0

    def due(self) -> bool:
        """Whether a tenth of a second has gone since the bar was drawn."""
        return self.shown and time.monotonic() - self.last >= 0.1

    def show(self, done: int, total: int, note: str = "") -> None:
        """Draws the bar at `done` of `total`, with the time left at the rate so far."""
        if not self.shown or (not self.due() and done < total):
            return
        self.last = now = time.monotonic()
        self.first = done if self.first is None else self.first
        rate = (done - self.first) / max(now - self.start, 1e-9)
        left = f"{(total - done) / rate:.0f} s left" if rate else ""
        full = 24 * done // max(1, total)
        bar = "#" * full + "." * (24 - full)
        line = f"{self.what} [{bar}] {done}/{total}  {note}  {left}".rstrip()
        print(f"\r{line}\033[K", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leaves the bar's line."""
        if self.shown and self.first is not None:
            print(file=sys.stderr)


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints rows under a head, columns as wide as need be, numbers to the right."""
    texts = [[f"{v:.4g}" if isinstance(v, float) else str(v) for v in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *texts, strict=True)]
    print("  ".join(text.ljust(width) for text, width in zip(head, widths, strict=True)).rstrip())
    for row, values in zip(texts, rows, strict=True):
        cells = [
            text.rjust(width) if isinstance(value, int | float) else text.ljust(width)
            for text, width, value in zip(row, widths, values, strict=True)
        ]
        print("  ".join(cells).rstrip())
