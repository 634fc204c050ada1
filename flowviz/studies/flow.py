"""Two paths from the same noise to data, at every time between 0 and 1."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowviz.experiments.density_evolution import DensityEvolution
from flowviz.experiments.evolution import (
    EXACT,
    REACHED,
    FlowConfig,
    FlowResult,
    Scene,
    SceneConfig,
    at_time,
    compute_flow,
    compute_scene,
    last_step,
    nearest_time,
)
from flowviz.experiments.sources import source, trained_name
from flowviz.figures import curves, plane, theme
from flowviz.progress import Progress
from flowviz.schedulers import scheduler
from flowviz.settings import Config, setting
from flowviz.solvers import METHODS
from flowviz.studies._common import data_setting, path_setting, seed_setting
from flowviz.studies.study import Columns, Finding, LiveFields, NamedFigure, Study, stacked

__all__ = ["STUDY", "CompareConfig", "CompareResult", "Side", "half_way"]

DEFAULT = FlowConfig()
LEARNED = "learned"
NO_NETWORK = "none"
"""Value of a network setting: use the exact field."""

SHOWN_TRAJECTORIES = 120
"""Number of trajectories in a figure."""

STRIP_TIMES = np.linspace(0, 1, 10)
"""The ten times of a film strip, as in Fig. 4 of Lipman et al. 2022."""

STRIP_PARTICLES = 600

LATE = 0.05
"""Smallest difference of two half-way times at which one flow is called late."""

PICTURES = {
    "moment": "One time",
    "ways": "Trajectories",
    "strip": "Ten times",
    "quality": "Quality over time",
    "difference": "Learned − exact",
}


@dataclass(frozen=True, kw_only=True)
class CompareConfig(Config):
    """Two flows of the same particles, side by side."""

    data: str = data_setting()
    left: str = path_setting("ot", slug="left")
    right: str = path_setting("vp", slug="right")
    field: str = setting(
        LEARNED,
        "Velocity field",
        choices={LEARNED: "Learned", EXACT: "Exact"},
        help="Learned: a network trained on this data set and path. Exact: the closed form, which "
        "a perfect network would learn.",
    )
    left_network: str = setting(
        "", "Left network", advanced=True, help="A checkpoint; by default DATA-PATH."
    )
    right_network: str = setting(
        "", "Right network", advanced=True, help="A checkpoint; by default DATA-PATH."
    )
    method: str = setting(
        DEFAULT.method,
        "ODE solver",
        slug="solver",
        choices=METHODS,
        help="The method that solves the ODE of the particles.",
    )
    nfe: int = setting(
        DEFAULT.nfe,
        "NFE",
        bounds=(1, 10_000),
        help="Number of function evaluations (NFE): how often the solver computes the velocity, "
        "which is the cost of a sample. Adaptive solvers ignore it.",
    )
    tol: float = setting(
        DEFAULT.tol,
        "Tolerance",
        bounds=(1e-12, 0.5),
        help="Largest error of one step of an adaptive solver; its NFE is counted.",
    )
    seed: int = seed_setting(
        "Seed of the noise", help="Both sides start from the same noise, particle by particle."
    )
    t: float = setting(
        0.0, "Time t", bounds=(0.0, 1.0), display=True, help="Time of the figure: 0 noise, 1 data."
    )
    mode: str = setting(
        "smooth",
        "Particles",
        choices={
            "smooth": "interpolated between the steps",
            "steps": "at the solver's steps only",
        },
        display=True,
        help="Whether particles are drawn at time t or at the last step before it.",
    )
    picture: str = setting(
        "moment", "Figure", slug="figure", choices=PICTURES, display=True, help="Figure to draw."
    )

    def flow(self, path: str, name: str) -> FlowConfig:
        """The flow of one side."""
        shared = {key: getattr(self, key) for key in ("data", "method", "nfe", "tol", "seed")}
        return FlowConfig(path=path, field=name, **shared)


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """One of the two flows with the density and the field that its particles move through.

    Attributes:
        path: spec of the path.
        label: its name.
        config: the flow's config.
        flow: the particles.
        scene: density, velocity and error over the plane.
        scene_config: its config.
        untrained: whether a learned field was chosen and there is none, so that this is exact.
    """

    path: str
    label: str
    config: FlowConfig
    flow: FlowResult
    scene: Scene
    scene_config: SceneConfig
    untrained: bool = False

    @property
    def exact(self) -> bool:
        """Whether the exact field moves the particles."""
        return self.config.field == EXACT


@dataclass(frozen=True, kw_only=True, eq=False)
class CompareResult:
    """Both sides; `densities` are the learned densities over time where they were computed."""

    sides: tuple[Side, Side]
    densities: tuple[DensityEvolution | None, ...] = field(default=(None, None))

    def density(self, k: int) -> tuple[NDArray, NDArray, NDArray]:
        """Axis (H,), times (K,) and density (K, H, H) of a side: learned if known, else exact."""
        scene, learned = self.sides[k].scene, self.densities[k]
        if learned is None:
            return scene.axis, scene.times, scene.density
        return learned.axis, learned.times, learned.density


def compute(
    config: CompareConfig, *, field: LiveFields | None = None, progress: Progress | None = None
) -> Iterator[CompareResult]:
    """Solves both flows in parallel.

    Raises:
        ValueError: a solve failed; the message has the time and advice.
    """
    progress = progress or Progress()
    chosen = ((config.left, config.left_network), (config.right, config.right_network))
    pieces = [partial(_side, config, *each, field or {}, progress) for each in chosen]
    found = dict(progress.in_parallel(pieces, doing="moving the particles"))
    yield CompareResult(sides=(found[0], found[1]))


def _side(
    config: CompareConfig, path: str, network: str, live: LiveFields, progress: Progress
) -> Side:
    name = network or trained_name(config.data, path) or EXACT
    if network == NO_NETWORK or (config.field == EXACT and path != "learned"):
        name = EXACT
    if name != EXACT and name not in live:
        path = source(name).path_spec
    flow = config.flow(path, name)
    scene = SceneConfig(data=config.data, path=path, field=name)
    return Side(
        path=path,
        label=scheduler(path).label,
        config=flow,
        scene_config=scene,
        flow=progress.cached(compute_flow, flow, field=live.get(name)),
        scene=progress.cached(compute_scene, scene, field=live.get(name)),
        untrained=name == EXACT != config.field,
    )


def draw(config: CompareConfig, result: CompareResult, *, dark: bool = False) -> list[NamedFigure]:
    """The figure that the config chooses; "Learned − exact" needs a learned field."""
    named = DRAWN[config.picture](config, result, dark)
    return [] if named is None else [named]


def _planes(result: CompareResult, dark: bool, **arrays: Sequence[Any]) -> list[plane.Plane]:
    """A panel for each side with its own arrays."""
    return [
        plane.Plane(
            title=side.label,
            colour=theme.path_colour(side.path, dark=dark),
            **{name: values[k] for name, values in arrays.items()},
        )
        for k, side in enumerate(result.sides)
    ]


def _moment(config: CompareConfig, result: CompareResult, dark: bool) -> NamedFigure:
    sides, t = result.sides, config.t
    grids = [result.density(k) for k in range(len(sides))]
    particles = [_particles(config, side) for side in sides]
    panels = _planes(
        result,
        dark,
        xs=[axis for axis, _, _ in grids],
        ys=[axis for axis, _, _ in grids],
        density=[at_time(times, density, t) for _, times, density in grids],
        positions=[_nodes(side.scene.arrow_axis) for side in sides],
        velocities=[
            at_time(side.scene.times, side.scene.velocity, t).reshape(-1, 2) for side in sides
        ],
        particles=particles,
    )
    kinds = ["exact" if each is None else "learned" for each in result.densities]
    return NamedFigure(
        name="moment",
        title=f"the plane at t = {t:.2f}",
        alt=f"Density ({' and '.join(dict.fromkeys(kinds))}), velocity field and particles at "
        f"t = {t:.2f} of {sides[0].label}, left, and {sides[1].label}, right.",
        figure=plane.snapshot(panels, t=t, dark=dark),
        squares=2,
        columns=stacked(
            [
                {"path": side.path, "particle": np.arange(len(points))} | _xy(points)
                for side, points in zip(sides, particles, strict=True)
            ]
        ),
    )


def _trajectories(config: CompareConfig, result: CompareResult, dark: bool) -> NamedFigure:
    sides = result.sides
    states = [side.flow.step_states[:, :SHOWN_TRAJECTORIES] for side in sides]
    panels = _planes(
        result,
        dark,
        xs=[side.scene.axis for side in sides],
        ys=[side.scene.axis for side in sides],
        density=[side.scene.density[-1] for side in sides],
        states=states,
    )
    return NamedFigure(
        name="ways",
        title="trajectories",
        alt=f"Trajectories of {SHOWN_TRAJECTORIES} particles from noise to data, at the steps of "
        "the solver.",
        figure=plane.trajectories(panels, dark=dark),
        squares=2,
        columns=stacked(
            [
                _over_time(side.path, side.flow.step_times, each)
                for side, each in zip(sides, states, strict=True)
            ]
        ),
    )


def _strip(config: CompareConfig, result: CompareResult, dark: bool) -> NamedFigure:
    frames = [
        np.stack([at_time(side.flow.times, side.flow.states, t) for t in STRIP_TIMES])[
            :, :STRIP_PARTICLES
        ]
        for side in result.sides
    ]
    return NamedFigure(
        name="strip",
        title="film strip",
        alt="Ten times from noise to data in a row, one row for each path.",
        figure=plane.film_strip(_planes(result, dark), frames, STRIP_TIMES, dark=dark),
        columns=stacked(
            [
                _over_time(side.path, STRIP_TIMES, each)
                for side, each in zip(result.sides, frames, strict=True)
            ]
        ),
    )


def _quality(config: CompareConfig, result: CompareResult, dark: bool) -> NamedFigure:
    lines = [
        curves.Curve(
            label=side.label,
            colour=theme.path_colour(side.path, dark=dark),
            x=side.flow.times,
            y=side.flow.quality,
            floor=side.flow.quality_floor,
        )
        for side in result.sides
    ]
    return NamedFigure(
        name="quality",
        title="quality over time",
        alt="Sliced 2-Wasserstein distance of the particles to data over time for both paths; the "
        "dotted line is the distance between two random samples of the data.",
        figure=curves.quality(lines, t=config.t, metric="sliced W₂ to data", dark=dark),
        columns=table(config, result),
    )


def _difference(config: CompareConfig, result: CompareResult, dark: bool) -> NamedFigure | None:
    learned = [side for side in result.sides if side.scene.difference is not None]
    if not learned:
        return None
    errors = [
        np.where(
            nearest_time(side.scene.times, side.scene.reached, config.t),
            at_time(side.scene.times, side.scene.difference, config.t),
            np.nan,
        )
        for side in learned
    ]
    axes = [side.scene.difference_axis for side in learned]
    shown = replace(result, sides=tuple(learned))
    panels = _planes(shown, dark, xs=axes, ys=axes, density=errors)
    return NamedFigure(
        name="difference",
        title=f"learned minus exact at t = {config.t:.2f}",
        alt="Difference of the learned velocity from the exact one over the plane.",
        figure=plane.difference(panels, t=config.t, dark=dark),
        squares=2 if len(learned) == 2 else 0,
        columns=stacked(
            [
                {"path": side.path} | _xy(_nodes(axis)) | {"difference": error.ravel()}
                for side, axis, error in zip(learned, axes, errors, strict=True)
            ]
        ),
    )


DRAWN = {
    "moment": _moment,
    "ways": _trajectories,
    "strip": _strip,
    "quality": _quality,
    "difference": _difference,
}


def table(config: CompareConfig, result: CompareResult) -> Columns:
    """Quality over time, one row for each path and time."""
    return stacked(
        [
            {"path": side.path, "t": side.flow.times, "sliced_w2": side.flow.quality}
            for side in result.sides
        ]
    )


def say(config: CompareConfig, result: CompareResult) -> list[Finding]:
    """The half-way time and final quality of each side, and the distance of the two ends."""
    left, right = result.sides
    found = [*_timing(result.sides)]
    ends = [side.flow.end_quality for side in result.sides]
    floor = left.flow.quality_floor
    found.append(
        Finding(
            lead="Distance to the data",
            text=f"{ends[0]:.3f} on the left and {ends[1]:.3f} on the right (sliced W₂); about "
            f"{floor:.3f} would be perfect, since two random samples of the data differ that "
            "much.",
            numbers={"left": ends[0], "right": ends[1], "floor": floor},
        )
    )
    if left.config == right.config:
        found.append(Finding(text="Both sides show the same flow, so they agree exactly."))
    else:
        apart = np.linalg.norm(left.flow.states[-1] - right.flow.states[-1], axis=1).mean()
        found.append(
            Finding(
                lead="Same start, same end?",
                text=f"the same starting point ends {apart:.2f} apart on the two sides (mean over "
                "the particles). Exact fields with enough steps bring this close to 0 on every "
                "fixed path except VE.",
                numbers={"apart": float(apart)},
            )
        )
    for label in dict.fromkeys(side.label for side in result.sides if side.untrained):
        found.append(
            Finding(
                lead="No network",
                text=f"there is no network for this data set on {label}; the exact field is "
                "shown. The Train page trains one.",
            )
        )
    if config.picture == "difference":
        found += _errors(config, result)
    return found


def _timing(sides: Sequence[Side]) -> list[Finding]:
    halves = [half_way(side.flow) for side in sides]
    if None in halves or abs(halves[0] - halves[1]) < LATE:
        return []
    late = int(halves[1] > halves[0])
    early, other = sides[1 - late].label, sides[late].label
    return [
        Finding(
            lead="When it happens",
            text=f"{early} covers half of the distance to the data by t = {halves[1 - late]:.2f}, "
            f"{other} only by t = {halves[late]:.2f}.",
            numbers={"early": halves[1 - late], "late": halves[late]},
        )
    ]


def _errors(config: CompareConfig, result: CompareResult) -> list[Finding]:
    scenes = {side.label: side.scene for side in result.sides if not side.exact}
    rms = {
        label: float(at_time(scene.times, scene.rms_difference, config.t))
        for label, scene in scenes.items()
        if scene.rms_difference is not None
    }
    if not rms:
        return []
    values = " and ".join(f"{value:.3g} on {label}" for label, value in rms.items())
    return [
        Finding(
            text=f"RMS error of the velocity under the density of the path: {values}. "
            f"Blank areas have less than {REACHED:.0%} of the largest density: no training point "
            "lies there, so that errors there have no effect.",
            numbers=rms,
            detail=True,
        )
    ]


def half_way(flow: FlowResult) -> float | None:
    """Time at which the distance to the data has fallen half-way from its start to its end.

    None for a flow that ends no nearer than half of its first distance.
    """
    start, end = flow.quality[0], flow.quality[-1]
    if not end < start / 2:
        return None
    return float(flow.times[np.argmax(flow.quality <= (start + end) / 2)])


def _particles(config: CompareConfig, side: Side) -> NDArray:
    if config.mode == "steps":
        return last_step(side.flow.step_times, side.flow.step_states, config.t)
    return at_time(side.flow.times, side.flow.states, config.t)


def _over_time(path: str, times: NDArray, states: NDArray) -> dict[str, Any]:
    """States (T, n, 2) as columns: path, particle, t, x1, x2."""
    steps, n = states.shape[:2]
    return {
        "path": path,
        "particle": np.tile(np.arange(n), steps),
        "t": np.repeat(times, n),
    } | _xy(states.reshape(-1, 2))


def _xy(points: NDArray) -> dict[str, NDArray]:
    return {"x1": points[:, 0], "x2": points[:, 1]}


def _nodes(axis: NDArray) -> NDArray:
    """The nodes of a square grid, (G * G, 2), x fastest."""
    x, y = np.meshgrid(axis, axis)
    return np.stack([x.ravel(), y.ravel()], axis=1)


STUDY = Study(
    name="flow",
    title="From noise to data on two paths",
    config=CompareConfig,
    compute=compute,
    draw=draw,
    table=table,
    say=say,
    page="compare",
    seconds=1.5,
    smallest={"field": EXACT, "nfe": 2},
)
