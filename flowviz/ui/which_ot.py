"""The page "Which OT?": path, coupling, map and reflow on the same two samples."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from flowviz.experiments import pairings as experiment
from flowviz.experiments.pairings import (
    ALL,
    PAIRS,
    REFLOW,
    SIZES,
    STD,
    CostConfig,
    CostResult,
    MarginalConfig,
    MarginalResult,
    PairingsConfig,
    PairingsResult,
)
from flowviz.figures import curves, theme
from flowviz.figures.pairings import Panel, over_minibatch, panels
from flowviz.ui import data_picker, figure, paths, state
from flowviz.ui.cache import kept
from flowviz.ui.downloads import stacked
from flowviz.ui.pieces import gather
from flowviz.ui.theme import is_dark

__all__ = ["controls", "costs", "flows", "meanings", "pairs"]

DEFAULT = PairingsConfig()
SLUGS = ("independent", "minibatch OT", "optimal transport", "reflow")


@dataclass(frozen=True)
class _Curve:
    """One measure of couplings, by batch size."""

    values: NDArray
    errors: NDArray
    reflow: float


def controls() -> tuple[PairingsConfig, str]:
    """The sidebar: the two samples and the size of a minibatch; and the path of the pairs."""
    with st.sidebar:
        data = data_picker.pick(help="What noise is joined to.")
        n = state.count(
            "n",
            "Points of each sample",
            (32, 64, 128),
            DEFAULT.n,
            help=f"Of noise and of data, in the pictures; the curves below take {PAIRS:,} pairs.",
        )
        batch = state.count(
            "batch",
            "Minibatch",
            (4, 8, 16, 32),
            DEFAULT.batch,
            text="{} pairs",
            help="Within how many pairs optimal transport may choose. In training that is the "
            "batch of a step.",
        )
        path = paths.spec(
            state.select(
                "path",
                "Conditional path of the flows",
                {name: paths.labels()[name] for name in ("ot", paths.OWN)},
                "ot",
                help="How each pair is joined in the marginal flows and in S. Which pairs there "
                "are, and what they cost, is the same on both. Shape your own under *Schedules*.",
            )
        )
        seed = state.seed("Seed", help="Of both samples.")
    return PairingsConfig(data=data, n=n, batch=batch, seed=seed), path


def meanings() -> None:
    """What is optimal in each, in a table."""
    st.markdown(
        "| | chooses | optimal is | |\n|---|---|---|---|\n"
        "| **Conditional OT path** | *how* a pair is joined, ${x_t = (1-t)\\,x_0 + t\\,x_1}$ | "
        "the map to *one* data point | Lipman et al. 2022, eq. 20–23 |\n"
        "| **Minibatch-OT coupling** | *which* pairs are joined, within a batch | the pairing of "
        "that batch | Pooladian et al. 2023, Tong et al. 2023 |\n"
        "| **Optimal transport map** | which noise goes to which data, of all | the cost "
        "${\\mathbb E\\,\\lvert x_1 - x_0\\rvert^2 = W_2^2}$ | Brenier 1991 |\n"
        "| **Reflow** | which pairs: those that a flow made | not optimal, but never worse | "
        "Liu et al. 2022, thm 3.5 |\n"
    )


_pairings: Callable[..., PairingsResult] = kept(experiment, "compute_pairings", 64)
_cost: Callable[..., CostResult] = kept(experiment, "compute_cost", 256)
_marginal: Callable[..., MarginalResult] = kept(experiment, "compute_marginal", 256)


def pairs(config: PairingsConfig, path: str) -> None:
    """The four pairings as segments, with their crossings; `path` carries the flows after them."""
    st.subheader("The pairs that are joined")
    found = _pairings(config)
    shown = [
        Panel(
            title=title,
            lines=(
                f"E|x₁ − x₀|² = {each.cost:.1f}",
                f"{len(each.crossings.apart)} crossings",
                f"{each.crossings.at_once.sum()} at once",
            ),
            colour=theme.colour("ot", dark=is_dark()),
            states=np.stack([found.noise, each.ends]),
            crossings=each.crossings.places,
            at_once=each.crossings.at_once,
        )
        for title, each in zip(_titles(config), found.pairings, strict=True)
    ]
    figure.show(
        panels(shown, ends="data x<sub>1</sub>", dark=is_dark()),
        "which-ot-pairs",
        title="pairings of the same samples",
        alt="Segments from noise to data for independent pairs, minibatch optimal transport, "
        "optimal transport and reflow, with their crossings marked.",
        settings=asdict(config),
        columns=lambda: stacked(
            [
                {
                    "coupling": name,
                    "noise_x1": found.noise[:, 0],
                    "noise_x2": found.noise[:, 1],
                    "data_x1": each.ends[:, 0],
                    "data_x2": each.ends[:, 1],
                }
                for name, each in zip(SLUGS, found.pairings, strict=True)
            ]
        ),
    )
    alone, batch, whole, reflow = found.pairings
    elsewhere = "" if path == "ot" else " (your own schedule carries the flows below)"
    st.markdown(
        f"**Here all four join their pairs by the conditional OT path**{elsewhere}, so that “OT” "
        "says nothing yet of who is joined to whom. Where lines cross and both particles are "
        "there at nearly the same time, one field cannot serve both: "
        f"{alone.crossings.at_once.sum()} such places with independent pairs, "
        f"{batch.crossings.at_once.sum()} with minibatches of {config.batch}, "
        f"{whole.crossings.at_once.sum()} with optimal transport of the {config.n} points and "
        f"{reflow.crossings.at_once.sum()} with reflow. (Lines of an "
        "optimal pairing may cross in the plane, but never at the same time. “At once”: less "
        f"than {experiment.AT_ONCE:g} apart. Reflow's data are the ends of the exact flow.)"
    )


def flows(config: PairingsConfig, path: str) -> None:
    """The marginal flows that the four couplings make, from the same noise."""
    st.subheader("The marginal flow that they make")
    wanted = (1, config.batch, ALL, REFLOW)
    found = gather(
        "which-ot-flows",
        [partial(_marginal, _marginal_config(config, path, batch)) for batch in wanted],
        label="Following the marginal flows",
        token=(config, path),
    )
    if found is None:
        return
    shown = [
        Panel(
            title=title,
            lines=(
                f"S = {each.straightness.deviation:.2g}",
                f"arc ÷ chord {each.straightness.arc_over_chord:.3f}",
            ),
            colour=theme.path_colour(path, dark=is_dark()),
            states=each.states[:, : config.n],
        )
        for title, each in zip(_titles(config), found, strict=True)
    ]
    figure.show(
        panels(shown, ends="ends of the flow", dark=is_dark()),
        "which-ot-flows",
        title="marginal flows of the couplings",
        alt="Ways of the same noise in the marginal flow of each coupling, with "
        + "; ".join(
            f"S {each.straightness.deviation:.2g} for {t}"
            for t, each in zip(_titles(config), found, strict=True)
        ),
        settings=asdict(config) | {"path": path},
        columns=lambda: stacked(
            [_ways(name, each) for name, each in zip(SLUGS, found, strict=True)]
        ),
    )
    if path != "ot":
        st.markdown(_own_words(config, found))
        return
    alone, batch, whole, reflow = (each.straightness.deviation for each in found)
    st.markdown(
        f"**The path is the same, the flow is not**: Liu's S is {alone:.2g} with independent "
        f"pairs, {batch:.2g} with minibatches of {config.batch}, {whole:.2g} with optimal "
        f"transport (of {ALL:,} points) and {reflow:.2g} with reflow, whose pairs hardly "
        "ever meet. Nothing is trained: the field of independent pairs is "
        f"the closed form, each other one is the exact field of {PAIRS:,} pairs smoothed by "
        f"{STD:g} (as Tong et al. 2023 do), where a particle beside all of them follows the "
        "nearest; an S near 0.01 is that smoothing's own. What small "
        "networks make of the same couplings is on the page *Is straighter better?*, claim 3."
    )


def _own_words(config: PairingsConfig, found: Sequence[MarginalResult]) -> str:
    """What couplings do on a path whose single pairs have an S of their own."""
    first, batch, whole, reflow = (each.straightness.deviation for each in found)
    return (
        "**Where pairs hardly cross, each particle moves as its pair does, and on your own "
        f"schedule that has an S already**: S goes from {first:.2f} with independent pairs and "
        f"{batch:.2f} with minibatches of {config.batch} to {whole:.2f} with optimal transport "
        f"(of {ALL:,} points) and {reflow:.2f} with reflow, and the pairs of these two, "
        f"moved alone, have {found[2].alone:.2f} and {found[3].alone:.2f}: they speed up and "
        "slow down, or leave their line, as the schedule says. On conditional OT that is 0. "
        "Nothing is trained: independent pairs have the closed form, the others the exact field "
        f"of {PAIRS:,} pairs smoothed by {STD:g}. Reflow's pairs are those of the OT flow: the "
        "exact flow of your schedule has the same ends."
    )


def costs(config: PairingsConfig, path: str) -> None:
    """Transport cost and S over the size of the minibatch, and reflow's."""
    st.subheader("From independent pairs to the optimal map: larger minibatches")
    left, right = st.columns(2)
    with left:
        each = gather(
            "which-ot-costs",
            [
                partial(_cost, CostConfig(data=config.data, batch=batch, seed=config.seed))
                for batch in (*SIZES, REFLOW)
            ],
            label="Pairing larger minibatches",
            token=config,
        )
        if each is not None:
            *sized, last = each
            cost = _Curve(
                np.array([one.cost for one in sized]),
                np.array([one.error for one in sized]),
                last.cost,
            )
            least = ("no coupling is cheaper (Gelbrich's bound)", last.least)
            _curve(
                config,
                "cost",
                "transport cost E|<i>x</i><sub>1</sub> − <i>x</i><sub>0</sub>|²",
                cost,
                least,
            )
            st.markdown(_cost_words(cost, last))
    with right:
        found = gather(
            "which-ot-s",
            [partial(_marginal, _marginal_config(config, path, n)) for n in (*SIZES, REFLOW)],
            label="Following the marginal flows",
            token=(config, path),
        )
        if found is not None:
            values = np.array([one.straightness.deviation for one in found])
            bend = _Curve(values[:-1], np.zeros(len(SIZES)), values[-1])
            alone = found[len(SIZES) - 1].alone
            others = [] if path == "ot" else [(f"the pairs of {ALL:,} alone", alone)]
            _curve(config, "s", "S of the marginal flow", bend, *others, log_y=True, path=path)
            st.markdown(_s_words(path, values, alone))


def _s_words(path: str, values: NDArray, alone: float) -> str:
    """What larger minibatches do to S, and what they leave of it."""
    if path != "ot":
        return (
            f"**Minibatches take S from {values[0]:.2f} to {values[len(SIZES) - 1]:.2f}**; these "
            f"pairs have {alone:.2f} alone: on your own schedule that, and not 0, is what "
            "the best coupling comes to, but for the smoothing."
        )
    small = values[SIZES.index(64)]
    head = "straighten most of it" if small < values[0] / 2 else "change little of it here"
    return (
        f"**Small minibatches {head}**: with batches of 64 S is {small:.2g}, with independent "
        f"pairs {values[0]:.2g}. Where S is 0, one Euler step from noise to data is exact. Near "
        "0.01 the smoothing takes over."
    )


def _curve(
    config: PairingsConfig,
    name: str,
    title: str,
    curve: _Curve,
    *others: tuple[str, float],
    log_y: bool = False,
    path: str = "ot",
) -> None:
    """A measure over batch sizes with its error, reflow's level and others as horizontals."""
    sizes, dark = np.array(SIZES, dtype=float), is_dark()
    lines = [
        curves.Curve(
            label="optimal transport within minibatches",
            colour=theme.path_colour(path, dark=dark),
            x=sizes,
            y=curve.values,
            band=(curve.values - curve.errors, curve.values + curve.errors),
        )
    ]
    plot = over_minibatch(lines, sizes=SIZES, y_title=title, log_y=log_y, dark=dark)
    levels = [("reflow", curve.reflow, "dash", theme.INK[dark])]
    levels += [(label, value, "dot", theme.MUTED[dark]) for label, value in others]
    for label, value, dash, colour in levels:
        plot.add_scatter(
            x=sizes[[0, -1]],
            y=[value, value],
            mode="lines",
            line={"color": colour, "width": 1.4, "dash": dash},
            name=label,
            hovertemplate=f"%{{y:.4g}}<extra>{label}</extra>",
        )
    figure.show(
        plot,
        f"which-ot-{name}",
        title=f"{name} over minibatch size",
        alt=f"{title} over the size of the minibatch, with lines at "
        f"{', '.join(f'{label} ({value:.3g})' for label, value, *_ in levels)}.",
        settings=asdict(config)
        | {"path": path}
        | {label: f"{value:.6g}" for label, value, *_ in levels},
        columns=lambda: {"batch": sizes, name: curve.values, f"{name}_error": curve.errors},
    )


def _cost_words(cost: _Curve, last: CostResult) -> str:
    alone, whole = cost.values[0], cost.values[-1]
    text = (
        f"**From {alone:.1f} to {whole:.2f}**: the larger the minibatch, the nearer to W₂². Two "
        f"samples of {ALL:,} still lie above it, since small samples cost a little extra by "
        "chance; "
    )
    return text + (
        f"reflow costs {last.cost:.2f} ± {last.error:.2f}, and no map can cost less than W₂², "
        f"which so lies between {last.least:.2f} and about {min(last.cost, whole):.2f}."
    )


def _ways(name: str, found: MarginalResult) -> Mapping[str, NDArray | str]:
    """The states, one line a particle and moment."""
    moments, count, _ = found.states.shape
    return {
        "coupling": name,
        "particle": np.tile(np.arange(count), moments),
        "t": np.repeat(np.linspace(0, 1, moments), count),
        "x1": found.states[:, :, 0].ravel(),
        "x2": found.states[:, :, 1].ravel(),
    }


def _titles(config: PairingsConfig) -> Sequence[str]:
    return ("independent", f"minibatch OT, {config.batch}", "optimal transport", "reflow")


def _marginal_config(config: PairingsConfig, path: str, batch: int) -> MarginalConfig:
    return MarginalConfig(data=config.data, batch=batch, seed=config.seed, path=path)
