"""The sidebar of the page on images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from flowviz.checkpoints import CheckpointError
from flowviz.checkpoints.images import ImageCard
from flowviz.settings import settings
from flowviz.studies import STUDIES, Study
from flowviz.studies._images import ALL, MAX_GUIDANCE, NONE, ImagesConfig, LiveImages
from flowviz.ui import controls, solver_picker, state, widgets
from flowviz.ui.images import sources

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
OTHERS = {"film": "image-film", "ways": "image-straightness", "quality": "image-quality"}
"""The studies of the views that are not sheets of images."""

UNUSED: dict[str, dict[str, str]] = {
    "nfe": dict.fromkeys(("nfe", "tol"), "This view has a row for each NFE."),
    "classes": {"class": "This view has a column for each class."},
    "guidance": {"guidance": "This view has a row for each w."},
    "ways": {"solver": "This view follows velocity fields with Dormand and Prince's method."},
    "quality": {"nfe": "This view measures at several NFE."},
}
"""The controls that a view does not use, and why."""

OWN = {"samples": ("n",), "noises": ("to",), "quality": ("judged",)} | {
    "guidance": ("guided_from", "guided_to")
}
"""The settings that only one view has."""


@dataclass(frozen=True)
class Page:
    """The settings of a view.

    `names` are the checkpoints that were chosen, one or two; `guide` is the guiding one or "".
    """

    view: str
    names: tuple[str, ...]
    values: Mapping[str, Any]
    guide: str = ""

    @property
    def study(self) -> Study[Any, Any]:
        """The study of the view."""
        return STUDIES[OTHERS.get(self.view, "image-grid")]

    def opened(self) -> tuple[ImagesConfig, LiveImages]:
        """The study's config, in which each name has the hash of the weights, and the weights.

        Raises:
            CheckpointError: a checkpoint is missing or damaged.
        """
        opened_sources = [sources.load(name) for name in self.names]
        left, right = ([each.key for each in opened_sources] + [NONE])[:2]
        values = {**self.values, "left": left, "right": right}
        if self.guide:
            opened_sources.append(sources.load(self.guide))
            values["guide"] = opened_sources[-1].key
        return self.study.config.build(values), {each.key: each.loaded for each in opened_sources}


def pick_view() -> str:
    """The row of buttons over the page; returns the slug of the view."""
    return widgets.segmented("view", "What to see", VIEWS, "samples", label_visibility="collapsed")


def pick(view: str) -> Page:
    """Draws the sidebar; controls that the view does not use are disabled."""
    state.set_aside(UNUSED.get(view, {}))
    declared, menu, cards = settings(ImagesConfig), sources.names(), sources.cards()
    with st.sidebar:
        names: list[str] = []
        if menu:
            left, right = _defaults(menu, cards)
            chosen = widgets.select(
                "left", declared["left"].label, menu, left, help=declared["left"].help
            )
            other = {NONE: "none"} | menu
            second = widgets.select(
                "right", declared["right"].label, other, right, help=declared["right"].help
            )
            names = list(dict.fromkeys(name for name in (chosen, second) if name != NONE))
        known = {name: name for name in _classes(names, cards)}
        classes = {ALL: "all in turn"} | known | {NONE: "none"}
        image_class = widgets.select(
            "class", "Class", classes, ALL, help=declared["image_class"].help
        )
        if image_class == NONE and view != "classes":
            state.set_aside(UNUSED.get(view, {}) | {"guidance": "Guidance needs a class."})
        weight = declared["guidance"]
        values = {
            "view": view,
            "image_class": image_class,
            "guidance": widgets.number(
                "guidance",
                weight.label,
                0.0,
                MAX_GUIDANCE,
                weight.default,
                step=0.5,
                help=weight.help,
            ),
        }
        defaults = solver_picker.Solver(
            *(declared[name].default for name in ("method", "nfe", "tol"))
        )
        solver = solver_picker.pick(
            defaults,
            offered=declared["method"].options or {},
            tolerances=range(1, 5),
            help=declared["method"].help,
            nfe_help=declared["nfe"].help,
            tol_help=declared["tol"].help,
            used="dopri5" if view == "ways" else "",
        )
        values |= vars(solver) | controls.pick(ImagesConfig, only=("seed",))
        study, guide = Page(view, (), {}).study, NONE
        if view == "guidance":
            guides = {NONE: "the same network without a class"} | menu
            guide = widgets.select(
                "guide", declared["guide"].label, guides, NONE, help=declared["guide"].help
            )
        values |= controls.pick(study.config, only=OWN.get(view, ()))
    return Page(view, tuple(names), values, "" if guide == NONE else guide)


def _defaults(menu: Mapping[str, str], cards: Mapping[str, ImageCard]) -> tuple[str, str]:
    """The velocity field on conditional OT trained longest, and that on VP of its data."""
    fields = (name for name in cards if not cards[name].jumps)
    longest = sorted(fields, key=lambda name: -cards[name].images)
    left = next((name for name in longest if cards[name].path == "ot"), next(iter(menu)))
    data = cards[left].data if left in cards else None
    right = next((n for n in longest if cards[n].path == "vp" and cards[n].data == data), NONE)
    return left, right if right != left else NONE


def _classes(names: list[str], cards: Mapping[str, ImageCard]) -> tuple[str, ...]:
    """The classes of the first checkpoint that can be given any."""
    for name in names:
        try:
            card = cards[name] if name in cards else sources.load(name).loaded.checkpoint.card
        except CheckpointError:
            continue  # the page shows the reason
        if card.network.get("conditional"):
            return card.classes
    return ()
