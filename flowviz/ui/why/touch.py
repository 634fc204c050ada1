"""The section with a point to drag: its controls, and the canvas that computes during a drag."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from flowviz.canvases import themes
from flowviz.canvases.wire import encode
from flowviz.distributions import Boxes, Distribution, GaussianMixture, PointMasses
from flowviz.experiments.posterior import TouchConfig, TouchResult, compute_touch
from flowviz.figures import theme
from flowviz.schedulers import scheduler
from flowviz.site import parameters
from flowviz.ui import data_picker, results, state, widgets
from flowviz.ui.canvas import component, keep, listen, opened, viewed

LAYERS = ("paths", "arrows", "density")
MAX_PARTS = 2_500
"""Largest number of parts over which a browser sums within one frame."""

DENSITY_STOPS = 4
"""Stops of the density ramp that are used: lines and points must be visible on the darkest."""
RESERVE = 345
"""Height in pixels that the page and the controls need beside the plane; a lecture has the plane
in the height of the window and all else beside it."""

_touch = component("flowviz_why", "touch")
_computed = results.cached(compute_touch)


@dataclass(frozen=True, kw_only=True)
class TouchView:
    """The time, the point and the visible layers."""

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
    distribution = data_picker.dataset(data).distribution
    singular, plural = _names(distribution)
    with st.sidebar:
        over = "points"
        if _count(distribution) <= MAX_PARTS:
            over = widgets.segmented(
                "over",
                "Posterior over",
                {"points": "Drawn points", "parts": plural.capitalize()},
                "points",
                help="Drawn points: a training set; the sum over them is the exact field of this "
                f"finite set. {plural.capitalize()}: the parts of the distribution, each with its "
                "mean conditional velocity; their mean is the closed form.",
            )
        n, seed = TouchConfig().n, TouchConfig().seed
        if over == "points":
            n = widgets.count("n", "Points", COUNTS, n)
            seed = widgets.seed("Seed of the points", seed)
    result = _computed(TouchConfig(data=data, path=path, n=n, seed=seed))
    words = {"part": singular, "parts": plural}

    def mount(key: str, first: TouchView) -> Any:
        content = payload(
            result, distribution, path=path, over=over, words=words, view=first, key=key
        )
        return _touch(key=key, data=content, on_view_change=listen, default={"view": None})

    view = viewed(KEY, opened(DEFAULT, *LINKED), mount)
    keep(replace(view, x=round(view.x, 2), y=round(view.y, 2)), DEFAULT, *LINKED)
    if not state.is_restricted():  # in a lecture the plane has the height of the window
        _note(distribution, over, n)


def _note(distribution: Distribution, over: str, n: int) -> None:
    """A caption: which of the velocities are exact."""
    singular, plural = _names(distribution)
    st.caption(
        "**What is exact.** "
        + (
            f"The sum over the {n:,} drawn points is the exact marginal velocity of these points. "
            if over == "points"
            else f"The sum over the {_count(distribution):,} {plural} is the marginal "
            "velocity of the distribution: each arrow is the mean of $u_t(x \\mid x_1)$ within "
            f"one {singular}, and its trajectory is that of the mean. "
        )
        + "The thin arrow is the closed form of the distribution itself. All arrows have one "
        "scale, so that the tip of the strong arrow is the weighted mean of the others' tips. At "
        "most 160 trajectories and 60 arrows are drawn, "
        "chosen with probabilities that grow with their weights."
    )


KEY = "why"
"""The key of the canvas."""
LINKED = ("t", "x", "y", "layers")
"""The entries of its view that a link has: all."""
COUNTS = (20, 100, 500, 1_000, 2_000)


def payload(
    result: TouchResult,
    distribution: Distribution,
    *,
    path: str,
    over: str,
    words: dict[str, str],
    view: TouchView = DEFAULT,
    key: str = "",
) -> bytes:
    """The payload of the canvas, in float64, since the browser computes with it.

    Args:
        result: the points and the coefficients of the path.
        distribution: of the data set.
        path: spec of the path, which gives the colour.
        over: "points" or "parts", over which the posterior is shown.
        words: "part" and "parts", the names of one part and of several.
        view: shown first.
        key: identifies the canvas; the browser keeps one view per key.
    """
    names = ("alpha", "sigma", "dAlpha", "dSigma")
    return encode(
        {
            "kind": "touch",
            "key": key,
            "initial": asdict(view),
            "points": _doubles(result.points),
            "distribution": parameters.distribution(distribution),
            "times": _doubles(result.times),
            **dict(zip(names, map(_doubles, result.coefficients), strict=True)),
            "speed": _doubles(result.speed),
            "path": scheduler(path).label,
            "over": over,
            "words": words,
            "frame": theme.FRAME,
            "reserve": None if state.is_restricted() else RESERVE,
            "theme": themes(
                lambda dark: {
                    "role": theme.path_colour(path, dark=dark),
                    **{name: theme.colour(name, dark=dark) for name in ("noise", "data", "exact")},
                    "density": theme.DENSITY_RAMP[dark][:DENSITY_STOPS],
                }
            ),
        }
    )


def _doubles(values: Any) -> NDArray[np.float64]:
    return np.asarray(values, "f8").ravel()


def _count(distribution: Distribution) -> int:
    """The number of parts of a distribution with a positive weight."""
    assert isinstance(distribution, Boxes | GaussianMixture | PointMasses)
    return int((distribution.weights > 0).sum())


def _names(distribution: Distribution) -> tuple[str, str]:
    """Names of one part of a distribution and of several."""
    if isinstance(distribution, Boxes):
        return "box", "boxes"
    points = isinstance(distribution, PointMasses)
    return ("point", "points") if points else ("Gaussian", "Gaussians")
