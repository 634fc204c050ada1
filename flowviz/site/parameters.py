"""Parameters of data sets, paths, solvers and networks for the engine in JavaScript.

The engine (`flowviz/canvases/js/engine/`) has the formulas only. All numbers come from the objects
of this package, as entries of a payload of `flowviz.canvases.wire`.
"""

from collections.abc import Mapping
from dataclasses import asdict
from functools import singledispatch
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from flowviz.canvases.wire import quantised
from flowviz.datasets import FRAME, Dataset
from flowviz.distributions import Boxes, Distribution, GaussianMixture, PointMasses
from flowviz.draws import stream
from flowviz.experiments.evaluate import FlowField
from flowviz.fields import LearnedField
from flowviz.fields.planned import BOUND
from flowviz.methods import METHODS, Method, Multistep, Tableau
from flowviz.networks import MLP
from flowviz.objectives import OBJECTIVES
from flowviz.schedulers import SIGMA_STOP, LearnedReference, Scheduler, Shaped, scheduler, spec_of

SAMPLE = 2_000
"""Number of points of a data set that are sent for the layer of data."""

Entry = dict[str, Any]


def data_set(target: Dataset) -> Entry:
    """A data set: its label, the parameters of its distribution and SAMPLE points."""
    points = target.sample(SAMPLE, stream(0, "reference")).numpy()
    limit = float(max(FRAME, np.abs(points).max()))
    return {
        "label": target.label,
        "sentence": target.sentence,
        "distribution": distribution(target.distribution),
        "sample": quantised(points, limit),
        "limit": limit,
    }


@singledispatch
def distribution(value: Distribution) -> Entry:
    """The parameters of a distribution.

    Raises:
        ValueError: it is no mixture, points or boxes.
    """
    raise ValueError(
        f"The engine needs a GaussianMixture, PointMasses or Boxes; got {type(value).__name__}."
    )


@distribution.register
def _(mixture: GaussianMixture) -> Entry:
    return _mixture(mixture.means, mixture.covariances, mixture.weights)


@distribution.register
def _(masses: PointMasses) -> Entry:
    points = masses.points
    return _mixture(points, torch.zeros(len(points), 2, 2), masses.weights)


@distribution.register
def _(boxes: Boxes) -> Entry:
    return {
        "kind": "boxes",
        "edges_x": _doubles(boxes.edges_x),
        "edges_y": _doubles(boxes.edges_y),
        "weights": _doubles(boxes.weights),
    }


def path(spec: str) -> Entry:
    """A path: its label, its end, its noise and the parameters of its formula.

    Raises:
        ValueError: it is a learned path, which has no formula.
    """
    chosen: Scheduler = scheduler(spec)
    if isinstance(chosen, LearnedReference):
        raise ValueError("The engine needs a path with a formula; got a learned path.")
    parameters: Entry = asdict(chosen)
    if isinstance(chosen, Shaped):
        parameters = dict(
            zip(("alpha_cubics", "sigma_cubics"), map(_doubles, chosen.cubics), strict=True)
        )
    return {
        "label": chosen.label,
        "kind": spec_of(chosen).partition(":")[0],
        "t_max": chosen.t_max,
        "sigma_0": chosen.sigma_0,
        **parameters,
    }


def methods() -> dict[str, Entry]:
    """All methods with fixed steps that integrate any field, by name."""
    return {
        name: method(each)
        for name, each in METHODS.items()
        if not each.adaptive and not each.jumps
    }


def method(entry: Method) -> Entry:
    """A fixed-step method: its labels in texts and in menus, its cost and its step."""
    return {
        "label": entry.label,
        "menu": entry.menu,
        "evaluations": entry.evaluations,
        "last": entry.nfe(1),
        "step": _step(entry.step),
        "final": None if entry.final is None else _step(entry.final),
    }


def network(field: FlowField) -> Entry:
    """A learned field with the weights of its network.

    Raises:
        ValueError: the network is not an MLP of the plane with one time, or its flow starts at a
            data set.
    """
    field.path.refuse_source()
    if (
        not isinstance(field, LearnedField)
        or not isinstance(field.network, MLP)
        or hasattr(field.network, "second")
        or not field.clocked
    ):
        raise ValueError("The engine needs an MLP that takes one time; got another network.")
    net = field.network
    names = {each: name for name, each in OBJECTIVES.items()}
    return {
        "kind": "network",
        "objective": names[field.objective],
        "preconditioned": field.preconditioned,
        "mean": field.mean.tolist(),
        "std": field.std,
        "bound": BOUND,
        "least_sigma": SIGMA_STOP,
        "x_rates": _doubles(net.x_rates),
        "t_rates": _doubles(net.t_rates),
        "clock": _layer(net.clock[0]),
        "shift": _layer(net.shift),
        "layers": [_layer(each) for each in net.layers],
        "head": _layer(net.head),
    }


def _step(step: Any) -> Entry:
    if isinstance(step, Multistep):
        return {"multistep": step.states.__name__}
    assert isinstance(step, Tableau)
    return {"weights": step.weights, "rows": step.rows}


def _mixture(means: Tensor, covariances: Tensor, weights: Tensor) -> Entry:
    positive = weights > 0
    upper = covariances[positive].flatten(1)[:, [0, 1, 3]]
    return {
        "kind": "mixture",
        "means": _doubles(means[positive]),
        "covariances": _doubles(upper),
        "log_weights": _doubles(weights[positive].log()),
    }


def _layer(layer: nn.Module) -> Mapping[str, NDArray]:
    assert isinstance(layer, nn.Linear)
    return {"weight": _weights(layer.weight), "bias": _weights(layer.bias)}


def _weights(tensor: Tensor) -> NDArray:
    """Weights as the bits of float16 if they are such numbers, else as float32."""
    single = tensor.detach().cpu().float()
    if torch.equal(single.half().float(), single):
        return single.half().numpy().view("<u2")
    return single.numpy()


def _doubles(values: Any) -> NDArray[np.float64]:
    return np.ascontiguousarray(torch.as_tensor(values, dtype=torch.float64).numpy())
