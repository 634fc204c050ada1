"""Data of "one path, all paths": points, a distribution and the path's coefficients."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowviz.canvases import themes
from flowviz.canvases.wire import encode
from flowviz.figures import theme

DENSITY_STOPS = 4
"""Stops of the density ramp that are used: lines and points must be visible on the darkest."""
RESERVE = 345
"""Height in pixels that the page and the controls need beside the plane."""


def pack(
    points: NDArray[np.float64],
    distribution: Mapping[str, NDArray],
    *,
    kind: str,
    times: NDArray[np.float64],
    coefficients: NDArray[np.float64],
    speed: NDArray[np.float64],
    path: str,
    label: str,
    over: str,
    words: Mapping[str, str],
    initial: Mapping[str, Any],
    key: str,
    reserve: int | None = RESERVE,
) -> bytes:
    """The payload, in float64, since the browser computes with it.

    Args:
        points: of the data set, (n, 2).
        distribution: "weights" (m,) and, if `kind` is "boxes", "edges_x", "edges_y" and "cells"
            (m, 2); else "means" (m, 2), "variances" (m, 2) and "axes" (m, 2, 2) of Gaussians.
        times: (K,), the positions of the slider.
        coefficients: (4, K), alpha, sigma and their derivatives at the times.
        speed: (K,), a typical length of a conditional velocity.
        path: spec of the path, which gives the colour.
        label: name of the path.
        over: "points" or "parts", over which the posterior is shown.
        words: "part" and "parts", the names of one part and of several.
        initial: the view that is shown first.
        key: identifies the canvas; the browser keeps one view per key.
        reserve: height in pixels that page and controls need; None in a lecture, where the plane
            has the height of the window and all else is beside it.
    """
    names = ("alpha", "sigma", "d_alpha", "d_sigma")
    return encode(
        {
            "kind": "touch",
            "key": key,
            "initial": initial,
            "points": np.asarray(points, "f8").ravel(),
            "distribution": {
                "kind": kind,
                **{name: np.asarray(value, "f8").ravel() for name, value in distribution.items()},
            },
            "times": np.asarray(times, "f8"),
            **{name: np.asarray(row, "f8") for name, row in zip(names, coefficients, strict=True)},
            "speed": np.asarray(speed, "f8"),
            "path": label,
            "over": over,
            "words": words,
            "frame": theme.FRAME,
            "reserve": reserve,
            "theme": themes(
                lambda dark: {
                    "role": theme.path_colour(path, dark=dark),
                    **{name: theme.colour(name, dark=dark) for name in ("noise", "data", "exact")},
                    "density": theme.DENSITY_RAMP[dark][:DENSITY_STOPS],
                }
            ),
        }
    )
