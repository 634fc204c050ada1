"""The sidebar of the page on images."""

from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from flowviz.checkpoints import CheckpointError
from flowviz.checkpoints.images import ImageCard
from flowviz.experiments.images import ImageConfig
from flowviz.ui import solver_picker, state
from flowviz.ui.images import sources
from flowviz.ui.images.sources import Source
from flowviz.ui.solver_picker import Solver

__all__ = ["VIEWS", "Settings", "controls", "pick_view"]

DEFAULT = ImageConfig()
ALL, NONE = "all", "none"

VIEWS = {
    "samples": "Samples",
    "nfe": "Grid over NFE",
    "film": "Film strip",
    "noises": "Between two noises",
    "classes": "All classes",
    "guidance": "Guidance",
    "ways": "Straightness",
    "quality": "Quality",
}
"""What the page shows, by slug."""

UNUSED: dict[str, dict[str, str]] = {
    "nfe": {
        "nfe": "This view has a row for each NFE.",
        "tol": "This view has a row for each NFE.",
    },
    "classes": {"class": "This view has a column for each class."},
    "guidance": {"guidance": "This view has a row for each w."},
    "ways": {"nfe": "This view follows the ways with Dormand and Prince's method."},
    "quality": {"nfe": "This view measures at several NFE."},
}
"""The controls that a view does not use, and why."""

GUIDED = 10.0
"""The largest guidance on offer."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the sidebar says.

    Attributes:
        sides: names of the checkpoints, one or two.
        chosen: a class by name, ALL for all in turn, or NONE.
        guidance: see `ImageConfig`.
        solver: name in METHODS.
        nfe: of a fixed-step solver.
        tol: of an adaptive one.
        seed: of the noise.
    """

    sides: tuple[str, ...]
    chosen: str
    guidance: float
    solver: str
    nfe: int
    tol: float
    seed: int

    def config(self, source: Source, n: int, **changes: object) -> ImageConfig:
        """How a side draws its first n images; without a class where it knows none."""
        known = source.card.classes if source.checkpoint.conditional else ()
        classes: tuple[int, ...] = ()
        if known and self.chosen == ALL:
            classes = tuple(range(len(known)))
        elif self.chosen in known:
            classes = (known.index(self.chosen),)
        values = {
            "solver": self.solver,
            "nfe": self.nfe,
            "tol": self.tol,
            "classes": classes,
            "guidance": self.guidance if classes else 1.0,
            "n": n,
            "seed": self.seed,
        }
        return ImageConfig(**values | changes)


def pick_view() -> str:
    """The row of buttons over the page; returns the slug of what it is to show."""
    return state.segmented("view", "What to see", VIEWS, "samples", label_visibility="collapsed")


def controls(view: str) -> Settings:
    """The sidebar: which checkpoints, which class, and how their noise is carried to images.

    Args:
        view: what the page shows, in VIEWS; what it does not use cannot be moved.
    """
    state.set_aside(UNUSED.get(view, {}))
    menu, cards = sources.names(), sources.cards()
    with st.sidebar:
        sides: list[str] = []
        if menu:
            left, right = _defaults(menu, cards)
            sides.append(
                state.select(
                    "left",
                    "Left checkpoint",
                    menu,
                    left,
                    help="A velocity field of images with its path. Files of torchcfm, "
                    "flow_matching and diffusers in a folder of FLOWVIZ_CHECKPOINTS are listed.",
                )
            )
            other = {NONE: "none"} | menu
            second = state.select(
                "right",
                "Right checkpoint",
                other,
                right,
                help="It starts from the very same noise, image by image.",
            )
            sides += [second] if second != NONE else []
        known = _classes(sides, cards)
        chosen = state.select(
            "class",
            "Class",
            {ALL: "all in turn"} | {name: name for name in known} | {NONE: "none"},
            ALL,
            help="What a class-conditional network is told. With none it takes its null class.",
        )
        if chosen == NONE and view != "classes":
            state.set_aside(UNUSED.get(view, {}) | {"guidance": "Guidance needs a class."})
        guidance = state.number(
            "guidance",
            "Guidance w",
            0.0,
            GUIDED,
            DEFAULT.guidance,
            step=0.5,
            help="Classifier-free guidance: the velocity is u(no class) + w (u(class) − u(no "
            "class)). 1 is the plain class and costs one network pass an evaluation, others two.",
        )
        solver = solver_picker.pick(
            Solver(DEFAULT.solver, DEFAULT.nfe, DEFAULT.tol),
            tolerances=range(1, 5),
            help="How noise follows the field.",
            nfe_help="How often a solve may ask for the velocity: what an image costs. Only "
            "budgets that this solver can spend exactly are offered.",
            tol_help="An adaptive solver picks its own steps so that each errs by less than this, "
            "over all images of a batch together.",
        )
        seed = state.seed(
            default=DEFAULT.seed,
            help="Both sides start from this very noise; image i has the same noise in all views.",
        )
    return Settings(
        sides=tuple(sides),
        chosen=chosen,
        guidance=guidance,
        solver=solver.method,
        nfe=solver.nfe,
        tol=solver.tol,
        seed=seed,
    )


def _defaults(menu: Mapping[str, str], cards: Mapping[str, ImageCard]) -> tuple[str, str]:
    """The first checkpoint on conditional OT and the first on VP of the same data, if any."""
    first = next(iter(menu))
    left = next((name for name, card in cards.items() if card.path == "ot"), first)
    data = cards[left].data if left in cards else None
    right = next(
        (name for name, card in cards.items() if card.path == "vp" and card.data == data), NONE
    )
    return left, right if right != left else NONE


def _classes(sides: list[str], cards: Mapping[str, ImageCard]) -> tuple[str, ...]:
    """The classes that the first side which knows any can be told."""
    for name in sides:
        try:
            card = cards[name] if name in cards else sources.load(name).card
        except CheckpointError:
            continue  # the page says why
        if card.network.get("conditional"):
            return card.classes
    return ()
