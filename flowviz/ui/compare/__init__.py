"""The parts of the Compare page: its sidebar, its two sides, its figures and its words."""

from flowviz.ui.compare.controls import Settings, controls
from flowviz.ui.compare.learned import learn, planes
from flowviz.ui.compare.sides import Side, player, sides
from flowviz.ui.compare.twin import twin
from flowviz.ui.compare.words import lesson, which_ot

__all__ = [
    "Settings",
    "Side",
    "controls",
    "learn",
    "lesson",
    "planes",
    "player",
    "sides",
    "twin",
    "which_ot",
]
