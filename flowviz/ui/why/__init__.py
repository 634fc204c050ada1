"""Why one may regress on conditional velocities: a point to drag, figures, conversions."""

from flowviz.ui.why.sections import choose, show

__all__ = ["choose", "show"]
