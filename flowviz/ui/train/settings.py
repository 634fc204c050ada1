"""The settings of a training: the controls of the sidebar, and what the pictures show."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import streamlit as st

from flowviz import datasets
from flowviz.couplings import COUPLINGS
from flowviz.experiments.live import sampler
from flowviz.methods import JUMPS
from flowviz.objectives import OBJECTIVES, WEIGHTINGS
from flowviz.training import TrainConfig, default_rate
from flowviz.training import times as drawn_times
from flowviz.training.plane import BRIDGE, has_floor
from flowviz.training.semidiscrete import DATA_COUPLINGS
from flowviz.training.targets import TARGETS, has_means
from flowviz.ui import data_picker, widgets
from flowviz.ui import paths as path_menus

DEFAULT = TrainConfig()
NONE = "none"
MAX_STEPS = 100_000
MAX_WIDTH = 512
MAX_BATCH = 4_096
MAX_OT_BATCH = 1_024
"""The exact assignment of a batch takes time that grows with the cube of its size."""
PATH_HELP = "The path from noise to data on which the network is trained."

COUPLING_LABELS = {
    "independent": "independent",
    "minibatch-ot": "minibatch OT",
    "sinkhorn": "entropic OT (Sinkhorn)",
    "semidiscrete": "semidiscrete OT",
}


@dataclass(frozen=True)
class Settings:
    """The settings of the sidebar: one config per path, or why they are invalid."""

    data: str
    paths: tuple[str, ...]
    steps: int
    configs: tuple[TrainConfig, ...]
    refusal: str = ""
    """Why the settings are invalid, in a sentence; empty if they are valid."""


def controls() -> Settings:
    """Draws the sidebar: data set, paths, objective, coupling, network and optimiser."""
    with st.sidebar:
        data = data_picker.pick(help="The distribution that the networks learn.", sources=True)
        source, _ = datasets.parted(data)
        menu = partial(path_menus.select, source=source, help=PATH_HELP)
        left = menu("left", "First path", "ot")
        # VP diffusion cannot start from a data set.
        second, none = "trig" if source else "vp", {NONE: "none: train one path"}
        right = menu("right", "Second path", second, extra=none)
        loss = _loss(source)
        batches = _batches(data, loss["objective"])
        steps = widgets.integer(
            "steps",
            "Steps",
            100,
            MAX_STEPS,
            DEFAULT.steps,
            step=500,
            help="Optimiser steps; the learning rate falls to zero at the last one.",
        )
        with st.expander("Network and optimiser"):
            numbers = _numbers()
    entries = {"data": data, "steps": steps, **loss, **batches, **numbers}
    paths = (left,) if right in (NONE, left) else (left, right)
    try:
        coupling = batches.get("coupling", DEFAULT.coupling)
        within_batch = coupling in COUPLINGS and coupling != DEFAULT.coupling
        if within_batch and numbers["batch"] > MAX_OT_BATCH:
            raise ValueError(
                "Minibatch and entropic OT solve a transport problem of the whole batch at every "
                f"step: the batch must be at most {MAX_OT_BATCH:,} here; "
                f"got {numbers['batch']:,}."
            )
        configs = tuple(TrainConfig(path=path, **entries) for path in paths)
    except ValueError as error:
        return Settings(data, paths, steps, (), str(error))
    return Settings(data, paths, steps, configs)


def _loss(source: str) -> dict[str, Any]:
    """What the network predicts and how its errors count; `source` is the data set at t = 0."""
    objective = widgets.select(
        "objective",
        "Objective",
        OBJECTIVES.labels,
        DEFAULT.objective,
        help="What the network predicts: the velocity (flow matching), the noise in a state, "
        "the score of the density or the data. Each of these gives a velocity. A flow map "
        "(MeanFlow, shortcut, distillation) predicts the mean velocity between two times, which "
        "is a jump: in Compare choose the solver “jumps”. A distillation first follows the exact "
        "flow for about half a minute.",
    )
    two_times = OBJECTIVES[objective].two_times
    weighting = DEFAULT.weighting
    if not two_times:
        weighting = widgets.select(
            "weighting",
            "Weight of the loss",
            WEIGHTINGS.labels,
            DEFAULT.weighting,
            help=WEIGHTINGS.sentences(),
        )
    bridge = DEFAULT.bridge
    if source and not two_times:
        bridge = widgets.number(
            "bridge",
            "Diffusion of the bridges",
            *BRIDGE,
            DEFAULT.bridge,
            step=0.1,
            help="Above 0, each pair of the two data sets is joined by Brownian bridges, and "
            "two networks learn the velocity and the score of their density (SF2M, Tong et "
            "al. 2023). ODE or SDE shows the flow and the diffusion of the networks.",
        )
    return {"objective": objective, "weighting": weighting, "bridge": bridge}


def _batches(data: str, objective: str) -> dict[str, Any]:
    """How the pairs, times and targets of a batch are made; {} for trajectories of a teacher."""
    if objective == "distillation":
        return {}
    coupling = widgets.select(
        "coupling",
        "Coupling",
        {name: COUPLING_LABELS.get(name, name) for name in (*COUPLINGS, *DATA_COUPLINGS)},
        DEFAULT.coupling,
        help="How noise and data points are paired: independently, or so that the total "
        "squared distance is minimal: within each batch, exactly or with an entropy, or "
        "between all noise and 1,024 data points (semidiscrete; the training starts some "
        "seconds later). The conditional OT path is something else: how one pair is joined.",
    )
    times = widgets.select(
        "times", "Times of a batch", drawn_times.LABELS, DEFAULT.times, help=drawn_times.HELP
    )
    compared = ""
    if has_means(data, coupling, objective):
        compared = widgets.select(
            "targets",
            "Targets",
            TARGETS.labels,
            DEFAULT.targets,
            help=TARGETS.sentences(),
        )
    return {"coupling": coupling, "times": times, "targets": compared}


def _numbers() -> dict[str, int | float | bool]:
    """The numbers of a TrainConfig."""
    width = widgets.integer(
        "width", "Width", 8, MAX_WIDTH, DEFAULT.width, step=32, help="Units per hidden layer."
    )
    depth = widgets.integer("depth", "Depth", 1, 8, DEFAULT.depth, help="Number of hidden layers.")
    return {
        "width": width,
        "depth": depth,
        "batch": widgets.integer(
            "batch",
            "Batch",
            16,
            MAX_BATCH,
            DEFAULT.batch,
            step=128,
            help="Pairs of noise and data per step; jumps in a distillation.",
        ),
        "lr": widgets.number(
            "lr",
            "Learning rate",
            1e-6,
            1.0,
            default_rate(depth),
            step=5e-4,
            help="Peak value: it warms up, then falls linearly to zero.",
        ),
        "preconditioned": widgets.toggle(
            "preconditioned",
            "Preconditioned",
            DEFAULT.preconditioned,
            help="The network learns the residual of the best linear prediction, at unit scale "
            "(Karras et al. 2022). Off: it predicts the whole target, as in Lipman et al. 2022. "
            "A flow map needs it.",
        ),
        "seed": widgets.seed(
            "Seed",
            DEFAULT.seed,
            help="Of weights, data, noise and times, which are the same for both paths.",
        ),
    }


def network_kind(configs: Sequence[TrainConfig]) -> str:
    """What the networks become, for the title."""
    maps = any(OBJECTIVES[each.objective].two_times for each in configs)
    return "flow map" if maps else "velocity field"


def main_finding(configs: Sequence[TrainConfig]) -> str:
    """What to notice of these trainings."""
    if all(map(has_floor, configs)):
        text = "No loss reaches 0: each path has its own [floor](floor)."
    else:
        text = "The [floor](floor) of this loss is not known."
    return f"{text} Judge by the samples, not by the loss."


def note(configs: Sequence[TrainConfig]) -> str:
    """A caption that explains the pictures; Markdown."""
    settings = sampler(network_kind(configs) == "flow map")
    sampling = (
        f"{settings['nfe']} jumps"
        if settings["method"] == JUMPS
        else f"midpoint, {settings['nfe']} evaluations"
    )
    texts = []
    if len(configs) > 1:
        texts.append(
            "Both networks start from the same weights and see the same data, noise and times at "
            "every step; only the path differs. **Losses of two paths are not comparable**, since "
            "each has its own target: compare paths by their samples."
        )
    if all(map(has_floor, configs)):
        texts.append(
            "**The floor** is the loss of the exact field, which no network can improve on; the "
            "loss minus its floor is the squared distance of the network from the exact field."
        )
    texts.append(f"Samples: {sampling}, the averaged weights, the same noise every time.")
    return " ".join(texts)
