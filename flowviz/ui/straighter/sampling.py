"""The second claim: the cost of samples on all data sets, from the sweeps of the NFE page."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import streamlit as st

from flowviz.datasets import DATASETS
from flowviz.experiments.nfe_quality import ERROR_LEVEL, Curve, pairs
from flowviz.experiments.sources import exact_name
from flowviz.figures import curves
from flowviz.metrics import METRICS
from flowviz.schedulers import scheduler
from flowviz.solvers import METHODS
from flowviz.ui import figure, nfe_quality, paths, state, sweeps
from flowviz.ui.nfe_quality import Settings
from flowviz.ui.straighter import verdicts
from flowviz.ui.straighter.parts import columns_of, line, sentence, verdict
from flowviz.ui.theme import is_dark

__all__ = ["section"]

MEASURES = ("sliced-w2", "histogram-tv")
KEY = "straighter-nfe"


def section(data: str) -> None:
    """The chosen data set at once, all of them behind a button; the verdict."""
    settings, method, own = _controls(data)
    opened = data if data in DATASETS else next(iter(DATASETS))
    here = settings.over(_sources(opened, own), (method,))
    names = [name for each in DATASETS for name in _sources(each, own)]
    everywhere = settings.over(names, (method,))
    kept = sweeps.store()
    missing = len(everywhere.curves) - len(kept.of(everywhere))
    asked = st.session_state.get(f"{KEY}:all") == everywhere
    if missing and not asked:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(
                "Measure all data sets",
                type="primary",
                icon=":material/play_arrow:",
                key=f"{KEY}-all",
                on_click=st.session_state.__setitem__,
                args=(f"{KEY}:all", everywhere),
            )
            st.markdown(
                f"Until then the verdict is on one data set; {missing} curves more, a second or "
                "two each."
            )

    wanted = everywhere if asked or not missing else here

    def draw(settings: Settings, found: Sequence[Curve]) -> None:
        known = kept.of(everywhere)
        nfe_quality.draw_all(settings, known)
        if len(found) == len(wanted.curves):  # drawn once, and not anew with each curve
            _curves(settings, known, method, own)
            if own:
                _beside(settings, known, own)
        verdict(_verdict(settings, known, method))

    nfe_quality.streamed(KEY, settings, wanted, draw)


def _sources(data: str, own: str) -> list[str]:
    """What is measured of a data set: OT and VP as they open, or all three by exact fields."""
    if not own:
        return nfe_quality.opening_pair(data)
    return [exact_name(data, path) for path in ("ot", "vp", own)]


def _controls(data: str) -> tuple[Settings, str, str]:
    """The settings, the solver, and the spec of one's own schedule if it is measured too."""
    with st.sidebar:
        method = state.select("solver", "ODE solver", nfe_quality.FIXED, "midpoint")
        measure = state.select(
            "measure",
            "Sample quality",
            {name: METRICS[name].label for name in MEASURES},
            "histogram-tv",
            help=METRICS.sentences(MEASURES),
        )
        seeds = state.integer("seeds", "Seeds", 1, 8, 3, help="For error bars.")
        seed = state.seed("First seed", dice=False)
        own = paths.also_own(
            label="Your own schedule, too (exact fields)",
            help="No network was trained on your own schedule for all data sets, so that all "
            "three paths are then measured by their exact fields: like with like. What networks "
            "err by drops out.",
        )
    settings = Settings(
        data=data,
        labels={},
        sources=(),
        methods=(method,),
        grid="uniform",
        measure=measure,
        n=1_000,
        seed=seed,
        seeds=seeds,
    )
    return settings, method, own


def _curves(settings: Settings, known: Sequence[Curve], method: str, own: str) -> None:
    """Error, and quality over its floor, against NFE: a line a data set in its path's colour."""
    label, beside = METRICS[settings.measure].label, [c for pair in pairs(known) for c in pair]
    beside = [each for each in beside if settings.measure in each.values]
    paired = len(beside)
    beside += [each for each in known if each.path == own and settings.measure in each.values]
    drawn = {
        "error": ("squared error per dimension", [each.mse for each in beside]),
        "quality": (
            f"{label} ÷ its floor",
            [each.values[settings.measure] / each.floor[settings.measure] for each in beside],
        ),
    }
    for place, (name, (title, values)) in zip(st.columns(2), drawn.items(), strict=True):
        lines = [
            line(
                f"{scheduler(each.path).label}, {DATASETS[each.data].label}",
                each.path,
                each.cost,
                np.where(each.exploded, np.nan, value.mean(axis=1)),
            )
            for each, value in zip(beside, values, strict=True)
        ]
        plot = curves.curves(
            lines,
            x_title=f"function evaluations (NFE), {METHODS[method].label}",
            y_title=title,
            log_x=True,
            log_y=True,
            markers=True,
            dark=is_dark(),
        )
        specs = [each.path for each in beside]
        for k, (trace, path) in enumerate(zip(plot.data, specs, strict=True)):
            trace.update(
                name=scheduler(path).label,
                legendgroup=path,
                showlegend=specs.index(path) == k,
                line_width=1.4,
            )
        with place:
            figure.show(
                plot,
                f"straighter-nfe-{name}",
                title=title,
                alt=f"{title} against function evaluations, a line a data set and path.",
                settings=settings.about | {"data": "all", "solver": method},
                columns=partial(columns_of, lines, "nfe", name),
                filename=f"flowviz-all-{name}",
            )
    error, quality = ([value.mean(axis=1) for value in values] for _, values in drawn.values())
    rows = [(*error[k : k + 2], *quality[k : k + 2]) for k in range(0, paired, 2)]
    if rows:
        sentence(verdicts.at_equal_nfe(rows, beside[0].cost, f"{label} ÷ its floor"))


def _beside(settings: Settings, known: Sequence[Curve], own: str) -> None:
    """What one's own schedule needs on each data set beside conditional OT; table and sentence."""
    by_data: dict[str, dict[str, Curve]] = {}
    for each in known:
        if each.config.source == exact_name(each.data, each.path):
            by_data.setdefault(each.data, {})[each.path] = each
    both = [of for of in by_data.values() if {"ot", own} <= of.keys()]
    if not both:
        return
    goals = {
        f"squared error ≤ {ERROR_LEVEL:g}": Curve.reach_error,
        nfe_quality.goal_of(settings, both[0]["ot"]): partial(
            Curve.reach, metric=settings.measure
        ),
    }
    rows = [
        [(of["ot"].data, reach(of[own]), reach(of["ot"])) for of in both]
        for reach in goals.values()
    ]
    heads = [scheduler(path).label for path in (own, "ot")]
    st.html(nfe_quality.arrivals(list(goals), [*heads, "own : OT"], rows))
    pairs_of = [[(ot, mine) for _, mine, ot in found] for found in rows]
    sentence(verdicts.own_schedule(dict(zip(goals, pairs_of, strict=True))))


def _verdict(settings: Settings, known: Sequence[Curve], method: str) -> str:
    beside = pairs(known)
    if not beside:
        return "No data set is through yet."
    rows = [
        (DATASETS[ot.data].label, *(each.reach(settings.measure) for each in (ot, vp)))
        for ot, vp in beside
    ]
    return verdicts.sampling(
        rows, nfe_quality.goal_of(settings, beside[0][0]), METHODS[method].label
    )
