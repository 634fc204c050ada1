"""When is an image decided? States and predictions of the same noise over time, on two sides."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowviz.checkpoints.images import ImageCheckpoint
from flowviz.datasets.images import montage
from flowviz.experiments.image_views import Film, film
from flowviz.figures import curves, theme
from flowviz.figures.images import Mosaic, mosaics
from flowviz.progress import Progress
from flowviz.settings import setting
from flowviz.studies import Figures, Finding, Findings, NamedFigure, Study, Tables
from flowviz.studies._images import (
    ImagesConfig,
    ImageSide,
    LiveImages,
    Piece,
    Sides,
    compute_sides,
    origin,
)
from flowviz.studies._numbers import joined

COUNT = 5
"""Images of a film."""
STRIP = 9
"""Times of the figure."""


@dataclass(frozen=True, kw_only=True)
class ImageFilmConfig(ImagesConfig):
    """A film of the same noise on each side."""

    frames: int = setting(
        41, "Frames", bounds=(2, 401), advanced=True, help="Number of times, equally spaced."
    )
    t: float = setting(
        0.5, "Time t", bounds=(0.0, 1.0), display=True, help="0 is noise, 1 is data."
    )
    image: int = setting(
        1, "Image", bounds=(1, COUNT), display=True, help="The image that is shown."
    )


def compute(config: ImageFilmConfig, live: LiveImages, progress: Progress) -> Iterator[Sides]:
    """Computes the `Film` of each side; see `compute_sides`."""
    return compute_sides(config, live, progress, film_piece, n=COUNT, parameter=config.frames)


def film_piece(piece: Piece, *, checkpoint: ImageCheckpoint) -> Film:
    """The film of a piece, of the checkpoint that it names."""
    return film(checkpoint, piece.config, frames=piece.parameter)


def draw(config: ImageFilmConfig, result: Sides) -> Figures:
    """Nine times of one image, and how its prediction settles while the noise goes."""
    panels, lines = [], []
    heads: list[str] = []
    for k, (side, shot) in zip(result.ranks, result.results, strict=True):
        colour, dashed = theme.path_colour(side.path, k), theme.dash(k)
        indices = (
            np.linspace(0, len(shot.times) - 1, min(STRIP, len(shot.times))).round().astype(int)
        )
        images = np.concatenate(
            [kind[indices, config.image - 1] for kind in (shot.states, shot.predictions)]
        )
        panels.append(
            Mosaic(
                label=title_of(config, side), colour=colour, pixels=montage(images, len(indices))
            )
        )
        heads = [f"{t:.2f}" for t in shot.times[indices]]
        left = shot.remaining.mean(axis=1)
        known = np.unique(shot.reached, return_index=True)[1]  # with jumps, not all times
        for label, y, dash, symbol in (
            ("prediction still to change", left / left.max(), dashed, "circle"),
            ("noise in the state", shot.noise, "dashdot" if k else "dot", "diamond"),
        ):
            lines.append(
                curves.Curve(
                    label=f"{label}, {side.label}",
                    colour=colour,
                    x=shot.reached[known],
                    y=y[known],
                    dash=dash,
                    symbol=symbol,
                    joined=not config.jumps(side),
                )
            )
    strip = mosaics(panels, rows=["state", "prediction"], columns=heads)
    plot = curves.curves(lines, y_title="share")
    plot.add_vrect(x0=0.9, x1=1, fillcolor="rgba(128,128,128,0.14)", line_width=0, layer="below")
    plot.update_xaxes(range=[0, 1])
    yield NamedFigure(
        name="strip",
        title=f"image {config.image} over time",
        alt="The state and the predicted image at several times, for each path.",
        figure=strip,
    )
    yield NamedFigure(
        name="decided",
        title="when the image is decided",
        alt="Share of the prediction's change that is left, and share of noise in the state, "
        "over time.",
        figure=plot,
    )


def title_of(config: ImageFilmConfig, side: ImageSide) -> str:
    """The label of a side; with jumps it says which states the film has."""
    return f"{side.label}, state after the last jump" if config.jumps(side) else side.label


def table(config: ImageFilmConfig, result: Sides) -> Tables:
    """One row for each side and time."""
    return [
        {
            "checkpoint": side.name,
            "t": shot.times,
            "t_of_state": shot.reached,
            "noise": shot.noise,
            "remaining": shot.remaining.mean(axis=1),
        }
        for side, shot in result.results
    ]


def say(config: ImageFilmConfig, result: Sides) -> Findings:
    """How much of the image is decided late, and until when noise dominates."""
    late_texts, noise_texts, numbers = [], [], {}
    for side, shot in result.results:
        late = last_tenth(shot.times, shot.remaining)
        half = half_noise(shot.reached, shot.noise, held=config.jumps(side))
        late_texts.append(f"{100 * late:.0f}% on {side.label}")
        noise_texts.append(f"t = {half:.2f} on {side.label}")
        numbers |= {f"{side.name} late": late, f"{side.name} half": half}
    text = (
        f"of its whole change, the prediction E[x₁ | xₜ] makes {joined(late_texts)} there (mean "
        f"of {COUNT} images). Noise is more than half of the variance of the state until "
        f"{joined(noise_texts)}."
    )
    yield Finding(lead="Changes in the last tenth of t", text=text, numbers=numbers)
    for side, shot in result.results:
        if config.jumps(side):
            reached = ", ".join(f"{t:.2f}" for t in np.unique(shot.reached))
            yield Finding(
                lead="Jumps",
                text=f"{side.label} has states at t = {reached} and none between them: there the "
                "film keeps those after the last jump.",
            )
    yield from origin([side for side, _ in result.results])


def last_tenth(times: NDArray[np.float64], remaining: NDArray[np.float64]) -> float:
    """The share of the predictions' largest distance to the final images in the last tenth of t.

    Args:
        times: (T,), increasing.
        remaining: (T, n), distance of the predictions from the final images.
    """
    late_start = times[0] + 0.9 * (times[-1] - times[0])
    mean = remaining.mean(axis=1)
    return float(np.interp(late_start, times, mean) / max(mean.max(), 1e-12))


def half_noise(
    times: NDArray[np.float64], noise: NDArray[np.float64], *, held: bool = False
) -> float:
    """The time after which less than half of a state's variance is noise.

    Args:
        times: (T,), increasing.
        noise: (T,), decreasing share of noise in the standard deviation.
        held: whether the share stays as it is until the next time.
    """
    if held:
        return float(times[np.searchsorted(-noise, -np.sqrt(0.5))])
    return float(np.interp(-np.sqrt(0.5), -noise, times))


STUDY = Study(
    __name__,
    "When is an image decided?",
    ImageFilmConfig,
    (compute, draw, table, say),
    page="images",
    seconds=3.0,
    smallest={"right": "none", "method": "euler", "nfe": 2, "frames": 3},
)
