"""The sidebar of the Compare page."""

from dataclasses import dataclass

import streamlit as st

from flowviz.experiments.evolution import EXACT, FlowConfig, SceneConfig
from flowviz.schedulers import LEARNED, LearnedReference
from flowviz.ui import data_picker, paths, solver_picker, state
from flowviz.ui.field_picker import networks
from flowviz.ui.solver_picker import Solver

__all__ = ["Settings", "controls"]

DEFAULT = FlowConfig()
PATH_HELP = "The road from noise to data; its formula is in the note below the figures."


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the sidebar says."""

    data: str
    paths: tuple[str, str]
    field: str
    """"learned" or "exact"."""
    networks: tuple[str, str]
    """The network of each side, see `networks`; "" for none."""
    method: str
    nfe: int
    tol: float
    seed: int

    def flow(self, path: str, field: str) -> FlowConfig:
        """The flow of one side."""
        return FlowConfig(
            data=self.data,
            path=path,
            field=field,
            method=self.method,
            nfe=self.nfe,
            tol=self.tol,
            seed=self.seed,
        )

    def scene(self, path: str, field: str) -> SceneConfig:
        """The scene of one side, which solver, budget and seed do not touch."""
        return SceneConfig(data=self.data, path=path, field=field)


def controls() -> Settings:
    """The sidebar: what is carried, along which paths, by which field and solver."""
    with st.sidebar:
        data = data_picker.pick(DEFAULT.data)
        learned = {LEARNED: LearnedReference.label} if networks(data, LEARNED) else {}
        left = paths.select("left", "Left path", "ot", more=learned, help=PATH_HELP)
        right = paths.select("right", "Right path", "vp", more=learned, help=PATH_HELP)
        field = state.segmented(
            "field",
            "Velocity field",
            {"learned": "Learned", EXACT: "Exact"},
            "learned",
            help="Learned: a network trained on this data set and path. Exact: the closed form "
            "that an infinitely good network would reach.",
        )
        chosen = [
            _network(side, data, path) if field != EXACT or path == LEARNED else ""
            for side, path in (("left", left), ("right", right))
        ]
        solver = solver_picker.pick(
            Solver(DEFAULT.method, DEFAULT.nfe, DEFAULT.tol),
            tolerances=range(3, 7),
            help="How the particles follow the field.",
            nfe_help="How often a solve may ask for the velocity: what sampling costs. Only "
            "budgets that this solver can spend exactly are offered.",
            tol_help="An adaptive solver picks its own steps so that each errs by less than this; "
            "the evaluations it spent stand under the panels.",
        )
        seed = state.seed(
            default=DEFAULT.seed,
            help="Both paths start from this very noise, particle by particle.",
        )
    return Settings(
        data=data,
        paths=(left, right),
        field=field,
        networks=(chosen[0], chosen[1]),
        **vars(solver),
        seed=seed,
    )


def _network(side: str, data: str, path: str) -> str:
    """The network of a side; a menu only where there is a choice."""
    found = networks(data, path)
    if len(found) < 2:
        return next(iter(found), "")
    return state.select(
        f"{side}-network",
        f"{side.capitalize()} network",
        found,
        next(iter(found)),
        help="Networks trained on this data set and path: by another objective, with another "
        "coupling or by you.",
    )
