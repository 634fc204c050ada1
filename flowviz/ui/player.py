"""The player on a page: animated panels with one clock.

    payload = pack([Panel(...), Panel(...)])            # particles: new with solver, seed
    scenes = [pack_scene(Scene(...)), ...]              # planes: new with data set, path
    seen = player(payload, scenes, key="compare")
    seen.t                                              # the clock, reported on release only

All frames are sent once and drawn in the browser. Scenes are separate elements, so that
Streamlit's message cache does not send unchanged ones again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st
from streamlit.components import v2

from flowviz.canvases import assets
from flowviz.canvases.player import View, envelope
from flowviz.ui import state
from flowviz.ui.canvas import component, listen, viewed

RESERVE = 415
"""Height in pixels that the page needs besides the planes."""

_player = component("flowviz_player", "player")
_scene = v2.component(
    "flowviz_scene",
    html=assets("scene")["html"],
    js=assets("scene")["js"],
    isolate_styles=False,
)
_preview = v2.component(
    "flowviz_preview",
    html=assets("preview")["html"],
    js=assets("preview")["js"],
    isolate_styles=False,
)


def player(
    panels: bytes,
    scenes: Sequence[bytes | None],
    *,
    key: str,
    learned: Sequence[bytes | None] | None = None,
    view: View,
    loop: bool = False,
    model: bytes | None = None,
    live: Mapping[str, Any] | None = None,
) -> View:
    """Draws the panels over their scenes and returns the view last reported by the browser.

    The browser reports when the clock is released (slider, pause, step) and when a layer, mode or
    layout changes, not while the clock runs. `view` is that of the first visit; afterwards the
    browser keeps its view. With `loop` nothing is reported. With `model` and `live`, of
    `flowviz.ui.live`, the browser computes the particles while a control moves. Other arguments:
    see `flowviz.canvases.player.envelope`.
    """

    def mount(key: str, first: View) -> Any:
        payload, payloads = envelope(
            panels,
            scenes,
            key=key,
            learned=learned,
            view=first,
            autoplay=True,
            loop=loop,
            reserve=None if state.is_restricted() else RESERVE,
            live=live,
        )
        with st.container(key=f"{key}-scenes"):
            for i, scene in enumerate(payloads):
                # Always two elements per panel: if their number changed, Streamlit would mount the
                # player again.
                _scene(key=f"{key}:scene{i}", data=scene)
            _preview(key=f"{key}:preview", data=model)
        kind = "stage" if state.is_restricted() else "loop" if loop else "panels"
        with st.container(key=f"{key}-{kind}{len(scenes)}"):  # its height: first_paint
            return _player(key=key, data=payload, on_view_change=listen, default={"view": None})

    return viewed(key, view, mount)
