"""Lectures: numbered steps through the pages, for a projector and a keyboard."""

from flowviz.ui.lecture import desk
from flowviz.ui.opening import headed

headed(
    "Lectures",
    see="Lectures of numbered steps, each with a text and its equation, on any page.",
    notice="→ and ← (or a presenter's clicker) change the step; ? lists the keys of the player.",
    which_ot=False,
)
desk.shelf()
desk.own_lectures()
