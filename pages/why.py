"""Conditional and marginal velocities: why a network may regress on the conditional ones."""

from flowviz.ui import why
from flowviz.ui.notices import failing
from flowviz.ui.opening import headed

headed(
    "Vector field: conditional and marginal velocities",
    see="The velocity of each pair (conditional) and their mean (marginal) at a point "
    "that you drag.",
    notice="Near t = 1 one data point has most of the [posterior](posterior), and both "
    "velocities agree there.",
)
with failing("This cannot be shown."):
    why.show()
