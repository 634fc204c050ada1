"""What pulls at a point: the component that computes while one drags, and what Python tells it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from flowviz.experiments.posterior import Parts, TouchConfig, TouchResult
from flowviz.figures import theme
from flowviz.schedulers import scheduler
from flowviz.ui import state
from flowviz.ui.canvas import component, themes
from flowviz.ui.why import results

__all__ = ["FIRST", "LAYERS", "TouchView", "payload", "section"]

LAYERS = ("paths", "arrows", "density")
MOST_PARTS = 2_500
"""Parts that a browser sums over at display rate, in time to spare."""
DENSITY_STOPS = 4
"""Short of the density ramp's far end, for lines and points must stand out on it."""
RESERVE = 345
"""The height in pixels that the page and the controls need beside the plane."""

_touch = component("flowviz_why", Path(__file__).parent / "touch")


@dataclass(frozen=True, kw_only=True)
class TouchView:
    """What a visitor looks at: the time, the point and the layers."""

    t: float = 0.6
    x: float = 2.2
    y: float = 1.0
    layers: tuple[str, ...] = LAYERS

    def __post_init__(self) -> None:
        if not 0 <= self.t <= 1:
            raise ValueError(f"t must be in [0, 1]; got {self.t:g}.")
        for name in ("x", "y"):
            if not abs(getattr(self, name)) <= theme.FRAME:
                raise ValueError(
                    f"{name} must lie between -{theme.FRAME:g} and {theme.FRAME:g}; "
                    f"got {getattr(self, name):g}."
                )
        for name in self.layers:
            if name not in LAYERS:
                raise ValueError(f"A layer must be one of {', '.join(LAYERS)}; got {name!r}.")


DEFAULT = TouchView()


def section(data: str, path: str) -> None:
    """The controls of the sidebar and the component."""
    distribution = results.touch(TouchConfig(data=data, path=path)).parts
    one, many = _names(distribution)
    with st.sidebar:
        over = "points"
        if len(distribution.weights) <= MOST_PARTS:
            over = state.segmented(
                "over",
                "Posterior over",
                {"points": "Drawn points", "parts": many.capitalize()},
                "points",
                help="Drawn points: what training sees; the sum over them is the exact field of "
                f"this finite set. {many.capitalize()}: the parts of the distribution itself, "
                "each with its mean conditional velocity; their mean is the closed form.",
            )
        n, seed = TouchConfig().n, TouchConfig().seed
        if over == "points":
            n = state.count("n", "Points", COUNTS, n)
            seed = state.seed("Seed of the points", seed)
    result = results.touch(TouchConfig(data=data, path=path, n=n, seed=seed))
    opened = TouchView(
        t=state.opened("t", DEFAULT.t, _time),
        x=state.opened("x", DEFAULT.x, _x),
        y=state.opened("y", DEFAULT.y, _y),
        layers=state.opened("layers", DEFAULT.layers, _layers),
    )
    words = {"part": one, "parts": many}
    key = f"why-{state.opening()}" if state.opening() else "why"  # as a lecture's step opens it
    # Sent as it was at first: else every release would change the payload and send it again.
    first = st.session_state.setdefault(FIRST, {}).setdefault(key, opened)
    shown = payload(result, path=path, over=over, words=words)
    shown |= {"initial": asdict(first), "key": key}
    heard = _touch(key=key, data=shown, on_view_change=_heard, default={"view": None})
    view = _reported(heard.get("view"), opened)
    state.keep("t", round(view.t, 3), DEFAULT.t)
    state.keep("x", round(view.x, 2), DEFAULT.x)
    state.keep("y", round(view.y, 2), DEFAULT.y)
    state.publish("layers", view.layers, DEFAULT.layers, write=",".join)
    st.caption(
        "**What is exact.** "
        + (
            f"The sum over the {n:,} drawn points is the exact marginal velocity of just these "
            "points. "
            if over == "points"
            else f"The sum over the {len(distribution.weights):,} {many} is the marginal "
            "velocity of the distribution: each arrow is the mean of $u_t(x \\mid x_1)$ within "
            f"one {one}, and its path is that of the mean. "
        )
        + "The thin arrow is the closed form of the distribution itself, whatever points were "
        "drawn. All arrows of a moment have one scale, so that the tip of the strong arrow is the "
        "weighted centre of the others' tips. At most 160 paths and 60 arrows are drawn, each "
        "with a chance that grows with its weight."
    )


FIRST = "why-opened"
"""Where the session keeps how each mounting of the component was opened."""
COUNTS = (20, 100, 500, 1_000, 2_000)


def payload(result: TouchResult, *, path: str, over: str, words: dict[str, str]) -> dict[str, Any]:
    """What the component draws, but for where it opens."""
    alpha, sigma, d_alpha, d_sigma = result.coefficients.tolist()
    return {
        "points": result.points.ravel().tolist(),
        "distribution": _distribution(result.parts),
        "times": result.times.tolist(),
        "alpha": alpha,
        "sigma": sigma,
        "d_alpha": d_alpha,
        "d_sigma": d_sigma,
        "speed": result.speed.tolist(),
        "over": over,
        "words": words,
        "path": scheduler(path).label,
        "frame": theme.FRAME,
        "reserve": RESERVE,
        "theme": themes(
            lambda dark: {
                "role": theme.path_colour(path, dark=dark),
                **{name: theme.colour(name, dark=dark) for name in ("noise", "data", "exact")},
                "density": theme.DENSITY_RAMP[dark][:DENSITY_STOPS],
            }
        ),
    }


def _distribution(parts: Parts) -> dict[str, Any]:
    shown: dict[str, Any] = {"kind": parts.kind, "weights": parts.weights.tolist()}
    if parts.kind == "boxes":
        edges_x, edges_y = parts.edges
        return shown | {
            "edges_x": edges_x.tolist(),
            "edges_y": edges_y.tolist(),
            "cells": parts.cells.ravel().tolist(),
        }
    return shown | {
        name: getattr(parts, name).ravel().tolist() for name in ("means", "variances", "axes")
    }


def _names(parts: Parts) -> tuple[str, str]:
    """One part of a distribution, and many."""
    if parts.kind == "boxes":
        return "box", "boxes"
    return ("Gaussian", "Gaussians") if parts.variances.any() else ("point", "points")


def _heard() -> None:
    """Streamlit keeps a state value only if somebody listens."""


def _reported(report: Any, opened: TouchView) -> TouchView:
    """The browser's report as a view; a report from elsewhere than ours is not believed."""
    if not isinstance(report, dict):
        return opened
    try:
        return TouchView(
            t=float(report["t"]),
            x=float(report["x"]),
            y=float(report["y"]),
            layers=tuple(report["layers"]),
        )
    except (KeyError, TypeError, ValueError):
        return opened


def _time(raw: str) -> float:
    return TouchView(t=_number(raw)).t


def _x(raw: str) -> float:
    return TouchView(x=_number(raw)).x


def _y(raw: str) -> float:
    return TouchView(y=_number(raw)).y


def _number(raw: str) -> float:
    try:
        return float(raw)
    except ValueError:
        raise ValueError(f"it must be a number; got {raw[:40]!r}") from None


def _layers(raw: str) -> tuple[str, ...]:
    return TouchView(layers=tuple(name for name in raw.split(",") if name)).layers
