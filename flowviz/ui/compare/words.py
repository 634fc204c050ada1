"""What the Compare page says: what to notice, computed from the numbers, and which OT is meant."""

from collections.abc import Sequence

import numpy as np
import streamlit as st

from flowviz.experiments.evolution import FlowResult
from flowviz.schedulers import LEARNED, scheduler
from flowviz.ui.compare.sides import Side
from flowviz.ui.ot_note import SHORT

__all__ = ["lesson", "which_ot"]


def lesson(panels: Sequence[Side]) -> str:
    """One caption that says, from the numbers, what to notice; Markdown."""
    left, right = panels
    text = (
        f"The particles end {left.flow.end_quality:.3f} (left) and "
        f"{right.flow.end_quality:.3f} (right) from the data in sliced W₂; two fresh sets of "
        f"data are {left.flow.quality_floor:.3f} apart. "
    )
    if left.config == right.config:
        text += "Both sides show one flow, so that they agree to the last digit. "
    else:
        apart = np.linalg.norm(left.flow.states[-1] - right.flow.states[-1], axis=1).mean()
        text += (
            f"**The same noise ends {apart:.2f} from its twin on the other side** (mean over "
            "particles); exact fields and enough steps bring that to nearly 0 for any two fixed "
            "paths but VE, whose start neglects the data that is in its noise. "
        )
    halves = [half_way(side.flow) for side in panels]
    if None not in halves and abs(halves[0] - halves[1]) >= 0.05:
        late = int(halves[1] > halves[0])
        text += (
            f"Watch *when* it happens: {panels[1 - late].label} is half-way to the data by "
            f"t = {halves[1 - late]:.2f}, {panels[late].label} only by t = {halves[late]:.2f}. "
        )
    untrained = list(dict.fromkeys(side.label for side in panels if side.untrained))
    if untrained:
        text += (
            f"*No network has been trained on this data set for {' or '.join(untrained)}, so "
            "that the exact field is shown there: train one on the Train page.*"
        )
    return text


def half_way(flow: FlowResult) -> float | None:
    """When the distance to the data has fallen half-way from start to end; None if it never falls.

    Nor does it say anything of a flow that ends no nearer than half of its way.
    """
    start, end = flow.quality[0], flow.quality[-1]
    if not end < start / 2:
        return None
    return float(flow.times[np.argmax(flow.quality <= (start + end) / 2)])


def which_ot(panels: Sequence[Side]) -> None:
    """A folded note on what "OT" means, with the formulas of the paths on show."""
    with st.expander("Which OT? What the paths are, and what they are not"):
        st.markdown(
            f"{SHORT}\n\nGiven exact fields and enough steps, conditional OT, VP and the "
            "trigonometric path carry each particle to the *same* place (VE nearly so: its start "
            "neglects the data in its noise); paths differ in when they move and hence in what a "
            "small budget or a network gets wrong."
        )
        for path in dict.fromkeys(side.path for side in panels):
            entry = scheduler(path)
            form = "" if path == LEARNED else "$x_t = \\alpha_t x_1 + \\sigma_t x_0$ with "
            st.markdown(f"**{entry.label}:** {form}${entry.symbol}$")
