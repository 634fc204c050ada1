"""The first claim: what each network is asked for, the race, and the learning rates it bears."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial

import numpy as np
import streamlit as st

from flowviz.experiments import race as races
from flowviz.experiments.race import (
    ENTRANTS,
    METRIC,
    OWN,
    RaceConfig,
    RaceResult,
    SweepConfig,
    SweepResult,
    Targets,
    TargetsConfig,
    entrant,
)
from flowviz.figures import curves, straightness, theme
from flowviz.metrics import METRICS
from flowviz.ui import cache, figure, paths, state
from flowviz.ui.straighter import verdicts
from flowviz.ui.straighter.board import board, conclusion, standing
from flowviz.ui.straighter.parts import DASHES, columns_of, line, sentence
from flowviz.ui.theme import is_dark

__all__ = ["once", "section"]

DEFAULT = RaceConfig()

DASH = {
    name: DASHES[[n for n in ENTRANTS if ENTRANTS[n].path == entry.path].index(name)]
    for name, entry in ENTRANTS.items()
} | {OWN: DASHES[0]}
"""Solid, dash, dot ... within a path's colour."""

WIDTHS = (16, 32, 64, 128, 256)

BESIDE = {
    "error": ("Field error", "field error, share of the velocity"),
    "excess": ("Loss minus floor", "loss − floor, each in its own units"),
    "gradient": ("Gradient norm", "gradient norm before clipping"),
    "loss": ("Raw loss", "raw loss: not comparable between lines"),
}
"""What is drawn beside the quality: name of the choice and of the axis."""


def section(data: str) -> None:
    """Targets at once; the race and the sweep behind buttons; the verdict."""
    config, swept = _controls(data)
    _targets(TargetsConfig(data=data, own=config.own))
    st.subheader("The race")
    axes = _axes()
    board(
        "straighter-race",
        config,
        partial(races.race, config),
        partial(_race, config, *axes),
        start="Start the race",
        invite=f"{len(config.entrants)} networks × {config.seeds} seeds learn in lock-step, "
        f"{config.steps:,} steps each: about "
        f"{len(config.entrants) * config.seeds * config.steps / 300:.0f} s of computing.",
        doing=lambda found: f"Step {found.step:,} of {config.steps:,}",
    )
    st.subheader("Which learning rates still work?")
    board(
        "straighter-rates",
        swept,
        partial(races.sweep_rates, swept),
        partial(_rates, swept),
        start="Sweep the learning rates",
        invite=f"Each trains {swept.steps:,} steps at each of {len(races.LRS)} learning rates. "
        "Diverged means: the loss was no longer a number, or the network ended further from the "
        "exact field than one that always says 0.",
        doing=lambda found: f"{found.share:.0%} of the trainings",
    )

    def told() -> str:
        raced, where = standing("straighter-race", config)
        return verdicts.training(raced, standing("straighter-rates", swept)[0], where)

    conclusion({"straighter-race": config, "straighter-rates": swept}, told)


def _controls(data: str) -> tuple[RaceConfig, SweepConfig]:
    with st.sidebar:
        steps = state.integer("steps", "Steps of the race", 100, 20_000, DEFAULT.steps, step=500)
        seeds = state.integer(
            "seeds", "Seeds", 1, 8, DEFAULT.seeds, help="Runs of each entrant, for the bands."
        )
        lr = state.number("lr", "Learning rate", 1e-5, 1.0, DEFAULT.lr, step=1e-3)
        width = state.count(
            "width", "Width of the networks", WIDTHS, DEFAULT.width, text="{} units a layer"
        )
        preconditioned = state.toggle(
            "preconditioned",
            "Preconditioned",
            DEFAULT.preconditioned,
            help="Off, as in the paper: a network says the velocity, noise or score itself. On: "
            "it says what the best linear prediction leaves over, and then score and noise "
            "matching on one path are the same regression.",
        )
        seed = state.seed("First seed", DEFAULT.seed, dice=False)
        own = paths.also_own(
            help="One more network learns the velocity on your own schedule (flow matching), from "
            "the same weights, data, noise and times as the others."
        )
    shared = {"data": data, "width": width, "preconditioned": preconditioned, "seed": seed}
    shared |= {"own": own}
    return RaceConfig(steps=steps, seeds=seeds, lr=lr, **shared), SweepConfig(**shared)


def _axes() -> tuple[str, str]:
    """Over what the race is drawn, and what beside its quality."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        over = state.segmented(
            "over", "Over", {"steps": "Steps", "seconds": "Seconds of computing"}, "steps"
        )
        beside = state.segmented(
            "beside", "Beside", {name: label for name, (label, _) in BESIDE.items()}, "error"
        )
    return over, beside


_computed: Callable[[TargetsConfig], Targets] = cache.kept(races, "compute_targets", 16)


def _targets(config: TargetsConfig) -> None:
    found = _computed(config)
    st.subheader("Before any training: what each network is asked for")
    for place, name, title, log in zip(
        st.columns(2),
        ("share", "size"),
        (
            "share of the target that <i>x<sub>t</sub></i> determines",
            "size of the best prediction (RMS)",
        ),
        (False, True),
        strict=True,
    ):
        values = getattr(found, name)
        lines = [
            line(
                entrant(racer).label,
                entrant(racer).path,
                found.times[e],
                values[e] if name == "share" else np.where(values[e] > 0, values[e], np.nan),
                dash=DASH[racer],
            )
            for e, racer in enumerate(found.entrants)
        ]
        with place:
            figure.show(
                curves.curves(
                    once(lines),
                    x_title="time t  (0 noise, 1 data)",
                    y_title=title,
                    log_y=log,
                    dark=is_dark(),
                ),
                f"straighter-{name}",
                title=name,
                alt=f"The {name} of each objective's target, first and last in time: "
                + "; ".join(f"{each.label} {each.y[0]:.2g}, {each.y[-1]:.2g}" for each in lines),
                settings=asdict(config),
                columns=partial(columns_of, lines, "t", name),
            )
    sentence(verdicts.targets(found))


def once(lines: Sequence[curves.Curve]) -> list[curves.Curve]:
    """The lines, those that are one as one line with the labels of all."""
    kept: list[curves.Curve] = []
    for each in lines:
        for k, other in enumerate(kept):
            if other.colour == each.colour and _are_one(other, each):
                kept[k] = replace(other, label=f"{other.label}<br>and {each.label}")
                break
        else:
            kept.append(each)
    return kept


def _are_one(a: curves.Curve, b: curves.Curve) -> bool:
    return all(
        p.shape == q.shape and np.allclose(p, q, atol=1e-6, equal_nan=True)
        for p, q in ((a.x, b.x), (a.y, b.y))
    )


def _race(config: RaceConfig, over: str, beside: str, found: RaceResult) -> None:
    quality = METRICS[METRIC].label
    titles = {"quality": f"{quality} to data", beside: BESIDE[beside][1]}
    x_title = "training step" if over == "steps" else "seconds of computing"
    for place, (name, title) in zip(st.columns(2), titles.items(), strict=True):
        lines = [_raced(found, e, over, name) for e in range(len(found.entrants))]
        lines = [each for each in lines if len(each.x)]
        if not lines:
            continue
        with place:
            figure.show(
                curves.curves(
                    lines,
                    x_title=x_title,
                    y_title=title,
                    floor_label="two samples of the data",
                    log_x=True,
                    log_y=True,
                    markers=True,
                    dark=is_dark(),
                ),
                f"straighter-race-{'quality' if name == 'quality' else 'beside'}",
                title=title,
                alt=f"{title} over {x_title}: "
                + "; ".join(f"{each.label} ends at {each.y[-1]:.3g}" for each in lines),
                settings=asdict(config) | {"floor": f"{found.floor:.6g}"},
                columns=partial(columns_of, lines, over, name),
                filename=f"flowviz-race-{name}",
            )
    sentence(verdicts.race(found))


def _raced(found: RaceResult, e: int, over: str, name: str) -> curves.Curve:
    racer = entrant(found.entrants[e])
    x = found.steps if over == "steps" else found.seconds[e].mean(axis=0)
    return line(
        racer.label,
        racer.path,
        x.astype(float),
        getattr(found, name)[e],
        dash=DASH[found.entrants[e]],
        floor=found.floor if name == "quality" else None,
    )


def _rates(config: SweepConfig, found: SweepResult) -> None:
    racers = [entrant(name) for name in found.entrants]
    figure.show(
        straightness.rates(
            [each.label for each in racers],
            [theme.path_colour(each.path, dark=is_dark()) for each in racers],
            [DASH[name] for name in found.entrants],
            found.lrs,
            found.quality,
            found.diverged,
            y_title=f"{METRICS[METRIC].label} to data",
            floor=found.floor,
            dark=is_dark(),
        ),
        "straighter-rates-figure",
        title="quality over learning rates",
        alt="Distance of samples to data over learning rates; crosses mark what diverged. "
        + verdicts.rates(found).replace("*", ""),
        settings=asdict(config),
        columns=lambda: {
            "entrant": np.repeat(found.entrants, len(found.lrs)),
            "lr": np.tile(found.lrs, len(found.entrants)),
            "quality": found.quality.ravel(),
            "error": found.error.ravel(),
            "diverged": found.diverged.ravel().astype(int),
        },
    )
    sentence(verdicts.rates(found))
