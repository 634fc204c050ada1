"""The fields of Compare for the browser, which computes the particles while a control moves.

The server's result follows when the control is released. See `canvases/js/live/preview.js`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st

from flowviz.canvases.wire import encode, header_of
from flowviz.datasets import FRAME, dataset
from flowviz.distributions import Distribution
from flowviz.experiments.evolution import FlowConfig
from flowviz.experiments.fields import EXACT, FieldRef
from flowviz.fields import LearnedField
from flowviz.site import parameters
from flowviz.studies._flow import PANELS
from flowviz.ui import state

MAX_NUMBERS = 20_000
"""Numbers of a distribution that are sent to the browser: those of 4,000 points of own data."""

CONTROLS = {"method": "solver", "nfe": "nfe"}
"""The slug of the control of each setting of a panel that the browser follows."""


def model(configs: Sequence[FlowConfig], live: Mapping[str, LearnedField]) -> bytes | None:
    """The data set, the paths and the fields of flows, or None if the browser cannot compute them.

    Args:
        configs: of the flows.
        live: fields of this session by name.
    """
    sides = tuple(
        {
            "data": each.data,
            "path": each.path,
            "network": None if each.field == EXACT else each.field,
        }
        for each in configs
    )
    return _model(configs[0].data, configs[0].n, sides, live)


def values(
    configs: Sequence[FlowConfig], model: bytes, *, own_solvers: bool = False
) -> dict[str, Any]:
    """What belongs to the particles of flows, see `flowviz.canvases.player.envelope`.

    Args:
        configs: of the flows.
        model: of `model`.
        own_solvers: whether each panel has its own solver and NFE; else all have the first one.
    """
    panels = [f"{panel}-" if own_solvers and panel != PANELS[0] else "" for panel in PANELS]
    return {
        "sides": [{"method": each.method, "nfe": each.nfe} for each in configs],
        "seed": configs[0].seed,
        "model": header_of(model, "fields")["name"],
        "controls": {
            "seed": state.selector("seed"),
            "sides": [
                {name: state.selector(f"{panel}{slug}") for name, slug in CONTROLS.items()}
                for panel in panels[: len(configs)]
            ],
        },
    }


@st.cache_data(max_entries=16, show_spinner=False)
def _model(
    data: str, n: int, sides: tuple[dict[str, Any], ...], _live: Mapping[str, LearnedField]
) -> bytes | None:
    try:
        content = {
            "kind": "fields",
            "frame": FRAME,
            "n": n,
            "data": {data: {"distribution": _distribution(dataset(data).distribution)}},
            "paths": {side["path"]: parameters.path(side["path"]) for side in sides},
            "methods": parameters.methods(),
            "weights": {
                name: parameters.network(_live.get(name) or FieldRef.of(name).field)
                for name in {side["network"] for side in sides} - {None}
            },
            "sides": sides,
        }
    except ValueError:
        return None
    return encode(content)


def _distribution(distribution: Distribution) -> parameters.Entry:
    entries = parameters.distribution(distribution)
    size = sum(each.size for each in entries.values() if isinstance(each, np.ndarray))
    if size > MAX_NUMBERS:
        raise ValueError(f"The browser computes with up to {MAX_NUMBERS:,} numbers; got {size:,}.")
    return entries
