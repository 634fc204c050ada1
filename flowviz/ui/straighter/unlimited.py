"""The third claim: where exact flows end, how straight they run, what straightens them."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from flowviz.device import limit_threads
from flowviz.experiments import endpoints as ends
from flowviz.experiments import straightening, unlimited
from flowviz.experiments.endpoints import EndpointsConfig, EndpointsResult
from flowviz.experiments.evolution import EXACT
from flowviz.experiments.sources import pinned
from flowviz.experiments.straightening import (
    ENTRANTS,
    NFES,
    StraighteningConfig,
    StraighteningResult,
)
from flowviz.experiments.unlimited import (
    MEASURE,
    Left,
    LeftConfig,
    LeftResult,
    StraightnessConfig,
    StraightnessResult,
)
from flowviz.figures import curves, straightness, theme
from flowviz.grids import GRIDS
from flowviz.metrics import METRICS
from flowviz.objectives import OBJECTIVES
from flowviz.schedulers import LEARNED, scheduler
from flowviz.solvers import METHODS
from flowviz.straightness import LATEST, Straightness
from flowviz.studies._common import fixed_methods
from flowviz.ui import cache, figure, paths, state
from flowviz.ui.straighter import verdicts
from flowviz.ui.straighter.board import board, conclusion, standing
from flowviz.ui.straighter.parts import DASHES, columns_of, line, sentence
from flowviz.ui.theme import is_dark

__all__ = ["section"]

DEFAULT = EndpointsConfig()
SHOWN = 64
"""Particles whose ends are drawn."""

LEGEND = 24
"""Pixels of a line of a legend of one column, which narrow windows make of it."""

DRAWN = ("ot", "vp", "trig", paths.OWN)
"""Paths whose straightness is drawn; VE's is another order of magnitude, and in the table."""

ORDER = {name: k for k, name in enumerate(n for n in ENTRANTS if ENTRANTS[n].path == "ot")}


def section(data: str) -> None:
    """Exact fields at once; couplings and learned fields behind buttons; the verdict."""
    config, trained = _controls(data)
    found = _ended(config)
    _endpoints(config, found)
    straighter = StraightnessConfig(
        data=data, own=config.own, learned=_learned_names(data), seed=config.seed
    )
    with st.spinner("Measuring how straight the flows are …"):
        straight = _straight(straighter)
    _straightness(straighter, straight)
    st.subheader("What does straighten a flow: the coupling")
    board(
        "straighter-couplings",
        trained,
        partial(straightening.straighten, trained),
        partial(_couplings, trained),
        start="Train the couplings",
        invite=f"{len(ENTRANTS)} small networks, {trained.steps:,} steps each: independent pairs "
        "on VP and OT, minibatch OT within each batch, and reflow, which trains on the pairs that "
        f"a trained flow makes, once and twice. About {trained.steps / 40:.0f} s of computing.",
        doing=lambda result: result.doing,
    )
    st.page_link(
        "pages/learned_path.py",
        label="A path can be learned to be straight, too: its straightness, likelihood and cost",
        icon=":material/route:",
        query_params={"data": data},
    )
    st.subheader("What is left when sampling costs nothing")
    names = _names(data)
    left = LeftConfig(data=data, names=names, seed=config.seed)
    if names:
        board(
            "straighter-left",
            left,
            partial(unlimited.left_over, left),
            partial(_left, left),
            start="Follow the learned fields",
            invite=f"The trained networks at NFE {left.nfe:,}, from the same noise as the exact "
            f"flow: about {7 * len(names)} s of computing.",
            doing=lambda result: f"{result.share:.0%} of the solves",
        )
    else:
        st.markdown("There is no trained network for this data set; train one on the Train page.")
    conclusion(
        {"straighter-left": left},
        lambda: verdicts.unlimited(found, straight, standing("straighter-left", left)[0]),
    )


def _controls(data: str) -> tuple[EndpointsConfig, StraighteningConfig]:
    with st.sidebar:
        method = state.select("solver", "ODE solver", fixed_methods(), DEFAULT.method)
        grid = state.select(
            "grid",
            "Its steps lie",
            GRIDS.labels,
            DEFAULT.grid,
            help=GRIDS.sentences(),
        )
        matched = state.toggle(
            "matched",
            "Start every path on the way",
            DEFAULT.matched,
            help="VP and VE start with a little data in the noise, and samplers start them as if "
            "there were none. On: they start where the OT flow is at their own ratio of signal to "
            "noise, and then all paths end in the same points.",
        )
        own = paths.also_own(help="Its exact flow, beside those of the other paths.")
        seed = state.seed("Seed", DEFAULT.seed)
        steps = state.integer(
            "pair-steps", "Steps of the couplings' trainings", 100, 20_000, 2_000, step=500
        )
    return (
        EndpointsConfig(
            data=data,
            own=own,
            method=method,
            grid=grid,
            matched=matched,
            seed=seed,
        ),
        StraighteningConfig(data=data, steps=steps, seed=seed),
    )


@st.cache_data(max_entries=32, show_spinner="Following the same noise on every path …")
def _ended(config: EndpointsConfig) -> EndpointsResult:
    limit_threads()
    return ends.compute_endpoints(config)


_straight: Callable[..., StraightnessResult] = cache.kept(unlimited, "compute_straightness", 32)


def _endpoints(config: EndpointsConfig, found: EndpointsResult) -> None:
    st.subheader("The same noise ends in the same points")
    left, right = st.columns([5, 6])
    labels = [scheduler(path).label for path in found.paths]
    with left:
        figure.show(
            straightness.endpoints(
                found.start[:SHOWN],
                [
                    straightness.Ends(
                        label=label,
                        colour=theme.path_colour(path, dark=is_dark()),
                        points=points[:SHOWN],
                    )
                    for path, label, points in zip(found.paths, labels, found.ends, strict=True)
                ],
                dark=is_dark(),
            ),
            "straighter-ends",
            title="ends of the exact flows",
            alt=f"{len(found.start[:SHOWN])} draws of noise and where the exact flow of each path "
            f"carries them; off the ends of {labels[0]} by {verdicts.distances(found)}.",
            settings=asdict(config),
            columns=lambda: {
                "path": np.repeat(found.paths, len(found.start)),
                "particle": np.tile(np.arange(len(found.start)), len(found.paths)),
                "noise_x1": np.tile(found.start[:, 0], len(found.paths)),
                "noise_x2": np.tile(found.start[:, 1], len(found.paths)),
                "end_x1": found.ends[:, :, 0].ravel(),
                "end_x2": found.ends[:, :, 1].ravel(),
            },
        )
    lines = [
        line(label, path, found.nfe.astype(float), row, floor=level or None)
        for path, label, row, level in zip(
            found.paths, labels, found.distance, found.floor, strict=True
        )
    ]
    with right:
        plot = curves.curves(
            lines,
            x_title=f"function evaluations (NFE), {METHODS[config.method].label}",
            y_title=f"RMS distance from {labels[0]}'s converged ends",
            floor_label="converged",
            log_x=True,
            log_y=True,
            markers=True,
            dark=is_dark(),
        )
        figure.show(
            _one_floor(plot).update_yaxes(
                range=[-8, 1], **curves.log_ticks(np.array([1e-8, 10.0]))
            ),
            "straighter-distance",
            title="distance of the ends against NFE",
            alt=f"Distance of each path's ends from the converged ends of {labels[0]}: "
            f"{verdicts.falls(found)}.",
            settings=asdict(config),
            columns=partial(columns_of, lines, "nfe", "distance"),
        )
    sentence(verdicts.endpoints(found, matched=config.matched))


def _one_floor(plot: go.Figure) -> go.Figure:
    """The floors of all lines under one entry of the legend: each has its line's colour."""
    floors = [trace for trace in plot.data if (trace.name or "").startswith("converged")]
    for k, trace in enumerate(floors):
        trace.update(showlegend=k == 0, name="converged, in each path's colour")
    return plot.update_layout(height=520, legend_y=-0.12)


def _straightness(config: StraightnessConfig, found: StraightnessResult) -> None:
    st.subheader("How straight: pair by pair, and as a whole")
    drawn = _flows(found)
    legend = LEGEND * len(drawn)
    low = {"height": 300 + legend, "margin_b": 40 + legend, "legend_y": -0.3}
    left, right = st.columns([6, 5])
    with left:
        plot = straightness.pairs(
            [
                straightness.Pair(
                    label=each.label.replace(", ", ",<br>"),
                    colour=theme.path_colour(each.path, dark=is_dark()),
                    conditional=_two(each.conditional),
                    marginal=_two(each.marginal),
                )
                for each in drawn
            ],
            ("S ÷ distance²", "arc ÷ chord"),
            dark=is_dark(),
        )
        figure.show(
            plot.update_layout(**low),
            "straighter-pairs",
            title="straightness of conditional and marginal flows",
            alt="Straightness of each path's conditional flows, hollow, and marginal flow, full.",
            settings=asdict(config),
            columns=lambda: _table(found),
        )
    lines = [
        line(
            each.label,
            each.path,
            each.marginal.times,
            each.marginal.deviations / each.marginal.displacement,
            dash=each.dash,
        )
        for each in drawn
    ]
    with right:
        plot = curves.curves(
            lines,
            x_title="time t  (0 noise, 1 data)",
            y_title="off the chord's velocity (area = S ÷ distance²)",
            log_y=True,
            dark=is_dark(),
        )
        figure.show(
            plot.update_layout(**low),
            "straighter-deviations",
            title="where the marginal flow leaves its chord",
            alt="Mean squared difference of velocity and chord over time for each marginal flow.",
            settings=asdict(config),
            columns=partial(columns_of, lines, "t", "deviation"),
        )
    sentence(verdicts.straightness(found))
    with st.expander("All measures, for VE diffusion too"):
        st.dataframe(_shown(found), hide_index=True)
        st.caption(
            "S is Liu's, E∫|(z₁ − z₀) − v|² dt, summed over both dimensions, which equals the "
            "kinetic energy less E|z₁ − z₀|². The Burgers residual is the mean squared "
            f"acceleration ∂ₜv + (v·∇)v up to {LATEST:.0%} of the time: later on it grows without "
            "bound on VP. Time runs from 0 to 1 where the path stops. VE starts from noise of "
            "standard deviation 25, hence its numbers. A learned path has no exact field: its "
            "marginal flow is that of the network that was trained with it."
        )


@dataclass(frozen=True, kw_only=True)
class _Flow:
    """One flow of the figures."""

    label: str
    path: str
    conditional: Straightness
    marginal: Straightness
    dash: str = DASHES[0]


def _flows(found: StraightnessResult, drawn: Sequence[str] = DRAWN) -> list[_Flow]:
    """The flows of some paths by exact fields, and of all learned paths by their networks."""
    rows = zip(found.paths, found.conditional, found.marginal, strict=True)
    exact = [
        _Flow(label=scheduler(path).label, path=path, conditional=pairs, marginal=whole)
        for path, pairs, whole in rows
        if path in drawn or paths.name_of(path) in drawn
    ]
    learned = [
        _Flow(
            label=verdicts.learned_name(each, found.learned),
            path=LEARNED,
            conditional=each.conditional,
            marginal=each.marginal,
            dash=DASHES[k % len(DASHES)],
        )
        for k, each in enumerate(found.learned)
    ]
    return exact + learned


def _two(measured: Straightness) -> tuple[float, float]:
    return measured.relative, measured.arc_over_chord


def _table(found: StraightnessResult) -> dict[str, np.ndarray]:
    """Every measure, a row a flow."""
    rows = [
        (each, kind, getattr(each, kind))
        for kind in ("conditional", "marginal")
        for each in _flows(found, found.paths)
    ]
    names = ("deviation", "relative", "arc_over_chord", "energy", "displacement", "acceleration")
    return {
        "path": np.array([each.path for each, _, _ in rows]),
        "label": np.array([each.label for each, _, _ in rows]),
        "flow": np.array([kind for _, kind, _ in rows]),
    } | {name: np.array([getattr(each, name) for _, _, each in rows]) for name in names}


def _shown(found: StraightnessResult) -> dict[str, Sequence[str]]:
    """The table with headings and few digits."""
    table = _table(found)
    heads = {
        "deviation": "S",
        "relative": "S ÷ E|z₁ − z₀|²",
        "arc_over_chord": "arc ÷ chord",
        "energy": "kinetic energy",
        "displacement": "E|z₁ − z₀|²",
        "acceleration": "Burgers residual",
    }
    shown = {
        "Path": table["label"].tolist(),
        "Flow": table["flow"].tolist(),
    }
    return shown | {
        head: [f"{0 if value < 1e-9 else value:.4g}" for value in table[name]]
        for name, head in heads.items()
    }


def _couplings(config: StraighteningConfig, found: StraighteningResult) -> None:
    if not found.outcomes:
        return
    quality, off = [], []
    for each in found.outcomes:
        entrant = ENTRANTS[each.entrant]
        dash = DASHES[ORDER.get(each.entrant, 0)]
        label = entrant.label
        quality.append(line(label, entrant.path, each.nfe.astype(float), each.quality, dash=dash))
        measured = each.straightness
        off.append(line(label, entrant.path, measured.times, measured.deviations, dash=dash))
    left, right = st.columns(2)
    metric = METRICS[straightening.METRIC].label
    with left:
        plot = curves.curves(
            quality,
            x_title="function evaluations (NFE), Euler",
            y_title=f"{metric} to data",
            log_x=True,
            log_y=True,
            markers=True,
            x_ticks=NFES,
            dark=is_dark(),
        )
        plot.add_hline(
            y=found.floor,
            line={"color": theme.MUTED[is_dark()], "width": 1.2, "dash": "dot"},
        )
        figure.show(
            plot,
            "straighter-coupling-quality",
            title="quality against NFE by coupling",
            alt="Distance of samples to data against Euler's evaluations for each coupling.",
            settings=asdict(config) | {"floor": f"{found.floor:.6g}"},
            columns=partial(columns_of, quality, "nfe", "sliced_w2"),
        )
    with right:
        figure.show(
            curves.curves(
                off,
                x_title="time t  (0 noise, 1 data)",
                y_title="off the chord's velocity (area = S)",
                log_y=True,
                dark=is_dark(),
            ),
            "straighter-coupling-deviations",
            title="where learned flows leave their chord",
            alt="Mean squared difference of velocity and chord over time for each coupling.",
            settings=asdict(config),
            columns=partial(columns_of, off, "t", "deviation"),
        )
    sentence(verdicts.couplings(found))
    st.dataframe(
        {
            "Trained with": [ENTRANTS[each.entrant].label for each in found.outcomes],
            "S": [f"{each.straightness.deviation:.3g}" for each in found.outcomes],
            "S falls by": [_gain(found, each.entrant) for each in found.outcomes],
            "arc ÷ chord": [f"{each.straightness.arc_over_chord:.3f}" for each in found.outcomes],
        }
        | {
            f"NFE {nfe}": [f"{each.quality[NFES.index(nfe)]:.3f}" for each in found.outcomes]
            for nfe in (1, 2, 4, 16, 64)
        }
        | {
            "in the limit": [f"{each.limit:.3f}" for each in found.outcomes],
            "seconds of training": [f"{each.seconds:.0f}" for each in found.outcomes],
        },
        hide_index=True,
    )
    st.caption(
        f"{metric} to data by Euler's method; two samples of the data are {found.floor:.3f} "
        "apart. In the limit: an adaptive solver. Minibatch OT and reflow are on the conditional "
        "OT path: a coupling says which pairs are joined, a path how."
    )


def _gain(found: StraighteningResult, entrant: str) -> str:
    gain = found.gain(entrant)
    return "–" if gain is None else f"{gain:.3g}×"


def _names(data: str) -> tuple[str, ...]:
    """The checkpoints of a data set by name and content, the paths' own first."""
    cards = cache.cards()
    wanted = [f"{data}-{suffix}" for suffix in ("ot", "vp", *(f"vp-{n}" for n in OBJECTIVES))]
    return tuple(pinned(cards[name]) for name in wanted if name in cards) + _learned_names(data)


def _learned_names(data: str) -> tuple[str, ...]:
    """The checkpoints of the learned paths of a data set, the least bent last."""
    learned = [c for c in cache.cards().values() if c.is_learned_path and c.data == data]
    learned.sort(key=lambda card: (card.training.get("penalty", 0), card.name))
    return tuple(pinned(card) for card in learned)


def _left(config: LeftConfig, found: LeftResult) -> None:
    learned = [each for each in found.fields if each.name != EXACT]
    if not learned:
        return
    known = [each for each in learned if each.path != LEARNED]
    if known:
        _left_figure(config, found, known)
    sentence(verdicts.left_over(found))
    perfect = found.fields[0].quality.mean()
    told = ", ".join(
        f"{scheduler(each.path).label}, {each.objective} {np.nanmean(each.quality):.3f}"
        for each in learned
    )
    st.caption(
        f"{METRICS[MEASURE].label} to data: {told}; the exact flow from the same noise has "
        f"{perfect:.3f}, two samples of the data {found.floor:.3f}."
        + (
            " A learned path is not of the form α x₁ + σ x₀: its exact flow is not known and may "
            "end elsewhere, so that its samples alone are judged."
            if len(known) < len(learned)
            else ""
        )
    )


def _left_figure(config: LeftConfig, found: LeftResult, known: Sequence[Left]) -> None:
    """The distance from the exact flow's ends of the fields of which it is known."""
    figure.show(
        straightness.dots(
            [
                straightness.Runs(
                    label=f"{scheduler(each.path).label}, {each.objective}",
                    colour=theme.path_colour(each.path, dark=is_dark()),
                    values=each.distance,
                )
                for each in known
            ],
            x_title=f"RMS distance from the exact flow's ends at NFE {config.nfe:,}, a dot a seed",
            dark=is_dark(),
        ),
        "straighter-left-figure",
        title="what learned fields err by",
        alt="Distance of each learned flow's ends from those of the exact flow.",
        settings=asdict(config),
        columns=lambda: {
            "field": np.repeat([each.name for each in found.fields], config.seeds),
            "distance": np.concatenate([each.distance for each in found.fields]),
            MEASURE.replace("-", "_"): np.concatenate([each.quality for each in found.fields]),
        },
    )
