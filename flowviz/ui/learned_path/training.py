"""Learning a path before the visitor's eyes: controls, progress, curves and ways."""

from dataclasses import asdict
from functools import partial

import numpy as np
import streamlit as st

from flowviz.experiments.learned_path import Learning, learn
from flowviz.figures import curves, theme
from flowviz.figures import learned_path as figures
from flowviz.schedulers import LEARNED
from flowviz.training import NfdmConfig
from flowviz.ui import cache, data_picker, figure, state
from flowviz.ui.learned_path.flows import DATA_POINTS
from flowviz.ui.straighter.board import board, finished
from flowviz.ui.theme import is_dark

__all__ = ["adopt", "controls", "section"]

DEFAULT = NfdmConfig(steps=3_000, width=96)
"""Smaller than what is shipped: a minute, to be watched."""

RATES = {False: 120, True: 75}
"""Steps a second of one core without and with the penalty, for the invitation."""


def controls(data: str) -> NfdmConfig:
    """What the training in the sidebar says."""
    with st.expander("Learn a path here"):
        penalty = state.number(
            "penalty",
            "Curvature penalty λ",
            0.0,
            10.0,
            DEFAULT.penalty,
            step=0.01,
            help="Weight of the mean square acceleration of the flow's ways; 0 is the bound "
            "alone. More is straighter, and less likely.",
        )
        steps = state.integer("steps", "Steps", 100, 50_000, DEFAULT.steps, step=500)
        sines = state.integer(
            "sines",
            "Sines of time",
            1,
            16,
            DEFAULT.sines,
            help="In the mean and in the scale of the forward process: how much it may bend.",
        )
        seed = state.seed("Seed of the training", slug="train-seed", dice=False)
    return NfdmConfig(
        data=data, penalty=penalty, steps=steps, sines=sines, width=DEFAULT.width, seed=seed
    )


def adopt(config: NfdmConfig) -> None:
    """Lets this session show what the training of a config led to, if somebody has had it made."""
    found = finished(config)
    if found is not None:
        cache.adopt(config.data, LEARNED, found.learned)


def section(config: NfdmConfig) -> None:
    """A button, progress with Cancel, and what was learned, which Compare then shows too."""
    st.subheader("Learn a path here")
    target = data_picker.dataset(config.data)
    seconds = config.steps / RATES[config.penalty > 0]
    kind = f"with λ = {config.penalty:g}" if config.penalty else "by the bound alone"
    board(
        "learned-path-training",
        config,
        partial(learn, config, target),
        partial(_drawn, config),
        start="Learn the path",
        invite=f"{config.steps:,} steps {kind} on {target.label}: about {seconds:.0f} s of "
        "computing. Afterwards it stands beside the others above, and in Compare.",
        doing=lambda found: f"Step {found.step:,} of {config.steps:,}",
    )


def _drawn(config: NfdmConfig, found: Learning) -> None:
    if found.share >= 1:
        cache.adopt(config.data, LEARNED, found.learned)
    left, right = st.columns(2)
    with left:
        _curve(config, found)
    if found.ways is not None:
        with right:
            st.plotly_chart(
                figures.ways(
                    [
                        figures.Column(
                            label=f"after {found.step:,} steps",
                            colour=theme.path_colour(LEARNED, dark=is_dark()),
                            conditional=found.ways.conditional,
                            flow=found.ways.flow,
                        )
                    ],
                    data_picker.points(config.data, DATA_POINTS),
                    dark=is_dark(),
                ),
                theme=None,
                key="learned-path-live",
            )


def _curve(config: NfdmConfig, found: Learning) -> None:
    colour = theme.path_colour(LEARNED, dark=is_dark())
    lines = [curves.Curve(label="bound, nats", colour=colour, x=found.steps, y=found.bound)]
    figure.show(
        curves.curves(
            lines,
            x_title="training step",
            y_title="bound on −log p, nats a data point",
            dark=is_dark(),
        ),
        "learned-path-curve",
        title="training of a learned path",
        alt=f"Bound over training steps, {found.bound[-1]:.3g} nats in the end.",
        settings=asdict(config),
        columns=lambda: {
            "step": found.steps,
            "bound": found.bound,
            "acceleration": found.curvature,
        },
    )
    st.caption(
        f"Bound {found.bound[-1]:.2f} nats over the last steps"
        + (
            f"; mean square acceleration {found.curvature[0]:.0f} at first, "
            f"{found.curvature[-1]:.1f} now."
            if np.isfinite(found.curvature).all()
            else "."
        )
    )
