"""Schedules: how signal and noise trade places on each path, and one that the visitor shapes."""

from flowviz.ui import schedules
from flowviz.ui.ot_note import headed

headed("Schedules: when signal takes over from noise")
schedules.show()
