"""The density that a learned field's flow makes, as a layer of the player beside the exact one.

It has no closed form: each point of a grid is followed backward from each of some times (the
change of variables), which takes seconds. So it is made when the layer is asked for, once for
everybody, on fewer cells and at fewer times than the exact density, and the player draws what is
in between as it does for that one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from flowviz.experiments.evolution import at_time
from flowviz.experiments.likelihood import DensityConfig, DensityResult
from flowviz.figures.theme import FRAME
from flowviz.ui import cache
from flowviz.ui import player as players
from flowviz.ui.compare.controls import Settings
from flowviz.ui.compare.sides import Side
from flowviz.ui.field_picker import choose
from flowviz.ui.pieces import gather

__all__ = ["CELLS", "TIMES", "Layer", "layer_of", "learn", "planes"]

CELLS = 54
"""A multiple of 18, so that no edge of the checkerboard cuts a cell in two."""

TIMES = 1 - (1 - np.linspace(0, 1, 13)) ** 2
"""Closer together towards the data, where densities change fastest: blended from these, the exact
density of the checkerboard is never further than 3 % of its mass from itself, on OT and VP."""

KEPT = "compare:learned"
HIGHEST = 1e6
"""A density, per unit area, above which a wild field's is cut: what is drawn must be finite."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """The learned density of one side over time.

    Attributes:
        times: (T,), up to the path's t_max.
        axis: (G,), the nodes of the grid along both axes, from -FRAME to FRAME.
        density: (T, G, G) per unit area.
        peaks: (T,), the exact density's, so that both are drawn on one scale.
        kl: (T,), KL(exact || learned) on the grid in nats.
        mass: (T,), what the learned density integrates to over the frame.
    """

    times: NDArray[np.float64]
    axis: NDArray[np.float64]
    density: NDArray[np.float64]
    peaks: NDArray[np.float64]
    kl: NDArray[np.float64]
    mass: NDArray[np.float64]


def planes(panels: Sequence[Side]) -> list[bytes | None] | None:
    """The player's payload of each side's learned density, None where there is none yet.

    None in place of the list says that no side has a learned field.
    """
    if all(side.exact for side in panels):
        return None
    return [None if layer is None else _packed(layer) for layer in _kept(panels)]


def layer_of(panels: Sequence[Side], view: players.View) -> list[Layer | None]:
    """The learned density that the player shows on each side, None where it shows the exact."""
    return _kept(panels) if view.density == "learned" else [None] * len(panels)


def learn(settings: Settings, panels: Sequence[Side], view: players.View) -> None:
    """Makes the learned densities if they are asked for, with progress; says what is shown."""
    if view.density != "learned" or all(side.exact for side in panels):
        return
    token = _token(panels)
    if st.session_state.get(KEPT, (None, None))[0] != token:
        pieces = []
        for side, name in zip(panels, settings.networks, strict=True):
            if side.exact:
                continue
            path, field, network = choose(settings.data, side.path, name)
            for t in TIMES:
                config = DensityConfig(
                    data=settings.data, path=path, field=field, t=float(t), cells=CELLS
                )
                pieces.append(partial(cache.density, config, network))
        label = f"Following {CELLS**2:,} points back from each of {len(TIMES)} times"
        try:
            found = gather("density", pieces, label=label, token=token)
        except ValueError as error:
            st.error(f"The learned density cannot be shown. {error}", icon=":material/error:")
            return
        if found is None:
            return
        each = iter(range(0, len(found), len(TIMES)))
        layers = [
            None if side.exact else _layer(side, found[(k := next(each)) : k + len(TIMES)])
            for side in panels
        ]
        st.session_state[KEPT] = token, layers
        st.rerun()  # so that the player is handed what is there now
    st.caption(_sentence(panels, _kept(panels), view.t))


def _token(panels: Sequence[Side]) -> tuple:
    return tuple((side.config.data, side.path, side.config.field) for side in panels)


def _kept(panels: Sequence[Side]) -> list[Layer | None]:
    token, layers = st.session_state.get(KEPT, (None, None))
    return layers if token == _token(panels) else [None] * len(panels)


def _layer(side: Side, found: Sequence[DensityResult]) -> Layer:
    density = _at_nodes(np.stack([result.density for result in found]))
    return Layer(
        times=np.array([result.t for result in found]),
        axis=np.linspace(-FRAME, FRAME, density.shape[1]),
        density=density,
        peaks=players.peaks_of(_at_nodes(np.stack([result.exact for result in found]))),
        kl=np.array([result.kl for result in found]),
        mass=np.array([result.mass for result in found]),
    )


def _at_nodes(grids: NDArray) -> NDArray[np.float64]:
    """Values in cells (T, C, C) as values at the cells' corners (T, C + 1, C + 1), their means."""
    wide = np.pad(np.minimum(grids.astype(np.float64), HIGHEST), ((0, 0), (1, 1), (1, 1)), "edge")
    rows = (wide[:, :-1] + wide[:, 1:]) / 2
    return (rows[:, :, :-1] + rows[:, :, 1:]) / 2


def _packed(layer: Layer) -> bytes:
    return players.pack_scene(
        players.Scene(
            times=layer.times,
            density=layer.density,
            density_peaks=layer.peaks,
            density_label="learned density p_t",
        )
    )


def _sentence(panels: Sequence[Side], layers: Sequence[Layer | None], t: float) -> str:
    """What the layer shows at the clock's time, from its numbers."""
    told = [
        f"on {side.label} KL(exact ‖ learned) is {at_time(layer.times, layer.kl, t):.4f} nats, "
        f"mass in the frame {at_time(layer.times, layer.mass, t):.3f}"
        for side, layer in zip(panels, layers, strict=True)
        if layer is not None
    ]
    alone = "" if len(told) == len(panels) else " The other side has no network: exact density."
    return (
        f"Learned density at t = {t:.2f}: {'; '.join(told)}. By the change of variables, "
        f"midpoint, NFE 40, whatever solver moves the particles, on {CELLS} × {CELLS} cells at "
        f"{len(TIMES)} times; the player blends what is in between, and draws it on the exact "
        f"density's scale.{alone} Likelihood is a page of its own."
    )
