"""The page "CFM = FM": theorem 2 as losses, gradients and the variance of the target."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import streamlit as st

from flowviz.experiments import theorem2 as experiment
from flowviz.experiments.theorem2 import (
    BATCHES,
    NEW,
    SIZES,
    CouplingConfig,
    CouplingResult,
    GapConfig,
    GapResult,
    GradientResult,
    SlopeConfig,
    TargetConfig,
    TargetResult,
    pooled,
    signal,
    slope,
)
from flowviz.fields import LearnedField
from flowviz.figures import curves, theme, theorem2
from flowviz.figures.pairings import over_minibatch
from flowviz.schedulers import scheduler
from flowviz.ui import data_picker, figure, paths, state
from flowviz.ui.cache import kept
from flowviz.ui.downloads import stacked
from flowviz.ui.field_picker import choose, networks
from flowviz.ui.pieces import gather
from flowviz.ui.theme import is_dark

__all__ = ["Settings", "controls", "gradients", "losses", "target", "theorem"]

TRAINED = "trained"
DRAWN = tuple(batch for batch in BATCHES if batch > 1)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the controls say."""

    data: str
    paths: tuple[str, ...]
    network: str
    """NEW or TRAINED."""
    batch: int
    seeds: int
    seed: int


def controls() -> Settings:
    """The sidebar: which data and paths, which network is differentiated, how often."""
    with st.sidebar:
        data = data_picker.pick(help="What x₁ is drawn from.")
        chosen = state.several(
            "paths",
            "Paths",
            paths.labels(),
            ("ot", "vp"),
            most=3,
            help="On each the conditional loss has a floor of its own.",
        )
        network = state.select(
            "network",
            "Network v",
            {NEW: "new: random weights", TRAINED: "trained"},
            NEW,
            help="Theorem 2 holds for any weights. New: a small one that has learned nothing. "
            "Trained: the best that there is for this data and path; its marginal gradient is "
            "almost 0, so that what a batch shows is nearly all chance.",
        )
        batch = state.count(
            "batch",
            "Minibatch of optimal transport",
            DRAWN,
            64,
            text="{} pairs",
            help="Within how many pairs noise and data are matched, in the left of the two lower "
            "figures.",
        )
        seeds = state.integer(
            "seeds", "Pools of pairs", 2, 16, 6, help="Each of 16,384 pairs; for the error bars."
        )
        seed = state.seed("First seed")
    return Settings(
        data=data,
        paths=tuple(paths.spec(name) for name in chosen) or ("ot",),
        network=network,
        batch=batch,
        seeds=seeds,
        seed=seed,
    )


def theorem() -> None:
    """The statement, in the paper's symbols."""
    st.markdown(
        "Training wants the **marginal** velocity $u_t(x)$, but each draw tells only its own "
        "pair's velocity $\\dot x_t$. Theorem 2 of Lipman et al. (2022): regressing on the pair's "
        "is the same up to a constant, since $u_t(x) = \\mathbb E[\\dot x_t \\mid x_t = x]$, so "
        "that $\\nabla L_{\\mathrm{CFM}} = \\nabla L_{\\mathrm{FM}}$:\n\n"
        "$${\\underbrace{\\mathbb E\\,\\lVert v_\\theta(t, x_t) - \\dot x_t\\rVert^2}"
        "_{L_{\\mathrm{CFM}}(\\theta)} = \\underbrace{\\mathbb E\\,\\lVert v_\\theta(t, x_t) - "
        "u_t(x_t)\\rVert^2}_{L_{\\mathrm{FM}}(\\theta)} + \\underbrace{\\mathbb E\\,"
        "\\mathrm{tr}\\,\\mathrm{Cov}[\\dot x_t \\mid x_t]}_{\\text{the floor: no }\\theta}}$$"
    )


_gradients: Callable[..., GradientResult] = kept(experiment, "compute_gradients", 256)
_gaps: Callable[..., GapResult] = kept(experiment, "compute_gaps", 64)
_target: Callable[..., TargetResult] = kept(experiment, "compute_target", 64)
_coupling: Callable[..., CouplingResult] = kept(experiment, "compute_coupling", 256)


def losses(settings: Settings) -> None:
    """Both losses of several networks: the same gap for all, which is the floor."""
    st.subheader("The losses differ by one constant")
    chosen = [_chosen(settings, path) for path in settings.paths]
    if settings.network == TRAINED and any(name == NEW for _, name, _ in chosen):
        lacking = [
            p for p, (_, name, _) in zip(settings.paths, chosen, strict=True) if name == NEW
        ]
        st.info(
            f"No network is trained on this data for "
            f"{' and '.join(scheduler(path).label for path in lacking)}; a new one stands in.",
            icon=":material/info:",
        )
    pieces: list[Callable[[], object]] = []
    for spec, name, field in chosen:
        pieces.append(partial(_target, TargetConfig(data=settings.data, path=spec)))
        config = GapConfig(data=settings.data, path=spec, field=name, seed=settings.seed)
        pieces.append(partial(_gaps, config, field))
    found = gather("cfm-losses", pieces, label="Measuring the losses", token=settings)
    if found is None:
        return
    rows = [
        theorem2.Losses(
            label=scheduler(path).label,
            colour=theme.path_colour(path, dark=is_dark()),
            names=[each.label for each in gaps.gaps],
            marginal=np.array([each.marginal for each in gaps.gaps]),
            conditional=np.array([each.conditional for each in gaps.gaps]),
            error=np.array([each.error for each in gaps.gaps]),
            floor=known.floor,
        )
        for path, known, gaps in zip(settings.paths, found[::2], found[1::2], strict=True)
    ]
    figure.show(
        theorem2.losses(rows, dark=is_dark()),
        "cfm-losses",
        title="conditional over marginal loss",
        alt="Conditional loss over marginal loss of several networks; those of each path lie on a "
        "line of slope 1.",
        settings=_about(settings) | {f"floor of {row.label}": f"{row.floor:.6g}" for row in rows},
        columns=lambda: stacked(
            [
                {
                    "path": row.label,
                    "network": np.array(row.names),
                    "loss_fm": row.marginal,
                    "loss_cfm": row.conditional,
                    "gap": row.conditional - row.marginal,
                    "gap_error": row.error,
                }
                for row in rows
            ]
        ),
    )
    told = "; ".join(
        f"{row.label} {known.floor:.3f}, measured {gaps.mean:.3f} ± {row.error.min():.3f}"
        for row, known, gaps in zip(rows, found[::2], found[1::2], strict=True)
    )
    nets = len(rows[0].names)
    st.markdown(
        f"**{nets} fields, good and bad, and one gap a path**: the floor, from the variance of "
        f"the exact posterior: {told} (per dimension; all fields see the same pairs, so that they "
        "err together). So raw losses of different paths do not compare, and a loss that no "
        "longer falls may have arrived."
    )


def gradients(settings: Settings) -> None:
    """How far the two gradients are apart on one batch, over its size."""
    st.subheader("The gradients differ by chance alone")
    pieces = [
        partial(_gradients, pool, field)
        for spec, name, field in (_chosen(settings, path) for path in settings.paths)
        for pool in SlopeConfig(
            data=settings.data, path=spec, field=name, seeds=settings.seeds, seed=settings.seed
        ).pools
    ]
    found = gather("cfm-gradients", pieces, label="Differentiating both losses", token=settings)
    if found is None:
        return
    pools = [found[i : i + settings.seeds] for i in range(0, len(found), settings.seeds)]
    slopes = [slope(each) for each in pools]
    lines = []
    for path, each, fitted in zip(settings.paths, pools, slopes, strict=True):
        runs = np.sqrt([pool.apart for pool in each])
        lines.append(
            curves.Curve(
                label=f"{scheduler(path).label}: slope {_signed(fitted.value)} ± "
                f"{fitted.error:.3f}",
                colour=theme.path_colour(path, dark=is_dark()),
                x=np.array(SIZES, dtype=float),
                y=pooled(each),
                band=(runs.min(axis=0), runs.max(axis=0)),
                floor=signal(each) or None,
            )
        )
    plot = curves.curves(
        lines,
        x_title="batch size <i>n</i> (pairs)",
        y_title="|∇<i>L</i><sub>CFM</sub> − ∇<i>L</i><sub>FM</sub>| on one batch",
        floor_label="|∇L<sub>FM</sub>|",
        log_x=True,
        log_y=True,
        markers=True,
        x_ticks=SIZES,
        dark=is_dark(),
    )
    for trace in plot.data:
        if trace.line.dash == "dot":
            trace.name = trace.name.split(":")[0]
    figure.show(
        plot.update_layout(height=400, legend_y=-0.19),
        "cfm-gradients",
        title="difference of the gradients over batch size",
        alt="Root mean square difference of conditional and marginal gradient over batch size, "
        "both logarithmic: lines of slope -1/2.",
        settings=_about(settings),
        columns=lambda: stacked(
            [
                {
                    "path": path,
                    "n": np.array(SIZES),
                    "gradients_apart": pooled(each),
                    "scatter_of_fm": pooled(each, "scatter"),
                    "gradient_fm": np.full(len(SIZES), signal(each)),
                }
                for path, each in zip(settings.paths, pools, strict=True)
            ]
        ),
    )
    st.markdown(_gradient_words(settings, pools, [fitted.value for fitted in slopes]))


def _gradient_words(
    settings: Settings, pools: Sequence[Sequence[GradientResult]], slopes: Sequence[float]
) -> str:
    costs = []
    for path, each in zip(settings.paths, pools, strict=True):
        apart, scatter = pooled(each)[0], pooled(each, "scatter")[0]
        costs.append(f"{1 + (apart / scatter) ** 2:.3g} ({scheduler(path).label})")
    held = all(abs(value + 0.5) <= 0.05 for value in slopes)
    text = (
        "**Four times the pairs, half the difference** (1/√n): it has mean 0 and is no bias."
        if held
        else "The fitted slope is off −1/2 by more than 0.05: take more pools."
    )
    return (
        f"{text} The dotted level is the gradient that all pairs have in common: left of where a "
        "line meets it, a batch is mostly chance. The price of not knowing u: for a gradient as "
        f"steady as the marginal loss's one needs {', '.join(costs)} times the pairs. "
        f"{pools[0][0].parameters:,} weights."
    )


def target(settings: Settings) -> None:
    """The target's variance over time, and what minibatch optimal transport makes of it."""
    st.subheader("What the floor is made of, and what minibatch OT does to it")
    chosen = [_chosen(settings, path)[0] for path in settings.paths]
    pieces: list[Callable[[], object]] = [
        partial(_target, TargetConfig(data=settings.data, path=spec)) for spec in chosen
    ]
    pieces += [
        partial(
            _coupling,
            CouplingConfig(data=settings.data, path=spec, batch=batch, seed=settings.seed),
        )
        for spec in chosen
        for batch in BATCHES
    ]
    found = gather("cfm-target", pieces, label="Pairing noise and data", token=settings)
    if found is None:
        return
    known, rest = found[: len(chosen)], found[len(chosen) :]
    coupled = [rest[i : i + len(BATCHES)] for i in range(0, len(rest), len(BATCHES))]
    left, right = st.columns(2)
    with left:
        _over_time(settings, known, coupled)
    with right:
        _over_batch(settings, known, coupled)
    told = []
    for path, exact, each in zip(settings.paths, known, coupled, strict=True):
        told.append(
            f"{scheduler(path).label} from {exact.floor:.2f} to {each[-1].floor:.2g} "
            f"({exact.floor / each[-1].floor:.0f}×)"
        )
    off = max(
        abs(each[0].floor / exact.floor - 1) for exact, each in zip(known, coupled, strict=True)
    )
    st.markdown(
        f"**Minibatch OT takes the chance out of the target**: with batches of {BATCHES[-1]} its "
        f"mean variance falls on {'; on '.join(told)}. Pairs that are near each other tell of one "
        "velocity at each place. The marginal flow is then another one (page *Which OT?*). "
        "Dashed and marks: estimated from nearest neighbours, which for independent pairs are "
        f"off the closed form by {off:.1%} at most."
    )


def _over_time(
    settings: Settings, known: Sequence[TargetResult], coupled: Sequence[Sequence[CouplingResult]]
) -> None:
    """The variance over time, exact for independent pairs and estimated for one minibatch."""
    lines = []
    for path, exact, each in zip(settings.paths, known, coupled, strict=True):
        shared = {"colour": theme.path_colour(path, dark=is_dark())}
        label, other = scheduler(path).label, each[BATCHES.index(settings.batch)]
        lines.append(curves.Curve(label=label, x=exact.times, y=exact.variance, **shared))
        lines.append(
            curves.Curve(
                label=f"{label}, OT within {settings.batch}",
                x=other.times,
                y=other.variance,
                dash="dash",
                **shared,
            )
        )
    plot = curves.curves(
        lines,
        x_title="time t  (0 noise, 1 data)",
        y_title="variance of the target (area = floor)",
        log_y=True,
        dark=is_dark(),
    )
    low = 0.7 * max(min(float(line.y.min()) for line in lines), 1e-3)
    ends = np.array([low, HIGH])
    plot.update_yaxes(range=np.log10(ends), **curves.log_ticks(ends))
    figure.show(
        plot.update_xaxes(range=[0, 1]),
        "cfm-target",
        title="variance of the regression target over time",
        alt="Mean conditional variance of the target velocity over time for each path, with "
        "independent pairs and with minibatch optimal transport.",
        settings=_about(settings),
        columns=lambda: stacked(
            [{"line": line.label, "t": line.x, "variance": line.y} for line in lines]
        ),
    )


HIGH = 300.0
"""Where the axis of the variance ends: VP's grows like 1 / (1 - t) until the path stops."""


def _over_batch(
    settings: Settings, known: Sequence[TargetResult], coupled: Sequence[Sequence[CouplingResult]]
) -> None:
    """The mean variance over the size of the minibatch."""
    lines = [
        curves.Curve(
            label=scheduler(path).label,
            colour=theme.path_colour(path, dark=is_dark()),
            x=np.array(BATCHES, dtype=float),
            y=np.array([one.floor for one in each]),
            floor=exact.floor,
        )
        for path, exact, each in zip(settings.paths, known, coupled, strict=True)
    ]
    plot = over_minibatch(
        lines,
        sizes=BATCHES,
        y_title="floor: mean variance of the target",
        floor_label="independent, closed form",
        log_y=True,
        dark=is_dark(),
    )
    levels = [trace for trace in plot.data if trace.line.dash == "dot"]
    for k, trace in enumerate(levels):
        trace.update(showlegend=k == 0, name="independent pairs, in closed form")
    figure.show(
        plot,
        "cfm-batch",
        title="floor over minibatch size",
        alt="The floor of the conditional loss over the size of the minibatch within which pairs "
        "are chosen: it falls.",
        settings=_about(settings),
        columns=lambda: stacked(
            [
                {
                    "path": path,
                    "batch": np.array(BATCHES),
                    "floor": line.y,
                    "transport_cost": np.array([one.cost for one in each]),
                }
                for path, line, each in zip(settings.paths, lines, coupled, strict=True)
            ]
        ),
    )


def _chosen(settings: Settings, path: str) -> tuple[str, str, LearnedField | None]:
    """A path's spec, the name of its network, and the network if it is at hand."""
    if settings.network == NEW:
        return path, NEW, None
    name = next(iter(networks(settings.data, path)), "")
    spec, found, field = choose(settings.data, path, name)
    return (spec, found, field) if field is not None else (path, NEW, None)


def _about(settings: Settings) -> dict[str, object]:
    return asdict(settings) | {"paths": " ".join(settings.paths)}


def _signed(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")
