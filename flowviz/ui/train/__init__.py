"""The parts of the Train page: its controls, the running training, and its result."""

from flowviz.ui.train.keeping import outcome
from flowviz.ui.train.losses import figures
from flowviz.ui.train.running import board, buttons
from flowviz.ui.train.settings import controls, note

__all__ = ["board", "buttons", "controls", "figures", "note", "outcome"]
