"""The second claim: the cost of samples on all data sets, from the sweeps of the NFE page."""

from collections.abc import Sequence

import streamlit as st

from flowviz.datasets import DATASETS
from flowviz.experiments.nfe_quality import Curve, Reach, pairs
from flowviz.metrics import METRICS
from flowviz.solvers import METHODS
from flowviz.ui import nfe_quality, state, sweeps
from flowviz.ui.nfe_quality import Settings
from flowviz.ui.straighter import verdicts
from flowviz.ui.straighter.parts import verdict

__all__ = ["section"]

MEASURES = ("sliced-w2", "histogram-tv")
KEY = "straighter-nfe"


def section(data: str) -> None:
    """The chosen data set at once, all of them behind a button; the verdict."""
    settings, method = _controls(data)
    opened = data if data in DATASETS else next(iter(DATASETS))
    here = settings.over(nfe_quality.opening_pair(opened), (method,))
    names = [name for each in DATASETS for name in nfe_quality.opening_pair(each)]
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
            st.markdown(f"{missing} curves more, a second or two each.")

    def draw(settings: Settings, curves: Sequence[Curve]) -> None:
        known = kept.of(everywhere)
        nfe_quality.draw_all(settings, known)
        verdict(_verdict(settings, known, method))

    nfe_quality.streamed(KEY, settings, everywhere if asked or not missing else here, draw)


def _controls(data: str) -> tuple[Settings, str]:
    with st.sidebar:
        method = state.select("solver", "ODE solver", nfe_quality.FIXED, "midpoint")
        measure = state.select(
            "measure",
            "Sample quality",
            {name: METRICS[name].label for name in MEASURES},
            "histogram-tv",
            help=" ".join(f"**{METRICS[n].label}:** {METRICS[n].sentence}" for n in MEASURES),
        )
        seeds = state.integer("seeds", "Seeds", 1, 8, 3, help="For error bars.")
        seed = state.integer("seed", "First seed", 0, 999_999, 0)
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
    return settings, method


def _verdict(settings: Settings, curves: Sequence[Curve], method: str) -> str:
    beside = pairs(curves)
    if not beside:
        return "No data set is through yet."
    rows = [
        (DATASETS[ot.data].label, *(_nfe(each.reach(settings.measure)) for each in (ot, vp)))
        for ot, vp in beside
    ]
    return verdicts.sampling(
        rows, nfe_quality.goal_of(settings, beside[0][0]), METHODS[method].label
    )


def _nfe(reach: Reach | None) -> float | None:
    return None if reach is None else reach.nfe
