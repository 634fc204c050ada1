"""Conditional and marginal velocities: why a network may regress on the conditional ones."""

from flowviz.ui import why
from flowviz.ui.notices import failed
from flowviz.ui.ot_note import headed

headed("Conditional and marginal velocities")
try:
    why.show()
except ValueError as error:
    failed("This cannot be shown.", error)
