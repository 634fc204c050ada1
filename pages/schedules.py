"""The schedules of signal and noise on each path, and one that the user shapes."""

from flowviz.ui import schedules
from flowviz.ui.ot_note import headed

headed("Schedules: signal and noise over time")
schedules.show()
