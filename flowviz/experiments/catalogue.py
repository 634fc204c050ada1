"""All that the pages which measure draw, by name: the config that they build and the function that
they call.

An entry of EXPERIMENTS is found by `python -m flowviz experiment`, whose options are the fields of
the config. A page and the command agree because nothing else stands between the config and the
numbers.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
from torch import nn

from flowviz.experiments import (
    evolution,
    likelihood,
    particles,
    posterior,
    schedules,
)
from flowviz.registry import Registry

__all__ = ["EXPERIMENTS", "Experiment", "plain", "run"]


@dataclass(frozen=True)
class Experiment:
    """A question with its config and its answer.

    Attributes:
        label: what is drawn, and on which page.
        config: a frozen dataclass of names and numbers.
        compute: a config to its result, or to an iterator of ever more complete ones, each with
            the `share` of the work that is done.
    """

    label: str
    config: type
    compute: Callable[[Any], Any]


EXPERIMENTS: Registry[Experiment] = Registry("experiment")

EXPERIMENTS["flow"] = Experiment(
    "particles on their way from noise to data, what they cost and how good they are (Compare)",
    evolution.FlowConfig,
    evolution.compute_flow,
)
EXPERIMENTS["scene"] = Experiment(
    "density and velocity over the frame, and where a network errs (Compare)",
    evolution.SceneConfig,
    evolution.compute_scene,
)
EXPERIMENTS["touch"] = Experiment(
    "the data points, the path's coefficients and the scale of the arrows (One path, all paths)",
    posterior.TouchConfig,
    posterior.compute_touch,
)
EXPERIMENTS["conditional"] = Experiment(
    "conditional scores, fields and trajectories towards one data point (One path, all paths: the "
    "paper's Figures 2, 3 and 8)",
    posterior.ConditionalConfig,
    posterior.compute_conditional,
)
EXPERIMENTS["conversions"] = Experiment(
    "velocity, score, noise and data prediction of one field, and the factors between them (One "
    "path, all paths)",
    posterior.ConversionConfig,
    posterior.compute_conversions,
)
EXPERIMENTS["schedules"] = Experiment(
    "signal, noise, their rates and their ratio over time (Schedules)",
    schedules.SchedulesConfig,
    schedules.compute_schedules,
)
EXPERIMENTS["particles"] = Experiment(
    "one path run by pairs, by the flow or by a stochastic sampler (ODE or SDE)",
    particles.ParticlesConfig,
    particles.compute_particles,
)
EXPERIMENTS["sde-noise"] = Experiment(
    "the noise that the stochastic differential equation adds over time (ODE or SDE)",
    particles.NoiseConfig,
    particles.compute_noise,
)
EXPERIMENTS["density"] = Experiment(
    "p_t on a grid by change of variables beside the exact one (Likelihood)",
    likelihood.DensityConfig,
    likelihood.compute_density,
)
EXPERIMENTS["kl"] = Experiment(
    "KL(exact p_t || the field's p_t) at a time (Likelihood, by dopri5)",
    likelihood.GapConfig,
    likelihood.compute_gap,
)
EXPERIMENTS["likelihood"] = Experiment(
    "negative log-likelihood, KL and entropy of fresh data (Likelihood, its table)",
    likelihood.LikelihoodConfig,
    likelihood.compute_likelihood,
)
EXPERIMENTS["point"] = Experiment(
    "a point's noise, its way and the density along it (Likelihood)",
    likelihood.PointConfig,
    likelihood.compute_point,
)


def run(name: str, config: object) -> Iterator[object]:
    """The results of an experiment, of which the last is complete."""
    found = EXPERIMENTS[name].compute(config)
    if isinstance(found, Iterator):
        yield from found
    else:
        yield found


def plain(value: object) -> Any:
    """A result as JSON takes it: its fields and public properties, arrays as lists, NaN as None.

    Networks are left out: they have weights, and no numbers that are drawn.

    A result that has `as_dict` says itself what it adds.
    """
    if is_dataclass(value):
        names = [each.name for each in fields(value)]
        names += [
            name
            for kind in type(value).__mro__
            for name, entry in vars(kind).items()
            if isinstance(entry, property) and not name.startswith("_")
        ]
        values = {name: getattr(value, name) for name in names}
        found = {name: plain(v) for name, v in values.items() if not isinstance(v, nn.Module)}
        return found | (value.as_dict() if hasattr(value, "as_dict") else {})
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value
