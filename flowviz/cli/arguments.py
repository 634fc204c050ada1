"""Options that several commands share, and functions that read and check their values."""

# pyright: reportPrivateUsage=false
# argparse has no public names for the types of subcommands and of groups of options.

import argparse
import importlib
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from flowviz.bounds import MAX_SAMPLES, MAX_SEED
from flowviz.files import read_array

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from flowviz.datasets import Dataset
    from flowviz.experiments.evaluate import EvaluateConfig

NFE = 20
"""Default number of function evaluations of a fixed-step solver."""

NFES = [4, 8, 10, 20]
"""Default numbers of function evaluations of `evaluate`."""

TOL = 1e-5
"""Default tolerance of an adaptive solver."""

SPECS = """\
what DATA, PATH and CHECKPOINT can be:
  DATA         a built-in data set (`flowviz names`), mixture:-2,0;2,0@0.3 (means, then the
               standard deviation), word:FLOW, or a file: a table with two columns of numbers
               (.csv and other text, .arff, .json, .npy, .npz), or a picture whose dark pixels are
               sampled. FILE:x=3,y=height chooses columns by number or name, FILE:header=no or yes
               says whether the first row names them, FILE:ink=light samples light pixels
               'from:SOURCE>DATA' starts from another data set in the place of Gaussian noise
  PATH         ot, vp, trig, ve or shaped, optionally with parameters: vp:beta_max=10,
               shaped:a1=0.2; in `train` also learned
  CHECKPOINT   a name (`flowviz checkpoints`), a .safetensors file, or exact:DATA/PATH for the
               closed-form field, which needs no training; of images also another project's: a
               .pt or .pth file of torchcfm or flow_matching, or a folder of diffusers' UNet2DModel
               (`sample` and `import` also read a plain velocity network of the plane)

Checkpoints are looked up in the folders of $FLOWVIZ_CHECKPOINTS, then in flowviz's own; those of
images in the folder `images` of each. --seed fixes all random numbers. The computation uses
$FLOWVIZ_THREADS threads (default: 1, which is fastest for small networks, and all processors for
large batches of points). An error prints one sentence and returns exit code 2.
"""


Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""The collection to which `add` of a module adds its commands."""


class Parser(argparse.ArgumentParser):
    """A parser that reports an error in one sentence."""

    def error(self, message: str) -> NoReturn:
        """Raises a ValueError with the error and a hint to --help."""
        raise ValueError(f"{message[:1].upper()}{message[1:]}; see `{self.prog} --help`.")


def add_command(
    commands: Commands,
    name: str,
    command: Callable[[argparse.Namespace], int | None],
    help: str,
    example: str,
) -> argparse.ArgumentParser:
    """Adds a command and returns its parser, without options.

    The parsed options are passed to `command`, which returns an exit code, or None for 0. Its
    ValueErrors are printed in one sentence.
    """
    added = commands.add_parser(
        name,
        help=help,
        description=f"{help[:1].upper()}{help[1:]}.",
        epilog=f"example:\n  python -m flowviz {name} {example}\n\n{SPECS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    added.set_defaults(command=command, prog=added.prog)
    return added


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Adds CHECKPOINT: a name, a file or exact:DATA/PATH."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="name, file or exact:DATA/PATH")


def add_points(parser: argparse.ArgumentParser) -> None:
    """Adds POINTS: a file for `read_points`."""
    parser.add_argument(
        "points", metavar="POINTS", help=".npy of shape (n, 2), in the data set's own coordinates"
    )


def add_number(
    parser: argparse.ArgumentParser, option: str, default: int, help: str, metavar: str = "N"
) -> None:
    """Adds an option with a whole number."""
    text = f"{help} (default: {default})"
    parser.add_argument(option, type=int, default=default, metavar=metavar, help=text)


def add_draws(parser: argparse.ArgumentParser, n: int) -> None:
    """Adds -n, with default `n`, and --seed."""
    add_number(parser, "-n", n, "number of samples")
    add_number(parser, "--seed", 0, "seed")


def add_idle_seed(parser: argparse.ArgumentParser) -> None:
    """Adds --seed to a command without random numbers."""
    parser.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="accepted for scripts that pass a seed to each command; it has no effect here",
    )


def add_solver(parser: argparse.ArgumentParser, solver: str, nfe: int | list[int]) -> None:
    """Adds --solver, --nfe (one or several values, as in the default) and --tol."""
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
        help=f"number of function evaluations of a fixed-step solver (default: {default})",
    )
    budget.add_argument(
        "--tol",
        type=float,
        metavar="X",
        help="tolerance of an adaptive solver: the largest estimated error of any point in a "
        "step, which the flow can magnify; of images the root mean square over a batch "
        "(default: 1e-5)",
    )


def add_grid(parser: argparse.ArgumentParser) -> None:
    """Adds --grid, for fixed-step solvers."""
    parser.add_argument(
        "--grid",
        default="uniform",
        metavar="NAME",
        help="time grid of a fixed-step solver: uniform (in t), log-snr, edm, shift or shift:K "
        "(default: uniform)",
    )


def print_reading(data: "Dataset") -> None:
    """Prints what was taken from a file of the user."""
    if data.reading:
        print(f"Read {data.reading}")


def add_out(parser: argparse.ArgumentParser, content: str) -> None:
    """Adds --out, the file to write; `content` describes what it holds."""
    parser.add_argument("--out", required=True, metavar="FILE", help=f".npy to write: {content}")


def named(text: str) -> str:
    """The type of an argument with the name of a file.

    Raises:
        argparse.ArgumentTypeError: it has no name, as "" and ".".
    """
    if not Path(text).name:
        raise argparse.ArgumentTypeError(f"it must have the name of a file; got {text!r}")
    return text


def add_device(parser: argparse._ActionsContainer) -> None:
    """--device."""
    parser.add_argument(
        "--device", default="auto", metavar="NAME", help="auto, cpu, cuda or mps (default: auto)"
    )


def add_seconds(parser: argparse._ActionsContainer, help: str) -> None:
    """--seconds of a training, see `deadline`."""
    parser.add_argument("--seconds", type=float, metavar="S", help=help)


def add_json(parser: argparse.ArgumentParser) -> None:
    """Adds --json."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def solve_config(options: argparse.Namespace, nfe: int | None) -> "EvaluateConfig":
    """The config of one evaluation with the given options and number of function evaluations."""
    from flowviz.experiments.evaluate import EvaluateConfig

    tol = tolerance(options) if nfe is None else TOL
    metrics = getattr(options, "metrics", None)
    return EvaluateConfig(
        method=options.solver,
        nfe=nfe,
        tol=tol,
        grid=options.grid,
        n=checked_number(options.n, "-n"),
        seed=checked_seed(options),
        metrics=tuple(metrics) if metrics else EvaluateConfig.metrics,
    )


def solve_budget(options: argparse.Namespace) -> dict[str, Any]:
    """The argument of a solve: `steps` of a fixed-step method, else `tol`."""
    from flowviz.solvers import budget

    tol = tolerance(options) if is_adaptive(options) else TOL
    return budget(options.solver, NFE if options.nfe is None else options.nfe, tol)


def is_adaptive(options: argparse.Namespace) -> bool:
    """Whether --solver is adaptive; checks that --nfe and --tol fit it."""
    from flowviz.solvers import METHODS

    adaptive = METHODS[options.solver].adaptive
    if adaptive and options.nfe is not None:
        raise ValueError(f"{options.solver} chooses its own steps; use --tol instead of --nfe.")
    if not adaptive and options.tol is not None:
        raise ValueError(f"{options.solver} takes fixed steps; use --nfe instead of --tol.")
    return adaptive


def deadline(options: argparse.Namespace) -> float | None:
    """When --seconds, checked, have passed from now, in `time.monotonic()` seconds."""
    if options.seconds is None:
        return None
    if not options.seconds > 0:
        raise ValueError(f"--seconds must be positive; got {options.seconds:g}.")
    return time.monotonic() + options.seconds


def given_options(options: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """The options of these names that were given a value."""
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def check_unchanged(options: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
    """Checks that options given to a resumed run are those it was started with."""
    for key, value in options.items():
        if saved.get(key) != value:
            raise ValueError(
                f"A resumed run keeps its settings: {key} is {saved.get(key)!r}, got {value!r}; "
                "omit the option or start a new run."
            )


class NamesHelp(str):
    """Help text with the names of registries, which are imported when help is printed.

    NamesHelp("solver: %(METHODS)s", METHODS="flowviz.solvers")
    """

    modules: dict[str, str]

    def __new__(cls, text: str, **modules: str) -> "NamesHelp":
        """Text with the names of registries, given as registry=module."""
        help = super().__new__(cls, text)
        help.modules = modules
        return help

    def __mod__(self, params: Mapping[str, Any]) -> str:
        """The text as argparse formats it."""
        registries = {
            name: getattr(importlib.import_module(module), name)
            for name, module in self.modules.items()
        }
        return str(self) % {**params, **{k: ", ".join(names) for k, names in registries.items()}}


def tolerance(options: argparse.Namespace) -> float:
    """The checked value of --tol, or TOL."""
    tol = TOL if options.tol is None else options.tol
    if not 0 < tol < 1:
        raise ValueError(f"--tol must be in (0, 1); got {tol:g}.")
    return tol


def read_npy(path: Path, kind: str) -> "NDArray":
    """The array of a .npy file; `kind` describes such a file in errors."""
    if not path.is_file():
        raise ValueError(f"There is no file {path}.")
    try:
        return read_array(path)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path} must be a {kind}; it cannot be read.") from error


def read_points(name: str) -> "torch.Tensor":
    """The points of a .npy file, (n, 2), float32 or float64."""
    import numpy as np
    import torch

    path = Path(name)
    points = read_npy(path, "valid .npy file of numbers")
    if points.dtype.kind not in "fiu":
        raise ValueError(f"{path} must have one array of real numbers.")
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise ValueError(f"{path} must have points of shape (n, 2); got {points.shape}.")
    if not np.isfinite(points).all():
        raise ValueError(f"{path} must have finite points; some are infinite or NaN.")
    kind = np.float32 if points.dtype.itemsize < 8 and points.dtype.kind == "f" else np.float64
    return torch.from_numpy(points.astype(kind))


def checked_number(value: int, option: str, minimum: int = 1) -> int:
    """The value of an option that must be in [minimum, MAX_SAMPLES]."""
    if not minimum <= value <= MAX_SAMPLES:
        raise ValueError(f"{option} must be in [{minimum}, {MAX_SAMPLES}]; got {value}.")
    return value


def checked_seed(options: argparse.Namespace) -> int:
    """The checked value of --seed."""
    if not 0 <= options.seed <= MAX_SEED:
        raise ValueError(f"--seed must be in 0..{MAX_SEED}; got {options.seed}.")
    return options.seed
