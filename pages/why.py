"""One path, all paths: why a network may regress on conditional velocities."""

from flowviz.ui import why
from flowviz.ui.notices import failed
from flowviz.ui.ot_note import headed

headed("One path, all paths")
try:
    why.show()
except ValueError as error:
    failed("This cannot be shown.", error)
