"""The parts of the page on a learned path: its ways, its measures, its cost, its training."""

from flowviz.ui.learned_path.pictures import Settings, controls, show

__all__ = ["Settings", "controls", "show"]
