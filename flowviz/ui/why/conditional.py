"""The paper's Figures 2, 3 and 8, computed: conditional scores, fields and trajectories."""

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from flowviz.experiments.posterior import ConditionalConfig, ConditionalResult, Way
from flowviz.figures import posterior as figures
from flowviz.figures import theme
from flowviz.ui import downloads, figure, state
from flowviz.ui.theme import is_dark
from flowviz.ui.why import results

__all__ = ["section"]

DEFAULT = ConditionalConfig()
STILL = 0.05
"""Degrees below which a direction is said not to turn."""


def section(data: str, path: str) -> None:
    """The data point's controls, both figures and what they show; `data` plays no part."""
    with st.sidebar:
        x = state.number("end-x", "Data point ★, x₁", -4.0, 4.0, DEFAULT.x, step=0.2)
        y = state.number("end-y", "Data point ★, x₂", -4.0, 4.0, DEFAULT.y, step=0.2)
        n = state.count("ways", "Trajectories", (12, 24, 60), 24)
        seed = state.seed()
    paths = list(dict.fromkeys(["vp", "ot", path]))
    found = results.conditional(ConditionalConfig(paths=" ".join(paths), x=x, y=y, n=n, seed=seed))
    about = {"paths": " ".join(paths), "data point": f"{x:g},{y:g}", "seed": seed}
    st.subheader("Trajectories towards one data point (Fig. 3)")
    _trajectories(found, about)
    st.subheader("Scores and fields towards one data point (Figs. 2 and 8)")
    _fields(found, about)


def _trajectories(found: ConditionalResult, about: dict[str, object]) -> None:
    ways = [
        figures.Ways(
            label=way.label,
            colour=theme.path_colour(way.path, dark=is_dark()),
            clock=way.clock,
            states=way.states,
            progress=way.progress,
            overshoot=way.overshoot,
        )
        for way in found.ways
    ]
    st.markdown(" ".join(_overshoot(way) for way in found.ways))
    left, right = st.columns([3, 2], gap="medium")

    def columns() -> dict[str, NDArray]:
        tables = []
        for way in found.ways:
            steps, n = way.progress.shape
            tables.append(
                {
                    "path": way.path,
                    "trajectory": np.tile(np.arange(n), steps),
                    "t": np.repeat(way.clock, n),
                    "x1": way.states[..., 0].ravel(),
                    "x2": way.states[..., 1].ravel(),
                    "progress": way.progress.ravel(),
                }
            )
        return downloads.stacked(tables)

    with left:
        figure.show(
            figures.conditional_ways(ways, found.end, dark=is_dark()),
            "conditional-ways",
            title="conditional trajectories",
            alt="Conditional trajectories from noise to one data point, a panel a path.",
            settings=about,
            columns=columns,
            filename="flowviz-conditional-trajectories",
        )
    with right:
        figure.show(
            figures.progress(ways, dark=is_dark()),
            "conditional-progress",
            title="progress of conditional trajectories",
            alt="Share of the straight way done against time, a line a trajectory.",
            settings=about,
            columns=columns,
            filename="flowviz-conditional-progress",
        )
        st.caption(
            "How far each trajectory has come along the straight line from its noise to its end. "
            "Above the dashed line it has gone too far and must come back."
        )
    st.caption(
        "The paper states it of conditional flows only: that each of these lines is straight does "
        "not make the marginal flow an optimal transport map, whose lines bend as soon as several "
        "data points pull."
    )


def _overshoot(way: Way) -> str:
    over = way.overshoot > 1e-3
    mean = float(way.detour.mean())
    if not over.any():
        straight = way.detour.max() < 1 + 1e-6
        shape = "straight lines" if straight else f"{mean:.2f} times as long as straight"
        pace = np.abs(way.progress - way.clock[:, None]).max()
        even = " at even speed" if pace < 0.01 else ", but not at even speed"
        return f"**{way.label}**: {shape}{even if straight else ''}; none overshoots."
    worst = int(way.overshoot.argmax())
    top = way.progress[:, worst].argmax()
    return (
        f"**{way.label}**: {over.sum()} of {len(over)} trajectories overshoot and come back, the "
        f"worst by {way.overshoot[worst]:.2f} ({100 * (way.progress[top, worst] - 1):.0f} % of "
        f"its way) at t = {way.clock[top]:.2f}; on average they are {mean:.2f} times as long as "
        "straight."
    )


def _fields(found: ConditionalResult, about: dict[str, object]) -> None:
    rows = []
    diffusion, *others = found.ways
    for way, name, vectors in [
        (diffusion, "score", diffusion.score),
        *((way, "field", way.field) for way in (others[0], diffusion, *others[1:])),
    ]:
        rows.append(
            figures.FieldRow(
                label=f"{way.label}, {name}",
                colour=theme.path_colour(way.path, dark=is_dark()),
                times=way.times,
                vectors=vectors,
            )
        )
    turns = [f"the {diffusion.label} score by {_degrees(diffusion.score_turn)}"]
    turns += [f"the {way.label} field by {_degrees(way.field_turn)}" for way in found.ways]
    st.markdown(
        "From t = 0 to the end the arrows turn, on average over the frame: "
        + ", ".join(turns)
        + ". A field that only grows, $u = g(t)\\, h(x \\mid x_1)$, asks less of a network than "
        "one that also turns."
    )

    def columns() -> dict[str, NDArray]:
        tables = []
        for row in rows:
            for t, vectors in zip(row.times, row.vectors, strict=True):
                tables.append(
                    {
                        "quantity": row.label.replace(",", ""),
                        "t": np.full(len(vectors), t),
                        "x1": found.positions[:, 0],
                        "x2": found.positions[:, 1],
                        "v1": vectors[:, 0],
                        "v2": vectors[:, 1],
                    }
                )
        return downloads.stacked(tables)

    figure.show(
        figures.conditional_fields(rows, found.positions, found.end, dark=is_dark()),
        "conditional-fields",
        title="conditional scores and fields",
        alt="Directions and sizes of conditional scores and fields at four times, a row each.",
        settings=about,
        columns=columns,
        filename="flowviz-conditional-fields",
    )
    st.caption(
        "Arrows show directions only. Shades show sizes on a log scale of each panel's own, "
        "darker is larger; the range stands above it. Rows 1 and 2 are the paper's Figure 2, row "
        "3 its Figure 8. The last column stops at t_max, where sigma is 0.001, since at t = 1 "
        "neither exists."
    )


def _degrees(angle: float) -> str:
    return "nothing" if angle < STILL else f"{angle:.0f}°"
