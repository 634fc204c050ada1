"""The functions that `flowviz` exports: the library in nine functions.

    import flowviz

    field = flowviz.load("checkerboard-ot")            # or exact_field("checkerboard", "ot")
    samples = flowviz.sample(field, 2_000, nfe=20)      # (2000, 2)
    density = flowviz.log_prob(field, samples).log_prob # (2000,) nats
    own = flowviz.train("my_points.csv", "vp", steps=3_000)

A field is a `FieldRef`: call it as field(t, x). States of `solve` and of calls are in the frame,
the square in which the noise is N(0, I); samples and densities are in the coordinates of the data
set. Those of the built-in data sets are the frame.
"""

import time
from os import PathLike
from typing import Any

import torch
from torch import Tensor

from flowviz import checkpoints, solvers, training
from flowviz.bounds import shown
from flowviz.datasets import Dataset, dataset
from flowviz.densities import LogProb
from flowviz.experiments.evaluate import EvaluateConfig, sampled
from flowviz.experiments.fields import FieldRef, exact_name
from flowviz.experiments.starts import starts
from flowviz.fields import LearnedField
from flowviz.fields.learned_path import LearnedPathField
from flowviz.schedulers import Scheduler, scheduler
from flowviz.solvers import METHODS, Field, Solution, steps_for
from flowviz.studies import STUDIES, Study

__all__ = [
    "Dataset",
    "FieldRef",
    "Scheduler",
    "Study",
    "dataset",
    "exact_field",
    "load",
    "log_prob",
    "sample",
    "scheduler",
    "solve",
    "study",
    "train",
]

TRAINED = "trained"
"""The name of a field that has no file."""

NFE = 20
"""Default number of evaluations of a fixed-step method."""


def exact_field(data: str, path: str = "ot") -> FieldRef:
    """The exact marginal velocity of a data set on a path (Lipman et al. 2022, eq. 8).

    Args:
        data: spec of the data set, see `flowviz.datasets`.
        path: spec of the path, see `flowviz.schedulers`.

    Raises:
        ValueError: a name is unknown, or the path is learned.
    """
    return FieldRef.of(exact_name(_text("data", data), _text("path", path)))


def load(name: str) -> FieldRef:
    """The learned field of a checkpoint, by its name or the path of its .safetensors file.

    Raises:
        CheckpointError (a ValueError): there is no such checkpoint, or its file is damaged.
    """
    return FieldRef.of(_text("name", name))


def train(data: str, path: str = "ot", *, out: str = "", **options: Any) -> FieldRef:
    """Trains a velocity field on the CPU by flow matching.

    Args:
        data: spec of the data set.
        path: spec of the path; "learned" trains the path together with the field.
        out: file of the checkpoint to write, without suffix; "" for none.
        options: further settings of `flowviz.training.TrainConfig`, such as steps, coupling,
            objective and seed; of `NfdmConfig` for a learned path.

    Raises:
        ValueError: a name or a setting is not valid.
    """
    config = training.config_class(path).from_dict({"data": data, "path": path} | options)
    chosen = dataset(data, sources=True)
    start = time.monotonic()
    *_, run = training.train(config, chosen)
    field = run.ema
    assert isinstance(field, LearnedField | LearnedPathField)
    if out:
        seconds = time.monotonic() - start
        card = checkpoints.describe(TRAINED, vars(config), chosen, steps=run.step, seconds=seconds)
        return load(str(checkpoints.save(out, field, card)))
    label = f"{field.path.scheduler.label}, trained"
    return FieldRef(TRAINED, field, field.path, data, chosen.center, chosen.scale, label)


def solve(
    field: FieldRef | Field,
    x_0: Tensor,
    times: Tensor,
    method: str = "midpoint",
    *,
    nfe: int | None = None,
    tol: float = 1e-5,
) -> Solution:
    """Integrates dx/dt = field(t, x) for states x_0 (B, 2) of the frame.

    Args:
        field: the velocity, called as field(t, x) with t () and x (B, 2).
        x_0: the states at times[0].
        times: where states are returned, (T,), rising or falling; a field of a path is defined up
            to `field.path.t_max`.
        method: a name in `flowviz.solvers.METHODS`.
        nfe: number of evaluations of a fixed-step method; 20 by default.
        tol: tolerance of an adaptive method.

    Raises:
        ValueError: the arguments do not fit each other.
        SolveError (a ValueError): the solve diverged or takes too many steps.
    """
    engine = field.field if isinstance(field, FieldRef) else field
    x_0, times = torch.as_tensor(x_0), torch.as_tensor(times)
    if isinstance(field, FieldRef):
        _check_points("x_0", x_0)
    budget = solvers.budget(method, NFE if nfe is None else nfe, tol)
    return solvers.solve(engine, x_0, times, method, **budget)


def sample(
    field: FieldRef,
    n: int = 2_000,
    *,
    method: str = "midpoint",
    nfe: int | None = None,
    tol: float = 1e-5,
    seed: int = 0,
) -> Tensor:
    """n samples of a field in the coordinates of its data set, (n, 2) float64.

    Equal seeds start from equal noise, as on the pages and in `python -m flowviz sample`.

    Args:
        field: from `load`, `train` or `exact_field`.
        n: number of samples.
        method: a name in `flowviz.solvers.METHODS`.
        nfe: number of evaluations of a fixed-step method; 20 by default.
        tol: tolerance of an adaptive method.
        seed: of the noise.

    Raises:
        ValueError: as `solve`.
    """
    _check_field(field)
    _check_whole("n", n)
    config = EvaluateConfig(method=method, nfe=_nfe(method, nfe), tol=tol, n=n, seed=seed)
    parts = sampled(field.field, starts(field.path, n, seed), config)
    return field.to_user(torch.cat([part.states[-1] for part in parts]))


def log_prob(
    field: FieldRef,
    points: Tensor,
    *,
    method: str = "dopri5",
    nfe: int | None = None,
    tol: float = 1e-5,
) -> LogProb:
    """Log-densities of points by the change of variables, with the exact divergence.

    Args:
        field: from `load`, `train` or `exact_field`.
        points: (n, 2) float32 or float64, in the coordinates of the data set.
        method: a name in `flowviz.solvers.METHODS`.
        nfe: number of evaluations of a fixed-step method; 20 by default.
        tol: tolerance of an adaptive method.

    Returns:
        A `LogProb` whose `log_prob` (n,) is in nats per unit of area of these coordinates, with
        the error of fixed steps in `numerical`.

    Raises:
        ValueError: as `solve`.
    """
    _check_field(field)
    points = torch.as_tensor(points)
    _check_points("points", points)
    evaluations = _nfe(method, nfe)
    budget = {"tol": tol} if evaluations is None else {"steps": steps_for(method, evaluations)}
    return field.log_prob(points, method, **budget)


def study(name: str) -> Study:
    """A study by name; `python -m flowviz experiment` lists the names.

    Raises:
        ValueError: there is no such study.
    """
    return STUDIES[_text("name", name)]


def _text(name: str, value: object) -> str:
    """An argument that is a spec, a name or a path."""
    if not isinstance(value, str | PathLike):
        raise ValueError(f"{name} must be a text; got {shown(value)}.")
    return str(value)


def _check_whole(name: str, value: object) -> None:
    if type(value) is not int:
        raise ValueError(f"{name} must be a whole number; got {shown(value)}.")


def _check_field(field: object) -> None:
    if not isinstance(field, FieldRef):
        raise ValueError(
            f"field must come from load, train or exact_field; got {shown(field)}. "
            "Load a checkpoint by its name first."
        )


def _check_points(name: str, x: Tensor) -> None:
    if x.ndim != 2 or x.shape[1] != 2 or not len(x) or not x.is_floating_point():
        raise ValueError(
            f"{name} must have the shape (n, 2), n at least 1, and be float32 or float64; "
            f"got shape {tuple(x.shape)} and {x.dtype}."
        )


def _nfe(method: str, nfe: int | None) -> int | None:
    """The evaluations of a fixed-step method; None for an adaptive one without `nfe`."""
    if nfe is not None:
        _check_whole("nfe", nfe)
    if METHODS[method].adaptive:
        return nfe
    return NFE if nfe is None else nfe
