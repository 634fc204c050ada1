"""The parts of the page on images: whose, how they are drawn, and what is seen of them."""

from flowviz.ui.images.controls import pick, pick_view
from flowviz.ui.images.sources import opener
from flowviz.ui.images.views import show

__all__ = ["opener", "pick", "pick_view", "show"]
