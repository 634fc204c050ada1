"""Velocity, score, noise and data prediction of one field, and the factors between them."""

import math

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from flowviz.experiments.evolution import EXACT
from flowviz.experiments.posterior import FACTORS, ConversionConfig, ConversionResult, TouchConfig
from flowviz.figures import curves, theme
from flowviz.figures import posterior as figures
from flowviz.schedulers import scheduler
from flowviz.ui import figure, state
from flowviz.ui.field_picker import choose, networks
from flowviz.ui.theme import is_dark
from flowviz.ui.why import results

__all__ = ["section"]

LARGE = 99.5
"""A factor of this, written 100, or more is marked: it makes an error of 1 % one of the whole."""
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
TABLE = (0.0, 0.01, 0.1, 0.5, 0.9, 0.99, 1.0)
DASHES = {"velocity": "solid", "score": "dot", "noise": "dash", "data": "dash"}
NAMES = {
    "velocity": "velocity u",
    "score": "score s",
    "noise": "noise ε̂",
    "data": "data m, as m − x",
}
SYMBOLS = {"velocity": "u", "score": "s", "noise": "ε̂", "data": "m"}


def section(data: str, path: str) -> None:
    """The field and the time of the sidebar, the four fields, and the factors."""
    with st.sidebar:
        options = {EXACT: "exact", **networks(data, path)}
        name = EXACT
        if len(options) > 1:
            name = state.select(
                "field",
                "Field",
                options,
                EXACT,
                help="The closed form, or a network's velocity, from which the others follow.",
            )
        t = state.number("t", "Time t", 0.0, 1.0, 0.6, step=0.05, format="%.3g")
    field, network = EXACT, None
    if name != EXACT:
        path, field, network = choose(data, path, name)
    config = ConversionConfig(data=data, path=path, field=field, t=t)
    found = results.conversions(config, network)
    label = scheduler(path).label
    left, right = st.columns([3, 2], gap="large")
    with left:
        _panels(found, config, data)
    with right:
        st.markdown(_lesson(found, label, exact=name == EXACT))
    st.subheader(f"What an error is multiplied by, on {label}")
    _table(found)
    _curves(found, config, label)


def _panels(found: ConversionResult, config: ConversionConfig, data: str) -> None:
    points = results.touch(TouchConfig(data=data, path="ot")).points
    shown = {
        NAMES[name]: value - found.positions if name == "data" else value
        for name, value in found.predictions.items()
    }
    ink = theme.INK[is_dark()]
    colours = [
        theme.path_colour(config.path, dark=is_dark()),
        ink,
        theme.colour("noise", dark=is_dark()),
        theme.colour("data", dark=is_dark()),
    ]

    def columns() -> dict[str, NDArray]:
        x = found.positions
        table = {"x1": x[:, 0], "x2": x[:, 1]}
        for name, value in found.predictions.items():
            table |= {f"{name}_1": value[:, 0], f"{name}_2": value[:, 1]}
        return table

    figure.show(
        figures.predictions(found.positions, shown, colours, data=points, dark=is_dark()),
        "predictions",
        title=f"four predictions at t = {found.t:.3g}",
        alt="Velocity, score, noise and data prediction of one field, as arrows over the frame.",
        settings={"data": data, "path": config.path, "field": config.field, "t": f"{found.t:.4f}"},
        columns=columns,
        filename=f"flowviz-{data}-predictions-t{found.t:.2f}".replace(":", "-"),
    )


def _lesson(found: ConversionResult, label: str, *, exact: bool) -> str:
    """What to notice at this time, with the numbers of this time."""
    now = dict(zip([(f.source, f.to) for f in FACTORS], found.factor(found.t), strict=True))
    into = {source: abs(now[source, "velocity"]) for source in ("score", "noise", "data")}
    worst, best = max(into, key=into.get), min(into, key=into.get)
    lines = [
        f"**At t = {found.t:.3g} on {label}** the score is the noise times "
        f"{_cell(now['noise', 'score'])}: the same arrows turned round. Data prediction is what "
        "is left of *x* when the noise is taken off, and the velocity leads from noise to data.",
        f"An error of 0.01 in the {worst} prediction becomes one of "
        f"**{_cell(0.01 * into[worst])}** in the velocity, one of 0.01 in the "
        f"{best} prediction **{_cell(0.01 * into[best])}**. "
        "So the three ways to train are one regression with different weights.",
    ]
    ends = []
    for end, where in ((found.factors[:, 0], "at t = 0"), (found.factors[:, -1], "towards t = 1")):
        bad = [
            f"{SYMBOLS[f.source]} → {SYMBOLS[f.to]}"
            for f, v in zip(FACTORS, end, strict=True)
            if not abs(v) < LARGE
        ]
        ends.append(f"{where} {', '.join(bad) if bad else 'none'}")
    lines.append(f"Conversions that magnify a hundredfold or more: {'; '.join(ends)}.")
    if not exact:
        error = found.error
        lines.append(
            "The network's root mean square error where the data's density is: velocity "
            f"{error['velocity']:.3g}, score {error['score']:.3g}, noise {error['noise']:.3g}, "
            f"data {error['data']:.3g}; one error, in four units."
        )
    return "\n\n".join(lines)


def _table(found: ConversionResult) -> None:
    times = [min(t, found.times[-1]) for t in TABLE]
    head = ["from → to", "factor", "t = 0", *(f"{t:.6g}" for t in times[1:])]
    rows = [head, ["---", "---", *["---:"] * len(times)]]
    values = np.stack([found.factor(t) for t in times], axis=1)
    for factor, own in zip(FACTORS, values, strict=True):
        cells = [f"**{_cell(v)}**" if not abs(v) < LARGE else _cell(v) for v in own]
        cells = [f":red[{c}\u00a0▲]" if "**" in c else c for c in cells]
        names = f"{SYMBOLS[factor.source]}\u00a0→\u00a0{SYMBOLS[factor.to]}"
        rows.append([names, f"${factor.symbol}$", *cells])
    st.markdown("\n".join("| " + " | ".join(row) + " |" for row in rows))
    st.caption(
        "u velocity, s score, ε̂ noise, m data. ▲ marks a factor of 100 or more: α → 0 at t = 0, "
        "σ → 0 at t = 1. Here "
        "$D = \\dot\\alpha\\sigma - \\alpha\\dot\\sigma$, 1 on conditional OT; each conversion "
        "also adds a multiple of *x*, which has no error."
    )


def _curves(found: ConversionResult, config: ConversionConfig, label: str) -> None:
    hues = {
        "score": theme.INK[is_dark()],
        "noise": theme.colour("noise", dark=is_dark()),
        "data": theme.colour("data", dark=is_dark()),
    }
    lines = []
    for factor, values in zip(FACTORS, np.abs(found.factors), strict=True):
        kept = np.isfinite(values) & (values > 0)
        other = factor.source if factor.to == "velocity" else factor.to
        dash = "solid" if factor.to == "velocity" else "dash"
        if factor.source == "noise" and factor.to != "velocity":
            dash = "dot"
        lines.append(
            curves.Curve(
                label=f"{SYMBOLS[factor.source]} → {SYMBOLS[factor.to]}",
                colour=hues[other],
                x=found.times[kept],
                y=values[kept],
                dash=dash,
            )
        )
    drawn = curves.curves(
        lines,
        x_title="time t  (0 noise, 1 data)",
        y_title="|factor|: error out per error in",
        log_y=True,
        dark=is_dark(),
    )
    drawn.add_hline(y=1, line={"color": theme.MUTED[is_dark()], "width": 1, "dash": "dot"})
    drawn.add_vline(x=found.t, line={"color": theme.MUTED[is_dark()], "width": 1, "dash": "dash"})
    drawn.update_xaxes(range=[0, 1])
    figure.show(
        drawn,
        "factors",
        title=f"factors between predictions on {label}",
        alt="Size of the factor of each conversion against time, on a log axis.",
        settings={"path": config.path},
        columns=lambda: (
            {"t": found.times}
            | {f"{f.source}_to_{f.to}": v for f, v in zip(FACTORS, found.factors, strict=True)}
        ),
        filename=f"flowviz-{config.path}-factors".replace(":", "-"),
    )
    st.caption(
        "Solid: into the velocity. Dashed: out of it. Dotted: from noise to score and data. Above "
        "the dotted line at 1 a conversion magnifies errors, below it forgives them."
    )


def _cell(value: float) -> str:
    """A number to three digits, such as −0.52, 50,100, 2.0·10⁻⁵ or ∞."""
    sign, size = "−" if value < 0 else "", abs(value)
    if math.isinf(size):
        return f"{sign}∞"
    if size >= 1e6 or 0 < size < 1e-3:
        digits, power = f"{size:.1e}".split("e")
        return f"{sign}{digits}·10{str(int(power)).translate(RAISED)}"
    return f"{sign}{float(f'{size:.3g}'):,g}" if size < 1e3 else f"{sign}{size:,.0f}"
