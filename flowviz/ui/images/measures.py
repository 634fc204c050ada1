"""Numbers about images: how straight their ways are, and how good they are for what they cost."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
import streamlit as st
import torch

from flowviz.checkpoints import CheckpointError
from flowviz.checkpoints.images import unet_shape
from flowviz.experiments import image_quality as experiment
from flowviz.experiments.image_judge import Judge, classifier_judge, classifier_name
from flowviz.experiments.image_quality import QualityPoint
from flowviz.experiments.image_views import adaptive_steps, pixel_straightness
from flowviz.experiments.images import ImageConfig, nearest_nfe
from flowviz.figures import curves
from flowviz.figures.images import Steps, step_sizes
from flowviz.metrics.images import IMAGE_METRICS
from flowviz.networks import IMAGE_NETWORKS
from flowviz.paths import AffinePath
from flowviz.schedulers import scheduler
from flowviz.solvers import METHODS
from flowviz.straightness import Straightness
from flowviz.ui import figure, state
from flowviz.ui.downloads import stacked
from flowviz.ui.images import sources
from flowviz.ui.images.controls import Settings
from flowviz.ui.images.sources import Source
from flowviz.ui.images.work import Piece, draw, store
from flowviz.ui.theme import is_dark

__all__ = ["end_words", "quality", "quality_words", "ways"]

FEW = 4
"""Images whose ways are followed."""
NFES = (2, 5, 10, 20, 50)
"""Budgets at which the page measures quality."""
JUDGED = (200, 500, 1_000)
SECONDS = 0.0026
"""Of one processor for a pass of the shipped networks, one image."""
SPOILED = 2.0
"""How many times as far as midpoint's images those of a solver are that the path's end spoils."""
LOW = (4, 5, 9, 10)
"""What counts as few evaluations."""
SYMBOLS = ("circle", "diamond", "square", "cross", "star", "hexagon")
TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
Way = tuple[dict[str, Any], Straightness]


class Kind(NamedTuple):
    """What the points of one curve share; see `QualityPoint`."""

    solver: str
    guidance: float | None
    classes: tuple[int, ...]
    n: int
    grid: str
    seed: int


# ---- straightness


def ways(settings: Settings, sides: Sequence[Source]) -> None:
    """Straightness in pixel space and the steps of an adaptive solver, for a few images."""
    pieces = [
        Piece(
            ("ways", side.key, config, settings.tol),
            partial(_walk, side, config, settings.tol),
            150,
        )
        for side in sides
        for config in [settings.config(side, FEW)]
    ]

    def show(found: list[Way | None]) -> None:
        if any(each is None for each in found):
            return
        st.markdown(_ways_words(sides, found, settings.tol))
        left, right = st.columns(2)
        with left:
            st.markdown("##### How far the velocity is from the chord")
            _deviations(settings, sides, [straight for _, straight in found])
        with right:
            st.markdown("##### Steps of Dormand and Prince's method")
            _steps(settings, sides, [steps for steps, _ in found], "images-steps")
        st.table(
            {
                "path": [side.path for side in sides],
                "S, sum over pixels": [f"{s.deviation:.1f}" for _, s in found],
                "S ÷ E|x₁ − x₀|²": [f"{s.relative:.4f}" for _, s in found],
                "arc ÷ chord": [f"{s.arc_over_chord:.4f}" for _, s in found],
                f"NFE of dopri5 at {settings.tol:g}": [f"{steps['nfe']}" for steps, _ in found],
            },
            hide_index=True,
        )

    draw(pieces, show, label="Following the ways to a few images")


def _walk(side: Source, config: ImageConfig, tol: float, should_stop: Callable[[], bool]) -> Way:
    common = {"tol": tol, "should_stop": should_stop}
    steps = adaptive_steps(side.checkpoint, config, **common)
    return steps, pixel_straightness(side.checkpoint, config, **common)


def _ways_words(sides: Sequence[Source], found: Sequence[Way], tol: float) -> str:
    told = [
        f"on {side.path} the ways are {100 * (s.arc_over_chord - 1):.1f} % longer than their "
        f"chords and S is {s.relative:.3f} of the squared chord, {100 * _last_tenth(s):.0f} % of "
        "which the last tenth of t makes"
        for side, (_, s) in zip(sides, found, strict=True)
    ]
    text = (
        f"**How straight are ways through {FEW} images' pixels?** "
        f"{'; '.join(told)[0].upper()}{'; '.join(told)[1:]}."
    )
    if len(found) == 2:
        nfe = [steps["nfe"] for steps, _ in found]
        text += (
            f" At a tolerance of {tol:g} the adaptive solver needs {nfe[0]} evaluations on "
            f"{sides[0].path} and {nfe[1]} on {sides[1].path}."
        )
    return text + " Guidance changes the field, and so its straightness, too."


def _last_tenth(straight: Straightness) -> float:
    """The share of S that is made after t = 0.9."""
    times, d = straight.times, straight.deviations
    made = np.concatenate([[0.0], np.cumsum(np.diff(times) * (d[1:] + d[:-1]) / 2)])
    return float(1 - np.interp(0.9, times, made) / max(made[-1], 1e-300))


def _deviations(
    settings: Settings, sides: Sequence[Source], found: Sequence[Straightness]
) -> None:
    dark = is_dark()
    lines = [
        curves.Curve(
            label=side.path,
            colour=side.colours[dark],
            x=s.times,
            y=s.deviations / s.displacement,
        )
        for side, s in zip(sides, found, strict=True)
    ]
    figure.show(
        curves.curves(
            lines,
            x_title="time t  (0 noise, 1 data)",
            y_title="E|(x₁ − x₀) − v|² ÷ E|x₁ − x₀|²",
            log_y=True,
            dark=dark,
        ),
        "images-deviations",
        title="deviation from the chord over time",
        alt="Squared difference of velocity and chord over time, for each path.",
        settings=asdict(settings),
        columns=lambda: stacked(
            [
                {"path": side.card.path, "t": s.times, "deviation": s.deviations}
                for side, s in zip(sides, found, strict=True)
            ]
        ),
    )


def _steps(
    settings: Settings, sides: Sequence[Source], found: Sequence[Mapping[str, Any]], key: str
) -> None:
    dark = is_dark()
    solves = [
        Steps(
            label=f"{side.path}, NFE {steps['nfe']}",
            colour=side.colours[dark],
            times=np.asarray(steps["times"], dtype=float),
            rejected=np.asarray(steps["rejected"], dtype=float).reshape(-1, 2),
        )
        for side, steps in zip(sides, found, strict=True)
    ]
    figure.show(
        step_sizes(solves, dark=dark),
        key,
        title="adaptive step sizes over time",
        alt="Step size of an adaptive solver over time, for each path; crosses were refused.",
        settings=asdict(settings) | {"tol": found[0]["tol"]},
        columns=lambda: stacked(
            [
                {"path": side.card.path, "t": one.times[:-1], "size": np.diff(one.times)}
                for side, one in zip(sides, solves, strict=True)
            ]
        ),
    )


# ---- quality


def quality(settings: Settings, sides: Sequence[Source]) -> None:
    """Quality against NFE and training images, as stored beside the checkpoints or measured."""
    st.caption(
        "**Fréchet distance in the features of the shipped CIFAR-10 classifier**: smaller is "
        "better, it falls with the number of images, and it is on another scale than FID. The "
        "floor is that of as many real test images."
    )
    kept = [_stored(side) for side in sides]
    judged, pieces = _to_measure(settings, sides)
    token = tuple(piece.key for piece in pieces)

    def show(found: list[QualityPoint | None]) -> None:
        points = []
        for i, stored in enumerate(kept):
            own = {p.key: p for p in experiment.points_from(stored)}
            own |= {p.key: p for p in found[i :: len(sides)] if p is not None}
            points.append(list(own.values()))
        if any(points):
            _against_nfe(settings, sides, points)
        else:
            st.info(
                "No measurements are stored beside these checkpoints; measure them below.",
                icon=":material/monitoring:",
            )

    if st.session_state.get("images:measuring") == token and pieces:
        draw(pieces, show, label="Drawing and judging images")
    else:
        show([store().get(key) for key in token])
    _measure_button(settings, sides, pieces, judged)
    _over_training(settings, sides, kept)
    walked = [(side, s["steps"]) for side, s in zip(sides, kept, strict=True) if s.get("steps")]
    if walked:
        st.markdown("##### Stored steps of Dormand and Prince's method")
        st.caption("*Straightness* takes these steps anew, at the settings in the sidebar.")
        _steps(settings, [w[0] for w in walked], [w[1] for w in walked], "images-stored-steps")


def _stored(side: Source) -> dict[str, Any]:
    """What is stored beside a checkpoint, without the numbers of another classifier."""
    try:
        stored = sources.quality(side)
    except CheckpointError as error:
        st.warning(str(error), icon=":material/error:")
        return {}
    try:
        alien = bool(stored.get("protocol")) and not _judge().measured(stored)
    except ValueError:
        return stored  # without a classifier nothing is measured beside it
    if not alien:
        return stored
    st.warning(
        f"The numbers stored beside **{side.name}** are left out: they are those of another "
        f"classifier than the shipped one. `python -m flowviz evaluate {side.name} --save` "
        "measures anew, once they are moved away.",
        icon=":material/error:",
    )
    return {name: value for name, value in stored.items() if name not in ("points", "training")}


@st.cache_resource(show_spinner="Reading the classifier")
def _judge() -> Judge:
    return classifier_judge(classifier_name("cifar10"))


def _to_measure(settings: Settings, sides: Sequence[Source]) -> tuple[int, list[Piece]]:
    """How many images a point takes, and the points that can be measured here."""
    with st.sidebar:
        judged = state.count(
            "judged",
            "Images a point",
            JUDGED,
            JUDGED[0],
            help="Of the measurement on demand; the distance's own bias falls with it.",
        )
    solver = settings.solver
    budgets = [settings.nfe] if METHODS[solver].adaptive else NFES
    nfes = dict.fromkeys(
        nfe if METHODS[solver].adaptive else nearest_nfe(solver, nfe) for nfe in budgets
    )
    return judged, [
        Piece(
            ("quality", side.key, config),
            partial(_judged, side, config),
            (60 if config.adaptive else config.nfe) * -(-judged // experiment.BATCH),
        )
        for nfe in nfes
        for side in sides
        for config in [settings.config(side, judged, nfe=nfe)]
    ]


def _judged(side: Source, config: ImageConfig, should_stop: Callable[[], bool]) -> QualityPoint:
    return experiment.judge_samples(side.checkpoint, config, _judge(), should_stop=should_stop)


def _measure_button(
    settings: Settings, sides: Sequence[Source], pieces: Sequence[Piece], judged: int
) -> None:
    if all(piece.key in store() for piece in pieces):
        return
    try:
        card = _judge().card
    except ValueError as error:
        st.caption(f"New points cannot be measured here. {error}")
        return
    if sides[0].checkpoint.shape != (card.channels, card.size, card.size):
        st.caption(
            f"New points cannot be measured: the classifier judges images of {card.size} × "
            f"{card.size}, not of {sides[0].card.size} × {sides[0].card.size}."
        )
        return
    st.button(
        f"Measure {judged} images a point at these settings{_duration(settings, sides, pieces)}",
        icon=":material/monitoring:",
        key="images:measure",
        on_click=_measure,
        args=(tuple(piece.key for piece in pieces),),
    )


def _duration(settings: Settings, sides: Sequence[Source], pieces: Sequence[Piece]) -> str:
    """About how long pieces take that are not there yet; "" for networks that were not timed."""
    if any(unet_shape(side.card) != IMAGE_NETWORKS["small"] for side in sides):
        return ""
    guided = settings.config(sides[0], 1)
    passes = 2 if guided.classes and guided.guidance != 1 else 1
    asks = sum(piece.asks for piece in pieces if piece.key not in store())
    seconds = asks * experiment.BATCH * passes * SECONDS / 2
    about = f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"
    return f" (about {about} on two cores)"


def _measure(token: tuple[Any, ...]) -> None:
    st.session_state["images:measuring"] = token


def _against_nfe(
    settings: Settings, sides: Sequence[Source], points: Sequence[Sequence[QualityPoint]]
) -> None:
    kinds = sorted({_kind(p) for own in points for p in own}, key=str)
    specs = [side.card.path for side in sides]
    labels = [side.path for side in sides]
    st.markdown(quality_words(labels, points) + end_words(labels, specs, points))
    named = [
        name
        for name in IMAGE_METRICS
        if any(p.measures.get(name) is not None for own in points for p in own)
    ]
    for place, name in zip(st.columns(max(2, len(named))), named, strict=False):
        with place:
            _measure_curves(settings, sides, points, kinds, name)


def _kind(point: QualityPoint) -> Kind:
    return Kind(point.solver, point.guidance, point.classes, point.n, point.grid, point.seed)


def _told(kind: Kind, kinds: Sequence[Kind], names: Sequence[str]) -> str:
    """What was asked of the points of a curve, in a few words that tell it from other kinds."""
    chosen = " and ".join(names[k] if k < len(names) else f"class {k}" for k in kind.classes)
    parts = [
        chosen,
        "no class" if kind.guidance is None else f"w = {kind.guidance:g}",
        f"{kind.grid} grid" if len({k.grid for k in kinds if k.grid}) > 1 and kind.grid else "",
        f"seed {kind.seed}" if len({k.seed for k in kinds}) > 1 else "",
        f"{kind.n:,} images" if len(kinds) == 1 or len({k.n for k in kinds}) > 1 else "",
    ]
    return ", ".join(part for part in parts if part)


def _measure_curves(
    settings: Settings,
    sides: Sequence[Source],
    points: Sequence[Sequence[QualityPoint]],
    kinds: Sequence[Kind],
    name: str,
) -> None:
    dark, lines, marks = is_dark(), [], []
    protocols = sorted({p.fid_protocol for own in points for p in own if p.measures.get("fid")})
    for side, own in zip(sides, points, strict=True):
        # FIDs of two protocols are not to be compared: they are curves of their own.
        told_apart = protocols if name == "fid" else [None]
        for (k, kind), protocol in product(enumerate(kinds), told_apart):
            along = sorted(
                (
                    p
                    for p in own
                    if _kind(p) == kind
                    and p.measures.get(name) is not None
                    and protocol in (None, p.fid_protocol)
                ),
                key=lambda p: p.nfe,
            )
            if along:
                marks.append(SYMBOLS[k % len(SYMBOLS)])
                told = _told(kind, kinds, side.card.classes)
                if protocol and len(protocols) > 1:
                    told += f", protocol {protocols.index(protocol) + 1}"
                lines.append(
                    curves.Curve(
                        label=f"{side.path}, {METHODS[kind.solver].label}, {told}",
                        colour=side.colours[dark],
                        x=np.array([p.nfe for p in along], dtype=float),
                        y=np.array([p.measures[name] for p in along], dtype=float),
                        floor=along[0].floor if IMAGE_METRICS[name].floored else None,
                        dash=DASHES[k % len(DASHES)],
                    )
                )
    plot = curves.curves(
        lines,
        x_title="function evaluations (NFE), counted",
        y_title=IMAGE_METRICS[name].label,
        floor_label="real test images",
        log_x=True,
        log_y=not IMAGE_METRICS[name].share,
        markers=True,
        x_ticks=TICKS,
        dark=dark,
    )
    symbols = dict(zip([line.label for line in lines], marks, strict=True))
    plot.for_each_trace(
        lambda trace: trace.update(marker={"symbol": symbols[trace.name], "size": 7}),
        selector=lambda trace: trace.name in symbols,
    )
    if IMAGE_METRICS[name].share:
        plot.update_yaxes(range=[0, 1], tickformat=".0%")
    below = 70 + 20 * (len(lines) + 1)  # the legend, which so leaves all plots one height
    plot.update_layout(height=300 + below, margin_b=below, legend_y=-0.2)
    if name == "fid":
        _state(plot, protocols)
    figure.show(
        plot,
        f"images-{name}",
        title=f"{IMAGE_METRICS[name].label} against NFE",
        alt=f"{IMAGE_METRICS[name].label} against function evaluations, for each path.",
        settings=asdict(settings),
        columns=lambda: stacked(
            [
                {
                    "path": side.card.path,
                    "solver": np.array([p.solver for p in own]),
                    "guidance": np.array(
                        [np.nan if p.guidance is None else p.guidance for p in own]
                    ),
                    "classes": np.array([" ".join(map(str, p.classes)) for p in own]),
                    "images": np.array([p.n for p in own]),
                    "grid": np.array([p.grid for p in own]),
                    "seed": np.array([p.seed for p in own]),
                    "nfe": np.array([p.nfe for p in own]),
                    # None becomes NaN.
                    name: np.array([p.measures.get(name) for p in own], dtype=float),
                }
                for side, own in zip(sides, points, strict=True)
                if own
            ]
        ),
    )


def quality_words(paths: Sequence[str], points: Sequence[Sequence[QualityPoint]]) -> str:
    """What the points say: the best of each side beside its floor, and who leads at a low NFE."""
    told = []
    points = [[p for p in own if not p.classes] or own for own in points]
    # The distance falls with the number of images, so that the sides are told of equally many.
    shared_sizes = set.intersection(*({p.n for p in own} for own in points if own))
    for path, own in zip(paths, points, strict=True):
        if own:
            n = max(shared_sizes or {p.n for p in own})
            best = min((p for p in own if p.n == n), key=lambda p: p.measures["frechet"])
            notes = [] if best.guidance is None else [f"w = {best.guidance:g}"]
            notes += [] if shared_sizes else [f"{n:,} images"]
            if (accuracy := best.measures.get("accuracy")) is not None:
                notes.append(f"{100 * accuracy:.0f} % of its images are of their class")
            if best.floor is not None:
                notes.append(f"floor {best.floor:.2f}")
            about = f" ({', '.join(notes)})" if notes else ""
            told.append(f"{path} {best.measures['frechet']:.2f} at NFE {best.nfe:.0f}{about}")
    of = f", of {max(shared_sizes):,} images a point" if shared_sizes else ""
    text = f"**The least distances measured**{of}: {'; '.join(told)}."
    if len(points) < 2:
        return text
    left, right = (
        {(_kind(p), round(p.nfe)): p.measures["frechet"] for p in own} for own in points
    )
    shared = set(left) & set(right)
    few = [
        (nfe, kind) for kind, nfe in sorted(shared, key=lambda k: (k[1], str(k[0]))) if nfe in LOW
    ]
    leads, several = [], len({kind.guidance for _, kind in few}) > 1
    for nfe, kind in few:
        a, b = (f"{side[kind, nfe]:.2f}" for side in (left, right))
        ahead, behind = (0, 1) if left[kind, nfe] < right[kind, nfe] else (1, 0)
        found = f"{paths[ahead]} is ahead, {(a, b)[ahead]} against {(a, b)[behind]}"
        if a == b:
            found = f"both are at {a}"
        weight = f" (w = {kind.guidance:g})" if several and kind.guidance else ""
        leads.append(f"with {METHODS[kind.solver].label} at NFE {nfe} {found}{weight}")
    if leads:
        text += f" With few evaluations: {'; '.join(dict.fromkeys(leads))}."
    return text


def end_words(
    labels: Sequence[str], specs: Sequence[str], points: Sequence[Sequence[QualityPoint]]
) -> str:
    """Of the solvers that the end of a path spoils: by how much, and why; "" without any.

    Args:
        labels: of each side.
        specs: of each side's path, see `flowviz.schedulers.scheduler`.
        points: of each side.
    """
    told = []
    for label, spec, own in zip(labels, specs, points, strict=True):
        safe = {(_kind(p)._replace(solver=""), p.nfe): p for p in own if p.solver == "midpoint"}
        for solver in dict.fromkeys(p.solver for p in own):
            method = METHODS[solver]
            if method.adaptive or not method.evaluates_end:
                continue
            ratios = {
                p.nfe: p.measures["frechet"] / safe[key].measures["frechet"]
                for p in own
                if p.solver == solver
                for key in [(_kind(p)._replace(solver=""), p.nfe)]
                if key in safe
            }
            nfe = max(ratios, default=0)
            if ratios and ratios[nfe] > SPOILED:
                path = AffinePath(scheduler(spec))
                end = path.scheduler(torch.tensor(path.t_max, dtype=torch.float64))
                told.append(
                    f" **{method.label} on {label}** is {ratios[nfe]:.0f} times as far as "
                    f"midpoint with NFE {nfe:.0f}: its last stage takes the velocity at the "
                    f"path's end, where dσ/dt is −{-end.d_sigma:.0f}, too steep for such a step."
                )
    return "".join(told)


def _state(plot: go.Figure, protocols: Sequence[str]) -> None:
    """Writes over the curves how FID was measured."""
    told = [
        f"{f'{i + 1}: ' if len(protocols) > 1 else ''}{protocol}"
        for i, protocol in enumerate(protocols)
    ]
    plot.add_annotation(
        text="<br>".join(told),
        x=0,
        y=1,
        xref="paper",
        yref="paper",
        xanchor="left",
        yanchor="bottom",
        align="left",
        showarrow=False,
        font_size=11,
    )
    plot.update_layout(margin_t=16 + 16 * len(told), height=plot.layout.height + 16 * len(told))


def _over_training(
    settings: Settings, sides: Sequence[Source], kept: Sequence[Mapping[str, Any]]
) -> None:
    dark, lines = is_dark(), []
    for side, stored in zip(sides, kept, strict=True):
        history = sorted(stored.get("training", []), key=lambda entry: entry["images"])
        if history:
            lines.append(
                curves.Curve(
                    label=f"{side.path}, NFE {history[-1]['nfe']:.0f}",
                    colour=side.colours[dark],
                    x=np.array([entry["images"] / 1e6 for entry in history]),
                    y=np.array([entry["frechet"] for entry in history]),
                    floor=history[-1].get("floor"),
                )
            )
    if not lines:
        return
    st.markdown("##### Quality while training")
    st.caption(
        "Of the snapshots that the training kept. `python -m flowviz evaluate NAME --snapshots "
        "RUN --save` measures them anew; `pack RUN --snapshots` makes checkpoints of them, which "
        "the menus then offer."
    )
    figure.show(
        curves.curves(
            lines,
            x_title="training images, millions",
            y_title=IMAGE_METRICS["frechet"].label,
            floor_label="real test images",
            log_y=True,
            markers=True,
            dark=dark,
        ),
        "images-training",
        title="quality against training images",
        alt="Fréchet distance in classifier features against training images, for each path.",
        settings=asdict(settings),
        columns=lambda: stacked(
            [{"run": one.label, "million_images": one.x, "frechet": one.y} for one in lines]
        ),
    )
