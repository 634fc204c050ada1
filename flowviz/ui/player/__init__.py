"""The player: one canvas component that draws everything that moves, under one clock.

    payload = pack([Panel(...), Panel(...)])            # particles: new with solver, seed
    scenes = [pack_scene(Scene(...)), ...]              # planes: new with data set, path
    seen = player(payload, scenes, key="compare")
    seen.t                                              # the clock, told on release only

All frames go to the browser once and every moment is drawn there. Scenes travel in elements of
their own, so that Streamlit's message cache spares the ones that did not change.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from flowviz.figures import theme
from flowviz.ui import state
from flowviz.ui.canvas import component, sources, themes
from flowviz.ui.player.payload import (
    FRAME,
    Panel,
    Readout,
    Scene,
    framed,
    header_of,
    pack,
    pack_scene,
    peaks_of,
)

__all__ = [
    "DENSITIES",
    "FRAME",
    "LAYERS",
    "LAYOUTS",
    "MODES",
    "SPEEDS",
    "Panel",
    "Readout",
    "Scene",
    "View",
    "pack",
    "pack_scene",
    "peaks_of",
    "player",
]

DENSITIES = ("exact", "learned")
LAYERS = ("particles", "trails", "density", "field", "data", "difference")
MODES = ("smooth", "steps")
LAYOUTS = ("panels", "strip")
SPEEDS = (0.25, 0.5, 1.0, 2.0)
LECTURE = 110
"""Height in pixels that a lecture's words and its row of controls need beside a page's own."""
DENSITY_STOPS = 5
"""Short of the density ramp's far end, for coloured particles must stand out on it."""

_STEM = Path(__file__).parent / "flow_player"
_player = component("flowviz_player", _STEM)
_scene = st.components.v2.component(
    "flowviz_scene",
    html='<i class="fv-scene" hidden></i>',
    js=sources(_STEM)["js"],
    isolate_styles=False,
)


@dataclass(frozen=True, kw_only=True)
class View:
    """What a visitor sees of the payload: clock, layers, mode, layout and speed."""

    t: float = 0.0
    """The clock when it was last released, in [0, 1]."""
    layers: tuple[str, ...] = ("particles", "density", "field")
    density: str = "exact"
    """Which density the layer of that name shows where a panel has a learned one."""
    mode: str = "smooth"
    layout: str = "panels"
    speed: float = 1.0

    def __post_init__(self) -> None:
        """Refuses what the player cannot show, in a sentence."""
        if not 0 <= self.t <= 1:
            raise ValueError(f"t must be in [0, 1]; got {self.t}.")
        for name in self.layers:
            if name not in LAYERS:
                raise ValueError(f"A layer must be one of {', '.join(LAYERS)}; got {name!r}.")
        fields = {"density": DENSITIES, "mode": MODES, "layout": LAYOUTS, "speed": SPEEDS}
        for field, known in fields.items():
            if getattr(self, field) not in known:
                names = ", ".join(map(str, known))
                raise ValueError(f"{field} must be one of {names}; got {getattr(self, field)!r}.")


def player(
    panels: bytes,
    scenes: Sequence[bytes | None],
    *,
    key: str,
    learned: Sequence[bytes | None] | None = None,
    initial: View | None = None,
    autoplay: bool = True,
    reserve: int = 330,
) -> View:
    """Draws the panels over their scenes and returns the view as the visitor last left it.

    Python hears of it when the clock is released (slider, pause, step) and when a layer, mode or
    layout was switched, never while the clock runs. `scenes` holds one payload a panel (None for a
    panel without). `learned` is None where no density of a learned flow is on offer; else it holds
    for each panel a scene of that density alone, or None while there is none. `initial` opens the
    first visit; afterwards the browser keeps its own, also over new payloads. `autoplay` plays
    once from t = 0 unless the visitor's system asks for reduced motion or `initial` starts
    elsewhere. `reserve` is the height in pixels that the page and the controls need beside the
    planes, so that all fits in a window.
    """
    initial = initial or View()
    if state.opening():  # the browser's own state is of before
        key = f"{key}-{state.opening()}"
    # Sent as it was at first: else every release would change the payload and send it again.
    opened = st.session_state.setdefault(f"{key}:opened", initial)
    packed = header_of(panels, "panels")
    names = [None if scene is None else header_of(scene, "scene")["name"] for scene in scenes]
    if len(names) != len(packed["panels"]):
        raise ValueError(
            f"scenes must hold one entry for each of the {len(packed['panels'])} panels; "
            f"got {len(names)}."
        )
    densities = learned or [None] * len(names)
    if len(densities) != len(names):
        raise ValueError(f"learned must hold {len(names)} entries; got {len(densities)}.")
    carried = [*scenes, *densities]
    called = [None if each is None else header_of(each, "scene")["name"] for each in carried]
    for i, (name, scene) in enumerate(zip(called, carried, strict=True)):
        # Two elements a panel, whether they have something new to bring or not: were their number
        # to change, the player would stand elsewhere on the page and be mounted anew.
        _scene(key=f"{key}:scene{i}", data=None if name in called[:i] else scene)
    header = {
        "kind": "player",
        "key": key,
        "scenes": called[: len(names)],
        "learned": called[len(names) :],
        "learnable": learned is not None,
        "initial": asdict(opened),
        "autoplay": autoplay and opened.t == 0,
        "reserve": reserve + (LECTURE if state.is_restricted() else 0),
        "theme": _theme(),
        "payload": packed["name"],
        "panels": {"dtype": "u1", "shape": [len(panels)], "offset": 0},
    }
    data = framed(header, panels)
    result = _player(key=key, data=data, on_view_change=_heard, default={"view": None})
    return _reported(result.get("view"), initial)


def _heard() -> None:
    """Streamlit keeps a state value only if somebody listens."""


def _reported(report: Any, initial: View) -> View:
    """The browser's report as a View; a report from elsewhere than our player is not believed."""
    if not isinstance(report, dict):
        return initial
    try:
        return View(
            t=float(report["t"]),
            layers=tuple(report["layers"]),
            density=report["density"],
            mode=report["mode"],
            layout=report["layout"],
            speed=float(report["speed"]),
        )
    except (KeyError, TypeError, ValueError):
        return initial


def _theme() -> dict[str, Any]:
    """The colours of both themes."""
    return themes(
        lambda dark: {
            "roles": {role: pair[dark] for role, pair in theme.ROLES.items()},
            "density": theme.DENSITY_RAMP[dark][:DENSITY_STOPS],
            "difference": theme.DIFFERENCE_RAMP[dark],
        }
    )
