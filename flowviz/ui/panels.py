"""The controls of Compare: the data set, and the path, network and solver of each panel."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import streamlit as st

from flowviz import datasets
from flowviz.checkpoints.lookup import OPENED
from flowviz.experiments.fields import EXACT
from flowviz.fields import FlowMap, LearnedField
from flowviz.methods import all_methods, velocity_methods
from flowviz.schedulers import LEARNED, LearnedReference
from flowviz.solvers import METHODS
from flowviz.studies._flow import NO_NETWORK, PANELS, CompareConfig
from flowviz.ui import controls, data_picker, foreign, models, paths, state, widgets
from flowviz.ui.field_picker import LIVE, choose, networks
from flowviz.ui.solver_picker import Solver
from flowviz.ui.solver_picker import pick as pick_solver

COUNTS = {"2": "2 panels", "3": "3", "4": "4"}
"""Numbers of panels; the words of all three do not fit a line."""
PRODUCT = {
    "panels": "4",
    "third": "ot",
    "fourth": "vp",
    "solvers": "1",
    "solver": "euler",
    "nfe": "8",
    "right-solver": "euler",
    "right-nfe": "8",
    "third-solver": "midpoint",
    "third-nfe": "8",
    "fourth-solver": "midpoint",
    "fourth-nfe": "8",
}
"""The link of two paths by two solvers at one NFE."""


@dataclass(frozen=True)
class Comparison:
    """The settings of the page and the fields of this session that they name."""

    config: CompareConfig
    live: Mapping[str, LearnedField]


def pick() -> Comparison:
    """Draws the sidebar."""
    default = CompareConfig()
    with st.sidebar:
        data = data_picker.pick(default.data, sources=True)
        panels = _panels(data)
        chosen_paths = _paths(data, panels)
        field = controls.pick(CompareConfig, only=("field",))["field"]
        specs, names, loaded = [], [], {}
        for panel, path in zip(panels, chosen_paths, strict=True):
            network = _network(panel, data, path) if field != EXACT or path == LEARNED else ""
            spec, name, loaded_field = choose(data, path, network)
            specs.append(spec)
            names.append(NO_NETWORK if name == EXACT else name)
            if loaded_field is not None:
                loaded[name] = loaded_field
        maps = any(isinstance(each, FlowMap) for each in loaded.values())
        solver, solvers = _solvers(panels, all_methods() if maps else velocity_methods())
        seed = controls.pick(CompareConfig, only=("seed",))["seed"]
        if not state.is_restricted():
            foreign.opener()
            models.listed()
    config = CompareConfig(
        data=data,
        paths=tuple(specs),
        field=field,
        networks=tuple(names),
        **vars(solver),
        solvers=solvers,
        seed=seed,
    )
    live = {name: each for name, each in loaded.items() if name.startswith("live:")}
    return Comparison(config, live)


def _panels(data: str) -> tuple[str, ...]:
    """The names of the panels, and with four a button for the paths and solvers of PRODUCT."""
    chosen = widgets.segmented("panels", "Panels", COUNTS, "2", label_visibility="collapsed")
    panels = PANELS[: int(chosen)]
    offered = len(panels) == len(PANELS) and not state.is_restricted()
    if offered and st.button("OT and VP by Euler and midpoint", width="stretch"):
        state.follow("compare", {"data": data, **PRODUCT})
    return panels


def _paths(data: str, panels: Sequence[str]) -> list[str]:
    """The path of each panel, from its menu."""
    source, _ = datasets.parted(data)
    learned = networks(data, LEARNED)
    shipped = any(name != LIVE and not OPENED.fullmatch(name) for name in learned)
    opening: dict[str, str] = dict(zip(PANELS, CompareConfig().paths, strict=False))
    opening |= {"third": "trig", "fourth": LEARNED if shipped else "ve"}
    if source:  # VP diffusion cannot start from a data set
        opening["right"] = "trig"
    return [
        paths.select(
            panel,
            f"{panel.capitalize()} path",
            opening[panel],
            extra={LEARNED: LearnedReference.label} if learned else {},
            source=source,
            help="The path from t = 0 to the data. The note at the end of the page gives its "
            "formula.",
        )
        for panel in panels
    ]


def _solvers(panels: Sequence[str], offered: Mapping[str, str]) -> tuple[Solver, tuple[str, ...]]:
    """The solver of the first panel, and `CompareConfig.solvers`: () if all have this one."""
    default, restricted = CompareConfig(), state.is_restricted()
    per_panel = widgets.toggle(
        "solvers",
        "A solver for each panel",
        False,
        help="Compare solvers, or the same solver with different NFE, from the same noise.",
    )
    solvers: list[Solver] = []
    with_menu = panels if per_panel else panels[:1]
    # As tabs, all controls fit the height of a projector. A lecture has one row for its controls.
    tabs = (
        st.tabs([each.capitalize() for each in with_menu])
        if per_panel and not restricted
        else None
    )
    for k, panel in enumerate(with_menu):
        previous = solvers[0] if solvers else Solver(default.method, default.nfe, default.tol)
        with tabs[k] if tabs else nullcontext():
            solvers.append(
                pick_solver(
                    previous,
                    offered=offered,
                    tolerances=range(3, 7),
                    help="The method that solves the ODE of the particles.",
                    nfe_help="The cost of a sample. The slider has the numbers that this solver "
                    "can use.",
                    tol_help="Largest estimated error of any particle in a step. The counted NFE "
                    "is shown with the numbers of each panel.",
                    panel=panel if solvers else "",
                    title="" if tabs or not solvers else f"{panel.capitalize()}: ",
                )
            )
    texts = (
        f"{each.method}:{each.tol if METHODS[each.method].adaptive else each.nfe}"
        for each in solvers
    )
    return solvers[0], tuple(texts) if per_panel else ()


def _network(side: str, data: str, path: str) -> str:
    """The network of a side; a menu only where there is a choice. The link has a visitor's own."""
    options = networks(data, path)
    shipped = next((name for name in options if not OPENED.fullmatch(name)), "")
    if len(options) < 2 and shipped:
        return shipped
    if not options:
        return ""
    chosen = widgets.select(
        f"{side}-network",
        f"{side.capitalize()} network",
        options | ({} if path == LEARNED else {NO_NETWORK: "none: the exact field"}),
        shipped or next(iter(options)),
        help="Networks trained on this data set and path: by another objective, with another "
        "coupling, by you, or a flow map, whose samplers jump (solver “jumps”).",
    )
    return state.publish(f"{side}-network", chosen, shipped)
