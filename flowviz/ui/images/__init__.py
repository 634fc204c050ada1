"""The parts of the page Images: the choice of a model, its controls, and its views."""

from flowviz.ui.images.controls import pick, pick_view
from flowviz.ui.images.sources import opener
from flowviz.ui.images.views import show

__all__ = ["opener", "pick", "pick_view", "show"]
