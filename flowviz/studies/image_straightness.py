"""How straight are trajectories in the space of pixels, and what do steps of equal error cost?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flowviz.checkpoints.images import ImageCheckpoint
from flowviz.experiments.image_views import adaptive_steps, pixel_straightness
from flowviz.figures import theme
from flowviz.figures.images import Steps, step_sizes
from flowviz.methods import expected_nfe
from flowviz.progress import Progress
from flowviz.settings import setting
from flowviz.straightness import Straightness
from flowviz.studies import Figures, Finding, Findings, NamedFigure, Study, Summary, Tables
from flowviz.studies._images import (
    ImagesConfig,
    ImageSide,
    LiveImages,
    Piece,
    Sides,
    compute_sides,
    origin,
)
from flowviz.studies._lines import line_figure, path_line


@dataclass(frozen=True, kw_only=True)
class ImageStraightnessConfig(ImagesConfig):
    """Trajectories of a few images on each side, followed by an adaptive solver."""

    images: int = setting(
        4, "Images", bounds=(1, 64), advanced=True, help="Number of trajectories on each side."
    )

    def work(self, **sizes: float) -> float:
        """See `Config.work`: the tolerance counts for every solver, see `adaptive_steps`."""
        nfe, default_nfe = (expected_nfe("dopri5", 0, each) for each in (self.tol, type(self).tol))
        return super().work(**sizes | {"nfe": type(self).nfe * nfe / default_nfe})


def compute(
    config: ImageStraightnessConfig, live: LiveImages, progress: Progress
) -> Iterator[Sides]:
    """Computes `adaptive_steps` and `Straightness` of each side; see `compute_sides`."""
    return compute_sides(config, live, progress, follow_piece, n=config.images)


def follow_piece(
    piece: Piece, *, checkpoint: ImageCheckpoint
) -> tuple[dict[str, Any], Straightness]:
    """Steps and straightness of a piece, of the checkpoint that it names."""
    tol = piece.config.tol
    steps = adaptive_steps(checkpoint, piece.config, tol=tol)
    return steps, pixel_straightness(checkpoint, piece.config, tol=tol)


def draw(config: ImageStraightnessConfig, result: Sides) -> Figures:
    """Deviation from the chord over time, and the steps of the adaptive solver."""
    lines = [
        path_line(
            side.path,
            straight.times,
            straight.deviations / straight.displacement,
            label=side.label,
            k=k,
        )
        for k, (side, (_, straight)) in zip(result.ranks, result.results, strict=True)
    ]
    deviations = line_figure(
        "deviations",
        "deviation from the chord over time",
        "Squared difference of velocity and chord over time, for each path.",
        lines,
        y_title="E|(x₁ − x₀) − v|² ÷ E|x₁ − x₀|²",
        log_y=True,
        half=True,
    )
    steps = steps_figure([(side, steps) for side, (steps, _) in result.results])
    yield deviations
    yield steps


def steps_figure(solves: Sequence[tuple[ImageSide, Mapping[str, Any]]]) -> NamedFigure:
    """The step sizes of Dormand and Prince's method, of each side that has any."""
    ranks = theme.ranks([side.path for side, _ in solves])
    series = [
        Steps(
            label=f"{side.label}, NFE {steps['nfe']}",
            **theme.style(side.path, k),
            times=np.asarray(steps["times"], dtype=float),
            rejected=np.asarray(steps["rejected"], dtype=float).reshape(-1, 2),
        )
        for k, (side, steps) in zip(ranks, solves, strict=True)
    ]
    return NamedFigure(
        name="steps",
        title="adaptive step sizes over time",
        alt="Step size of an adaptive solver over time, for each path; crosses were rejected.",
        figure=step_sizes(series),
        half=True,
        tables=[
            {"path": side.path, "t": each.times[:-1], "size": np.diff(each.times)}
            for (side, _), each in zip(solves, series, strict=True)
        ],
    )


def table(config: ImageStraightnessConfig, result: Sides) -> Tables:
    """One row for each side and time."""
    return [
        {"checkpoint": side.name, "t": straight.times, "deviation": straight.deviations}
        for side, (_, straight) in result.results
    ]


def say(config: ImageStraightnessConfig, result: Sides) -> Findings:
    """How much longer than straight lines trajectories are, and what that costs a solver."""
    for side, (steps, straight) in result.results:
        late = last_tenth(straight)
        longer = 100 * (straight.arc_over_chord - 1)
        text = (
            f"trajectories are {longer:.1f}% longer than the straight lines from start to end. S "
            f"is {straight.relative:.3f} of the squared length of these lines; {100 * late:.0f}% "
            f"of it comes from the last tenth of t. At tolerance {config.tol:g} the adaptive "
            f"solver takes {steps['nfe']} evaluations."
        )
        numbers = {"longer": longer, "S": straight.relative, "nfe": steps["nfe"]}
        yield Finding(lead=side.label, text=text, numbers=numbers)
    text = (
        f"Trajectories of {config.images} images by Dormand and Prince's method, in the space of "
        "all pixels. Guidance changes the velocity field and so the straightness."
    )
    if any(side.jumps for side, _ in result.results):
        text += " A flow map follows its velocity here; its jumps have no trajectory."
    yield Finding.note(text)
    yield from origin([side for side, _ in result.results])


def last_tenth(straight: Straightness) -> float:
    """The share of S that arises after t = 0.9."""
    times, d = straight.times, straight.deviations
    cumulative = np.concatenate([[0.0], np.cumsum(np.diff(times) * (d[1:] + d[:-1]) / 2)])
    return float(1 - np.interp(0.9, times, cumulative) / max(cumulative[-1], 1e-300))


def summarise(config: ImageStraightnessConfig, result: Sides) -> Summary:
    """S, its relation to the chord, and the NFE."""
    return Summary(
        title="Straightness in the space of pixels",
        heads=[
            "path",
            "S, sum over pixels",
            "S ÷ E|x₁ − x₀|²",
            "length ÷ displacement",
            "NFE of dopri5",
        ],
        rows=[
            [
                side.label,
                f"{straight.deviation:.1f}",
                f"{straight.relative:.4f}",
                f"{straight.arc_over_chord:.4f}",
                str(steps["nfe"]),
            ]
            for side, (steps, straight) in result.results
        ],
    )


STUDY = Study(
    __name__,
    "How straight are trajectories of images?",
    ImageStraightnessConfig,
    (compute, draw, table, say),
    summary=summarise,
    page="images",
    seconds=5.0,
    smallest={"right": "none", "image_class": "none", "tol": 0.1, "images": 1},
)
