"""The sidebar of the Compare page."""

from dataclasses import dataclass

import streamlit as st

from flowviz.experiments.evolution import EXACT, FlowConfig, SceneConfig, affordable, budgets
from flowviz.schedulers import LEARNED, LearnedReference
from flowviz.solvers import METHODS
from flowviz.ui import data_picker, paths, state
from flowviz.ui.compare.networks import networks

__all__ = ["Settings", "controls"]

DEFAULT = FlowConfig()
TOLERANCES = {"0.001": "10⁻³", "0.0001": "10⁻⁴", "1e-05": "10⁻⁵", "1e-06": "10⁻⁶"}
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
        method = state.select(
            "solver",
            "ODE solver",
            {name: entry.label for name, entry in METHODS.items()},
            DEFAULT.method,
            help="How the particles follow the field. "
            + " ".join(f"**{m.label}:** {m.sentence}" for m in METHODS.values()),
        )
        nfe, tol = DEFAULT.nfe, DEFAULT.tol
        if METHODS[method].adaptive:
            tol = float(
                state.select(
                    "tol",
                    "Tolerance of a step",
                    TOLERANCES,
                    "1e-05",
                    help="An adaptive solver picks its own steps so that each errs by less than "
                    "this; the evaluations it spent stand under the panels.",
                )
            )
        else:
            nfe = state.budget(
                "nfe",
                "Budget: function evaluations (NFE)",
                budgets(method),
                DEFAULT.nfe,
                also=affordable(method),
                help="How often a solve may ask for the velocity: what sampling costs. Only "
                "budgets that this solver can spend exactly are offered.",
            )
        seed = state.integer(
            "seed",
            "Seed of the noise",
            0,
            999_999,
            DEFAULT.seed,
            dice=True,
            help="Both paths start from this very noise, particle by particle.",
        )
    return Settings(
        data=data,
        paths=(left, right),
        field=field,
        networks=(chosen[0], chosen[1]),
        method=method,
        nfe=nfe,
        tol=tol,
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
