"""The density that a learned field's flow makes at the clock's time, beside the exact one."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from flowviz.experiments.likelihood import DensityConfig, DensityResult
from flowviz.figures import theme
from flowviz.figures.sheet import Strip, sheet
from flowviz.ui import cache, downloads, figure
from flowviz.ui import player as players
from flowviz.ui.compare.controls import Settings
from flowviz.ui.compare.networks import choose
from flowviz.ui.compare.sides import Side
from flowviz.ui.pieces import gather
from flowviz.ui.theme import is_dark

__all__ = ["learned_density"]

PANEL = 300
"""The side of a panel in pixels."""


def learned_density(settings: Settings, panels: Sequence[Side], view: players.View) -> None:
    """Learned above exact, a column a path, by change of variables when it is asked for."""
    shown, pieces = [], []
    for side, name in zip(panels, settings.networks, strict=True):
        if side.exact:
            continue
        path, field, network = choose(settings.data, side.path, name)
        config = DensityConfig(data=settings.data, path=path, field=field, t=view.t)
        shown.append(side)
        pieces.append(partial(cache.density, config, network))
    label = f"Following points back from t = {view.t:.2f}"
    found = gather("density", pieces, label=label, token=(tuple(settings.networks), view.t))
    if found is None:
        return
    rows = [
        Strip(label="learned", colour=theme.INK[is_dark()], panels=[r.density for r in found]),
        Strip(
            label="exact",
            colour=theme.colour("exact", dark=is_dark()),
            panels=[result.exact for result in found],
        ),
    ]
    figure.show(
        sheet(
            rows,
            [side.label for side in shown],
            groups=[(f"density at t = {view.t:.2f}", len(shown))],
            panel=PANEL,
            scale="column",
            dark=is_dark(),
        ),
        "density",
        title=f"learned density at t = {view.t:.2f}",
        alt="Density of the learned flow, above, and exact density, below, for each path.",
        settings={"data": settings.data, "t": f"{view.t:.4f}"}
        | {f"field on {side.path}": side.config.field for side in shown},
        columns=partial(_table, shown, found),
        filename=f"flowviz-{settings.data}-density-t{view.t:.2f}",
    )
    words = "; ".join(
        f"on {side.label} KL(exact ‖ learned) is {result.kl:.4f} nats, mass in the frame "
        f"{result.mass:.3f}"
        for side, result in zip(shown, found, strict=True)
    )
    st.caption(
        "By the change of variables, midpoint, NFE 40, whatever solver moves the particles: "
        f"{words}. Likelihood is a page of its own."
    )


def _table(shown: Sequence[Side], found: Sequence[DensityResult]) -> Mapping[str, NDArray]:
    tables = []
    for side, result in zip(shown, found, strict=True):
        x, y = (v.ravel() for v in np.meshgrid(result.axis, result.axis))
        densities = {"learned_p": result.density.ravel(), "exact_p": result.exact.ravel()}
        tables.append({"path": side.path, "x1": x, "x2": y} | densities)
    return downloads.stacked(tables)
